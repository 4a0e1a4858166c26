"""Where a collection that undrift did not make keeps what a record has; written behind the collection's name.

`docs?as=langchain&tags=ledger` is the collection `docs` in the shape that LangChain gives it. What is not said, the
adapter decides: without a shape, a collection is undrift's own.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import Enum
from functools import lru_cache

from undrift.errors import BadConfig


class TagPlace(Enum):
    """Where the tags of the records are kept."""

    #: Beside the vector, in the record itself.
    PAYLOAD = "payload"
    #: In undrift's ledger: the records stay exactly as their writers know them.
    LEDGER = "ledger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The places of a record's parts; an empty word leaves the choice to what `preset` names, or to the adapter.

    Attributes:
        preset: the software whose collections look like this, as `as=` in an address: `langchain`, `llama_index`.
        id: the column or key of the id.
        text: the column or key of the text; `-` when the text is not in the store.
        metadata: the column or key that holds all metadata; `*` when every other key of the record is metadata.
        vector: the column or named vector.
        tags: where tags are kept.
    """

    preset: str = ""
    id: str = ""
    text: str = ""
    metadata: str = ""
    vector: str = ""
    tags: TagPlace = TagPlace.PAYLOAD


#: The shape of undrift's own collections.
OWN = Shape()
#: `text=-`: the text is not in the store.
NO_TEXT = "-"
#: `metadata=*`: whatever else the record has.
EVERYTHING_ELSE = "*"
_WORDS = {"as" if one.name == "preset" else one.name: one.name for one in fields(Shape)}


@lru_cache(maxsize=1024)
def has_tags_in_ledger(collection: str) -> bool:
    """Whether the address of a collection says that its tags are kept in the ledger."""
    return "?" in collection and split_address(collection)[1].tags is TagPlace.LEDGER


@lru_cache(maxsize=1024)
def own_name(collection: str) -> str:
    """Return the name of a collection, for stores that know no shape but undrift's own.

    Raises:
        BadConfig: the address says that it has another one.
    """
    if "?" not in collection:
        return collection
    name, shape = split_address(collection)
    if replace(shape, tags=TagPlace.PAYLOAD) != OWN:
        raise BadConfig(
            f"collection {collection!r} cannot be in another shape than undrift's own in this store",
            hint=f"leave out everything but `tags`: {name}",
        )
    return name


def without_tags(collection: str) -> str:
    """Return the address without where its tags are kept, which is no part of where its records are."""
    if "tags=" not in collection:
        return collection
    name, shape = split_address(collection)
    return join_address(name, replace(shape, tags=TagPlace.PAYLOAD))


def split_address(collection: str) -> tuple[str, Shape]:
    """Return the name a collection has in its store, and its shape.

    Raises:
        BadConfig: something behind the question mark is no part of a shape.
    """
    name, mark, query = collection.partition("?")
    if not mark:
        return name, OWN
    said = [part.partition("=") for part in query.split("&")]
    given = {word: value.replace("%26", "&").replace("%25", "%") for word, _, value in said}
    unknown = sorted(given.keys() - _WORDS.keys())
    if not name or unknown or len(given) < len(said):
        raise BadConfig(
            f"collection {collection!r} is not written as NAME?KEY=VALUE&…",
            f"unknown is {', '.join(unknown)}" if unknown else "every key can be given once, and needs a value",
            f"use {', '.join(_WORDS)}",
        )
    try:
        tags = TagPlace(given.pop("tags", TagPlace.PAYLOAD.value))
    except ValueError as error:
        choices = " or ".join(place.value for place in TagPlace)
        raise BadConfig(f"tags of collection {name} can be in {choices}", str(error)) from error
    return name, Shape(**{_WORDS[word]: value for word, value in given.items()}, tags=tags)


def is_beside(collection: str, other: str) -> bool:
    """Whether two addresses are of two vectors of the same records."""
    if collection == other:
        return False
    (name, shape), (other_name, other_shape) = split_address(collection), split_address(other)
    return name == other_name and replace(shape, vector="") == replace(other_shape, vector="")


def with_vector(collection: str, vector: str) -> str:
    """Return the address of another vector of the same records."""
    name, shape = split_address(collection)
    return join_address(name, replace(shape, vector=vector))


def join_address(name: str, shape: Shape) -> str:
    """Return the address of a collection, of which `split_address` makes the same name and shape again."""
    said = {word: getattr(shape, attribute) for word, attribute in _WORDS.items() if word != "tags"}
    if shape.tags is not TagPlace.PAYLOAD:
        said["tags"] = shape.tags.value
    # Only what would end a value is written in another way, so that a person can read it.
    query = "&".join(f"{word}={value.replace('%', '%25').replace('&', '%26')}" for word, value in said.items() if value)
    return f"{name}?{query}" if query else name
