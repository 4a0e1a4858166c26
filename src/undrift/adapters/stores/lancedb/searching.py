"""The nearest rows of a collection: by comparing with all of them, or by an index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from undrift.adapters.stores.lancedb import foreign
from undrift.adapters.stores.lancedb.reading import Reader, Wanted
from undrift.adapters.stores.lancedb.tables import COLUMNS, DISTANCES, Table
from undrift.domain.record import Vector

#: Rows that are asked for beyond the wanted number, to see whether the last one has equals.
_BEYOND = 8
_READ = [*COLUMNS, "text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """How indexes are made and asked.

    Attributes:
        least: of how many records on a collection gets one.
        ef: how many candidates a search looks at, at least.
    """

    least: int
    ef: int


async def nearest(table: Table, query: Vector, *, k: int, wanted: Wanted, index: Index | None) -> list[dict[str, Any]]:
    """Return the nearest rows, at least k of them if as many match, and every equal of the k-th.

    Args:
        table: the collection.
        query: float32, shape (d,), checked.
        k: how many are wanted.
        wanted: what their metadata have to be like.
        index: how to ask an index, or None to compare with every row.
    """
    if index is not None and await table.handle.list_indices():
        asked = _asked(table, query, wanted).ef(max(index.ef, 2 * k)).refine_factor(2).limit(k)
        rows = [row for row in await Reader(table).fresh(await _rows(table, asked)) if wanted.holds(row)]
        if len(rows) >= k:
            return rows
    limit = k + _BEYOND
    while True:
        rows = await _rows(table, _asked(table, query, wanted).bypass_vector_index().limit(limit))
        found = [row for row in await Reader(table).fresh(rows) if wanted.holds(row)]
        if len(rows) < limit or (len(found) > k and found[k - 1]["_distance"] < found[-1]["_distance"]):
            return found
        limit *= 4


def _asked(table: Table, query: Vector, wanted: Wanted) -> Any:
    column, kind = table.places.vector, DISTANCES[table.metric]
    asked = table.handle.query().nearest_to(query).column(column).distance_type(kind)
    return asked.where(wanted.sql) if wanted.sql else asked


async def _rows(table: Table, asked: Any) -> list[dict[str, Any]]:
    if table.is_own:
        rows: list[dict[str, Any]] = (await asked.select([*_READ, "_distance"]).to_arrow()).to_pylist()
        return rows
    named = [*foreign.columns(table, _READ), "_distance", foreign.ROW]
    found = (await asked.with_row_id().select(named).to_arrow()).to_pylist()
    return [foreign.row_from(table, row) for row in found]
