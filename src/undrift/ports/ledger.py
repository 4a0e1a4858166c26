"""The durable memory of the control plane, as short serialisable operations.

Each method is one transaction. The rules named in capitals are those of the protocol (docs/explanation/protocol.md);
the model in tests/model shows that none of them can be left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from undrift.domain.checkpoint import Claim, Lag, Quarantined
from undrift.domain.client import ClientId, ClientInfo
from undrift.domain.migration import AliasState, Migration, MigrationId, Phase, RunStatus
from undrift.domain.operation import OpenResult, OperationId
from undrift.domain.record import DocumentId
from undrift.domain.route import AliasName, FieldKey, Mode, Route, VectorField
from undrift.domain.space import ProvenSpace, SpaceId
from undrift.ports.backfill import BackfillLedger
from undrift.ports.batch import BatchLedger
from undrift.ports.memory import MemoryLedger
from undrift.ports.notes import NotesLedger
from undrift.ports.proof import ProofLedger
from undrift.ports.spending import PaceLedger, SpendingLedger
from undrift.ports.tags import TagLedger


class Ledger(
    BackfillLedger,
    ProofLedger,
    NotesLedger,
    TagLedger,
    SpendingLedger,
    PaceLedger,
    BatchLedger,
    MemoryLedger,
    Protocol,
):
    """The control schema. Every method raises `ControlUnavailable` when the ledger cannot be read or written."""

    def transaction_with(self, store: object) -> AbstractContextManager[None] | None:
        """Return a context in which calls of this ledger and that store are one transaction; None if that cannot be.

        Leaving it by an exception undoes both.

        Raises:
            TransactionUndone: within it or at its end: it gave way to another one, and can be begun again.
            OutcomeUnknown: at its end: whether both are committed is not known.
        """
        ...

    # Spaces

    def record_space(self, proven: ProvenSpace) -> ProvenSpace:
        """Keep a space with its probe vectors and return what is kept; one that is there already stays as it is."""
        ...

    def space(self, id: SpaceId) -> ProvenSpace | None:
        """Return a recorded space."""
        ...

    def spaces(self) -> list[ProvenSpace]:
        """Return every recorded space."""
        ...

    # Aliases

    def create_alias(self, name: AliasName, serving: VectorField, *, model: str, mirror: str) -> Route:
        """Record an alias in passive mode at epoch 1.

        Raises:
            AlreadyExists: there is such an alias.
        """
        ...

    def alias(self, name: AliasName) -> AliasState | None:
        """Return everything about an alias, or None."""
        ...

    def aliases(self) -> list[AliasName]:
        """Return the names of all aliases, sorted."""
        ...

    def route(self, name: AliasName) -> Route | None:
        """Return what an alias means now; the cheapest read there is."""
        ...

    # Clients and their leases

    def register_client(
        self, id: ClientId, *, host: str, pid: int, role: str, version: str, lease_s: float, process: str = ""
    ) -> None:
        """Begin a lease for a process, named as in `ports.runtime.Processes`; a repeated call renews it."""
        ...

    def join(self, client: ClientId, alias: AliasName) -> Route | None:
        """Record that a client uses an alias and has acknowledged the epoch that is returned with the route.

        Only the first call acknowledges: what a client that is counted on began before may still be going on.
        """
        ...

    def renew(self, client: ClientId, acknowledged: Mapping[AliasName, int], lease_s: float) -> bool:
        """Prolong a lease and acknowledge epochs; False when the client was forgotten and has to begin again."""
        ...

    def leave(self, client: ClientId) -> None:
        """End a lease; every operation of the client must be over."""
        ...

    def bury(self, client: ClientId) -> None:
        """End everything of a client that is dead for certain and has no request in flight.

        Its lease, pieces, claims and open writes are over as if the fence horizon had passed.
        """
        ...

    def clients(self, alias: AliasName) -> list[ClientInfo]:
        """Return the clients that use an alias."""
        ...

    def unacknowledged(self, alias: AliasName, epoch: int, settle_s: float) -> list[ClientInfo]:
        """Return the clients that may still act on an older epoch: not acknowledged, and lease + settle_s not over."""
        ...

    # The bracket around a write

    def open(self, alias: AliasName, keys: Sequence[DocumentId], *, client: ClientId, deadline_s: float) -> OpenResult:
        """Begin a write operation. Durable before it returns.

        MARK BEFORE WRITE: its keys are dirty, with the serving field as their source, before the store is asked.
        FOREIGN SOURCE WAITS: nothing is opened while a key is dirty from the other field.
        """
        ...

    def close(self, alias: AliasName, operation: OperationId, keys: Sequence[DocumentId]) -> bool:
        """End a write operation; True when it may be acknowledged.

        CLOSE BUMPS SEQ. CLOSE CHECKS REAPED: False when it had been reaped; its keys are dirty again, and the caller
        must not acknowledge.
        """
        ...

    def reap(self, alias: AliasName, settle_s: float) -> int:
        """Close operations whose deadline and the fence horizon are over (REAP WAITS D); return how many."""
        ...

    # Carrying dirty documents over

    def claim(
        self,
        alias: AliasName,
        *,
        owner: ClientId,
        limit: int,
        lease_s: float,
        settle_s: float,
        only: Sequence[DocumentId] | None = None,
    ) -> list[Claim]:
        """Take dirty documents to carry over, the foreign ones first, then the oldest.

        SYNC DEFERS PUBLISH: none in the range of a piece that is being published. TAKEOVER WAITS D for claims that
        ended. `only` restricts the choice to these keys.
        """
        ...

    def clear(self, alias: AliasName, claims: Sequence[Claim], *, owner: ClientId) -> int:
        """Give claims back after the follower was made equal; return how many documents are clean now.

        CLEAR NEEDS SAME SEQ and CLEAR NEEDS NO OPEN: the others stay dirty and will be carried again.
        """
        ...

    def postpone(
        self, alias: AliasName, claims: Sequence[Claim], *, owner: ClientId, delay_s: float, error: str
    ) -> None:
        """Give claims back undone, to be tried again after a delay."""
        ...

    def mark(self, alias: AliasName, keys: Sequence[DocumentId], *, source: FieldKey | None = None) -> None:
        """Make documents dirty, to heal a difference; dirty ones stay as they are.

        Their truth is in the serving field, or in `source` if it is named: writes to them wait until they are carried.
        """
        ...

    def journal_state(self, alias: AliasName, keys: Iterable[DocumentId]) -> dict[DocumentId, tuple[bool, int]]:
        """Return for each touched key whether it is dirty, and its sequence."""
        ...

    def touched(self, alias: AliasName, *, after: int) -> int:
        """Return how many documents were touched since the journal gave out a number."""
        ...

    def require_reconcile(self, alias: AliasName, reason: str, *, sequence: int) -> None:
        """Close the cutover's gate until `reconciled`, and continue the journal's numbers after `sequence` at least."""
        ...

    def reconciled(self, alias: AliasName) -> None:
        """Record that both fields were compared whole and are equal."""
        ...

    def lag(self, alias: AliasName) -> Lag:
        """Return how far the follower is behind."""
        ...

    def in_flight(self, alias: AliasName, settle_s: float) -> int:
        """Return how many pieces and claims may still have a write to the follower in flight."""
        ...

    # Quarantine

    def quarantine(self, alias: AliasName, reasons: Mapping[DocumentId, tuple[str, str]]) -> None:
        """Set documents aside with a reason and its detail; a repeated call keeps the first time."""
        ...

    def release(self, alias: AliasName, keys: Sequence[DocumentId]) -> None:
        """Let documents out of quarantine, because they were carried over or are gone."""
        ...

    def quarantined(
        self, alias: AliasName, *, limit: int = 1000, only: Sequence[DocumentId] | None = None
    ) -> list[Quarantined]:
        """Return documents in quarantine, by id; `only` restricts the choice to these keys."""
        ...

    def quarantined_count(self, alias: AliasName) -> int:
        """Return how many documents are in quarantine."""
        ...

    # Migrations

    def register_migration(self, migration: Migration, *, who: str) -> None:
        """Record a new migration and empty the journal of the last one.

        Raises:
            StaleRoute: the alias has another migration, operations that are still open, or another serving field.
        """
        ...

    def coordinate(self, migration: MigrationId, *, owner: ClientId, lease_s: float) -> bool:
        """Take or prolong the coordinator's lease; False while another process has it."""
        ...

    def yield_coordination(self, migration: MigrationId, *, owner: ClientId) -> None:
        """Give the coordinator's lease back."""
        ...

    def save_phase(self, migration: Migration, *, was: Phase, who: str, detail: str = "") -> None:
        """Record a phase that does not change the route.

        Raises:
            StaleRoute: the migration is not in phase `was` any more.
        """
        ...

    def save_run_status(
        self, migration: MigrationId, status: RunStatus, *, reason: str, who: str, was: RunStatus | None = None
    ) -> bool:
        """Record whether the migration's workers work; False when that is recorded already.

        With `was`, nothing changes unless they were in that status until now: so a worker overrules no operator.
        """
        ...

    # Changes of the route; called by migrate.steps and by nobody else

    def change_mode(self, route: Route, mode: Mode, *, migration: Migration, was: Phase, who: str) -> Route:
        """Make writers journal, or stop it, with the migration's new phase; the epoch grows by one.

        Args:
            route: what the alias meant when it was decided; only this may be changed.
            mode: `JOURNAL` makes the migration's target follow, `PASSIVE` leaves the serving field alone.
            migration: the migration in its new phase.
            was: the phase it must still be in.
            who: for the history.

        Raises:
            StaleRoute: the alias has another epoch than `route`, or the migration is not in phase `was`.
        """
        ...

    def hold(self, route: Route, seconds: float) -> None:
        """Make every `open` answer `Held` for at most this long; 0 ends it. Anybody may let it pass: it ends by itself.

        Raises:
            StaleRoute: as `change_mode`.
        """
        ...

    def flip(
        self,
        route: Route,
        *,
        migration: Migration,
        was: Phase,
        who: str,
        max_dirty: int | None,
        max_quarantined: int | None,
    ) -> Route:
        """Swap serving and follower, with the migration's new phase; the epoch grows by one, and a hold ends.

        Args:
            route: as `change_mode`.
            migration: the migration in its new phase.
            was: the phase it must still be in.
            who: for the history.
            max_dirty: most dirty documents there may be at that very moment; None for any number.
            max_quarantined: most documents there may be in quarantine; None for any number.

        Raises:
            StaleRoute: as `change_mode`.
            GateFailed: there are more dirty documents or more in quarantine; nothing has changed.
        """
        ...

    # Evidence and memory

    def save_golden(self, name: str, content: Mapping[str, Any]) -> None:
        """Keep a golden set; one of that name is replaced."""
        ...

    def golden(self, name: str) -> dict[str, Any] | None:
        """Return a golden set."""
        ...

    def golden_names(self) -> list[str]:
        """Return the names of the golden sets, sorted."""
        ...

    def close_ledger(self) -> None:
        """Let go of connections; a later call opens them again."""
        ...
