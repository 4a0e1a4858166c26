"""The store Qdrant Edge, beside the engine's own binding by hand, in the same process."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np

from benchmarks import vectors
from benchmarks.measuring import Judged, Row, Target, in_turns, latency_rows
from benchmarks.scene import ALIAS, batches, document, documents, prepare
from undrift import Document
from undrift.domain.migration import Phase
from undrift.domain.record import Vectors

BATCH = 64
_LOAD = 256
_P50 = Target(judged=Judged.RATIO, at_most=1.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is there and carried over, and how many searches and writes are made."""

    documents: int
    queries: int
    writes: int


QUICK = Size(documents=2_000, queries=50, writes=20)
FULL = Size(documents=20_000, queries=500, writes=200)


class RawEdge:
    """A shard as one would use it by hand: no tags, no checks, no ties broken, points named by UUIDs of the ids."""

    def __init__(self, folder: Path) -> None:
        import qdrant_edge as edge

        self._edge = edge
        params = edge.EdgeVectorParams(size=vectors.DIMENSIONS, distance=edge.Distance.Cosine)
        self.shard = edge.EdgeShard.create(str(folder), edge.EdgeConfig(vectors=params))

    def upsert(self, some: list[Document], made: Vectors) -> None:
        points = [
            self._edge.Point(
                str(uuid5(NAMESPACE_URL, one.id)),
                vector,
                {"id": one.id, "text": one.text, "metadata": dict(one.metadata)},
            )
            for one, vector in zip(some, made.tolist(), strict=True)
        ]
        self.shard.update(self._edge.UpdateOperation.upsert_points(points))

    def search(self, vector: Any, k: int) -> list[tuple[str, float, str]]:
        request = self._edge.QueryRequest(
            limit=k,
            query=self._edge.Query.Nearest(vector.tolist()),
            with_payload=True,
            params=self._edge.SearchParams(exact=True),
        )
        return [(one.payload["id"], one.score, one.payload["text"]) for one in self.shard.query(request)]


def measure(folder: Path, size: Size = FULL) -> list[Row]:
    """Return the rate of a back-fill, and the times of writes and searches; nothing where there is no engine."""
    if find_spec("qdrant_edge") is None:
        print("qdrant-edge-py is not installed", file=sys.stderr)
        return []
    there = list(documents(size.documents))
    scene = prepare(folder / "scene", there, store="qdrant-edge:shards")
    raw = RawEdge(folder / "raw")
    loaded = _load(raw, there)
    fresh = [[document(size.documents + BATCH * n + one) for one in range(BATCH)] for n in range(size.writes + 1)]
    made = [vectors.prepare([one.text for one in batch]) for batch in fresh]
    texts = [document(int(n)).text for n in np.random.default_rng(1).integers(0, size.documents, size.queries)]
    known = vectors.prepare(texts)
    with scene.open() as plane:
        alias = plane.alias(ALIAS)
        alias.upsert(fresh[-1])
        raw.upsert(fresh[-1], made[-1])
        writes = in_turns(
            lambda number: alias.upsert(fresh[number]),
            lambda number: raw.upsert(fresh[number], made[number]),
            size.writes,
        )
        calls = (lambda number: alias.search(texts[number], k=10), lambda number: raw.search(known[number], 10))
        in_turns(*calls, size.queries // 10)
        searches = in_turns(*calls, size.queries)
        plane.register(ALIAS, "new")
        began = time.perf_counter()
        plane.work(ALIAS, lambda migration: migration is None or migration.phase is Phase.READY)
        carried = (size.documents + BATCH * (size.writes + 1)) / (time.perf_counter() - began)
    raw.shard.close()
    return [
        Row(
            name=f"qdrant-edge: back-fill and verification of {size.documents:,} documents, vectors free",
            ours=carried,
            baseline=loaded,
            unit="docs/s",
        ),
        *latency_rows(f"qdrant-edge: insert {BATCH}", *writes, p50=_P50, p99=None),
        *latency_rows(f"qdrant-edge: search {size.documents:,} documents exactly", *searches, p50=_P50, p99=None),
    ]


def _load(raw: RawEdge, there: list[Document]) -> float:
    """Write everything, the vectors made beforehand, and return documents a second."""
    some = list(batches(there, _LOAD))
    made = [vectors.prepare([one.text for one in batch]) for batch in some]
    began = time.perf_counter()
    for batch, block in zip(some, made, strict=True):
        raw.upsert(batch, block)
    return len(there) / (time.perf_counter() - began)
