"""Whether some vectors are drawn as earlier ones of the same model were, and what is different about them.

Two lanes look at them: one for a shift of the mix (`shift`), one for what was not there before (`novelty`). The chance
of both together is their harmonic mean: never more than twice the smaller one, so that neither can silence the other,
and less where both speak (D. J. Wilson, "The harmonic mean p-value for combining dependent tests", 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from undrift.domain.record import Vectors
from undrift.errors import BadArgument, SpaceMismatch
from undrift.quality.chances import together
from undrift.quality.novelty import Neighbourhood, Novelty, novelty_in
from undrift.quality.places import crowding
from undrift.quality.shift import Cloud, Shift, shift_between

#: Earlier vectors that are learned from, at most.
REFERENCE = 4000
#: Later vectors that are looked at together.
WINDOW = 1000
#: Fewer vectors on either side say too little: 250 show a tenth of novel ones, a shift of the mix wants 500 to 1,000.
LEAST = 250
#: A look is remarkable at a chance so small, and only where the effect is large enough to matter: with many vectors,
#: differences are certain that nobody has to care about.
CHANCE = 1e-3
NOVEL_SHARE = 0.05
SHIFT_RADII = 0.1
#: Vectors named as examples.
EXAMPLES = 5
#: Of the largest spread along an axis, a share below which the axis counts as one along which nothing varies.
_DEAD = 1e-12
#: How far along such an axis a vector is from the others when it counts as awake: kept vectors are rounded to float16.
_AWAKE = 1e-3


class Lane(Enum):
    """What of the vectors is different."""

    #: The mix of what was there before has shifted.
    MIX = "mix"
    #: Some lie where none lay before: a new topic, or another model.
    NOVELTY = "novelty"
    #: An axis along which nothing ever varied does now: no text does that, only another model.
    AXES = "axes"


@dataclass(frozen=True, slots=True)
class Reference:
    """What is known of earlier vectors; learned once, compared with often."""

    cloud: Cloud
    neighbourhood: Neighbourhood
    dead: NDArray[np.bool_]

    @property
    def count(self) -> int:
        """How many vectors it was learned from."""
        return self.cloud.count


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How later vectors differ from earlier ones.

    Attributes:
        chance: that they would seem to differ so much if nothing had changed; not corrected for looking repeatedly.
        lane: what is most different about them.
        mix: the chance by a shift of the mix alone: by how far the middle has moved, and where they crowd.
        novelty: the chance by what was not there before alone.
        shift_radii: how far the middle has moved, in mean distances from the middle, less what chance alone would show.
        novel_share: share of vectors that lie where none lay before, less what chance alone would show.
        woken_axes: axes along which nothing ever varied and something does now.
        examples: rows of the later vectors that show it most.
    """

    chance: float
    lane: Lane
    mix: float
    novelty: float
    shift_radii: float
    novel_share: float
    woken_axes: tuple[int, ...]
    examples: tuple[int, ...]

    @property
    def is_remarkable(self) -> bool:
        """Whether the difference is both certain and large enough to matter; two looks running are an alarm."""
        return self.is_remarkable_among(1)

    def is_remarkable_among(self, tests: int) -> bool:
        """Whether it is where so many tests are made at one look, each of which could be wrong (Bonferroni)."""
        matters = self.novel_share >= NOVEL_SHARE or self.shift_radii >= SHIFT_RADII
        return bool(self.woken_axes) or (self.chance * tests <= CHANCE and matters)


def learn(vectors: Vectors) -> Reference:
    """Learn how vectors of one model are drawn.

    Args:
        vectors: float32, shape (n, d); of more than `REFERENCE`, the first are taken.

    Raises:
        BadArgument: they are fewer than `LEAST`, or not all of them are numbers.
    """
    units = _units(vectors[:REFERENCE])
    return Reference(Cloud.of(units), Neighbourhood.of(units), _dead(units))


def compare(reference: Reference, vectors: Vectors) -> Drift:
    """Compare later vectors with what was learned from earlier ones.

    Args:
        reference: what was learned.
        vectors: float32, shape (m, d), of the same space.

    Raises:
        BadArgument: they are fewer than `LEAST`, or not all of them are numbers.
        SpaceMismatch: they have another number of dimensions: they cannot be of the same space.
    """
    units = _units(vectors)
    if units.shape[1] != len(reference.dead):
        raise SpaceMismatch(
            f"vectors of {units.shape[1]} dimensions cannot be compared with a reference of {len(reference.dead)}",
            "they are of another space",
        )
    later = Cloud.of(units)
    shift = shift_between(reference.cloud, later)
    crowds = crowding(reference.neighbourhood.units, units, reference.cloud.joined(later))
    mix = together([shift.chance, crowds])
    novelty = novelty_in(units, reference.neighbourhood)
    woken = _woken(reference, units)
    chance = 0.0 if woken else _both(mix, novelty.chance)
    # What is new moves the middle too; where both are certain, that something is new says more.
    is_new = novelty.chance <= CHANCE and novelty.share >= NOVEL_SHARE
    lane = Lane.AXES if woken else Lane.NOVELTY if is_new or novelty.chance <= mix else Lane.MIX
    return Drift(
        chance=chance,
        lane=lane,
        mix=mix,
        novelty=novelty.chance,
        shift_radii=shift.radii,
        novel_share=novelty.share,
        woken_axes=woken,
        examples=_examples(lane, units, reference, shift, novelty),
    )


def _both(one: float, other: float) -> float:
    return 2 * one * other / (one + other) if one + other else 0.0


def _dead(units: NDArray[np.float32]) -> NDArray[np.bool_]:
    spread = units.var(axis=0, dtype=np.float64)
    dead: NDArray[np.bool_] = spread <= _DEAD * max(float(spread.max()), 1e-30)
    return dead


def _woken(reference: Reference, units: NDArray[np.float32]) -> tuple[int, ...]:
    """Return the axes that were dead and along which a vector now differs by more than rounding to float16 explains."""
    away = np.abs(units - reference.cloud.centre).max(axis=0)
    return tuple(int(axis) for axis in np.flatnonzero(reference.dead & (away > _AWAKE)))


def _examples(
    lane: Lane, units: NDArray[np.float32], reference: Reference, shift: Shift, novelty: Novelty
) -> tuple[int, ...]:
    """Return the rows that show the difference most."""
    match lane:
        case Lane.MIX:
            shown = units @ shift.direction
        case Lane.NOVELTY:
            shown = novelty.distances
        case Lane.AXES:
            shown = np.abs(units - reference.cloud.centre)[:, reference.dead].max(axis=1)
        case _:
            assert_never(lane)
    return tuple(int(row) for row in np.argsort(-shown, kind="stable")[:EXAMPLES])


def _units(vectors: Vectors) -> NDArray[np.float32]:
    """Return the vectors with length 1; one of length 0 stays as it is."""
    if len(vectors) < LEAST:
        raise BadArgument(f"{len(vectors)} vectors are too few to tell drift: {LEAST - len(vectors)} more are needed")
    broken = int((~np.isfinite(vectors).all(axis=1)).sum())
    if broken:
        raise BadArgument(f"{broken} of {len(vectors)} vectors have a value that is no number")
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    units: NDArray[np.float32] = (vectors / np.maximum(lengths, 1e-300)[:, None]).astype(np.float32)
    return units
