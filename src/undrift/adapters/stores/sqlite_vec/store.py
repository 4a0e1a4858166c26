"""Vectors in a SQLite file, searched by the extension sqlite-vec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import apsw

from undrift.adapters.asked import require_positive
from undrift.adapters.sqlite import Database, Owner, Session, translate, translating
from undrift.adapters.stores.sqlite_vec import collections, writing
from undrift.adapters.stores.sqlite_vec.collections import METRICS, StoredCollection
from undrift.adapters.stores.sqlite_vec.conditions import Sql, where
from undrift.adapters.stores.sqlite_vec.rows import COLUMNS, entry_from, record_from
from undrift.adapters.stores.sqlite_vec.searching import nearest
from undrift.adapters.stores.sqlite_vec.writing import Batch
from undrift.domain.cost import Footprint
from undrift.domain.filter import parse
from undrift.domain.record import DocumentId, Entry, Hit, Metadata, Record, Vector, encode_metadata
from undrift.domain.route import VectorField
from undrift.domain.shape import own_name
from undrift.domain.space import Metric
from undrift.errors import BadArgument, CollectionMissing, MissingExtra, StoreRejected
from undrift.ports.store import FieldDescription, Filter, Layout, Part, StoreCapabilities

_CAPABILITIES = StoreCapabilities(
    name="sqlite-vec",
    metrics=frozenset(METRICS),
    max_dimensions=8192,
    layouts=frozenset({Layout.COLLECTION}),
    settles_within_s=10,
    shares_file_with_ledger=True,
    requests_die_with_process=True,
    footprint=Footprint(basis="four bytes a dimension in the chunks of vec0, which has no index"),
)


class SqliteVecStore:
    """A store in one SQLite file, for about a hundred thousand documents and several processes of one machine.

    Every call is one transaction, and durable when it returns. A call within a transaction of the same `Database` joins
    it, so a ledger in the same file commits together with the vectors, or not at all. A search is exact.

    A collection is a table of rows and a `vec0` table of vectors. What is rewritten is written in place, and a vector
    that has not changed is not written at all.
    """

    def __init__(self, database: Database) -> None:
        """Use a file as a store.

        Args:
            database: the file; shared with a ledger in the same file, so that both can be in one transaction.

        Raises:
            MissingExtra: sqlite-vec is not installed.
        """
        path = _extension()
        self.database = database
        self._collections: WeakKeyDictionary[Session, dict[str, StoredCollection]] = WeakKeyDictionary()
        database.also_prepare(lambda connection: _load(connection, path))

    @property
    def capabilities(self) -> StoreCapabilities:
        """What this adapter can do."""
        return _CAPABILITIES

    def create(self, field: VectorField, *, dimensions: int, metric: Metric) -> None:
        """Make an empty collection.

        Raises:
            FieldInUse: a collection of that name is there.
            BadArgument: sqlite-vec has no such metric, or takes no such vectors.
        """
        collections.require_creatable(
            field, dimensions=dimensions, metric=metric, max_dimensions=_CAPABILITIES.max_dimensions
        )
        with self._transaction() as connection:
            collections.create(connection, field, dimensions=dimensions, metric=metric)

    def drop(self, field: VectorField) -> None:
        """Delete a collection with everything in it; the file keeps its size, and uses the room again."""
        with self._transaction() as connection:
            collections.drop(connection, own_name(field.collection))

    def describe(self, field: VectorField) -> FieldDescription | None:
        """Return what the store knows about a field."""
        with self._snapshot() as connection:
            found = collections.find(connection, own_name(field.collection))
            if found is None:
                return None
            return FieldDescription(
                dimensions=found.dimensions, metric=found.metric, count=_count(connection, found, None)
            )

    def upsert(self, field: VectorField, records: Sequence[Record]) -> None:
        """Insert the records, replacing those with the same id whole."""
        if records:
            batch = Batch(records)
            with self._writing(field) as (connection, collection):
                batch.upsert(connection, collection)

    def insert_absent(self, field: VectorField, records: Sequence[Record]) -> None:
        """Insert those records whose ids are not there yet."""
        if records:
            batch = Batch(records)
            with self._writing(field) as (connection, collection):
                batch.insert_absent(connection, collection)

    def tag(self, field: VectorField, entries: Sequence[Entry]) -> set[DocumentId]:
        """Give records the tags of the entries, as long as they have their texts."""
        if not entries:
            return set()
        with self._writing(field) as (connection, collection):
            return writing.tag(connection, collection, entries)

    def delete(self, field: VectorField, ids: Sequence[DocumentId], *, filter: Filter | None = None) -> None:
        """Delete records by id, those only that match the filter if there is one."""
        condition = _condition(filter)
        if ids:
            with self._writing(field) as (connection, collection):
                writing.delete(connection, collection, dict.fromkeys(ids), condition)

    def merge_metadata(self, field: VectorField, changes: Mapping[DocumentId, Metadata], *, sequence: int) -> None:
        """Put the given keys into the metadata of existing records, and set the tag's sequence."""
        for id, change in changes.items():
            encode_metadata(id, change)
        if changes:
            with self._writing(field) as (connection, collection):
                writing.merge_metadata(connection, collection, changes, sequence=sequence)

    def fetch(self, field: VectorField, ids: Sequence[DocumentId]) -> dict[DocumentId, Record]:
        """Return the records with their vectors."""
        with self._reading(field) as (connection, collection):
            rows = connection.executemany(
                f"SELECT {COLUMNS}, r.text, v.embedding FROM {collection.rows} r "
                f"JOIN {collection.vectors} v ON v.rowid = r.number WHERE r.id = ?",
                ((id,) for id in dict.fromkeys(ids)),
            )
            return {record.id: record for record in map(record_from, rows)}

    def entries(
        self, field: VectorField, ids: Sequence[DocumentId], parts: Part = Part.TEXT
    ) -> dict[DocumentId, Entry]:
        """Return the records without their vectors."""
        with self._reading(field) as (connection, collection):
            rows = connection.executemany(
                f"SELECT {COLUMNS}, {_text(parts)} FROM {collection.rows} r WHERE r.id = ?",
                ((id,) for id in dict.fromkeys(ids)),
            )
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
        sql, bound = _condition(filter) or ("1", [])
        before, end = ("r.id <= ?", [until]) if until is not None else ("1", [])
        with self._reading(field) as (connection, collection):
            rows = connection.execute(
                f"SELECT {COLUMNS}, {_text(parts)} FROM {collection.rows} r "
                f"WHERE r.id > ? AND {before} AND {sql} ORDER BY r.id LIMIT ?",
                (after, *end, *bound, limit),
            )
            return [entry_from(row) for row in rows]

    def ids(self, field: VectorField, *, after: str = "", limit: int) -> list[DocumentId]:
        """Return the next ids in order, at most `limit`."""
        require_positive("limit", limit)
        with self._reading(field) as (connection, collection):
            rows = connection.execute(
                f"SELECT id FROM {collection.rows} WHERE id > ? ORDER BY id LIMIT ?", (after, limit)
            )
            return [DocumentId(id) for (id,) in rows]

    def count(self, field: VectorField, filter: Filter | None = None) -> int:
        """Return how many records there are, or how many match the filter."""
        condition = _condition(filter)
        with self._reading(field) as (connection, collection):
            return _count(connection, collection, condition)

    def search(self, field: VectorField, vector: Vector, *, k: int, filter: Filter | None = None) -> list[Hit]:
        """Return the k nearest records that match the filter, best first."""
        require_positive("k", k)
        condition = _condition(filter)
        with self._asking(), self.database.session() as session:
            try:
                return nearest(session.connection, self._remembered(session, field), vector, k=k, condition=condition)
            except (apsw.SQLError, BadArgument):
                # The collection may have been dropped since, and made anew with other dimensions.
                self._collections.pop(session, None)
                return nearest(session.connection, self._remembered(session, field), vector, k=k, condition=condition)

    def close(self) -> None:
        """Close the connections of this process; a later call opens them again."""
        self.database.close()

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except apsw.Error as error:
            raise translate(error, self.database.path, Owner.STORE) from error
        except UnicodeEncodeError as error:
            raise BadArgument(f"an id that was asked for is not valid Unicode: {error}") from error

    @contextmanager
    def _snapshot(self) -> Iterator[apsw.Connection]:
        with self._asking(), self.database.snapshot() as connection:
            yield connection

    @contextmanager
    def _transaction(self) -> Iterator[apsw.Connection]:
        try:
            with translating(self.database.path, Owner.STORE), self.database.transaction() as connection:
                yield connection
        except (UnicodeEncodeError, OverflowError) as error:
            raise StoreRejected(
                f"store {self.database.path} does not take this write: {error}", "nothing of this call was written"
            ) from error

    @contextmanager
    def _reading(self, field: VectorField) -> Iterator[tuple[apsw.Connection, StoredCollection]]:
        with self._snapshot() as connection:
            yield connection, self._found(connection, field)

    @contextmanager
    def _writing(self, field: VectorField) -> Iterator[tuple[apsw.Connection, StoredCollection]]:
        with self._transaction() as connection:
            yield connection, self._found(connection, field)

    def _remembered(self, session: Session, field: VectorField) -> StoredCollection:
        """Return a collection as this session has seen it before, or look it up.

        A number is never used again, so what is remembered is right or its tables are gone. What a transaction sees is
        not remembered: it may be rolled back, and its number with it.
        """
        if session.connection.in_transaction:
            return self._found(session.connection, field)
        known = self._collections.setdefault(session, {})
        if field.collection not in known:
            known[field.collection] = self._found(session.connection, field)
        return known[field.collection]

    def _found(self, connection: apsw.Connection, field: VectorField) -> StoredCollection:
        found = collections.find(connection, own_name(field.collection))
        if found is None:
            raise CollectionMissing(f"store {self.database.path} has no collection {field.collection}")
        return found


def _condition(filter: Filter | None) -> Sql | None:
    return None if filter is None else where(parse(filter))


def _count(connection: apsw.Connection, collection: StoredCollection, condition: Sql | None) -> int:
    sql, bound = condition or ("1", [])
    counted: list[tuple[Any, ...]] = connection.execute(
        f"SELECT count(*) FROM {collection.rows} r WHERE {sql}", bound
    ).fetchall()
    return int(counted[0][0])


def _text(parts: Part) -> str:
    return "r.text" if Part.TEXT in parts else "NULL"


def _extension() -> str:
    try:
        import sqlite_vec
    except ImportError as error:
        raise MissingExtra(
            "store sqlite-vec needs the package sqlite-vec, which is not installed",
            str(error),
            "pip install 'undrift[embedded]'",
        ) from error
    return str(sqlite_vec.loadable_path())


def _load(connection: apsw.Connection, path: str) -> None:
    connection.enable_load_extension(True)
    try:
        connection.load_extension(path)
    finally:
        connection.enable_load_extension(False)
