"""Time, as everything that waits or expires sees it."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """The only source of time; tests and simulations put their own in its place."""

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back and counts while the machine is suspended."""
        ...

    def now(self) -> datetime:
        """Return the wall clock as an aware UTC time; for display and history, never for expiry."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let this thread wait."""
        ...


class Processes(Protocol):
    """What is known about the processes that share a ledger."""

    def me(self) -> str:
        """Return a name of this process that no other one has or will have; empty where the system gives none."""
        ...

    def is_gone(self, name: str) -> bool:
        """Whether the process of a name has ended for certain; False when that cannot be known."""
        ...
