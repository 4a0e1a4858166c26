"""What is known of a collection that somebody else made, and whether that is enough to serve from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

#: Texts that are compared by default: enough to miss a share of 1 % of foreign vectors with a chance of 5 % only.
SAMPLE = 300
#: Fewer comparisons than this prove nothing, unless there are no more records.
LEAST = 8
#: Name of the note in the ledger while the records of an adopted collection are being tagged.
NOTE = "@adopting"


class Doubt(Enum):
    """What may be wrong with a collection that is to be adopted, and can be accepted by its word."""

    #: Some of its vectors are not the model's; they get no tag, and a migration makes them anew.
    FOREIGN = "foreign"
    #: The collection compares vectors in another way than the model's space says.
    METRIC = "metric"
    #: Vectors are longer or shorter than the model's.
    LENGTH = "length"
    #: So many texts are missing or cannot be embedded that nothing is proven about a part of the records.
    TEXTS = "texts"
    #: The vectors are not those of the model; only a reason in words accepts it.
    UNPROVEN = "unproven"


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    """One reason not to adopt.

    Attributes:
        doubt: what kind of reason.
        detail: a sentence.
        hint: what would mend it; may be empty.
    """

    doubt: Doubt
    detail: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a comparison of a sample found.

    Attributes:
        total: records there are.
        sampled: records that were read.
        compared: those of them whose text could be embedded.
        differing: those of them whose vector is not the model's.
        unreadable: how many could not be compared, by the reason.
    """

    total: int
    sampled: int
    compared: int
    differing: int
    unreadable: Mapping[str, int]

    @property
    def is_foreign(self) -> bool:
        """Whether the vectors are not the model's, as opposed to some of them."""
        return self.differing * 2 > self.compared

    @property
    def is_too_few(self) -> bool:
        """Whether so few could be compared that nothing is proven."""
        return self.compared < min(LEAST, self.total)


def objections(finding: Finding, *, model: str, limit: float, explained: str) -> list[Objection]:
    """Return what a comparison has against an adoption.

    Args:
        finding: what was found.
        model: the claimed model.
        limit: the distance up to which vectors counted as the same.
        explained: what the vectors turned out to be, as a sentence; empty when nothing fits.
    """
    found = []
    unreadable = finding.sampled - finding.compared
    if finding.is_too_few or unreadable * 2 > finding.sampled:
        why = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in sorted(finding.unreadable.items()))
        found.append(
            Objection(
                doubt=Doubt.UNPROVEN if finding.is_too_few else Doubt.TEXTS,
                detail=f"of {finding.sampled} records only {finding.compared} have a text that can be embedded ({why})",
                hint="say where the texts are: --collection 'NAME?text=KEY' where they are beside the vectors, or\n"
                "--text payload:FIELD, sql:…, jsonl:PATH or python:MODULE:FUNCTION",
            )
        )
    if finding.compared and finding.differing:
        what = f"{finding.differing} of {finding.compared} vectors are not what model {model} gives for their texts"
        found.append(
            Objection(
                doubt=Doubt.UNPROVEN if finding.is_foreign else Doubt.FOREIGN,
                detail=f"{what} (cosine distance above {limit:.1g})" + (f"; {explained}" if explained else ""),
            )
        )
    return found


def as_json(objections: list[Objection]) -> list[dict[str, Any]]:
    """Return the JSON form."""
    return [{"doubt": one.doubt.value, "detail": one.detail, "hint": one.hint} for one in objections]
