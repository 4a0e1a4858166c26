"""Where the worlds of these tests are kept."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.conftest import server  # noqa: F401 - a fixture, for the tests that want a ledger in PostgreSQL

MEMORY = Path("/dev/shm")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where the system has such a place: there are thousands of durable commits."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="undrift-") as name:
        yield Path(name)
