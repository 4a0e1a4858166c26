"""What the look-out found when it looked at one thing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from math import isfinite
from typing import Any


class State(Enum):
    """What is known of the thing that was looked at."""

    #: It is as it should be.
    GOOD = "good"
    #: It is not.
    BAD = "bad"
    #: It could not be looked at, or too little was seen; this resolves nothing and raises nothing by itself.
    UNKNOWN = "unknown"


class Severity(Enum):
    """How soon somebody has to act; the later, the sooner."""

    #: Good to know; nobody is woken.
    INFO = "info"
    #: Within days.
    WARNING = "warning"
    #: Today.
    ERROR = "error"
    #: Now: answers are wrong, or about to be.
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """How high it is, from 0."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one look at one thing found.

    Attributes:
        check: what was looked for: `probe`, `documents`, `queries`, `retrieval`, `foreign`, `sunset`, ….
        subject: what was looked at: the name of a model or of an alias.
        state: what is known of it now.
        severity: how soon somebody has to act when it is bad.
        moment: when it was looked at, aware UTC.
        words: all of it in one sentence.
        detail: the evidence, a line each; empty where the words say all.
        hint: the command that comes next; empty where nothing is to do.
        figures: the numbers behind the words, by name, for trends and metrics; units are part of the name.
        occasion: what it is about, in a few letters, such as the day on which a model ends: while the alert fires,
            another occasion is told anew, and is not acknowledged yet. Never a figure that changes with every look.
    """

    check: str
    subject: str
    state: State
    severity: Severity
    moment: datetime
    words: str
    detail: str = ""
    hint: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    occasion: str = ""

    @property
    def key(self) -> str:
        """What is one thing over time: findings of the same key are about the same alert."""
        return f"{self.check}/{self.subject}"

    def concerns(self, subjects: Collection[str]) -> bool:
        """Whether it is about one of some subjects, or about a part of one: `kb/de` is a part of `kb`."""
        return self.subject in subjects or any(self.subject.startswith(f"{one}/") for one in subjects)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form; it has no figure that is no number, because JSON has none."""
        return {
            "check": self.check,
            "subject": self.subject,
            "state": self.state.value,
            "severity": self.severity.value,
            "moment": self.moment.isoformat(),
            "words": self.words,
            "detail": self.detail,
            "hint": self.hint,
            "figures": {name: value for name, value in self.figures.items() if isfinite(value)},
            "occasion": self.occasion,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Finding:
        """Read back the JSON form."""
        return cls(
            check=values["check"],
            subject=values["subject"],
            state=State(values["state"]),
            severity=Severity(values["severity"]),
            moment=datetime.fromisoformat(values["moment"]),
            words=values["words"],
            detail=values["detail"],
            hint=values["hint"],
            figures=dict(values["figures"]),
            occasion=values.get("occasion", ""),
        )
