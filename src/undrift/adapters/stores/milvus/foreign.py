"""Collections that other programs made, and the rows of them as undrift's own collections have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from undrift.adapters import llama_node
from undrift.domain.record import Record, SpaceTag, is_tagged
from undrift.domain.shape import EVERYTHING_ELSE, NO_TEXT, OWN, Shape, TagPlace, split_address
from undrift.errors import BadConfig, StoreRejected

#: Where a tag is: among the fields that a collection has no schema for.
TAG = ("undrift_space", "undrift_content", "undrift_sequence")
#: Fields of the id, the text and the vector, as LangChain and LlamaIndex call them.
_PRESETS = {"langchain": ("pk", "text", "vector"), "llama_index": ("id", "text", "embedding")}
#: All the fields that a collection has no schema for.
_DYNAMIC = "$meta"
_NOTHING = "nothing of this call was written"


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The fields that have the parts of a record.

    Attributes:
        id: the primary key.
        text: the text; `-` when it is elsewhere.
        metadata: a field of JSON, or `*` for whatever else the row has.
        vector: the vector.
        shape: what the address says.
        fields: fields of the schema that have no vector.
        is_dynamic: whether a row may have other fields too.
        has_numbers: whether the primary key is an integer.
        numbers_itself: whether Milvus gives the primary keys.
    """

    id: str
    text: str
    metadata: str
    vector: str
    shape: Shape
    fields: tuple[str, ...] = ()
    is_dynamic: bool = True
    has_numbers: bool = False
    numbers_itself: bool = False

    def reads(self, *, with_vector: bool) -> list[str]:
        """Return the fields that have to be read."""
        return [*self.fields, *([_DYNAMIC] if self.is_dynamic else []), *([self.vector] if with_vector else [])]


def places_of(collection: str) -> Places | None:
    """Return the fields that an address names, None for undrift's own.

    Raises:
        BadConfig: there is no such shape.
    """
    name, shape = split_address(collection)
    if replace(shape, tags=TagPlace.PAYLOAD) == OWN:
        return None
    if shape.preset and shape.preset not in _PRESETS:
        raise BadConfig(
            f"collection {collection} of store milvus cannot be read so",
            f"as= can be {' or '.join(_PRESETS)}",
            f"write {name}?as=langchain, or {name}?id=FIELD&text=FIELD&vector=FIELD",
        )
    id, text, vector = _PRESETS.get(shape.preset, ("id", "text", "vector"))
    return Places(
        id=shape.id or id,
        text=shape.text or text,
        metadata=shape.metadata or EVERYTHING_ELSE,
        vector=shape.vector or vector,
        shape=shape,
    )


def row_from(places: Places, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as undrift's own collections have it."""
    space, content, sequence = (stored.get(name) for name in TAG)
    row: dict[str, Any] = {
        "id": str(stored[places.id]),
        "metadata": _metadata(places, stored),
        "space": space or "",
        "content": content or "",
        "sequence": sequence or 0,
        "text": "" if places.text == NO_TEXT else stored.get(places.text) or "",
    }
    return row | ({"vector": stored[places.vector]} if places.vector in stored else {})


def stored_row(places: Places, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is written for a row as undrift's own collections have it.

    Raises:
        StoreRejected: the collection cannot keep something of it.
    """
    id, tag = str(row["id"]), (row["space"], row["content"], row["sequence"])
    if places.numbers_itself:
        raise StoreRejected(
            f"document {id!r} cannot be written: Milvus itself gives the ids of this collection",
            f"a document that is written gets another one; {_NOTHING}",
            "write with the program that made it, or move it to a collection whose ids are chosen",
        )
    metadata = dict(row["metadata"])
    if _is_llama_index(places):
        metadata = llama_node.written(id, "", metadata)
    made: dict[str, Any] = {places.id: _number(id) if places.has_numbers else id, places.vector: row["vector"]}
    if places.text != NO_TEXT:
        made[places.text] = row["text"]
    if places.metadata == EVERYTHING_ELSE:
        _require_room(places, id, metadata, taken={*made, *TAG})
        made |= metadata
    else:
        made[places.metadata] = metadata
    if places.shape.tags is TagPlace.PAYLOAD and all(tag[:2]):
        if not places.is_dynamic:
            raise StoreRejected(
                f"document {id!r} cannot be written with a tag",
                f"the collection takes no fields that its schema does not have; {_NOTHING}",
                "keep the tags in the ledger: tags=ledger",
            )
        made |= dict(zip(TAG, tag, strict=True))
    return made


def own_row(record: Record, vector: Any, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record as undrift's own collections have it."""
    tag: SpaceTag | None = record.tag if is_tagged(record.tag) else None
    return {
        "id": record.id,
        "text": record.text,
        "metadata": dict(metadata),
        "space": tag.space if tag else "",
        "content": tag.content if tag else "",
        "sequence": tag.sequence if tag else 0,
        "vector": vector,
    }


def numbers(ids: Sequence[str]) -> list[int]:
    """Return those ids that can be a primary key which is an integer."""
    return [int(id) for id in ids if _is_number(id)]


def _number(id: str) -> int:
    if not _is_number(id):
        raise StoreRejected(f"document {id!r} cannot be written: its collection has integers as ids", _NOTHING)
    return int(id)


def _is_number(id: str) -> bool:
    digits = id.removeprefix("-")
    return digits.isascii() and digits.isdecimal() and str(int(id)) == id and -(2**63) <= int(id) < 2**63


def _metadata(places: Places, stored: Mapping[str, Any]) -> dict[str, Any]:
    if places.metadata != EVERYTHING_ELSE:
        found = stored.get(places.metadata)
        return dict(found) if isinstance(found, Mapping) else {}
    taken = {places.id, places.text, places.vector, *TAG}
    found = {key: value for key, value in stored.items() if key not in taken}
    return llama_node.read(found) if _is_llama_index(places) else found


def _is_llama_index(places: Places) -> bool:
    return places.shape.preset == "llama_index"


def _require_room(places: Places, id: str, metadata: Mapping[str, Any], *, taken: set[str]) -> None:
    """Pass when every key of the metadata can be a field."""
    bad = [key for key in metadata if key in taken or not key or key.startswith("$")]
    if not bad and not places.is_dynamic:
        bad = [key for key in metadata if key not in places.fields]
    if bad:
        raise StoreRejected(
            f"the metadata key {bad[0]!r} of document {id!r} cannot be kept in this collection",
            f"its fields are {', '.join(places.fields)}, {'and any others' if places.is_dynamic else 'and no others'}; "
            f"some are taken by the record itself; {_NOTHING}",
            "change the metadata, or use a collection of undrift's own",
        )
