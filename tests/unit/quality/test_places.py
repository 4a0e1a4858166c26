"""A crowd of later vectors is seen where none of them is far from the earlier ones, and none where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from undrift.quality.drift import compare, learn
from undrift.quality.places import crowding
from undrift.quality.shift import Cloud, shift_between

Vectors = NDArray[np.float32]
DIMENSIONS = 48


def units(vectors: NDArray[np.float64]) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def texts(rng: np.random.Generator, count: int) -> Vectors:
    return units(rng.standard_normal((count, DIMENSIONS)) * np.geomspace(1.5, 0.1, DIMENSIONS))


def crowd_of(earlier: Vectors, later: Vectors) -> float:
    return crowding(earlier, later, Cloud.of(earlier).joined(Cloud.of(later)))


def crowded(rng: np.random.Generator, count: int, *, crowd: int) -> Vectors:
    """Return texts of which some are near one another, in two places that lie opposite, so that the middle stays."""
    found = texts(rng, count).astype(np.float64)
    ends = found[0] * np.where(np.arange(crowd) % 2, 1, -1)[:, None]
    return units(np.concatenate([ends + 0.6 * texts(rng, crowd), found[crowd:]]))


def test_a_crowd_is_seen_though_the_middle_stays_and_nothing_is_far() -> None:
    rng = np.random.default_rng(1)
    earlier, later = texts(rng, 1000), crowded(rng, 500, crowd=60)

    assert crowd_of(earlier, later) < 1e-4
    assert shift_between(Cloud.of(earlier), Cloud.of(later)).chance > 0.01
    found = compare(learn(earlier), later)
    assert found.novelty > 0.01
    assert found.mix < 1e-4


def test_chances_are_what_they_say_where_nothing_changes() -> None:
    found = []
    for seed in range(80):
        rng = np.random.default_rng([seed, 3])
        found.append(crowd_of(texts(rng, 400), texts(rng, 250)))

    # Four standard errors.
    assert np.mean(np.array(found) <= 0.05) <= 0.13
    assert np.mean(np.array(found) <= 0.01) <= 0.05
    assert 0.35 < np.median(found) < 0.65


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_few_dimensions_are_no_drift_of_themselves(dimensions: int) -> None:
    rng = np.random.default_rng(4)
    found = compare(
        learn(units(rng.standard_normal((300, dimensions)))), units(rng.standard_normal((1000, dimensions)))
    )

    assert found.chance > 1e-3


def test_copies_are_no_crowd_where_both_sides_have_them() -> None:
    rng = np.random.default_rng(5)
    few = texts(rng, 20)

    assert crowd_of(few[rng.integers(20, size=600)], few[rng.integers(20, size=300)]) > 1e-3


def test_vectors_without_length_are_no_crowd_where_both_sides_have_them() -> None:
    rng = np.random.default_rng(6)
    earlier, later = texts(rng, 500), texts(rng, 300)
    earlier[::5] = later[::5] = 0

    assert compare(learn(earlier), later).chance > 1e-3


def test_vectors_that_are_all_the_same_are_no_crowd() -> None:
    same = np.full((300, 8), 8**-0.5, dtype=np.float32)

    assert crowd_of(same, same) > 1e-3
