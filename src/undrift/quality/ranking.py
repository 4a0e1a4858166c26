"""How good rankings are, measured on a golden set: nDCG, recall and reciprocal rank, each with its uncertainty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undrift.errors import BadArgument, MissingExtra
from undrift.quality.golden import GoldenQuery, GoldenSet

#: Document ids and scores, best first; the order counts, not the scores.
Ranking = Sequence[tuple[str, float]]

#: An interval's ends then vary from seed to seed by about 4 % of the mean's standard error.
RESAMPLES = 5_000
CONFIDENCE = 0.95
# Fixed, so that the same rankings always give the same interval.
SEED = 20_240_229


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryMeasures:
    """What one query's ranking is worth, each from 0 to 1."""

    ndcg: float
    recall: float
    mrr: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over queries and its 95 % interval; of a single query the interval is a point and says nothing."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """What rankings are worth on a golden set.

    Attributes:
        set: the golden set's name.
        k: how many hits of each query were looked at.
        by_query: every measured query's values by its id, in the order of the set.
        unjudged: how many queries were left out because nobody named a relevant document.
        ndcg: normalised discounted cumulative gain at k.
        recall: share of the relevant documents among the first k.
        mrr: one divided by the rank of the first relevant document, 0 when it is not among the first k.
    """

    set: str
    k: int
    by_query: Mapping[str, QueryMeasures]
    unjudged: int
    ndcg: Estimate
    recall: Estimate
    mrr: Estimate

    def as_dict(self, space: str) -> dict[str, Any]:
        """Return the means and intervals as JSON-ready values.

        Args:
            space: the id of the space in which was searched.
        """
        estimates = {f"ndcg_at_{self.k}": self.ndcg, f"recall_at_{self.k}": self.recall, f"mrr_at_{self.k}": self.mrr}
        return {
            "set": self.set,
            "queries": len(self.by_query),
            "unjudged": self.unjudged,
            "k": self.k,
            "space": space,
            **{name: one.mean for name, one in estimates.items()},
            "ci95": {name: [one.low, one.high] for name, one in estimates.items()},
        }


def measure(golden: GoldenSet, rankings: Mapping[str, Ranking], *, k: int = 10) -> Measures:
    """Measure rankings by trec_eval: linear gains, a discount of log2(rank + 1), any grade above 0 is relevant.

    A query whose search returned nothing, or that has no ranking, counts as 0; rankings of queries without a relevant
    document are ignored.

    Args:
        golden: the queries and their relevant documents.
        rankings: what was found, by query id; hits beyond the k-th are ignored.
        k: how many hits are looked at.

    Raises:
        BadArgument: k is not positive, no query has a relevant document, or a ranking is of a query that is not in the
            set or has a document twice.
        MissingExtra: trec_eval is not installed.
    """
    judged = golden.judged
    _check(golden, rankings, k)
    found = _by_trec_eval(judged, rankings, k)
    nothing = QueryMeasures(ndcg=0.0, recall=0.0, mrr=0.0)
    by_query = {query.id: found.get(query.id, nothing) for query in judged}
    values = np.array([(one.ndcg, one.recall, one.mrr) for one in by_query.values()])
    low, high = bootstrap_interval(values)
    means = values.mean(axis=0)
    ndcg, recall, mrr = (Estimate(mean=float(means[i]), low=float(low[i]), high=float(high[i])) for i in range(3))
    return Measures(
        set=golden.name,
        k=k,
        by_query=by_query,
        unjudged=len(golden.queries) - len(judged),
        ndcg=ndcg,
        recall=recall,
        mrr=mrr,
    )


def bootstrap_interval(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends of the 95 % percentile bootstrap interval of column means.

    Rows are drawn with replacement, all columns of a row together; the same values always give the same interval
    (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13).

    Args:
        values: float64, shape (n, m), n > 0; a row per query.

    Returns:
        The lower and the upper ends, both float64 of shape (m,).
    """
    generator = np.random.default_rng(SEED)
    n = len(values)
    means = np.empty((RESAMPLES, values.shape[1]))
    for row in range(RESAMPLES):
        # How often each query was drawn; a resample of thousands of rows is never laid out.
        means[row] = np.bincount(generator.integers(n, size=n), minlength=n) @ values / n
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, (tail, 1 - tail), axis=0)
    return low, high


def _check(golden: GoldenSet, rankings: Mapping[str, Ranking], k: int) -> None:
    if k < 1:
        raise BadArgument(f"the first {k} hits cannot be measured; at least 1 is needed")
    if not golden.judged:
        raise BadArgument(
            f"golden set {golden.name!r} has no query with a relevant document",
            hint="undrift golden import, with judgements of a relevance above 0",
        )
    unknown = rankings.keys() - {query.id for query in golden.queries}
    if unknown:
        raise BadArgument(f"golden set {golden.name!r} has no query {min(unknown)!r}, of which a ranking was given")
    for id, ranking in rankings.items():
        if len({document for document, _ in ranking}) != len(ranking):
            raise BadArgument(f"the ranking of golden query {id!r} has a document twice")


def _by_trec_eval(judged: Sequence[GoldenQuery], rankings: Mapping[str, Ranking], k: int) -> dict[str, QueryMeasures]:
    try:
        import pytrec_eval
    except ImportError as error:
        raise MissingExtra(
            "quality is measured by pytrec_eval, which is not installed", hint="pip install 'undrift[golden]'"
        ) from error
    relevant = {query.id: dict(query.relevant) for query in judged}
    # trec_eval sorts by score again and breaks ties by id, from the last: scores made of the rank keep the order.
    run = {
        id: {document: float(k - rank) for rank, (document, _) in enumerate(rankings[id][:k])}
        for id in relevant
        if rankings.get(id)
    }
    evaluator = pytrec_eval.RelevanceEvaluator(relevant, {f"ndcg_cut.{k}", f"recall.{k}", "recip_rank"})
    return {
        id: QueryMeasures(ndcg=values[f"ndcg_cut_{k}"], recall=values[f"recall_{k}"], mrr=values["recip_rank"])
        for id, values in evaluator.evaluate(run).items()
    }
