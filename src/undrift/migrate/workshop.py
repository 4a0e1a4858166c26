"""What a worker has at hand: the ledger, the stores and models behind the fields, time, and who it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from undrift.domain.client import ClientId
from undrift.domain.hook import Moment
from undrift.domain.migration import AliasState, Migration, fields_of
from undrift.domain.order import Order
from undrift.domain.route import AliasName, VectorField
from undrift.domain.space import Space, SpaceId
from undrift.domain.timing import LEASE_SAFETY, Timing
from undrift.domain.tuning import Limits
from undrift.errors import LeaseLost, NoMigration, SpaceMismatch, UnknownAlias
from undrift.flow.batch import BatchDoor
from undrift.flow.embed import EmbeddingDoor
from undrift.flow.oversight import UNSEEN, Oversight
from undrift.migrate.keeping import Keeper
from undrift.ports.hook import Hook
from undrift.ports.ledger import Ledger
from undrift.ports.runtime import Clock, Processes
from undrift.ports.source import DocumentSource
from undrift.ports.store import VectorStore


class LastLook(threading.local):
    """What a request still has to pass after whatever else is asked before it; for each thread its own."""

    def __init__(self) -> None:
        """Let everything pass."""
        self._check: Callable[[], None] = _pass

    @contextmanager
    def set(self, check: Callable[[], None]) -> Iterator[None]:
        """Let requests of this thread pass a check for a while."""
        before, self._check = self._check, check
        try:
            yield
        finally:
            self._check = before

    def look(self) -> None:
        """Pass the check."""
        self._check()


def _pass() -> None:
    """Let it pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """The means with which one process works on the migration of one alias.

    Attributes:
        alias: the alias.
        me: this process's name in the ledger.
        ledger: the durable memory.
        store_of: the store behind a field.
        door_of: the proven model behind a space.
        source: where texts come from.
        clock: the source of time.
        timing: how long leases last.
        horizon_of: the fence horizon D of a field's store: no request lands in it later than this after its deadline.
        processes: tells which other processes are dead for certain.
        beat: prolongs this process's lease, and acknowledges for it what it may.
        keeper: prolongs the leases of the pieces that this process has in hand.
        limits: how hard workers may work, before an operator changes it.
        objection: asks the user's own system what it has against the work; empty if nothing.
        hooks: the user's own programs, by the moment at which they are called.
        hook_timeout_s: how long one of them may take.
        held_back: names what keeps every worker of this configuration from working, such as a file; empty if nothing.
        oversight: asked before each call of a model; raises `WorkStopped` when the work may not go on.
        urgent: the same means for what writers wait for, where that is allowed more.
        batches_of: the batch API behind a space's model, unproven; None where it has none.
        order: which documents of a back-fill come first.
        always_reconcile: whether a cutover wants two scans for writes past undrift, also when nobody is suspected.
    """

    alias: AliasName
    me: ClientId
    ledger: Ledger
    store_of: Callable[[VectorField], VectorStore]
    door_of: Callable[[SpaceId], EmbeddingDoor]
    source: DocumentSource
    clock: Clock
    timing: Timing
    horizon_of: Callable[[VectorField], float]
    processes: Processes
    keeper: Keeper
    always_reconcile: bool = False
    batches_of: Callable[[SpaceId], BatchDoor | None] = field(default=lambda _: None)
    beat: Callable[[], None] = field(default=lambda: None)
    limits: Limits = field(default_factory=Limits)
    order: Order = field(default_factory=Order)
    objection: Callable[[], str] = field(default=lambda: "")
    hooks: Mapping[Moment, Sequence[Hook]] = field(default_factory=dict)
    hook_timeout_s: float = 60.0
    held_back: Callable[[], str] = field(default=lambda: "")
    oversight: Oversight = UNSEEN
    urgent: Workshop | None = None
    last_look: LastLook = field(default_factory=LastLook)

    @property
    def for_writers(self) -> Workshop:
        """The means for what writers wait for, which a pause does not keep waiting."""
        return self.urgent or self

    def state(self) -> AliasState:
        """Read what the alias and its migration are now."""
        found = self.ledger.alias(self.alias)
        if found is None:
            raise UnknownAlias(f"the ledger knows no alias {self.alias}", hint="undrift alias list")
        return found

    @property
    def settle_s(self) -> float:
        """The fence horizon D of all that is under way for this alias: the longest of its stores'.

        Read anew each time: the migration that a worker waits for may lead to a slower store.
        """
        return max(map(self.horizon_of, fields_of(self.state())))

    def space_of(self, id: SpaceId) -> Space:
        """Return a space as it was recorded, without asking its model for anything.

        Raises:
            SpaceMismatch: the ledger has no such space.
        """
        known = self.ledger.space(id)
        if known is None:
            raise SpaceMismatch(f"the ledger has no space {id}", hint="undrift doctor")
        return known.space

    def migration(self) -> Migration:
        """Read the running migration.

        Raises:
            NoMigration: there is none.
        """
        found = self.state().migration
        if found is None or found.is_final:
            raise NoMigration(
                f"alias {self.alias} has no running migration", hint=f"undrift plan {self.alias} --to MODEL"
            )
        return found

    def bury_the_dead(self) -> None:
        """End the leases of clients whose process is gone, where nothing of it can land any more.

        Elsewhere their leases and the fence horizon have to pass: a request of theirs may be on its way.
        """
        fields = fields_of(self.state())
        if not all(self.store_of(field).capabilities.requests_die_with_process for field in fields):
            return
        for client in self.ledger.clients(self.alias):
            if client.id != self.me and self.processes.is_gone(client.process):
                self.ledger.bury(client.id)

    def lease_end(self) -> float:
        """Return until when, on this process's clock, a piece of work that is taken now may be written."""
        return self.clock.monotonic() + self.timing.work_lease_s * LEASE_SAFETY

    @contextmanager
    def under_lease(self, until: float, work: str) -> Iterator[None]:
        """Let requests leave while a piece of work is still this worker's; looked at when nothing else comes before.

        Raises:
            LeaseLost: as `require_lease`.
        """
        self.require_lease(until, work)
        with self.last_look.set(lambda: self.require_lease(until, work)):
            yield

    def require_lease(self, until: float, work: str) -> None:
        """Pass while a piece of work is still this worker's; asked before each request that writes it.

        Raises:
            LeaseLost: its time is over, and others count on nothing of it being sent any more.
        """
        if self.clock.monotonic() > until:
            raise LeaseLost(f"{work} took longer than its lease", hint=f"undrift status {self.alias}")
