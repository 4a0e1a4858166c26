"""Lets processes of a pool carry the pieces of a back-fill, under the same leases as every worker's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from undrift.domain.client import ClientId
from undrift.domain.migration import Migration, Phase, RunStatus
from undrift.errors import BadConfig, PoolUnavailable, UndriftError
from undrift.migrate.workshop import Workshop
from undrift.ports.pool import Errand, Hand, Job, Pool

#: Name of the note in the ledger by which a worker tells the processes of its pool that it is enough; its name follows.
_NOTE = "@pool."
#: Longest wait before the pool is sent out again after it came back with nothing done, in seconds.
_MAX_PAUSE_S = 30.0


def is_enough(tuning: Mapping[str, str], caller: ClientId) -> bool:
    """Whether the worker that sent a pool out wants no further piece of it."""
    return bool(tuning.get(_NOTE + caller))


def has_moved_on(migration: Migration | None, errand: Errand) -> bool:
    """Whether there is nothing more to do for a pool now; a pause gives its processes back as well."""
    return (
        migration is None
        or migration.id != errand.migration
        or migration.phase is not Phase.BACKFILL
        or migration.run_status is not RunStatus.RUNNING
    )


@dataclass(slots=True, kw_only=True)
class Fleet:
    """A pool at work for one worker, which itself carries what writers touch and brings the migration on.

    Attributes:
        workshop: the worker's means.
        pool: the processes.
        opener: makes a hand in one of them.
        errand_of: what they are told of a migration; refuses what cannot work.
    """

    workshop: Workshop
    pool: Pool
    opener: Callable[[Errand], Hand]
    errand_of: Callable[[Migration], Errand]
    _job: Job | None = None
    _done_before: int = 0
    _pauses: int = 0
    _not_before: float = float("-inf")

    def tend(self, migration: Migration) -> bool:
        """See that the pool is out while there are pieces; whether it has carried any since the last look.

        Raises:
            PoolUnavailable: it cannot be used, or was lost; the next call tries again.
            BadConfig: a process of it cannot do this work.
        """
        if self._job is None:
            self._send_out(migration)
            return False
        # Asked before: what ended it is told afterwards.
        is_over = self._job.is_over
        try:
            outcomes = self._job.told()
        except PoolUnavailable:
            self._job = None
            raise
        for outcome in outcomes:
            if outcome.unfit:
                raise BadConfig(
                    f"a process of the pool on {outcome.host} cannot work on {self.workshop.alias}",
                    outcome.unfit,
                    "every host needs the same undrift, the same configuration at the same place, and the same keys",
                )
        if is_over and not outcomes:
            self._come_back(migration)
        return any(outcome.documents for outcome in outcomes)

    def close(self) -> None:
        """Let the processes finish the pieces they have in hand, and end."""
        job, self._job = self._job, None
        if job is None or job.is_over:
            return
        shop = self.workshop
        note = _NOTE + shop.me
        with suppress(UndriftError):
            shop.ledger.tune(shop.alias, {note: "over"})
        try:
            job.close(shop.timing.work_lease_s + shop.timing.deadline_s)
        finally:
            with suppress(UndriftError):
                shop.ledger.tune(shop.alias, {note: ""})

    def _send_out(self, migration: Migration) -> None:
        shop = self.workshop
        _, done, pieces = shop.ledger.chunk_progress(migration.id)
        if done == pieces or shop.clock.monotonic() < self._not_before:
            return
        self._done_before = done
        self._job = self.pool.begin(self.errand_of(migration), self.opener, pieces - done)

    def _come_back(self, migration: Migration) -> None:
        """Take note that the pool is back; where it did nothing, it is not sent out again at once."""
        self._job = None
        _, done, _ = self.workshop.ledger.chunk_progress(migration.id)
        self._pauses = self._pauses + 1 if done == self._done_before else 0
        if self._pauses:
            wait_s = min(self.workshop.timing.retry_s * 2.0 ** (self._pauses - 1), _MAX_PAUSE_S)
            self._not_before = self.workshop.clock.monotonic() + wait_s
