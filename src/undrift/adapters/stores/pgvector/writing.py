"""Changes of a collection, one statement each.

Rows are locked in the order of their ids, so that two calls wait for each other instead of stopping each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from undrift.adapters.stores.pgvector.conditions import Sql
from undrift.adapters.stores.pgvector.rows import WRITTEN, Row, packed_vectors
from undrift.adapters.stores.pgvector.session import Statement
from undrift.adapters.stores.pgvector.tables import Table
from undrift.domain.record import DocumentId, Vectors

_REPLACED = ", ".join(
    f"{column} = excluded.{column}" for column in (*WRITTEN.removeprefix("id, ").split(", "), "embedding")
)


def upsert(table: Table, rows: Sequence[Row], block: Vectors) -> Statement:
    """Return the statement that writes records, replacing those that are there."""
    return _insert(table, rows, block, f"DO UPDATE SET {_REPLACED}")


def insert_absent(table: Table, rows: Sequence[Row], block: Vectors) -> Statement:
    """Return the statement that writes the records that are not there."""
    return _insert(table, rows, block, "DO NOTHING")


def delete(table: Table, ids: Iterable[DocumentId], condition: Sql | None) -> Statement:
    """Return the statement that deletes the records of these ids that meet the condition."""
    sql, bound = condition or ("true", [])
    return (
        f"WITH gone AS MATERIALIZED (SELECT r.id FROM {table.name} AS r "
        f"WHERE r.id = ANY (%b::text[]) AND {sql} ORDER BY r.id FOR UPDATE) "
        f"DELETE FROM {table.name} AS r USING gone WHERE r.id = gone.id",
        [list(ids), *bound],
    )


def merge_metadata(table: Table, changes: Mapping[DocumentId, str], *, sequence: int) -> Statement:
    """Return the statement that puts keys into the metadata of the records that are there; values are JSON objects."""
    return (
        f"WITH there AS MATERIALIZED (SELECT r.id, given.change FROM {table.name} AS r "
        "JOIN unnest(%b::text[], %b::text[]) AS given (id, change) ON given.id = r.id ORDER BY r.id FOR UPDATE OF r) "
        f"UPDATE {table.name} AS r SET metadata = r.metadata || there.change::jsonb, sequence = %s::bigint "
        "FROM there WHERE r.id = there.id",
        [list(changes), list(changes.values()), sequence],
    )


def _insert(table: Table, rows: Sequence[Row], block: Vectors, conflict: str) -> Statement:
    # The order is that in which the rows come out of `unnest`.
    order = sorted(range(len(rows)), key=lambda number: rows[number][0])
    columns = [list(column) for column in zip(*(rows[number] for number in order), strict=True)]
    return (
        f"INSERT INTO {table.name} ({WRITTEN}, embedding) "
        "SELECT id, text, metadata::jsonb, space, content, sequence, embedding "
        "FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::bigint[], "
        f"%b::{table.home}.vector[]) AS given (id, text, metadata, space, content, sequence, embedding) "
        f"ON CONFLICT (id) {conflict}",
        [*columns, packed_vectors(block[order], element=table.element)],
    )
