"""Whether one model is better than another, by the differences between their rankings of the very same queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undrift.domain.space import Metric
from undrift.quality.ranking import SEED, Measures, bootstrap_interval

#: Random exchanges of both models' answers; the least p-value that they can show is 1 in 20,001.
EXCHANGES = 20_000
#: Most by which chance alone may show a gain where there is none: half of what a 95 % interval leaves out.
LEVEL = 0.025
#: Queries compared at a time: bounds the memory of a search.
_BLOCK = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """The differences of one measure, query by query, the new model's minus the old one's.

    Attributes:
        differences: float64, shape (n,), each from -1 to 1.
        mean: their mean.
        low: lower end of its 95 % bootstrap interval.
        high: upper end.
    """

    differences: NDArray[np.float64]
    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, differences: Sequence[float]) -> Gain:
        """Estimate the mean of at least one difference."""
        return cls.of_each(np.asarray(differences, dtype=np.float64)[:, None])[0]

    @classmethod
    def of_each(cls, differences: NDArray[np.float64]) -> list[Gain]:
        """Estimate the mean of each column of differences, float64 of shape (n, m)."""
        lows, highs = bootstrap_interval(differences)
        # The ends are quantiles of means that were summed in another order.
        return [
            cls(
                differences=column,
                mean=float(column.mean()),
                low=min(low, column.mean()),
                high=max(high, column.mean()),
            )
            for column, low, high in zip(differences.T, lows.tolist(), highs.tolist(), strict=True)
        ]

    def p_worse(self, margin: float, *, exchanges: int = EXCHANGES) -> float:
        """Return how often chance shows such differences though the new model is worse by a margin, or more.

        A randomisation test: were it exactly so, each query's difference and its opposite would be as likely (Fisher;
        Smucker, Allan & Carterette, CIKM 2007).
        """
        shifted = self.differences + margin
        observed = shifted.sum()
        generator = np.random.default_rng(SEED)
        reached = 0
        # In portions: thousands of queries times all exchanges would be gigabytes.
        portion = max(1, 2_000_000 // len(shifted))
        for start in range(0, exchanges, portion):
            count = min(portion, exchanges - start)
            signs = generator.integers(2, size=(count, len(shifted)), dtype=np.int8) * 2.0 - 1.0
            reached += int((signs @ shifted >= observed - 1e-12).sum())
        return (1 + reached) / (1 + exchanges)

    def is_no_worse(self, margin: float) -> bool:
        """Whether the new model is shown to be less than a margin worse; with 0, to be better.

        Both must say so: the interval, which is too narrow for few queries, and the test, which is exact for any number
        of them but looks for a shift only.
        """
        return self.low > -margin and self.p_worse(margin) <= LEVEL


def gains(before: Measures, after: Measures) -> dict[str, Gain]:
    """Return the gain of each measure, by its name.

    Args:
        before: of the model that serves.
        after: of the new one, on the same golden set and k.
    """
    names = ("ndcg", "recall", "mrr")
    differences = [
        [getattr(after.by_query[id], name) - getattr(old, name) for name in names]
        for id, old in before.by_query.items()
    ]
    found = Gain.of_each(np.array(differences, dtype=np.float64))
    return {f"{name}_at_{before.k}": gain for name, gain in zip(names, found, strict=True)}


def fell_most(before: Measures, after: Measures, *, show: int = 5) -> list[dict[str, Any]]:
    """Return the queries whose nDCG fell most, the worst first; none that did not fall."""
    fallen = {id: old.ndcg - after.by_query[id].ndcg for id, old in before.by_query.items()}
    worst = sorted((-fall, id) for id, fall in fallen.items() if fall > 0)[:show]
    return [{"query": id, "before": before.by_query[id].ndcg, "after": after.by_query[id].ndcg} for _, id in worst]


def nearest(
    queries: NDArray[np.float32], documents: NDArray[np.float32], ids: Sequence[str], *, metric: Metric, k: int
) -> list[list[tuple[str, float]]]:
    """Rank all documents for each query, exactly.

    Args:
        queries: float32, shape (q, d).
        documents: float32, shape (n, d).
        ids: n ids.
        metric: how the space compares.
        k: how many are returned of each.
    """
    found: list[list[tuple[str, float]]] = []
    lengths = np.linalg.norm(documents, axis=1)
    for start in range(0, len(queries), _BLOCK):
        block = queries[start : start + _BLOCK]
        scores = block @ documents.T
        if metric is Metric.COSINE:
            # A query's own length does not change the order of its documents.
            scores /= np.where(lengths > 0, lengths, 1)
        elif metric is Metric.L2:
            scores = 2 * scores - lengths**2
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        found += [[(ids[row], float(line[row])) for row in order] for line, order in zip(scores, best, strict=True)]
    return found
