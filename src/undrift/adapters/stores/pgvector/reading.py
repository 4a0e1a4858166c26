"""Queries for records, and what they answer."""

from __future__ import annotations

from collections.abc import Sequence

from undrift.adapters.stores.pgvector import nodes
from undrift.adapters.stores.pgvector.conditions import Sql, on
from undrift.adapters.stores.pgvector.ids import bounds, possible
from undrift.adapters.stores.pgvector.session import Rows, Statement
from undrift.adapters.stores.pgvector.tables import Table
from undrift.domain.record import DocumentId
from undrift.ports.store import Part


def by_id(table: Table, ids: Sequence[DocumentId], more: str) -> Statement:
    """Return the query for records of these ids: `Table.selected`, and more."""
    wanted = possible(ids, table.ids)
    if not wanted:
        # A collection that is missing is said to be, also when nothing is asked of it.
        return f"SELECT {table.vector} FROM {table.name} LIMIT 0", []
    return (
        f"SELECT {_once(table)}{table.selected}, {more} FROM {table.name} AS r "
        f"WHERE r.{table.id} = ANY (%b::text[]{table.ids.array}) AND {table.present}{_first(table)}",
        [wanted],
    )


def page(table: Table, selected: str, *, after: str, until: str | None, limit: int, where: Sql | None) -> Statement:
    """Return the query for the next records in the order of their ids."""
    sql, bound = on(where, table.metadata_value)
    within, limits, order = bounds(f"r.{table.id}", table.id_text, table.ids, after, until)
    order = f"{order}, r.ctid DESC" if not table.unique else order
    return (
        f"SELECT {_once(table)}{selected} FROM {table.name} AS r WHERE {within} AND {table.present} AND {sql} "
        f"ORDER BY {order} LIMIT %s",
        [*limits, *bound, limit],
    )


def counted(table: Table, condition: Sql | None) -> Statement:
    """Return the query that counts records."""
    sql, bound = on(condition, table.metadata_value)
    what = "*" if table.unique else f"DISTINCT r.{table.id}"
    return f"SELECT count({what}) FROM {table.name} AS r WHERE {table.present} AND {sql}", bound


def _once(table: Table) -> str:
    """Return what makes a query answer each document once: of those that are in several rows, the last one."""
    return "" if table.unique else f"DISTINCT ON ({table.id_text}) "


def _first(table: Table) -> str:
    return "" if table.unique else f" ORDER BY {table.id_text}, r.ctid DESC"


def distinct(rows: Rows, table: Table) -> Rows:
    """Return rows with each document once, the first of its rows."""
    return rows if table.unique else list({row[0]: row for row in reversed(rows)}.values())[::-1]


def shown(table: Table, rows: Rows) -> Rows:
    """Return rows that begin as `Table.selected` does, with metadata as undrift has them."""
    return nodes.shown(rows) if table.has_nodes else rows


def text(table: Table, parts: Part) -> str:
    """Return what is read for the text."""
    return table.text_value if Part.TEXT in parts else "NULL"
