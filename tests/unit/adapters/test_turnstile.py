"""A queue in front of a file: it holds two lock files, and no longer than it lives."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from undrift.adapters.sqlite.turnstile import Turnstile


def opened(folder: Path) -> list[str]:
    """The files of a folder that this process has open."""
    there = [os.readlink(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd") if _is_open(number)]
    return sorted(Path(path).name for path in there if path.startswith(str(folder)))


def _is_open(number: str) -> bool:
    # That of the listing itself is gone by now.
    return os.path.lexists(f"/proc/self/fd/{number}")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks at open files where Linux shows them")
def test_a_turnstile_that_nobody_closed_lets_go_of_its_lock_files(tmp_path: Path) -> None:
    turnstile = Turnstile(tmp_path / "data.db")
    with turnstile.turn(time.monotonic() + 10):
        assert opened(tmp_path) == ["data.db-queue0", "data.db-queue1"]
    del turnstile
    assert opened(tmp_path) == []
