"""The Chroma store on a server and in a folder, beside Chroma's own client with the same documents."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import vectors
from benchmarks.measuring import Judged, Row, Target, in_turns, latency_rows, timed
from benchmarks.scene import ALIAS, Scene, batches, document, documents, prepare
from tests.conformance.chroma_door import close_client, folder_client, server_client
from tests.conformance.chroma_server import running_chroma
from undrift import Document
from undrift.domain.migration import Phase
from undrift.domain.record import Vector, Vectors

BATCH = 64
_P50 = Target(judged=Judged.RATIO, at_most=1.05)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is there and carried over, and how many searches and writes are made."""

    documents: int
    queries: int
    writes: int


QUICK = Size(documents=500, queries=30, writes=4)
FULL = Size(documents=5_000, queries=300, writes=30)


def measure(folder: Path, size: Size = FULL) -> list[Row]:
    """Return the rate of a back-fill, and the times of writes and searches; nothing where Chroma is not installed."""
    if find_spec("chromadb") is None:
        print("chromadb is not installed", file=sys.stderr)
        return []
    (folder / "server").mkdir()
    with running_chroma(folder / "server") as server:
        rows = _measured("Chroma", folder / "by server", server.url, lambda: server_client(server.port), size)
    # A client of this process shares the folder with undrift.
    place = folder / "vectors"
    return rows + _measured(
        "Chroma, a folder", folder / "by folder", f"chroma:{place}", lambda: folder_client(place), size
    )


def _measured(named: str, folder: Path, url: str, client_of: Callable[[], Any], size: Size) -> list[Row]:
    scene = prepare(folder, documents(size.documents), store=url)
    client = client_of()
    try:
        return [row for part in (_writes, _searches, _backfill) for row in part(named, scene, client, size)]
    finally:
        close_client(client)


class RawChroma:
    """A collection as its users fill and search it by hand."""

    def __init__(self, client: Any, name: str) -> None:
        """Make it; vectors are compared by the cosine."""
        self._collection = client.create_collection(
            name, embedding_function=None, configuration={"hnsw": {"space": "cosine", "ef_search": 200}}
        )

    def add(self, documents: Sequence[Document], made: Vectors) -> None:
        """Write new documents."""
        self._collection.add(**_columns(documents, made))

    def upsert(self, documents: Sequence[Document], made: Vectors) -> None:
        """Write documents, whatever is there."""
        self._collection.upsert(**_columns(documents, made))

    def search(self, vector: Vector, k: int = 10, where: Any = None) -> list[dict[str, Any]]:
        """Return the k nearest documents."""
        found = self._collection.query(query_embeddings=[vector], n_results=k, where=where)
        return [
            {"id": id, "text": text, "metadata": metadata, "score": 1 - distance}
            for id, text, metadata, distance in zip(
                *(found[name][0] for name in ("ids", "documents", "metadatas", "distances")), strict=True
            )
        ]


def _columns(documents: Sequence[Document], made: Vectors) -> dict[str, Any]:
    return {
        "ids": [one.id for one in documents],
        "embeddings": list(made),
        "documents": [one.text for one in documents],
        "metadatas": [dict(one.metadata) or None for one in documents],
    }


def _writes(named: str, scene: Scene, client: Any, size: Size) -> list[Row]:
    raw = RawChroma(client, "writes-by-hand")
    fresh = [
        [document(size.documents + number * BATCH + place) for place in range(BATCH)] for number in range(size.writes)
    ]
    made = [vectors.prepare([one.text for one in batch]) for batch in fresh]
    for batch in batches(documents(size.documents), 500):
        raw.add(batch, vectors.prepare([one.text for one in batch]))
    with scene.open() as plane:
        alias = plane.alias(ALIAS)
        insert = in_turns(
            lambda number: alias.upsert(fresh[number]),
            lambda number: raw.upsert(fresh[number], made[number]),
            size.writes,
        )
        replace = in_turns(
            lambda number: alias.upsert(fresh[number]),
            lambda number: raw.upsert(fresh[number], made[number]),
            size.writes,
        )
        alias.delete([one.id for batch in fresh for one in batch])
    return [
        *latency_rows(f"{named}: insert {BATCH}", *insert, p50=_P50, p99=None),
        *latency_rows(f"{named}: replace {BATCH}", *replace, p50=_P50, p99=None),
    ]


def _searches(named: str, scene: Scene, client: Any, size: Size) -> list[Row]:
    raw = RawChroma(client, "searches-by-hand")
    for batch in batches(documents(size.documents), 500):
        raw.add(batch, vectors.prepare([one.text for one in batch]))
    chosen = np.random.default_rng(1).integers(0, size.documents, size.queries)
    texts = [document(int(number)).text for number in chosen]
    known = vectors.prepare(texts)
    rows: list[Row] = []
    with scene.open() as plane:
        alias = plane.alias(ALIAS)
        for how, where in (("", None), (", with a filter", {"part": 3})):
            calls = (
                lambda number, where=where: alias.search(texts[number], k=10, filter=where),
                lambda number, where=where: raw.search(known[number], k=10, where=where),
            )
            in_turns(*calls, size.queries // 10)
            seconds = in_turns(*calls, size.queries)
            rows += latency_rows(f"{named}: search {size.documents:,} documents{how}", *seconds, p50=_P50, p99=None)
    return rows


def _backfill(named: str, scene: Scene, client: Any, size: Size) -> list[Row]:
    raw, by_hand = RawChroma(client, "load-by-hand"), 0.0
    for batch in batches(documents(size.documents), 256):
        made = vectors.new([one.text for one in batch])
        started = time.perf_counter()
        raw.add(batch, made)
        by_hand += time.perf_counter() - started
    with scene.open() as plane:
        plane.register(ALIAS, "new")
        plane.work(ALIAS, lambda migration: migration is None or migration.phase is Phase.BACKFILL)
        seconds = timed(
            lambda: plane.work(ALIAS, lambda migration: migration is None or migration.phase is not Phase.BACKFILL)
        )
    return [
        Row(
            name=f"{named}: back-fill {size.documents:,} documents, vectors free, beside `add` by hand",
            ours=size.documents / seconds,
            baseline=size.documents / by_hand,
            unit="docs/s",
        )
    ]
