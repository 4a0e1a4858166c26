"""Keeps the pieces that this process has in hand while a model takes its time, so that nobody else pays for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from undrift.domain.checkpoint import Chunk
from undrift.domain.client import ClientId
from undrift.domain.route import AliasName
from undrift.domain.timing import LEASE_SAFETY, Timing
from undrift.errors import LeaseLost, UndriftError
from undrift.ports.backfill import BackfillLedger
from undrift.ports.runtime import Clock

#: A worker that makes no call of a model or a store for so long hangs, and its piece is left to others. In seconds.
HANGS_S = 900.0


class Grip:
    """One piece in hand; the heartbeat prolongs its lease, the worker asks whether it still has it."""

    def __init__(self, keeper: Keeper, alias: AliasName, chunk: Chunk, owner: ClientId) -> None:
        """Hold a piece that was leased at this very moment."""
        self._ledger = keeper.ledger
        self._clock = keeper.clock
        self._lease_s = keeper.lease_s
        self._alias = alias
        self._chunk = chunk
        self._owner = owner
        self._is_taken = False
        self._seen = self._clock.monotonic()
        self._counts_from(self._seen)

    def require(self) -> None:
        """Pass while the piece is still this worker's, and show a sign of life.

        Raises:
            LeaseLost: another worker has it or may take it, who would pay for the same texts.
        """
        self._seen = self._clock.monotonic()
        if self._is_taken or self._seen > self._until:
            raise LeaseLost(
                f"chunk {self._chunk.number} of {self._alias} took longer than its lease",
                hint=f"undrift status {self._alias}",
            )

    def prolong(self) -> None:
        """Prolong the lease when a third of it is over, unless the worker hangs."""
        now = self._clock.monotonic()
        if self._is_taken or now < self._due or now > self._seen + HANGS_S:
            return
        # A ledger that does not answer lets the lease lapse; the worker sees it before its next request.
        with suppress(UndriftError):
            if self._ledger.prolong_chunk(self._alias, self._chunk, owner=self._owner, lease_s=self._lease_s):
                self._counts_from(now)
            else:
                self._is_taken = True

    def _counts_from(self, moment: float) -> None:
        self._until = moment + self._lease_s * LEASE_SAFETY
        self._due = moment + self._lease_s / 3


class Keeper:
    """Every piece that this process has in hand; its heart beats for all of them."""

    def __init__(self, ledger: BackfillLedger, clock: Clock, timing: Timing) -> None:
        """Begin with empty hands."""
        self.ledger = ledger
        self.clock = clock
        self.lease_s = timing.work_lease_s
        self._grips: set[Grip] = set()

    @contextmanager
    def holding(self, alias: AliasName, chunk: Chunk, owner: ClientId) -> Iterator[Grip]:
        """Keep a piece that was leased just now, until nothing more is embedded for it."""
        grip = Grip(self, alias, chunk, owner)
        self._grips.add(grip)
        try:
            yield grip
        finally:
            self._grips.discard(grip)

    def beat(self) -> None:
        """Prolong what is due; called at every heartbeat, so a process that is stopped keeps nothing."""
        for grip in list(self._grips):
            grip.prolong()
