"""Vectors in a LanceDB database: a folder, or a bucket of an object store."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from undrift.adapters.asked import require_positive
from undrift.adapters.stores.lancedb import tables
from undrift.adapters.stores.lancedb.foreign_writing import ForeignWriting
from undrift.adapters.stores.lancedb.housekeeping import Housekeeper
from undrift.adapters.stores.lancedb.leases import Leases
from undrift.adapters.stores.lancedb.places import places_of
from undrift.adapters.stores.lancedb.reading import Reader, Wanted
from undrift.adapters.stores.lancedb.rows import entry_from, hit_from, metadata_text, record_from
from undrift.adapters.stores.lancedb.searching import Index, nearest
from undrift.adapters.stores.lancedb.session import READ_S, WRITE_S, Session
from undrift.adapters.stores.lancedb.tables import Table
from undrift.adapters.stores.lancedb.writing import delete, insert_absent, merge_metadata, tag, upsert
from undrift.domain.cost import Footprint
from undrift.domain.record import DocumentId, Entry, Hit, Metadata, Record, Vector, is_tagged
from undrift.domain.route import VectorField
from undrift.domain.shape import NO_TEXT
from undrift.domain.space import Metric
from undrift.domain.vectors import checked_query
from undrift.errors import BadArgument, CollectionMissing
from undrift.ports.store import FieldDescription, Filter, Layout, Part, StoreCapabilities

_T = TypeVar("_T")

_CAPABILITIES = StoreCapabilities(
    name="lancedb",
    metrics=frozenset(tables.DISTANCES),
    max_dimensions=tables.MOST_DIMENSIONS,
    layouts=frozenset({Layout.COLLECTION}),
    # A write is given up after 10 s, whatever it waits for; the rest is for a machine that is busy.
    settles_within_s=15,
    requests_die_with_process=True,
    footprint=Footprint(basis="four bytes a dimension in a column of Lance, without an index"),
)


class LanceDbStore:
    """A store in a folder or a bucket, read and written by the engine inside this process, and by other processes.

    A collection is a table of its own, named after it, with the metadata as a column of JSON. Every call is one version
    of the table. The many small files that writes leave are put together in the background, by one process at a time.

    A search compares with every record, unless there is an index.
    """

    def __init__(
        self,
        place: str,
        *,
        index: str = "none",
        index_from: int = 10_000,
        ef_search: int = 100,
        compact_after: int = 32,
        keep_versions_s: float = 600,
        storage_options: Mapping[str, str] | None = None,
    ) -> None:
        """Use a database; it is opened by the first call.

        Args:
            place: a folder, or the address of a bucket such as `s3://bucket/folder`.
            index: `none`, and a search is exact; or `hnsw`, and it is fast and may overlook some.
            index_from: of how many records on a collection gets an index.
            ef_search: how many candidates a search in an index looks at, at least.
            compact_after: after how many writes of this process small files are put together; 0 for never.
            keep_versions_s: for how long an older version of a collection can be read; at least a minute, and 0 for
                ever.
            storage_options: what the client of an object store wants to know, as LanceDB names it.

        Raises:
            BadConfig: the place is none.
            BadArgument: a setting has a value that it cannot have.
        """
        if index not in {"none", "hnsw"}:
            raise BadArgument(f"index is {index!r}; it can be none or hnsw", hint='index = "hnsw"')
        for name, value, least in (("index_from", index_from, 256), ("ef_search", ef_search, 1)):
            if value < least:
                raise BadArgument(f"{name} is {value}; it can be {least} or more")
        if compact_after < 0:
            raise BadArgument(f"compact_after is {compact_after}; it can be 0 or more")
        if keep_versions_s != 0 and keep_versions_s < 60:
            raise BadArgument(f"keep_versions_s is {keep_versions_s}; it can be 0, or 60 or more")
        self._session = Session(place, storage_options=dict(storage_options) if storage_options else None)
        self._index = Index(least=index_from, ef=ef_search) if index == "hnsw" else None
        self._leases = Leases(self._session)
        self._foreign = ForeignWriting(self._session)
        self._housekeeper = Housekeeper(
            self._session, every=compact_after, keep_s=keep_versions_s, index_from=index_from if self._index else None
        )

    @property
    def capabilities(self) -> StoreCapabilities:
        """What this adapter can do."""
        # What has been sent to an object store may arrive when the process is gone.
        return _CAPABILITIES if self._session.is_local else replace(_CAPABILITIES, requests_die_with_process=False)

    def create(self, field: VectorField, *, dimensions: int, metric: Metric) -> None:
        """Make an empty collection.

        Raises:
            FieldInUse: a table of that name is there.
            BadArgument: LanceDB takes no such name, or no such vectors.
        """
        places = places_of(field.collection)
        tables.require_creatable(places.table, dimensions=dimensions)

        async def work() -> None:
            own = places.shape is None
            schema = tables.schema(dimensions, metric) if own else tables.foreign_schema(places, dimensions, metric)
            database = await self._session.database()
            # The engine lets two succeed that create a table at once.
            async with self._leases.alone(places.table, WRITE_S):
                await database.create_table(places.table, schema=schema)

        self._session.run(work, WRITE_S, places.table)

    def drop(self, field: VectorField) -> None:
        """Delete a collection with everything in it; without a shape, a table that is not undrift's is left alone."""

        async def work() -> None:
            table = await self._session.present(field.collection)
            del table
            await (await self._session.database()).drop_table(places_of(field.collection).table)

        try:
            self._session.run(work, WRITE_S, field.collection)
        except CollectionMissing:
            return

    def describe(self, field: VectorField) -> FieldDescription | None:
        """Return what the store knows about a field."""

        async def work() -> FieldDescription:
            table = await self._session.present(field.collection)
            count = await Reader(table).count(Wanted())
            return FieldDescription(dimensions=table.dimensions, metric=table.metric, count=count)

        try:
            return self._session.run(work, READ_S, field.collection)
        except CollectionMissing:
            return None

    def upsert(self, field: VectorField, records: Sequence[Record]) -> None:
        """Insert the records, replacing those with the same id whole."""
        if records:
            self._put(field, records, replace=True)

    def insert_absent(self, field: VectorField, records: Sequence[Record]) -> None:
        """Insert those records whose ids are not there yet."""
        if records:
            self._put(field, records, replace=False)

    def tag(self, field: VectorField, entries: Sequence[Entry]) -> set[DocumentId]:
        """Give records the tags of the entries, as long as they have their texts."""
        wanted = {one.id: one for one in entries if is_tagged(one.tag) and one.text is not None}
        if not wanted:
            return set()
        if places_of(field.collection).text == NO_TEXT:
            raise BadArgument(
                f"collection {field.collection} has no texts, so that no tag can be put beside one",
                hint="keep the tags in the ledger: tags=ledger",
            )

        async def work(table: Table) -> None:
            await (tag(table, [*wanted.values()]) if table.is_own else self._foreign.tag(table, [*wanted.values()]))

        self._write(field, work)
        now = self.entries(field, list(wanted))
        # Of the same text there is one tag of a space, whoever put it there.
        return {
            id
            for id, entry in now.items()
            if entry.text == wanted[id].text and is_tagged(entry.tag) and entry.tag == wanted[id].tag
        }

    def delete(self, field: VectorField, ids: Sequence[DocumentId], *, filter: Filter | None = None) -> None:
        """Delete records by id, those only that match the filter if there is one."""
        wanted = self._wanted(field, filter)
        if not ids:
            self._on(field, _nothing)
        else:
            self._write(field, lambda table: delete(table, ids, wanted))

    def merge_metadata(self, field: VectorField, changes: Mapping[DocumentId, Metadata], *, sequence: int) -> None:
        """Put the given keys into the metadata of existing records, and set the tag's sequence."""
        for id, change in changes.items():
            metadata_text(id, change)
        if not changes:
            self._on(field, _nothing)
        else:
            self._write(
                field,
                lambda table: (
                    merge_metadata(table, changes, sequence=sequence)
                    if table.is_own
                    else self._foreign.merge_metadata(table, changes, sequence=sequence)
                ),
            )

    def fetch(self, field: VectorField, ids: Sequence[DocumentId]) -> dict[DocumentId, Record]:
        """Return the records with their vectors."""
        rows = self._on(field, lambda table: Reader(table).by_id(ids, ("text", "vector")))
        return {record.id: record for record in map(record_from, rows)}

    def entries(
        self, field: VectorField, ids: Sequence[DocumentId], parts: Part = Part.TEXT
    ) -> dict[DocumentId, Entry]:
        """Return the records without their vectors."""
        rows = self._on(field, lambda table: Reader(table).by_id(ids, _texts(parts)))
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
        wanted = self._wanted(field, filter)
        rows = self._on(
            field,
            lambda table: Reader(table).page(
                after, until, limit, columns=(*tables.COLUMNS, *_texts(parts)), wanted=wanted
            ),
        )
        return [entry_from(row) for row in rows]

    def ids(self, field: VectorField, *, after: str = "", limit: int) -> list[DocumentId]:
        """Return the next ids in order, at most `limit`."""
        require_positive("limit", limit)
        rows = self._on(field, lambda table: Reader(table).page(after, None, limit, columns=("id",), wanted=Wanted()))
        return [DocumentId(row["id"]) for row in rows]

    def count(self, field: VectorField, filter: Filter | None = None) -> int:
        """Return how many records there are, or how many match the filter."""
        wanted = self._wanted(field, filter)
        return self._on(field, lambda table: Reader(table).count(wanted))

    def search(self, field: VectorField, vector: Vector, *, k: int, filter: Filter | None = None) -> list[Hit]:
        """Return the k nearest records that match the filter, best first."""
        require_positive("k", k)
        wanted = self._wanted(field, filter)

        async def work(table: Table) -> list[Hit]:
            query = checked_query(vector, dimensions=table.dimensions, metric=table.metric)
            rows = await nearest(table, query, k=k, wanted=wanted, index=self._index)
            hits = sorted((hit_from(row, table.metric) for row in rows), key=lambda hit: (-hit.score, hit.id))
            return hits[:k]

        return self._on(field, work)

    def close(self) -> None:
        """Let go of files and threads; a later call begins anew."""
        self._housekeeper.stop()
        self._session.close()

    def _put(self, field: VectorField, records: Sequence[Record], *, replace: bool) -> None:
        async def work(table: Table) -> None:
            if not table.is_own:
                await self._foreign.put(table, records, replace=replace)
            elif replace:
                await upsert(table, records)
            else:
                await insert_absent(table, records)

        self._write(field, work)

    def _wanted(self, field: VectorField, filter: Filter | None) -> Wanted:
        return Wanted.parsed(filter, by_engine=places_of(field.collection).shape is None)

    def _on(self, field: VectorField, read: Callable[[Table], Coroutine[Any, Any, _T]]) -> _T:
        async def work() -> _T:
            return await read(await self._session.present(field.collection))

        return self._session.run(work, READ_S, field.collection)

    def _write(self, field: VectorField, write: Callable[[Table], Coroutine[Any, Any, None]]) -> None:
        async def attempt() -> None:
            await write(await self._session.present(field.collection))

        places = places_of(field.collection)

        async def work() -> None:
            # A table of another program has no mark by which two writers would notice one another.
            alone = self._session.alone(places.table)
            async with alone if places.shape is None else self._leases.alone(places.table, WRITE_S):
                await self._session.retried(attempt)

        self._session.run(work, WRITE_S, field.collection)
        self._housekeeper.wrote(field.collection)


async def _nothing(table: Table) -> None:
    """Do nothing with a collection that is there."""


def _texts(parts: Part) -> tuple[str, ...]:
    return ("text",) if Part.TEXT in parts else ()
