"""The nearest records of a collection: by comparing with all of them, or by an index."""

from __future__ import annotations

from undrift.adapters.stores.pgvector.conditions import Sql, on
from undrift.adapters.stores.pgvector.rows import Wire
from undrift.adapters.stores.pgvector.session import Statement
from undrift.adapters.stores.pgvector.tables import Hnsw, Table, indexed

#: The most candidates that a search in an index may look at.
_MOST = 1000


def exactly(table: Table, query: Wire, *, k: int, condition: Sql | None) -> list[Statement]:
    """Return the statements that find the k nearest records, equal ones in the order of their ids.

    The sum keeps the planner from an index that somebody may have made, and with it from an answer that is not exact.
    """
    sql, bound = on(condition, table.metadata_value)
    distance = f"r.{table.vector} {table.operator} %b{_query(table)}"
    return [
        _with_records(
            table,
            f"SELECT r.{table.id} AS key, r.ctid AS place, {distance} AS distance FROM {table.name} AS r "
            f"WHERE {table.present} AND {sql} ORDER BY ({distance}) + 0, {table.id_text} LIMIT %s",
            [query, *bound, query, k],
        )
    ]


def by_index(table: Table, index: Hnsw, query: Wire, *, k: int, condition: Sql | None) -> list[Statement] | None:
    """Return the statements that ask the index; None when it cannot look at as many candidates as are wanted."""
    if k > _MOST:
        return None
    sql, bound = on(condition, table.metadata_value)
    left = indexed(f"r.{table.vector}", table.home, table.dimensions, table.kind)
    right = indexed(f"%b{_query(table)}", table.home, table.dimensions, table.kind)
    return [
        (
            "SELECT set_config('hnsw.ef_search', %s, true), set_config('hnsw.iterative_scan', 'relaxed_order', true)",
            [str(max(index.ef_search, k))],
        ),
        _with_records(
            table,
            f"SELECT r.{table.id} AS key, r.ctid AS place, r.{table.vector} {table.operator} %b{_query(table)} "
            f"AS distance FROM {table.name} AS r "
            f"WHERE {table.present} AND {sql} ORDER BY {left} {table.operator} {right} LIMIT %s",
            [query, *bound, query, k],
        ),
    ]


def _query(table: Table) -> str:
    """Return how the query's vector becomes one that can be compared."""
    return f"::{table.home}.vector" if table.kind == "vector" else f"::{table.home}.vector::{table.type}"


def _with_records(table: Table, near: str, bound: list[object]) -> Statement:
    """Read the records of what was found only, not of everything that was compared; the last column is the table's."""
    joined = f"r.{table.id} = near.key" if table.unique else "r.ctid = near.place"
    return (
        f"WITH near AS MATERIALIZED ({near}) SELECT {table.selected}, {table.text_value}, near.distance, r.tableoid "
        f"FROM near JOIN {table.name} AS r ON {joined} ORDER BY near.distance, {table.id_text}",
        bound,
    )
