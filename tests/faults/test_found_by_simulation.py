"""What the simulation has found, each as the shortest story that shows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from undrift import Document
from undrift.adapters.stores.memory import MemoryStore
from undrift.domain.migration import Migration, Phase, RunStatus
from undrift.domain.plan import DropField
from undrift.domain.route import AliasName
from undrift.errors import LeaseLost, StaleRoute, StoreUnavailable
from undrift.migrate.runner import Runner
from undrift.ports.store import StoreCapabilities
from undrift.testing.rig import ALIAS, Process, Rig, documents

TIMING = {"lease_s": 3.0, "deadline_s": 4.0, "work_lease_s": 5.0, "fence_horizon_s": 2.0, "write_timeout_s": 6.0}
NO_ANSWER = partial(StoreUnavailable, "the store does not answer")


class RemoteStore(MemoryStore):
    """A store whose requests go on without whoever sent them."""

    @property
    def capabilities(self) -> StoreCapabilities:
        return replace(super().capabilities, requests_die_with_process=False, settles_within_s=2.0)


@pytest.fixture
def rig(folder: Path) -> Iterator[Rig]:
    made = Rig(folder=folder, timing=TIMING, memory=RemoteStore())
    made.process().alias.upsert(documents("the tide", "the lighthouse", "the ferry"))
    yield made
    made.close()


def when(process: Process, call: str, act: object) -> None:
    """Let something happen once, just before a process makes a call of a name."""
    left = [act]

    def on_call(name: str) -> None:
        if name == call and left:
            done = left.pop()
            assert callable(done)
            done()

    process.faults.on_call = on_call


def ended(migration: Migration | None) -> bool:
    return migration is not None and migration.is_final


def test_an_unjournaled_write_without_an_answer_is_waited_for(rig: Rig) -> None:
    app, operator = rig.process(), rig.process("operator")
    kb = app.alias
    app.faults.fail("store.upsert", NO_ANSWER)
    with pytest.raises(StoreUnavailable):
        kb.upsert([Document(id="d00", text="under way")])
    operator.plane.register(ALIAS, "new")
    sent = rig.clock.monotonic()

    rig.process("worker").work(lambda migration: migration.phase is Phase.BACKFILL)

    # It was sent under a lease, and lands before that and the fence horizon are over.
    assert rig.clock.monotonic() >= sent + TIMING["lease_s"] + TIMING["fence_horizon_s"]


def test_an_application_that_ends_is_waited_for_as_well_while_a_write_of_it_may_land(rig: Rig) -> None:
    app, operator = rig.process(), rig.process("operator")
    kb = app.alias
    app.faults.fail("store.upsert", NO_ANSWER)
    with pytest.raises(StoreUnavailable):
        kb.upsert([Document(id="d00", text="under way")])
    app.plane.router.close()

    operator.plane.register(ALIAS, "new")
    waiting = operator.plane.ledger.unacknowledged(ALIAS, rig.route().epoch + 1, 2.0)

    assert "app" in {client.role for client in waiting}


def test_nobody_carries_a_document_while_a_write_of_another_worker_may_land_on_it(rig: Rig) -> None:
    app, operator, worker, other = rig.process(), rig.process("operator"), rig.process("worker"), rig.process("worker")
    operator.plane.register(ALIAS, "new")
    worker.work_to(Phase.READY)
    app.alias.upsert([Document(id="d00", text="written meanwhile")])
    worker.faults.fail("store.upsert", NO_ANSWER)
    unanswered = worker.worker()
    with pytest.raises(StoreUnavailable):
        unanswered.tick()
    claimed = rig.clock.monotonic()

    other.work(lambda _: not other.plane.ledger.lag(ALIAS).dirty)

    assert rig.clock.monotonic() >= claimed + TIMING["work_lease_s"] + TIMING["fence_horizon_s"]


def test_a_document_is_tried_again_soon_when_the_store_was_not_asked_to_change_it(rig: Rig) -> None:
    app, operator, worker = rig.process(), rig.process("operator"), rig.process("worker")
    operator.plane.register(ALIAS, "new")
    worker.work_to(Phase.READY)
    app.alias.upsert([Document(id="d00", text="written meanwhile")])
    worker.faults.fail("store.entries", NO_ANSWER)
    began = rig.clock.monotonic()

    worker.work(lambda _: not worker.plane.ledger.lag(ALIAS).dirty)

    assert rig.clock.monotonic() < began + TIMING["work_lease_s"]


def test_no_two_migrations_fill_a_collection_of_the_same_name(rig: Rig) -> None:
    operator = rig.process("operator")
    first = operator.plane.register(ALIAS, "new").target
    operator.plane.cancel(ALIAS, drop=True)

    assert operator.plane.register(ALIAS, "new").target.collection != first.collection


def test_a_plan_does_nothing_to_the_next_migration(rig: Rig) -> None:
    late, operator = rig.process("operator"), rig.process("operator")
    operator.plane.register(ALIAS, "new")
    runner = Runner(workshop=late.plane.workshop(ALIAS), who="late")
    migration = rig.migration()
    assert migration is not None

    def next_one() -> None:
        operator.plane.cancel(ALIAS)
        operator.plane.register(ALIAS, "new")

    runner = replace(runner, on_step=lambda _: next_one())

    with pytest.raises(StaleRoute, match="another one runs"):
        runner.run((DropField(field=migration.target),))


def test_a_worker_that_slept_while_others_began_does_not_halt_the_migration(rig: Rig) -> None:
    sleeper, other, operator = rig.process("worker"), rig.process("worker"), rig.process("operator")
    operator.plane.register(ALIAS, "new")
    when(sleeper, "ledger.coordinate", lambda: other.work_to(Phase.READY))

    sleeper.work_to(Phase.READY)

    migration = rig.migration()
    assert migration is not None
    assert migration.run_status is RunStatus.RUNNING


def test_a_worker_that_finds_the_target_dropped_looks_again(rig: Rig) -> None:
    worker, operator = rig.process("worker"), rig.process("operator")
    operator.plane.register(ALIAS, "new")
    worker.work_to(Phase.VERIFY)
    when(worker, "store.scan", lambda: operator.plane.cancel(ALIAS, drop=True))

    worker.worker().run(ended)

    migration = rig.migration()
    assert migration is not None
    assert migration.phase is Phase.ABORTED


def test_a_lease_is_not_prolonged_for_an_alias_that_the_ledger_was_not_asked_about(rig: Rig) -> None:
    app = rig.process()
    app.alias.count()
    router = app.plane.router
    rig.clock.advance(TIMING["lease_s"] * 0.6)
    # As another thread does whose answer came late: the ledger may have given this process up for that alias.
    when(app, "ledger.renew", lambda: router._routes.update({AliasName("other"): rig.route()}))

    router.beat()
    rig.clock.advance(TIMING["lease_s"] * 0.5)

    assert "ledger.renew" in app.faults.calls
    assert not router.may_write()


def test_nothing_is_written_under_a_lease_that_ended_while_the_ledger_was_asked(rig: Rig) -> None:
    app, operator, worker = rig.process(), rig.process("operator"), rig.process("worker")
    operator.plane.register(ALIAS, "new")
    worker.work_to(Phase.READY)
    app.alias.upsert([Document(id="d00", text="written meanwhile")])
    sent = worker.faults.calls.count("store.upsert")

    def on_call(name: str) -> None:
        # Whether the work may go on is asked before every call; by then the text is embedded.
        if name == "ledger.alias" and worker.faults.calls[-2].startswith("model."):
            rig.clock.advance(TIMING["work_lease_s"])

    worker.faults.on_call = on_call
    with pytest.raises(LeaseLost):
        worker.worker().tick()

    assert worker.faults.calls.count("store.upsert") == sent
