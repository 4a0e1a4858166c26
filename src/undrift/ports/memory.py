"""The part of the durable memory in which the look-out keeps what it has seen and told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Memo:
    """A text under a key, as it was read; `version` grows with each change."""

    key: str
    text: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What was seen at one moment of one series."""

    moment: datetime
    text: str


class MemoryLedger(Protocol):
    """Memos, of which each change is a compare-and-swap, and series, which only grow."""

    def recall(self, key: str) -> Memo | None:
        """Return the memo under a key; None where there is none."""
        ...

    def recall_all(self, prefix: str) -> list[Memo]:
        """Return every memo whose key begins with a prefix, in the order of the keys."""
        ...

    def remember(self, key: str, text: str, *, version: int) -> bool:
        """Write a memo if it still has the version that was read, 0 for one that must not be there yet.

        Returns:
            Whether it was written; False when somebody else was faster.
        """
        ...

    def forget(self, key: str, *, version: int) -> bool:
        """Remove a memo if it still has the version that was read; returns whether it did."""
        ...

    def observe(self, series: str, moment: datetime, text: str, *, keep: int) -> None:
        """Add to a series, of which the newest `keep` observations stay."""
        ...

    def observed(self, series: str, *, limit: int = 1000) -> list[Observation]:
        """Return the newest observations of a series, the newest first."""
        ...
