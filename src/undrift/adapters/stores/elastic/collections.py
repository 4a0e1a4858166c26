"""Collections as indexes: how they are made, found and described."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from undrift.adapters.asked import require_dimensions
from undrift.adapters.stores.elastic.dialects import Dialect, Index, Version, leaves_vectors_out, noted
from undrift.adapters.stores.elastic.documents import properties
from undrift.adapters.stores.elastic.places import OWN_PLACES, Places, places_of
from undrift.adapters.stores.elastic.wire import Wire
from undrift.domain.route import VectorField
from undrift.domain.shape import NO_TEXT, OWN, Shape, TagPlace, split_address
from undrift.domain.space import Metric
from undrift.errors import BadArgument, CollectionMissing, FieldInUse, StoreRejected

_FORMAT = 1
_LONGEST_NAME = 200
_FORBIDDEN = frozenset('\\/*?"<>| ,#:')


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A collection as the cluster has it.

    Attributes:
        name: of the index.
        target: where it is written: a name that is gone when the index is, and that no write makes anew.
        dimensions: of its vectors.
        metric: how they are compared.
        is_indexed: whether a search can ask an index.
        places: where the parts of a record are.
        hides_vectors: whether vectors have to be asked for.
    """

    name: str
    target: str
    dimensions: int
    metric: Metric
    is_indexed: bool
    places: Places
    hides_vectors: bool = False

    @property
    def is_own(self) -> bool:
        """Whether it is in undrift's own shape."""
        return self.places.shape is None


class Collections:
    """The indexes of a cluster that are collections."""

    def __init__(self, wire: Wire, dialect: Dialect, index: Index, *, shards: int | None, replicas: int | None) -> None:
        """Know none yet."""
        self._wire = wire
        self._dialect = dialect
        self._index = index
        self._counts = {"index.number_of_shards": shards, "index.number_of_replicas": replicas}
        self._guard = threading.Lock()
        self._known: dict[str, Found] = {}
        self._version: Version | None = None

    def create(self, field: VectorField, *, dimensions: int, metric: Metric) -> None:
        """Make an index with the alias that it is written by.

        Raises:
            FieldInUse: an index or alias of that name is there.
            BadArgument: there can be no such index.
        """
        name, shape = split_address(field.collection)
        self._require_name(name)
        require_dimensions(name, dimensions, most=self._dialect.max_dimensions, who=self._dialect.title)
        settings = self._dialect.settings(self._index, self._served_by(name))
        settings |= {key: value for key, value in self._counts.items() if value is not None}
        vector = self._dialect.mapping(dimensions, metric, self._index)
        if is_own(shape):
            body = {
                "aliases": {_target(name): {}},
                "mappings": {
                    "_meta": {"undrift": {"format": _FORMAT, **noted(metric)}},
                    "dynamic": False,
                    "properties": properties(vector),
                },
                "settings": settings,
            }
        else:
            places = places_of(name, shape, self._dialect, {})
            text = {} if places.text == NO_TEXT else {places.text: {"type": "text"}}
            body = {
                # Of others' metadata the engine guesses types; a value that has another one is kept and not indexed.
                "mappings": {"_meta": {"undrift": noted(metric)}, "properties": {**text, places.vector: vector}},
                "settings": {**settings, "index.mapping.ignore_malformed": True},
            }
        self.forget(field)
        try:
            # Who is asked to write it next has to find its shards.
            self._wire.ask("PUT", path(name), collection=name, body=body, params={"wait_for_active_shards": "1"})
        except CollectionMissing as error:
            raise StoreRejected(f"{self._wire.place.name} does not make collection {name}", error.message) from error

    def drop(self, field: VectorField) -> None:
        """Delete an index; one that is not there is no error.

        Raises:
            FieldInUse: undrift did not make it, and its address does not say so.
        """
        self.forget(field)
        try:
            found = self.find(field)
        except CollectionMissing:
            return
        if found is not None:
            try:
                self._wire.ask("DELETE", path(found.name), collection=field.collection)
            except CollectionMissing:
                # Somebody else was first.
                pass
            finally:
                self.forget(field)

    def point(self, name: str, found: Found) -> None:
        """Let an alias of the engine stand for a collection, and for nothing else, in one step.

        Raises:
            BadArgument: no alias can be called so.
            StoreRejected: an index is called so, or the alias stands for several.
        """
        self._require_name(name)
        answer = self._wire.ask("GET", f"/_alias/{path(name)[1:]}", collection=name, allowed=frozenset({404}))
        there = [] if answer.status == 404 else list(answer.body)
        if there == [found.name]:
            return
        if len(there) > 1:
            raise StoreRejected(
                f"alias {name} of {self._wire.place.name} stands for {len(there)} indexes",
                ", ".join(sorted(there)),
                "let it stand for one, or leave `follow_alias` out of the store's settings",
            )
        actions = [*({"remove": {"index": index, "alias": name}} for index in there)]
        actions.append({"add": {"index": found.name, "alias": name}})
        self._wire.ask("POST", "/_aliases", collection=found.name, body={"actions": actions})

    def get(self, field: VectorField) -> Found:
        """Return a collection as it was last seen.

        Raises:
            CollectionMissing: there is none.
        """
        known = self._known.get(field.collection)
        if known is None:
            known = self.find(field)
        if known is None:
            raise CollectionMissing(f"{self._wire.place.name} has no collection {split_address(field.collection)[0]}")
        return known

    def find(self, field: VectorField) -> Found | None:
        """Look a collection up in the cluster; None when there is none.

        Raises:
            StoreRejected: there is an index of that name, and it has no vectors to search by.
        """
        name, shape = split_address(field.collection)
        if not _is_name(name):
            return None
        answer = self._wire.ask("GET", path(name), collection=name, allowed=frozenset({404}))
        if answer.status == 404:
            self.forget(field)
            return None
        if len(answer.body) != 1:
            raise StoreRejected(
                f"{name} is {len(answer.body)} indexes in {self._wire.place.name}", "a collection is one index"
            )
        ((index, said),) = answer.body.items()
        found = self._own(name, index, said) if is_own(shape) else self._foreign(name, index, said, shape)
        with self._guard:
            self._known[field.collection] = found
        return found

    def forget(self, field: VectorField) -> None:
        """Look a collection up when it is used next."""
        with self._guard:
            self._known.pop(field.collection, None)

    def _own(self, name: str, index: str, said: Mapping[str, Any]) -> Found:
        mappings = said.get("mappings", {})
        meta = mappings.get("_meta", {}).get("undrift")
        if meta is None or "format" not in meta:
            raise FieldInUse(
                f"index {index} of {self._wire.place.name} is not one of undrift's",
                "a collection that somebody else made has an address that says how it looks",
                f"choose another name, or write {name}?as=langchain or {name}?text=FIELD&vector=FIELD",
            )
        if meta.get("format") != _FORMAT:
            raise StoreRejected(
                f"collection {name} has been made by another version of undrift",
                f"its format is {meta.get('format')}, this version knows {_FORMAT}",
                "pip install --upgrade undrift",
            )
        mapping = mappings.get("properties", {}).get(OWN_PLACES.vector, {})
        described = self._dialect.described(mapping, meta)
        if described is None:
            raise StoreRejected(f"collection {name} of {self._wire.place.name} has no vectors to search by")
        is_indexed = bool(mapping.get("index", "method" in mapping))
        return Found(
            name=index,
            target=_target(index),
            dimensions=described[0],
            metric=described[1],
            is_indexed=is_indexed,
            places=OWN_PLACES,
        )

    def _foreign(self, name: str, index: str, said: Mapping[str, Any], shape: Shape) -> Found:
        mappings = said.get("mappings", {})
        named = {
            key: mapping
            for key, mapping in mappings.get("properties", {}).items()
            if mapping.get("type") == self._dialect.type
        }
        places = places_of(name, shape, self._dialect, named)
        mapping = named.get(places.vector, {})
        described = self._dialect.described(mapping, mappings.get("_meta", {}).get("undrift", {}))
        if described is None:
            raise StoreRejected(
                f"index {index} of {self._wire.place.name} has no vectors in {places.vector}",
                f"its vector fields are: {', '.join(sorted(named)) or 'none'}",
                f"say which one: {name}?vector=FIELD",
            )
        # Vectors that are left out of a document come only when they are asked for.
        hides = self._dialect.type == "dense_vector" and leaves_vectors_out(self._served_by(name))
        return Found(
            name=index,
            target=index,
            dimensions=described[0],
            metric=described[1],
            is_indexed=bool(mapping.get("index", self._dialect.type == "dense_vector" or "method" in mapping)),
            places=places,
            hides_vectors=hides,
        )

    def _served_by(self, collection: str) -> Version:
        if self._version is None:
            said = self._wire.ask("GET", "/", collection=collection).body.get("version", {})
            digits = str(said.get("number", "")).split("-")[0].split(".")
            self._version = Version(
                number=tuple(int(digit) for digit in digits if digit.isdecimal()),
                is_serverless=said.get("build_flavor") == "serverless",
            )
        return self._version

    def _require_name(self, name: str) -> None:
        if not _is_name(name):
            raise BadArgument(
                f"a collection of store {self._dialect.name} cannot be called {name!r}",
                'it is the name of an index: lower case, none of \\ / * ? " < > | space , # :, '
                f"not begun with - _ + and at most {_LONGEST_NAME} bytes",
                "choose another name",
            )


def path(name: str, *parts: str) -> str:
    """Return the path of an index, or of something below it."""
    return "/".join(["", quote(name, safe=""), *parts])


def is_own(shape: Shape) -> bool:
    """Whether an address says nothing of how a collection looks, so that it is one of undrift's own."""
    return replace(shape, tags=TagPlace.PAYLOAD) == OWN


def _target(name: str) -> str:
    # An alias goes with its index, and a write that demands an alias makes no index, as other writes would.
    return f"{name}.undrift-writes"


def _is_name(name: str) -> bool:
    return (
        bool(name)
        and name == name.lower()
        and name[0] not in "-_+."
        and not _FORBIDDEN & set(name)
        and name.isprintable()
        and len(name.encode(errors="replace")) <= _LONGEST_NAME
    )
