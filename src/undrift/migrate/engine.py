"""One worker: it takes whatever work there is, in the order that matters, until it is told to stop."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Any

from undrift import telemetry
from undrift.domain.checkpoint import Progress
from undrift.domain.gate import Verdict
from undrift.domain.migration import SYNCING, Migration, Phase, RunStatus
from undrift.domain.plan import plan_start
from undrift.domain.wording import plural
from undrift.errors import (
    CollectionMissing,
    ConflictError,
    EmbedderRejected,
    LeaseLost,
    ModelChanged,
    NoMigration,
    RefusedError,
    SpaceMismatch,
    StoreRejected,
    UndriftError,
    UsageError,
)
from undrift.migrate import forecast
from undrift.migrate.admission import attended
from undrift.migrate.backfill import CHUNK_SIZE, carry_chunk, lay_out
from undrift.migrate.batching import BatchDesk
from undrift.migrate.first import First
from undrift.migrate.fleet import Fleet
from undrift.migrate.gates import is_close
from undrift.migrate.hooks import call_due
from undrift.migrate.lookout import Lookout
from undrift.migrate.runner import Runner
from undrift.migrate.sync import BATCH, carry_dirty
from undrift.migrate.throttle import Wait
from undrift.migrate.verify import SAMPLE, verify
from undrift.migrate.waits import Notice, operator_wait
from undrift.migrate.workshop import Workshop

#: How often is looked for clients that died, in seconds.
_BURY_S = 1.0
#: Wait when there is nothing to do, in seconds.
_IDLE_S = 0.1
#: Most full batches of dirty documents that are carried before the migration is brought on by a step.
_BATCHES_IN_A_ROW = 8
#: Longest wait after a failure, in seconds.
_MAX_BACKOFF_S = 30.0
#: Phases whose work may be made to wait; what writers touch is carried over all the same.
_THROTTLED = frozenset({Phase.BACKFILL, Phase.VERIFY})


class Tick(Enum):
    """What one look for work led to."""

    #: Something was done; look again at once.
    WORKED = "worked"
    #: There was nothing to do.
    IDLE = "idle"


@dataclass(slots=True, kw_only=True)
class Worker:
    """Works on the migration of one alias; several may, in any process.

    Attributes:
        workshop: the means.
        who: for the history.
        on_progress: called after every piece of work.
        on_wait: told what is waited for.
        sample: documents that a verification embeds again.
        chunk_size: documents in a piece of the back-fill.
        fleet: a pool that carries the pieces of the back-fill; None where this worker does it.
        carried: documents that this worker has carried over in the back-fill.
    """

    workshop: Workshop
    who: str
    on_progress: Callable[[], None] = field(default=lambda: None)
    on_wait: Callable[[str], None] = field(default=lambda _: None)
    sample: int = SAMPLE
    chunk_size: int = CHUNK_SIZE
    fleet: Fleet | None = None
    carried: int = 0
    _failures: int = 0
    _batches: int = 0
    _buried_at: float = float("-inf")
    _operator: tuple[Any, str] = (None, "")
    _notice: Notice = field(init=False)
    _lookout: Lookout = field(init=False)
    _desk: BatchDesk = field(init=False)
    _first: First = field(init=False)

    def __post_init__(self) -> None:
        """Ask before each call of a store or a model whether it may still be made."""
        shop = self.workshop
        self._notice = Notice(shop.ledger, shop.alias, shop.me, shop.clock)
        self._lookout = Lookout(shop)
        self.workshop = attended(shop, self._waits, self._lookout.called)
        self._desk = BatchDesk(workshop=self.workshop, waits=self._waits)
        self._first = First(workshop=self.workshop)

    def run(self, until: Callable[[Migration | None], bool]) -> None:
        """Work until a condition on the migration holds; failures that may pass are waited out.

        A pool finishes the pieces that it has in hand before this returns.

        Raises:
            UsageError, SpaceMismatch: this process is not set up for the work; other workers go on.
            UndriftError: the migration is halted: going on needs a person.
        """
        try:
            self._run(until)
        finally:
            if self.fleet is not None:
                self.fleet.close()

    def _run(self, until: Callable[[Migration | None], bool]) -> None:
        while True:
            migration: Migration | None = None
            try:
                migration = self.workshop.state().migration
                if until(migration):
                    return
                done = self.tick()
            except (ConflictError, NoMigration):
                # Another process did it, is doing it, or has ended all of it: look again.
                done = Tick.IDLE
            except (UsageError, SpaceMismatch):
                raise
            except (RefusedError, EmbedderRejected, CollectionMissing) as error:
                if self._moved_on(migration):
                    # Refused was what another process had done meanwhile, or it has dropped the field: look again.
                    continue
                self._halt(error)
                raise
            except UndriftError as error:
                if not (error.retryable or isinstance(error, StoreRejected)):
                    self._halt(error)
                    raise
                self._back_off(error)
                continue
            if self._failures and done is Tick.WORKED:
                self._recovered()
            self.on_progress()
            if done is Tick.IDLE:
                self.workshop.clock.sleep(_IDLE_S)

    def tick(self) -> Tick:
        """Do one piece of work, if there is any."""
        done = self._work()
        if done is Tick.WORKED:
            self._notice.over()
        return done

    def _work(self) -> Tick:
        migration = self.workshop.state().migration
        if migration is not None and migration.run_status is not RunStatus.STOPPED:
            call_due(self.workshop, self.who)
        if migration is None or migration.is_final or migration.run_status is RunStatus.HALTED:
            return Tick.IDLE
        if migration.run_status is RunStatus.STOPPED:
            self._wait_for_operator(migration)
            return Tick.IDLE
        self._take_over()
        # Documents that were touched come before the back-fill: writers may wait for them.
        if migration.phase in SYNCING and self._carry():
            return Tick.WORKED
        if migration.run_status is RunStatus.PAUSED:
            self._wait_for_operator(migration)
            return Tick.IDLE
        if why := self.workshop.held_back():
            self._waits(why)
            return Tick.IDLE
        if migration.phase in _THROTTLED and isinstance(wait := self._lookout.look(), Wait):
            self._waits(str(wait))
            return Tick.IDLE
        match migration.phase:
            case Phase.REGISTERED | Phase.JOURNALING:
                return self._begin(migration)
            case Phase.BACKFILL:
                return self._fill(migration)
            case Phase.CATCHUP:
                return self._catch_up(migration)
            case Phase.VERIFY:
                return self._verify(migration)
            case _:
                return Tick.IDLE

    def _carry(self) -> bool:
        """Carry dirty documents over, unless it is the turn of what else there is to do.

        Where somebody writes without a pause, there are always some; they must not keep the rest from ever being done.
        """
        if self._batches == _BATCHES_IN_A_ROW:
            self._batches = 0
            return False
        carried = carry_dirty(self.workshop)
        self._batches = self._batches + 1 if carried == BATCH else _BATCHES_IN_A_ROW if carried else 0
        return carried > 0

    def _take_over(self) -> None:
        """Free what dead processes and late operations hold."""
        now = self.workshop.clock.monotonic()
        if now - self._buried_at > _BURY_S:
            self.workshop.bury_the_dead()
            self._buried_at = now
        self.workshop.ledger.reap(self.workshop.alias, self.workshop.settle_s)

    def _wait_for_operator(self, migration: Migration) -> None:
        key = (migration.id, migration.run_status, migration.reason)
        if self._operator[0] != key:
            # Who it was stands in the history, which is not read at every look.
            self._operator = (key, str(operator_wait(self.workshop.ledger, migration)))
        # Whoever looks at the status sees it there already.
        self.on_wait(self._operator[1])

    def _waits(self, reason: str) -> None:
        """Tell what is waited for: who listens in this process, and who looks at the status anywhere."""
        self.on_wait(reason)
        self._notice.waits(reason)

    def _runner(self, migration: Migration) -> Runner:
        return Runner(workshop=self.workshop, who=self.who, on_wait=self._waits, migration=migration.id)

    def _begin(self, migration: Migration) -> Tick:
        if not self._coordinates(migration):
            self._waits("another worker, which begins the migration")
            return Tick.IDLE
        state = self.workshop.state()
        if _place(state.migration) != _place(migration):
            # Others have begun it since this worker looked; what there is to do now is to be looked at again.
            self.workshop.ledger.yield_coordination(migration.id, owner=self.workshop.me)
            return Tick.WORKED
        runner = Runner(
            workshop=self.workshop,
            who=self.who,
            on_wait=lambda reason: self._wait_as_coordinator(migration, reason),
            migration=migration.id,
        )
        lag_s = self.workshop.store_of(migration.source).capabilities.scans_lag_s
        runner.run(plan_start(state.route, migration, scans_lag_s=lag_s))
        # DRAIN BEFORE BACKFILL: from here on nobody writes past the journal, so the source may be read.
        runner.enter(Phase.BACKFILL, was=Phase.JOURNALING)
        self.workshop.ledger.yield_coordination(migration.id, owner=self.workshop.me)
        return Tick.WORKED

    def _wait_as_coordinator(self, migration: Migration, reason: str) -> None:
        if not self._coordinates(migration):
            raise LeaseLost(f"another worker coordinates the migration of {migration.alias}")
        self._waits(reason)

    def _fill(self, migration: Migration) -> Tick:
        if not migration.planned and self._coordinates(migration):
            looking = partial(self._wait_as_coordinator, migration, "the newest documents, which come first")
            self._first.look_up(migration, looking)
            lay_out(self.workshop, migration, self.chunk_size)
            self.workshop.ledger.yield_coordination(migration.id, owner=self.workshop.me)
            return Tick.WORKED
        if self._desk.attend(migration, self._lookout.limits.batch) or self._carry_piece(migration):
            return Tick.WORKED
        _, done, pieces = self.workshop.ledger.chunk_progress(migration.id)
        batches = self._desk.waiting
        if migration.planned and done == pieces and not batches:
            forecast.settle(self.workshop)
            self._runner(migration).enter(Phase.CATCHUP, was=Phase.BACKFILL)
            return Tick.WORKED
        if batches:
            self._waits(batches)
        elif migration.planned and self.fleet is None:
            shop = self.workshop
            left, longest_s = plural(pieces - done, "piece"), shop.timing.work_lease_s + shop.settle_s
            self._waits(f"{left} that other workers hold; if one died, it is taken over within {longest_s:.0f} s")
        elif not migration.planned:
            self._waits("another worker, which divides the documents into pieces")
        return Tick.IDLE

    def _carry_piece(self, migration: Migration) -> bool:
        """Carry a piece of the back-fill over, or see that the pool does; whether anything was done."""
        if self.fleet is not None and migration.planned and not self._desk.is_active:
            return self.fleet.tend(migration)
        began = self.workshop.clock.monotonic()
        documents = self._first.carry(self._lookout.notes)
        if not documents:
            at_once = self._lookout.limits.chunk_size
            found = carry_chunk(self.workshop, migration, at_once=at_once, taking=self._desk.taking)
            if found is None:
                return False
            documents = found
        self.carried += documents
        self._lookout.rest(documents, began)
        return True

    def _catch_up(self, migration: Migration) -> Tick:
        lag = self.workshop.ledger.lag(self.workshop.alias)
        if is_close(lag):
            self._runner(migration).enter(Phase.VERIFY, was=Phase.CATCHUP)
            return Tick.WORKED
        oldest = f"the oldest for {lag.oldest_s or 0.0:.0f} s"
        what = f"{plural(lag.dirty, 'dirty document')} to be carried over, {oldest}"
        self._waits(f"{what}: undrift worker {self.workshop.alias} helps{lag.open_writes}")
        return Tick.IDLE

    def _verify(self, migration: Migration) -> Tick:
        if not self._coordinates(migration):
            self._waits("another worker, which compares both fields")
            return Tick.IDLE
        with telemetry.span("undrift.verify", undrift__alias=migration.alias, undrift__migration=migration.id):
            report = verify(
                self.workshop,
                sample=self.sample,
                carry=lambda: carry_dirty(self.workshop),
                on_progress=lambda progress: self._compared(migration, progress),
            )
        if not report.is_faithful:
            raise ModelChanged(
                f"vectors stored for {migration.target.space} are not what model {migration.target_model} gives "
                f"for their texts",
                f"the worst of {report.sampled} sampled documents has cosine {report.sample_min_cosine:.4f}",
                f"undrift cancel {migration.alias}, then start again",
            )
        self._runner(migration).enter(
            Phase.READY if report.verdict is Verdict.PASS else Phase.CATCHUP, was=Phase.VERIFY
        )
        self.workshop.ledger.yield_coordination(migration.id, owner=self.workshop.me)
        return Tick.WORKED

    def _compared(self, migration: Migration, progress: Progress) -> None:
        """Keep the coordinator's lease while a long comparison goes on; whoever takes it goes on from the bookmark.

        What keeps the back-fill waiting keeps the comparison waiting too, between two pages.
        """
        done = f"{progress.done} of {progress.total} documents to be compared"
        self._wait_as_coordinator(migration, done)
        while isinstance(wait := self._lookout.look(), Wait):
            self.workshop.oversight.admit()
            self._wait_as_coordinator(migration, str(wait))
            if not carry_dirty(self.workshop):
                self.workshop.clock.sleep(_IDLE_S)

    def _moved_on(self, migration: Migration | None) -> bool:
        """Whether the migration is not any more what it was when this worker looked, before it did what was refused."""
        present = self.workshop.state().migration
        return _place(present) != _place(migration)

    def _coordinates(self, migration: Migration) -> bool:
        lease_s = self.workshop.timing.work_lease_s
        return self.workshop.ledger.coordinate(migration.id, owner=self.workshop.me, lease_s=lease_s)

    def _halt(self, error: UndriftError) -> None:
        with suppress(UndriftError):
            migration = self.workshop.migration()
            self.workshop.ledger.save_run_status(
                migration.id,
                RunStatus.HALTED,
                reason=str(error).replace("\n", " · "),
                who=self.who,
                was=RunStatus.RUNNING,
            )
            call_due(self.workshop, self.who)

    def _back_off(self, error: UndriftError) -> None:
        self._failures += 1
        wait_s = min(self.workshop.timing.retry_s * 2.0 ** (self._failures - 1), _MAX_BACKOFF_S)
        reason = f"{error.message}; tried again in {wait_s:.0f} s"
        self._waits(reason)
        self._note(reason)
        self.workshop.clock.sleep(wait_s)

    def _recovered(self) -> None:
        self._failures = 0
        self._note("")

    def _note(self, reason: str) -> None:
        """Let `status` show the obstacle; that the ledger may be the obstacle is no reason to fail."""
        with suppress(UndriftError):
            migration = self.workshop.migration()
            if migration.run_status is RunStatus.RUNNING:
                self.workshop.ledger.save_run_status(
                    migration.id, RunStatus.RUNNING, reason=reason, who=self.who, was=RunStatus.RUNNING
                )


def _place(migration: Migration | None) -> tuple[str, Phase] | None:
    return None if migration is None else (migration.id, migration.phase)
