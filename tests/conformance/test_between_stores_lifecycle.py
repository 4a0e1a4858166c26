"""A collection moves from one engine to another and back while processes write; writers and workers are killed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import undrift
from tests.conformance.writers import Writer, wrong_texts
from undrift import Document
from undrift.control import ControlPlane
from undrift.domain.migration import Phase
from undrift.domain.record import Record
from undrift.domain.route import VectorField

pytestmark = pytest.mark.servers

_CONFIG = """
ledger = "{ledger}"
[stores.here]
url = "{here}"
[stores.there]
url = "{there}"
[models.old]
provider = "hashing"
dimensions = 32
[models.new]
provider = "hashing"
dimensions = 48
[aliases.kb]
store = "here"
model = "old"
[aliases.kb.throttle]
max_rows_per_s = 400
[timing]
deadline_s = 2
fence_horizon_s = 2
lease_s = 4
work_lease_s = 4
"""
#: More than one piece of the back-fill has.
DOCUMENTS = 600
#: What a case is about: the stores, where the ledger is, and whether the model changes as well.
WAYS = {
    "sqlite-vec to pgvector, ledger in PostgreSQL": ("sqlite-vec", "pgvector", "postgres", None),
    "pgvector to sqlite-vec, ledger in that file": ("pgvector", "sqlite-vec", "file", "new"),
}


@pytest.fixture
def addresses(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[str], str]]:
    """Return what gives each kind of store an address; what it needs is started when it is asked for."""
    made: list[tuple[Any, str]] = []

    def postgres(scheme: str) -> str:
        pytest.importorskip("psycopg")
        server = request.getfixturevalue("server")
        if not made:
            server.sql("CREATE DATABASE between")
            made.append((server, "between"))
        return str(server.url("between")).replace("postgresql://", f"{scheme}://", 1)

    def address(kind: str) -> str:
        match kind:
            case "postgres":
                return postgres("postgresql")
            case "pgvector":
                return postgres("pgvector")
            case "file":
                return "sqlite:///all.db"
            case _:
                return "sqlite-vec:all.db"

    yield address
    for server, name in made:
        server.sql(f"DROP DATABASE {name} WITH (FORCE)")


def everything(plane: ControlPlane, place: VectorField) -> dict[str, Record]:
    store, found, after = plane.store_of(place), {}, ""
    while ids := store.ids(place, after=after, limit=1000):
        found.update({str(id): record for id, record in store.fetch(place, ids).items()})
        after = ids[-1]
    return found


def kill_a_worker_half_way(folder: Path, plane: ControlPlane) -> None:
    """Let a process begin the work, and end it by SIGKILL when it has carried over a part."""
    migration = plane.ledger.alias(plane.alias("kb").name).migration  # type: ignore[union-attr]
    assert migration is not None
    worker = subprocess.Popen([sys.executable, "-m", "undrift", "worker", "kb"], cwd=folder)
    until = time.monotonic() + 60
    while True:
        done, _, _ = plane.ledger.chunk_progress(migration.id)
        if done:
            break
        assert worker.poll() is None
        assert time.monotonic() < until
        plane.clock.sleep(0.02)
    worker.kill()
    worker.wait(60)
    assert 0 < done < DOCUMENTS


@pytest.mark.parametrize("way", WAYS)
def test_no_acknowledged_write_is_lost_whoever_is_killed(
    addresses: Callable[[str], str], tmp_path: Path, way: str
) -> None:
    here, there, ledger, to = WAYS[way]
    config = tmp_path / "undrift.toml"
    text = _CONFIG.format(ledger=addresses(ledger), here=addresses(here), there=addresses(there))
    config.write_text(text, encoding="utf-8")
    plane = undrift.open(config)
    kb = plane.alias("kb")
    kb.upsert([Document(id=f"d{number:04}", text=f"document number {number}") for number in range(DOCUMENTS)])
    writers = [Writer(tmp_path, f"w{number}") for number in range(2)]

    plane.register("kb", to, to_store="there")
    kill_a_worker_half_way(tmp_path, plane)
    writers[0].kill()
    writers.append(Writer(tmp_path, "w2"))
    plane.tune("kb", {"max_rows_per_s": "none"})
    plane.work("kb", lambda migration: migration is not None and migration.phase is Phase.READY)
    assert plane.cutover("kb", max_wait_s=30)["phase"] == "reversing"
    writers[1].kill()
    writers.append(Writer(tmp_path, "w3"))
    assert plane.rollback("kb", now=True)["phase"] == "rolled_back"
    for writer in writers:
        writer.stop()

    plane.work("kb", lambda _: plane.ledger.lag(kb.name).dirty == 0 and plane.ledger.lag(kb.name).open == 0)
    assert plane.verify("kb")["verdict"] == "pass"
    assert plane.cutover("kb", max_wait_s=30)["phase"] == "reversing"
    route = kb.route()
    assert route.follower is not None
    assert (route.serving.store, route.follower.store) == ("there", "here")
    now, before = everything(plane, route.serving), everything(plane, route.follower)
    assert {id: record.text for id, record in now.items()} == {id: record.text for id, record in before.items()}
    assert sum(id.startswith("d") for id in now) == DOCUMENTS
    if to is None:
        assert all(np.array_equal(now[id].vector, before[id].vector) for id in now)
        assert plane.status("kb")["cost"]["tokens"] == 0
    assert wrong_texts(writers, {id: record.text for id, record in now.items()}) == {}
    assert sum(writer.count for writer in writers) > 20
    plane.close()
