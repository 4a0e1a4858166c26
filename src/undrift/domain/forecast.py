"""How long the rest of a back-fill takes, with the interval that its own past supports and no narrower one.

The time since the first piece was published is cut into equal parts. The documents that were published in each give a
rate; what is left divided by their mean is the estimate. The rate of the time to come is taken to vary as that of the
past did, so its mean over the parts to come has the variance `s² (1/k + 1/h)`: k parts seen, h to come. Parts that
follow each other are alike, which makes k count for less: `k (1 - r) / (1 + r)`, with the correlation r of neighbours.
The interval is meant to hold the truth 19 times out of 20, if nobody pauses the work and no worker comes or goes; where
the past varies so much that no end can be told, there is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

#: Parts into which the past is cut; with fewer that have passed there is no interval.
PARTS = 20
_FEWEST_DOCUMENTS = 20
#: The 97.5th percentile of Student's t with 19 degrees of freedom, and with 1 to 18 those of fewer.
_T = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13, 2.12, 2.11, 2.10, 2.09)
_MOST_CORRELATED = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """When documents were published.

    Attributes:
        seconds: from the first piece that was published to the last.
        parts: documents that were published in each of `PARTS` equal parts of that time, without those of the first.
    """

    seconds: float = 0.0
    parts: Sequence[int] = ()

    @property
    def rate_per_s(self) -> float | None:
        """Documents a second; None before anything can be said."""
        done = sum(self.parts)
        return done / self.seconds if self.seconds > 0 and done >= _FEWEST_DOCUMENTS else None


#: Nothing was published yet.
NONE = Published()


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one worker has done for a back-fill: documents published, and pieces that it has in hand."""

    documents: int
    in_hand: int


def seconds_left(published: Published, left: int) -> tuple[float, float | None] | None:
    """Return between how many and how many seconds the rest takes.

    Args:
        published: the past.
        left: documents that are left.

    Returns:
        The least and the most; None for the most where no end can be told, and None where nothing can.
    """
    mean = published.rate_per_s
    if mean is None or len(published.parts) < PARTS or left <= 0:
        return None
    part_s = published.seconds / len(published.parts)
    rates = [count / part_s for count in published.parts]
    variance = sum((rate - mean) ** 2 for rate in rates) / (len(rates) - 1)
    correlated = _correlation(rates, mean)
    worth = max(2.0, len(rates) * (1 - correlated) / (1 + correlated))
    coming = max(1.0, left / mean / part_s)
    # What is to come is correlated as well.
    coming = max(1.0, coming * (1 - correlated) / (1 + correlated))
    off = _T[min(len(_T), int(worth) - 1) - 1] * math.sqrt(variance * (1 / worth + 1 / coming))
    return left / (mean + off), left / (mean - off) if mean > off else None


def _correlation(rates: Sequence[float], mean: float) -> float:
    """Return the correlation of neighbours; less than none is none."""
    total = sum((rate - mean) ** 2 for rate in rates)
    if total == 0:
        return 0.0
    neighbours = sum((one - mean) * (other - mean) for one, other in pairwise(rates))
    found = neighbours / total
    # Of so few parts it comes out too small by about this (Kendall).
    return min(_MOST_CORRELATED, max(0.0, found + (1 + 3 * found) / len(rates)))
