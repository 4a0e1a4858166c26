"""What a vector must be like to be kept by a store and compared with others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from undrift.domain.record import Record, Vector, Vectors
from undrift.domain.space import Metric
from undrift.errors import BadArgument, StoreRejected

#: Beyond this length the squares of float32 values overflow, and distances are no numbers any more.
LONGEST = 1e18
#: Below this length they vanish; a shorter vector has no direction, and so no cosine.
SHORTEST = 1e-15


def stacked(records: Sequence[Record], *, dimensions: int, metric: Metric) -> Vectors:
    """Return the vectors of some records as one block, copied.

    Args:
        records: n records.
        dimensions: the field's d.
        metric: the field's metric.

    Returns:
        float32, C-contiguous, shape (n, d), row i of record i, bit for bit.

    Raises:
        StoreRejected: a vector has another type or shape, a value that is no number, or a length beyond what the metric
            can be computed with; the message names the record.
    """
    for record in records:
        vector: object = record.vector
        if not isinstance(vector, np.ndarray) or vector.dtype != np.float32 or vector.shape != (dimensions,):
            raise StoreRejected(
                f"the vector of record {record.id!r} is {_kind(vector)}, not float32 of shape ({dimensions},)",
                "nothing of this call was written",
            )
    if not records:
        return np.empty((0, dimensions), np.float32)
    block: Vectors = np.concatenate([record.vector for record in records]).reshape(len(records), dimensions)
    fault = _fault(block, metric)
    if fault is not None:
        raise StoreRejected(
            f"the vector of record {records[fault[0]].id!r} cannot be compared: {fault[1]}",
            "nothing of this call was written",
        )
    return block


def checked_query(vector: Vector, *, dimensions: int, metric: Metric) -> Vector:
    """Return a query's vector when it can be compared with a field's.

    Raises:
        BadArgument: it has another type or shape, or cannot be compared.
    """
    if not isinstance(vector, np.ndarray) or vector.dtype != np.float32 or vector.shape != (dimensions,):
        raise BadArgument(f"the query's vector is {_kind(vector)}, not float32 of shape ({dimensions},)")
    if not _surely_good(np.einsum("i,i", vector, vector)):
        fault = _fault(vector.reshape(1, -1), metric)
        if fault is not None:
            raise BadArgument(f"the query's vector cannot be compared: {fault[1]}")
    return np.ascontiguousarray(vector)


def scores(vectors: Sequence[Vector] | Vectors, query: Vector, metric: Metric) -> list[float]:
    """Return how near vectors are to a query's; equal vectors get equal scores, whatever stands beside them.

    Args:
        vectors: n vectors, float32, shape (d,) each.
        query: float32, shape (d,).
        metric: by which they are compared; of `L2`, the score is the distance below zero.

    Returns:
        n scores, computed in float64 and rounded to float32; a higher one is nearer.
    """
    if not len(vectors):
        return []
    rows, wanted = np.asarray(vectors, np.float64), query.astype(np.float64)
    found: NDArray[np.float64]
    match metric:
        case Metric.COSINE:
            lengths = np.sqrt((rows * rows).sum(axis=1)) * np.sqrt((wanted * wanted).sum())
            found = (rows * wanted).sum(axis=1) / lengths
        case Metric.DOT:
            found = (rows * wanted).sum(axis=1)
        case Metric.L2:
            found = -np.sqrt(((rows - wanted) ** 2).sum(axis=1))
        case _:
            assert_never(metric)
    return [float(score) for score in found.astype(np.float32)]


def _fault(block: Vectors, metric: Metric) -> tuple[int, str] | None:
    """Return the row and the reason of the first vector that cannot be compared."""
    squares = np.einsum("ij,ij->i", block, block)
    if _surely_good(squares.min()) and _surely_good(squares.max()):
        return None
    lengths = np.sqrt(np.einsum("ij,ij->i", block, block, dtype=np.float64))
    good = lengths <= LONGEST
    if metric is Metric.COSINE:
        good &= lengths >= SHORTEST
    if good.all():
        return None
    row = int(np.argmin(good))
    length = float(lengths[row])
    if not np.isfinite(block[row]).all():
        return row, "it has a value that is no finite number"
    if length > LONGEST:
        return row, f"its length is {length:.3g}, and its squares overflow"
    return row, f"its length is {length:.3g}, and it has no direction"


def _surely_good(square: np.float32) -> bool:
    """Whether a squared length in float32 tells enough: what overflows or vanishes makes it too long or too short."""
    return SHORTEST <= math.sqrt(square) <= LONGEST


def _kind(vector: object) -> str:
    if isinstance(vector, np.ndarray):
        return f"{vector.dtype} of shape {vector.shape}"
    return f"of type {type(vector).__name__}"
