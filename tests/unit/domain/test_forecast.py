from __future__ import annotations

import random

import pytest

from undrift.domain.checkpoint import Progress
from undrift.domain.forecast import NONE, PARTS, Published, seconds_left


def past(rates: list[float], part_s: float = 10.0) -> Published:
    return Published(seconds=part_s * len(rates), parts=[round(rate * part_s) for rate in rates])


def test_a_steady_past_has_a_narrow_interval() -> None:
    found = seconds_left(past([50.0] * PARTS), left=5000)

    assert found == (pytest.approx(100), pytest.approx(100))


def test_an_unsteady_past_has_a_wide_one_and_a_wild_one_no_end() -> None:
    unsteady = seconds_left(past([30.0, 70.0] * (PARTS // 2)), left=5000)
    wild = seconds_left(past([0.0] * (PARTS - 2) + [10.0, 990.0]), left=5000)

    assert unsteady is not None
    assert wild is not None
    least, most = unsteady
    assert most is not None
    assert least < 95
    assert most > 105
    assert wild[1] is None


def test_nothing_is_said_of_nothing() -> None:
    assert seconds_left(NONE, left=100) is None
    assert seconds_left(past([0.1] * (PARTS - 1) + [0.0]), left=100) is None
    assert seconds_left(past([50.0] * PARTS), left=0) is None
    assert NONE.rate_per_s is None


@pytest.mark.parametrize("stickiness", [0.0, 0.8])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(stickiness: float) -> None:
    """Paces that vary by a third, independently or slowly: the end lies in it 19 times out of 20, or nearly."""
    chance, inside, tries = random.Random(3), 0, 400
    for _ in range(tries):
        rates, level = [], 0.0
        for _ in range(3 * PARTS):
            level = stickiness * level + (1 - stickiness**2) ** 0.5 * chance.gauss(0, 1)
            rates.append(max(1.0, 30 + 10 * level))
        left, seconds = 0.0, 0.0
        for rate in rates[PARTS:]:
            left, seconds = left + rate * 10, seconds + 10
        found = seconds_left(past(rates[:PARTS]), left=round(left))
        assert found is not None
        least, most = found
        inside += least <= seconds <= (most or float("inf"))

    assert inside / tries >= (0.93 if stickiness == 0 else 0.85)


def test_progress_shows_the_interval_only_beside_an_estimate() -> None:
    shown = Progress(total=1000, done=500, rate_per_s=5.0, between_s=(90.0, None)).as_dict()
    hidden = Progress(total=1000, done=1, rate_per_s=5.0, between_s=(90.0, 120.0)).as_dict()

    assert (shown["eta_s"], shown["eta_least_s"], shown["eta_most_s"]) == (100.0, 90.0, None)
    assert (hidden["eta_s"], hidden["eta_least_s"], hidden["eta_most_s"]) == (None, None, None)
