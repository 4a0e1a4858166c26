"""A collection moves to another model and back while several processes use it, with the ledger in PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("psycopg")
pytest.importorskip("sqlite_vec")

import undrift
from tests.conformance.postgres_server import PostgresServer
from undrift import Document
from undrift.domain.migration import Phase

pytestmark = pytest.mark.servers

_CONFIG = """
ledger = "{ledger}"
[stores.main]
url = "sqlite-vec:vectors.db"
[models.old]
provider = "hashing"
dimensions = 32
[models.new]
provider = "hashing"
dimensions = 48
"""
_WRITER = """
import sys
import time
import undrift
from undrift import Document
plane = undrift.open("undrift.toml")
kb = plane.alias("kb")
print("ready", flush=True)
turn = 0
stop = []
import threading
threading.Thread(target=lambda: stop.append(sys.stdin.readline()), daemon=True).start()
while not stop:
    kb.upsert([Document(id=f"w{turn % 20}", text=f"text {turn} of a writer")])
    if turn % 7 == 0:
        kb.delete([f"w{(turn + 3) % 20}"])
    turn += 1
    time.sleep(0.2)
kb.upsert([Document(id="last", text=f"the end after {turn}")])
plane.close()
print(turn, flush=True)
"""


@pytest.fixture
def place(server: PostgresServer, tmp_path: Path) -> Iterator[Path]:
    server.sql("CREATE DATABASE life")
    (tmp_path / "undrift.toml").write_text(_CONFIG.format(ledger=server.url("life")), encoding="utf-8")
    yield tmp_path
    server.sql("DROP DATABASE life WITH (FORCE)")


def test_a_life_cycle_under_writers_of_other_processes_loses_nothing(place: Path) -> None:
    plane = undrift.open(place / "undrift.toml")
    plane.create_alias("kb", store="main", collection="kb", model="old")
    kb = plane.alias("kb")
    kb.upsert([Document(id=f"d{number}", text=f"document number {number}") for number in range(120)])
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITER], cwd=place, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"

    plane.register("kb", "new")
    plane.work("kb", lambda migration: migration.phase is Phase.READY)
    assert plane.cutover("kb", max_wait_s=30)["phase"] == "reversing"
    for writer in writers:
        out, _ = writer.communicate("stop\n")
        assert writer.returncode == 0
        assert int(out) > 0
    assert plane.rollback("kb", now=True)["phase"] == "rolled_back"

    plane.work("kb", lambda _: plane.ledger.lag(kb.route().alias).dirty == 0)
    assert plane.verify("kb")["verdict"] == "pass"
    assert plane.ledger.lag(kb.route().alias).open == 0
    plane.close()
