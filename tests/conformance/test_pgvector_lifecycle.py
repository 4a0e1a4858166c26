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

import undrift
from tests.conformance.live_writers import Writer, wrong_texts
from tests.conformance.pgvector_door import SCHEMA, store_url
from tests.conformance.postgres_server import PostgresServer
from undrift import Document
from undrift.domain.migration import Phase
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


def configured(folder: Path, server: PostgresServer, layout: str) -> Path:
    ledger = {
        "one database": server.url("life_a"),
        "one database, in place": server.url("life_a"),
        "two databases": server.url("life_b"),
        "ledger in a file": "sqlite:///undrift.db",
    }[layout]
    path = folder / "undrift.toml"
    path.write_text(_CONFIG.format(ledger=ledger, store=store_url(server, "life_a")), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "layout",
    ["one database", "two databases", "ledger in a file", "one database, in place"],
)
def test_no_acknowledged_write_is_lost_whoever_is_killed(
    databases: PostgresServer, tmp_path: Path, layout: str
) -> None:
    plane = undrift.open(configured(tmp_path, databases, layout))
    kb = plane.alias("kb")
    kb.upsert([Document(id=f"d{number:03}", text=f"document number {number}") for number in range(120)])
    writers = [Writer(tmp_path, f"w{number}") for number in range(2)]

    def kill_one() -> None:
        writers[-2].kill()
        writers.append(Writer(tmp_path, f"w{len(writers)}"))

    plane.register("kb", "new", layout=Layout.IN_PLACE if "in place" in layout else None)
    plane.work("kb", lambda migration: migration.phase is Phase.BACKFILL)
    kill_one()
    plane.work("kb", lambda migration: migration.phase is Phase.READY)
    assert plane.cutover("kb", max_wait_s=30)["phase"] == "reversing"
    kill_one()
    assert plane.rollback("kb", now=True)["phase"] == "rolled_back"
    for writer in writers:
        writer.stop()

    alias = kb.route().alias
    plane.work("kb", lambda _: plane.ledger.lag(alias).dirty == 0 and plane.ledger.lag(alias).open == 0)
    assert plane.verify("kb")["verdict"] == "pass"
    ids = [id for writer in writers for id in writer.possible]
    texts = {document.id: document.text for document in kb.get(ids)}
    assert wrong_texts(writers, texts) == {}
    assert sum(writer.count for writer in writers) > 20
    plane.close()


def test_the_command_line_takes_a_collection_through_its_whole_life(databases: PostgresServer, tmp_path: Path) -> None:
    configured(tmp_path, databases, "one database")

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
