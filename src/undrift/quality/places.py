"""Whether later vectors crowd in places where earlier ones did not, however near those lie to one another.

A new topic often lies between known ones: none of its vectors is far from all earlier ones, but they are near one
another. So some vectors are taken for places, each vector is counted at the places nearest to it, and it is asked how
many more of the later ones than their share are counted where later ones lie, each place measured by its own spread. A
place where few are counted weighs as much as one where many are: that is what a comparison of the middles does not see.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from undrift.quality.chances import student_above
from undrift.quality.shift import Cloud

#: Places of one map, and maps: a vector is counted at the nearest place of each map.
_PLACES, _MAPS = 32, 16
#: Times that it is drawn anew which vectors are the later ones.
_DRAWS = 100
#: Directions in which it is told which are near: topics live in those in which the vectors vary most.
_DIRECTIONS = 60
#: More are followed than are kept, so that the last ones are found soon too (after Halko, Martinsson and Tropp,
#: "Finding structure with randomness", 2011).
_SPARE, _ROUNDS = 10, 2
#: Of the largest spread, a share below which a direction counts as one in which nothing varies.
_DEAD = 1e-10

Vectors = NDArray[np.float32]


def crowding(earlier: Vectors, later: Vectors, together: Cloud, *, seed: int = 0) -> float:
    """Return the chance that later vectors crowd so much where nothing has changed.

    Places and directions are chosen without regard to which vectors are the later ones. So what chance alone shows is
    seen by drawing anew which those are. The cube root of such a sum of squares is nearly normal (Wilson and Hilferty,
    "The distribution of chi-square", 1931), so that far tails need no more draws.

    Args:
        earlier: float32, shape (n, d).
        later: float32, shape (m, d).
        together: what both sum up to.
        seed: of the places and the draws.
    """
    rng = np.random.default_rng(seed)
    counted, places = _counted(_along_main_axes(np.concatenate([earlier, later]), together), rng)
    total, share = len(counted), len(later) / (len(earlier) + len(later))
    counted -= counted.mean(axis=0)
    spread = np.einsum("ij,ij->j", counted, counted) * np.float32(share * (1 - share))
    alive = spread > 0
    if not alive.any():
        return 1.0
    is_later = np.empty((total, 1 + _DRAWS), dtype=np.float32)
    is_later[:, 0] = np.arange(total) >= len(earlier)
    is_later[:, 1:] = rng.random((total, _DRAWS), dtype=np.float32) < share
    excess = (counted.T @ is_later)[alive] / np.sqrt(spread[alive])[:, None]
    weights = is_later[places[alive]]
    sizes = np.cbrt((weights * excess**2).sum(axis=0, dtype=np.float64) / np.maximum(weights.sum(axis=0), 1))
    found, drawn = sizes[0], sizes[1:]
    usual = float(drawn.std(ddof=1)) * sqrt(1 + 1 / _DRAWS)
    return student_above(float(found - drawn.mean()) / usual, _DRAWS - 1) if usual > 0 else 1.0


def _counted(vectors: Vectors, rng: np.random.Generator) -> tuple[Vectors, NDArray[np.int64]]:
    """Return at which places each vector is counted, 1 or 0, shape (n, places); and which vectors are the places.

    Each place misses itself. So every other vector does not see one of them, and nobody has one more to choose from.
    """
    maps = min(_MAPS, len(vectors) // _PLACES)
    places = rng.choice(len(vectors), size=maps * _PLACES, replace=False)
    near = vectors @ vectors[places].T
    hidden = rng.integers(len(places), size=len(vectors))
    hidden[places] = np.arange(len(places))
    near[np.arange(len(vectors)), hidden] = -np.inf
    by_map = near.reshape(len(vectors), maps, _PLACES)
    counted = (by_map == by_map.max(axis=2, keepdims=True)).astype(np.float32)
    return counted.reshape(near.shape), places


def _along_main_axes(vectors: Vectors, cloud: Cloud) -> Vectors:
    """Return the vectors seen from their middle along the directions of the largest variance, each of length 1."""
    wanted = min(_DIRECTIONS + _SPARE, len(cloud.centre))
    spread = (cloud.scatter / cloud.count).astype(np.float32)
    axes = np.random.default_rng(0).standard_normal((len(spread), wanted), dtype=np.float32)
    for _ in range(_ROUNDS):
        axes = np.linalg.qr(spread @ axes)[0]
    sizes, turn = np.linalg.eigh(axes.T @ spread @ axes)
    main = slice(None, -_DIRECTIONS - 1, -1)
    alive = sizes[main] > _DEAD * max(float(sizes[-1]), 1e-30)
    axes = (axes @ turn[:, main])[:, alive]
    seen = vectors @ axes - cloud.centre.astype(np.float32) @ axes
    lengths = np.linalg.norm(seen, axis=1, keepdims=True)
    found: Vectors = seen / np.maximum(lengths, 1e-6)
    return found
