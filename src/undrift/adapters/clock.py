"""The machine's own clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path


class SystemClock:
    """Real time; `monotonic` counts while the machine is suspended where the system can (Linux's CLOCK_BOOTTIME)."""

    def __init__(self) -> None:
        """Choose the best clock there is."""
        self._id = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    def monotonic(self) -> float:
        """Return seconds since the machine started, suspension included."""
        return time.clock_gettime(self._id)

    def now(self) -> datetime:
        """Return the wall clock in UTC."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


def boot_id() -> str:
    """Return a name of this start of the machine, or an empty string where the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
