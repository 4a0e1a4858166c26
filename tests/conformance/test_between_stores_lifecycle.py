"""A collection moves from one engine to another and back while processes write; writers and workers are killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import undrift
from tests.conformance.engines import Engines
from tests.conformance.killed_writers import DOCUMENTS, kill_a_worker_half_way
from tests.conformance.live_writers import Writer, wrong_texts
from undrift import Document
from undrift.control import ControlPlane
from undrift.domain.migration import Phase
from undrift.domain.record import Record
from undrift.domain.route import VectorField

pytestmark = pytest.mark.servers

_CONFIG = """
ledger = "{ledger}"
[stores.here]
{here}
[stores.there]
{there}
[models.old]
provider = "hashing"
dimensions = 32
[models.new]
provider = "hashing"
dimensions = 48
[aliases.kb]
store = "here"
collection = "{collection}"
model = "old"
[aliases.kb.throttle]
max_rows_per_s = 400
[timing]
deadline_s = 2
fence_horizon_s = 2
lease_s = 4
work_lease_s = 4
"""
#: What a case is about: the stores, where the ledger is, and whether the model changes as well.
WAYS = {
    "sqlite-vec to pgvector, ledger in PostgreSQL": ("sqlite-vec", "pgvector", "postgres", None),
    "sqlite-vec to pgvector, ledger in a file": ("sqlite-vec", "pgvector", "file", "new"),
    "chroma to qdrant, ledger in a file": ("chroma", "qdrant", "file", None),
    "chroma to qdrant, ledger in PostgreSQL": ("chroma", "qdrant", "postgres", "new"),
}


@pytest.fixture
def engines(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Engines]:
    with Engines(tmp_path, request.getfixturevalue) as engines:
        yield engines


def everything(plane: ControlPlane, place: VectorField) -> dict[str, Record]:
    store, found, after = plane.store_of(place), {}, ""
    while ids := store.ids(place, after=after, limit=1000):
        found.update({str(id): record for id, record in store.fetch(place, ids).items()})
        after = ids[-1]
    return found


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
def test_no_acknowledged_write_is_lost_whoever_is_killed(engines: Engines, tmp_path: Path, way: str) -> None:
    here, there, ledger, to = WAYS[way]
    config = tmp_path / "undrift.toml"
    text = _CONFIG.format(
        ledger=engines.ledger(ledger),
        here=engines.store(here),
        there=engines.store(there),
        # A server may be that of the way before.
        collection=f"kb{list(WAYS).index(way)}",
    )
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
