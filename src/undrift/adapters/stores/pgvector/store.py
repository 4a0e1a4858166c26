"""Vectors in a PostgreSQL database, searched by the extension pgvector."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from undrift.adapters import llama_node
from undrift.adapters.asked import require_positive, require_within
from undrift.adapters.postgres import Database, Owner, address_from
from undrift.adapters.stores.pgvector import reading, tables, writing
from undrift.adapters.stores.pgvector.conditions import Sql, where
from undrift.adapters.stores.pgvector.fitting import require_fitting, require_room
from undrift.adapters.stores.pgvector.ids import can_be, possible
from undrift.adapters.stores.pgvector.making import Collections
from undrift.adapters.stores.pgvector.nodes import dressed
from undrift.adapters.stores.pgvector.rows import (
    Row,
    Wire,
    encoded,
    entry_from,
    hit_from,
    metadata_text,
    packed_vector,
    record_from,
)
from undrift.adapters.stores.pgvector.searching import by_index, exactly
from undrift.adapters.stores.pgvector.session import Rows, Statement
from undrift.adapters.stores.pgvector.tables import Hnsw, Table
from undrift.domain.cost import Footprint
from undrift.domain.filter import parse
from undrift.domain.names import NameRule
from undrift.domain.record import DocumentId, Entry, Hit, Metadata, Record, Vector, Vectors
from undrift.domain.route import VectorField
from undrift.domain.space import Metric
from undrift.domain.vectors import checked_query, stacked
from undrift.errors import BadArgument, CollectionMissing, StoreRejected
from undrift.ports.store import FieldDescription, Filter, Layout, Part, StoreCapabilities

_CAPABILITIES = StoreCapabilities(
    name="pgvector",
    # LlamaIndex puts a word before the name of a table.
    names=NameRule(longest=tables.LONGEST_NAME - len("data_")),
    metrics=frozenset(tables.OPERATORS),
    max_dimensions=tables.MOST,
    layouts=frozenset(Layout),
    # 15 s until a connection to a host that does not answer is given up, 10 s until the server gives a write up.
    settles_within_s=30,
    shares_file_with_ledger=True,
    footprint=Footprint(per_vector=8, basis="pgvector's README: 4 bytes a dimension and 8; HNSW takes as much again"),
)


class PgVectorStore(Collections):
    """A store in one PostgreSQL database, for millions of documents and the processes of many hosts.

    A collection is a table of its own, named after it: text, metadata as `jsonb`, the tag, and the vector beside them,
    so that SQL of yours may read it. Every call is one transaction, and durable when it returns. A call within a common
    transaction of the same `Database` is a part of it, so a ledger there commits together with the vectors, or not at
    all.

    A search compares with every record, unless there is an index.
    """

    def __init__(
        self,
        place: str | Database,
        *,
        schema: str | None = None,
        index: str = "none",
        hnsw_m: int = 16,
        hnsw_ef_construction: int = 64,
        hnsw_ef_search: int = 100,
        capture: str = "none",
        views: str = "",
    ) -> None:
        """Use a database as a store; it is connected to by the first call.

        Args:
            place: `pgvector://…` without a password, or a database that is shared with a ledger.
            schema: the schema of the tables, which is made when it is not there: by default `undrift_vectors`, and
                `public` for tables in the shape of other software.
            index: `none`, and a search is exact; or `hnsw`, and it is fast and may overlook some. It is made
                with a collection.
            hnsw_m: connections of a vector in each layer of the index.
            hnsw_ef_construction: how many candidates are looked at when a vector is put into the index.
            hnsw_ef_search: how many candidates a search in the index looks at, at least.
            capture: `trigger`, and triggers tell a ledger in the same database what programs write that do not know
                undrift; or `none`.
            views: a schema, in which a view of each alias's name shows what it serves; it follows a cutover. None by
                default.

        Raises:
            BadConfig: the address is not one, or has a password in it.
            BadArgument: a setting has a value that it cannot have.
            MissingExtra: the driver is not installed.
        """
        for name, chosen, other in (("index", index, "hnsw"), ("capture", capture, "trigger")):
            if chosen not in {"none", other}:
                raise BadArgument(f"{name} is {chosen!r}; it can be none or {other}", hint=f'{name} = "{other}"')
        for name, value, least, most in (
            ("hnsw_m", hnsw_m, 2, 100),
            ("hnsw_ef_construction", hnsw_ef_construction, max(4, 2 * hnsw_m), 1000),
            ("hnsw_ef_search", hnsw_ef_search, 1, 1000),
        ):
            require_within(name, value, least, most)
        self._views = views
        if schema is not None and (not schema or len(schema.encode()) > tables.LONGEST_NAME or "\0" in schema):
            raise BadArgument(f"schema {schema!r} cannot be the name of one")
        database = place if isinstance(place, Database) else Database(address_from(place, Owner.STORE))
        super().__init__(
            database,
            schema or "undrift_vectors",
            schema or "public",
            captures=capture == "trigger",
            index=Hnsw(m=hnsw_m, ef_construction=hnsw_ef_construction, ef_search=hnsw_ef_search)
            if index == "hnsw"
            else None,
        )

    @property
    def capabilities(self) -> StoreCapabilities:
        """What this adapter can do."""
        return _CAPABILITIES if self._index is None else replace(_CAPABILITIES, max_dimensions=tables.MOST_HALVED)

    def create(self, field: VectorField, *, dimensions: int, metric: Metric) -> None:
        """Make an empty collection, or a column for one more vector; schema and extension too, when they are missing.

        Raises:
            FieldInUse: a table of that name, or such a column in it, is there.
            BadArgument: PostgreSQL takes no such name, or pgvector no such vectors.
            StoreRejected: the user may not make it, or there is no pgvector.
        """
        self._make(field, dimensions=dimensions, metric=metric, most=self.capabilities.max_dimensions)

    def drop(self, field: VectorField) -> None:
        """Delete a collection with everything in it, or the columns of one vector where its rows have others.

        A table that is not undrift's is left alone, unless the address says where in it everything is.
        """
        found = self._find(field)
        if found is None:
            return
        try:
            self._remove(field, found)
        finally:
            self._forget(field)

    def describe(self, field: VectorField) -> FieldDescription | None:
        """Return what the store knows about a field."""
        found = self._find(field)
        if found is None:
            return None
        try:
            ((count,),) = self._read([reading.counted(found, None)], field)
        except CollectionMissing:
            return None
        return FieldDescription(dimensions=found.dimensions, metric=found.metric, count=count)

    def upsert(self, field: VectorField, records: Sequence[Record]) -> None:
        """Insert the records, replacing those with the same id whole."""
        if records:
            self._insert(field, records, writing.upsert)

    def insert_absent(self, field: VectorField, records: Sequence[Record]) -> None:
        """Insert those records whose ids are not there yet."""
        if records:
            self._insert(field, records, writing.insert_absent)

    def delete(self, field: VectorField, ids: Sequence[DocumentId], *, filter: Filter | None = None) -> None:
        """Delete records by id, those only that match the filter if there is one."""
        condition = _condition(filter)
        if ids:
            self._on(
                field,
                lambda table: self._write([writing.delete(table, possible(ids, table.ids), condition)], field),
            )

    def merge_metadata(self, field: VectorField, changes: Mapping[DocumentId, Metadata], *, sequence: int) -> None:
        """Put the given keys into the metadata of existing records, and set the tag's sequence."""
        texts = {id: metadata_text(id, change) for id, change in changes.items()}

        def work(table: Table) -> None:
            kept = {id: texts[id] for id in possible(texts, table.ids)}
            if table.has_nodes:
                for id in kept:
                    llama_node.require(id, changes[id])
            require_room(table, [(id, changes[id]) for id in kept])
            if kept:
                self._write([writing.merge_metadata(self._tagged(field, table), kept, sequence=sequence)], field)

        if texts:
            self._on(field, work)

    def attach(self, field: VectorField, records: Sequence[Record]) -> None:
        """Put each vector with its tag beside the record of that id, if that still has the very text of the record."""
        if not records:
            return
        rows = encoded(records)

        def work(table: Table) -> None:
            block = stacked(records, dimensions=table.dimensions, metric=table.metric)
            there = [number for number, row in enumerate(rows) if can_be(row[0], table.ids)]
            if there:
                chosen = [rows[number] for number in there]
                self._write(writing.attach(self._tagged(field, table), chosen, block[there]), field)

        self._on(field, work)

    def tag(self, field: VectorField, entries: Sequence[Entry]) -> set[DocumentId]:
        """Give records the tags of the entries, as long as they have their texts; return the ids of those that got one.

        Columns for it are added to the table of other software.
        """
        told = [
            (one.id, one.text, one.tag.space, one.tag.content, one.tag.sequence)
            for one in entries
            if one.tag is not None and one.text is not None and "\0" not in one.text
        ]

        def work(table: Table) -> set[DocumentId]:
            fit = [row for row in told if can_be(row[0], table.ids)]
            tagged = self._tagged(field, table) if fit else table
            if not fit or tagged.tag is None:
                return set()
            return {DocumentId(id) for (id,) in self._write([writing.tag(tagged, fit)], field)}

        return self._on(field, work)

    def detach(self, field: VectorField, ids: Sequence[DocumentId]) -> None:
        """Take vector and tag of the field out of these records, which stay with everything else."""
        self._on(field, lambda table: self._write([writing.detach(table, possible(ids, table.ids))], field))

    def fetch(self, field: VectorField, ids: Sequence[DocumentId]) -> dict[DocumentId, Record]:
        """Return the records with their vectors."""
        rows = self._by_id(field, ids, lambda table: f"{table.text_value}, {table.vector_value}")
        return {record.id: record for record in map(record_from, rows)}

    def entries(
        self, field: VectorField, ids: Sequence[DocumentId], parts: Part = Part.TEXT
    ) -> dict[DocumentId, Entry]:
        """Return the records without their vectors."""
        rows = self._by_id(field, ids, lambda table: reading.text(table, parts))
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
        condition = _condition(filter)
        rows = self._records(
            field,
            lambda table: reading.page(
                table,
                f"{table.selected}, {reading.text(table, parts)}",
                after=after,
                until=until,
                limit=limit,
                where=condition,
            ),
        )
        return [entry_from(row) for row in rows]

    def ids(self, field: VectorField, *, after: str = "", limit: int) -> list[DocumentId]:
        """Return the next ids in order, at most `limit`."""
        require_positive("limit", limit)
        rows = self._rows(
            field, lambda table: reading.page(table, table.id_text, after=after, until=None, limit=limit, where=None)
        )
        return [DocumentId(id) for (id,) in rows]

    def count(self, field: VectorField, filter: Filter | None = None) -> int:
        """Return how many records there are, or how many match the filter."""
        condition = _condition(filter)
        ((count,),) = self._rows(field, lambda table: reading.counted(table, condition))
        return int(count)

    def search(self, field: VectorField, vector: Vector, *, k: int, filter: Filter | None = None) -> list[Hit]:
        """Return the k nearest records that match the filter, best first."""
        require_positive("k", k)
        condition = _condition(filter)
        return self._on(field, lambda table: self._nearest(field, table, vector, k, condition))

    def point(self, name: str, field: VectorField) -> None:
        """Let the view of an alias show a field, where views are configured.

        Raises:
            StoreRejected: something else has that name, or the user may not make it.
        """
        if self._views:
            self._show(self._views, name, field)

    def close(self) -> None:
        """Close the connections of this process; a later call opens them again."""
        self.database.close()

    def _insert(
        self,
        field: VectorField,
        records: Sequence[Record],
        statements: Callable[[Table, Sequence[Row], Vectors], list[Statement]],
    ) -> None:
        plain = encoded(records)

        def work(table: Table) -> None:
            require_fitting(table, records)
            rows = encoded(dressed(records)) if table.has_nodes else plain
            block = stacked(records, dimensions=table.dimensions, metric=table.metric)
            written = self._write(statements(self._tagged(field, table), rows, block), field)
            if table.part is not None and statements is writing.upsert and len(written) < len(rows):
                raise StoreRejected(
                    f"documents of collection {field.collection} have ids that other collections of the table have",
                    f"{len(rows) - len(written)} of {len(rows)} were not written; in {table.name} an id is there once",
                    "give them other ids",
                )

        self._on(field, work)

    def _nearest(self, field: VectorField, table: Table, vector: Vector, k: int, condition: Sql | None) -> list[Hit]:
        query = packed_vector(checked_query(vector, dimensions=table.dimensions, metric=table.metric))
        rows: Rows = []
        asked = by_index(table, self._index, query, k=k, condition=condition) if self._index else None
        if asked is not None:
            rows = self._read(asked, field)
        rows = reading.distinct(rows, table)
        if len(rows) < k:
            # An index may give up before it has found enough that match.
            rows = self._all_nearest(field, table, query, k, condition)
        if any(row[-1] != table.number for row in rows):
            raise CollectionMissing(f"collection {field.collection} was dropped and made anew during a search")
        return [hit_from(row[:-1], table.metric) for row in reading.shown(table, rows)]

    def _all_nearest(self, field: VectorField, table: Table, query: Wire, k: int, condition: Sql | None) -> Rows:
        """Compare with every record; where a document is in several rows, until there are k documents."""
        asked = k
        while True:
            rows = self._read(exactly(table, query, k=asked, condition=condition), field)
            if table.unique or len(rows) < asked or len(reading.distinct(rows, table)) >= k:
                return reading.distinct(rows, table)[:k]
            asked *= 2

    def _rows(self, field: VectorField, statement: Callable[[Table], Statement]) -> Rows:
        return self._on(field, lambda table: self._read([statement(table)], field))

    def _records(self, field: VectorField, statement: Callable[[Table], Statement]) -> Rows:
        return self._on(field, lambda table: reading.shown(table, self._read([statement(table)], field)))

    def _by_id(self, field: VectorField, ids: Sequence[DocumentId], more: Callable[[Table], str]) -> Rows:
        return self._records(field, lambda table: reading.by_id(table, ids, more(table)))


def _condition(filter: Filter | None) -> Sql | None:
    return None if filter is None else where(parse(filter))
