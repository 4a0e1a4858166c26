"""A process acts on what it knows only as long as its lease and its acknowledgements allow."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from undrift.adapters.ledgers.sqlite import SqliteLedger
from undrift.adapters.processes import LinuxProcesses
from undrift.adapters.sqlite import Database
from undrift.domain.migration import Phase
from undrift.domain.route import AliasName, Mode
from undrift.domain.timing import LEASE_SAFETY, Timing
from undrift.errors import ControlUnavailable, LedgerUnusable, UnknownAlias
from undrift.flow.router import Router
from undrift.ports.ledger import Ledger
from undrift.ports.runtime import Clock
from undrift.testing.clock import VirtualClock
from undrift.testing.faults import Faults, When
from undrift.testing.ledgers.bench import ALIAS, SETTLE_S, SOURCE, TARGET, begin, enter, flip, make_alias, route_of

TIMING = Timing(lease_s=10.0, poll_s=1.0)
ANOTHER = AliasName("another")


class Scene:
    """A router under test on one handle of a ledger, and another handle as the operator's process has it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = VirtualClock()
        self.faults = Faults()
        self.operator = self.handle()
        self.router = self.new_router(self.clock)

    def handle(self) -> SqliteLedger:
        return SqliteLedger(Database(self.folder / "ledger.db"), self.clock, boot_id="boot")

    def new_router(self, clock: Clock, *, heartbeat: bool = False, timing: Timing = TIMING) -> Router:
        ledger: Ledger = self.faults.ledger(self.handle())
        return Router(ledger, clock, timing, role="app", processes=LinuxProcesses(), heartbeat=heartbeat)

    def calls(self, act: Callable[[], object]) -> list[str]:
        """The calls of the ledger that an act makes."""
        before = len(self.faults.calls)
        act()
        return self.faults.calls[before:]

    def copy(self, *, to: apsw.Connection) -> None:
        with apsw.Connection(str(self.folder / "ledger.db")) as file, to.backup("main", file, "main") as copying:
            copying.step()

    def restore(self, backup: apsw.Connection) -> None:
        with apsw.Connection(str(self.folder / "ledger.db")) as file, file.backup("main", backup, "main") as copying:
            copying.step()

    def awaited(self, epoch: int, alias: AliasName = ALIAS) -> bool:
        return bool(self.operator.unacknowledged(alias, epoch, SETTLE_S))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.router.close()
    scene.operator.close_ledger()


# Joining


def test_joining_begins_a_lease_and_acknowledges(scene: Scene) -> None:
    route = make_alias(scene.operator)

    assert scene.router.join(ALIAS) == route
    assert scene.router.may_write()
    (client,) = scene.operator.clients(ALIAS)
    assert (client.id, client.role, client.pid) == (scene.router.client, "app", os.getpid())
    assert client.process == LinuxProcesses().me()
    assert not scene.awaited(1)


def test_what_is_known_is_answered_from_memory(scene: Scene) -> None:
    make_alias(scene.operator)
    scene.router.join(ALIAS)

    assert scene.calls(lambda: scene.router.join(ALIAS)) == []
    assert scene.calls(lambda: scene.router.current(ALIAS)) == []


def test_an_alias_that_nobody_made_is_said_to_be_unknown(scene: Scene) -> None:
    with pytest.raises(UnknownAlias, match="kb"):
        scene.router.join(ALIAS)
    make_alias(scene.operator)

    assert scene.router.join(ALIAS).epoch == 1


def test_nothing_may_be_written_before_the_ledger_counts_on_the_process(scene: Scene) -> None:
    """A lease without an acknowledgement would let it write past a journal that nobody told it of."""
    make_alias(scene.operator)
    scene.faults.fail("ledger.join", lambda: ControlUnavailable("it does not answer"))

    with pytest.raises(ControlUnavailable):
        scene.router.join(ALIAS)

    assert not scene.router.may_write()


def test_a_join_whose_answer_was_lost_is_finished_by_the_next_beat(scene: Scene) -> None:
    """The ledger counts the process in, and a migration would wait for it as long as it lives."""
    begin(scene.operator, Phase.REGISTERED)
    scene.faults.fail("ledger.join", lambda: ControlUnavailable("it does not answer"), when=When.AFTER)
    with pytest.raises(ControlUnavailable):
        scene.router.join(ALIAS)
    enter(scene.operator, Phase.JOURNALING)
    assert scene.awaited(2)

    scene.router.beat()
    scene.router.beat()

    assert not scene.awaited(2)


def test_joining_another_alias_looks_at_the_known_ones_before_the_lease_is_prolonged(scene: Scene) -> None:
    """A process that slept may have been given up; with a new lease and an old route it would write past it."""
    begin(scene.operator, Phase.REGISTERED)
    make_alias(scene.operator, ANOTHER)
    scene.router.join(ALIAS)
    enter(scene.operator, Phase.JOURNALING)
    scene.clock.advance(TIMING.lease_s + SETTLE_S + 1)
    assert not scene.awaited(2)

    scene.router.join(ANOTHER)

    assert scene.router.may_write()
    assert scene.router.current(ALIAS).mode is Mode.JOURNAL
    assert {client.id for client in scene.operator.clients(ALIAS)} == {scene.router.client}


# The lease


def test_the_lease_ends_before_the_ledger_says_so(scene: Scene) -> None:
    make_alias(scene.operator)
    scene.router.join(ALIAS)

    scene.clock.advance(TIMING.lease_s * LEASE_SAFETY - 0.001)
    assert scene.router.may_write()
    scene.clock.advance(0.002)
    assert not scene.router.may_write()
    assert scene.operator.clients(ALIAS)[0].lease_left_s > 0


def test_a_lease_counts_from_before_it_was_asked_for(scene: Scene) -> None:
    """The answer may have been under way for long."""
    make_alias(scene.operator)
    scene.router.join(ALIAS)
    scene.clock.advance(8.0)
    slow = 3.0
    scene.faults.on_call = lambda call: scene.clock.advance(slow) if call == "ledger.renew" else None

    scene.router.beat()

    scene.clock.advance(TIMING.lease_s * LEASE_SAFETY - slow - 0.001)
    assert scene.router.may_write()
    scene.clock.advance(0.002)
    assert not scene.router.may_write()


def test_the_lease_is_prolonged_when_half_of_it_is_over(scene: Scene) -> None:
    make_alias(scene.operator)
    scene.router.join(ALIAS)
    scene.router.beat()

    scene.clock.advance(3.0)
    assert "ledger.renew" not in scene.calls(scene.router.beat)
    scene.clock.advance(3.0)
    assert "ledger.renew" in scene.calls(scene.router.beat)


def test_a_lease_that_cannot_be_prolonged_lapses(scene: Scene) -> None:
    make_alias(scene.operator)
    scene.router.join(ALIAS)
    scene.clock.advance(6.0)
    scene.faults.fail("ledger.renew", lambda: ControlUnavailable("it does not answer"))
    with pytest.raises(ControlUnavailable):
        scene.router.beat()

    assert scene.router.may_write()
    scene.clock.advance(6.0)
    assert not scene.router.may_write()


def test_a_process_that_was_given_up_begins_again_with_what_is_true_now(scene: Scene) -> None:
    begin(scene.operator, Phase.REGISTERED)
    scene.router.join(ALIAS)
    scene.clock.advance(TIMING.lease_s + SETTLE_S + 1)
    enter(scene.operator, Phase.JOURNALING)
    assert not scene.awaited(2)

    scene.router.refresh(ALIAS)

    assert scene.router.may_write()
    assert scene.router.current(ALIAS) == route_of(scene.operator)
    enter(scene.operator, Phase.BACKFILL)
    assert not scene.awaited(2)
    assert scene.awaited(3)


def test_a_process_that_begins_again_may_not_write_before_it_is_counted_on(scene: Scene) -> None:
    make_alias(scene.operator)
    scene.router.join(ALIAS)
    scene.clock.advance(TIMING.lease_s + SETTLE_S + 1)
    assert not scene.awaited(2)
    may_write: list[bool] = []
    scene.faults.on_call = lambda call: may_write.append(scene.router.may_write()) if call == "ledger.join" else None

    scene.router.beat()

    assert may_write == [False]
    assert scene.router.may_write()


# Acknowledging


def test_a_new_route_is_learned_and_acknowledged(scene: Scene) -> None:
    begin(scene.operator, Phase.REGISTERED)
    scene.router.join(ALIAS)
    enter(scene.operator, Phase.JOURNALING)
    assert scene.awaited(2)

    scene.router.beat()

    assert scene.router.current(ALIAS).follower == TARGET
    assert not scene.awaited(2)


def test_an_epoch_is_acknowledged_when_nothing_older_is_going_on(scene: Scene) -> None:
    begin(scene.operator, Phase.REGISTERED)
    scene.router.join(ALIAS)
    with scene.router.using(ALIAS) as used:
        enter(scene.operator, Phase.JOURNALING)
        scene.router.beat()
        with scene.router.using(ALIAS) as newer:
            scene.router.beat()
            assert (used.epoch, newer.epoch) == (1, 2)
        assert scene.awaited(2)

    scene.router.beat()

    assert not scene.awaited(2)


def test_what_goes_on_under_the_new_route_keeps_nobody_waiting(scene: Scene) -> None:
    begin(scene.operator, Phase.JOURNALING)
    scene.router.join(ALIAS)
    with scene.router.using(ALIAS):
        scene.router.beat()
        assert not scene.awaited(2)


def test_two_uses_of_one_epoch_both_have_to_end(scene: Scene) -> None:
    begin(scene.operator, Phase.REGISTERED)
    scene.router.join(ALIAS)
    first, second = scene.router.using(ALIAS), scene.router.using(ALIAS)
    first.__enter__()
    second.__enter__()
    enter(scene.operator, Phase.JOURNALING)

    first.__exit__(None, None, None)
    scene.router.beat()
    assert scene.awaited(2)
    second.__exit__(None, None, None)
    scene.router.beat()
    assert not scene.awaited(2)


def test_a_use_that_raises_has_ended(scene: Scene) -> None:
    begin(scene.operator, Phase.REGISTERED)
    scene.router.join(ALIAS)
    with pytest.raises(RuntimeError), scene.router.using(ALIAS):
        raise RuntimeError
    enter(scene.operator, Phase.JOURNALING)
    scene.router.beat()

    assert not scene.awaited(2)


def test_an_older_route_is_not_learned(scene: Scene) -> None:
    begin(scene.operator, Phase.READY)
    older = route_of(scene.operator)
    flip(scene.operator)
    scene.router.join(ALIAS)

    assert scene.router.learn(ALIAS, older).serving == TARGET
    assert scene.router.current(ALIAS).serving == TARGET


def test_a_ledger_that_was_restored_is_followed_and_nothing_of_before_counts(scene: Scene) -> None:
    """The backup is of a moment when this process was known; what it acknowledged since then is of another past."""
    begin(scene.operator, Phase.REGISTERED)
    scene.router.join(ALIAS)
    with apsw.Connection(":memory:") as backup:
        scene.copy(to=backup)
        enter(scene.operator, Phase.JOURNALING)
        for phase in (Phase.BACKFILL, Phase.CATCHUP, Phase.VERIFY, Phase.READY):
            enter(scene.operator, phase)
        flip(scene.operator)
        scene.router.beat()
        assert scene.router.current(ALIAS).serving == TARGET
        scene.restore(backup)
    # The answer that was lost: the ledger that was restored is told an epoch that it does not have.
    scene.operator.renew(scene.router.client, {ALIAS: 3}, TIMING.lease_s)

    scene.router.beat()

    assert scene.router.current(ALIAS) == route_of(scene.operator)
    assert scene.router.current(ALIAS).serving == SOURCE
    assert scene.router.may_write()
    assert [client.acknowledged_epoch for client in scene.operator.clients(ALIAS)] == [1]
    state = scene.operator.alias(ALIAS)
    assert state is not None
    assert "restored from a backup" in state.needs_reconcile


def test_a_hold_is_learned_and_forgotten_within_one_epoch(scene: Scene) -> None:
    begin(scene.operator, Phase.READY)
    scene.router.join(ALIAS)
    scene.operator.hold(route_of(scene.operator), 5.0)
    scene.router.beat()
    held = scene.router.current(ALIAS).mode
    scene.clock.advance(5.1)
    scene.router.beat()

    assert (held, scene.router.current(ALIAS).mode) == (Mode.HOLD, Mode.JOURNAL)


# The end, and other processes


def test_a_closed_router_is_awaited_by_nobody(scene: Scene) -> None:
    make_alias(scene.operator)
    scene.router.join(ALIAS)
    before = scene.router.client

    scene.router.close()

    assert scene.operator.clients(ALIAS) == []
    assert not scene.router.may_write()
    scene.router.join(ALIAS)
    assert scene.router.client != before


def test_closing_is_not_kept_from_ending_by_the_ledger(scene: Scene) -> None:
    make_alias(scene.operator)
    scene.router.join(ALIAS)
    scene.faults.fail("ledger.leave", lambda: ControlUnavailable("it does not answer"))

    scene.router.close()

    assert not scene.router.may_write()


def test_a_thread_keeps_the_lease_and_acknowledges(tmp_path: Path) -> None:
    """On real time: it is a thread that waits."""
    from undrift.adapters.clock import SystemClock

    scene = Scene(tmp_path)
    begin(scene.operator, Phase.REGISTERED)
    told = threading.Event()
    router = scene.new_router(SystemClock(), heartbeat=True, timing=Timing(poll_s=0.005))
    router.join(ALIAS)
    scene.faults.on_call = lambda call: told.set() if call == "ledger.renew" else None
    enter(scene.operator, Phase.JOURNALING)

    assert told.wait(30)
    router.close()
    assert scene.operator.clients(ALIAS) == []
    scene.operator.close_ledger()


@pytest.mark.parametrize("error", [ControlUnavailable, LedgerUnusable])
def test_the_thread_outlives_a_ledger_that_fails(tmp_path: Path, error: type[ControlUnavailable]) -> None:
    from undrift.adapters.clock import SystemClock

    scene = Scene(tmp_path)
    begin(scene.operator, Phase.REGISTERED)
    router = scene.new_router(SystemClock(), heartbeat=True, timing=Timing(poll_s=0.005))
    router.join(ALIAS)
    failed, later = threading.Event(), threading.Event()

    def watch(call: str) -> None:
        if call == "ledger.route":
            (later if failed.is_set() else failed).set()

    scene.faults.fail("ledger.route", lambda: error("it fails"), times=1)
    scene.faults.on_call = watch

    assert later.wait(30)
    router.close()
    scene.operator.close_ledger()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_is_a_client_of_its_own(scene: Scene) -> None:
    """With its parent's lease it would go on writing after the parent acknowledged a journal."""
    make_alias(scene.operator)
    scene.router.join(ALIAS)
    parent = scene.router.client
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        with os.fdopen(sending, "w") as pipe:
            pipe.write(f"{scene.router.current(ALIAS).epoch} {scene.router.client} {scene.router.may_write()}")
        os._exit(0)
    os.close(sending)
    with os.fdopen(receiving) as pipe:
        epoch, client, may_write = pipe.read().split()
    _, status = os.waitpid(child, 0)

    assert status == 0
    assert (epoch, may_write) == ("1", "True")
    assert client != parent
    assert {info.id for info in scene.operator.clients(ALIAS)} == {parent, client}
    assert {info.pid for info in scene.operator.clients(ALIAS)} == {os.getpid(), child}


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_that_closes_takes_nothing_from_its_parent(scene: Scene) -> None:
    make_alias(scene.operator, serving=SOURCE)
    scene.router.join(ALIAS)
    child = os.fork()
    if child == 0:
        scene.router.close()
        os._exit(0)
    os.waitpid(child, 0)

    assert [info.id for info in scene.operator.clients(ALIAS)] == [scene.router.client]
    assert scene.router.may_write()
