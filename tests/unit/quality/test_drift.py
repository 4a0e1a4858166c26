"""Drift is told from chance, and what drifted is told too."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from undrift.errors import BadArgument, SpaceMismatch
from undrift.quality.drift import LEAST, REFERENCE, Drift, Lane, compare, learn

Vectors = NDArray[np.float32]
DIMENSIONS, TOPICS = 48, 6


@cache
def middles() -> Vectors:
    """Return the middles of six topics and of one more."""
    return np.random.default_rng(0).standard_normal((TOPICS + 1, DIMENSIONS)).astype(np.float32) * 0.8


def texts(rng: np.random.Generator, count: int, shares: list[float] | None = None, *, novel: float = 0.0) -> Vectors:
    """Draw vectors as texts of six topics give them, of very different spread along the axes."""
    chances = np.array([*(shares or [1 / TOPICS] * TOPICS), 0.0]) * (1 - novel)
    chances[-1] = novel
    topics = rng.choice(TOPICS + 1, size=count, p=chances / chances.sum())
    scale = np.geomspace(1.5, 0.1, DIMENSIONS)
    found = middles()[topics] + rng.standard_normal((count, DIMENSIONS)) * scale
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def difference(later: Vectors, *, seed: int = 0, count: int = 1000) -> Drift:
    return compare(learn(texts(np.random.default_rng([seed, 1]), count)), later)


def test_chances_are_what_they_say_where_nothing_changes() -> None:
    chances = []
    for seed in range(8):
        rng = np.random.default_rng([seed, 7])
        reference = learn(texts(rng, 500))
        chances += [compare(reference, texts(rng, 250)) for _ in range(20)]

    for lane in ("mix", "novelty", "chance"):
        found = np.array([getattr(one, lane) for one in chances])
        # 160 looks, 20 with each reference, which they share: four standard errors, and as much again for that.
        assert (found <= 0.05).mean() <= 0.13, lane
        assert (found <= 0.01).mean() <= 0.06, lane
        assert np.median(found) > 0.25, lane
    assert not any(one.is_remarkable for one in chances)


def test_a_shift_of_the_mix_is_seen_by_its_lane() -> None:
    found = difference(texts(np.random.default_rng(3), 1000, [0.37, *[0.126] * 5]))

    assert found.is_remarkable
    assert found.lane is Lane.MIX
    assert found.mix < 1e-6
    assert found.shift_radii > 0.1


def test_a_new_topic_is_seen_by_its_lane_with_its_share_and_examples() -> None:
    rng = np.random.default_rng(4)
    later = np.concatenate([texts(rng, 450), texts(rng, 50, novel=1.0)])

    found = difference(later)

    assert found.is_remarkable
    assert found.novel_share == pytest.approx(0.1, abs=0.05)
    assert sum(row >= 450 for row in found.examples) >= 4


def test_vectors_of_another_model_are_seen_by_the_lane_of_novelty() -> None:
    rng = np.random.default_rng(5)
    turn = np.linalg.qr(rng.standard_normal((DIMENSIONS, DIMENSIONS)))[0].astype(np.float32)
    later = texts(rng, 500)
    later[:50] = later[:50] @ turn

    found = difference(later)

    assert found.lane is Lane.NOVELTY
    assert found.is_remarkable
    assert max(found.examples) < 50


def test_a_certain_difference_that_does_not_matter_is_not_remarkable() -> None:
    shares = [0.22, *[0.156] * 5]

    found = difference(texts(np.random.default_rng(6), 20_000, shares), count=4000)

    assert found.chance < 1e-3
    assert not found.is_remarkable


def test_an_axis_that_wakes_up_is_named_whatever_the_lanes_say() -> None:
    rng = np.random.default_rng(8)
    earlier, later = texts(rng, 500), texts(rng, 300)
    earlier[:, 17] = later[:, 17] = 0.0
    later[7, 17] = 0.02

    found = compare(learn(earlier), later)

    assert found.woken_axes == (17,)
    assert found.lane is Lane.AXES
    assert found.is_remarkable
    assert found.examples[0] == 7


def test_vectors_that_are_all_the_same_are_no_drift_of_themselves() -> None:
    same = np.full((300, 8), 0.5, dtype=np.float32)

    assert not compare(learn(same), same).is_remarkable
    assert compare(learn(same), np.eye(8, dtype=np.float32)[np.zeros(300, dtype=int)]).is_remarkable


def test_the_reference_is_bounded() -> None:
    assert learn(texts(np.random.default_rng(9), REFERENCE + 200)).count == REFERENCE


def test_too_few_vectors_are_refused_with_the_number_that_is_missing() -> None:
    with pytest.raises(BadArgument, match="249 vectors are too few to tell drift: 1 more"):
        learn(texts(np.random.default_rng(10), LEAST - 1))


def test_a_value_that_is_no_number_is_refused() -> None:
    broken = texts(np.random.default_rng(11), 300)
    broken[3, 4] = np.nan

    with pytest.raises(BadArgument, match="1 of 300 vectors have a value that is no number"):
        difference(broken)


def test_vectors_of_another_length_never_meet_the_reference() -> None:
    with pytest.raises(SpaceMismatch, match="vectors of 8 dimensions cannot be compared with a reference of 48"):
        difference(np.ones((300, 8), dtype=np.float32))
