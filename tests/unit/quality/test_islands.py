"""Vectors of two models fall into two parts; those of one hang together."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from undrift.quality.islands import LEAST, narrowest

Vectors = NDArray[np.float32]
DIMENSIONS = 32


def texts(seed: int, count: int = 500) -> Vectors:
    """Draw vectors of overlapping topics, within a narrow cone, as models of texts give them."""
    rng = np.random.default_rng(seed)
    topics = rng.standard_normal((8, DIMENSIONS)) * 0.2 + 0.8
    away = rng.standard_normal((count, DIMENSIONS)) * np.geomspace(1, 0.1, DIMENSIONS)
    found = topics[rng.integers(8, size=count)] + away
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def turn(vectors: Vectors) -> Vectors:
    rng = np.random.default_rng(99)
    return vectors @ np.linalg.qr(rng.standard_normal((DIMENSIONS, DIMENSIONS)))[0].astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
def test_vectors_of_one_model_hang_together(seed: int) -> None:
    found = narrowest(texts(seed))

    assert found is not None
    assert not found.is_narrow


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_part_of_another_model_is_found_row_by_row(share: float) -> None:
    vectors = texts(4)
    vectors[: int(share * 500)] = turn(vectors[: int(share * 500)])

    found = narrowest(vectors)

    assert found is not None
    assert found.is_narrow
    inside = sum(row < share * 500 for row in found.smaller)
    assert len(found.smaller) == pytest.approx(share * 500, abs=5)
    assert min(inside, len(found.smaller) - inside) <= 5


def test_parts_that_do_not_touch_at_all_are_found() -> None:
    vectors = np.zeros((400, 8), dtype=np.float32)
    vectors[:300, :4] = np.random.default_rng(5).random((300, 4)) + 0.5
    vectors[300:, 4:] = np.random.default_rng(6).random((100, 4)) + 0.5

    found = narrowest(vectors)

    assert found is not None
    assert found.conductance == 0
    assert found.cosine == 0


def test_the_same_vector_many_times_is_no_trouble() -> None:
    assert narrowest(np.ones((300, 4), dtype=np.float32)) is not None


def test_too_few_vectors_say_nothing() -> None:
    assert narrowest(texts(1, LEAST - 1)) is None
