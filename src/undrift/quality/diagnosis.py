"""What a change of a model looks like: which of the things that happen to models moves vectors in this way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from undrift.domain.baseline import Companion
from undrift.domain.probe import Traits
from undrift.domain.record import Vectors
from undrift.quality.canary import Broken, Floor, Look
from undrift.quality.rounding import Grid
from undrift.quality.signature import Signature, signature_of

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: A companion explains a probe when it is nearer to what is seen now by at least this share of the way.
_EXPLAINED = 0.5
#: A trait explains which probes moved when it is right for so many of those that moved and of those that did not.
_MATCHED = 0.75
#: A length is chosen so that it explains most, so it has to explain more.
_CUT_MATCHED = 0.85
#: Share of the probes that must have stayed where they were before it is asked what the others have in common.
_STILL = 0.1


class Kind(Enum):
    """What happens to models; the value is the word in the JSON form."""

    #: The numbers are computed or rounded in another format: float16, bfloat16, int8, other kernels.
    PRECISION = "precision"
    #: The weights are others: fine-tuned, replaced, a layer lost.
    WEIGHTS = "weights"
    #: Token vectors are put together in another way: first token instead of mean, maximum, without special tokens.
    POOLING = "pooling"
    #: Something is put in front of each text, or is no longer: an instruction, a prefix, a start token.
    PREFIX = "prefix"
    #: Long texts are cut elsewhere.
    TRUNCATION = "truncation"
    #: Capital letters are treated otherwise.
    CASE = "case"
    #: Accents, or letters of other scripts, are treated otherwise.
    ACCENTS = "accents"
    #: The vectors have another length and point where they did, or one and the same vector is taken from all.
    NORM = "norm"
    #: All vectors were turned together: their distances stayed, and no stored vector fits them.
    ROTATION = "rotation"
    #: Nothing is left of the old space: another model, or other dimensions.
    MODEL = "model"
    #: It is a change, and none that is known.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What a change looks like.

    Attributes:
        kind: the likeliest.
        sure: whether the evidence decides it, or it is only the nearest.
        words: the kind and the evidence in one sentence.
        evidence: the figures behind it, by name.
    """

    kind: Kind
    sure: bool
    words: str
    evidence: Mapping[str, float] = field(default_factory=dict)


def diagnose(
    floor: Floor,
    seen: Look,
    traits: Sequence[Traits],
    *,
    companions: Sequence[Companion] = (),
    then: Vectors | None = None,
    now: Vectors | None = None,
    shipped: Sequence[bool] | None = None,
) -> Diagnosis:
    """Say what a change looks like.

    In this order: what is wrong with the vectors themselves; whether a text that is treated otherwise explains them;
    what the probes that moved have in common, where others stayed; whether all were turned together; and last, how the
    displacements are spread, shared and sized.

    Args:
        floor: the baseline.
        seen: a look that found a change.
        traits: what is in each probe's text.
        companions: probes treated in other ways.
        then: their vectors when the baseline was recorded, float32, shape (c, d).
        now: their vectors from the present model.
        shipped: which probes are of the shipped ones, on which some limits were set; by default all.
    """
    if Broken.DIMENSIONS in seen.broken:
        return Diagnosis(kind=Kind.MODEL, sure=True, words="another model: the vectors have other dimensions")
    if Broken.NOT_FINITE in seen.broken:
        return Diagnosis(kind=Kind.UNKNOWN, sure=True, words="the vectors are no numbers, or have no direction")
    signature = signature_of(floor, seen, traits, shipped=shipped)
    steps: tuple[Callable[[], Diagnosis | None], ...] = (
        lambda: _by_length(seen, signature),
        lambda: _by_companions(floor, seen, companions, then, now),
        lambda: _by_traits(signature, traits),
        lambda: _by_geometry(signature),
        lambda: _by_centre(floor, seen, signature),
    )
    for step in steps:
        found = step()
        if found is not None:
            return found
    return _by_shape(floor, seen, signature)


def _by_length(seen: Look, signature: Signature) -> Diagnosis | None:
    # Rounding changes lengths by less than directions, or by little.
    rounded = (seen.stretch - 1) ** 2 < signature.size
    rounded = rounded or (Broken.ROUNDING in seen.broken and abs(seen.stretch - 1) < _ROUNDED)
    if Broken.LENGTH not in seen.broken or signature.size > _TURNED or rounded:
        return None
    return Diagnosis(
        kind=Kind.NORM,
        sure=True,
        words=f"normalisation: the vectors point where they did and are {seen.stretch:.4g} times as long",
        evidence={"length_ratio": seen.stretch, "displacement_ratio": signature.size},
    )


#: Displacement up to which vectors of another length still point where they did.
_TURNED = 1e-3
#: The median length changes by less where numbers are merely rounded.
_ROUNDED = 0.05


def _by_companions(
    floor: Floor, seen: Look, companions: Sequence[Companion], then: Vectors | None, now: Vectors | None
) -> Diagnosis | None:
    """Find a treatment of the texts that explains the vectors: one that the model began, or one that it ceased."""
    if not companions or then is None:
        return None
    middle, fresh = _unit(floor.middle), _unit(seen.fresh)
    gains: dict[tuple[str, str, str], list[float]] = {}
    for place, one in enumerate(companions):
        moved = _distance(fresh[one.row], middle[one.row])
        if moved <= 2 * floor.jump[one.row]:
            continue
        began = _distance(fresh[one.row], _one(then[place]))
        # The model used to treat the text so by itself: treated by us, it gives the old vector back.
        ceased = np.inf if now is None else _distance(_one(now[place]), middle[one.row])
        # A treatment that does nothing to the text explains nothing.
        if _distance(_one(then[place]), middle[one.row]) > floor.jump[one.row]:
            gains.setdefault((one.kind, one.label, "now"), []).append(1 - began / moved)
        if now is not None and _distance(_one(now[place]), fresh[one.row]) > floor.jump[one.row]:
            gains.setdefault((one.kind, one.label, "no longer"), []).append(1 - ceased / moved)
    if not gains:
        return None
    (kind, label, when), values = max(gains.items(), key=lambda item: float(np.mean(item[1])))
    gain = float(np.mean(values))
    if gain < _EXPLAINED:
        return None
    found, words = _TREATED[kind]
    return Diagnosis(
        kind=found,
        sure=True,
        words=f"{words.format(label=label, when=when)}: that explains {gain:.0%} of the way of {len(values)} probes",
        evidence={"explained_ratio": gain, "explained_probes": float(len(values))},
    )


_TREATED = {
    "prefix": (Kind.PREFIX, "prefix: the model {when} puts something like {label!r} in front of each text"),
    "lower": (Kind.CASE, "case: the model {when} takes capital letters for small ones"),
    "upper": (Kind.CASE, "case: the model {when} takes small letters for capital ones"),
    "unaccented": (Kind.ACCENTS, "accents: the model {when} leaves accents away"),
    "cut": (Kind.TRUNCATION, "truncation: the model {when} cuts texts at about {label} words"),
}


def _by_traits(signature: Signature, traits: Sequence[Traits]) -> Diagnosis | None:
    """Find what the probes that moved have in common, where others stayed where they were."""
    moved = signature.moved
    if not moved.any() or (~moved).mean() < _STILL:
        return None
    words = np.array([one.words for one in traits])
    scores = {
        Kind.CASE: max(
            _balanced(np.array(has), moved)
            for has in zip(*((one.capitals, one.shouted, one.small) for one in traits), strict=True)
        ),
        Kind.ACCENTS: max(
            _balanced(np.array([one.accents for one in traits]), moved),
            _balanced(np.array([one.script for one in traits]), moved),
            _balanced(np.array([one.accents or one.script for one in traits]), moved),
        ),
        Kind.TRUNCATION: max(_balanced(words >= limit, moved) for limit in set(words.tolist())),
    }
    kind = max(scores, key=lambda one: scores[one])
    if scores[kind] < (_CUT_MATCHED if kind is Kind.TRUNCATION else _MATCHED):
        return None
    said = {
        Kind.CASE: "case: texts with certain capital or small letters moved, the others stayed",
        Kind.ACCENTS: "accents or scripts: texts with letters beyond plain Latin ones moved, the others stayed",
        Kind.TRUNCATION: f"truncation: texts of {words[moved].min():.0f} words or more moved, shorter ones stayed",
    }
    return Diagnosis(
        kind=kind,
        sure=scores[kind] > 0.9,
        words=said[kind],
        evidence={"moved_ratio": float(moved.mean()), "balanced_accuracy_ratio": scores[kind]},
    )


def _by_geometry(signature: Signature) -> Diagnosis | None:
    """Say whether the probes kept their distances among each other though all of them moved."""
    if signature.size < _TURNED or signature.bent > _RIGID:
        return None
    return Diagnosis(
        kind=Kind.ROTATION,
        sure=True,
        words="rotation: all vectors were turned together; their distances stayed, and no stored vector fits them",
        evidence={"displacement_ratio": signature.size, "geometry_change_ratio": signature.bent},
    )


#: Change of the distances among the probes, beside the displacement, up to which the space was turned as a whole.
_RIGID = 0.05


def _by_centre(floor: Floor, seen: Look, signature: Signature) -> Diagnosis | None:
    """Say whether one and the same vector is taken from all, before they are brought to the length 1."""
    if signature.size < _TURNED or signature.moved.mean() < 1:
        return None
    then, now = _unit(floor.middle), _unit(seen.fresh)
    # What of `then - m` is not along `now`, least over m: m solves (n - now'now) m = sum of the rests.
    rests = then - (then * now).sum(axis=1)[:, None] * now
    count = len(now)
    inner = np.linalg.inv(count * np.eye(count) - now @ now.T)
    total = rests.sum(axis=0)
    middle = (total + now.T @ (inner @ (now @ total))) / count
    left = rests - (middle - (now @ middle)[:, None] * now)
    explained = float(1 - (left**2).sum() / (rests**2).sum())
    if explained < _CENTRED:
        return None
    return Diagnosis(
        kind=Kind.NORM,
        sure=True,
        words=f"centring: the same vector is taken from all, or is no longer: {explained:.0%} of the change is that",
        evidence={"displacement_ratio": signature.size, "explained_ratio": explained},
    )


#: Share of a change that a vector taken from all has to explain.
_CENTRED = 0.95


def _by_shape(floor: Floor, seen: Look, signature: Signature) -> Diagnosis:
    """Say which of the changes of all vectors it is nearest to.

    The limits were set on two real models that were changed in some hundred and fifty ways; the
    benchmark `held_out` has the half that came later.
    """
    kind, sure = _nearest(floor, seen, signature)
    return Diagnosis(
        kind=kind, sure=sure, words=_SHAPES[kind].format(size=signature.size), evidence=signature.as_dict()
    )


def _nearest(floor: Floor, seen: Look, marks: Signature) -> tuple[Kind, bool]:
    if marks.size > _NOTHING_LEFT:
        return Kind.MODEL, True
    if Broken.ROUNDING in seen.broken and marks.size < _ROUNDED_BY.get(seen.grid, _ROUNDED_LITTLE):
        return Kind.PRECISION, True
    if marks.size > _KERNELS and marks.like < _UNRELATED and abs(marks.shared) < _UNRELATED:
        # Whatever changes a model moves texts alike that are alike. Only the rounding of its answers does not.
        return Kind.PRECISION, True
    is_far = marks.size > _FAR
    if marks.longer < _SHORTER and (is_far or marks.uneven > (_UNEVEN if marks.size < _FAR / 2 else _LESS_UNEVEN)):
        # What is put in front of a text weighs most where the text is short; and so does what special tokens bring,
        # which have a few axes of their own.
        return (Kind.POOLING, False) if marks.spiky > _OWN_AXES else (Kind.PREFIX, True)
    if marks.spiky > _FEW_AXES and marks.size > _TURNED:
        return Kind.POOLING, is_far
    if is_far and max(marks.closer, 2 * marks.shared) > 1:
        # All became alike: by the same words, or, farther away, by the greatest or the first of their tokens.
        return (Kind.PREFIX if marks.size < _FARTHER else Kind.POOLING), False
    if is_far and marks.like < _ALIKE:
        return Kind.POOLING, False
    is_clear = marks.size > max(_KERNELS, _CLEAR * floor.noise)
    is_trained = marks.like < _TRAINED and marks.compared >= _MANY
    if is_clear and (is_trained or marks.ways < _FEW_WAYS):
        # Rounding strikes all weights at random, so texts move as alike as they are. Training has a direction.
        return Kind.WEIGHTS, True
    if marks.uneven > _UNEVEN and marks.size > _KERNELS:
        return Kind.WEIGHTS, True
    return (Kind.PRECISION, False) if _is_of_a_format(marks.size) else (Kind.WEIGHTS, False)


#: Mean displacement of vectors that have nothing to do with each other, nearly.
_NOTHING_LEFT = 0.85
#: Mean displacement that rounding to a grid explains: signs alone, bytes, and what is finer.
_ROUNDED_BY = {Grid.BITS: 0.5, Grid.BYTES: 0.1}
_ROUNDED_LITTLE = 1e-2
#: Mean displacement beyond which it is no longer the same weights used with less care.
_FAR = 0.15
#: Standard deviation of the logarithm of the displacements: number formats move all texts much alike (0.3 to 0.4).
_UNEVEN = 0.6
#: A long prefix moves all texts far, and therefore more alike.
_LESS_UNEVEN = 0.45
#: Rank correlation of displacement and length: short texts moved more.
_SHORTER = -0.3
#: Mean displacement that no prefix causes.
_FARTHER = 0.5
#: Displacement on single axes, 3 by chance: tokens have a few of their own. A single direction strays farther from 3.
_FEW_AXES, _OWN_AXES = 4.0, 8.0
#: Likeness of the displacements, by the texts' likeness and among each other, that is none.
_UNRELATED = 0.1
#: Other weights move texts alike that are alike; other shares of the same tokens do so less.
_ALIKE = 0.65
#: Training moves texts less alike than they are, and rounded weights do not; found between 0.72 and 0.78.
_TRAINED = 0.75
#: Shipped probes that this limit is for: among fewer or other texts the likeness is another.
_MANY = 40
#: Directions of the displacements beside those of the texts: an adapter or a head has fewer, and training too where
#: probes are few; rounding never does (0.89 and more, of 16, 32 and 64 probes).
_FEW_WAYS = 0.85
#: Displacement, beside the noise, from which single displacements say something about each other.
_CLEAR = 3.0


def _is_of_a_format(size: float) -> bool:
    return any(low <= size <= high for low, high in _FORMATS)


#: Displacement that float16 and other kernels cause; a single step of a fine-tuning causes fifty times as much.
_KERNELS = 3e-6
#: Displacements that number formats cause: bfloat16 and finer, and bytes or less.
_FORMATS = ((0.0, 4e-5), (1e-4, 0.3))

_SHAPES = {
    Kind.MODEL: "another model: nothing is left of where the probes were",
    Kind.POOLING: "pooling: all vectors are far away, and alike: token vectors are put together in another way",
    Kind.PREFIX: "prefix: short texts moved most: something is put in front of each text, or is no longer",
    Kind.WEIGHTS: "weights: all vectors moved by {size:.1e}, as after a fine-tuning or with other weights",
    Kind.PRECISION: "precision: all vectors moved evenly by {size:.1e}, as with another number format; a small change "
    "of weights can look the same",
}


def _balanced(expected: Flags, moved: Flags) -> float:
    """Return how well a trait says what moved: the mean of the shares that it is right about."""
    return float((expected[moved].mean() + (~expected[~moved]).mean()) / 2)


def _unit(vectors: Numbers) -> Numbers:
    found: Numbers = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    return found


def _one(vector: Vectors) -> Numbers:
    long: Numbers = vector.astype(np.float64)
    found: Numbers = long / np.linalg.norm(long)
    return found


def _distance(left: Numbers, right: Numbers) -> float:
    return float(((left - right) ** 2).sum() / 2)
