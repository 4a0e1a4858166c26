"""A collection in pgvector moves to another model and back while other processes write, some of which are killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("psycopg")

from tests.conformance.killed_writers import live_and_be_killed
from tests.conformance.pgvector_door import SCHEMA, store_url
from tests.conformance.postgres_server import PostgresServer
from undrift.ports.store import Layout

pytestmark = pytest.mark.servers

_CONFIG = """
ledger = "{ledger}"
[stores.main]
url = "{store}"
[models.old]
provider = "hashing"
dimensions = 32
[models.new]
provider = "hashing"
dimensions = 48
[aliases.kb]
store = "main"
model = "old"
[timing]
deadline_s = 2
fence_horizon_s = 2
lease_s = 4
work_lease_s = 4
"""


@pytest.fixture
def databases(server: PostgresServer) -> Iterator[PostgresServer]:
    for name in ("life_a", "life_b"):
        server.sql(f"CREATE DATABASE {name}")
    yield server
    for name in ("life_a", "life_b"):
        server.sql(f"DROP DATABASE {name} WITH (FORCE)")


def ledger_of(server: PostgresServer, layout: str) -> str:
    """Return the ledger's address; the store is in the first database."""
    return {
        "one database": server.url("life_a"),
        "one database, in place": server.url("life_a"),
        "two databases": server.url("life_b"),
        "ledger in a file": "sqlite:///undrift.db",
    }[layout]


@pytest.mark.parametrize(
    "layout",
    [
        pytest.param("one database", marks=pytest.mark.long),
        pytest.param("two databases", marks=pytest.mark.long),
        pytest.param("ledger in a file", marks=pytest.mark.long),
        "one database, in place",
    ],
)
def test_no_acknowledged_write_is_lost_whoever_is_killed(
    databases: PostgresServer, tmp_path: Path, layout: str
) -> None:
    live_and_be_killed(
        tmp_path,
        store_url(databases, "life_a"),
        ledger=ledger_of(databases, layout),
        layout=Layout.IN_PLACE if "in place" in layout else None,
    )


@pytest.mark.long
def test_the_command_line_takes_a_collection_through_its_whole_life(databases: PostgresServer, tmp_path: Path) -> None:
    config = _CONFIG.format(ledger=ledger_of(databases, "one database"), store=store_url(databases, "life_a"))
    (tmp_path / "undrift.toml").write_text(config, encoding="utf-8")

    def run(*words: str, stdin: str = "") -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "undrift", *words, "--json"],
            cwd=tmp_path,
            input=stdin,
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    lines = [
        json.dumps({"id": f"d{number:03}", "text": f"text number {number}", "metadata": {"even": number % 2 == 0}})
        for number in range(200)
    ]
    run("put", "kb", "-", stdin="\n".join(lines))
    assert run("start", "kb", "--to", "new")["phase"] == "ready"
    assert run("cutover", "kb", "--yes")["phase"] == "reversing"
    run("put", "kb", "-", stdin='{"id": "later", "text": "written after the cutover"}\n')
    assert run("rollback", "kb", "--now", "--yes")["phase"] == "rolled_back"
    found = run("get", "kb", "later", "never")
    assert ([one["id"] for one in found["documents"]], found["missing"]) == (["later"], ["never"])
    run("cutover", "kb", "--yes")
    assert run("complete", "kb", "--yes")["phase"] == "done"
    ((table,),) = databases.sql(f"SELECT tablename FROM pg_tables WHERE schemaname = '{SCHEMA}'", "life_a")
    assert databases.sql(f'SELECT count(*), min(space) = max(space) FROM {SCHEMA}."{table}"', "life_a") == [(201, True)]
