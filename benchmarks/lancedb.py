"""The LanceDB store, beside LanceDB's own client in the same folder, and beside itself before many writes."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import vectors
from benchmarks.measuring import Judged, Row, Target, in_turns, latency_rows, timed
from benchmarks.scene import ALIAS, document, documents, prepare
from undrift import Document
from undrift.domain.record import Vector, Vectors

BATCH = 64
_TAG = ("callable/old-0000000000000000", "0" * 32, 0)
_P50 = Target(judged=Judged.RATIO, at_most=1.05)
_GROWTH = Target(judged=Judged.RATIO, at_most=1.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is there, how many searches and batches are timed, and how many writes are made before the last."""

    documents: int
    queries: int
    writes: int
    many: int


QUICK = Size(documents=2_000, queries=40, writes=16, many=300)
FULL = Size(documents=10_000, queries=200, writes=60, many=1_000)


def measure(folder: Path, size: Size = FULL) -> list[Row]:
    """Return the times of writes and searches; nothing where LanceDB is not installed."""
    if find_spec("lancedb") is None or find_spec("lance") is None:
        print("lancedb and pylance are not installed", file=sys.stderr)
        return []
    return [*_searches(folder, size), *_writes(folder, size), *_growth(folder, size)]


class RawLance:
    """LanceDB's own client and a table like undrift's; the program opens it once."""

    def __init__(self, place: Path, name: str) -> None:
        """Open it."""
        import lancedb

        self._loop = asyncio.new_event_loop()
        self._database = self._loop.run_until_complete(
            lancedb.connect_async(str(place), read_consistency_interval=None)
        )
        self._table = self._loop.run_until_complete(self._database.open_table(name))

    def like(self, name: str) -> None:
        """Go on with an empty table of the same columns."""
        schema = self._loop.run_until_complete(self._table.schema())
        self._table = self._loop.run_until_complete(self._database.create_table(name, schema=schema))

    def upsert(self, documents: Sequence[Document], made: Vectors) -> None:
        """Write a batch, whatever is there."""
        import pyarrow as pa

        metadata = pa.array([json.dumps(dict(one.metadata)) for one in documents], pa.string())
        block = pa.table(
            {
                "id": [one.id for one in documents],
                "text": [one.text for one in documents],
                "metadata": pa.ExtensionArray.from_storage(pa.json_(), metadata),
                "space": [_TAG[0]] * len(documents),
                "content": [_TAG[1]] * len(documents),
                "sequence": [_TAG[2]] * len(documents),
                "revision": [1] * len(documents),
                "vector": pa.FixedSizeListArray.from_arrays(pa.array(made.reshape(-1)), made.shape[1]),
            }
        )
        block = block.cast(block.schema.set(0, pa.field("id", pa.string(), nullable=False)))
        merge = self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        self._loop.run_until_complete(merge.execute(block))

    def search(self, vector: Vector, k: int = 10) -> list[dict[str, Any]]:
        """Return the k nearest documents."""
        asked = self._table.query().nearest_to(vector).column("vector").distance_type("cosine")
        asked = asked.select(["id", "text", "metadata", "_distance"]).limit(k)
        rows = self._loop.run_until_complete(asked.to_arrow()).to_pylist()
        return [{**row, "metadata": json.loads(row["metadata"]), "score": 1 - row["_distance"]} for row in rows]

    def close(self) -> None:
        """Let go of the loop."""
        self._loop.close()


def _searches(folder: Path, size: Size) -> list[Row]:
    scene = prepare(folder / "searches", documents(size.documents), store="lancedb:vectors")
    raw = RawLance(folder / "searches" / "vectors", ALIAS)
    chosen = np.random.default_rng(1).integers(0, size.documents, size.queries)
    texts = [document(int(number)).text for number in chosen]
    known = vectors.prepare(texts)
    with scene.open() as plane:
        alias = plane.alias(ALIAS)
        calls = (
            lambda number: alias.search(texts[number], k=10),
            lambda number: raw.search(known[number], k=10),
        )
        in_turns(*calls, size.queries // 10)
        seconds = in_turns(*calls, size.queries)
    raw.close()
    return latency_rows(f"lancedb: search {size.documents:,} documents exactly", *seconds, p50=_P50, p99=None)


def _writes(folder: Path, size: Size) -> list[Row]:
    scene = prepare(folder / "writes", [], store="lancedb:vectors")
    fresh = [[document(number * BATCH + place) for place in range(BATCH)] for number in range(size.writes + 1)]
    made = [vectors.prepare([one.text for one in batch]) for batch in fresh]
    with scene.open() as plane:
        alias = plane.alias(ALIAS)
        alias.upsert(fresh[-1])
        raw = RawLance(folder / "writes" / "vectors", ALIAS)
        raw.like("by_hand")
        raw.upsert(fresh[-1], made[-1])
        ours, by_hand = in_turns(
            lambda number: alias.upsert(fresh[number]),
            lambda number: raw.upsert(fresh[number], made[number]),
            size.writes,
        )
    raw.close()
    return latency_rows(
        f"lancedb: insert {BATCH}, beside its own client, nobody tidies up", ours, by_hand, p50=_P50, p99=None
    )


def _growth(folder: Path, size: Size) -> list[Row]:
    """Write single documents into a collection; the last writes beside the first."""
    scene = prepare(folder / "growth", documents(size.documents), store="lancedb:vectors")
    chosen = [int(number) for number in np.random.default_rng(2).integers(0, size.documents, size.many)]
    vectors.prepare([document(number).text for number in chosen])
    with scene.open() as plane:
        alias = plane.alias(ALIAS)
        seconds = [timed(lambda: alias.upsert([document(number)])) for number in chosen]  # noqa: B023 - called at once
    part = min(50, size.many // 4)
    named = f"lancedb: upsert 1 after {size.many:,} writes, beside the first {part}"
    return latency_rows(named, seconds[-part:], seconds[:part], p50=_GROWTH, p99=None)
