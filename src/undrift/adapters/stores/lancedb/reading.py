"""Rows of a collection: by id, in the order of ids, and in numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from undrift.adapters.stores.lancedb.conditions import DEEPEST, depth, literal, where
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
    def parsed(cls, filter: Filter | None) -> Wanted:
        """Return what a filter asks for.

        Raises:
            BadFilter: it asks for something that the language does not have.
        """
        if filter is None:
            return cls()
        condition = parse(filter)
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
            query = self._table.handle.query().where(among(distinct[start : start + MANY_IDS]))
            rows += (await query.select([*COLUMNS, *more]).to_arrow()).to_pylist()
        return rows

    async def page(
        self, after: str, until: str | None, limit: int, *, columns: Sequence[str], wanted: Wanted
    ) -> list[dict[str, Any]]:
        """Return the first rows with after < id <= until, in the order of their ids."""
        from lancedb.query import ColumnOrdering

        order = [ColumnOrdering(column_name="id", ascending=True, nulls_first=False)]
        found: list[dict[str, Any]] = []
        while True:
            tests = [f"id > {literal(after)}", f"id <= {literal(until)}" if until is not None else "", wanted.sql]
            asked = limit - len(found) if wanted.condition is None else limit - len(found) + _MORE
            query = self._table.handle.query().where(" AND ".join(filter(None, tests))).order_by(order).limit(asked)
            rows = (await query.select(list(columns)).to_arrow()).to_pylist()
            found += [row for row in rows if wanted.holds(row)]
            if len(rows) < asked or len(found) >= limit:
                return found[:limit]
            after = rows[-1]["id"]

    async def count(self, wanted: Wanted) -> int:
        """Return how many rows match."""
        if wanted.condition is None:
            return int(await self._table.handle.count_rows(wanted.sql or None))
        rows = await self._table.handle.query().select(["metadata"]).to_arrow()
        return sum(wanted.holds(row) for row in rows.to_pylist())


def among(ids: Sequence[DocumentId]) -> str:
    """Return the condition that a row is of one of some ids."""
    return f"id IN ({', '.join(map(literal, ids))})"
