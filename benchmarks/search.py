"""How long a search takes, beside the same query put to the same file by hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import vectors, wordllama_package
from benchmarks.background import migrating
from benchmarks.measuring import Judged, Row, Target, in_turns, latency_rows, quantile_ms
from benchmarks.raw import RawClient
from benchmarks.scene import ALIAS, Scene, document, documents, prepare, real_documents
from undrift.domain.route import Mode

#: How long each search took, through undrift and by hand.
Seconds = tuple[list[float], list[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is searched how often; a migration runs with the most documents only. `texts` are real ones."""

    documents: tuple[int, ...]
    queries: int
    texts: int


QUICK = Size(documents=(1_000, 2_000), queries=100, texts=500)
FULL = Size(documents=(5_000, 20_000), queries=1_000, texts=10_000)

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
        *_with_wordllama(folder, size),
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
    return scene, texts, _beside_raw(scene, texts, size, vector_of=lambda text: vectors.prepare([text])[0])


def _alone_rows(count: int, seconds: Seconds) -> list[Row]:
    return latency_rows(f"search {count:,} documents, vector free", *seconds, p50=_P50, p99=_P99)


def _beside_raw(
    scene: Scene,
    texts: list[str],
    size: Size,
    *,
    vector_of: Callable[[str], NDArray[np.float32]],
    embed_baseline: bool = False,
) -> Seconds:
    """Search in turns through undrift and by hand.

    Args:
        scene: what is searched.
        texts: what is searched for.
        size: how often.
        vector_of: the baseline's vector of a text.
        embed_baseline: whether the baseline computes it within its time.
    """
    known = [vector_of(text) for text in texts]
    raw = RawClient(scene.store_file)
    with scene.open() as plane:
        alias = plane.alias(ALIAS)

        def ours(number: int) -> object:
            return alias.search(texts[number % len(texts)], k=10)

        def baseline(number: int) -> object:
            place = number % len(texts)
            return raw.search(vector_of(texts[place]) if embed_baseline else known[place], k=10)

        in_turns(ours, baseline, len(texts) // 10)
        seconds = in_turns(ours, baseline, size.queries)
    raw.close()
    return seconds


def _with_wordllama(folder: Path, size: Size) -> list[Row]:
    """Measure again with a real model on real texts; the model's own package embeds the query of the baseline."""
    found = real_documents(size.texts)
    scene = prepare(folder / "wordllama", found, model="wordllama")
    chance = np.random.default_rng(1)
    texts = [found[place].text[:100] for place in chance.integers(0, len(found), size.queries)]
    model = wordllama_package.load()
    seconds = _beside_raw(
        scene, texts, size, vector_of=lambda text: model.embed(text, norm=True)[0], embed_baseline=True
    )
    named = f"search {len(found):,} real texts, query embedded by wordllama"
    return latency_rows(named, *seconds, p50=_P50, p99=_P99)


def _while_migrating(scene: Scene, texts: list[str], size: Size) -> Seconds:
    """Search in turns while a worker process migrates; what was measured between two migrations is not counted."""
    known = vectors.prepare(texts)
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
                lambda number: raw.search(known[some[number]], k=10),  # noqa: B023 - called at once
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
