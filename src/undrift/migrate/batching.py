"""Embed texts of a back-fill through a provider's batch API, whoever dies between any two steps.

A job fills the vector cache, and the back-fill finds its vectors there: nothing is written in any other way. Each step
is recorded before it is taken, and what became of it after; what is not known is asked for at the provider, under the
name that was sent along.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from undrift.domain.batch import BatchJob, BatchMode, JobId, JobState
from undrift.domain.checkpoint import Chunk
from undrift.domain.client import WORKING_ROLES
from undrift.domain.migration import Migration
from undrift.domain.record import ContentHash
from undrift.domain.wording import plural
from undrift.errors import BadConfig, EmbedderUnavailable, UndriftError
from undrift.migrate.backfill import Taking
from undrift.migrate.jobs import STEP_LEASE_S, JobStep
from undrift.migrate.packing import pack
from undrift.migrate.workshop import Workshop

#: What a job has brought is carried over within this time where it is; to read it once more elsewhere costs nothing.
#: In seconds.
_ATTENDED_S = 3600.0
#: A job is looked at this often at first, and at last. In seconds.
_FIRST_LOOK_S, _LAST_LOOK_S = 5.0, 300.0


@dataclass(slots=True, kw_only=True)
class BatchDesk:
    """One worker's part in the jobs of an alias.

    Attributes:
        workshop: the means.
        waits: told what is waited for.
        lets_online: whether pieces that are in no job may be embedded online now.
    """

    workshop: Workshop
    waits: Callable[[str], None]
    lets_online: bool = True
    _vault: str = ""
    _jobs: int = 0
    _next: float = float("-inf")
    _looks: dict[JobId, tuple[float, float]] = field(default_factory=dict)

    def attend(self, migration: Migration, mode: BatchMode | None) -> bool:
        """Take every step that is due; return whether one was.

        Args:
            migration: the migration, which back-fills.
            mode: whether jobs are made; None for what the model is configured with.

        Raises:
            EmbedderRejected: the provider refuses a job, and going on needs a person.
            BudgetExhausted: the next job may cost more than is left.
        """
        shop, now = self.workshop, self.workshop.clock.monotonic()
        if now < self._next:
            return False
        self._next = now + 1.0
        door = None if migration.copies else shop.batches_of(migration.target.space)
        jobs = [job for job in shop.ledger.jobs(shop.alias) if job.is_open]
        self._jobs = len(jobs)
        moved = [self._take_step(job, migration) for job in jobs]
        worked = any(moved)
        if door is None:
            self.lets_online = True
            return worked
        self._vault = door.spool.vault
        mode = door.mode if mode is None else mode
        if mode is BatchMode.OFF:
            self.lets_online = True
        elif migration.planned and not worked:
            found = pack(shop, door, migration, mode)
            worked, self.lets_online = found.made, found.lets_online
        elif mode is BatchMode.ON:
            self.lets_online = False
        if worked:
            self._next = float("-inf")
        return worked

    @property
    def taking(self) -> Taking:
        """Which pieces this worker may carry over now."""
        return Taking(vault=self._vault, unbatched=self.lets_online, told=self.carried)

    @property
    def waiting(self) -> str:
        """What is waited for, with the provider's own word; empty without a job."""
        jobs = [job for job in self.workshop.ledger.jobs(self.workshop.alias) if job.is_open]
        if not jobs:
            return ""
        items, done = sum(job.items for job in jobs), sum(job.completed for job in jobs)
        ends = max((job.expires for job in jobs if job.expires), default=None)
        return f"{plural(len(jobs), 'batch job')} at the provider: {done} of {items} texts are embedded" + (
            f"; over at the latest at {ends:%Y-%m-%d %H:%M} UTC" if ends else ""
        )

    def carried(self, chunk: Chunk, written: list[ContentHash]) -> None:
        """Take note of vectors that are published, for the jobs that brought them."""
        shop = self.workshop
        door = shop.batches_of(shop.migration().target.space)
        if door is None:
            return
        mine = [
            job
            for job in shop.ledger.jobs(shop.alias)
            if job.state is JobState.BROUGHT and job.vault == door.spool.vault
        ]
        for job in mine:
            if any(piece.number == chunk.number for piece in shop.ledger.pieces_of(job.id)):
                door.spool.note(job.id, "used", written)

    @property
    def is_active(self) -> bool:
        """Whether pieces wait for jobs, so that not everybody may carry over everything."""
        return self._jobs > 0 or not self.lets_online

    def call_off(self, on_wait: Callable[[str], None]) -> None:
        """See that nothing of an alias's jobs is billed any more than is done already; waits for what is on its way."""
        shop = self.workshop
        while jobs := [job for job in shop.ledger.jobs(shop.alias) if job.is_open]:
            on_wait(f"{plural(len(jobs), 'batch job')} to be called off at the provider")
            shop.bury_the_dead()
            for job in jobs:
                self._take_step(job, None)
            shop.beat()
            shop.clock.sleep(1.0)

    def _take_step(self, job: BatchJob, migration: Migration | None) -> bool:
        """Take one step of a job, if it is due and this worker's to take."""
        shop = self.workshop
        door = shop.batches_of(job.space)
        if door is None:
            raise BadConfig(
                f"batch job {job.batch or job.id} of {job.alias} is at a provider that is configured without batches",
                f"it is of space {job.space}",
                "set batch for its model again, until the job is over",
            )
        wanted = migration is not None and job.migration == migration.id
        here = job.vault == door.spool.vault
        is_elsewhere = not here and job.state in (JobState.PREPARED, JobState.BROUGHT) and self._is_attended(job)
        due, _ = self._looks.get(job.id, (float("-inf"), 0.0))
        if shop.clock.monotonic() < due or (wanted and is_elsewhere):
            return False
        leased = shop.ledger.lease_job(job.id, owner=shop.me, lease_s=STEP_LEASE_S)
        if leased is None:
            return False
        step = JobStep(shop, door, leased, waits=self.waits)
        try:
            shop.oversight.admit()
            moved = step.take() if wanted else step.call_off()
        except EmbedderUnavailable as error:
            # The other jobs, and what they have brought, do not wait for this one.
            self.waits(error.message)
            moved = False
        except BaseException:
            # Whoever goes on finds it where it stands; that it cannot be given back is not what happened.
            with suppress(UndriftError):
                shop.ledger.save_job(step.job, owner=shop.me, keep=False)
            raise
        shop.ledger.save_job(step.job, owner=shop.me, keep=False)
        if moved:
            self._looks.pop(job.id, None)
        else:
            self._look_later(step.job)
        return moved

    def _look_later(self, job: BatchJob) -> None:
        _, pause_s = self._looks.get(job.id, (0.0, 0.0))
        # Only the provider takes hours, to do a job or to take it; what is waited for here is over soon.
        last_s = _LAST_LOOK_S if job.state in (JobState.RUNNING, JobState.UPLOADED) else _FIRST_LOOK_S
        pause_s = min(last_s, pause_s * 1.5 or _FIRST_LOOK_S / 5)
        self._looks[job.id] = (self.workshop.clock.monotonic() + pause_s, pause_s)

    def _is_attended(self, job: BatchJob) -> bool:
        """Whether another worker lives where the cache of a job is, and may bring it on."""
        host, shop = job.vault.partition(":")[0], self.workshop
        others = [one for one in shop.ledger.clients(shop.alias) if one.id != shop.me and one.lease_left_s > 0]
        return job.age_s < _ATTENDED_S and any(one.host == host and one.role in WORKING_ROLES for one in others)
