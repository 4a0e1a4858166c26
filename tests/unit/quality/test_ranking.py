"""Measures of rankings, against a hand-made example and an oracle that shares no code with them."""

from __future__ import annotations

import json
import math
import sys

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from undrift.errors import BadArgument, MissingExtra
from undrift.quality.golden import GoldenQuery, GoldenSet
from undrift.quality.ranking import Measures, Ranking, bootstrap_interval, measure

ONE = GoldenSet(
    name="one", queries=(GoldenQuery(id="q", text="?", relevant={"a": 3, "b": 2, "c": 1, "d": 0, "e": -1}),)
)


def ranked(*documents: str) -> Ranking:
    return [(document, 1.0 - 0.01 * i) for i, document in enumerate(documents)]


def test_the_measures_are_those_computed_by_hand() -> None:
    # Found: x (unknown), b (grade 2), d (judged as no answer), a (grade 3); c (grade 1) is missing.
    # DCG = 2/log2(3) + 3/log2(5) = 1.261860 + 1.292030 = 2.553889
    # ideal = 3/log2(2) + 2/log2(3) + 1/log2(4) = 3 + 1.261860 + 0.5 = 4.761860
    measures = measure(ONE, {"q": ranked("x", "b", "d", "a")})

    assert measures.ndcg.mean == pytest.approx(2.553889 / 4.761860, abs=1e-6)
    assert measures.recall.mean == pytest.approx(2 / 3)
    assert measures.mrr.mean == pytest.approx(1 / 2)


def test_only_the_first_k_hits_count_and_only_as_many_ideal_ones() -> None:
    measures = measure(ONE, {"q": ranked("x", "b", "a")}, k=2)

    assert measures.ndcg.mean == pytest.approx(2 / math.log2(3) / (3 + 2 / math.log2(3)))
    assert measures.recall.mean == pytest.approx(1 / 3)
    assert measure(ONE, {"q": ranked("x", "y", "a")}, k=2).mrr.mean == 0


def test_the_order_of_the_hits_decides_whatever_their_scores() -> None:
    """trec_eval sorts by score again, and breaks ties by id from the last."""
    best = measure(ONE, {"q": ranked("a", "b", "c")})
    for scores in ([1.0, 1.0, 1.0], [-3.0, -2.0, -1.0], [0.5, 0.5 + 1e-12, 0.5], [math.nan] * 3):
        assert measure(ONE, {"q": list(zip("abc", scores, strict=True))}) == best
    assert best.ndcg.mean == 1


def oracle(relevant: dict[str, int], found: list[str], k: int) -> tuple[float, float, float]:
    """nDCG, recall and reciprocal rank in numpy, from their definitions."""
    discounts = 1 / np.log2(np.arange(2, k + 2))
    gains = np.array([max(relevant.get(id, 0), 0) for id in found[:k]], dtype=float)
    ideal = np.sort([grade for grade in relevant.values() if grade > 0])[::-1][:k]
    hits = np.flatnonzero(gains)
    ndcg = gains @ discounts[: len(gains)] / (ideal @ discounts[: len(ideal)])
    return (
        float(ndcg),
        len(hits) / sum(grade > 0 for grade in relevant.values()),
        1 / (hits[0] + 1) if len(hits) else 0.0,
    )


IDS = st.sampled_from([*"abcdefghij", "é", "10", "9", "a b"])
JUDGEMENTS = st.dictionaries(IDS, st.integers(-2, 5), min_size=1)


@given(
    judgements=st.lists(JUDGEMENTS, min_size=1, max_size=6).filter(
        lambda all_of_them: any(grade > 0 for one in all_of_them for grade in one.values())
    ),
    found=st.lists(st.lists(IDS, unique=True), min_size=6, max_size=6),
    k=st.integers(1, 12),
)
@example(judgements=[{"a": 1}, {"b": -1}], found=[["b", "a"], ["b"], [], [], [], []], k=1)
def test_every_measure_is_that_of_the_oracle(judgements: list[dict[str, int]], found: list[list[str]], k: int) -> None:
    queries = tuple(GoldenQuery(id=f"q{i}", text="?", relevant=one) for i, one in enumerate(judgements))
    golden = GoldenSet(name="drawn", queries=queries)
    measures = measure(golden, {query.id: ranked(*ids) for query, ids in zip(queries, found, strict=False)}, k=k)
    expected = {
        query.id: oracle(dict(query.relevant), ids, k)
        for query, ids in zip(queries, found, strict=False)
        if max(query.relevant.values()) > 0
    }

    assert list(measures.by_query) == list(expected)
    for id, values in expected.items():
        one = measures.by_query[id]
        assert (one.ndcg, one.recall, one.mrr) == pytest.approx(values, abs=1e-9)
    means = np.mean(list(expected.values()), axis=0)
    assert (measures.ndcg.mean, measures.recall.mean, measures.mrr.mean) == pytest.approx(tuple(means), abs=1e-9)
    assert measures.unjudged == len(queries) - len(expected)


TWO = GoldenSet(
    name="two",
    queries=(
        GoldenQuery(id="q1", text="?", relevant={"a": 1}),
        GoldenQuery(id="q2", text="?", relevant={"b": 1}),
        GoldenQuery(id="unjudged", text="?", relevant={"c": 0}),
    ),
)


@pytest.mark.parametrize("nothing", [{}, {"q2": []}])
def test_a_query_that_found_nothing_counts_as_zero(nothing: dict[str, Ranking]) -> None:
    measures = measure(TWO, {"q1": ranked("a"), **nothing})

    assert (measures.ndcg.mean, measures.recall.mean, measures.mrr.mean) == (0.5, 0.5, 0.5)
    assert measures.by_query["q2"].ndcg == 0


def test_nothing_found_at_all_is_zero() -> None:
    assert measure(TWO, {}).ndcg.mean == 0


def test_a_query_without_an_answer_is_counted_and_kept_out() -> None:
    measures = measure(TWO, {"q1": ranked("a"), "q2": ranked("b"), "unjudged": ranked("c")})

    assert measures.unjudged == 1
    assert list(measures.by_query) == ["q1", "q2"]
    assert measures.ndcg.mean == 1


def test_a_ranking_of_a_query_that_is_not_in_the_set_is_refused() -> None:
    with pytest.raises(BadArgument, match="golden set 'two' has no query 'q3'"):
        measure(TWO, {"q3": ranked("a")})


def test_a_ranking_with_a_document_twice_is_refused() -> None:
    with pytest.raises(BadArgument, match="ranking of golden query 'q1' has a document twice"):
        measure(TWO, {"q1": ranked("a", "b", "a")})


@pytest.mark.parametrize("k", [0, -1])
def test_a_k_that_is_not_positive_is_refused(k: int) -> None:
    with pytest.raises(BadArgument, match="at least 1"):
        measure(TWO, {}, k=k)


def test_a_set_without_answers_is_refused() -> None:
    with pytest.raises(BadArgument, match="'none' has no query with a relevant document"):
        measure(GoldenSet(name="none", queries=TWO.queries[2:]), {})


def test_a_missing_library_is_named_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytrec_eval", None)

    with pytest.raises(MissingExtra) as caught:
        measure(TWO, {"q1": ranked("a")})
    assert caught.value.hint == "pip install 'undrift[golden]'"


def test_the_summary_has_the_shape_that_programs_rely_on() -> None:
    measures = measure(TWO, {"q1": ranked("a"), "q2": ranked("x", "b")})
    summary = json.loads(json.dumps(measures.as_dict("small-256-0123")))

    assert summary == {
        "set": "two",
        "queries": 2,
        "unjudged": 1,
        "k": 10,
        "space": "small-256-0123",
        "ndcg_at_10": measures.ndcg.mean,
        "recall_at_10": 1.0,
        "mrr_at_10": 0.75,
        "ci95": {
            "ndcg_at_10": [measures.ndcg.low, measures.ndcg.high],
            "recall_at_10": [1.0, 1.0],
            "mrr_at_10": [0.5, 1.0],
        },
    }


def test_the_summary_names_the_k_that_was_measured() -> None:
    summary = measure(TWO, {}, k=3).as_dict("s")

    assert summary["k"] == 3
    assert summary["ci95"].keys() == {"ndcg_at_3", "recall_at_3", "mrr_at_3"} < summary.keys()


def many(seed: int, queries: int) -> Measures:
    draw = np.random.default_rng(seed)
    golden = GoldenSet(
        name="many", queries=tuple(GoldenQuery(id=str(i), text="?", relevant={"a": 1}) for i in range(queries))
    )
    return measure(golden, {str(i): ranked(*draw.permutation([*"abcdefgh"]).tolist()) for i in range(queries)})


def test_the_same_rankings_give_the_same_interval() -> None:
    assert many(1, 30) == many(1, 30)
    assert many(1, 30).ndcg != many(2, 30).ndcg


def test_the_interval_is_around_the_mean_and_narrows_with_more_queries() -> None:
    few, more = many(1, 20).ndcg, many(1, 500).ndcg

    assert few.low < few.mean < few.high
    assert more.low < more.mean < more.high
    assert more.high - more.low < (few.high - few.low) / 3


def test_the_interval_is_that_of_scipy() -> None:
    from scipy.stats import bootstrap

    values = np.random.default_rng(3).beta(0.7, 0.5, size=200)
    theirs = bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", batch=1_000, rng=np.random.default_rng(4)
    ).confidence_interval
    low, high = bootstrap_interval(values[:, None])

    # Both ends are estimates; the tolerance is five times their standard error for 5,000 resamples.
    tolerance = 0.2 * values.std() / math.sqrt(len(values))
    assert low[0] == pytest.approx(theirs.low, abs=tolerance)
    assert high[0] == pytest.approx(theirs.high, abs=tolerance)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    draw = np.random.default_rng(5)
    # 100 independent samples side by side; of 95 % intervals for n = 60, between 87 and 100 of 100 hold the mean.
    samples = draw.beta(0.7, 0.5, size=(60, 100))
    low, high = bootstrap_interval(samples)

    assert 87 <= np.sum((low <= 0.7 / 1.2) & (high >= 0.7 / 1.2)) <= 100


def test_the_interval_of_a_single_query_is_a_point() -> None:
    estimate = measure(ONE, {"q": ranked("a")}).ndcg

    assert estimate.low == estimate.mean == estimate.high
