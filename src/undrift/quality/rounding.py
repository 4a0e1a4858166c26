"""On which grid the numbers of vectors lie: what a provider rounds them to."""

from __future__ import annotations

from enum import Enum

import numpy as np

from undrift.domain.record import Vectors

#: Shorter vectors have too few numbers to tell levels from chance.
_LEAST = 64
#: Levels an int8 number has.
_LEVELS = 256
#: Vectors that are looked at: a grid is a property of all of them.
_LOOKED_AT = 64
_DECIMALS = (2, 3, 4, 5)
#: Range of the sizes of signs, beside their mean; what a model computes has a range of several times its mean.
_NEARLY = 0.1


class Grid(Enum):
    """What the numbers of vectors are rounded to."""

    #: Nothing coarser than float32.
    NONE = "float32"
    #: They are one of two: only the signs are left.
    BITS = "bits"
    #: They are float16 numbers.
    FLOAT16 = "float16"
    #: They are bfloat16 numbers.
    BFLOAT16 = "bfloat16"
    #: They are multiples of a step, as many as fit into a byte.
    BYTES = "int8"
    #: They have so few decimals.
    DECIMALS = "decimals"


def grid_of(vectors: Vectors) -> Grid:
    """Return the grid that all vectors lie on; float32, shape (n, d).

    A grid survives only in vectors that nobody has normalised since.
    """
    values = np.ascontiguousarray(vectors[:_LOOKED_AT], dtype=np.float32)
    if values.size < _LEAST or not np.isfinite(values).all():
        return Grid.NONE
    if all(_has_signs_only(row) for row in values):
        return Grid.BITS
    if not (values.view(np.uint32) & 0xFFFF).any():
        return Grid.BFLOAT16
    if _is_float16(values):
        return Grid.FLOAT16
    if _has_steps(values):
        return Grid.BYTES
    if any(np.abs(np.round(values, places) - values).max() <= 1e-7 for places in _DECIMALS):
        return Grid.DECIMALS
    return Grid.NONE


def _has_signs_only(row: Vectors) -> bool:
    """Return whether all numbers are as far from zero as the others, or nearly, where something was added to signs."""
    # An axis that was zero has no sign.
    sizes = np.abs(row[row != 0])
    return bool(sizes.size and np.ptp(sizes) <= _NEARLY * sizes.mean())


def _is_float16(values: Vectors) -> bool:
    if np.abs(values).max() > np.finfo(np.float16).max:
        return False
    return bool((values.astype(np.float16).astype(np.float32) == values).all())


def _has_steps(values: Vectors) -> bool:
    """Return whether the numbers of each vector are whole multiples of one step, a byte's worth of them."""
    if values.shape[1] < _LEAST:
        return False
    for row in values.astype(np.float64):
        levels = np.unique(row)
        gaps = np.diff(levels)
        if len(levels) < 3 or len(levels) > min(_LEVELS, values.shape[1] * 0.9):
            return False
        steps = row / gaps.min()
        shift = steps - np.floor(steps)
        # Multiples may be counted from anywhere (a zero point), so that all have the same rest.
        rest = np.abs((shift - shift[0] + 0.5) % 1 - 0.5)
        if rest.max() > 0.05:
            return False
    return True
