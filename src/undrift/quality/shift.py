"""The mix lane of drift: whether the middle of one cloud of vectors lies elsewhere than that of another.

A shift of the mix of topics moves the middle. It is looked at in two ways: by its plain distance, and in the thirty
directions in which the vectors vary most, with their spreads half evened out. Topics live in the main directions: to
even all of them out wholly, as Hotelling's test does, drowns them in the rest. Both chances come from formulas, none
from permutations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from undrift.domain.record import Vectors
from undrift.quality.chances import together, weighted_chi_square_above

Numbers = NDArray[np.float64]

#: Main directions that are looked at.
_DIRECTIONS = 30
#: More are followed than are kept, so that the last ones are found soon too (after Halko, Martinsson and Tropp,
#: "Finding structure with randomness", 2011).
_SPARE, _ROUNDS = 10, 4
#: Of the largest spread, a share below which a direction counts as one in which nothing varies.
_DEAD = 1e-10


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


@dataclass(frozen=True, slots=True)
class Anchor:
    """The earlier cloud, with the directions in which it is looked at.

    The directions are of one half of the vectors, and their spreads are measured on the other: those that a sample
    varies most in are partly so by chance, and there its own spread would be too large a yardstick.

    Attributes:
        cloud: all of it.
        held_out: the half that the spreads are measured on.
        axes: float64, shape (d, at most 30), each divided by the square root of its own spread.
    """

    cloud: Cloud
    held_out: Cloud
    axes: Numbers

    @classmethod
    def of(cls, vectors: Vectors) -> Anchor:
        """Learn from float32 vectors of shape (n, d), in any order."""
        first, held_out = Cloud.of(vectors[::2]), Cloud.of(vectors[1::2])
        return cls(first.joined(held_out), held_out, _main_axes(first.scatter / first.count))


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


def shift_between(earlier: Anchor, later: Cloud) -> Shift:
    """Compare the middles of two clouds."""
    moved = later.centre - earlier.cloud.centre
    share = 1 / earlier.cloud.count + 1 / later.count
    spread = (earlier.cloud.scatter + later.scatter) / (earlier.cloud.count + later.count - 2)
    total = float(np.trace(spread))
    if total <= 0:
        has_moved = bool(np.any(moved))
        return Shift(chance=0.0 if has_moved else 1.0, radii=float("inf") if has_moved else 0.0, direction=moved)
    within = earlier.axes.T @ (earlier.held_out.scatter + later.scatter) @ earlier.axes
    chances = [
        _chance(moved, spread, share),
        _chance(earlier.axes.T @ moved, within / (earlier.held_out.count + later.count - 2), share),
    ]
    length = float(moved @ moved)
    return Shift(chance=together(chances), radii=float(np.sqrt(max(0.0, length / total - share))), direction=moved)


def _chance(moved: Numbers, spread: Numbers, share: float) -> float:
    """Return the chance that a difference of means is so long, where a single vector has such a covariance."""
    squares = spread @ spread
    powers = [np.trace(spread), np.sum(spread * spread), np.sum(spread * squares), np.sum(squares * squares)]
    return weighted_chi_square_above(float(moved @ moved) / share, [float(one) for one in powers])


def _main_axes(spread: Numbers) -> Numbers:
    """Return the directions of the largest variance, each divided by the square root of its spread."""
    wanted = min(_DIRECTIONS + _SPARE, len(spread))
    axes = np.random.default_rng(0).standard_normal((len(spread), wanted))
    for _ in range(_ROUNDS):
        axes = np.linalg.qr(spread @ axes)[0]
    within = axes.T @ spread @ axes
    sizes, turn = np.linalg.eigh((within + within.T) / 2)
    main = slice(None, -_DIRECTIONS - 1, -1)
    sizes, axes = sizes[main], axes @ turn[:, main]
    alive = sizes > _DEAD * max(float(sizes[0]), 1e-300)
    found: Numbers = axes[:, alive] / sizes[alive] ** 0.25
    return found
