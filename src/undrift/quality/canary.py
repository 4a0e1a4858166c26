"""Whether a model still gives the vectors that it gave before, by a few fixed texts and in spite of noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from undrift.domain.finding import Severity
from undrift.domain.record import Vectors
from undrift.errors import BadArgument
from undrift.quality.rounding import Grid, grid_of

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Calls per probe that a baseline is made of, at least: two halves of two.
LEAST_REPEATS = 4
#: Probes without which nothing is said about a change of all vectors.
LEAST_PROBES = 16
#: Chance at which the signed-rank test alarms by accident, per look and before confirmation. Three of the 65,536
#: arrangements of 16 probes are rarer.
ALPHA = 5e-5
#: The false-alarm rate that is promised for a look, both lanes together; the benchmark `canary` measures it.
PROMISED = 1e-4
#: Mean displacement below which nothing is said, because float32 itself is not surer.
LEAST_SIZE = 1e-8
#: A single probe counts as displaced when it is so far from every baseline call …
_LEAST_JUMP = 1e-4
#: … and so many times as far as the farthest two baseline calls are apart.
_JUMP = 3.0
#: All probes together have to move so many times as far as the servers of a mixed fleet are apart.
_FLEET = 2.0
#: Chance at which calls of one kind are taken for a fleet. This only makes a look slower to alarm.
_FLEET_ALPHA = 1e-4
#: Calls among which every division into two kinds is tried; there are 127 of eight.
_DIVIDED = 8
#: Most by which the logarithm of a length may change.
_LENGTH = 1e-3
#: From which mean displacement a change is that severe; measured on top-10 overlap and MRR for all-MiniLM-L6-v2.
BANDS = ((5e-2, Severity.CRITICAL), (1e-2, Severity.ERROR), (1e-4, Severity.WARNING), (0.0, Severity.INFO))


class Broken(Enum):
    """What is wrong with the vectors themselves, before any statistic."""

    #: They have another number of dimensions.
    DIMENSIONS = "dimensions"
    #: A number in them is not finite, or a vector has no direction.
    NOT_FINITE = "not_finite"
    #: They are longer or shorter than they were.
    LENGTH = "length"
    #: Their numbers lie on another grid: they are rounded otherwise.
    ROUNDING = "rounding"


class Verdict(Enum):
    """What a look says of a model."""

    #: It is the one it was, as far as so many probes can tell.
    UNCHANGED = "unchanged"
    #: It is not.
    CHANGED = "changed"
    #: Too little was seen to say.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """What is known of a model's own noise.

    Attributes:
        halves: mean unit vectors of the two halves of the baseline calls, float64, shape (2, n, d).
        calls: unit vectors of each call, float64, shape (r, n, d).
        lengths: mean length of each probe's vector, shape (n,).
        stretch: largest difference of the logarithm of its length between two calls, per probe, shape (n,).
        spread: largest cosine distance between two calls of one probe, shape (n,).
        fleet: how far whole calls are apart on average, beyond the noise of single texts, as a cosine distance: servers
            of several kinds take turns. 0 where they do not.
        grid: on which grid the numbers lie.
    """

    halves: Numbers
    calls: Numbers
    lengths: Numbers
    stretch: Numbers
    spread: Numbers
    fleet: float
    grid: Grid

    @property
    def noise(self) -> float:
        """The median over the probes of how far two calls are apart at most, as a cosine distance."""
        return float(np.median(self.spread))

    @property
    def middle(self) -> Numbers:
        """The best that is known of the vectors: the mean over all calls, shape (n, d)."""
        found: Numbers = self.calls.mean(axis=0)
        return found

    @property
    def jump(self) -> Numbers:
        """How far from every call a probe has to be to count as displaced by itself, shape (n,)."""
        return np.maximum(_LEAST_JUMP, _JUMP * np.maximum(self.spread, self.noise))


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What two fresh calls say about a model.

    Attributes:
        verdict: what this look says by itself; an alarm wants a second look.
        severity: how bad a change of this size is.
        broken: what is wrong with the vectors themselves.
        p_value: of the signed-rank test over all probes; 1 where nothing moved.
        size: mean displacement, an unbiased reading of the mean cosine distance; noise does not add to it.
        displacements: of each probe, float64, shape (n,).
        jumped: whether a probe is displaced by itself, shape (n,).
        equal: share of the probes of which both calls gave exactly a vector that the baseline has.
        cosines: of the fresh vectors against the baseline's mean, shape (n,).
        stretch: median factor by which the lengths changed.
        grid: on which grid the fresh numbers lie.
        fresh: mean unit vectors of the fresh calls, float64, shape (n, d); empty where they cannot be compared.
    """

    verdict: Verdict
    severity: Severity
    broken: tuple[Broken, ...]
    p_value: float
    size: float
    displacements: Numbers
    jumped: Flags
    equal: float
    cosines: Numbers
    stretch: float
    grid: Grid
    fresh: Numbers

    @property
    def moved(self) -> float:
        """Share of the probes that are displaced by themselves."""
        return float(self.jumped.mean()) if len(self.jumped) else 0.0

    def by_stratum(self, strata: Sequence[str]) -> dict[str, float]:
        """Return the mean displacement of each stratum, in the order in which they come."""
        names = np.array(strata)
        return {name: float(self.displacements[names == name].mean()) for name in dict.fromkeys(strata)}


def learn(repeats: Vectors) -> Floor:
    """Learn a model's noise from repeated calls.

    Args:
        repeats: float32, shape (r, n, d); call by call, all probes in the same order. At least four calls.

    Raises:
        BadArgument: there are too few calls, or a vector has no direction.
    """
    if repeats.ndim != 3 or len(repeats) < LEAST_REPEATS:
        raise BadArgument(
            f"a baseline of the shape {repeats.shape} is too little", f"at least {LEAST_REPEATS} calls are needed"
        )
    lengths = np.linalg.norm(repeats.astype(np.float64), axis=2)
    if not np.isfinite(lengths).all() or not (lengths > 0).all():
        raise BadArgument("a vector of the baseline has no direction", hint="record it again")
    calls = repeats / lengths[:, :, None]
    logs = np.log(lengths)
    apart = {pair: _distances(calls[pair[0]], calls[pair[1]]) for pair in combinations(range(len(calls)), 2)}
    return Floor(
        # Every other call, so that a drift of the provider during the recording is in both halves.
        halves=np.stack([calls[0::2].mean(axis=0), calls[1::2].mean(axis=0)]),
        calls=calls,
        lengths=lengths.mean(axis=0),
        stretch=logs.max(axis=0) - logs.min(axis=0),
        spread=np.max(list(apart.values()), axis=0),
        fleet=_fleet(len(calls), apart),
        grid=grid_of(repeats.reshape(-1, repeats.shape[2])),
    )


def look(floor: Floor, fresh: Vectors) -> Look:
    """Compare two fresh calls with a baseline.

    The displacement of a probe is <v1 - b1, v2 - b2> / 2 over two fresh calls v and the two halves b of the baseline.
    Noise that is independent from call to call cancels out of it, so that it reads the true cosine distance without
    bias, as a "cross-validated" distance does (Walther et al. 2016, "Reliability of dissimilarity measures for
    multi-voxel pattern analysis", crossnobis). Two lanes judge it. All probes together: a one-sided signed-rank test
    (Wilcoxon 1945, "Individual comparisons by ranking methods") with its exact p-value; without a change the
    displacements are symmetric around zero, whatever the noise. Each probe by itself: both calls are farther from
    every baseline call than any two of those are from each other, by far; this sees what moves only a few texts.

    Args:
        floor: the baseline.
        fresh: float32, shape (2, n, d).

    Raises:
        BadArgument: there are not two calls of the same probes.
    """
    _, probes, dimensions = floor.calls.shape
    if fresh.ndim != 3 or fresh.shape[:2] != (2, probes):
        raise BadArgument(f"a look of the shape {fresh.shape} is not two calls of {probes} probes")
    if fresh.shape[2] != dimensions:
        return unreadable(Broken.DIMENSIONS, probes)
    lengths = np.linalg.norm(fresh.astype(np.float64), axis=2)
    if not np.isfinite(lengths).all() or not (lengths > 0).all():
        return unreadable(Broken.NOT_FINITE, probes)
    calls = fresh / lengths[:, :, None]
    shifts = calls - floor.halves
    # A vector that the baseline has is no displacement: of servers that take turns, some answered that text before.
    had = np.array([(np.abs(floor.calls - call).max(axis=2) == 0).any(axis=0) for call in calls])
    displacements = np.where(had.all(axis=0), 0.0, (shifts[0] * shifts[1]).sum(axis=1) / 2)
    nearest = np.min([_distances(call, old) for call in calls for old in floor.calls], axis=0)
    jumped = (nearest > floor.jump) & (displacements > floor.jump / 2)
    p_value = signed_rank(displacements)
    size = float(displacements.mean())
    grid = grid_of(fresh.reshape(-1, dimensions))
    logs = np.log(lengths / floor.lengths)
    broken = _broken(floor, logs, grid)
    drifted = p_value <= ALPHA and size > max(LEAST_SIZE, _FLEET * floor.fleet)
    changed = bool(broken) or drifted or bool(jumped.any())
    middle = calls.mean(axis=0)
    return Look(
        verdict=Verdict.CHANGED if changed else Verdict.UNCHANGED if probes >= LEAST_PROBES else Verdict.UNKNOWN,
        severity=Severity.CRITICAL if Broken.LENGTH in broken else severity_of(_worst(displacements, jumped)),
        broken=broken,
        p_value=p_value,
        size=size,
        displacements=displacements,
        jumped=jumped,
        equal=float(had.mean()),
        cosines=1 - _distances(middle / np.linalg.norm(middle, axis=1)[:, None], _unit(floor.middle)),
        stretch=float(np.exp(np.median(logs))),
        grid=grid,
        fresh=middle,
    )


def severity_of(size: float) -> Severity:
    """Return how bad a displacement is: what top-10 overlap and MRR lost where it was measured."""
    return next((severity for least, severity in BANDS if size >= least), Severity.INFO)


def signed_rank(values: Numbers) -> float:
    """Return the one-sided p-value of Wilcoxon's signed-rank test that values are symmetric around zero.

    It is exact, ties included: the distribution is counted over all signs of the ranks at hand. Zeros are left out, as
    Wilcoxon did.

    Args:
        values: float64, shape (n,).
    """
    values = values[values != 0]
    if not len(values):
        return 1.0
    order, ties, counts = np.unique(np.abs(values), return_inverse=True, return_counts=True)
    # Twice the middle rank of each group of ties is a whole number.
    doubled = 2 * np.cumsum(counts) - counts + 1 if len(order) else counts
    ranks = doubled[ties]
    tail = _tail(tuple(sorted(int(rank) for rank in ranks)))
    return float(tail[int(ranks[values > 0].sum())])


@lru_cache(maxsize=256)
def _tail(ranks: tuple[int, ...]) -> Numbers:
    """Return the chance that the ranks with a positive sign add up to each sum or more, all signs equally likely."""
    chances = np.zeros(sum(ranks) + 1)
    chances[0] = 1.0
    for rank in ranks:
        moved = np.zeros_like(chances)
        moved[rank:] = chances[: len(chances) - rank]
        chances = (chances + moved) / 2
    tail: Numbers = np.cumsum(chances[::-1])[::-1]
    return tail


def _fleet(calls: int, apart: Mapping[tuple[int, int], Numbers]) -> float:
    """Return how far two kinds of calls are apart, if there are two kinds.

    Noise of single texts makes calls of one kind as far apart as calls of two. So for each way to divide the calls
    into two kinds, the distances between the kinds are held against those within, by the same test.
    """
    members = range(min(calls, _DIVIDED))
    found = 0.0
    for size in range(1, len(members) // 2 + 1):
        for kind in combinations(members, size):
            pairs = [pair for pair in apart if pair[1] in members]
            between = [apart[pair] for pair in pairs if (pair[0] in kind) != (pair[1] in kind)]
            within = [apart[pair] for pair in pairs if (pair[0] in kind) == (pair[1] in kind)]
            excess = np.mean(between, axis=0) - np.mean(within, axis=0)
            if signed_rank(excess) <= _FLEET_ALPHA:
                found = max(found, float(excess.mean()))
    return found


def _worst(displacements: Numbers, jumped: Flags) -> float:
    """Return the size that the severity goes by: of all probes, or of those that moved by themselves, if they did."""
    return float(max(displacements.mean(), displacements[jumped].mean() if jumped.any() else 0.0))


def _broken(floor: Floor, logs: Numbers, grid: Grid) -> tuple[Broken, ...]:
    stretched = np.abs(logs).min(axis=0) > np.maximum(
        _LENGTH, _JUMP * np.maximum(floor.stretch, np.median(floor.stretch))
    )
    found = {Broken.LENGTH: stretched.any(), Broken.ROUNDING: grid != floor.grid}
    return tuple(broken for broken, is_so in found.items() if is_so)


def unreadable(broken: Broken, probes: int) -> Look:
    """Return the look at vectors that cannot be compared with those of a baseline."""
    return Look(
        verdict=Verdict.CHANGED,
        severity=Severity.CRITICAL,
        broken=(broken,),
        p_value=0.0,
        size=1.0,
        displacements=np.ones(probes),
        jumped=np.ones(probes, dtype=bool),
        equal=0.0,
        cosines=np.zeros(probes),
        stretch=1.0,
        grid=Grid.NONE,
        fresh=np.empty((0, 0)),
    )


def _unit(vectors: Numbers) -> Numbers:
    found: Numbers = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    return found


def _distances(left: Numbers, right: Numbers) -> Numbers:
    """Return the cosine distance of each pair of unit rows; by their difference, which is exact where they are near."""
    apart = left - right
    found: Numbers = (apart * apart).sum(axis=1) / 2
    return found
