"""The nearest records of a collection: by comparing with all of them, or by an index."""

from __future__ import annotations

from undrift.adapters.stores.pgvector.conditions import Sql
from undrift.adapters.stores.pgvector.rows import COLUMNS, Wire
from undrift.adapters.stores.pgvector.session import Statement
from undrift.adapters.stores.pgvector.tables import Hnsw, Table, indexed

#: The most candidates that a search in an index may look at.
_MOST = 1000


def exactly(table: Table, query: Wire, *, k: int, condition: Sql | None) -> list[Statement]:
    """Return the statements that find the k nearest records, equal ones in the order of their ids.

    The sum keeps the planner from an index that somebody may have made, and with it from an answer that is not exact.
    """
    sql, bound = condition or ("true", [])
    return [
        _with_records(
            table,
            f"SELECT r.id, r.embedding {table.operator} %b::{table.home}.vector AS distance FROM {table.name} AS r "
            f"WHERE {sql} ORDER BY (r.embedding {table.operator} %b::{table.home}.vector) + 0, r.id LIMIT %s",
            [query, *bound, query, k],
        )
    ]


def by_index(table: Table, index: Hnsw, query: Wire, *, k: int, condition: Sql | None) -> list[Statement] | None:
    """Return the statements that ask the index; None when it cannot look at as many candidates as are wanted."""
    if k > _MOST:
        return None
    sql, bound = condition or ("true", [])
    left = indexed("r.embedding", table.home, table.dimensions)
    right = indexed(f"%b::{table.home}.vector", table.home, table.dimensions)
    return [
        (
            "SELECT set_config('hnsw.ef_search', %s, true), set_config('hnsw.iterative_scan', 'relaxed_order', true)",
            [str(max(index.ef_search, k))],
        ),
        _with_records(
            table,
            f"SELECT r.id, r.embedding {table.operator} %b::{table.home}.vector AS distance FROM {table.name} AS r "
            f"WHERE {sql} ORDER BY {left} {table.operator} {right} LIMIT %s",
            [query, *bound, query, k],
        ),
    ]


def _with_records(table: Table, near: str, bound: list[object]) -> Statement:
    """Read the records of what was found only, not of everything that was compared; the last column is the table's."""
    return (
        f"WITH near AS MATERIALIZED ({near}) SELECT {COLUMNS}, r.text, near.distance, r.tableoid FROM near "
        f"JOIN {table.name} AS r ON r.id = near.id ORDER BY near.distance, r.id",
        bound,
    )
