"""The nearest records of a collection, exactly: also where distances are equal, and where k is large."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw

from undrift.adapters.stores.sqlite_vec.collections import METRICS, StoredCollection
from undrift.adapters.stores.sqlite_vec.conditions import Sql
from undrift.adapters.stores.sqlite_vec.rows import COLUMNS, hit_from
from undrift.domain.record import Hit, Vector
from undrift.domain.vectors import checked_query

#: `vec0` returns no more than this many.
MOST = 4096


def nearest(
    connection: apsw.Connection, collection: StoredCollection, vector: Vector, *, k: int, condition: Sql | None
) -> list[Hit]:
    """Return the k nearest records that meet the condition, best first, equal ones in the order of their ids.

    `vec0` breaks ties at its last place as it likes. So one more is asked for; where that is as near as the last one
    wanted, more and more are, until one is farther. Each attempt is one statement, and sees one moment.

    Raises:
        BadArgument: the vector cannot be compared with those of the collection.
    """
    query = checked_query(vector, dimensions=collection.dimensions, metric=collection.metric).tobytes()
    asked = k + 1
    while asked <= MOST:
        found = sorted(_knn(connection, collection, query, asked, condition), key=_rank)
        if len(found) < asked or found[-1][-1] > found[k - 1][-1]:
            return [hit_from(row, collection.metric) for row in found[:k]]
        asked = min(asked * 4, MOST) if asked < MOST else MOST + 1
    return [hit_from(row, collection.metric) for row in _all(connection, collection, query, k, condition)]


def _knn(
    connection: apsw.Connection, collection: StoredCollection, query: bytes, k: int, condition: Sql | None
) -> Sequence[tuple[Any, ...]]:
    chosen, bound = "", []
    if condition is not None:
        chosen = f" AND v.rowid IN (SELECT r.number FROM {collection.rows} r WHERE {condition[0]})"
        bound = condition[1]
    # A cross join, so that SQLite begins with the nearest vectors and does not look for each row's vector.
    return connection.execute(
        f"SELECT {COLUMNS}, r.text, v.distance FROM {collection.vectors} v CROSS JOIN {collection.rows} r "
        f"ON r.number = v.rowid WHERE v.embedding MATCH ? AND v.k = ?{chosen}",
        (query, k, *bound),
    ).fetchall()


def _all(
    connection: apsw.Connection, collection: StoredCollection, query: bytes, k: int, condition: Sql | None
) -> Sequence[tuple[Any, ...]]:
    """Compare with every record: slow, and right for any k and any number of ties."""
    sql, bound = condition or ("1", [])
    distance = f"vec_distance_{METRICS[collection.metric]}(v.embedding, ?)"
    return connection.execute(
        f"SELECT {COLUMNS}, r.text, {distance} AS distance FROM {collection.rows} r "
        f"JOIN {collection.vectors} v ON v.rowid = r.number WHERE {sql} ORDER BY distance, r.id LIMIT ?",
        (query, *bound, k),
    ).fetchall()


def _rank(row: tuple[Any, ...]) -> tuple[float, str]:
    return row[-1], row[0]
