"""Estimates of tokens and their intervals."""

from __future__ import annotations

import random

import pytest

from undrift.domain.tokens import from_sample

BASIS = "a test"


def collection(seed: int, size: int = 20_000) -> tuple[list[int], list[int]]:
    """Lengths and tokens of texts, in which a token has between 2.5 and 6 characters."""
    draw = random.Random(seed)
    sizes = [round(draw.lognormvariate(6, 1)) + 1 for _ in range(size)]
    return sizes, [max(1, round(size / draw.uniform(2.5, 6))) for size in sizes]


def test_the_interval_has_the_truth_as_often_as_it_says() -> None:
    sizes, counts = collection(1)
    truth, hits, worst = sum(counts), 0, 0.0
    for seed in range(200):
        chosen = random.Random(seed).sample(range(len(sizes)), 1000)
        found = from_sample(
            [sizes[row] for row in chosen],
            [counts[row] for row in chosen],
            total_size=sum(sizes),
            population=len(sizes),
            rests_on=BASIS,
        )
        hits += found.low <= truth <= found.high
        worst = max(worst, abs(found.tokens / truth - 1))

    # Of 200 at 95 %, fewer than 180 would be seen once in a thousand times.
    assert 180 <= hits <= 199
    assert worst < 0.06


def test_a_sample_of_everything_is_exact() -> None:
    found = from_sample([3, 5], [1, 2], total_size=8, population=2, rests_on=BASIS)

    assert (found.tokens, found.low, found.high, found.exact, found.sampled) == (3, 3, 3, True, 0)


def test_what_the_counts_may_be_off_widens_the_interval_and_is_never_exact() -> None:
    found = from_sample([10], [5], total_size=10, population=1, rests_on=BASIS, bias=0.2)

    assert (found.tokens, found.low, found.high, found.exact) == (5, 4, 6, False)
    assert found.error == pytest.approx(0.2)


def test_of_nothing_there_are_no_tokens() -> None:
    found = from_sample([], [], total_size=0, population=0, rests_on=BASIS)

    assert (found.tokens, found.low, found.high, found.error) == (0, 0, 0, 0.0)
