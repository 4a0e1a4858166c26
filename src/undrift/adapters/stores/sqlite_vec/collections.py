"""The collections of a file: their names, their tables, and how densely their vectors lie."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import apsw

from undrift.adapters.asked import require_dimensions
from undrift.domain.route import VectorField
from undrift.domain.shape import own_name
from undrift.domain.space import Metric
from undrift.errors import BadArgument, FieldInUse, StoreUnavailable

#: How the tables below are laid out; another number means that another version of undrift made them.
FORMAT = 1
#: The metrics of `vec0`; it has no inner product.
METRICS = {Metric.COSINE: "cosine", Metric.L2: "l2"}
#: Bytes of vectors in one chunk of `vec0`. To reach a vector, SQLite walks the chunk's pages one by one, while a search
#: reads it whole: of 20,000 vectors of 256 dimensions 64 are replaced in 1.7 ms (11 ms with the default chunk of a
#: megabyte), one is read in 13 µs (100 µs), and a search takes 9.7 ms (9.5 ms).
CHUNK_BYTES = 64 * 1024
#: A chunk with fewer living vectors than one place in this many is emptied into the newest one: a deletion costs 106 µs
#: instead of 74, and the file keeps to 1.4 times its dense size instead of growing to 4.5 times.
SPARSE = 2

_REGISTRY = """
CREATE TABLE IF NOT EXISTS undrift_collections (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    dimensions INTEGER NOT NULL,
    metric TEXT NOT NULL,
    space TEXT NOT NULL,
    format INTEGER NOT NULL,
    created TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
) STRICT
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCollection:
    """A collection and where it lies; its number is never used again, so it cannot be mistaken for a later one."""

    number: int
    dimensions: int
    metric: Metric

    @property
    def rows(self) -> str:
        """The table of everything but the vectors."""
        return f"undrift_rows_{self.number}"

    @property
    def vectors(self) -> str:
        """The `vec0` table of the vectors, by the row's number."""
        return f"undrift_vectors_{self.number}"


def find(connection: apsw.Connection, name: str) -> StoredCollection | None:
    """Return a collection by its name, or None when there is none.

    Raises:
        StoreUnavailable: another version of undrift made it.
    """
    try:
        found = _row(connection, name)
    except apsw.SQLError:
        if not _has_registry(connection):
            return None
        # Another process has made it between the two looks, if nothing else is wrong.
        found = _row(connection, name)
    if found is None:
        return None
    number, dimensions, metric, format = found
    if format != FORMAT:
        raise StoreUnavailable(
            f"collection {name} has been made by another version of undrift",
            f"its format is {format}, this version knows {FORMAT}",
            "pip install --upgrade undrift",
        )
    return StoredCollection(number=number, dimensions=dimensions, metric=Metric(metric))


def create(connection: apsw.Connection, field: VectorField, *, dimensions: int, metric: Metric) -> None:
    """Make a collection within a transaction.

    Raises:
        FieldInUse: there is one of that name.
    """
    connection.execute(_REGISTRY)
    made: list[tuple[Any, ...]] = connection.execute(
        "INSERT INTO undrift_collections (name, dimensions, metric, space, format) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (name) DO NOTHING RETURNING number",
        (own_name(field.collection), dimensions, metric.value, field.space, FORMAT),
    ).fetchall()
    if not made:
        raise FieldInUse(
            f"collection {field.collection} is in store {connection.filename} already",
            hint="choose another name, or drop it if nobody uses it",
        )
    collection = StoredCollection(number=made[0][0], dimensions=dimensions, metric=metric)
    # The text comes last: what is read without it stops before its pages. Metadata that SQLite cannot read (they may be
    # nested a thousand times) would make every search with a filter fail.
    connection.execute(
        f"CREATE TABLE {collection.rows} (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, "
        "sequence INTEGER NOT NULL, space TEXT NOT NULL, content TEXT NOT NULL, "
        "metadata TEXT NOT NULL CHECK (json_valid(metadata)), text TEXT NOT NULL) STRICT"
    )
    connection.execute(
        f"CREATE VIRTUAL TABLE {collection.vectors} USING vec0("
        f"embedding float[{dimensions}] distance_metric={METRICS[metric]}, chunk_size={chunk_rows(dimensions)})"
    )


def drop(connection: apsw.Connection, name: str) -> None:
    """Delete a collection, if there is one, within a transaction."""
    collection = find(connection, name)
    if collection is not None:
        connection.execute(f"DROP TABLE {collection.vectors}; DROP TABLE {collection.rows}")
        connection.execute("DELETE FROM undrift_collections WHERE number = ?", (collection.number,))


def chunk_rows(dimensions: int) -> int:
    """Return how many vectors lie in one chunk: a multiple of 8, as `vec0` wants it."""
    return min(512, max(8, CHUNK_BYTES // (4 * dimensions) // 8 * 8))


def delete_vectors(connection: apsw.Connection, collection: StoredCollection, numbers: Sequence[int]) -> None:
    """Delete vectors by the numbers of their rows, and keep the rest dense.

    `vec0` fills only its newest chunk and frees a chunk only when its last vector goes, and a search reads every chunk:
    where documents come and go, the file and the time of a search would grow to a multiple. So what is left of a chunk
    that has become sparse moves into the newest one.
    """
    bindings = [(number,) for number in numbers]
    touched = {
        chunk
        for (chunk,) in connection.executemany(
            f"SELECT chunk_id FROM {collection.vectors}_rowids WHERE rowid = ?", bindings
        )
    }
    connection.executemany(f"DELETE FROM {collection.vectors} WHERE rowid = ?", bindings)
    (newest,) = connection.execute(f"SELECT max(chunk_id) FROM {collection.vectors}_chunks").fetchone() or (None,)
    for chunk in touched - {newest}:
        _empty_if_sparse(connection, collection, chunk)


def insert_vectors(
    connection: apsw.Connection, collection: StoredCollection, rows: Iterable[tuple[int, bytes | memoryview]]
) -> None:
    """Insert vectors by the numbers of their rows."""
    connection.executemany(f"INSERT INTO {collection.vectors} (rowid, embedding) VALUES (?, ?)", rows)


def _empty_if_sparse(connection: apsw.Connection, collection: StoredCollection, chunk: int) -> None:
    found = connection.execute(
        f"SELECT size, validity, rowids FROM {collection.vectors}_chunks WHERE chunk_id = ?", (chunk,)
    ).fetchone()
    if found is None:
        return
    size, validity, rowids = found
    living = [
        int.from_bytes(rowids[8 * at : 8 * at + 8], "little", signed=True)
        for at in range(size)
        if validity[at // 8] >> (at % 8) & 1
    ]
    if len(living) * SPARSE >= size:
        return
    bindings = [(number,) for number in living]
    vectors = list(
        connection.executemany(f"SELECT rowid, embedding FROM {collection.vectors} WHERE rowid = ?", bindings)
    )
    connection.executemany(f"DELETE FROM {collection.vectors} WHERE rowid = ?", bindings)
    insert_vectors(connection, collection, vectors)


def require_creatable(field: VectorField, *, dimensions: int, metric: Metric, max_dimensions: int) -> None:
    """Pass when `vec0` can keep such a collection.

    Raises:
        BadArgument: it has no such metric, or takes no such vectors.
    """
    if metric not in METRICS:
        raise BadArgument(
            f"collection {field.collection} cannot be searched by {metric.value} in store sqlite-vec",
            f"it can by {', '.join(sorted(METRICS.values()))}; for vectors of length 1, cosine is the inner product",
            "declare the metric cosine for a model with normalized vectors, or choose another store",
        )
    require_dimensions(field.collection, dimensions, most=max_dimensions, who="store sqlite-vec")


def _row(connection: apsw.Connection, name: str) -> tuple[int, int, str, int] | None:
    sql = "SELECT number, dimensions, metric, format FROM undrift_collections WHERE name = ?"
    found: tuple[int, int, str, int] | None = connection.execute(sql, (name,)).fetchone()
    return found


def _has_registry(connection: apsw.Connection) -> bool:
    sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'undrift_collections'"
    return connection.execute(sql).fetchone() is not None
