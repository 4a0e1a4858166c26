"""How likely something is by chance alone: tails of a few distributions, and how several of them speak together."""

from __future__ import annotations

from collections.abc import Sequence
from math import atan, erfc, exp, lgamma, log, log1p, pi, sqrt, tan

#: Steps of a series or a fraction, and the accuracy at which it ends.
_STEPS, _ENOUGH = 2000, 1e-13
_TINY = 1e-300
#: A chance close to 1 speaks for nothing; untruncated, one of them would silence all others.
_AT_MOST = 0.99


def normal_above(z: float) -> float:
    """Return the chance of a standard normal value above z."""
    return 0.5 * erfc(z / sqrt(2))


def chi_square_above(value: float, freedom: float) -> float:
    """Return the chance of a chi-square value above one; the degrees of freedom need not be a whole number.

    By the series and the continued fraction of the incomplete gamma function (NIST, Digital Library of Mathematical
    Functions, 8.11.4 and 8.9.2), each where it converges fast.
    """
    a, x = freedom / 2, value / 2
    if x <= 0:
        return 1.0
    front = exp(a * log(x) - x - lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        for n in range(1, _STEPS):
            term *= x / (a + n)
            total += term
            if term < total * _ENOUGH:
                break
        return max(0.0, 1 - front * total)
    # Evaluated from the front by the recurrences of Lentz, "Generating Bessel functions in Mie scattering", 1976.
    b = x + 1 - a
    c, d = 1 / _TINY, 1 / b
    fraction = d
    for n in range(1, _STEPS):
        a_n, b = -n * (n - a), b + 2
        d = 1 / _away_from_zero(b + a_n * d)
        c = _away_from_zero(b + a_n / c)
        fraction *= c * d
        if abs(c * d - 1) < _ENOUGH:
            break
    return front * fraction


def _beta(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function, by the continued fraction 8.17.22 of the same source."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(1 - x, b, a)
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x)) / a
    c, d = 1.0, 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, _STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _away_from_zero(1 + term * d)
            c = _away_from_zero(1 + term / c)
            fraction *= c * d
        if abs(c * d - 1) < _ENOUGH:
            break
    return front * fraction


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def weighted_chi_square_above(value: float, powers: Sequence[float]) -> float:
    """Return the chance that a weighted sum of squared standard normal values is above one.

    It is taken for a chi-square value of the same mean, spread and fourth cumulant, after Liu, Tang and Zhang, "A new
    chi-square approximation to the distribution of non-negative definite quadratic forms", 2009, with the choice that
    Wu et al. made for far tails ("Rare-variant association testing", 2011).

    Args:
        value: the sum.
        powers: the sums of the weights, of their squares, of their cubes and of their fourth powers.
    """
    first, second, _, fourth = powers
    if second <= 0:
        return float(value <= first)
    freedom = second**2 / fourth
    return chi_square_above((value - first) / sqrt(2 * second) * sqrt(2 * freedom) + freedom, freedom)


def exceedances(found: int, later: int, rank: int, earlier: int) -> float:
    """Return the chance that so many of some later values, or more, are beyond one of the earlier ones.

    Exact whatever the distribution, for values that are drawn alike (David and Nagaraja, Order Statistics, 2003,
    section 2.5).

    Args:
        found: how many of the later values are beyond.
        later: how many later values there are.
        rank: the earlier value's place, 1 for the largest.
        earlier: how many earlier values there are.
    """
    if found <= 0:
        return 1.0
    chance = exp(
        _log_ways(later, found)
        + _log_beta(found + rank, later - found + earlier - rank + 1)
        - _log_beta(rank, earlier - rank + 1)
    )
    total = chance
    for j in range(found, later):
        chance *= (later - j) * (j + rank) / ((j + 1) * (later - j + earlier - rank))
        total += chance
        if chance < total * _ENOUGH:
            break
    return min(1.0, total)


def binomial_at_least(found: int, of: int, chance: float) -> float:
    """Return the chance of so many successes or more among independent trials."""
    if found <= 0:
        return 1.0
    return _beta(chance, found, of - found + 1)


def student_above(t: float, freedom: float) -> float:
    """Return the chance of a value above t where the spread was itself estimated, with so many degrees of freedom."""
    tail = _beta(freedom / (freedom + t * t), freedom / 2, 0.5) / 2
    return tail if t > 0 else 1 - tail


def _log_ways(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def together(chances: Sequence[float]) -> float:
    """Return the chance that several tests of one thing, which may depend on each other, stand for together.

    The truncated Cauchy combination: Liu and Xie, "Cauchy combination test", 2020; truncated by Fang et al.,
    "Heavy-tailed distribution for combining dependent p-values", 2023.
    """
    total = 0.0
    for chance in chances:
        kept = min(max(chance, _TINY), _AT_MOST)
        # Where the tangent is beyond what a number holds, it is 1 / (pi p).
        total += 1 / (pi * kept) if kept < 1e-12 else tan((0.5 - kept) * pi)
    mean = total / len(chances)
    return min(1.0, 1 / (pi * mean)) if mean > 1e9 else 0.5 - atan(mean) / pi
