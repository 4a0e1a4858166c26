"""Each step of a plan does what it says, once, and leaves to others what is theirs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.migrate.scene import DOCUMENTS, TIMING, Scene
from undrift import Document
from undrift.domain.migration import Phase, advance
from undrift.domain.plan import (
    MAX_DIRTY_AT_CUTOVER,
    AwaitClients,
    AwaitWorkers,
    CreateField,
    Drain,
    DropField,
    Finish,
    Flip,
    HoldWrites,
    JournalWrites,
    Plan,
    SettleForeign,
    StopJournal,
    describe,
    plan_start,
)
from undrift.domain.record import DocumentId
from undrift.domain.route import Mode
from undrift.domain.space import Metric
from undrift.errors import FieldInUse, GateFailed, IllegalTransition, NoMigration, StaleRoute, WriteTimeout
from undrift.migrate.runner import Runner
from undrift.testing.rig import ALIAS, documents


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.rig.close()


class Told:
    """What the runner says while it works."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.waits: list[str] = []


def runner(scene: Scene, told: Told | None = None) -> Runner:
    told = told or Told()
    migration = scene.migration.id
    return Runner(
        workshop=scene.workshop, who="test", migration=migration, on_step=told.steps.append, on_wait=told.waits.append
    )


def registered(scene: Scene) -> None:
    scene.operator.plane.register(ALIAS, "new")


# Plans


def test_a_plan_is_told_step_by_step(scene: Scene) -> None:
    registered(scene)
    told = Told()
    plan = plan_start(scene.rig.route(), scene.migration)

    runner(scene, told).run(plan)

    assert told.steps == [describe(step) for step in plan]


def test_every_step_can_be_taken_twice(scene: Scene) -> None:
    """A plan that was killed after a step is computed anew; nobody knows how far the step had come."""
    registered(scene)
    plan: Plan = (
        CreateField(field=scene.migration.target),
        JournalWrites(),
        AwaitClients(epoch=scene.rig.route().epoch + 1),
    )
    for step in plan:
        for _ in range(2):
            runner(scene).run((step,))
    assert (scene.migration.phase, scene.rig.route().epoch) == (Phase.JOURNALING, 2)
    runner(scene).enter(Phase.BACKFILL, was=Phase.JOURNALING)
    scene.worker.work_to(Phase.READY)

    end: Plan = (StopJournal(phase=Phase.ABORTING), AwaitWorkers(), DropField(field=scene.migration.target))
    for step in end:
        for _ in range(2):
            runner(scene).run((step,))
    assert (scene.migration.phase, scene.rig.route().epoch) == (Phase.ABORTING, 3)
    assert scene.rig.store().describe(scene.migration.target) is None
    runner(scene).run((Finish(phase=Phase.ABORTED),))
    with pytest.raises(NoMigration):
        runner(scene).run((Finish(phase=Phase.ABORTED),))


# Phases


def test_a_phase_is_entered_from_where_it_was_decided(scene: Scene) -> None:
    scene.begin(Phase.BACKFILL)

    with pytest.raises(StaleRoute, match="is backfill already, not journaling"):
        runner(scene).enter(Phase.BACKFILL, was=Phase.JOURNALING)
    runner(scene).enter(Phase.CATCHUP, was=Phase.BACKFILL, detail="all of it")

    assert scene.migration.phase is Phase.CATCHUP
    assert scene.ledger.history(ALIAS)[0].detail == "all of it"


def test_no_phase_is_entered_over_an_edge_that_there_is_not(scene: Scene) -> None:
    scene.begin(Phase.BACKFILL)

    with pytest.raises(IllegalTransition):
        runner(scene).enter(Phase.READY, was=Phase.BACKFILL)
    assert scene.migration.phase is Phase.BACKFILL


@pytest.mark.parametrize("phase", [Phase.REGISTERED, Phase.JOURNALING, Phase.BACKFILL, Phase.READY, Phase.ROLLED_BACK])
def test_giving_up_begins_in_the_phase_and_the_route_at_once(scene: Scene, phase: Phase) -> None:
    """Also before anything was journaled, when the route changes nothing but its number."""
    registered(scene)
    if phase is Phase.JOURNALING:
        runner(scene).run(plan_start(scene.rig.route(), scene.migration)[:2])
    elif phase is not Phase.REGISTERED:
        scene.begin(phase)
    before = scene.rig.route().epoch

    runner(scene).run((StopJournal(phase=Phase.ABORTING),))

    route = scene.rig.route()
    assert (route.mode, route.follower, route.epoch) == (Mode.PASSIVE, None, before + 1)
    assert scene.migration.phase is Phase.ABORTING


# Fields


def test_a_field_is_made_for_the_space_of_the_target(scene: Scene) -> None:
    registered(scene)

    runner(scene).run((CreateField(field=scene.migration.target),))

    there = scene.rig.store().describe(scene.migration.target)
    assert there is not None
    assert (there.dimensions, there.metric, there.count) == (24, Metric.COSINE, 0)


@pytest.mark.parametrize("foreign", ["not empty", "other dimensions", "other metric"])
def test_a_field_that_somebody_else_made_is_not_taken_over(scene: Scene, foreign: str) -> None:
    registered(scene)
    target, store = scene.migration.target, scene.rig.store()
    dimensions = 7 if foreign == "other dimensions" else 24
    store.create(target, dimensions=dimensions, metric=Metric.L2 if foreign == "other metric" else Metric.COSINE)
    if foreign == "not empty":
        record = scene.rig.records(scene.migration.source)["d00"]
        store.upsert(target, [replace(record, vector=scene.rig.vector(target.space, "x"))])
    before = store.describe(target)

    with pytest.raises(FieldInUse) as refused:
        runner(scene).run((CreateField(field=target),))

    assert refused.value.hint == "undrift cancel kb"
    assert store.describe(target) == before


def test_a_field_that_another_worker_makes_at_the_same_time_is_taken(scene: Scene) -> None:
    registered(scene)
    target = scene.migration.target
    scene.when("store.create", lambda: scene.rig.store().create(target, dimensions=24, metric=Metric.COSINE))

    runner(scene).run((CreateField(field=target),))

    assert scene.rig.store().describe(target) is not None


def test_a_field_that_serves_is_never_dropped(scene: Scene) -> None:
    scene.begin(Phase.REVERSING)

    with pytest.raises(FieldInUse, match="it is not dropped"):
        runner(scene).run((DropField(field=scene.migration.target),))
    assert len(scene.target()) == len(DOCUMENTS)


# Waiting


def test_clients_are_awaited_by_name(scene: Scene) -> None:
    registered(scene)
    told = Told()
    scene.app.paused = True

    runner(scene, told).run(plan_start(scene.rig.route(), scene.migration))

    assert any("such as app pid " in reason and "at most" in reason for reason in told.waits)
    assert {client.role for client in scene.ledger.clients(ALIAS)} == {"operator", "worker"}


def test_a_client_that_died_is_not_awaited_where_nothing_of_it_can_land(scene: Scene) -> None:
    registered(scene)
    scene.rig.kill(scene.app)
    before = scene.rig.clock.monotonic()

    runner(scene).run(plan_start(scene.rig.route(), scene.migration))

    assert scene.rig.clock.monotonic() - before < 2.0


def test_a_client_of_which_nobody_knows_whether_it_died_is_awaited(scene: Scene) -> None:
    registered(scene)
    scene.rig.kill(scene.app)
    scene.rig.roll.known = False
    before = scene.rig.clock.monotonic()

    runner(scene).run(plan_start(scene.rig.route(), scene.migration))

    assert scene.rig.clock.monotonic() - before > TIMING["lease_s"]


def test_workers_are_awaited_that_may_still_write(scene: Scene) -> None:
    scene.begin(Phase.READY)
    scene.write(replace(DOCUMENTS[0], text="newer"))
    scene.operator.plane.ledger.claim(
        ALIAS, owner=scene.operator.plane.router.client, limit=1, lease_s=20.0, settle_s=5.0
    )
    before, told = scene.rig.clock.monotonic(), Told()

    runner(scene, told).run((AwaitWorkers(),))

    assert 25.0 <= scene.rig.clock.monotonic() - before < 26.0
    assert told.waits


# Draining


def test_draining_carries_until_few_enough_are_left(scene: Scene) -> None:
    scene.begin(Phase.READY)
    scene.write(*(Document(id=f"m{number:03d}", text=f"text {number}") for number in range(150)))

    runner(scene).run((Drain(at_most=100),))

    assert scene.lag().dirty == 150 - 64


def test_draining_gives_up_when_writers_are_faster(scene: Scene) -> None:
    scene.begin(Phase.READY)
    scene.write(DOCUMENTS[0])

    def write_another(call: str) -> None:
        if call == "ledger.lag":
            scene.rig.clock.advance(5.0)
            scene.write(replace(DOCUMENTS[1], text=f"at {scene.rig.clock.monotonic()}"))

    scene.worker.faults.on_call = write_another

    with pytest.raises(GateFailed, match=r"of kb (is|are) still dirty; at most 0 may be"):
        runner(scene).run((Drain(at_most=0),))


def test_foreign_documents_are_settled_and_the_others_may_wait(scene: Scene) -> None:
    scene.begin(Phase.READY)
    scene.write(replace(DOCUMENTS[0], text="written to the source"))
    migration = scene.migration
    scene.ledger.flip(
        scene.rig.route(),
        migration=advance(migration, Phase.REVERSING),
        was=migration.phase,
        who="test",
        max_dirty=None,
        max_quarantined=None,
    )

    runner(scene).run((SettleForeign(),))

    assert scene.lag().foreign == 0
    assert scene.target()["d00"] == "written to the source"


# Holding


def held(scene: Scene) -> bool:
    return scene.rig.route().mode is Mode.HOLD


def test_holding_carries_the_last_documents_and_keeps_holding_for_the_flip(scene: Scene) -> None:
    scene.begin(Phase.READY)
    scene.write(replace(DOCUMENTS[0], text="newer"))

    runner(scene).run((HoldWrites(seconds=5.0),))

    assert held(scene)
    assert scene.lag().dirty == 0
    flip = Flip(to=scene.migration.target.key, phase=Phase.REVERSING, max_dirty=0, max_quarantined=0)
    runner(scene).run((flip,))
    assert not held(scene)
    assert scene.migration.phase is Phase.REVERSING


def test_writers_are_let_go_when_the_hold_takes_too_long(scene: Scene) -> None:
    """And held again later, a few times; then the cutover is given up."""
    scene.begin(Phase.READY)
    scene.ledger.open(ALIAS, [DocumentId("d00")], client=scene.operator.plane.router.client, deadline_s=1000.0)
    free: list[bool] = []
    scene.rig.clock.beats.append(lambda: free.append(not held(scene)))
    told = Told()

    with pytest.raises(WriteTimeout, match="could not be drained within 2 s, 4 times") as refused:
        runner(scene, told).run((HoldWrites(seconds=2.0),))

    assert not held(scene)
    assert any(free)
    assert "4s" in refused.value.hint
    assert any("let go" in reason for reason in told.waits)


def test_a_write_that_comes_between_the_drain_and_the_flip_refuses_it(scene: Scene) -> None:
    """The hold had ended by itself, because the operator's process was stopped."""
    scene.begin(Phase.READY)
    runner(scene).run((HoldWrites(seconds=2.0),))
    scene.rig.clock.advance(3.0)
    scene.write(replace(DOCUMENTS[0], text="newer"))

    with pytest.raises(GateFailed, match="lag"):
        runner(scene).run((Flip(to=scene.migration.target.key, phase=Phase.REVERSING, max_dirty=0, max_quarantined=0),))

    assert scene.migration.phase is Phase.READY


def writing_before_flips(scene: Scene, flips: int) -> list[str]:
    """Let writers dirty more than a flip allows, right before each of the first few; return where that is noted."""
    noted: list[str] = []

    def write(call: str) -> None:
        if call == "ledger.flip":
            noted.append(call)
            if len(noted) <= flips:
                texts = (f"text {number} before flip {len(noted)}" for number in range(MAX_DIRTY_AT_CUTOVER + 1))
                scene.write(*documents(*texts, prefix="quick"))

    scene.worker.faults.on_call = write
    return noted


@pytest.mark.parametrize("verb", ["cutover", "rollback"])
def test_writers_that_are_quicker_than_the_drain_do_not_refuse_a_flip(scene: Scene, verb: str) -> None:
    scene.begin(Phase.READY if verb == "cutover" else Phase.REVERSING)
    noted = writing_before_flips(scene, 2)

    getattr(scene.worker.plane, verb)(ALIAS)

    assert len(noted) == 3
    assert scene.migration.phase is (Phase.REVERSING if verb == "cutover" else Phase.ROLLED_BACK)
    scene.carry()
    assert scene.source() == scene.target()
    assert scene.target()["quick00"] == "text 0 before flip 2"


def test_a_flip_that_writers_always_outrun_is_refused_in_the_end(scene: Scene) -> None:
    scene.begin(Phase.READY)
    noted = writing_before_flips(scene, 1000)

    with pytest.raises(GateFailed, match=f"lag .fail.: {MAX_DIRTY_AT_CUTOVER + 1} documents"):
        scene.worker.plane.cutover(ALIAS)

    assert len(noted) == 5
    assert scene.migration.phase is Phase.READY
