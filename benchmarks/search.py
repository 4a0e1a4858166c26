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

#: How long each search took, through undrift and by hand.
Seconds = tuple[list[float], list[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is searched how often; a migration runs with the most documents only."""

    documents: tuple[int, ...]
    queries: int


QUICK = Size(documents=(1_000, 2_000), queries=100)
FULL = Size(documents=(5_000, 20_000), queries=1_000)

_P50 = Target(judged=Judged.RATIO, at_most=1.05)
_P99 = Target(judged=Judged.RATIO, at_most=1.10)
_P50_MIGRATING = Target(judged=Judged.RATIO, at_most=1.10)
#: Searches of each kind between two looks at whether a migration runs.
_BURST = 10
_GIVE_UP_S = 300.0


def measure(folder: Path, size: Size = FULL) -> list[Row]:
    """Return the medians and 99th percentiles of searches, before and during a migration."""
    rows: list[Row] = []
    for count in size.documents[:-1]:
        rows += _alone_rows(count, _before(folder, count, size)[2])
    largest = size.documents[-1]
    scene, texts, before = _before(folder, largest, size)
    during = _while_migrating(scene, texts, size)
    named = f"search {largest:,} documents"
    return [
        *rows,
        *_alone_rows(largest, before),
        *_with_wordllama(folder, texts, size, named),
        *latency_rows(f"{named}, during a migration", *during, p50=_P50_MIGRATING, p99=None),
        Row(
            name=f"{named}, during beside before, p50",
            ours=quantile_ms(during[0], 0.5),
            baseline=quantile_ms(before[0], 0.5),
            unit="ms",
        ),
    ]


def _before(folder: Path, count: int, size: Size) -> tuple[Scene, list[str], Seconds]:
    """Make a scene of so many documents and search there while no migration runs."""
    scene = prepare(folder / f"{count}", documents(count))
    texts = _texts(count, size.queries)
    return scene, texts, _beside_raw(scene, texts, size, query_of=lambda text: vectors.old([text])[0])


def _alone_rows(count: int, seconds: Seconds) -> list[Row]:
    return latency_rows(f"search {count:,} documents, vector free", *seconds, p50=_P50, p99=_P99)


def _beside_raw(
    scene: Scene, texts: list[str], size: Size, *, query_of: Callable[[str], np.ndarray], embed_baseline: bool = False
) -> Seconds:
    """Search for the texts of documents, in turns through undrift and by hand.

    Args:
        scene: what is searched.
        texts: what is searched for.
        size: how often.
        query_of: the vector of a text.
        embed_baseline: whether the baseline computes it within its time.
    """
    known = [query_of(text).tobytes() for text in texts]
    raw = RawClient(scene.store_file)
    with scene.open() as plane:
        alias = plane.alias(ALIAS)

        def ours(number: int) -> object:
            return alias.search(texts[number % len(texts)], k=10)

        def baseline(number: int) -> object:
            number %= len(texts)
            return raw.search(query_of(texts[number]).tobytes() if embed_baseline else known[number], k=10)

        in_turns(ours, baseline, len(texts))
        seconds = in_turns(ours, baseline, size.queries)
    raw.close()
    return seconds


def _with_wordllama(folder: Path, texts: list[str], size: Size, named: str) -> list[Row]:
    """Measure again with a real model, whose own package embeds the query of the baseline."""
    scene = prepare(folder / "wordllama", documents(max(size.documents)), model="wordllama")
    model = wordllama_package.load()
    seconds = _beside_raw(
        scene, texts, size, query_of=lambda text: model.embed(text, norm=True)[0], embed_baseline=True
    )
    return latency_rows(f"{named}, query embedded by wordllama", *seconds, p50=_P50, p99=_P99)


def _while_migrating(scene: Scene, texts: list[str], size: Size) -> Seconds:
    """Search in turns while a worker process migrates; what was measured between two migrations is not counted."""
    known = [vectors.old([text])[0].tobytes() for text in texts]
    seconds: Seconds = ([], [])
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
                seconds[0].extend(burst[0])
                seconds[1].extend(burst[1])
    raw.close()
    return seconds


def _texts(documents: int, queries: int) -> list[str]:
    """Choose texts of documents from all over the collection."""
    chosen = np.random.default_rng(1).integers(0, documents, min(queries, 1000))
    return [document(int(number)).text for number in chosen]
