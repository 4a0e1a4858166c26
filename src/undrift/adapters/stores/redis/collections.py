"""Collections: a hash that describes each, a search index, and keys of their own for every one that is made."""

from __future__ import annotations

import threading
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from undrift.adapters.asked import require_dimensions
from undrift.adapters.stores.redis.session import Session
from undrift.domain.route import VectorField
from undrift.domain.shape import own_name
from undrift.domain.space import Metric
from undrift.errors import BadArgument, CollectionMissing, FieldInUse, StoreRejected

MAX_DIMENSIONS = 32_768
_FORMAT = 1
_LONGEST_NAME = 200
_METRICS = {Metric.COSINE: "COSINE", Metric.DOT: "IP", Metric.L2: "L2"}
_PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """How vectors are indexed.

    Attributes:
        method: `flat`, which compares with every vector, or `hnsw`.
        m: connections of a vector in each layer.
        ef_construction: how many candidates are looked at when a vector is put in.
        ef_search: how many are looked at by a search, at least.
    """

    method: str
    m: int
    ef_construction: int
    ef_search: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A collection as the server has it.

    Attributes:
        name: its name.
        incarnation: what tells it from another one of that name, made before or after.
        dimensions: of its vectors.
        metric: how they are compared.
        method: how they are indexed.
    """

    name: str
    incarnation: str
    dimensions: int
    metric: Metric
    method: str

    @property
    def about(self) -> str:
        """The key of the hash that describes the collection; with it, the collection is there."""
        return about(self.name)

    @property
    def index(self) -> str:
        """The name of the search index."""
        return f"undrift:{{{self.name}}}:{self.incarnation}:index"

    @property
    def ids(self) -> str:
        """The key of the sorted set of all ids, which orders them by their bytes."""
        return f"undrift:{{{self.name}}}:{self.incarnation}:ids"

    @property
    def prefix(self) -> str:
        """What stands before the id in the key of a document."""
        return f"undrift:{{{self.name}}}:{self.incarnation}:doc:"

    def key(self, id: str) -> str:
        """Return the key of a document."""
        return self.prefix + id


def about(name: str) -> str:
    """Return the key of the hash that describes a collection."""
    return f"undrift:{{{name}}}"


class Collections:
    """The collections of a server."""

    def __init__(self, session: Session, index: Index) -> None:
        """Know none yet."""
        self._session = session
        self._index = index
        self._guard = threading.Lock()
        self._known: dict[str, Found] = {}

    def create(self, field: VectorField, *, dimensions: int, metric: Metric) -> None:
        """Make an empty collection.

        Raises:
            FieldInUse: there is one of that name.
            BadArgument: there can be no such collection.
            StoreRejected: the server has no query engine, or does not make the index.
        """
        name = own_name(field.collection)
        if not name or len(name.encode(errors="replace")) > _LONGEST_NAME or set("{}") & set(name):
            raise BadArgument(
                f"a collection of store redis cannot be called {name!r}",
                f"it is a part of keys: 1 to {_LONGEST_NAME} bytes, and no braces",
                "choose another name",
            )
        require_dimensions(name, dimensions, most=MAX_DIMENSIONS, who="Redis")
        found = Found(
            name=name,
            incarnation=uuid.uuid4().hex[:12],
            dimensions=dimensions,
            metric=metric,
            method=self._index.method,
        )
        self._make_index(found)
        try:
            is_first = self._session.transaction([found.about], lambda pipeline: _described(pipeline, found))
        except BaseException:
            self._clear(found)
            raise
        if not is_first:
            self._clear(found)
            raise FieldInUse(
                f"collection {name} is in {self._session.place.name} already",
                hint="choose another name, or drop it if nobody uses it",
            )
        self.forget(field)

    def drop(self, field: VectorField) -> None:
        """Delete a collection with everything in it; one that is not there is no error."""
        self.forget(field)
        found = self.find(field)
        if found is None:
            return
        self.forget(field)
        # With the description gone no write can begin, and those that have begun are undone.
        if self._session.transaction([found.about], lambda pipeline: _undescribed(pipeline, found)):
            self._clear(found)

    def get(self, field: VectorField) -> Found:
        """Return a collection as it was last seen.

        Raises:
            CollectionMissing: there is none.
        """
        known = self._known.get(own_name(field.collection)) or self.find(field)
        if known is None:
            raise self.missing(field)
        return known

    def find(self, field: VectorField) -> Found | None:
        """Look a collection up on the server; None when there is none.

        Raises:
            StoreRejected: another version of undrift made it.
        """
        name = own_name(field.collection)
        said = self._session.run("HGETALL", about(name))
        values = _texts(said)
        if not values:
            self.forget(field)
            return None
        if values.get("format") != str(_FORMAT):
            raise StoreRejected(
                f"collection {field.collection} has been made by another version of undrift",
                f"its format is {values.get('format')}, this version knows {_FORMAT}",
                "pip install --upgrade undrift",
            )
        found = Found(
            name=name,
            incarnation=values["incarnation"],
            dimensions=int(values["dimensions"]),
            metric=Metric(values["metric"]),
            method=values["method"],
        )
        with self._guard:
            self._known[name] = found
        return found

    def forget(self, field: VectorField) -> None:
        """Look a collection up when it is used next."""
        with self._guard:
            self._known.pop(own_name(field.collection), None)

    def missing(self, field: VectorField) -> CollectionMissing:
        """Return the error for a collection that is not there, and forget what was known of it."""
        self.forget(field)
        return CollectionMissing(f"{self._session.place.name} has no collection {field.collection}")

    def _make_index(self, found: Found) -> None:
        index = self._index
        vector = ["TYPE", "FLOAT32", "DIM", found.dimensions, "DISTANCE_METRIC", _METRICS[found.metric]]
        if index.method == "hnsw":
            vector += ["M", index.m, "EF_CONSTRUCTION", index.ef_construction]
        schema = ["words", "TAG", "SEPARATOR", ",", "vector", "VECTOR", index.method.upper(), len(vector), *vector]
        self._session.run(
            "FT.CREATE", found.index, "ON", "HASH", "PREFIX", 1, found.prefix, "STOPWORDS", 0, "SCHEMA", *schema
        )

    def _clear(self, found: Found) -> None:
        """Delete index, documents and list of a collection that is none any more."""
        with suppress(CollectionMissing):
            self._session.run("FT.DROPINDEX", found.index)
        while ids := self._session.run("ZRANGE", found.ids, 0, _PAGE - 1):
            keys = [found.prefix.encode() + id for id in ids]
            self._session.together([("UNLINK", *keys), ("ZREM", found.ids, *ids)])


def _described(pipeline: Any, found: Found) -> bool:
    """Queue the description of a collection, unless there is one of that name."""
    if pipeline.execute_command("EXISTS", found.about):
        return False
    pipeline.multi()
    pipeline.execute_command(
        *("HSET", found.about, "format", _FORMAT, "incarnation", found.incarnation),
        *("dimensions", found.dimensions, "metric", found.metric.value, "method", found.method),
    )
    return True


def _undescribed(pipeline: Any, found: Found) -> bool:
    """Queue the end of a description, if it is still that of this collection."""
    if pipeline.execute_command("HGET", found.about, "incarnation") != found.incarnation.encode():
        return False
    pipeline.multi()
    pipeline.execute_command("DEL", found.about)
    return True


def _texts(said: Any) -> dict[str, str]:
    """Return an answer of HGETALL, in either version of the protocol, as text."""
    pairs = said.items() if isinstance(said, dict) else zip(said[::2], said[1::2], strict=True)
    return {key.decode(): value.decode() for key, value in pairs}
