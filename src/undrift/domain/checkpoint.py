"""Pieces of a back-fill, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from undrift.domain.record import DocumentId
from undrift.domain.route import FieldKey
from undrift.domain.wording import are, plural


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A range of ids that one worker carries over: every id with lo < id <= hi, in code point order.

    Attributes:
        number: its place in the back-fill.
        lo: the id before the first; empty for the first chunk.
        hi: the last id.
        count: documents in it when it was laid out.
        fence: grows with every lease, so that a worker that lost it is told.
    """

    number: int
    lo: str
    hi: str
    count: int
    fence: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A dirty document that one worker is carrying to the other field.

    Attributes:
        key: the document's id.
        source: the field that holds its truth.
        sequence: the journal's number when it was claimed; it may be cleared only if this has not grown.
        attempts: how often carrying it has failed.
        taken_at: when it was claimed, in the ledger's seconds; what is read afterwards is not older.
    """

    key: DocumentId
    source: FieldKey
    sequence: int
    attempts: int
    taken_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """How far the follower is behind.

    Attributes:
        dirty: documents still to be carried over; none where there is no follower.
        foreign: those among them whose truth is not in the serving field; a write to them waits.
        open: write operations that have begun and not ended.
        oldest_s: how long ago the most outdated dirty document was equal in both fields, in seconds; None without one.
        slowest: who has the open operation that may take longest; empty without one.
        slowest_s: how long that may take, in seconds; below 0 once it is only waited for whether it lands.
    """

    dirty: int
    foreign: int
    open: int
    oldest_s: float | None
    slowest: str = ""
    slowest_s: float = 0.0

    @property
    def open_writes(self) -> str:
        """Name what keeps documents dirty that no worker can help, for the end of a sentence; empty without any."""
        if not self.open:
            return ""
        longest = f", of {self.slowest} for at most {max(0.0, self.slowest_s):,.0f} s" if self.slowest else ""
        return f"; {plural(self.open, 'write')} {are(self.open)} open{longest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How much of a known total is done, and what that lets one say about the rest.

    Attributes:
        total: documents.
        done: those among them that are carried over.
        rate_per_s: how many are in a second.
        between_s: the least and the most seconds that the rest takes (`domain.forecast`); None for what nobody knows.
    """

    total: int
    done: int
    rate_per_s: float | None
    between_s: tuple[float, float | None] | None = None

    @property
    def eta_s(self) -> float | None:
        """Seconds left at the measured rate; None before 1 % is done, because any number would be a guess."""
        if self.done >= self.total:
            return 0.0
        if not self.rate_per_s or self.done * 100 < self.total:
            return None
        return (self.total - self.done) / self.rate_per_s

    def as_dict(self) -> dict[str, float | int | None]:
        """Return the JSON form."""
        least, most = self.between_s if self.between_s is not None and self.eta_s is not None else (None, None)
        return {
            "total": self.total,
            "done": self.done,
            "rate_per_s": self.rate_per_s,
            "eta_s": self.eta_s,
            "eta_least_s": least,
            "eta_most_s": most,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A document that could not be carried over, and why."""

    key: DocumentId
    reason: str
    detail: str
    first_seen: datetime
