"""Whether the middle of one cloud of vectors lies elsewhere than that of another.

A shift of the mix of topics moves the middle. Its plain distance is looked at: topics live in the directions in which
the vectors vary most, and to even those out, as Hotelling's test does, drowns them in the rest. The chance comes from a
formula.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from undrift.domain.record import Vectors
from undrift.quality.chances import weighted_chi_square_above

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Cloud:
    """What of some vectors matters for where their middle is.

    Attributes:
        count: how many there are.
        centre: their mean, float64, shape (d,).
        scatter: the sum of the products of their deviations from it, float64, shape (d, d).
    """

    count: int
    centre: Numbers
    scatter: Numbers

    @classmethod
    def of(cls, vectors: Vectors) -> Cloud:
        """Summarise float32 vectors of shape (n, d)."""
        centre = vectors.mean(axis=0, dtype=np.float64)
        away = vectors - centre.astype(np.float32)
        return cls(count=len(vectors), centre=centre, scatter=(away.T @ away).astype(np.float64))

    def joined(self, other: Cloud) -> Cloud:
        """Return what is true of the vectors of both."""
        count = self.count + other.count
        between = other.centre - self.centre
        return Cloud(
            count=count,
            centre=self.centre + between * (other.count / count),
            scatter=self.scatter + other.scatter + np.outer(between, between) * (self.count * other.count / count),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """How far the middle has moved.

    Attributes:
        chance: that it seems to have moved so far where nothing has changed.
        radii: how far, in units of the mean distance from the middle, less what chance alone would show.
        direction: from the earlier middle to the later one, float64, shape (d,).
    """

    chance: float
    radii: float
    direction: Numbers


def shift_between(earlier: Cloud, later: Cloud) -> Shift:
    """Compare the middles of two clouds."""
    moved = later.centre - earlier.centre
    share = 1 / earlier.count + 1 / later.count
    spread = (earlier.scatter + later.scatter) / (earlier.count + later.count - 2)
    total = float(np.trace(spread))
    if total <= 0:
        has_moved = bool(np.any(moved))
        return Shift(chance=0.0 if has_moved else 1.0, radii=float("inf") if has_moved else 0.0, direction=moved)
    squares = spread @ spread
    powers = [total, *(float(np.vdot(*pair)) for pair in ((spread, spread), (spread, squares), (squares, squares)))]
    length = float(moved @ moved)
    return Shift(
        chance=weighted_chi_square_above(length / share, powers),
        radii=float(np.sqrt(max(0.0, length / total - share))),
        direction=moved,
    )
