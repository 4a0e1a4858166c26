"""The canary: it sees what moved, says nothing of noise, and says how far something moved."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from undrift.domain.finding import Severity
from undrift.errors import BadArgument
from undrift.quality.canary import LEAST_PROBES, Broken, Floor, Verdict, learn, look, severity_of, signed_rank
from undrift.quality.rounding import Grid, grid_of

Numbers = NDArray[np.float64]
DIMENSIONS = 96


def unit(vectors: Numbers) -> Numbers:
    found: Numbers = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return found


def texts(count: int = 16, seed: int = 0) -> Numbers:
    return unit(np.random.default_rng(seed).standard_normal((count, DIMENSIONS)))


def away(vectors: Numbers, size: float, seed: int = 1) -> Numbers:
    """Move each vector by a cosine distance in a direction of its own."""
    aside = np.random.default_rng(seed).standard_normal(vectors.shape)
    aside = unit(aside - (aside * vectors).sum(axis=-1, keepdims=True) * vectors)
    return (1 - size) * vectors + np.sqrt(1 - (1 - size) ** 2) * aside


def calls(vectors: Numbers, count: int, noise: float = 0.0, seed: int = 2) -> NDArray[np.float32]:
    repeated = np.repeat(vectors[None], count, axis=0)
    return (away(repeated, noise, seed) if noise else repeated).astype(np.float32)


@pytest.fixture
def quiet() -> Floor:
    return learn(calls(texts(), 4))


@pytest.mark.parametrize("count", [3, 6, 9])
def test_the_chance_of_ranks_is_counted_over_every_arrangement_of_signs(count: int) -> None:
    values = np.round(np.random.default_rng(count).standard_normal(count) * 2) / 2 + 0.5
    kept = values[values != 0]
    ranks = np.array([(np.abs(kept) < size).sum() + ((np.abs(kept) == size).sum() + 1) / 2 for size in np.abs(kept)])
    seen = ranks[kept > 0].sum()
    sums = [ranks[np.array(signs)].sum() for signs in product([False, True], repeat=len(kept))]

    assert signed_rank(values) == pytest.approx(np.mean(np.array(sums) >= seen))


def test_of_nothing_nothing_follows() -> None:
    assert signed_rank(np.zeros(20)) == 1.0
    assert signed_rank(np.ones(16)) == pytest.approx(2.0**-16)


def test_the_same_vectors_are_the_same_model(quiet: Floor) -> None:
    seen = look(quiet, calls(texts(), 2))

    assert seen.verdict is Verdict.UNCHANGED
    assert (seen.size, seen.equal, seen.moved, seen.broken) == (0.0, 1.0, 0.0, ())
    assert (quiet.noise, quiet.fleet) == (0.0, 0.0)


@pytest.mark.parametrize("size", [1e-6, 2e-4, 2e-2])
def test_a_change_of_every_vector_is_seen_and_read_without_bias(quiet: Floor, size: float) -> None:
    seen = look(quiet, calls(away(texts(), size), 2))

    assert seen.verdict is Verdict.CHANGED
    assert seen.size == pytest.approx(size, rel=0.02)
    assert seen.severity is severity_of(size)


def test_noise_is_no_change_and_does_not_hide_one() -> None:
    truth = texts(32)
    floor = learn(calls(truth, 6, noise=0.04))

    same = [look(floor, calls(truth, 2, noise=0.04, seed=seed)).verdict for seed in range(10, 60)]
    other = look(floor, calls(away(truth, 0.02, seed=9), 2, noise=0.04, seed=5))

    assert floor.noise > 0.07
    assert same == [Verdict.UNCHANGED] * 50
    assert other.verdict is Verdict.CHANGED
    assert other.size == pytest.approx(0.02, abs=0.006)


def test_one_text_that_moves_is_enough(quiet: Floor) -> None:
    now = texts()
    now[5] = away(now[5:6], 0.02)[0]

    seen = look(quiet, calls(now, 2))

    assert seen.verdict is Verdict.CHANGED
    assert list(np.flatnonzero(seen.jumped)) == [5]
    assert seen.severity is Severity.ERROR


def test_a_single_bad_answer_is_no_change(quiet: Floor) -> None:
    fresh = calls(texts(), 2)
    fresh[1, 5] = away(texts()[5:6], 0.3)[0]

    assert look(quiet, fresh).verdict is Verdict.UNCHANGED


def test_a_turned_space_is_seen_though_all_distances_are_as_they_were(quiet: Floor) -> None:
    turn = np.linalg.qr(np.random.default_rng(3).standard_normal((DIMENSIONS, DIMENSIONS)))[0]
    now = texts() @ turn

    assert np.allclose(now @ now.T, texts() @ texts().T)
    assert look(quiet, calls(now, 2)).severity is Severity.CRITICAL


def test_length_is_looked_at_beside_direction(quiet: Floor) -> None:
    seen = look(quiet, calls(texts() * 1.01, 2))

    assert seen.broken == (Broken.LENGTH,)
    assert seen.severity is Severity.CRITICAL
    assert seen.stretch == pytest.approx(1.01, abs=1e-4)


def test_lengths_that_were_never_steady_may_go_on_so() -> None:
    chance = np.random.default_rng(4)
    floor = learn((calls(texts(), 4) * chance.uniform(0.97, 1.03, (4, 16, 1))).astype(np.float32))

    seen = look(floor, (calls(texts(), 2) * chance.uniform(0.98, 1.02, (2, 16, 1))).astype(np.float32))

    assert Broken.LENGTH not in seen.broken


@pytest.mark.parametrize(
    ("fresh", "broken"),
    [
        (np.ones((2, 16, 8), np.float32), Broken.DIMENSIONS),
        (np.full((2, 16, DIMENSIONS), np.nan, np.float32), Broken.NOT_FINITE),
        (np.zeros((2, 16, DIMENSIONS), np.float32), Broken.NOT_FINITE),
    ],
    ids=["dimensions", "nan", "zero"],
)
def test_vectors_that_cannot_be_compared_are_a_change(quiet: Floor, fresh: NDArray[np.float32], broken: Broken) -> None:
    seen = look(quiet, fresh)

    assert (seen.verdict, seen.severity, seen.broken) == (Verdict.CHANGED, Severity.CRITICAL, (broken,))


def test_too_few_probes_say_neither_yes_nor_no() -> None:
    floor = learn(calls(texts(LEAST_PROBES - 1), 4))

    assert look(floor, calls(texts(LEAST_PROBES - 1), 2)).verdict is Verdict.UNKNOWN
    assert look(floor, calls(away(texts(LEAST_PROBES - 1), 0.1), 2)).verdict is Verdict.CHANGED


def test_servers_of_two_kinds_that_take_turns_are_no_change() -> None:
    one, two = texts(), away(texts(), 1e-5)
    floor = learn(np.stack([one, one, two, one]).astype(np.float32))

    assert floor.fleet == pytest.approx(1e-5, rel=0.1)
    assert look(floor, np.stack([two, two]).astype(np.float32)).verdict is Verdict.UNCHANGED
    assert look(floor, calls(away(one, 1e-3, seed=8), 2)).verdict is Verdict.CHANGED


def test_servers_that_take_turns_by_request_are_no_change_and_hide_none() -> None:
    """All eight texts of a request move together, so the test over all probes would take them for a change."""
    chance = np.random.default_rng(7)
    kinds = np.stack([texts(), away(texts(), 3e-5)])

    def answers(count: int, of: Numbers) -> NDArray[np.float32]:
        requests = np.argsort(chance.random((count, 16)), axis=1) // 8
        chosen = np.take_along_axis(chance.integers(0, 2, (count, 2)), requests, axis=1)
        return np.stack([of[one, np.arange(16)] for one in chosen]).astype(np.float32)

    floors = [learn(answers(6, kinds)) for _ in range(20)]

    seen = [look(floor, answers(2, kinds)).verdict for floor in floors for _ in range(10)]
    assert set(seen) == {Verdict.UNCHANGED}
    moved = np.stack([away(kind, 1e-3, seed=3) for kind in kinds])
    assert all(look(floor, answers(2, moved)).verdict is Verdict.CHANGED for floor in floors)


def test_a_baseline_of_too_few_calls_is_refused() -> None:
    with pytest.raises(BadArgument, match="too little"):
        learn(calls(texts(), 3))
    broken = calls(texts(), 4)
    broken[0, 0] = 0
    with pytest.raises(BadArgument, match="no direction"):
        learn(broken)
    with pytest.raises(BadArgument, match="not two calls"):
        look(learn(calls(texts(), 4)), calls(texts(), 3))


def test_the_strata_are_read_by_themselves(quiet: Floor) -> None:
    now = texts()
    now[8:] = away(now[8:], 0.1)

    sizes = look(quiet, calls(now, 2)).by_stratum(["plain"] * 8 + ["long"] * 8)

    assert sizes == {"plain": pytest.approx(0.0, abs=1e-12), "long": pytest.approx(0.1, rel=0.01)}


@pytest.mark.parametrize(
    ("rounded", "grid"),
    [
        (lambda v: v, Grid.NONE),
        (lambda v: v.astype(np.float16), Grid.FLOAT16),
        (lambda v: (v.astype(np.float32).view(np.uint32) & 0xFFFF0000).view(np.float32), Grid.BFLOAT16),
        (lambda v: np.round(v * 300) / 300, Grid.BYTES),
        (lambda v: np.round(v, 4), Grid.DECIMALS),
        (np.sign, Grid.BITS),
        (lambda v: away(unit(np.sign(v)), 1e-5), Grid.BITS),
    ],
    ids=["float32", "float16", "bfloat16", "int8", "decimals", "signs", "signs and noise"],
)
def test_the_grid_of_the_numbers_is_known(rounded: object, grid: Grid) -> None:
    assert callable(rounded)
    vectors = np.asarray(rounded(texts().astype(np.float32)), dtype=np.float32)

    assert grid_of(vectors) is grid
    seen = look(learn(calls(texts(), 4)), np.stack([vectors] * 2))
    assert (Broken.ROUNDING in seen.broken) is (grid is not Grid.NONE)
