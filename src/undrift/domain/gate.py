"""Conditions that must hold before traffic moves, and what verification found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import Enum
from typing import Any, Self

from undrift.errors import GateFailed

#: Least cosine between a stored vector and a new one of the same text: providers are not bit-deterministic.
MIN_COSINE = 0.999


class Verdict(Enum):
    """What is known about a condition; only `PASS` lets traffic move."""

    #: It holds, and the evidence is fresh.
    PASS = "pass"
    #: It does not hold.
    FAIL = "fail"
    #: It held, but the evidence is too old.
    STALE = "stale"
    #: There is no evidence.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One condition with its verdict, the facts, and the command that mends it."""

    name: str
    verdict: Verdict
    detail: str
    hint: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return the JSON form."""
        return {"name": self.name, "verdict": self.verdict.value, "detail": self.detail, "hint": self.hint}


def require(gates: Sequence[Gate], *, verb: str, alias: str) -> None:
    """Pass when every gate passes.

    Raises:
        GateFailed: at least one does not; the detail lists all of them, the hint is the first one's.
    """
    closed = [gate for gate in gates if gate.verdict is not Verdict.PASS]
    if closed:
        raise GateFailed(
            f"{verb} of {alias} is refused: {len(closed)} of {len(gates)} gates "
            f"{'does' if len(closed) == 1 else 'do'} not hold",
            "\n".join(f"{gate.name} ({gate.verdict.value}): {gate.detail}" for gate in closed),
            next((gate.hint for gate in closed if gate.hint), f"undrift status {alias}"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationReport:
    """What a comparison of both fields found; counts, and at most ten samples of each kind.

    Attributes:
        compared: documents looked at.
        missing: in the serving field, not in the follower.
        extra: in the follower, not in the serving field.
        mismatched: in both, with another text hash, metadata, or a tag of a wrong space.
        requeued: differed while they were being written, and were looked at again.
        explained: missing because they are in quarantine.
        unverifiable: without a tag, so that nothing can be said about them.
        sampled: documents embedded again, or copied vectors compared with their originals.
        sample_min_cosine: the worst agreement between such a vector and the stored one; None without samples.
        samples: the kinds and ids of the first differences.
        max_sequence: the journal's number when the comparison began.
        epoch: the route's number it speaks about.
        finished: when it ended.
        bypassed: in both and equal, with a tag in the serving field that is not of its text: somebody else wrote it.
        resumed: how often it went on after an interruption.
        started: when it began; its evidence is as old as that.
        copied: whether vectors are copied, so that none was embedded again.
    """

    compared: int
    missing: int
    extra: int
    mismatched: int
    requeued: int
    explained: int
    unverifiable: int
    sampled: int
    sample_min_cosine: float | None
    samples: tuple[dict[str, Any], ...]
    max_sequence: int
    epoch: int
    finished: datetime
    bypassed: int = 0
    resumed: int = 0
    started: datetime | None = None
    copied: bool = False

    @property
    def sampled_how(self) -> str:
        """What was done with the sample, in two words."""
        return "copies compared" if self.copied else "embedded again"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read back the JSON form with its `max_sequence`; what another version of undrift added is left out."""
        known = {field.name for field in fields(cls)}
        kept = {key: value for key, value in values.items() if key in known}
        for key in ("started", "finished"):
            if kept.get(key):
                kept[key] = datetime.fromisoformat(kept[key])
        kept["samples"] = tuple(kept["samples"])
        return cls(**kept)

    @property
    def begun(self) -> datetime:
        """When the oldest part of its evidence was gathered."""
        return self.started or self.finished

    @property
    def is_faithful(self) -> bool:
        """Whether the sampled vectors are what their model gives for their texts."""
        return self.sample_min_cosine is None or self.sample_min_cosine >= MIN_COSINE

    @property
    def verdict(self) -> Verdict:
        """PASS when both fields are equal and the sampled vectors are of the declared model."""
        equal = not (self.missing or self.extra or self.mismatched)
        return Verdict.PASS if equal and self.is_faithful else Verdict.FAIL

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "compared": self.compared,
            "missing": self.missing,
            "extra": self.extra,
            "mismatched": self.mismatched,
            "requeued": self.requeued,
            "explained": self.explained,
            "unverifiable": self.unverifiable,
            "bypassed": self.bypassed,
            "sampled": self.sampled,
            "sample_min_cosine": self.sample_min_cosine,
            "copied": self.copied,
            "samples": list(self.samples),
            "epoch": self.epoch,
            "resumed": self.resumed,
            "started": self.started.isoformat() if self.started else None,
            "finished": self.finished.isoformat(),
            "verdict": self.verdict.value,
        }
