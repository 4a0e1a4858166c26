"""Whether what searches return has changed more than the coming and going of documents explains.

Ranks need no judgements: twenty to fifty queries without any see what recall and nDCG need hundreds for. How much they
change by themselves is not guessed: from both of two answers a random share of the documents is taken away, as if they
had come or gone in between, and the answers are compared again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Hits that are compared, and as many as are asked for, so that there are others in the place of those taken away.
K, DEPTH = 10, 20
#: Fewer queries say too little.
LEAST = 20
#: How much of the agreement the next rank adds, as a share of the last.
_PERSISTENCE = 0.9
#: Times that documents are taken away, and how many standard deviations beyond the mean of those a limit is: the first
#: scores have a long tail, and in 100 real comparisons none was beyond this one.
_DRAWS, _DEVIATIONS = 200, 4.0
#: Drift that is passed over, and sum of the rest that is an alarm, in standard deviations.
_ALLOWED, _ALARM = 0.5, 8.0
#: Looks that make a change a lasting one.
_LASTING = 3

#: Document ids and scores, best first, of each query.
Answers = Mapping[str, Sequence[tuple[str, float]]]
Numbers = NDArray[np.float64]


def overlap(one: Sequence[str], other: Sequence[str], k: int = K) -> float:
    """Return the share of the first k ids that two rankings have in common; 1 for two that are empty."""
    longest = max(len(one[:k]), len(other[:k]))
    return len(set(one[:k]) & set(other[:k])) / longest if longest else 1.0


def rank_biased_overlap(one: Sequence[str], other: Sequence[str], k: int = K) -> float:
    """Return how alike two rankings are, the first ranks counting most; 1 for the same, 0 for nothing in common.

    Webber, Moffat and Zobel, "A similarity measure for indefinite rankings", 2010, cut at k and scaled to reach 1.
    """
    if not one and not other:
        return 1.0
    seen: tuple[set[str], set[str]] = (set(), set())
    common, total, whole, weight = 0, 0.0, 0.0, 1.0
    for depth in range(1, min(k, max(len(one), len(other))) + 1):
        for mine, its, ranking in ((0, 1, one), (1, 0, other)):
            if depth <= len(ranking) and ranking[depth - 1] not in seen[mine]:
                seen[mine].add(ranking[depth - 1])
                common += ranking[depth - 1] in seen[its]
        total += weight * common / depth
        whole += weight
        weight *= _PERSISTENCE
    return total / whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How the answers to the same queries differ, on average over the queries.

    Attributes:
        overlap: of the first ten hits.
        rank_biased: overlap that counts the first ranks most.
        top_score: by how much the score of the first hit has changed.
    """

    overlap: float
    rank_biased: float
    top_score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """What chance alone does to answers: a mean and a standard deviation of each measure.

    Attributes:
        overlap: of the loss of overlap.
        rank_biased: of the loss of overlap that counts the first ranks most.
        top_score: of the absolute change of the first score.
    """

    overlap: tuple[float, float]
    rank_biased: tuple[float, float]
    top_score: tuple[float, float]

    def excess(self, change: Change) -> dict[str, float]:
        """Return by how many standard deviations each measure is worse than usual."""
        seen = {
            "overlap": (1 - change.overlap, self.overlap),
            "rank_biased": (1 - change.rank_biased, self.rank_biased),
            "top_score": (abs(change.top_score), self.top_score),
        }
        # Where nothing ever changes, a difference of a thousandth is no chance any more.
        return {name: (value - mean) / max(spread, 1e-3) for name, (value, (mean, spread)) in seen.items()}

    def beyond(self, change: Change) -> list[str]:
        """Return the measures that are worse than the coming and going of documents makes them."""
        return [name for name, excess in self.excess(change).items() if excess > _DEVIATIONS]


def compare(before: Answers, now: Answers) -> Change:
    """Compare the answers to the queries that both have."""
    both = sorted(before.keys() & now.keys())
    ids = [([id for id, _ in before[query]], [id for id, _ in now[query]]) for query in both]
    scores = [now[query][0][1] - before[query][0][1] for query in both if before[query] and now[query]]
    return Change(
        overlap=float(np.mean([overlap(one, other) for one, other in ids])) if ids else 1.0,
        rank_biased=float(np.mean([rank_biased_overlap(one, other) for one, other in ids])) if ids else 1.0,
        top_score=float(np.mean(scores)) if scores else 0.0,
    )


def usual(answers: Answers, *, churn: float) -> Usual:
    """Learn what the coming and going of documents does to answers.

    Args:
        answers: hits of each query, `DEPTH` of them where there are as many.
        churn: share of the documents that come or go between two looks, half of it each.
    """
    documents = sorted({id for hits in answers.values() for id, _ in hits})
    rng = np.random.default_rng(0)
    losses = np.empty((_DRAWS, 3))
    for draw in range(_DRAWS):
        before, now = (
            _without(answers, {documents[row] for row in np.flatnonzero(rng.random(len(documents)) < churn / 2)})
            for _ in range(2)
        )
        change = compare(before, now)
        losses[draw] = 1 - change.overlap, 1 - change.rank_biased, abs(change.top_score)
    means, spreads = losses.mean(axis=0), losses.std(axis=0)
    found = [(float(mean), float(spread)) for mean, spread in zip(means, spreads, strict=True)]
    return Usual(overlap=found[0], rank_biased=found[1], top_score=found[2])


def _without(answers: Answers, gone: set[str]) -> Answers:
    return {query: [(id, score) for id, score in hits if id not in gone] for query, hits in answers.items()}


@dataclass(frozen=True, slots=True)
class Point:
    """Where a series has got to: how far it has risen above what is usual, since which look, and in how many."""

    sum: float
    since: int
    looks: int

    @property
    def has_changed(self) -> bool:
        """Whether the series has changed for good: by chance alone about once in 19,000 looks."""
        return self.sum > _ALARM and self.looks >= _LASTING


def changed_since(excess: Sequence[float]) -> Point:
    """Look for a lasting change in a series of excesses, in standard deviations, the oldest first.

    The cumulative sum of Page, "Continuous inspection schemes", 1954. The looks between two false alarms are by
    Siegmund's formula (Sequential Analysis, 1985, section 2.6): (exp(2kb) - 2kb - 1) / 2k^2 with b = h + 1.166, k = 0.5
    and h = 8, for looks that do not depend on each other.
    """
    total, since = 0.0, 0
    for number, value in enumerate(excess):
        if total == 0.0:
            since = number
        total = max(0.0, total + value - _ALLOWED)
    return Point(total, since, len(excess) - since if total > 0 else 0)
