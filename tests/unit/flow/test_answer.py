"""An answer has a place in its space, or the row and the reason are named, of whatever size its values are."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from undrift.domain.record import Vector
from undrift.domain.space import Space
from undrift.errors import MalformedVectors
from undrift.flow.answer import LENGTH_TOLERANCE, checked, checked_query, defects

UNIT = Space(channel="test", model="m", revision="1", dimensions=3)
ANY = replace(UNIT, normalized=False)
#: From values whose squares vanish in float32 to values whose squares overflow, what is no number, and lengths near 1.
floats = st.sampled_from([0.0, 1e-45, 1e-16, 0.57, 0.577, 0.5774, 0.578, 0.999, 1.0, 1.001, 1e19, 3e38, -3e38])
vectors = st.lists(floats | st.floats(width=32), min_size=3, max_size=3).map(lambda row: np.array(row, np.float32))


def is_good(vector: Vector, space: Space) -> bool:
    length = math.sqrt(sum(float(value) ** 2 for value in vector))
    return 0 < length < math.inf and (not space.normalized or abs(length - 1) <= LENGTH_TOLERANCE)


@given(st.lists(vectors, max_size=4), st.sampled_from([UNIT, ANY]))
def test_exactly_the_rows_without_a_place_in_the_space_are_named(rows: list[Vector], space: Space) -> None:
    block = np.array(rows, np.float32).reshape(len(rows), 3)

    assert list(defects(block, space)) == [row for row, vector in enumerate(rows) if not is_good(vector, space)]


@given(vectors, st.sampled_from([UNIT, ANY]))
def test_the_answer_to_a_query_is_looked_at_like_a_row(vector: Vector, space: Space) -> None:
    if is_good(vector, space):
        assert np.array_equal(checked_query(vector.tolist(), space), vector)
    else:
        with pytest.raises(MalformedVectors):
            checked_query(vector, space)


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ([1.0, 0.0], "2 dimensions, not 3"),
        ([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]], "its shape is"),
        (1.0, "1 dimensions, not 3"),
        (None, "1 dimensions, not 3"),
        ("words", "no array of numbers"),
    ],
)
def test_a_query_of_another_shape_is_refused(answer: Any, complaint: str) -> None:
    with pytest.raises(MalformedVectors) as refused:
        checked_query(answer, UNIT)
    assert complaint in refused.value.detail


@pytest.mark.parametrize(("answer", "count"), [([[1.0, 0.0, 0.0]], 2), ([1.0, 0.0, 0.0], 1), ([], 1)])
def test_an_answer_has_a_row_for_every_text(answer: Any, count: int) -> None:
    with pytest.raises(MalformedVectors, match="cannot be used"):
        checked(answer, count, UNIT)
