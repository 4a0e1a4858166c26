"""Carry out single steps of a plan; the only module that changes a route or makes and drops fields."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import assert_never

from undrift.domain.gate import require
from undrift.domain.migration import Migration, Phase
from undrift.domain.plan import (
    AwaitClients,
    AwaitScans,
    AwaitWorkers,
    CallOffBatches,
    CreateField,
    Drain,
    DropField,
    Finish,
    Flip,
    HoldWrites,
    JournalWrites,
    SettleForeign,
    Step,
    StopJournal,
)
from undrift.domain.route import Mode, Route, VectorField
from undrift.domain.wording import are, plural
from undrift.errors import FieldInUse, GateFailed, TransactionUndone, WriteTimeout
from undrift.migrate.batching import BatchDesk
from undrift.migrate.postponement import postponed
from undrift.migrate.sync import carry_dirty
from undrift.migrate.workshop import Workshop
from undrift.ports.store import SupportsNames

#: Looks at something that is awaited, this often.
_POLL_S = 0.1
#: How often a cutover that holds writers is tried before it is given up.
_HOLD_ATTEMPTS = 4
#: How often a flip is tried that finds more dirty documents than the drain right before it left.
_FLIP_ATTEMPTS = 5

OnWait = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """The phase change that comes with a step: the migration in its new phase, and the phase it must still be in."""

    migration: Migration
    was: Phase


def apply(workshop: Workshop, step: Step, transition: Transition | None, *, who: str, on_wait: OnWait) -> None:
    """Carry out a step; one that is carried out already changes nothing.

    Raises:
        StaleRoute: another process was first; compute the plan again.
        GateFailed: documents became dirty faster than they could be carried over.
    """
    match step:
        case CreateField(field=field):
            _create(workshop, field)
        case JournalWrites() | StopJournal():
            mode = Mode.JOURNAL if isinstance(step, JournalWrites) else Mode.PASSIVE
            _change_mode(workshop, mode, transition, who)
        case AwaitClients(epoch=epoch):
            _await_clients(workshop, epoch, on_wait)
        case AwaitScans(field=field, seconds=seconds):
            _await_scans(workshop, field, seconds, on_wait)
        case AwaitWorkers() | CallOffBatches():
            await_others = _await_workers if isinstance(step, AwaitWorkers) else _call_off_batches
            await_others(workshop, on_wait)
        case Drain(at_most=at_most):
            _drain(workshop, at_most, on_wait)
        case HoldWrites(seconds=seconds):
            _hold(workshop, seconds, on_wait)
        case Flip():
            _flip(workshop, step, transition, who, on_wait)
        case SettleForeign():
            _settle_foreign(workshop, on_wait)
        case DropField(field=field):
            _drop(workshop, field)
        case Finish():
            pass
        case _:
            assert_never(step)


def _create(workshop: Workshop, field: VectorField) -> None:
    # A copy needs no model: it may even be out of reach.
    copies = workshop.migration().copies
    space = workshop.space_of(field.space) if copies else workshop.door_of(field.space).space
    store = workshop.store_of(field)
    if store.describe(field) is None:
        # Another worker may be about to make it as well: what counts is what is there afterwards.
        with suppress(FieldInUse):
            store.create(field, dimensions=space.dimensions, metric=space.metric)
    there = store.describe(field)
    if there is None or there.count or there.dimensions != space.dimensions or there.metric is not space.metric:
        raise FieldInUse(
            f"collection {field.collection} is there already, with {there.count if there else 0} records; it is "
            f"not taken over",
            "a migration fills a collection of its own",
            f"undrift cancel {workshop.alias}",
        )


def _change_mode(workshop: Workshop, mode: Mode, transition: Transition | None, who: str) -> None:
    if transition is None:
        return
    # Also from passive to passive, when a migration is given up before anything was journaled: the phase comes with it.
    workshop.ledger.change_mode(
        workshop.state().route, mode, migration=transition.migration, was=transition.was, who=who
    )


def _await_clients(workshop: Workshop, epoch: int, on_wait: OnWait) -> None:
    while True:
        # This process is a client as well; others are not to wait for its next heartbeat.
        workshop.beat()
        workshop.bury_the_dead()
        workshop.ledger.reap(workshop.alias, workshop.settle_s)
        waiting = workshop.ledger.unacknowledged(workshop.alias, epoch, workshop.settle_s)
        if not waiting:
            return
        slowest = max(waiting, key=lambda client: client.lease_left_s)
        left_s = max(0.0, slowest.lease_left_s) + workshop.settle_s
        on_wait(
            f"{plural(len(waiting), 'client')} to acknowledge epoch {epoch}, such as {slowest.name}: "
            f"at most {left_s:.0f} s more{'' if slowest.is_program else ', or until that process ends'}"
        )
        workshop.clock.sleep(_POLL_S)


def _await_scans(workshop: Workshop, field: VectorField, seconds: float, on_wait: OnWait) -> None:
    """Let the lists of ids grow old that were made while somebody could still write past the journal.

    Counted from now, so that whoever goes on after a crash waits again.
    """
    until = workshop.clock.monotonic() + seconds
    while (left_s := until - workshop.clock.monotonic()) > 0:
        workshop.beat()
        on_wait(
            f"scans of {field.collection}, which may miss for {seconds:g} s what another process wrote: "
            f"it goes on by itself in {left_s:.0f} s"
        )
        workshop.clock.sleep(min(_POLL_S, left_s))


def _await_workers(workshop: Workshop, on_wait: OnWait) -> None:
    workshop.bury_the_dead()
    while workshop.ledger.in_flight(workshop.alias, workshop.settle_s):
        on_wait("writes of workers that may still be in flight; their leases end by themselves")
        workshop.clock.sleep(_POLL_S)


def _call_off_batches(workshop: Workshop, on_wait: OnWait) -> None:
    BatchDesk(workshop=workshop, waits=on_wait).call_off(on_wait)


def _drain(workshop: Workshop, at_most: int, on_wait: OnWait) -> None:
    until = workshop.clock.monotonic() + workshop.timing.write_timeout_s
    workshop.bury_the_dead()
    while True:
        workshop.ledger.reap(workshop.alias, workshop.settle_s)
        lag = workshop.ledger.lag(workshop.alias)
        if lag.dirty <= at_most:
            return
        if workshop.clock.monotonic() > until:
            raise GateFailed(
                f"{plural(lag.dirty, 'document')} of {workshop.alias} {are(lag.dirty)} still dirty; at most "
                f"{at_most} may be",
                f"{plural(lag.open, 'write')} {are(lag.open)} open, the oldest document is dirty for "
                f"{lag.oldest_s or 0:.0f} s",
                "undrift worker",
            )
        what = plural(lag.dirty, "dirty document")
        on_wait(f"{what} to be carried over: undrift worker {workshop.alias} helps{lag.open_writes}")
        if not carry_dirty(workshop):
            workshop.clock.sleep(_POLL_S)


def _hold(workshop: Workshop, seconds: float, on_wait: OnWait) -> None:
    """Hold writers until nothing is open or dirty; let them go and try again later when that takes too long."""
    for attempt in range(_HOLD_ATTEMPTS):
        route, migration = workshop.state().route, workshop.migration()
        if migration.is_held and workshop.ledger.lag(workshop.alias).dirty:
            raise GateFailed(
                f"writers to {workshop.alias} are not made to wait: nobody would carry the dirty documents over",
                f"the work is {migration.run_status.value}",
                f"undrift resume {workshop.alias}",
            )
        workshop.ledger.hold(route, seconds)
        until = workshop.clock.monotonic() + seconds * 0.8
        while workshop.clock.monotonic() < until:
            lag = workshop.ledger.lag(workshop.alias)
            if not lag.dirty and not lag.open:
                return
            on_wait(f"{plural(lag.open, 'open write')} and {plural(lag.dirty, 'dirty document')}, while writers wait")
            if not carry_dirty(workshop):
                workshop.clock.sleep(_POLL_S / 10)
        workshop.ledger.hold(route, 0)
        on_wait("writers were let go; the cutover is tried again")
        workshop.clock.sleep(min(2.0**attempt, seconds * 4))
    raise WriteTimeout(
        f"writes to {workshop.alias} could not be drained within {seconds:g} s, {_HOLD_ATTEMPTS} times",
        hint=f"undrift cutover {workshop.alias} --freeze-writes {seconds * 2:g}s, or without it",
    )


def _flip(workshop: Workshop, step: Flip, transition: Transition | None, who: str, on_wait: OnWait) -> None:
    if transition is None:
        return
    for attempts_left in reversed(range(_FLIP_ATTEMPTS)):
        if step.phase is Phase.REVERSING:
            # Somebody may have postponed it while the last documents were carried over.
            gates = postponed(workshop.alias, workshop.ledger.tuning(workshop.alias))
            require(gates, verb="cutover", alias=workshop.alias)
        try:
            _flip_now(workshop, step, transition, who)
            return
        except GateFailed:
            # Writers that nobody holds can be quicker than the drain; one to half of what is allowed leaves them room.
            if not attempts_left or not step.max_dirty:
                raise
            on_wait("what was written since the last look is carried over, and the flip is tried again")
            _drain(workshop, step.max_dirty // 2, on_wait)


def _flip_now(workshop: Workshop, step: Flip, transition: Transition, who: str) -> None:
    route = workshop.state().route

    def flip() -> None:
        workshop.ledger.flip(
            route,
            migration=transition.migration,
            was=transition.was,
            who=who,
            max_dirty=step.max_dirty,
            max_quarantined=step.max_quarantined,
        )

    _with_name(workshop, route, flip)


def _with_name(workshop: Workshop, route: Route, flip: Callable[[], None]) -> None:
    """Let the name that others read by change in the transaction of the flip, where ledger and store have a common one.

    Where they have none, or readers hold the name, it changes right afterwards.
    """
    to = route.follower
    store = None if to is None else workshop.store_of(to)
    if to is not None and store is not None and isinstance(store, SupportsNames):
        joint = workshop.ledger.transaction_with(store)
        if joint is not None:
            with suppress(TransactionUndone):
                with joint:
                    flip()
                    store.point(route.alias, to)
                return
    flip()


def name_served(workshop: Workshop) -> None:
    """Let those who do not know undrift find what the alias serves, where the store keeps a name for that."""
    route = workshop.state().route
    store = workshop.store_of(route.serving)
    if isinstance(store, SupportsNames):
        store.point(route.alias, route.serving)


def _settle_foreign(workshop: Workshop, on_wait: OnWait) -> None:
    name_served(workshop)
    workshop.bury_the_dead()
    while True:
        workshop.ledger.reap(workshop.alias, workshop.settle_s)
        lag = workshop.ledger.lag(workshop.alias)
        if not lag.foreign:
            return
        what = plural(lag.foreign, "document")
        where = "with the truth still in the other field"
        on_wait(f"{what} {where}: undrift worker {workshop.alias} helps{lag.open_writes}")
        if not carry_dirty(workshop):
            workshop.clock.sleep(_POLL_S)


def _drop(workshop: Workshop, field: VectorField) -> None:
    if workshop.state().route.serving == field:
        raise FieldInUse(
            f"{field.key} serves {workshop.alias}; it is not dropped", hint=f"undrift status {workshop.alias}"
        )
    workshop.store_of(field).drop(field)
