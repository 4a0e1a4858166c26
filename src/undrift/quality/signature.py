"""The marks that a change leaves on the displacements of the probes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from undrift.domain.probe import Traits
from undrift.quality.canary import Floor, Look

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Part of the mean displacement of those that moved below which a probe counts as still.
_STILL = 1e-2
#: Part of the noise that is left in the displacement of a single probe.
_LEFT_OVER = 0.1
#: What float32 cannot tell from nothing.
_NOTHING = 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """The marks of a change. Products of different probes are free of noise, so most of them are unbiased.

    Attributes:
        moved: whether a probe is away from where it was, beside those that are farthest away, shape (n,).
        size: mean displacement of all probes.
        shared: how far all displacements point the same way: |mean|² / mean square; 0 for none, 1 for all.
        outward: component of the mean displacement along the mean vector, beside its own length.
        uneven: standard deviation of the logarithm of the displacements; 0 where all are alike.
        longer: rank correlation of the displacement with the length of the text.
        bent: mean change of the cosines among the probes, beside the mean displacement; 0 for a rotation.
        closer: mean growth of those cosines, beside the mean displacement; positive where all became more alike.
        spiky: how much of each lies on single axes, more than the texts' vectors do: mean fourth power by squared mean
            square; 3 for chance.
        like: correlation of the displacements' likeness with that of the texts' vectors.
        compared: of how many shipped probes `like` and `ways` are; what they are depends on the texts.
        ways: in how many directions they go, the shared one aside, beside how many the texts' vectors have; a thin
            change of the weights has few for all texts.
        left: mean cosine to the baseline.
    """

    moved: Flags
    size: float
    shared: float
    outward: float
    uneven: float
    longer: float
    bent: float
    closer: float
    spiky: float
    like: float
    compared: int
    ways: float
    left: float

    def as_dict(self) -> dict[str, float]:
        """Return the figures by name."""
        return {
            "moved_ratio": float(self.moved.mean()),
            "displacement_ratio": self.size,
            "shared_ratio": self.shared,
            "outward_ratio": self.outward,
            "uneven_log": self.uneven,
            "length_correlation_ratio": self.longer,
            "geometry_change_ratio": self.bent,
            "single_axes_kurtosis": self.spiky,
            "directions_ratio": self.ways,
        }


def signature_of(
    floor: Floor, seen: Look, traits: Sequence[Traits], *, shipped: Sequence[bool] | None = None
) -> Signature:
    """Return the marks of a change.

    Args:
        floor: the baseline.
        seen: a look whose vectors can be compared with it.
        traits: what is in each probe's text.
        shipped: which probes are of the shipped ones; by default all.
    """
    sizes = seen.displacements
    moved = _moved(floor, seen)
    rows = np.flatnonzero(moved) if moved.sum() >= 4 else np.arange(len(sizes))
    shifts = (seen.fresh - floor.middle)[rows]
    mean_square = max(2 * float(sizes[rows].mean()), _NOTHING)
    apart = ~np.eye(len(rows), dtype=bool)
    products = shifts @ shifts.T
    old, new = floor.middle[rows] @ floor.middle[rows].T, seen.fresh[rows] @ seen.fresh[rows].T
    centre = floor.middle.mean(axis=0)
    # Below the noise single displacements say nothing about each other.
    logs = np.log(np.maximum(sizes[rows], _NOTHING)) if sizes[rows].mean() > floor.noise else np.zeros(len(rows))
    lengths = np.array([one.words for one in traits])[rows]
    mean_shift = shifts.mean(axis=0)
    norms = np.linalg.norm(shifts, axis=1)
    norms[norms == 0] = 1.0
    along = shifts / norms[:, None]
    ours = np.flatnonzero(np.ones(len(rows)) if shipped is None else np.array(shipped)[rows])
    ours = ours if len(ours) >= 4 else np.arange(len(rows))
    others = ~np.eye(len(ours), dtype=bool)
    return Signature(
        moved=moved,
        size=float(sizes.mean()),
        shared=float(products[apart].mean() / mean_square),
        outward=float(mean_shift @ centre / max(np.linalg.norm(mean_shift) * np.linalg.norm(centre), _NOTHING)),
        uneven=float(logs.std()),
        longer=_correlation(_ranks(lengths), _ranks(sizes[rows])),
        bent=float(np.abs(new - old)[apart].mean() / (mean_square / 2)),
        closer=float((new - old)[apart].mean() / (mean_square / 2)),
        spiky=3 * _spikes(shifts) / max(3.0, _spikes(floor.middle - centre)),
        like=_correlation((along[ours] @ along[ours].T)[others], old[np.ix_(ours, ours)][others]),
        compared=len(ours),
        ways=_directions(along[ours]) / max(_directions(floor.middle[rows[ours]]), _NOTHING),
        left=float(seen.cosines.mean()),
    )


def _moved(floor: Floor, seen: Look) -> Flags:
    """Return which probes moved: those that are not still beside the ones that moved most."""
    sizes = seen.displacements
    most = float(sizes[sizes >= np.quantile(sizes, 0.9)].mean())
    if most < floor.noise:
        return np.ones(len(sizes), dtype=bool)
    found: Flags = sizes > np.maximum(_STILL * most, np.maximum(_NOTHING, _LEFT_OVER * floor.spread))
    return found


def _spikes(vectors: Numbers) -> float:
    """Return how much of vectors lies on single axes, whatever their lengths: their kurtosis around zero."""
    lengths = np.linalg.norm(vectors, axis=1)
    along = vectors / np.where(lengths == 0, 1.0, lengths)[:, None]
    return float((along**4).mean() * along.shape[1] ** 2)


def _directions(vectors: Numbers) -> float:
    """Return how many directions vectors have, the one that they share aside: the participation ratio."""
    aside = vectors - vectors.mean(axis=0)
    products = aside @ aside.T
    return float(np.trace(products) ** 2 / max((products**2).sum(), _NOTHING))


def _ranks(values: Numbers) -> Numbers:
    order = np.unique(values, return_inverse=True)[1]
    found: Numbers = order.astype(np.float64)
    return found


def _correlation(left: Numbers, right: Numbers) -> float:
    left, right = left - left.mean(), right - right.mean()
    length = np.sqrt((left**2).sum() * (right**2).sum())
    return float((left * right).sum() / length) if length > 0 else 0.0
