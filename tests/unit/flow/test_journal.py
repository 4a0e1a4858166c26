"""The way of one write, under every route and failure: acknowledged means that both fields will have it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from undrift import Document
from undrift.domain.checkpoint import Lag
from undrift.domain.migration import Phase
from undrift.domain.plan import plan_start
from undrift.domain.record import DocumentId, stamp
from undrift.errors import (
    ControlUnavailable,
    LedgerUnusable,
    OutcomeUnknown,
    StoreRejected,
    StoreUnavailable,
    WriteTimeout,
)
from undrift.migrate.runner import Runner
from undrift.telemetry import Metric, counted
from undrift.testing.faults import When
from undrift.testing.rig import ALIAS, Layout, Rig, documents

DOCUMENTS = documents("the first text", "the second text", "the third text")
ONE = Document(id="d00", text="another first text", metadata={"lang": "en"})
TIMING = {"lease_s": 10.0, "deadline_s": 20.0, "fence_horizon_s": 5.0, "write_timeout_s": 60.0}


class Scene:
    """An application that writes, and an operator and a worker elsewhere."""

    def __init__(self, folder: Path, layout: Layout = Layout.MEMORY) -> None:
        self.rig = Rig(folder=folder, layout=layout, timing=TIMING)
        self.app = self.rig.process("app")
        self.app.alias.upsert(DOCUMENTS)
        self.operator = self.rig.process("operator")
        self.worker = self.rig.process("worker")

    def migrate(self, phase: Phase) -> None:
        self.operator.plane.register(ALIAS, "new")
        self.worker.work_to(Phase.READY)
        if phase in (Phase.REVERSING, Phase.ROLLED_BACK):
            self.operator.plane.cutover(ALIAS)
        if phase is Phase.ROLLED_BACK:
            self.rig.clock.sleep(2)
            self.operator.plane.rollback(ALIAS)
        self.rig.clock.sleep(2)
        self.app.faults.calls.clear()

    def journal(self) -> None:
        """Begin to journal without waiting for anybody."""
        migration = self.operator.plane.register(ALIAS, "new")
        Runner(workshop=self.operator.plane.workshop(ALIAS), who="test", migration=migration.id).run(
            plan_start(self.rig.route(), migration)[:2]
        )

    def when(self, call: str, act: Callable[[], object]) -> None:
        """Let something happen elsewhere just before the application makes a call, once."""
        done: list[str] = []

        def on_call(name: str) -> None:
            if name == call and not done:
                done.append(name)
                act()

        self.app.faults.on_call = on_call

    def carry(self) -> None:
        worker = self.worker.worker()
        while self.lag().dirty:
            worker.tick()
            self.rig.clock.sleep(0.1)

    def lag(self) -> Lag:
        return self.operator.plane.ledger.lag(ALIAS)

    def texts(self) -> list[str | None]:
        """What every field has of the first document."""
        route = self.rig.route()
        places = [place for place in (route.serving, route.follower) if place is not None]
        return [record.text if (record := self.rig.records(place).get("d00")) is not None else None for place in places]

    def calls(self) -> list[str]:
        return [call for call in self.app.faults.calls if call.partition(".")[0] in ("ledger", "store", "model")]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.rig.close()


@pytest.fixture
def one_file(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path, Layout.ONE_FILE)
    yield scene
    scene.rig.close()


# Each mode


def test_outside_a_migration_the_ledger_is_not_on_the_way(scene: Scene) -> None:
    scene.app.faults.calls.clear()

    receipt = scene.app.alias.upsert([ONE])

    asked = [call for call in scene.calls() if call.startswith("ledger.")]
    assert set(asked) <= {"ledger.route", "ledger.alias"}, "only what `alias` itself looks up"
    assert scene.calls()[-1] == "store.upsert"
    assert (receipt.ids, receipt.epoch) == (("d00",), 1)
    assert scene.rig.records(scene.rig.route().serving)["d00"].tag.sequence == 0


def test_an_application_that_keeps_its_alias_asks_the_ledger_nothing(scene: Scene) -> None:
    alias = scene.app.alias
    scene.app.faults.calls.clear()

    alias.upsert([ONE])
    alias.delete(["d01"])

    assert [call for call in scene.calls() if call.startswith("ledger.")] == []


@pytest.mark.parametrize("phase", [Phase.READY, Phase.REVERSING, Phase.ROLLED_BACK])
def test_during_a_migration_a_write_is_opened_sent_and_closed(scene: Scene, phase: Phase) -> None:
    scene.migrate(phase)
    alias = scene.app.alias
    scene.app.faults.calls.clear()

    receipt = alias.upsert([ONE])

    bracket = [call for call in scene.calls() if call in ("ledger.open", "store.upsert", "ledger.close")]
    assert bracket == ["ledger.open", "store.upsert", "ledger.close"]
    assert scene.calls().index("model.embed_documents") < scene.calls().index("ledger.open")
    assert receipt.epoch == scene.rig.route().epoch
    assert receipt.space == scene.rig.route().serving.space
    assert scene.rig.records(scene.rig.route().serving)["d00"].tag.sequence > 0
    assert (scene.lag().dirty, scene.lag().open) == (1, 0)
    scene.carry()
    assert scene.texts() == [ONE.text, ONE.text]


def test_writers_that_are_held_go_on_when_the_hold_ends(scene: Scene) -> None:
    scene.migrate(Phase.READY)
    scene.operator.plane.ledger.hold(scene.rig.route(), 5.0)
    before, waited = scene.rig.clock.monotonic(), counted(Metric.WRITES_WAITED)

    scene.app.alias.upsert([ONE])

    assert scene.rig.clock.monotonic() - before >= 5.0
    assert counted(Metric.WRITES_WAITED) > waited
    assert scene.texts()[0] == ONE.text


def test_writers_that_are_held_too_long_are_told_that_nothing_was_written(scene: Scene) -> None:
    scene.migrate(Phase.READY)
    scene.operator.plane.ledger.hold(scene.rig.route(), 1000.0)

    with pytest.raises(WriteTimeout, match="waited too long for a cutover"):
        scene.app.alias.upsert([ONE])

    assert scene.texts() == [DOCUMENTS[0].text, DOCUMENTS[0].text]
    assert scene.lag().dirty == 0


def test_a_document_whose_truth_is_elsewhere_waits_until_it_is_carried_over(scene: Scene) -> None:
    scene.migrate(Phase.REVERSING)
    scene.app.alias.upsert([Document(id="d00", text="written to the target")])
    scene.operator.faults.fail("store.upsert", lambda: StoreUnavailable("it does not answer"))
    with pytest.raises(StoreUnavailable):
        scene.operator.plane.rollback(ALIAS, now=True)
    scene.rig.clock.beats.append(lambda: scene.worker.worker().tick())

    scene.app.alias.upsert([ONE])

    scene.carry()
    assert scene.texts() == [ONE.text, ONE.text]


def test_a_document_that_nobody_carries_over_is_not_overwritten(scene: Scene) -> None:
    scene.migrate(Phase.REVERSING)
    scene.app.alias.upsert([Document(id="d00", text="written to the target")])
    scene.operator.faults.fail("store.upsert", lambda: StoreUnavailable("it does not answer"))
    with pytest.raises(StoreUnavailable):
        scene.operator.plane.rollback(ALIAS, now=True)

    with pytest.raises(WriteTimeout, match="still to be carried over") as refused:
        scene.app.alias.upsert([ONE])

    assert "d00" in refused.value.detail
    scene.carry()
    assert scene.texts() == ["written to the target", "written to the target"]


# The route changes while vectors are computed


def test_a_write_that_began_before_a_cutover_ends_in_the_new_field(scene: Scene) -> None:
    scene.migrate(Phase.READY)
    scene.when("model.embed_documents", lambda: scene.operator.plane.cutover(ALIAS))

    receipt = scene.app.alias.upsert([ONE])

    target = scene.rig.route().serving
    assert receipt.space == target.space == scene.rig.models["new"].space.id
    assert not scene.rig.mistakes(target)
    scene.carry()
    assert scene.texts() == [ONE.text, ONE.text]


def test_a_write_that_began_before_the_journal_is_journaled(scene: Scene) -> None:
    """When the process has learned of it; when it has not, the migration waits for the process."""

    def begin() -> None:
        scene.journal()
        scene.app.plane.router.beat()

    scene.when("model.embed_documents", begin)

    scene.app.alias.upsert([ONE])

    assert scene.lag().dirty == 1
    assert "ledger.open" in scene.calls()


def test_a_write_that_is_under_way_without_a_journal_keeps_the_migration_waiting(scene: Scene) -> None:
    scene.app.plane.router.beat()
    awaited: list[bool] = []

    def look() -> None:
        scene.journal()
        scene.app.plane.router.beat()
        waiting = scene.operator.plane.ledger.unacknowledged(ALIAS, scene.rig.route().epoch, 5.0)
        awaited.append(scene.app.plane.router.client in {client.id for client in waiting})

    scene.when("store.upsert", look)
    scene.app.alias.upsert([ONE])
    scene.app.plane.router.beat()

    after = scene.operator.plane.ledger.unacknowledged(ALIAS, scene.rig.route().epoch, 5.0)
    assert awaited == [True]
    assert scene.app.plane.router.client not in {client.id for client in after}


def test_a_write_that_began_in_a_migration_that_was_cancelled_is_made_without_a_journal(scene: Scene) -> None:
    scene.migrate(Phase.READY)

    def end() -> None:
        scene.app.paused = True
        scene.operator.plane.cancel(ALIAS)
        scene.app.paused = False

    scene.when("model.embed_documents", end)

    receipt = scene.app.alias.upsert([ONE])

    assert receipt.epoch == scene.rig.route().epoch
    assert scene.texts() == [ONE.text]
    assert scene.lag().open == 0


# The lease


def test_a_lapsed_lease_is_renewed_before_anything_is_sent(scene: Scene) -> None:
    alias = scene.app.alias
    scene.rig.clock.advance(TIMING["lease_s"])
    scene.app.faults.calls.clear()

    alias.upsert([ONE])

    assert scene.calls().index("ledger.renew") < scene.calls().index("store.upsert")


def test_with_a_lapsed_lease_and_no_ledger_nothing_is_written(scene: Scene) -> None:
    alias = scene.app.alias
    scene.rig.clock.advance(TIMING["lease_s"])
    scene.app.faults.fail("ledger.", lambda: ControlUnavailable("it does not answer"), times=100)

    with pytest.raises(ControlUnavailable):
        alias.upsert([ONE])

    assert scene.texts() == [DOCUMENTS[0].text]


def test_with_a_valid_lease_and_no_ledger_writing_goes_on(scene: Scene) -> None:
    alias = scene.app.alias
    scene.app.faults.fail("ledger.", lambda: ControlUnavailable("it does not answer"), times=100)

    alias.upsert([ONE])

    assert scene.texts() == [ONE.text]


def test_a_lease_that_lapses_while_vectors_are_computed_is_noticed(scene: Scene) -> None:
    """A stopped process that wakes up finds that a migration began without it."""
    alias = scene.app.alias

    def sleep() -> None:
        scene.app.paused = True
        scene.operator.plane.register(ALIAS, "new")
        scene.worker.work_to(Phase.READY)
        scene.app.paused = False

    scene.when("model.embed_documents", sleep)

    alias.upsert([ONE])

    assert "ledger.open" in scene.calls()
    scene.carry()
    assert scene.texts() == [ONE.text, ONE.text]


# Too late


def reap(scene: Scene) -> None:
    scene.rig.clock.advance(TIMING["deadline_s"] + TIMING["fence_horizon_s"] + 1)
    assert scene.operator.plane.ledger.reap(ALIAS, TIMING["fence_horizon_s"]) == 1


def test_a_write_that_was_reaped_is_not_acknowledged(scene: Scene) -> None:
    scene.migrate(Phase.READY)
    scene.when("store.upsert", lambda: reap(scene))

    with pytest.raises(OutcomeUnknown, match="d00"):
        scene.app.alias.upsert([ONE])

    scene.carry()
    assert scene.texts() == [ONE.text, ONE.text]


def test_a_write_that_was_reaped_does_not_undo_what_others_wrote_since(scene: Scene) -> None:
    """It landed, others read it and wrote again, and only then its process woke up; found by `make torture`."""
    scene.migrate(Phase.READY)
    newer = replace(ONE, text="newer")

    def sleep() -> None:
        reap(scene)
        scene.operator.alias.upsert([newer])

    scene.when("ledger.close", sleep)

    with pytest.raises(OutcomeUnknown):
        scene.app.alias.upsert([ONE])

    assert scene.calls().count("store.upsert") == 1
    scene.carry()
    assert scene.texts() == [newer.text, newer.text]


def test_a_write_that_is_always_too_late_to_be_sent_says_so(scene: Scene) -> None:
    scene.migrate(Phase.READY)
    before = scene.texts()
    scene.app.faults.on_call = lambda call: (
        scene.rig.clock.advance(TIMING["deadline_s"]) if call == "ledger.open" else None
    )

    with pytest.raises(WriteTimeout, match="after its deadline"):
        scene.app.alias.upsert([ONE])

    assert "store.upsert" not in scene.calls()
    assert scene.texts() == before


def test_nothing_is_sent_after_the_deadline(scene: Scene) -> None:
    """The reaper counts on it. The application was stopped while it opened the write."""
    scene.migrate(Phase.READY)
    sent: list[float] = []
    began = scene.rig.clock.monotonic()

    def on_call(call: str) -> None:
        if call == "ledger.open" and not scene.app.faults.calls.count("ledger.open") > 1:
            scene.rig.clock.advance(TIMING["deadline_s"])
        if call == "store.upsert":
            sent.append(scene.rig.clock.monotonic() - began)

    scene.app.faults.on_call = on_call

    scene.app.alias.upsert([ONE])

    assert len(sent) == 1
    assert scene.calls().count("ledger.open") == 2
    assert scene.lag().open == 0


# The store fails


def test_what_the_store_rejects_is_over_at_once(scene: Scene) -> None:
    scene.migrate(Phase.READY)
    scene.app.faults.fail("store.upsert", lambda: StoreRejected("it will not take it"))

    with pytest.raises(StoreRejected, match="it will not take it"):
        scene.app.alias.upsert([ONE])

    assert scene.lag().open == 0
    scene.carry()
    assert scene.texts() == [DOCUMENTS[0].text, DOCUMENTS[0].text]


@pytest.mark.parametrize("error", [ControlUnavailable, LedgerUnusable])
def test_what_the_store_rejects_is_said_even_if_the_ledger_is_gone_by_then(
    scene: Scene, error: type[ControlUnavailable]
) -> None:
    scene.migrate(Phase.READY)
    scene.app.faults.fail("store.upsert", lambda: StoreRejected("it will not take it"))
    scene.app.faults.fail("ledger.close", lambda: error("it does not answer"))

    with pytest.raises(StoreRejected):
        scene.app.alias.upsert([ONE])

    scene.rig.clock.advance(60)
    scene.carry()
    assert scene.lag().open == 0


@pytest.mark.parametrize("error", [StoreUnavailable, ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("when", When, ids=lambda when: when.value)
def test_a_write_of_which_nothing_is_known_stays_open_until_it_cannot_land_any_more(
    scene: Scene, error: type[BaseException], when: When
) -> None:
    scene.migrate(Phase.READY)
    scene.app.faults.fail("store.upsert", lambda: error("interrupted"), when=when)

    with pytest.raises(error if error is KeyboardInterrupt else OutcomeUnknown):
        scene.app.alias.upsert([ONE])

    assert scene.lag().open == 1
    scene.rig.clock.advance(TIMING["deadline_s"])
    assert scene.worker.worker().tick()
    assert scene.lag().open == 1
    scene.rig.clock.advance(TIMING["fence_horizon_s"] + 1)
    scene.carry()
    assert scene.lag().open == 0
    assert scene.texts() == [ONE.text if when is When.AFTER else DOCUMENTS[0].text] * 2


def test_outside_a_migration_an_error_of_the_store_passes_as_it_is(scene: Scene) -> None:
    scene.app.faults.fail("store.upsert", lambda: StoreUnavailable("it does not answer"))

    with pytest.raises(StoreUnavailable):
        scene.app.alias.upsert([ONE])


# The ledger fails


def test_without_the_ledger_a_migrating_write_does_not_begin(scene: Scene) -> None:
    scene.migrate(Phase.READY)
    scene.app.faults.fail("ledger.open", lambda: ControlUnavailable("it does not answer"))

    with pytest.raises(ControlUnavailable):
        scene.app.alias.upsert([ONE])

    assert scene.texts() == [DOCUMENTS[0].text, DOCUMENTS[0].text]


@pytest.mark.parametrize("when", When, ids=lambda when: when.value)
@pytest.mark.parametrize("error", [ControlUnavailable, LedgerUnusable])
def test_a_write_that_cannot_be_closed_is_not_acknowledged(
    scene: Scene, when: When, error: type[ControlUnavailable]
) -> None:
    unknown = counted(Metric.OUTCOMES_UNKNOWN)
    scene.migrate(Phase.READY)
    scene.app.faults.fail("ledger.close", lambda: error("it does not answer"), when=when)

    with pytest.raises(OutcomeUnknown):
        scene.app.alias.upsert([ONE])

    assert counted(Metric.OUTCOMES_UNKNOWN) == unknown + 1
    scene.rig.clock.advance(60)
    scene.carry()
    assert scene.texts() == [ONE.text, ONE.text]


# Ledger and store in one file


def test_in_one_file_a_write_and_its_bracket_are_one_transaction(one_file: Scene) -> None:
    one_file.migrate(Phase.READY)
    states: list[bool] = []
    connection = one_file.app.plane.ledger.database.connection()
    one_file.app.faults.on_call = lambda call: (
        states.append(connection.in_transaction) if call in ("ledger.open", "store.upsert", "ledger.close") else None
    )

    one_file.app.alias.upsert([ONE])

    assert states == [True, True, True]
    assert not connection.in_transaction
    one_file.carry()
    assert one_file.texts() == [ONE.text, ONE.text]


@pytest.mark.parametrize("call", ["ledger.open", "store.upsert", "ledger.close"])
@pytest.mark.parametrize("when", When, ids=lambda when: when.value)
@pytest.mark.parametrize("error", [StoreRejected, KeyboardInterrupt])
def test_in_one_file_an_error_undoes_the_write_and_its_bracket(
    one_file: Scene, call: str, when: When, error: type[BaseException]
) -> None:
    one_file.migrate(Phase.READY)
    one_file.app.faults.fail(call, lambda: error("interrupted"), when=when)

    with pytest.raises(error):
        one_file.app.alias.upsert([ONE])

    assert (one_file.lag().dirty, one_file.lag().open) == (0, 0)
    assert one_file.texts() == [DOCUMENTS[0].text, DOCUMENTS[0].text]
    one_file.app.alias.upsert([ONE])
    one_file.carry()
    assert one_file.texts() == [ONE.text, ONE.text]


def test_in_one_file_a_write_that_began_before_a_cutover_ends_in_the_new_field(one_file: Scene) -> None:
    one_file.migrate(Phase.READY)
    one_file.when("model.embed_documents", lambda: one_file.operator.plane.cutover(ALIAS))

    receipt = one_file.app.alias.upsert([ONE])

    assert receipt.space == one_file.rig.models["new"].space.id
    one_file.carry()
    assert one_file.texts() == [ONE.text, ONE.text]
    assert not one_file.rig.mistakes(one_file.rig.route().serving)


def test_in_one_file_writers_that_are_held_wait_as_well(one_file: Scene) -> None:
    one_file.migrate(Phase.READY)
    one_file.operator.plane.ledger.hold(one_file.rig.route(), 3.0)

    one_file.app.alias.upsert([ONE])

    assert one_file.texts()[0] == ONE.text


# Programs with a client of their own


def put(scene: Scene, text: str) -> None:
    """Write to the field that the bracket names, as a program does that knows the store and not undrift."""
    with scene.app.alias.journal(["d00"]) as write:
        (model,) = (model for model in scene.rig.models.values() if model.space.id == write.field.space)
        vectors = scene.rig.vector(write.field.space, text)[None, :]
        records = stamp(
            [Document(id="d00", text=text)], vectors, space=model.space, sequences={DocumentId("d00"): write.sequence}
        )
        scene.rig.memory.upsert(write.field, records)


@pytest.mark.parametrize("phase", [None, Phase.READY, Phase.REVERSING])
def test_a_bracketed_write_of_another_program_reaches_both_fields(scene: Scene, phase: Phase | None) -> None:
    if phase is not None:
        scene.migrate(phase)

    put(scene, "by another program")

    if phase is not None:
        assert scene.lag().dirty == 1
        scene.carry()
    assert set(scene.texts()) == {"by another program"}
    assert not scene.rig.mistakes(scene.rig.route().serving)


def test_a_bracket_outside_of_a_migration_keeps_a_migration_waiting(scene: Scene) -> None:
    with scene.app.alias.journal(["d00"]) as write:
        assert (write.field, write.sequence) == (scene.rig.route().serving, 0)
        scene.journal()
        scene.app.plane.router.beat()
        waiting = scene.operator.plane.ledger.unacknowledged(ALIAS, scene.rig.route().epoch, 5.0)
        assert scene.app.plane.router.client in {client.id for client in waiting}


def test_a_bracket_whose_block_raises_is_of_unknown_outcome(scene: Scene) -> None:
    scene.migrate(Phase.READY)

    with pytest.raises(OutcomeUnknown, match="d00") as raised, scene.app.alias.journal(["d00"]):
        raise ConnectionError("reset by peer")

    assert isinstance(raised.value.__cause__, ConnectionError)
    assert scene.lag().open == 1


def test_a_bracket_that_is_interrupted_stays_open(scene: Scene) -> None:
    scene.migrate(Phase.READY)

    with pytest.raises(KeyboardInterrupt), scene.app.alias.journal(["d00"]):
        raise KeyboardInterrupt

    assert scene.lag().open == 1
    scene.rig.clock.advance(60)
    scene.carry()


def test_a_bracket_that_took_too_long_is_not_acknowledged(scene: Scene) -> None:
    scene.migrate(Phase.READY)

    with pytest.raises(OutcomeUnknown, match="d00"), scene.app.alias.journal(["d00"]):
        reap(scene)

    assert scene.lag().dirty == 1


@pytest.mark.parametrize("error", [ControlUnavailable, LedgerUnusable])
def test_a_bracket_that_cannot_be_closed_is_of_unknown_outcome(scene: Scene, error: type[ControlUnavailable]) -> None:
    """The write was made; that the ledger is gone must not read as if it was not."""
    scene.migrate(Phase.READY)
    scene.app.faults.fail("ledger.close", lambda: error("it does not answer"))

    with pytest.raises(OutcomeUnknown), scene.app.alias.journal(["d00"]):
        pass


def test_a_bracket_waits_for_its_turn(scene: Scene) -> None:
    scene.migrate(Phase.READY)
    scene.operator.plane.ledger.hold(scene.rig.route(), 4.0)
    before = scene.rig.clock.monotonic()

    put(scene, "after the hold")

    assert scene.rig.clock.monotonic() - before >= 4.0


def test_a_bracket_does_not_wait_for_ever(scene: Scene) -> None:
    scene.migrate(Phase.READY)
    scene.operator.plane.ledger.hold(scene.rig.route(), 1000.0)

    with pytest.raises(WriteTimeout), scene.app.alias.journal(["d00"]):
        raise AssertionError("its turn never came")


# Fork


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("layout", [Layout.TWO_FILES, Layout.ONE_FILE], ids=lambda layout: layout.value)
@pytest.mark.parametrize("migrating", [False, True])
def test_a_forked_child_writes_as_a_client_of_its_own(tmp_path: Path, layout: Layout, migrating: bool) -> None:
    scene = Scene(tmp_path, layout)
    if migrating:
        scene.migrate(Phase.READY)
    alias = scene.app.alias
    child = os.fork()
    if child == 0:
        try:
            alias.upsert([Document(id="child", text="written by the child")])
        except BaseException:
            os._exit(1)
        os._exit(0)
    alias.upsert([Document(id="parent", text="written by the parent")])
    _, status = os.waitpid(child, 0)
    assert status == 0

    if migrating:
        scene.carry()
    route = scene.rig.route()
    for place in (route.serving, *([route.follower] if route.follower else [])):
        assert {"child", "parent"} <= set(scene.rig.records(place))
        assert not scene.rig.mistakes(place)
    scene.rig.close()
