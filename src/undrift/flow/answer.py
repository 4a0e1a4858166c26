"""What an embedding model answered, checked before anything else sees it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from undrift.domain.record import Vector, Vectors
from undrift.domain.space import Space
from undrift.errors import MalformedVectors

#: Rounding in float32 and in what providers send stays far below it; a vector that is not normalised is far above.
LENGTH_TOLERANCE = 1e-3
#: Squared lengths that are good beyond doubt, though in float32 their sum is rounded, and may vanish or overflow.
_SURELY_NORMALIZED = (1 - LENGTH_TOLERANCE, 1 + LENGTH_TOLERANCE)
_SURELY_FINITE = (1e-30, 1e30)


def checked(answer: Any, count: int, space: Space) -> Vectors:
    """Return an answer as float32, C-contiguous, shape (count, d); its rows are not looked at.

    Raises:
        MalformedVectors: it is not an array of numbers, or has another shape.
    """
    vectors = _numbers(answer, space)
    _require_shape(vectors, count, space)
    return vectors


def checked_query(answer: Any, space: Space) -> Vector:
    """Return the answer to a query as float32, shape (d,).

    Raises:
        MalformedVectors: it is not one vector of the space.
    """
    vector = _numbers(answer, space)
    _require_shape(vector[np.newaxis], 1, space)
    least, most = _surely_good(space)
    if not least <= np.einsum("i,i", vector, vector) <= most:
        refuse_defects(vector[np.newaxis], space)
    return vector


def defects(vectors: Vectors, space: Space) -> dict[int, str]:
    """Name the rows that have no place in a space, and what is wrong with each.

    Args:
        vectors: float32, shape (n, d).
        space: says whether every vector has length 1.

    Returns:
        A sentence for each bad row; empty when all are good.
    """
    least, most = _surely_good(space)
    squares = np.einsum("ij,ij->i", vectors, vectors)
    if not len(vectors) or (least <= squares.min() and squares.max() <= most):
        return {}
    # In float64 the squares of float32 values neither overflow nor vanish: a length says whether every value is finite,
    # and whether any is not zero.
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    good = (lengths > 0) & (lengths < np.inf)
    if space.normalized:
        good &= np.abs(lengths - 1) <= LENGTH_TOLERANCE
    if good.all():
        return {}
    return {int(row): _defect(float(lengths[row])) for row in np.flatnonzero(~good)}


def refuse_defects(vectors: Vectors, space: Space) -> None:
    """Pass when every row is good.

    Raises:
        MalformedVectors: one is not; the first is named.
    """
    for row, defect in defects(vectors, space).items():
        raise malformed(space, f"vector {row + 1} of {len(vectors)}: {defect}")


def malformed(space: Space, detail: str, hint: str = "") -> MalformedVectors:
    """Return the error for an answer of this space's model."""
    return MalformedVectors(f"model {space.model} gave an answer that cannot be used", detail, hint)


def _numbers(answer: Any, space: Space) -> Vectors:
    if isinstance(answer, np.ndarray) and answer.dtype == np.float32:
        return np.ascontiguousarray(answer)
    try:
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(answer, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise malformed(space, f"it is no array of numbers: {error}") from error


def _require_shape(vectors: Vectors, count: int, space: Space) -> None:
    if vectors.ndim != 2 or len(vectors) != count:
        raise malformed(space, f"its shape is {vectors.shape} for {count} texts")
    if vectors.shape[1] != space.dimensions:
        raise malformed(
            space,
            f"its vectors have {vectors.shape[1]} dimensions, not {space.dimensions}",
            f"set dimensions = {vectors.shape[1]} for the model, if that is what it gives",
        )


def _surely_good(space: Space) -> tuple[float, float]:
    return _SURELY_NORMALIZED if space.normalized else _SURELY_FINITE


def _defect(length: float) -> str:
    if not math.isfinite(length):
        return "it has a value that is not finite"
    if not length:
        return "it is zero everywhere"
    return f"its length is {length:.4g}, and the space says 1"
