"""Whether some vectors fall into two parts that hardly know each other, as those of two models do.

Vectors of one model hang together: from any topic to any other there is a way over near neighbours. Those of an
unrelated model, or of another pooling of the same one, are neighbours of one another only. So the narrowest place of
the graph of neighbours is looked for: a cut through few of its edges, with many on either side. It is a hint and no
proof: it costs no call of a model, and a corpus of two languages may look the same. What a model's own family gives (a
fine-tune, a missing prefix) lies among the others and cannot be seen in this way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from undrift.domain.record import Vectors

#: Vectors that are looked at, at most.
SAMPLE = 2000
#: Fewer say too little.
LEAST = 250
#: A narrower place than this parts two spaces: measured on collections of one model, none had one below 0.04.
NARROW = 0.025
#: Neighbours of each vector, and the share of the vectors that either part has at least.
_NEIGHBOURS, _SMALLEST = 10, 0.01
#: Steps of the iteration that finds the slowest waves of the graph, and waves that are looked at.
_STEPS, _WAVES = 96, 8
#: Vectors compared at a time.
_BLOCK = 1024

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Narrows:
    """The narrowest place among some vectors.

    Attributes:
        conductance: edges through it, as a share of those of the smaller part: 0 for two parts that do not touch.
        smaller: rows of the smaller part.
        cosine: between the middles of both parts.
    """

    conductance: float
    smaller: tuple[int, ...]
    cosine: float

    @property
    def is_narrow(self) -> bool:
        """Whether the parts are likely of two spaces."""
        return self.conductance < NARROW


def narrowest(vectors: Vectors) -> Narrows | None:
    """Find the narrowest place among vectors; None when they are fewer than `LEAST`.

    By sweeps over the slowest waves of the graph (Spielman and Teng, "Spectral partitioning works", 2007), which are
    found by the iteration of Lanczos (1950).

    Args:
        vectors: float32, shape (n, d), without a value that is no number; of more than `SAMPLE`, the first are taken.
    """
    if len(vectors) < LEAST:
        return None
    wide = vectors[:SAMPLE].astype(np.float64)
    units = (wide / np.maximum(np.linalg.norm(wide, axis=1), 1e-300)[:, None]).astype(np.float32)
    graph = _graph(units)
    degrees = graph.sum(axis=1, dtype=np.float64)
    best, side = _best_sweep(graph, degrees)
    smaller = side if side.sum() * 2 <= len(side) else ~side
    middles = [units[part].mean(axis=0, dtype=np.float64) for part in (smaller, ~smaller)]
    lengths = [max(float(np.linalg.norm(middle)), 1e-300) for middle in middles]
    cosine = float(middles[0] @ middles[1]) / (lengths[0] * lengths[1])
    return Narrows(best, tuple(int(row) for row in np.flatnonzero(smaller)), cosine)


def _graph(units: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return which vectors are neighbours, of either: 1 or 0, float32, shape (n, n)."""
    count = len(units)
    graph = np.zeros((count, count), dtype=np.float32)
    for start in range(0, count, _BLOCK):
        block = units[start : start + _BLOCK]
        near = block @ units.T
        rows = np.arange(len(block))
        near[rows, start + rows] = -np.inf
        chosen = np.argpartition(near, count - _NEIGHBOURS, axis=1)[:, -_NEIGHBOURS:]
        graph[start + np.repeat(rows, _NEIGHBOURS), chosen.ravel()] = 1
    both: NDArray[np.float32] = np.maximum(graph, graph.T)
    return both


def _best_sweep(graph: NDArray[np.float32], degrees: Numbers) -> tuple[float, NDArray[np.bool_]]:
    """Return the least conductance of all sweeps, and one side of that cut."""
    count, volume = len(graph), float(degrees.sum())
    first, second = np.nonzero(np.triu(graph))
    least = max(1, int(np.ceil(_SMALLEST * count)))
    inside = np.arange(least - 1, count - least)
    best, side = float("inf"), np.zeros(count, dtype=bool)
    for wave in _slowest_waves(graph, degrees):
        order = np.argsort(wave / np.sqrt(degrees), kind="stable")
        place = np.empty(count, dtype=np.int64)
        place[order] = np.arange(count)
        ends = np.sort(np.column_stack([place[first], place[second]]), axis=1)
        # An edge is cut by every sweep that has one of its ends and not yet the other.
        opened = np.bincount(ends[:, 0], minlength=count) - np.bincount(ends[:, 1], minlength=count)
        cut, within = np.cumsum(opened), np.cumsum(degrees[order])
        conductance = cut[inside] / np.minimum(within, volume - within)[inside]
        at = int(np.argmin(conductance))
        if conductance[at] < best:
            best, side = float(conductance[at]), place <= inside[at]
    return best, side


def _slowest_waves(graph: NDArray[np.float32], degrees: Numbers) -> Numbers:
    """Return the eigenvectors of the normalised graph with the largest values, but for the trivial one, as rows."""
    scale = 1 / np.sqrt(degrees)
    trivial = np.sqrt(degrees / degrees.sum())
    # Narrow weights: the products are the whole cost, and a wave has to be right in its order only.
    walk = graph * scale[:, None].astype(np.float32) * scale.astype(np.float32)
    vector = np.random.default_rng(0).standard_normal(len(graph))
    vector -= trivial * (trivial @ vector)
    vector /= np.linalg.norm(vector)
    found, diagonal, beside = [vector], [], []
    for _ in range(_STEPS):
        ahead = (walk @ found[-1].astype(np.float32)).astype(np.float64)
        diagonal.append(float(ahead @ found[-1]))
        # All earlier ones are taken out again, or rounding would bring them back.
        basis = np.array([trivial, *found])
        for _ in range(2):
            ahead -= basis.T @ (basis @ ahead)
        length = float(np.linalg.norm(ahead))
        if length < 1e-6:
            break
        beside.append(length)
        found.append(ahead / length)
    size = len(diagonal)
    small = np.diag(diagonal) + np.diag(beside[: size - 1], 1) + np.diag(beside[: size - 1], -1)
    _, turns = np.linalg.eigh(small)
    waves: Numbers = turns[:, : -_WAVES - 1 : -1].T @ np.array(found[:size])
    return waves
