"""Answers of `what if …` that no other test proves."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import undrift
from tests.docs.settings import STARTER
from undrift import Document
from undrift.domain.migration import Migration, Phase
from undrift.errors import ControlUnavailable, EmbedderUnavailable, FieldInUse
from undrift.testing.rig import ALIAS, Process, Rig, documents

FOREVER = 10**9
LEASE_S = 15.0
LEDGER_DOWN = partial(ControlUnavailable, "the ledger cannot be reached")
MODEL_DOWN = partial(EmbedderUnavailable, "model new does not answer")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(folder=tmp_path, timing={"lease_s": LEASE_S})
    made.process().alias.upsert(documents("the tide", "the lighthouse", "the ferry"))
    yield made
    made.close()


def texts(process: Process) -> set[str]:
    return {hit.text for hit in process.alias.search("the tide", k=3)}


def test_without_the_ledger_searches_go_on_and_writes_end_with_the_lease(rig: Rig) -> None:
    app = rig.process()
    kb = app.alias
    kb.search("the tide", k=1)
    app.faults.fail("ledger.", LEDGER_DOWN, times=FOREVER)

    kb.upsert([Document(id="d00", text="written under the lease")])
    rig.clock.sleep(LEASE_S)
    asked = app.faults.calls.count("store.upsert")
    with pytest.raises(ControlUnavailable):
        kb.upsert([Document(id="d00", text="written without one")])

    assert app.faults.calls.count("store.upsert") == asked
    assert {hit.text for hit in kb.search("written", k=3)} >= {"written under the lease"}
    app.faults.heal()
    kb.upsert([Document(id="d00", text="written again")])
    assert "written again" in texts(rig.process())


def test_without_the_ledger_no_write_begins_during_a_migration(rig: Rig) -> None:
    app, operator = rig.process(), rig.process("worker")
    kb = app.alias
    operator.plane.register(ALIAS, "new")
    operator.work_to(Phase.READY)
    kb.upsert([Document(id="d00", text="journaled")])
    asked = app.faults.calls.count("store.upsert")

    app.faults.fail("ledger.", LEDGER_DOWN, times=FOREVER)
    with pytest.raises(ControlUnavailable):
        kb.upsert([Document(id="d00", text="past the journal")])

    assert app.faults.calls.count("store.upsert") == asked
    assert "journaled" in {hit.text for hit in kb.search("journaled", k=3)}


def test_a_model_that_is_down_is_waited_for_and_named(rig: Rig) -> None:
    worker, app = rig.process("worker"), rig.process()
    worker.plane.register(ALIAS, "new")
    worker.work_to(Phase.BACKFILL)
    waits: list[str] = []
    seen: list[str | None] = []

    def waited(reason: str) -> None:
        waits.append(reason)
        if len(waits) == 8:
            worker.faults.heal()

    def looked(migration: Migration | None) -> bool:
        seen.append(app.plane.status(ALIAS)["waiting_for"])
        assert texts(app) == {"the tide", "the lighthouse", "the ferry"}
        return migration is not None and migration.phase is Phase.READY

    worker.faults.fail("model.embed_documents", MODEL_DOWN, times=FOREVER)
    engine = worker.worker()
    engine.on_wait = waited
    engine.run(looked)

    assert "model new does not answer" in waits[0]
    assert any(wait in seen for wait in waits)
    assert app.plane.status(ALIAS)["waiting_for"] == "a decision: undrift cutover kb"


def test_the_way_back_is_not_ready_when_the_old_model_is_gone(rig: Rig) -> None:
    operator = rig.process("worker")
    operator.plane.register(ALIAS, "new")
    operator.work_to(Phase.READY)
    operator.plane.cutover(ALIAS)
    assert rig.process("cli").plane.status(ALIAS)["rollback_ready"]

    later = rig.process("cli")
    later.faults.fail("model.", partial(EmbedderUnavailable, "model old is retired"), times=FOREVER)

    assert not later.plane.status(ALIAS)["rollback_ready"]


def test_a_collection_with_documents_is_not_taken_over_by_a_new_alias(tmp_path: Path) -> None:
    """Another ledger knows nothing of them, so nothing is known of the model that they were made with."""
    config, stranger = tmp_path / "undrift.toml", tmp_path / "stranger.toml"
    config.write_text(STARTER.read_text(encoding="utf-8"), encoding="utf-8")
    stranger.write_text(config.read_text(encoding="utf-8").replace("undrift.db", "stranger.db"), encoding="utf-8")
    with undrift.open(config) as plane, undrift.open(stranger) as other:
        plane.alias("kb").upsert([Document(id="d00", text="the tide")])

        with pytest.raises(FieldInUse, match="is there already, with 1 records"):
            other.alias("kb")

        assert plane.alias("kb").count() == 1
