"""A clock that only moves when it is told to."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta


class VirtualClock:
    """Time for tests: `sleep` moves it at once, `advance` moves it from outside. Safe from several threads."""

    def __init__(self, start: float = 1000.0) -> None:
        """Begin at `start` seconds, which is 2026-01-01 00:00 UTC."""
        self._start = start
        self._seconds = start
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        """Return the seconds."""
        with self._lock:
            return self._seconds

    def now(self) -> datetime:
        """Return the wall clock that belongs to the seconds."""
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.monotonic() - self._start)

    def sleep(self, seconds: float) -> None:
        """Let the time pass at once."""
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Move the time on."""
        with self._lock:
            self._seconds += seconds
