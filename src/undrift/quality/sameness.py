"""Whether stored vectors are those that a model gives for their texts, and how sure a sample makes that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import lgamma, log, log1p

import numpy as np
from numpy.typing import NDArray

from undrift.domain.record import Vectors

#: Cosine distance up to which two vectors of one text count as one model's: quantised weights are half of it away, an
#: added prefix twenty times as far (measured for all-MiniLM-L6-v2 on 500 probe texts).
SAME = 1e-3
#: A model whose own repeats differ more is measured by them: its limit is so many times their largest distance.
_NOISE = 10.0
#: Confidence of every interval.
CONFIDENCE = 0.95
_STEPS = 60

Numbers = NDArray[np.float64]


def distances(stored: Vectors, made: Vectors) -> Numbers:
    """Return the cosine distance of each pair of rows, two float32 arrays of shape (n, d); nan where one has length 0.

    They are computed in float64, and never below 0.
    """
    left, right = stored.astype(np.float64), made.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = (left * right).sum(axis=1) / (np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1))
    found: Numbers = np.maximum(0.0, 1.0 - cosines)
    return found


def limit_for(noise: float) -> float:
    """Return the distance up to which two vectors are the same, for a model whose repeats are so far apart."""
    return max(SAME, _NOISE * noise)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A share and the bounds between which it lies with 95 % confidence."""

    share: float
    low: float
    high: float


def share_of(found: int, compared: int, total: int) -> Interval:
    """Return which share of all a finding in a random sample speaks for.

    Exact after Clopper and Pearson, "The use of confidence or fiducial limits", 1934; where all were compared, the
    share is known. A bound that no finding limits (none, or all) takes the whole of the error on itself.

    Args:
        found: how many of the sample have it.
        compared: the sample's size.
        total: how many there are in all.
    """
    if not compared:
        return Interval(share=0.0, low=0.0, high=1.0)
    share = found / compared
    if compared >= total:
        return Interval(share=share, low=share, high=share)
    error = 1 - CONFIDENCE
    both = error / 2 if 0 < found < compared else error
    low = 0.0 if found == 0 else _solve(lambda chance: _at_least(found, compared, chance), both)
    high = 1.0 if found == compared else 1 - _solve(lambda chance: _at_least(compared - found, compared, chance), both)
    return Interval(share=share, low=low, high=high)


def _solve(tail: Callable[[float], float], wanted: float) -> float:
    """Return the chance at which a growing function reaches a value."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if tail(middle) < wanted else (low, middle)
    return (low + high) / 2


def _at_least(found: int, compared: int, chance: float) -> float:
    """Return the chance of so many findings or more among a number of trials."""
    if chance <= 0:
        return 0.0
    if chance >= 1:
        return 1.0
    ways = lgamma(compared + 1)
    terms = [
        ways - lgamma(k + 1) - lgamma(compared - k + 1) + k * log(chance) + (compared - k) * log1p(-chance)
        for k in range(found, compared + 1)
    ]
    return float(np.exp(np.array(terms)).sum())
