"""What it costs to keep vectors that were paid for, and what it saves to have them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.measuring import Row, timed
from undrift.adapters.caches.sqlite import SqliteVectorCache
from undrift.domain.record import content_hash
from undrift.domain.space import SpaceId
from undrift.domain.tuning import PIECE

_SPACE = SpaceId("measured-1536-0")
_DIMENSIONS = 1536


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many vectors, and how many of them the file has room for."""

    vectors: int
    room: int


QUICK = Size(vectors=4 * PIECE, room=2 * PIECE)
FULL = Size(vectors=80 * PIECE, room=40 * PIECE)


def measure(folder: Path, size: Size = FULL) -> list[Row]:
    """Return vectors a second that are kept and found again, a piece at a time, with room and without."""
    chance = np.random.default_rng(1)
    batch = chance.standard_normal((PIECE, _DIMENSIONS), dtype=np.float32)
    pieces = [
        [content_hash(f"text {number}") for number in range(start, start + PIECE)]
        for start in range(0, size.vectors, PIECE)
    ]
    roomy = SqliteVectorCache(folder / "roomy")
    tight = SqliteVectorCache(folder / "tight", max_bytes=size.room * _DIMENSIONS * 4)
    rows = []
    for cache, what in ((roomy, "with room"), (tight, "where old ones have to leave")):
        seconds = sum(timed(partial(cache.put, _SPACE, piece, batch)) for piece in pieces)
        rows.append(Row(name=f"keep {_DIMENSIONS} dimensions, {what}", ours=size.vectors / seconds, unit="vectors/s"))
    found = sum(timed(partial(roomy.get, _SPACE, piece)) for piece in pieces)
    rows.append(Row(name="find them again", ours=size.vectors / found, unit="vectors/s"))
    left = (folder / "tight").stat().st_size / (size.room * _DIMENSIONS * 4)
    rows.append(Row(name="size of the file beside what it may have", ours=left, baseline=1.0, unit=""))
    roomy.close()
    tight.close()
    return rows
