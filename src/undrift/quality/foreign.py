"""Find the vectors of another model inside a collection from the vectors alone.

An unrelated model puts its vectors where a collection's own are not: far from their neighbours, and in directions in
which the collection hardly varies. How such vectors would look is not guessed: the collection's own, turned at random,
are vectors of an unrelated model of the same shape. What a turn does not change (a fine-tune, a missing prefix, another
revision of the same family) cannot be seen in this way, whatever the statistic: there only the texts help.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from undrift.domain.record import Vectors

#: Vectors that a collection is learned from, at most.
REFERENCE = 4000
#: Fewer say too little about what is usual.
LEAST = 64
#: Parts that are scored by what the others say, so that no vector speaks for itself.
_FOLDS = 4
#: Neighbours that are looked at.
_NEIGHBOURS = 5
#: Vectors compared at a time: bounds the memory.
_BLOCK = 2048
#: Different turns by which the alternative is made: one of them alone may lie unluckily.
_TURNS = 16
#: Share that is learned from in the first rounds: foreign vectors lie close to one another, and among those that are
#: learned from they would vouch for themselves (after Rousseeuw and Van Driessen, "A fast algorithm for the minimum
#: covariance determinant estimator", 1999).
_CORE = 0.75
#: Rounds that look for that share, and at most so many more in which only those that were found are left out.
_CORE_ROUNDS, _ROUNDS = 2, 4
#: A constant, the three features, and their squares.
_FEATURES = 7
#: What brings the three features to a like size.
_SCALES = np.array([1.0, 3.0, 3.0])
#: Share of the turned vectors beyond the limit; where the clouds lie apart, the limit is between them and all are.
_POWER = 0.99
#: Decimal digits of the share of the collection's own vectors beyond the limit below which nothing is said.
_LEAST_DIGITS = 2.5
#: Steps of the regression, and its penalty, which keeps clouds that lie apart from driving it to infinity.
_NEWTON, _RIDGE = 25, 1e-4
#: Spread of a normal distribution in units of its median absolute deviation.
_MAD = 1.4826
#: Lengths farther from the usual one than this many spreads, and this share of it, are another normalisation.
_LENGTH_SPREADS, _LENGTH_SHARE = 12.0, 0.02

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Frame:
    """What is usual among some vectors of length 1: their centre, how they vary, and they themselves."""

    centre: Numbers
    axis: Numbers
    whitening: Numbers
    neighbours: NDArray[np.float32]

    def features(self, units: NDArray[np.float32]) -> Numbers:
        """Return for each vector how unusual its direction is, how near its neighbours are, and the centre."""
        found = []
        for start in range(0, len(units), _BLOCK):
            block = units[start : start + _BLOCK]
            spread = np.square((block - self.centre) @ self.whitening).mean(axis=1)
            near = block @ self.neighbours.T
            # One neighbour more is taken and the nearest left out: a text that stands twice says nothing.
            near = np.partition(near, near.shape[1] - _NEIGHBOURS - 1, axis=1)[:, -_NEIGHBOURS - 1 :]
            near = (near.sum(axis=1) - near.max(axis=1)) / _NEIGHBOURS
            found.append(np.column_stack([np.log(spread), near, block @ self.axis]))
        plain = np.concatenate(found) * _SCALES
        return np.column_stack([np.ones(len(plain)), plain, np.square(plain)])


@dataclass(frozen=True, slots=True)
class Detector:
    """Tells the vectors of an unrelated model from a collection's own.

    Attributes:
        power: share of vectors of an unrelated model that it finds, as far as turned vectors tell.
        digits: how rare one of the collection's own is beyond the limit: 3 for one in a thousand.
        length: the usual length of a vector, and by how much it varies.
    """

    power: float
    digits: float
    length: tuple[float, float]
    _frame: _Frame
    _weights: Numbers
    _limit: float

    @property
    def can_tell(self) -> bool:
        """Whether such vectors stand apart enough that hardly any of the collection's own would be taken for one."""
        return self.digits >= _LEAST_DIGITS

    def scores(self, vectors: Vectors) -> Numbers:
        """Return how foreign vectors are, above 0 for those that are taken for another model's.

        Args:
            vectors: float32, shape (n, d).

        Returns:
            float64, shape (n,); only their order means anything beside the sign.
        """
        units, lengths = _units(vectors)
        found: Numbers = self._frame.features(units) @ self._weights - self._limit
        return np.where(self._is_long(lengths), np.maximum(found, 0.0) + 1.0, found if self.can_tell else -1.0)

    def _is_long(self, lengths: Numbers) -> NDArray[np.bool_]:
        usual, spread = self.length
        far: NDArray[np.bool_] = np.abs(lengths - usual) > max(_LENGTH_SPREADS * spread, _LENGTH_SHARE * usual)
        return far


def learn(vectors: Vectors, *, trusted: Vectors | None = None, seed: int = 0) -> Detector | None:
    """Learn what is usual in a collection of which a part may be foreign; None when there are too few vectors.

    Args:
        vectors: float32, shape (n, d): a random choice of the collection's, `REFERENCE` of them are enough.
        trusted: float32, shape (m, d): such of the collection's as are proven to be its own model's. With `LEAST` of
            them, what is usual is looked for around them: a foreign part of more than 5 % may hide itself otherwise.
        seed: of the random turns.
    """
    units, lengths = _units(vectors)
    if len(units) < LEAST:
        return None
    rng = np.random.default_rng(seed)
    middle = float(np.median(lengths))
    length = (middle, float(np.median(np.abs(lengths - middle))) * _MAD)
    order = rng.permutation(len(units))
    keep = np.ones(len(units), dtype=bool)
    if trusted is not None and len(trusted) >= LEAST:
        keep = _core(_frame_of(_units(trusted)[0]).features(units))
    weights, limit, power, digits = np.zeros(_FEATURES), 0.0, 0.0, 0.0
    for turn in range(_CORE_ROUNDS + _ROUNDS):
        kept = order[keep[order]]
        folds = np.array_split(kept, _FOLDS)
        features = np.empty((len(units), _FEATURES))
        turned = []
        for number, fold in enumerate(folds):
            frame = _frame_of(units[np.concatenate([other for at, other in enumerate(folds) if at != number])])
            features[fold] = frame.features(units[fold])
            turned.append(frame.features(_turned(units[fold], rng)))
            if number == 0:
                left_out = order[~keep[order]]
                if len(left_out):
                    features[left_out] = frame.features(units[left_out])
        if turn < _CORE_ROUNDS:
            keep = _core(features)
            continue
        weights, limit, power, digits = _limit_between(features[keep], np.concatenate(turned))
        found = features @ weights - limit <= 0
        if digits < _LEAST_DIGITS or (found == keep).all() or found.sum() < LEAST:
            break
        keep = found
    return Detector(power, digits, length, _frame_of(units[keep]), weights, limit)


def _core(features: Numbers) -> NDArray[np.bool_]:
    """Return which vectors are the most usual."""
    core: NDArray[np.bool_] = features[:, 1] <= np.quantile(features[:, 1], _CORE)
    return core


def _limit_between(own: Numbers, turned: Numbers) -> tuple[Numbers, float, float, float]:
    """Return the surface that parts two clouds best, the limit on it, and what it promises on both sides."""
    weights = _logistic(np.concatenate([own, turned]), np.repeat([0.0, 1.0], [len(own), len(turned)]))
    ours, theirs = own @ weights, turned @ weights
    usual, high = np.quantile(ours, [0.9, 0.99])
    limit = float(max(np.quantile(theirs, 1 - _POWER), min(theirs.min(), (ours.max() + theirs.min()) / 2)))
    # What lies beyond nine tenths is taken to thin out evenly, by a factor of ten for each such step.
    return weights, limit, float((theirs > limit).mean()), float(2 + (limit - high) / max(high - usual, 1e-9))


def _logistic(features: Numbers, wanted: Numbers) -> Numbers:
    """Return the weights by which a sum of features tells 1 from 0 (ridge-penalised logistic regression by Newton)."""
    weights = np.zeros(features.shape[1])
    balance = np.where(wanted == 1, 0.5 / wanted.sum(), 0.5 / (1 - wanted).sum())
    for _ in range(_NEWTON):
        chance = 1 / (1 + np.exp(-np.clip(features @ weights, -30, 30)))
        slope = features.T @ (balance * (wanted - chance)) - _RIDGE * weights
        curve = (features * (balance * chance * (1 - chance))[:, None]).T @ features
        weights = weights + np.linalg.solve(curve + _RIDGE * np.eye(len(weights)), slope)
    return weights


def _frame_of(units: NDArray[np.float32]) -> _Frame:
    centre = units.mean(axis=0, dtype=np.float64)
    values, axes = np.linalg.eigh(_shrunk(units.astype(np.float64) - centre))
    # A direction in which nothing varies at all would make rounding look foreign.
    values = np.maximum(values, 1e-3 * values.mean())
    return _Frame(centre, centre / max(np.linalg.norm(centre), 1e-12), axes / np.sqrt(values), units)


def _shrunk(centred: Numbers) -> Numbers:
    """Return the covariance, drawn towards that of a ball as far as its own noise calls for.

    After Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", 2004.
    """
    n, d = centred.shape
    sample: Numbers = centred.T @ centred / n
    mean = float(np.trace(sample)) / d
    distance = float(np.square(sample).sum()) - d * mean**2
    noise = float(np.square(np.square(centred).sum(axis=1)).sum()) / n**2 - float(np.square(sample).sum()) / n
    share = min(1.0, max(0.0, noise / distance)) if distance > 0 else 1.0
    shrunk: Numbers = (1 - share) * sample
    shrunk[np.diag_indices(d)] += share * mean
    return shrunk


def _turned(units: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the vectors in the coordinates of models that have nothing to do with theirs."""
    parts = []
    d = units.shape[1]
    for part in np.array_split(units, min(_TURNS, len(units))):
        turn, triangle = np.linalg.qr(rng.standard_normal((d, d)))
        parts.append(part @ (turn * np.sign(np.diag(triangle))).astype(np.float32))
    return np.concatenate(parts)


def _units(vectors: Vectors) -> tuple[NDArray[np.float32], Numbers]:
    wide = vectors.astype(np.float64)
    lengths: Numbers = np.linalg.norm(wide, axis=1)
    return (wide / np.maximum(lengths, 1e-300)[:, None]).astype(np.float32), lengths
