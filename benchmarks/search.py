"""How long a search takes, beside the same query put to the same file by hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import vectors, wordllama_package
from benchmarks.background import migrating
from benchmarks.measuring import Judged, Row, Target, in_turns, latency_rows, quantile_ms
from benchmarks.raw import RawClient
from benchmarks.scene import ALIAS, Scene, document, documents, prepare
from undrift.domain.route import Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is searched how often."""

    documents: int
    queries: int


QUICK = Size(documents=2_000, queries=100)
FULL = Size(documents=20_000, queries=1_000)

_P50 = Target(judged=Judged.RATIO, at_most=1.05)
_P99 = Target(judged=Judged.RATIO, at_most=1.10)
_P50_MIGRATING = Target(judged=Judged.RATIO, at_most=1.10)
#: Searches of each kind between two looks at whether a migration runs.
_BURST = 10
_GIVE_UP_S = 300.0


def measure(folder: Path, size: Size = FULL) -> list[Row]:
    """Return the medians and 99th percentiles of searches, before and during a migration."""
    scene = prepare(folder / "free", documents(size.documents))
    alone = _beside_raw(scene, size, query_of=lambda text: vectors.old([text])[0])
    during = _while_migrating(scene, size)
    named = f"search {size.documents:,} documents"
    return [
        *latency_rows(f"{named}, vector free", *alone, p50=_P50, p99=_P99),
        *_with_wordllama(folder, size, named),
        *latency_rows(f"{named}, during a migration", *during, p50=_P50_MIGRATING, p99=None),
        Row(
            name=f"{named}, during a migration beside before it, p50",
            ours=quantile_ms(during[0], 0.5),
            baseline=quantile_ms(alone[0], 0.5),
            unit="ms",
        ),
    ]


def _beside_raw(
    scene: Scene, size: Size, *, query_of: Callable[[str], np.ndarray], embed_baseline: bool = False
) -> tuple[list[float], list[float]]:
    """Search for the texts of documents, in turns through undrift and by hand.

    Args:
        scene: what is searched.
        size: how often.
        query_of: the vector of a text.
        embed_baseline: whether the baseline computes it within its time.
    """
    texts = _texts(size)
    known = [query_of(text).tobytes() for text in texts]
    raw = RawClient(scene.store_file)
    with scene.open() as plane:
        alias = plane.alias(ALIAS)

        def ours(number: int) -> object:
            return alias.search(texts[number % len(texts)], k=10)

        def baseline(number: int) -> object:
            number %= len(texts)
            return raw.search(query_of(texts[number]).tobytes() if embed_baseline else known[number], k=10)

        in_turns(ours, baseline, min(20, size.queries))
        seconds = in_turns(ours, baseline, size.queries)
    raw.close()
    return seconds


def _with_wordllama(folder: Path, size: Size, named: str) -> list[Row]:
    """Measure again with a real model, whose own package embeds the query of the baseline."""
    scene = prepare(folder / "wordllama", documents(size.documents), model="wordllama")
    model = wordllama_package.load()
    seconds = _beside_raw(scene, size, query_of=lambda text: model.embed(text, norm=True)[0], embed_baseline=True)
    return latency_rows(f"{named}, query embedded by wordllama", *seconds, p50=_P50, p99=_P99)


def _while_migrating(scene: Scene, size: Size) -> tuple[list[float], list[float]]:
    """Search in turns while a worker process migrates; what was measured between two migrations is not counted."""
    texts = _texts(size)
    known = [vectors.old([text])[0].tobytes() for text in texts]
    seconds: tuple[list[float], list[float]] = ([], [])
    raw = RawClient(scene.store_file)
    with scene.open() as plane, migrating(scene):
        alias = plane.alias(ALIAS)
        started, place = time.perf_counter(), 0
        while len(seconds[0]) < size.queries:
            if time.perf_counter() - started > _GIVE_UP_S:
                raise TimeoutError(f"only {len(seconds[0])} searches fell into a migration")
            before = alias.route()
            if before.mode is not Mode.JOURNAL:
                time.sleep(0.01)
                continue
            some = [(place + offset) % len(texts) for offset in range(_BURST)]
            place += _BURST
            burst = in_turns(
                lambda number: alias.search(texts[some[number]], k=10),  # noqa: B023 - it is called at once
                lambda number: raw.search(known[some[number]], k=10),  # noqa: B023
                _BURST,
            )
            if alias.route() == before:
                for kept, new in zip(seconds, burst, strict=True):
                    kept += new
    raw.close()
    return seconds


def _texts(size: Size) -> list[str]:
    """Choose texts of documents from all over the collection."""
    chosen = np.random.default_rng(1).integers(0, size.documents, min(size.queries, 1000))
    return [document(int(number)).text for number in chosen]
