"""The novelty lane of drift: whether some vectors lie where none lay before.

A new topic, or vectors of another model, are few at first and do not move the middle. But each of them is farther from
its nearest neighbours among the earlier vectors than those are from one another.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, sqrt

import numpy as np
from numpy.typing import NDArray

from undrift.domain.record import Vectors
from undrift.quality.chances import exceedances, normal_above, together

Numbers = NDArray[np.float64]

#: Random parts of the earlier vectors, in each of which the nearest is looked for: about as good as the five nearest of
#: all, and found in a tenth of the time.
_PARTS = 5
#: Vectors compared at a time: bounds the memory.
_BLOCK = 1024
#: Shares of the earlier vectors that are less novel than a limit beyond which later ones are counted.
_LIMITS = (0.9, 0.95, 0.99)
#: That by which the share of novel ones is estimated.
_MAIN_LIMIT = 0.95


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """Earlier vectors, and how far each is from its nearest ones.

    Attributes:
        units: float32, shape (n, d), each of length 1, in random order.
        distances: float64, shape (n,), sorted: the mean cosine distance of each from its nearest, itself left out.
    """

    units: NDArray[np.float32]
    distances: Numbers

    @classmethod
    def of(cls, units: NDArray[np.float32]) -> Neighbourhood:
        """Learn from vectors of length 1, in any order."""
        units = np.random.default_rng(0).permutation(units)
        return cls(units, np.sort(_from_nearest(units, units, np.arange(len(units)))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Novelty:
    """How much of some later vectors lies where none lay before.

    Attributes:
        chance: that so much seems to where nothing has changed.
        share: of the later vectors, less what chance alone would show.
        distances: how far each is from its nearest earlier ones, float64, shape (m,).
        limit: the distance beyond which one counts as novel.
    """

    chance: float
    share: float
    distances: Numbers
    limit: float


def novelty_in(later: Vectors, earlier: Neighbourhood, *, seed: int = 0) -> Novelty:
    """Compare later vectors, of length 1, with earlier ones.

    Args:
        later: float32, shape (m, d).
        earlier: what they are compared with.
        seed: of which earlier vector each later one does not see: as every earlier one misses itself, neither side has
            one neighbour more to choose from.
    """
    count = len(earlier.units)
    hidden = np.random.default_rng(seed).integers(count, size=len(later))
    found = _from_nearest(later, earlier.units, hidden)
    chances = [_ranked(found, earlier.distances)]
    for limit in _LIMITS:
        rank = count - floor(limit * count)
        beyond = int((found > earlier.distances[count - rank]).sum())
        chances.append(exceedances(beyond, len(found), rank, count))
    main = float(earlier.distances[floor(_MAIN_LIMIT * count)])
    usual = 1 - _MAIN_LIMIT
    share = max(0.0, (float((found > main).mean()) - usual) / (1 - usual))
    return Novelty(chance=together(chances), share=share, distances=found, limit=main)


def _from_nearest(vectors: Vectors, others: NDArray[np.float32], hidden: NDArray[np.int64]) -> Numbers:
    """Return the mean cosine distance of each vector from its nearest others, one of which it does not see."""
    found = np.empty(len(vectors))
    parts = min(_PARTS, len(others))
    edges = [len(others) * part // parts for part in range(parts)]
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK]
        near = block @ others.T
        near[np.arange(len(block)), hidden[start : start + _BLOCK]] = -1.0
        nearest = [part.max(axis=1) for part in np.split(near, edges[1:], axis=1)]
        found[start : start + _BLOCK] = 1 - np.mean(nearest, axis=0, dtype=np.float64)
    return found


def _ranked(later: Numbers, earlier: Numbers) -> float:
    """Return the chance that later values are so much larger than sorted earlier ones.

    Mann and Whitney, "On a test of whether one of two random variables is stochastically larger than the other", 1947,
    by its normal limit, with the correction for ties.
    """
    n, m = len(earlier), len(later)
    below = np.searchsorted(earlier, later, side="left") + np.searchsorted(earlier, later, side="right")
    larger = float(below.sum()) / 2
    ties = np.unique(np.concatenate([earlier, later]), return_counts=True)[1].astype(np.float64)
    total = n + m
    variance = n * m / 12 * (total + 1 - float((ties**3 - ties).sum()) / (total * (total - 1)))
    return normal_above((larger - n * m / 2) / sqrt(variance)) if variance > 0 else 1.0
