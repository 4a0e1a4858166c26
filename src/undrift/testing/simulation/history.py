"""What clients asked for, what they were told, when it landed, and which ends of the story that allows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from undrift.domain.record import Document, Record

#: The end of a write that never landed and never will.
NEVER = float("-inf")


class Outcome(Enum):
    """What a client was told."""

    #: Nothing yet, or nothing ever: it died.
    PENDING = "pending"
    #: It happened.
    ACKNOWLEDGED = "acknowledged"
    #: It may have happened.
    UNKNOWN = "unknown"
    #: It did not happen.
    REFUSED = "refused"


class Kind(Enum):
    """What a write does to a document."""

    #: It replaces it whole.
    UPSERT = "upsert"
    #: It removes it.
    DELETE = "delete"
    #: It changes one value of its metadata, if it is there.
    MERGE = "merge"
    #: It removes it if it matches.
    FILTERED = "filtered"


@dataclass(slots=True, kw_only=True, eq=False)
class Write:
    """One call of a client.

    Attributes:
        number: its place in the history.
        kind: what it does.
        keys: the documents it is about.
        value: what its texts, after the id, and its metadata say, so that each is told from every other write's.
        began: when the client called.
        ended: when the client was told.
        outcome: what the client was told.
        landings: when requests of it took effect in a store.
        overslept: whether the client was stopped between its last look at the clock and the sending.
    """

    number: int
    kind: Kind
    keys: Sequence[str]
    value: str
    began: float
    ended: float = NEVER
    outcome: Outcome = Outcome.PENDING
    landings: list[float] = field(default_factory=list)
    overslept: bool = False

    @property
    def end(self) -> float:
        """After this moment nothing of it took effect."""
        if self.outcome is Outcome.ACKNOWLEDGED:
            return self.ended
        return max(self.landings, default=NEVER)

    @property
    def certain(self) -> bool:
        """Whether it took effect for sure."""
        return self.outcome is Outcome.ACKNOWLEDGED

    def __str__(self) -> str:
        """Say what it is, in one line."""
        landed = ", ".join(f"{time:.3f}" for time in self.landings) or "nowhere"
        return (
            f"#{self.number} {self.kind.value} of {'+'.join(self.keys)} ({self.outcome.value}, "
            f"{self.began:.3f} to {self.ended:.3f}, landed {landed})"
        )


class History:
    """Every write of a simulation, and what may be in a field after all of them."""

    def __init__(self) -> None:
        """Begin with nothing written."""
        self.writes: list[Write] = []
        self.started: dict[str, Write] = {}

    def initial(self, documents: Iterable[Document], at: float) -> None:
        """Take note of what is there before the first client calls."""
        for document in documents:
            write = self.begin(Kind.UPSERT, [document.id], str(document.metadata["note"]), at)
            write.ended, write.outcome, write.landings = at, Outcome.ACKNOWLEDGED, [at]

    def begin(self, kind: Kind, keys: Sequence[str], value: str, at: float) -> Write:
        """Take note of a call."""
        write = Write(number=len(self.writes), kind=kind, keys=keys, value=value, began=at)
        self.writes.append(write)
        return write

    def wrongs(self, key: str, found: Record | None) -> str:
        """Say why a field may not have this of a document in the end; empty when it may.

        The rule is that of a register which several clients write at the same time: the value must be that of a write
        which no acknowledged write has followed.
        """
        writes = [write for write in self.writes if key in write.keys]
        if found is None:
            return _absence(key, writes)
        made = [write for write in writes if write.kind is Kind.UPSERT and f"{key} {write.value}" == found.text]
        if not made:
            return f"{key} has the text {found.text!r}, which nobody wrote"
        (source,) = made
        later = _certainly_after(source, writes, (Kind.UPSERT, Kind.DELETE))
        if later is not None:
            verb = "is there again after" if later.kind is Kind.DELETE else "lost"
            return f"{key} {verb} {later}: it is as {source} left it"
        return _merged(key, source, str(found.metadata.get("note", "")), writes)


def _absence(key: str, writes: Sequence[Write]) -> str:
    removals = [write for write in writes if write.kind in (Kind.DELETE, Kind.FILTERED) and write.end != NEVER]
    made = [write for write in writes if write.kind is Kind.UPSERT and write.certain]
    if not made:
        return ""
    if any(_certainly_after(removal, made, (Kind.UPSERT,)) is None for removal in removals):
        return ""
    return f"{key} is not there, and {made[-1]} was not followed by a delete"


def _merged(key: str, source: Write, note: str, writes: Sequence[Write]) -> str:
    """Say why a document that one write made may not carry this note."""
    merges = [write for write in writes if write.kind is Kind.MERGE]
    if note == source.value:
        lost = _certainly_after(source, merges, (Kind.MERGE,))
        return "" if lost is None else f"the metadata of {key} lost {lost}"
    for merge in merges:
        if merge.value == note:
            if merge.end < source.began:
                return f"the metadata of {key} is of {merge}, though {source} replaced it"
            lost = _certainly_after(merge, merges, (Kind.MERGE,))
            # Between the two nothing may be said of a merge that began before the document was written.
            if lost is None or lost.began < source.end:
                return ""
            return f"the metadata of {key} lost {lost}: it is as {merge} left it"
    return f"the metadata of {key} says {note!r}, which nobody wrote"


def _certainly_after(write: Write, others: Sequence[Write], kinds: tuple[Kind, ...]) -> Write | None:
    """Return an acknowledged write that began after another one had taken effect for the last time."""
    for other in others:
        if other.certain and other.kind in kinds and other is not write and write.end < other.began:
            return other
    return None
