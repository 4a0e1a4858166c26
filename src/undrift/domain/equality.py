"""Two spaces that are one: what was proved, and when."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from undrift.domain.space import Space, SpaceId

#: What two spaces must have in common before anything is measured: it decides what is sent, or what a store does.
_DECISIVE = ("dimensions", "metric", "normalized", "document_prefix", "query_prefix", "text_form")


@dataclass(frozen=True, slots=True, kw_only=True)
class Equality:
    """A proof that one space is another under a different name.

    Attributes:
        own: the space that a model says it computes.
        space: the one that its vectors belong to from then on.
        model: the model that the proof was made beside.
        moment: when, aware UTC.
        probes: how many texts it rests on.
        most: the mean displacement is at most this, with an error of 1e-4.
    """

    own: SpaceId
    space: Space
    model: str
    moment: datetime
    probes: int
    most: float

    def as_text(self) -> str:
        """Return the form that is kept."""
        return json.dumps(
            {
                "own": self.own,
                "space": self.space.as_dict(),
                "model": self.model,
                "moment": self.moment.isoformat(),
                "probes": self.probes,
                "most": self.most,
            }
        )

    @classmethod
    def from_text(cls, text: str) -> Equality:
        """Read back the form that is kept."""
        kept = json.loads(text)
        return cls(
            own=SpaceId(kept["own"]),
            space=Space.from_dict(kept["space"]),
            model=kept["model"],
            moment=datetime.fromisoformat(kept["moment"]),
            probes=kept["probes"],
            most=kept["most"],
        )


def key_of_equality(own: SpaceId) -> str:
    """Return the key under which it is kept what a space was proved equal to."""
    return f"probe/equal/{own}"


def obstacles(left: Space, right: Space) -> list[str]:
    """Name what keeps two spaces apart whatever their vectors are, a line each."""
    mine, theirs = left.as_dict(), right.as_dict()
    return [f"{key}: {mine[key]!r}, not {theirs[key]!r}" for key in _DECISIVE if mine[key] != theirs[key]]
