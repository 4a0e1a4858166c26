"""Whether two models are one: an equivalence test on probes, which noise can make undecided and not wrong."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import sqrt

from undrift.domain.finding import Severity
from undrift.domain.record import Vectors
from undrift.quality.canary import Broken, Floor, Look, Verdict, learn, look

#: Mean displacement below which no ranking differed where it was measured: two spaces that are nearer are one.
SAME = 1e-4
#: Displacement that no single text may have; a text that is cut or folded otherwise has ten times as much.
_SAME_TEXT = 1e-3
#: Quantile of the normal distribution for an error of 1e-4.
_SURE = 3.72


class Answer(Enum):
    """What was found."""

    #: They are one, within so little that no search can tell.
    EQUAL = "equal"
    #: They are not.
    DIFFERENT = "different"
    #: Noise hides which.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two models beside each other.

    Attributes:
        answer: what was found.
        most: upper bound of the mean displacement, with an error of 1e-4.
        worst: largest displacement of a single text.
        floor: the noise of the first.
        look: the second seen from the first.
    """

    answer: Answer
    most: float
    worst: float
    floor: Floor
    look: Look


def compare(left: Vectors, right: Vectors) -> Comparison:
    """Compare what two models give for the same probes.

    It is a test of equivalence: it does not ask whether a difference was found, but whether one that matters is ruled
    out (Schuirmann 1987, "A comparison of the two one-sided tests procedure"). So much noise, or few probes, end in
    "unknown".

    Args:
        left: float32, shape (r, n, d), at least four calls.
        right: float32, shape (4, n, d); two looks.
    """
    floor = learn(left)
    seen = look(floor, right[:2])
    again = look(floor, right[2:4])
    if not len(seen.fresh) or not len(again.fresh):
        return Comparison(answer=Answer.DIFFERENT, most=1.0, worst=1.0, floor=floor, look=seen)
    sizes = (seen.displacements + again.displacements) / 2
    most = float(sizes.mean() + _SURE * sizes.std(ddof=1) / sqrt(len(sizes)))
    worst = float(sizes.max())
    serious = [one.verdict is Verdict.CHANGED and one.severity is not Severity.INFO for one in (seen, again)]
    bent = Broken.LENGTH in seen.broken or Broken.LENGTH in again.broken
    if all(serious) or bent:
        answer = Answer.DIFFERENT
    elif not any(serious) and most < SAME and worst < _SAME_TEXT and floor.noise < _SAME_TEXT:
        answer = Answer.EQUAL
    else:
        answer = Answer.UNKNOWN
    return Comparison(answer=answer, most=most, worst=worst, floor=floor, look=again)
