"""Workers with nothing in common but a ledger and a store in PostgreSQL share a back-fill, as hosts would."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("psycopg")

from tests.conformance.pgvector_door import SCHEMA, store_url
from tests.conformance.postgres_server import PostgresServer

pytestmark = [pytest.mark.servers, pytest.mark.long]

DOCUMENTS = 1_000
PATIENCE_S = 60.0
CONFIG = """
ledger = "{ledger}"
[stores.main]
url = "{store}"
[models.old]
provider = "hashing"
dimensions = 16
[models.new]
provider = "callable"
function = "held:embed"
name = "held"
revision = "1"
dimensions = 7
[aliases.kb]
store = "main"
model = "old"
[timing]
deadline_s = 2
fence_horizon_s = 2
lease_s = 4
work_lease_s = 4
"""
MODEL = '''
import pathlib
import time
import numpy as np

HERE = pathlib.Path(__file__).parent

def embed(texts):
    """Leave a mark for each call with documents, and answer none of them as long as there is a file called hold."""
    if any("text number" in text for text in texts):
        (HERE / "at-work").touch()
        while (HERE / "hold").exists():
            time.sleep(0.01)
    return np.array([[len(text), *(text.count(letter) + 1 for letter in "aeioun")] for text in texts], dtype=np.float32)
'''


class Host:
    """A folder with a configuration, a model and a cache of its own."""

    def __init__(self, folder: Path, config: str) -> None:
        folder.mkdir()
        self.folder = folder
        (folder / "undrift.toml").write_text(config, encoding="utf-8")
        (folder / "held.py").write_text(MODEL, encoding="utf-8")

    def begin(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "undrift", *words],
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, stdin: str = "") -> Any:
        process = self.begin(*words, "--json")
        out, complaints = process.communicate(stdin)
        assert process.returncode == 0, out + complaints
        return json.loads(out)

    def is_at_work(self) -> bool:
        return (self.folder / "at-work").exists()


@pytest.fixture
def database(server: PostgresServer) -> Iterator[PostgresServer]:
    server.sql("CREATE DATABASE two_hosts")
    yield server
    server.sql("DROP DATABASE two_hosts WITH (FORCE)")


def test_the_piece_of_a_host_that_is_lost_is_carried_by_another(database: PostgresServer, tmp_path: Path) -> None:
    config = CONFIG.format(ledger=database.url("two_hosts"), store=store_url(database, "two_hosts"))
    one, other = Host(tmp_path / "one", config), Host(tmp_path / "other", config)
    lines = [json.dumps({"id": f"d{number:04}", "text": f"text number {number}"}) for number in range(DOCUMENTS)]
    one.run("put", "kb", "-", stdin="\n".join(lines))
    one.run("start", "kb", "--to", "new", "--detach")
    (one.folder / "hold").touch()
    lost = one.begin("worker", "kb")
    try:
        until = time.monotonic() + PATIENCE_S
        while not one.is_at_work():
            assert time.monotonic() < until, "the first host takes no piece"
            time.sleep(0.05)
    finally:
        lost.kill()
        lost.communicate()

    told = other.run("worker", "kb", "--until-idle")

    assert told == {"worked_on": [{"alias": "kb", "phase": "ready"}]}
    assert other.is_at_work()
    assert not (other.folder / "hold").exists()
    tables = database.sql(f"SELECT tablename FROM pg_tables WHERE schemaname = '{SCHEMA}'", "two_hosts")
    counts = {database.sql(f'SELECT count(*) FROM {SCHEMA}."{name}"', "two_hosts")[0][0] for (name,) in tables}
    assert counts == {DOCUMENTS}, "both fields have every document"
