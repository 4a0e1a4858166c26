"""The Milvus store, beside pymilvus by hand on the same server: that of Milvus Lite, which is no Milvus server."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import vectors
from benchmarks.measuring import Judged, Row, Target, in_turns, latency_rows
from benchmarks.scene import ALIAS, document, documents, prepare
from tests.conformance.milvus_server import running_server
from undrift import Document
from undrift.domain.record import Vector, Vectors

BATCH = 64
_P50 = Target(judged=Judged.RATIO, at_most=1.05)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is there, and how many searches and batches are timed."""

    documents: int
    queries: int
    writes: int


QUICK = Size(documents=1_000, queries=30, writes=10)
FULL = Size(documents=2_000, queries=60, writes=20)


def measure(folder: Path, size: Size = FULL) -> list[Row]:
    """Return the times of writes and searches; nothing where Milvus Lite is not installed."""
    if find_spec("pymilvus") is None or find_spec("milvus_lite") is None:
        print("pymilvus and milvus-lite are not installed", file=sys.stderr)
        return []
    with running_server(folder / "data") as port:
        scene = prepare(folder / "scene", documents(size.documents), store=f"milvus://127.0.0.1:{port}")
        raw = RawMilvus(f"http://127.0.0.1:{port}")
        chosen = np.random.default_rng(1).integers(0, size.documents, size.queries)
        texts = [document(int(number)).text for number in chosen]
        known = vectors.prepare(texts)
        first = size.documents
        fresh = [
            [document(first + number * BATCH + place) for place in range(BATCH)] for number in range(2 * size.writes)
        ]
        made = [vectors.prepare([one.text for one in batch]) for batch in fresh]
        with scene.open() as plane:
            alias = plane.alias(ALIAS)
            calls = (
                lambda number: alias.search(texts[number], k=10),
                lambda number: raw.search(known[number]),
            )
            in_turns(*calls, size.queries // 10)
            searches = in_turns(*calls, size.queries)
            # Both into the one collection, each its own documents.
            writes = in_turns(
                lambda number: alias.upsert(fresh[2 * number]),
                lambda number: raw.upsert(fresh[2 * number + 1], made[2 * number + 1]),
                size.writes,
            )
        raw.close()
    return [
        *latency_rows(f"milvus lite: search {size.documents:,} documents exactly", *searches, p50=_P50, p99=None),
        *latency_rows(f"milvus lite: upsert {BATCH}, beside pymilvus by hand", *writes, p50=_P50, p99=None),
    ]


class RawMilvus:
    """One client, and the collection that undrift made."""

    def __init__(self, address: str) -> None:
        """Connect."""
        from pymilvus import MilvusClient

        self._client = MilvusClient(uri=address)

    def upsert(self, documents: Sequence[Document], made: Vectors) -> None:
        """Write a batch, whatever is there."""
        rows = [
            {
                "id": one.id,
                "text": one.text,
                "metadata": dict(one.metadata),
                "space": "callable/old-0000000000000000",
                "content": "0" * 32,
                "sequence": 0,
                "vector": vector,
            }
            for one, vector in zip(documents, made, strict=True)
        ]
        self._client.upsert(ALIAS, rows)

    def search(self, vector: Vector) -> Any:
        """Return the ten nearest documents."""
        return self._client.search(
            ALIAS,
            data=[vector],
            anns_field="vector",
            limit=10,
            output_fields=["id", "text", "metadata"],
            search_params={"metric_type": "COSINE"},
            consistency_level="Strong",
        )

    def close(self) -> None:
        """Disconnect."""
        self._client.close()
