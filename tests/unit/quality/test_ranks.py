"""Answers may change as much as documents that come and go explain, and not more."""

from __future__ import annotations

import numpy as np
import pytest

from undrift.quality.ranks import Answers, changed_since, compare, overlap, rank_biased_overlap, usual


def answers(seed: int = 1, *, queries: int = 30, churn: float = 0.0, swapped: float = 0.0) -> Answers:
    """Draw answers out of 600 documents; some of those may be gone, and some scores drawn anew."""
    rng = np.random.default_rng(1)
    scores = rng.random((queries, 600))
    other = np.random.default_rng(seed)
    gone = other.random(600) < churn
    moved = scores + swapped * other.standard_normal(scores.shape)
    found = {}
    for query, row in enumerate(np.where(gone, -1.0, moved)):
        best = np.argsort(-row)[:20]
        found[f"q{query}"] = [(f"d{number}", float(row[number])) for number in best]
    return found


def test_overlap_counts_what_is_common_among_the_first() -> None:
    assert overlap(["a", "b", "c"], ["c", "b", "x"], 3) == pytest.approx(2 / 3)
    assert overlap(["a", "b"], ["b", "a", "c"], 2) == 1
    assert overlap([], []) == 1
    assert overlap([], ["a"]) == 0


def test_the_first_ranks_count_most() -> None:
    ids = list("abcdefghij")
    first, last = ["x", *ids[1:]], [*ids[:9], "x"]

    assert rank_biased_overlap(ids, ids) == pytest.approx(1)
    assert rank_biased_overlap(ids, list("klmnopqrst")) == 0
    assert rank_biased_overlap(ids, first) < rank_biased_overlap(ids, last) < 1
    assert rank_biased_overlap([], []) == 1


def test_documents_that_come_and_go_are_no_change() -> None:
    before = answers()
    noise = usual(before, churn=0.05)

    beyond = [noise.beyond(compare(before, answers(seed, churn=0.025))) for seed in range(2, 42)]

    assert sum(map(bool, beyond)) <= 1


def test_scores_that_move_are_a_change() -> None:
    before = answers()

    beyond = usual(before, churn=0.05).beyond(compare(before, answers(2, swapped=0.05)))

    assert {"overlap", "rank_biased"} <= set(beyond)


def test_the_same_answers_are_no_change_even_where_nothing_ever_does() -> None:
    few = {f"q{number}": [("only", 1.0)] for number in range(20)}

    assert usual(few, churn=0.05).beyond(compare(few, few)) == []


def test_a_series_without_a_change_raises_no_alarm_and_one_with_a_change_says_since_when() -> None:
    calm = np.random.default_rng(3).standard_normal(300)

    assert not changed_since(calm.tolist()).has_changed
    found = changed_since([*calm[:60].tolist(), *(calm[60:90] + 2).tolist()])
    assert found.has_changed
    assert 56 <= found.since <= 64


def test_a_single_look_is_no_lasting_change() -> None:
    assert not changed_since([0.0, 50.0]).has_changed
    assert changed_since([0.0, 50.0, 9.0, 9.0]).has_changed
