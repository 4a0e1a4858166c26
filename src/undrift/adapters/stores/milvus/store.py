"""Vectors in a Milvus server, or in Milvus Lite."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from undrift.adapters.asked import condition_of, require_positive, require_within
from undrift.adapters.listing import Listings
from undrift.adapters.stores.milvus import collections
from undrift.adapters.stores.milvus.collections import FIELDS, Collection, Hnsw
from undrift.adapters.stores.milvus.reading import MANY_IDS, Reader, holds
from undrift.adapters.stores.milvus.rows import (
    changed_row,
    entry_from,
    hit_from,
    kept_metadata,
    record_from,
    rows_of,
    written,
)
from undrift.adapters.stores.milvus.session import TIMEOUT_S, Session
from undrift.domain.cost import Footprint
from undrift.domain.filter import Condition
from undrift.domain.names import NameRule
from undrift.domain.record import DocumentId, Entry, Hit, Metadata, Record, Vector
from undrift.domain.route import VectorField
from undrift.domain.space import Metric
from undrift.domain.vectors import checked_query
from undrift.errors import BadArgument, CollectionMissing, FieldInUse, StoreRejected, StoreUnavailable
from undrift.ports.store import FieldDescription, Filter, Layout, Part, StoreCapabilities

_T = TypeVar("_T")

_CAPABILITIES = StoreCapabilities(
    name="milvus",
    names=NameRule(marks="_", letter_first=True),
    metrics=frozenset(collections.METRICS),
    min_dimensions=collections.LEAST_DIMENSIONS,
    max_dimensions=collections.MOST_DIMENSIONS,
    layouts=frozenset({Layout.COLLECTION}),
    # 10 s until the client gives a request up, and as long again for what the server has taken in by then.
    settles_within_s=2 * TIMEOUT_S,
    max_text_bytes=collections.MOST_BYTES,
    max_metadata_bytes=collections.MOST_BYTES,
    footprint=Footprint(basis="four bytes a dimension; an HNSW index takes as much again, and its links"),
)
_WITHOUT_TEXT = tuple(name for name in FIELDS if name != "text")
#: Documents between two looks at the list of ids.
_LEAST_PAGE = 64


class MilvusStore:
    """A store in a Milvus server, or in a file that Milvus Lite keeps.

    A collection has the metadata as a field of JSON, and the tag in fields of its own. Every read is one of the
    strongest consistency. Milvus has no condition on a write: a change of metadata is read, made and written back,
    while this process writes nothing else of the document; one of another process at that moment may be undone.

    A search compares with every record, unless there is an index.
    """

    def __init__(
        self,
        place: str,
        *,
        api_key: str = "",
        database: str = "",
        index: str = "none",
        hnsw_m: int = 16,
        hnsw_ef_construction: int = 200,
        hnsw_ef_search: int = 100,
        listing_s: float = 10.0,
    ) -> None:
        """Use a database; it is connected to by the first call.

        Args:
            place: `//HOST:PORT`, or the path of a file that ends in `.db`.
            api_key: `user:password` or a key, where the server wants one.
            database: the name of a database of the server; its default one if empty.
            index: `none`, and a search is exact; or `hnsw`, and it is fast and may overlook some. It is made
                with a collection.
            hnsw_m: connections of a vector in each layer of the index.
            hnsw_ef_construction: how many candidates are looked at when a vector is put into the index.
            hnsw_ef_search: how many candidates a search in the index looks at, at least.
            listing_s: how old the list of ids may be that a scan goes by, because Milvus has no order of ids.

        Raises:
            BadConfig: the address is not one, or has a password in it.
            BadArgument: a setting has a value that it cannot have.
        """
        if index not in {"none", "hnsw"}:
            raise BadArgument(f"index is {index!r}; it can be none or hnsw", hint='index = "hnsw"')
        for name, value, least, most in (
            ("hnsw_m", hnsw_m, 2, 2048),
            ("hnsw_ef_construction", hnsw_ef_construction, 1, 32_768),
            ("hnsw_ef_search", hnsw_ef_search, 1, 32_768),
            ("listing_s", listing_s, 0, 3600),
        ):
            require_within(name, value, least, most)
        self._session = Session(place, api_key=api_key, database=database)
        self._index = (
            Hnsw(m=hnsw_m, ef_construction=hnsw_ef_construction, ef_search=hnsw_ef_search) if index == "hnsw" else None
        )
        self._listing_s = float(listing_s)
        self._known: dict[str, Collection] = {}
        self._listings = Listings(time.monotonic, self._listing_s)

    @property
    def capabilities(self) -> StoreCapabilities:
        """What this adapter can do."""
        # The engine of a file runs inside this process.
        return replace(_CAPABILITIES, scans_lag_s=self._listing_s, requests_die_with_process=self._session.is_file)

    def create(self, field: VectorField, *, dimensions: int, metric: Metric) -> None:
        """Make an empty collection.

        Raises:
            FieldInUse: a collection of that name is there.
            BadArgument: Milvus takes no such name, or no such vectors.
        """
        collections.require_creatable(field.collection, dimensions=dimensions)
        client, name = self._session.client(), collections.physical(field.collection)
        # A server takes the second of two equal requests for done: within this process the locks tell them apart.
        with self._session.locks.hold(None), self._session.translated(name):
            if client.has_collection(name, timeout=TIMEOUT_S):
                raise FieldInUse(
                    f"collection {field.collection} is in {self._session.name} already",
                    hint="choose another name, or drop it if nobody uses it",
                )
            collections.make(
                client, field.collection, dimensions=dimensions, metric=metric, index=self._index, timeout=TIMEOUT_S
            )
        self._listings.forget(name)

    def drop(self, field: VectorField) -> None:
        """Delete a collection with everything in it; without a shape, one that is not undrift's is left alone."""
        client, name = self._session.client(), collections.physical(field.collection)
        with self._session.locks.hold(None), self._session.translated(""):
            if collections.described(client, field.collection, timeout=TIMEOUT_S) is not None:
                client.drop_collection(name, timeout=TIMEOUT_S)
        self._known.pop(field.collection, None)
        self._listings.forget(name)

    def describe(self, field: VectorField) -> FieldDescription | None:
        """Return what the store knows about a field."""
        try:
            return self._on(
                field,
                lambda found, reader: FieldDescription(
                    dimensions=found.dimensions, metric=found.metric, count=reader.count(None)
                ),
                asks=False,
            )
        except CollectionMissing:
            return None

    def upsert(self, field: VectorField, records: Sequence[Record]) -> None:
        """Insert the records, replacing those with the same id whole."""
        if not records:
            return
        ids = [record.id for record in records]

        def write(found: Collection, _: Reader) -> None:
            rows = rows_of(records, found)
            with self._session.locks.hold(ids):
                self._session.client().upsert(found.name, rows, timeout=TIMEOUT_S)

        self._on(field, write)
        self._listings.written(collections.physical(field.collection), ids)

    def delete(self, field: VectorField, ids: Sequence[DocumentId], *, filter: Filter | None = None) -> None:
        """Delete records by id, those only that match the filter if there is one."""
        condition = condition_of(filter)

        def write(found: Collection, reader: Reader) -> list[DocumentId]:
            with self._session.locks.hold(ids):
                gone = list(dict.fromkeys(ids))
                if condition is not None:
                    rows = reader.by_id(gone, ("id", "metadata"))
                    gone = [row["id"] for row in rows if holds(row, condition)]
                for start in range(0, len(gone), MANY_IDS):
                    some = reader.among(gone[start : start + MANY_IDS])
                    self._session.client().delete(found.name, filter=some, timeout=TIMEOUT_S)
                return gone

        self._listings.deleted(collections.physical(field.collection), self._on(field, write, asks=bool(ids)))

    def merge_metadata(self, field: VectorField, changes: Mapping[DocumentId, Metadata], *, sequence: int) -> None:
        """Put the given keys into the metadata of existing records, and set the tag's sequence."""
        for id, change in changes.items():
            kept_metadata(id, change)

        def write(found: Collection, reader: Reader) -> None:
            with self._session.locks.hold(changes):
                rows = reader.by_id(list(changes), (*FIELDS, "vector"))
                changed = [written(changed_row(row, changes[DocumentId(row["id"])], sequence), found) for row in rows]
                if changed:
                    self._session.client().upsert(found.name, changed, timeout=TIMEOUT_S)

        self._on(field, write, asks=bool(changes))

    def fetch(self, field: VectorField, ids: Sequence[DocumentId]) -> dict[DocumentId, Record]:
        """Return the records with their vectors."""
        rows = self._on(field, lambda _, reader: reader.by_id(ids, (*FIELDS, "vector")), asks=bool(ids))
        return {record.id: record for record in map(record_from, rows)}

    def entries(
        self, field: VectorField, ids: Sequence[DocumentId], parts: Part = Part.TEXT
    ) -> dict[DocumentId, Entry]:
        """Return the records without their vectors."""
        rows = self._on(field, lambda _, reader: reader.by_id(ids, _fields(parts)), asks=bool(ids))
        return {entry.id: entry for entry in map(entry_from, rows)}

    def scan(
        self,
        field: VectorField,
        *,
        after: str = "",
        until: str | None = None,
        limit: int,
        parts: Part = Part.NONE,
        filter: Filter | None = None,
    ) -> list[Entry]:
        """Return the next records in the order of their ids: at most `limit` with after < id <= until."""
        require_positive("limit", limit)
        condition = condition_of(filter)
        rows = self._on(
            field, lambda _, reader: self._page(reader, after, until, limit, fields=_fields(parts), condition=condition)
        )
        return [entry_from(row) for row in rows]

    def ids(self, field: VectorField, *, after: str = "", limit: int) -> list[DocumentId]:
        """Return the next ids in order, at most `limit`."""
        require_positive("limit", limit)
        rows = self._on(field, lambda _, reader: self._page(reader, after, None, limit, fields=("id",)))
        return [DocumentId(row["id"]) for row in rows]

    def count(self, field: VectorField, filter: Filter | None = None) -> int:
        """Return how many records there are, or how many match the filter."""
        condition = condition_of(filter)
        return self._on(field, lambda _, reader: reader.count(condition))

    def search(self, field: VectorField, vector: Vector, *, k: int, filter: Filter | None = None) -> list[Hit]:
        """Return the k nearest records that match the filter, best first."""
        require_positive("k", k)
        condition = condition_of(filter)

        def read(found: Collection, reader: Reader) -> list[Hit]:
            query = checked_query(vector, dimensions=found.dimensions, metric=found.metric)
            index = None if found.index == "FLAT" else self._index or Hnsw(m=16, ef_construction=200, ef_search=100)
            rows = reader.nearest(query, k=k, condition=condition, index=index)
            hits = sorted(
                (hit_from(row, distance, found.metric) for distance, row in rows), key=lambda hit: (-hit.score, hit.id)
            )
            return hits[:k]

        return self._on(field, read)

    def close(self) -> None:
        """Let go of the connection; a later call makes another."""
        self._session.close()

    def _page(
        self,
        reader: Reader,
        after: str,
        until: str | None,
        limit: int,
        *,
        fields: Sequence[str],
        condition: Condition | None = None,
    ) -> list[dict[str, Any]]:
        """Return the first records with after < id <= until that are there and match, in the order of their ids."""

        def listed() -> list[DocumentId]:
            return [DocumentId(row["id"]) for row in reader.everything(("id",))]

        ids = self._listings.after(reader.name, listed, after, until)
        found: list[dict[str, Any]] = []
        at = 0
        while at < len(ids) and len(found) < limit:
            some = ids[at : at + max(limit - len(found), _LEAST_PAGE)]
            at += len(some)
            rows = [row for row in reader.by_id(some, fields) if holds(row, condition)]
            found += sorted(rows, key=lambda row: str(row["id"]))
        return found[:limit]

    def _on(self, field: VectorField, work: Callable[[Collection, Reader], _T], *, asks: bool = True) -> _T:
        """Do something with a collection as it was last seen, and once more when it is another one by now.

        Args:
            field: whose collection.
            work: what is done with it.
            asks: whether a collection that is gone would be noticed; else it is looked up first.
        """
        client, name = self._session.client(), collections.physical(field.collection)
        known = self._known.get(field.collection) if asks else None
        if known is not None:
            try:
                with self._session.translated(field.collection):
                    return work(known, Reader(client, known))
            except (CollectionMissing, StoreRejected, StoreUnavailable, BadArgument):
                present = self._present(field, name)
                if present == known:
                    raise
        else:
            present = self._present(field, name)
        with self._session.translated(field.collection):
            return work(present, Reader(client, present))

    def _present(self, field: VectorField, name: str) -> Collection:
        with self._session.translated(field.collection):
            found = collections.described(self._session.client(), field.collection, timeout=TIMEOUT_S)
        if found is None:
            self._known.pop(field.collection, None)
            self._listings.forget(name)
            raise CollectionMissing(
                f"{self._session.name} has no collection {field.collection}",
                hint="one that LangChain or LlamaIndex made has an address that says so: NAME?as=langchain",
            )
        if self._known.get(field.collection) != found:
            self._listings.forget(name)
        self._known[field.collection] = found
        return found


def _fields(parts: Part) -> tuple[str, ...]:
    return FIELDS if Part.TEXT in parts else _WITHOUT_TEXT
