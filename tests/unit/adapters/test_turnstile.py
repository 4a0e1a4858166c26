"""A queue in front of a file: it holds two lock files, and no longer than it lives."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from undrift.adapters.sqlite.turnstile import Turnstile

OPEN_FILES = Path("/proc/self/fd")


def opened(folder: Path) -> list[str]:
    """The files of a folder that this process has open."""
    # A listing has itself in it, and that is gone by now.
    there = [one.readlink() for one in OPEN_FILES.iterdir() if one.is_symlink()]
    return sorted(path.name for path in there if path.is_relative_to(folder))


@pytest.mark.skipif(not OPEN_FILES.exists(), reason="looks at open files where Linux shows them")
def test_a_turnstile_that_nobody_closed_lets_go_of_its_lock_files(tmp_path: Path) -> None:
    turnstile = Turnstile(tmp_path / "data.db")
    with turnstile.turn(time.monotonic() + 10):
        assert opened(tmp_path) == ["data.db-queue0", "data.db-queue1"]
    del turnstile
    assert opened(tmp_path) == []
