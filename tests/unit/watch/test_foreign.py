"""A look for foreign vectors is cheap, and what it says is a hint with the command that settles it."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from numpy.typing import NDArray

from undrift.domain.finding import Severity, State
from undrift.watch import foreign

NOW = datetime(2026, 11, 23, tzinfo=UTC)
DIMENSIONS = 32


def texts(count: int = 600) -> NDArray[np.float32]:
    rng = np.random.default_rng(1)
    topics = rng.standard_normal((8, DIMENSIONS)) * 0.2 + 0.8
    away = rng.standard_normal((count, DIMENSIONS)) * np.geomspace(1, 0.1, DIMENSIONS)
    found = topics[rng.integers(8, size=count)] + away
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def turned(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    turn = np.linalg.qr(np.random.default_rng(2).standard_normal((DIMENSIONS, DIMENSIONS)))[0]
    return (vectors @ turn).astype(np.float32)


def test_vectors_of_one_model_are_good() -> None:
    found = foreign.look("kb", texts(), moment=NOW)

    assert found.state is State.GOOD
    assert found.key == "foreign/kb"
    assert found.figures["strange_ratio"] < 0.01


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_vectors_of_another_model_are_a_hint_that_names_the_audit(share: float) -> None:
    vectors = texts()
    part = int(share * len(vectors))
    vectors[:part] = turned(vectors[:part])

    found = foreign.look("kb", vectors, moment=NOW)

    assert found.state is State.BAD
    assert found.severity is Severity.INFO
    assert found.hint == "undrift alias audit kb"
    assert "hint, no proof" in found.detail


def test_too_few_vectors_are_unknown_with_the_number_that_is_missing() -> None:
    found = foreign.look("kb", texts(200), moment=NOW)

    assert found.state is State.UNKNOWN
    assert "50 more are needed" in found.words


def test_an_empty_collection_is_unknown() -> None:
    found = foreign.look("kb", np.empty((0, DIMENSIONS), dtype=np.float32), moment=NOW)

    assert found.state is State.UNKNOWN


def test_a_value_that_is_no_number_is_an_error() -> None:
    vectors = texts()
    vectors[5, 5] = np.inf

    found = foreign.look("kb", vectors, moment=NOW)

    assert (found.state, found.severity) == (State.BAD, Severity.ERROR)
    assert "1 vector of 600" in found.words
