"""Gains of one model over another: what is shown, what is not, and how often chance fools the rule."""

from __future__ import annotations

import numpy as np
import pytest

from undrift.domain.space import Metric
from undrift.quality.golden import GoldenQuery, GoldenSet
from undrift.quality.paired import Gain, fell_most, gains, nearest
from undrift.quality.ranking import measure

pytest.importorskip("pytrec_eval")

GOLDEN = GoldenSet(
    name="g",
    queries=tuple(GoldenQuery(id=f"q{number}", text="?", relevant={f"d{number}": 1}) for number in range(8)),
)


def ranked(rank: int, number: int) -> list[tuple[str, float]]:
    """Put the answer of a query at a rank, from 0."""
    others = [f"x{place}" for place in range(9)]
    return [(id, -float(place)) for place, id in enumerate([*others[:rank], f"d{number}", *others[rank:]])]


def test_gains_are_differences_query_by_query_and_the_queries_that_fell_are_named() -> None:
    before = measure(GOLDEN, {f"q{number}": ranked(1, number) for number in range(8)})
    after = measure(GOLDEN, {f"q{number}": ranked(3 if number == 5 else 0, number) for number in range(8)})

    found = gains(before, after)

    assert found["mrr_at_10"].differences == pytest.approx([0.5] * 5 + [-0.25] + [0.5] * 2)
    assert found["recall_at_10"].mean == 0.0
    assert found["mrr_at_10"].mean == pytest.approx(3.25 / 8)
    assert found["mrr_at_10"].low < found["mrr_at_10"].mean < found["mrr_at_10"].high
    fallen = fell_most(before, after)
    assert [one["query"] for one in fallen] == ["q5"]
    assert fallen[0]["before"] > fallen[0]["after"]


def test_the_test_is_exact_for_a_handful_of_queries() -> None:
    # All of n differences are gains: of the 2^n exchanges only one shows as much.
    for count in (3, 5, 8):
        gain = Gain.of([0.2] * count)
        assert gain.p_worse(0.0) == pytest.approx(0.5**count, abs=0.01)
        assert gain.low == pytest.approx(0.2)
    assert not Gain.of([0.2] * 5).is_no_worse(0.0), "five queries cannot show anything at 2.5 %"
    assert Gain.of([0.2] * 8).is_no_worse(0.0)


def test_a_margin_lets_a_slightly_worse_model_pass_and_not_a_worse_one() -> None:
    generator = np.random.default_rng(1)
    slightly = Gain.of((generator.normal(-0.002, 0.02, 300)).tolist())
    assert not slightly.is_no_worse(0.0)
    assert slightly.is_no_worse(0.01)
    assert not Gain.of((generator.normal(-0.02, 0.02, 300)).tolist()).is_no_worse(0.01)


def test_no_difference_is_no_gain_and_is_within_any_margin() -> None:
    same = Gain.of([0.0] * 50)
    assert same.p_worse(0.0) == 1.0
    assert not same.is_no_worse(0.0)
    assert same.is_no_worse(0.001)


def test_chance_shows_a_gain_that_is_none_no_more_often_than_is_stated() -> None:
    # 400 comparisons of two models that are equally good, on 40 queries of which most do not differ: at 2.5 % ten are
    # expected, and more than 21 happen with a probability below 0.001.
    generator = np.random.default_rng(7)
    shown = 0
    for _ in range(400):
        differences = np.where(generator.random(40) < 0.6, 0.0, generator.normal(0, 0.2, 40))
        # The interval takes longer and only makes the rule stricter.
        shown += Gain(differences=differences, mean=0.0, low=1.0, high=1.0).p_worse(0.0, exchanges=999) <= 0.025
    assert 1 <= shown <= 21


@pytest.mark.parametrize("metric", list(Metric))
def test_documents_are_ranked_as_the_metric_says(metric: Metric) -> None:
    generator = np.random.default_rng(3)
    documents = generator.normal(size=(200, 5)).astype(np.float32) * generator.uniform(0.5, 2, (200, 1)).astype("f4")
    queries = generator.normal(size=(70, 5)).astype(np.float32)
    ids = [f"d{row}" for row in range(200)]

    found = nearest(queries, documents, ids, metric=metric, k=4)

    for query, hits in zip(queries, found, strict=True):
        match metric:
            case Metric.COSINE:
                wanted = (documents @ query) / np.linalg.norm(documents, axis=1)
            case Metric.DOT:
                wanted = documents @ query
            case Metric.L2:
                wanted = -np.linalg.norm(documents - query, axis=1)
        assert [id for id, _ in hits] == [ids[row] for row in np.argsort(-wanted)[:4]]
