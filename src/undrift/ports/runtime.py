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
