"""One worker: it takes whatever work there is, in the order that matters, until it is told to stop."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum

from undrift.domain.checkpoint import Progress
from undrift.domain.gate import Verdict
from undrift.domain.migration import SYNCING, Migration, Phase, RunStatus
from undrift.domain.plan import plan_start
from undrift.errors import (
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
from undrift.migrate.backfill import CHUNK_SIZE, carry_chunk, lay_out
from undrift.migrate.gates import is_close
from undrift.migrate.runner import Runner
from undrift.migrate.sync import carry_dirty
from undrift.migrate.verify import SAMPLE, verify
from undrift.migrate.workshop import Workshop

#: How often is looked for clients that died, in seconds.
_BURY_S = 1.0
#: Wait when there is nothing to do, in seconds.
_IDLE_S = 0.1
#: Longest wait after a failure, in seconds.
_MAX_BACKOFF_S = 30.0


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
    """

    workshop: Workshop
    who: str
    on_progress: Callable[[], None] = field(default=lambda: None)
    on_wait: Callable[[str], None] = field(default=lambda _: None)
    sample: int = SAMPLE
    chunk_size: int = CHUNK_SIZE
    _failures: int = 0
    _buried_at: float = float("-inf")

    def run(self, until: Callable[[Migration | None], bool]) -> None:
        """Work until a condition on the migration holds; failures that may pass are waited out.

        Raises:
            UsageError, SpaceMismatch: this process is not set up for the work; other workers go on.
            UndriftError: the migration is halted: going on needs a person.
        """
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
            except (RefusedError, EmbedderRejected) as error:
                if self._moved_on(migration):
                    # Refused was what another process had done meanwhile: look again.
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
        migration = self.workshop.state().migration
        if migration is None or migration.is_final or migration.run_status is RunStatus.HALTED:
            return Tick.IDLE
        self._take_over()
        # Documents that were touched come before the back-fill: writers may wait for them.
        if migration.phase in SYNCING and carry_dirty(self.workshop):
            return Tick.WORKED
        if migration.run_status is RunStatus.PAUSED:
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

    def _take_over(self) -> None:
        """Free what dead processes and late operations hold."""
        now = self.workshop.clock.monotonic()
        if now - self._buried_at > _BURY_S:
            self.workshop.bury_the_dead()
            self._buried_at = now
        self.workshop.ledger.reap(self.workshop.alias, self.workshop.settle_s)

    def _runner(self, migration: Migration) -> Runner:
        return Runner(workshop=self.workshop, who=self.who, on_wait=self.on_wait, migration=migration.id)

    def _begin(self, migration: Migration) -> Tick:
        if not self._coordinates(migration):
            return Tick.IDLE
        runner = Runner(
            workshop=self.workshop,
            who=self.who,
            on_wait=lambda reason: self._wait_as_coordinator(migration, reason),
            migration=migration.id,
        )
        runner.run(plan_start(self.workshop.state().route, migration))
        # DRAIN BEFORE BACKFILL: from here on nobody writes past the journal, so the source may be read.
        runner.enter(Phase.BACKFILL, was=Phase.JOURNALING)
        self.workshop.ledger.yield_coordination(migration.id, owner=self.workshop.me)
        return Tick.WORKED

    def _wait_as_coordinator(self, migration: Migration, reason: str) -> None:
        if not self._coordinates(migration):
            raise LeaseLost(f"another worker coordinates the migration of {migration.alias}")
        self.on_wait(reason)

    def _fill(self, migration: Migration) -> Tick:
        if not migration.planned and self._coordinates(migration):
            lay_out(self.workshop, migration, self.chunk_size)
            self.workshop.ledger.yield_coordination(migration.id, owner=self.workshop.me)
            return Tick.WORKED
        if carry_chunk(self.workshop, migration) is not None:
            return Tick.WORKED
        _, done, pieces = self.workshop.ledger.chunk_progress(migration.id)
        if migration.planned and done == pieces:
            self._runner(migration).enter(Phase.CATCHUP, was=Phase.BACKFILL)
            return Tick.WORKED
        if migration.planned:
            self.on_wait(f"{pieces - done} pieces that other workers hold, or held when they died")
        return Tick.IDLE

    def _catch_up(self, migration: Migration) -> Tick:
        lag = self.workshop.ledger.lag(self.workshop.alias)
        if is_close(lag):
            self._runner(migration).enter(Phase.VERIFY, was=Phase.CATCHUP)
            return Tick.WORKED
        self.on_wait(f"{lag.dirty} dirty documents, the oldest for {lag.oldest_s or 0.0:.0f} s")
        return Tick.IDLE

    def _verify(self, migration: Migration) -> Tick:
        if not self._coordinates(migration):
            return Tick.IDLE
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
        """Keep the coordinator's lease while a long comparison goes on; whoever takes it goes on from the bookmark."""
        done = f"{progress.done} of {progress.total} documents to be compared"
        self._wait_as_coordinator(migration, done)

    def _moved_on(self, migration: Migration | None) -> bool:
        present = self.workshop.state().migration
        if migration is None or present is None:
            return False
        return (present.id, present.phase) != (migration.id, migration.phase)

    def _coordinates(self, migration: Migration) -> bool:
        lease_s = self.workshop.timing.work_lease_s
        return self.workshop.ledger.coordinate(migration.id, owner=self.workshop.me, lease_s=lease_s)

    def _halt(self, error: UndriftError) -> None:
        with suppress(UndriftError):
            migration = self.workshop.migration()
            self.workshop.ledger.save_run_status(
                migration.id, RunStatus.HALTED, reason=str(error).replace("\n", " · "), who=self.who
            )

    def _back_off(self, error: UndriftError) -> None:
        self._failures += 1
        wait_s = min(self.workshop.timing.retry_s * 2.0 ** (self._failures - 1), _MAX_BACKOFF_S)
        reason = f"{error.message}; tried again in {wait_s:.0f} s"
        self.on_wait(reason)
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
                self.workshop.ledger.save_run_status(migration.id, RunStatus.RUNNING, reason=reason, who=self.who)
