"""Vectors that cannot be compared are refused, of whatever size their values are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from undrift.domain.record import Document, Vector, stamp
from undrift.domain.space import Metric, Space
from undrift.domain.vectors import LONGEST, SHORTEST, checked_query, stacked
from undrift.errors import BadArgument, StoreRejected

SPACE = Space(channel="test", model="m", revision="1", dimensions=3, normalized=False)
#: From values whose squares vanish in float32 to values whose squares overflow, and what is no number.
floats = st.sampled_from([0.0, 1e-45, 1e-30, 1e-16, 1e-15, 0.5, 1.0, 1e15, 1e18, 1e19, 3e38]) | st.floats(width=32)
vectors = st.lists(floats, min_size=3, max_size=3).map(lambda values: np.array(values, np.float32))


def length(vector: Vector) -> float:
    return math.sqrt(sum(float(value) ** 2 for value in vector))


def is_comparable(vector: Vector, metric: Metric) -> bool:
    return length(vector) <= LONGEST and (metric is not Metric.COSINE or length(vector) >= SHORTEST)


@given(vectors, st.sampled_from(Metric))
def test_a_query_is_taken_when_it_has_a_length_that_the_metric_can_use(vector: Vector, metric: Metric) -> None:
    if is_comparable(vector, metric):
        assert np.array_equal(checked_query(vector, dimensions=3, metric=metric), vector)
    else:
        with pytest.raises(BadArgument, match="the query's vector cannot be compared"):
            checked_query(vector, dimensions=3, metric=metric)


@given(st.lists(vectors, min_size=1, max_size=4), st.sampled_from(Metric))
def test_the_first_record_is_named_whose_vector_cannot_be_compared(rows: list[Vector], metric: Metric) -> None:
    documents = [Document(id=f"d{row}", text="text") for row in range(len(rows))]
    records = stamp(documents, np.stack(rows), space=SPACE, sequences={})
    bad = [record.id for record in records if not is_comparable(record.vector, metric)]

    if bad:
        with pytest.raises(StoreRejected, match=f"'{bad[0]}' cannot be compared"):
            stacked(records, dimensions=3, metric=metric)
    else:
        assert np.array_equal(stacked(records, dimensions=3, metric=metric), rows)


def test_no_records_are_a_block_of_no_rows() -> None:
    assert stacked([], dimensions=3, metric=Metric.COSINE).shape == (0, 3)
