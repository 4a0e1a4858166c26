"""The steps of one batch job: each is recorded before it is taken, and what became of it after.

Whoever is killed between any two leaves a job that the next worker goes on with: what is not known of it is asked for
at the provider, under the name that was sent along. So nothing is paid for twice, and nothing is billed unseen.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from undrift.domain.batch import (
    BatchJob,
    JobState,
    Remote,
    RemoteJob,
    file_prefix,
    is_queue_full,
    told_queue_tokens,
)
from undrift.domain.timing import LEASE_SAFETY
from undrift.errors import EmbedderRejected, EmbedderUnavailable, LeaseLost
from undrift.flow.batch import BatchDoor
from undrift.migrate.packing import texts_of
from undrift.migrate.workshop import Workshop

#: A step may take so long: a file of 200 megabytes goes over the line in one of them. In seconds.
STEP_LEASE_S = 900.0
#: So long after it was asked for, a job is in the provider's list if there is one. In seconds.
CERTAIN_S = 120.0
#: Jobs that a worker brings before it has carried over what they brought.
_BROUGHT_AT_ONCE = 2
#: Of so many jobs that fell short the rest is put into another one; then it is embedded online.
_TRIES = 3
#: Who does not say whether a queue has no room, or is asked too often, is asked again for so long. In seconds.
_QUEUE_PATIENCE_S = 1800.0
#: The provider's list is read back so far before a job was recorded: its clock may be another. In seconds.
_CLOCKS_S = 3600.0


class JobStep:
    """What one worker does with a job while it has the lease.

    Attributes:
        job: the job as the ledger has it.
    """

    def __init__(self, shop: Workshop, door: BatchDoor, job: BatchJob, *, waits: Callable[[str], None]) -> None:
        """Begin the step of a job that was leased just now."""
        self.job = job
        self._shop = shop
        self._door = door
        self._waits = waits
        self._until = shop.clock.monotonic() + STEP_LEASE_S * LEASE_SAFETY

    def take(self) -> bool:
        """Bring the job a step on; False when it is as it was."""
        match self.job.state:
            case JobState.PREPARED:
                return self._upload()
            case JobState.UPLOADED:
                return self._create()
            case JobState.CREATING:
                return self._find()
            case JobState.RUNNING:
                return self._look()
            case JobState.ENDED:
                return self._bring()
            case JobState.BROUGHT:
                return self._finish()
            case JobState.DONE:
                return False

    def call_off(self) -> bool:
        """Bring a job that nobody wants any more a step to its end; False when it is as it was."""
        match self.job.state:
            case JobState.PREPARED | JobState.UPLOADED:
                return self._give_up("called off before it was begun")
            case JobState.CREATING:
                if (found := self._there()) or self.job.age_s < CERTAIN_S:
                    return bool(found) and self._runs(found[0])
                return self._give_up("called off before it was begun")
            case JobState.RUNNING:
                remote = self._door.service.show(self.job.batch)
                if not remote.is_over and remote.status is not Remote.CANCELLING:
                    self._door.service.cancel(remote.id)
                    remote = self._door.service.show(self.job.batch)
                self._note(remote)
                if not remote.is_over:
                    return False
                self._one_only(remote)
                self._save(state=JobState.ENDED, reason="called off")
                return True
            case _:
                return self._clean_up()

    def _upload(self) -> bool:
        path = self._door.spool.path(self.job.id) if self.job.vault == self._door.spool.vault else None
        if path is None:
            # Nothing has been begun, so nothing is billed: its pieces go into another job.
            return self._give_up("its file is gone")
        files = self._door.service.files(file_prefix(self.job.id))
        there = next((file for file, name in files.items() if name == self.job.file_name), None)
        file = there or self._door.service.upload(self.job.file_name, path)
        self._save(state=JobState.UPLOADED, file=file)
        return True

    def _create(self) -> bool:
        self._save(state=JobState.CREATING)
        if self._shop.clock.monotonic() > self._until:
            raise LeaseLost(f"batch job {self.job.id} took longer than its lease")
        try:
            remote = self._door.service.create(self.job.file, self.job.id)
        except EmbedderUnavailable as error:
            words = f"{error.message}: {error.detail}"
            if not is_queue_full(words):
                raise
            return self._queue_may_be_full(words)
        except EmbedderRejected as error:
            words = f"{error.message}: {error.detail}"
            if is_queue_full(words):
                return self._queue_is_full(words)
            if self._is_file_gone():
                self._save(state=JobState.PREPARED, file="")
                return True
            self._save(state=JobState.UPLOADED, reason=words)
            raise
        return self._runs(remote)

    def _find(self) -> bool:
        found = self._there()
        if found:
            return self._runs(found[0])
        if self.job.age_s < CERTAIN_S:
            self._waits(f"the provider's list, which may not yet have batch job {self.job.id}")
            return False
        # It is not there, and will not be: it can be asked for again.
        self._save(state=JobState.UPLOADED)
        return True

    def _look(self) -> bool:
        remote = self._door.service.show(self.job.batch)
        self._note(remote)
        if not remote.is_over:
            return False
        self._one_only(remote)
        if remote.status is Remote.FAILED:
            if is_queue_full(remote.problem):
                return self._queue_is_full(remote.problem)
            self._give_up(remote.problem)
            raise _refused(self.job)
        self._save(state=JobState.ENDED)
        return True

    def _bring(self) -> bool:
        jobs = self._shop.ledger.jobs(self._shop.alias)
        here = [job for job in jobs if job.state is JobState.BROUGHT and job.vault == self._door.spool.vault]
        if len(here) >= _BROUGHT_AT_ONCE:
            return False
        brought = self._door.bring(self.job, self._shop.oversight.admit)
        if not self.job.is_billed and brought.tokens:
            self.job = replace(self.job, tokens=brought.tokens, is_billed=True)
        if brought.failed and not brought.kept and self.job.items > 1:
            # What refuses every text of a job would refuse them online as well, or take the full price for them.
            self._give_up("; ".join(brought.problems))
            raise _refused(self.job)
        missing = self.job.items - brought.kept - brought.failed
        told = f"{missing} of its texts have no answer" if missing > 0 else self.job.reason
        done = replace(
            self.job,
            state=JobState.BROUGHT,
            vault=self._door.spool.vault,
            completed=brought.kept,
            failed=brought.failed,
            reason="; ".join(brought.problems) or told,
        )
        others = sum(_fell_short(job) for job in jobs if job.id != done.id)
        without = self._unfinished() if _fell_short(done) and others + 1 < _TRIES else []
        self._shop.ledger.save_job(done, owner=self._shop.me, without=without)
        self.job = done
        return True

    def _unfinished(self) -> list[int]:
        """Return the pieces with texts that the job could not do in its time."""
        migration = self._shop.migration()
        pieces = self._shop.ledger.pieces_of(self.job.id)
        return [piece.number for piece in pieces if self._door.missing(texts_of(self._shop, migration, piece))]

    def _finish(self) -> bool:
        if self.job.vault != self._door.spool.vault:
            # Who has its vectors is gone: they are read once more, which costs nothing.
            self._save(state=JobState.ENDED)
            return True
        if not all(self._shop.ledger.pieces_of(self.job.id).values()):
            return False
        spool = self._door.spool
        used, sent = spool.noted(self.job.id, "used"), spool.noted(self.job.id, "sent")
        others = [job.id for job in self._shop.ledger.jobs(self._shop.alias) if job.is_open and job.id != self.job.id]
        wanted = set().union(*(spool.noted(other, "needed") for other in others))
        unused = self._door.kept(sent - used - wanted)
        if self.job.unused is None:
            self._save(unused=unused)
        return self._clean_up()

    # What becomes of it

    def _there(self) -> list[RemoteJob]:
        since = self.job.created.timestamp() - _CLOCKS_S
        return self._door.service.find(self.job.id, since=since)

    def _is_file_gone(self) -> bool:
        """Whether a job's file is not at the provider any more: some keep it for two days only."""
        with suppress(EmbedderUnavailable, EmbedderRejected):
            return self.job.file not in self._door.service.files(file_prefix(self.job.id))
        return False

    def _one_only(self, kept: RemoteJob) -> None:
        """Call off what was begun a second time: an answer may have come later than anybody waits."""
        for other in self._there():
            if other.id != kept.id and not other.is_over:
                self._door.service.cancel(other.id)

    def _runs(self, remote: RemoteJob) -> bool:
        status, expires = remote.status.value, remote.expires
        self._save(state=JobState.RUNNING, batch=remote.id, status=status, expires=expires, reason="")
        return True

    def _note(self, remote: RemoteJob) -> None:
        """Take over what the provider says."""
        # Where nothing was answered, nothing is billed, whether or not the provider says so.
        billed = remote.is_over and (remote.tokens is not None or not remote.completed)
        self.job = replace(
            self.job,
            status=remote.status.value,
            completed=remote.completed,
            failed=remote.failed,
            results=remote.results,
            expires=remote.expires or self.job.expires,
            is_billed=billed,
            tokens=remote.tokens or 0 if billed else self.job.tokens,
            reason=remote.problem or self.job.reason,
        )

    def _queue_may_be_full(self, problem: str) -> bool:
        """Wait where the same words may mean a pace; after that, and with nothing of ours in the queue, it is full."""
        waited_s = (self._shop.clock.now() - self.job.created).total_seconds()
        jobs = self._shop.ledger.jobs(self._shop.alias)
        if waited_s >= _QUEUE_PATIENCE_S and all(job.state is not JobState.RUNNING for job in jobs):
            return self._queue_is_full(problem)
        self._save(state=JobState.UPLOADED, reason=problem)
        self._waits(f"the provider, which takes no more batch jobs at the moment, for batch job {self.job.id}")
        return False

    def _queue_is_full(self, problem: str) -> bool:
        limit = told_queue_tokens(problem)
        if limit is None:
            limit = max(1, self.job.queued // 2)
        self.job = replace(self.job, queue_tokens=limit)
        return self._give_up(problem)

    def _give_up(self, reason: str) -> bool:
        """End a job that has brought nothing; its pieces may go into another one."""
        self.job = replace(self.job, reason=reason, tokens=0)
        return self._clean_up(without=[piece.number for piece in self._shop.ledger.pieces_of(self.job.id)])

    def _clean_up(self, without: list[int] | None = None) -> bool:
        """Delete the files of a job, and let it be done; what cannot be deleted goes by itself, weeks later."""
        service = self._door.service
        with suppress(EmbedderUnavailable, EmbedderRejected):
            mine = service.files(file_prefix(self.job.id))
            for file in dict.fromkeys([*mine, *self.job.results]):
                service.remove(file)
        # Before it is done: nobody looks at what is left of a job afterwards.
        self._door.spool.remove(self.job.id)
        done = replace(self.job, state=JobState.DONE)
        self._shop.ledger.save_job(done, owner=self._shop.me, without=without or ())
        self.job = done
        return True

    def _save(self, **changes: Any) -> None:
        changed = replace(self.job, **changes)
        self._shop.ledger.save_job(changed, owner=self._shop.me)
        self.job = changed


def _fell_short(job: BatchJob) -> bool:
    """Whether a job's time was up before all of its texts had answers, or its answers are gone."""
    if job.status in (Remote.EXPIRED.value, Remote.CANCELLED.value):
        return True
    is_read = job.status == Remote.COMPLETED.value and job.state in (JobState.BROUGHT, JobState.DONE)
    return is_read and job.completed + job.failed < job.items


def _refused(job: BatchJob) -> EmbedderRejected:
    return EmbedderRejected(
        f"the provider refused batch job {job.batch} of {job.alias}",
        job.reason,
        f"undrift tune {job.alias} batch=false, then undrift resume {job.alias}",
    )
