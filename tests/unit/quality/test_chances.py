"""The tails of distributions, beside published values and beside counting."""

from __future__ import annotations

import numpy as np
import pytest

from undrift.quality.chances import (
    binomial_at_least,
    chi_square_above,
    exceedances,
    normal_above,
    student_above,
    together,
    weighted_chi_square_above,
)


@pytest.mark.parametrize(
    ("value", "freedom", "chance"),
    # NIST/SEMATECH, e-Handbook of Statistical Methods, table 1.3.6.7.4.
    [(3.841, 1, 0.05), (18.307, 10, 0.05), (23.209, 10, 0.01), (140.169, 100, 0.005), (29.588, 10, 0.001), (0, 3, 1)],
)
def test_the_tail_of_chi_square_is_that_of_the_tables(value: float, freedom: float, chance: float) -> None:
    assert chi_square_above(value, freedom) == pytest.approx(chance, rel=0.02)


@pytest.mark.parametrize(("z", "chance"), [(0, 0.5), (1.645, 0.05), (3.090, 0.001)])
def test_the_tail_of_the_normal_distribution_is_that_of_the_tables(z: float, chance: float) -> None:
    assert normal_above(z) == pytest.approx(chance, rel=0.01)


@pytest.mark.parametrize(
    ("t", "freedom", "chance"),
    # NIST/SEMATECH, e-Handbook of Statistical Methods, table 1.3.6.7.2.
    [(1.812, 10, 0.05), (4.144, 10, 0.001), (3.174, 100, 0.001), (2.364, 100, 0.01), (0, 7, 0.5), (-1.812, 10, 0.95)],
)
def test_the_tail_of_student_is_that_of_the_tables(t: float, freedom: float, chance: float) -> None:
    assert student_above(t, freedom) == pytest.approx(chance, rel=0.01)


def test_a_weighted_sum_is_as_rare_as_drawing_says() -> None:
    weights = np.array([1.0, 0.5, 0.2, 0.1, *[0.02] * 20])
    drawn = np.random.default_rng(1).chisquare(1, size=(200_000, len(weights))) @ weights
    powers = [float((weights**power).sum()) for power in (1, 2, 3, 4)]

    for level, slack in ((0.05, 0.1), (0.01, 0.2), (0.001, 0.35)):
        limit = float(np.quantile(drawn, 1 - level))
        assert weighted_chi_square_above(limit, powers) == pytest.approx(level, rel=slack)


def test_a_sum_of_equal_weights_is_a_chi_square_value() -> None:
    assert weighted_chi_square_above(2 * 18.307, [20.0, 40.0, 80.0, 160.0]) == pytest.approx(0.05, rel=0.001)


def test_exceedances_are_as_rare_as_drawing_says() -> None:
    rng = np.random.default_rng(2)
    earlier, later = rng.random((20_000, 50)), rng.random((20_000, 20))
    counts = (later > np.sort(earlier, axis=1)[:, [-5]]).sum(axis=1)

    for found in range(8):
        assert exceedances(found, 20, 5, 50) == pytest.approx(float((counts >= found).mean()), abs=0.012)


def test_a_binomial_tail_is_the_sum_of_its_terms() -> None:
    # The chances of 0, 1 and 2 of ten tosses at 0.1, taken off.
    assert binomial_at_least(3, 10, 0.1) == pytest.approx(1 - 0.9**10 - 10 * 0.1 * 0.9**9 - 45 * 0.01 * 0.9**8)
    assert binomial_at_least(0, 10, 0.1) == 1.0


def test_a_certain_test_does_not_silence_a_rare_one() -> None:
    assert together([1e-5, 1.0]) < 3e-5
    assert together([1e-30, 1.0]) == pytest.approx(2e-30, rel=0.01)
    assert together([0.5, 0.5]) == pytest.approx(0.5)
