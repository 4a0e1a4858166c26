"""How long a write takes outside a migration, beside the same transaction made by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import undrift
from benchmarks import vectors, wordllama_package
from benchmarks.measuring import Judged, Row, Target, in_turns, latency_rows
from benchmarks.raw import RawClient
from benchmarks.scene import ALIAS, document, documents, prepare, real_documents
from benchmarks.scene import batches as in_batches
from undrift.domain.record import Vectors

#: Documents of one write.
BATCH = 64
_TARGET = Target(judged=Judged.RATIO, at_most=1.05)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is there, and how often is written."""

    documents: int
    writes: int


QUICK = Size(documents=2_000, writes=20)
FULL = Size(documents=20_000, writes=200)


def measure(folder: Path, size: Size = FULL) -> list[Row]:
    """Return how long it takes to insert a batch, and to replace one with other texts."""
    scene = prepare(folder / "ours", documents(size.documents))
    chance = np.random.default_rng(2)
    fresh = [
        [document(size.documents + number * BATCH + place) for place in range(BATCH)]
        for number in range(size.writes + 1)
    ]
    replaced = [
        [document(int(place), number + 1) for place in chance.choice(size.documents, BATCH, replace=False)]
        for number in range(size.writes + 1)
    ]
    rows = []
    for layout, target in (("the same tables", _TARGET), ("vec0 as it comes", None)):
        # Each writes into a file of its own, so that neither pays for what the other left in the write-ahead log.
        ours, theirs = scene.copy(folder / f"ours, {layout}"), scene.copy(folder / layout)
        raw = RawClient(theirs.store_file)
        if target is None:
            raw.lay_out_by_default()
        with ours.open() as plane:
            alias = plane.alias(ALIAS)
            for name, batches in (("insert", fresh), ("replace", replaced)):
                seconds = _write(alias, raw, batches, vectors.prepare)
                named = f"{name} {BATCH} in {size.documents:,} documents, beside {layout}"
                rows += latency_rows(named, *seconds, p50=target, p99=None)
        raw.close()
    return rows + _with_wordllama(folder, size)


def _with_wordllama(folder: Path, size: Size) -> list[Row]:
    """Write real texts with a real model; the model's own package embeds them for the baseline, within its time."""
    found = real_documents((size.writes + 1) * BATCH)
    scene = prepare(folder / "wordllama", [], model="wordllama")
    raw = RawClient(scene.copy(folder / "wordllama, raw").store_file)
    model = wordllama_package.load()
    with scene.open() as plane:
        alias = plane.alias(ALIAS)
        seconds = _write(
            alias,
            raw,
            list(in_batches(found, BATCH)),
            lambda texts: model.embed(texts, norm=True),
            embed_baseline=True,
        )
    raw.close()
    named = f"insert {BATCH} real texts, embedded by wordllama"
    return latency_rows(named, *seconds, p50=_TARGET, p99=None)


def _write(
    alias: undrift.Alias,
    raw: RawClient,
    batches: list[list[undrift.Document]],
    vectors_of: Callable[[list[str]], Vectors],
    *,
    embed_baseline: bool = False,
) -> tuple[list[float], list[float]]:
    """Write all batches in turns; the last one before the time is taken.

    Args:
        alias: ours.
        raw: the baseline.
        batches: what is written.
        vectors_of: the baseline's vectors of some texts.
        embed_baseline: whether the baseline computes them within its time.
    """
    texts = [[document.text for document in batch] for batch in batches]
    made = [vectors_of(some) for some in texts]
    alias.upsert(batches[-1])
    raw.upsert(batches[-1], made[-1])
    return in_turns(
        lambda number: alias.upsert(batches[number]),
        lambda number: raw.upsert(batches[number], vectors_of(texts[number]) if embed_baseline else made[number]),
        len(batches) - 1,
    )
