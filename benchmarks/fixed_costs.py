"""Processor time of a search and of a write in a small collection, beside the same by hand.

Neither the disk nor who else uses the machine is in it, so that what undrift adds to a call can be seen on any machine.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import vectors
from benchmarks.measuring import Row, in_turns, quantile_ms
from benchmarks.raw import RawClient
from benchmarks.scene import ALIAS, document, documents, prepare

#: Documents of one write.
BATCH = 64
#: What disturbs a call only adds to it, so that the quick ones tell what it costs.
_SHARE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is there, and how often it is searched and written."""

    documents: int
    searches: int
    writes: int


QUICK = Size(documents=1_000, searches=200, writes=20)
FULL = Size(documents=1_000, searches=2_000, writes=100)


def measure(folder: Path, size: Size = FULL) -> list[Row]:
    """Return the 10th percentiles, each with what undrift adds for one hit or one document."""
    scene = prepare(folder / "ours", documents(size.documents))
    # Writes go to a file of their own, so that neither pays for what the other left in the write-ahead log.
    theirs = scene.copy(folder / "by hand")
    texts = [document(number).text for number in range(0, size.documents, 3)]
    known = vectors.prepare(texts)
    chance = np.random.default_rng(4)
    fresh = [
        [document(size.documents + number * BATCH + place) for place in range(BATCH)] for number in range(size.writes)
    ]
    replaced = [
        [document(int(place), number + 1) for place in chance.choice(size.documents, BATCH, replace=False)]
        for number in range(size.writes)
    ]
    raw, raw_writer = RawClient(scene.store_file), RawClient(theirs.store_file)
    with scene.open() as plane:
        alias = plane.alias(ALIAS)
        rows = _rows(
            f"search {size.documents:,} documents, 10 hits",
            in_turns(
                lambda number: alias.search(texts[number % len(texts)], k=10),
                lambda number: raw.search(known[number % len(texts)], k=10),
                size.searches,
                clock=time.thread_time,
            ),
            10,
        )
        for name, batches in (("insert", fresh), ("replace", replaced)):
            made = [vectors.prepare([one.text for one in batch]) for batch in batches]
            seconds = in_turns(
                lambda number: alias.upsert(batches[number]),  # noqa: B023 - it is called at once
                lambda number: raw_writer.upsert(batches[number], made[number]),  # noqa: B023 - called at once
                size.writes,
                clock=time.thread_time,
            )
            rows += _rows(f"{name} {BATCH} in {size.documents:,} documents", seconds, BATCH)
    raw.close()
    raw_writer.close()
    return rows


def _rows(name: str, seconds: tuple[list[float], list[float]], each: int) -> list[Row]:
    ours, baseline = (quantile_ms(some, _SHARE) for some in seconds)
    return [
        Row(name=f"{name}, processor time", ours=ours, baseline=baseline, unit="ms"),
        Row(name=f"{name}, added for each", ours=(ours - baseline) * 1000 / each, unit="µs"),
    ]
