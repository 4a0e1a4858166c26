"""Embedding functions that cost next to nothing, so that what is measured is everything else."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

#: As long as those of the small sentence transformers.
DIMENSIONS = 384
_POOL = 4096
_prepared: dict[str, NDArray[np.float32]] = {}


@cache
def _pool() -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((_POOL, DIMENSIONS), dtype=np.float32)


def old(texts: Sequence[str]) -> NDArray[np.float32]:
    """Return unit vectors that depend on the texts alone; float32, shape (n, 384)."""
    found = [_prepared.get(text) for text in texts]
    known = [vector for vector in found if vector is not None]
    return np.concatenate(known).reshape(len(texts), -1) if len(known) == len(texts) else _of_old(texts)


def new(texts: Sequence[str]) -> NDArray[np.float32]:
    """Return other vectors of the same kind: those of another model."""
    return _mixed([zlib.crc32(text.encode(), 1) for text in texts])


def prepare(texts: Sequence[str]) -> NDArray[np.float32]:
    """Compute what `old` returns for these texts; in this process it only looks them up from now on."""
    vectors = _of_old(texts)
    _prepared.update(zip(texts, vectors, strict=True))
    return vectors


def _of_old(texts: Sequence[str]) -> NDArray[np.float32]:
    return _mixed([zlib.crc32(text.encode()) for text in texts])


def _mixed(sums: Sequence[int]) -> NDArray[np.float32]:
    """Mix two vectors of the pool each, so that practically no two texts have the same one."""
    drawn = np.asarray(sums, dtype=np.uint32)
    vectors = _pool()[drawn % _POOL]
    vectors += _pool()[drawn // _POOL % _POOL]
    vectors /= np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    return vectors
