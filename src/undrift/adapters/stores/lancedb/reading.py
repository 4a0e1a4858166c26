"""Rows of a collection: by id, in the order of ids, and in numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from undrift.adapters.stores.lancedb import foreign
from undrift.adapters.stores.lancedb.conditions import DEEPEST, depth, literal, where
from undrift.adapters.stores.lancedb.places import quoted
from undrift.adapters.stores.lancedb.tables import COLUMNS, Table
from undrift.domain.filter import Condition, matches, parse
from undrift.domain.record import DocumentId, decode_metadata
from undrift.ports.store import Filter

#: So many ids are asked for in one statement.
MANY_IDS = 1000
#: Rows that are looked at anew when those of a page do not match.
_MORE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked for of the metadata.

    Attributes:
        sql: what the engine is asked for; empty for everything.
        condition: what has to hold besides of what it answers; None when that is all.
    """

    sql: str = ""
    condition: Condition | None = None

    @classmethod
    def parsed(cls, filter: Filter | None, *, by_engine: bool = True) -> Wanted:
        """Return what a filter asks for.

        Args:
            filter: the filter.
            by_engine: whether the metadata are in a column of JSON, which the engine can filter by.

        Raises:
            BadFilter: it asks for something that the language does not have.
        """
        if filter is None:
            return cls()
        condition = parse(filter)
        if not by_engine:
            return cls(condition=condition)
        return cls(sql=where(condition)) if depth(condition) <= DEEPEST else cls(condition=condition)

    def holds(self, row: Mapping[str, Any]) -> bool:
        """Whether a row that the engine answered is one that was asked for."""
        return self.condition is None or matches(self.condition, decode_metadata(row["metadata"]))


class Reader:
    """Reads from a table of one version."""

    def __init__(self, table: Table) -> None:
        """Read from it."""
        self._table = table

    async def by_id(self, ids: Sequence[DocumentId], more: Sequence[str]) -> list[dict[str, Any]]:
        """Return the rows of some ids that are there."""
        distinct = list(dict.fromkeys(ids))
        rows: list[dict[str, Any]] = []
        for start in range(0, len(distinct), MANY_IDS):
            some = among(distinct[start : start + MANY_IDS], self._table.places.id)
            rows += await self._rows(self._table.handle.query().where(some), [*COLUMNS, *more])
        return rows if self._table.is_own else list(latest(rows).values())

    async def page(
        self, after: str, until: str | None, limit: int, *, columns: Sequence[str], wanted: Wanted
    ) -> list[dict[str, Any]]:
        """Return the first rows with after < id <= until, in the order of their ids."""
        from lancedb.query import ColumnOrdering

        id = quoted(self._table.places.id)
        order = [ColumnOrdering(column_name=self._table.places.id, ascending=True, nulls_first=False)]
        found: list[dict[str, Any]] = []
        while True:
            tests = [f"{id} > {literal(after)}", f"{id} <= {literal(until)}" if until is not None else "", wanted.sql]
            asked = limit - len(found) if wanted.condition is None else limit - len(found) + _MORE
            query = self._table.handle.query().where(" AND ".join(filter(None, tests))).order_by(order).limit(asked)
            rows = await self._rows(query, columns if self._table.is_own else ["id"])
            last = rows[-1]["id"] if rows else after
            if not self._table.is_own and columns != ("id",):
                # The last row of an id is the one that counts, and need not be in the same page.
                there = await self.by_id([row["id"] for row in rows], columns)
                page = sorted(there, key=lambda row: str(row["id"]))
            else:
                page = list({row["id"]: row for row in rows}.values())
            found += [row for row in page if wanted.holds(row)]
            if len(rows) < asked or len(found) >= limit:
                return found[:limit]
            after = last

    async def count(self, wanted: Wanted) -> int:
        """Return how many rows match."""
        if not self._table.is_own:
            query = self._table.handle.query()
            rows = await self._rows(query, ["id"] if wanted.condition is None else ["id", "metadata"])
            return sum(wanted.holds(row) for row in latest(rows).values())
        if wanted.condition is None:
            return int(await self._table.handle.count_rows(wanted.sql or None))
        rows = await self._rows(self._table.handle.query(), ["metadata"])
        return sum(wanted.holds(row) for row in rows)

    async def fresh(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return those rows that are the last ones of their ids."""
        if self._table.is_own:
            return list(rows)
        ids = list(dict.fromkeys(DocumentId(row["id"]) for row in rows))
        there: list[dict[str, Any]] = []
        for start in range(0, len(ids), MANY_IDS):
            some = among(ids[start : start + MANY_IDS], self._table.places.id)
            there += await self._rows(self._table.handle.query().where(some), ["id"])
        known = latest(there)
        return [row for row in rows if known[row["id"]][foreign.ROW] == row[foreign.ROW]]

    async def _rows(self, query: Any, columns: Sequence[str]) -> list[dict[str, Any]]:
        if self._table.is_own:
            rows: list[dict[str, Any]] = (await query.select(list(columns)).to_arrow()).to_pylist()
            return rows
        named = foreign.columns(self._table, list(dict.fromkeys(columns)))
        found = (await query.with_row_id().select([*named, foreign.ROW]).to_arrow()).to_pylist()
        return [foreign.row_from(self._table, row) for row in found]


def latest(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the last row of each id."""
    return {row["id"]: row for row in sorted(rows, key=lambda row: int(row[foreign.ROW]))}


def among(ids: Sequence[DocumentId], column: str = "id") -> str:
    """Return the condition that a row is of one of some ids."""
    return f"{quoted(column)} IN ({', '.join(map(literal, ids))})"
