"""Make the other field equal by reading the field that holds the truth, document by document; no write is replayed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from undrift.domain.checkpoint import Claim
from undrift.domain.migration import SYNCING
from undrift.domain.record import DocumentId, Entry, Record
from undrift.domain.route import FieldKey, VectorField
from undrift.domain.wording import are, plural
from undrift.errors import LeaseLost, MirrorTimeout, StoreRejected, UndriftError, WorkStopped
from undrift.migrate.carry import make_records, read_truth, write_all
from undrift.migrate.compare import is_ours
from undrift.migrate.placing import placing
from undrift.migrate.reconcile import suspect
from undrift.migrate.workshop import Workshop
from undrift.ports.store import VectorStore

#: Documents carried over in one go.
BATCH = 64
#: Looks at what is awaited, this often.
_POLL_S = 0.05
#: How often the wait before the next try of a failed document is doubled.
MAX_DOUBLINGS = 6


class _Sending:
    """Sends writes to the other field under a lease, and knows whether one may still be under way."""

    def __init__(self, workshop: Workshop, until: float, work: str) -> None:
        """Count on the lease until a moment of this process's clock."""
        self._workshop = workshop
        self._until = until
        self._work = work
        self.unanswered = False

    def send(self, store: VectorStore, write: Callable[[], None]) -> None:
        """Write, if the lease lasts.

        Raises:
            LeaseLost: it does not.
        """
        with self._workshop.under_lease(self._until, self._work):
            # A store inside this process has ended what it was asked for when it answers, with whatever error.
            self.unanswered = not store.capabilities.requests_die_with_process
            try:
                write()
            except (StoreRejected, WorkStopped, LeaseLost):
                self.unanswered = False
                raise
            self.unanswered = False


def carry_dirty(workshop: Workshop, *, limit: int = BATCH, only: Sequence[DocumentId] | None = None) -> int:
    """Carry dirty documents to the field that does not hold their truth; return how many were tried.

    Raises:
        UndriftError: the first failure of a store or a model; its documents stay dirty and are tried again later.
    """
    ledger = workshop.ledger
    until = workshop.lease_end()
    claims = ledger.claim(
        workshop.alias,
        owner=workshop.me,
        limit=limit,
        lease_s=workshop.timing.work_lease_s,
        settle_s=workshop.settle_s,
        only=only,
    )
    if not claims:
        return 0
    # Foreign ones come first, and what keeps the others from being carried keeps them not: writers wait for them.
    batches: dict[FieldKey, list[Claim]] = {}
    for claim in claims:
        batches.setdefault(claim.source, []).append(claim)
    failures = []
    serving = workshop.state().route.serving.key
    for source, batch in batches.items():
        sending = _Sending(workshop, until, f"carrying {len(batch)} documents of {workshop.alias}")
        try:
            # Writers wait for documents whose truth is in the other field, whether the work is paused or not.
            _carry(workshop if source == serving else workshop.for_writers, source, batch, sending)
            ledger.clear(workshop.alias, batch, owner=workshop.me)
        except UndriftError as error:
            failures.append(error)
            # While a write may still land, the claim is kept: nobody may write over these documents before.
            if not sending.unanswered:
                with suppress(UndriftError):
                    _give_up_for_now(workshop, batch, error)
    if failures:
        raise failures[0]
    return len(claims)


def settle(workshop: Workshop, keys: Sequence[DocumentId], timeout_s: float) -> None:
    """Carry these documents over now, and wait until they are, for writes with `mirror = "inline"`.

    While no worker may carry anything yet, nothing is waited for.

    Raises:
        MirrorTimeout: they were not in time, or cannot be; they are stored and will follow.
    """
    until = workshop.clock.monotonic() + timeout_s
    obstacle: UndriftError | None = None
    waiting: Sequence[DocumentId] = keys
    while True:
        try:
            waiting = _dirty(workshop, keys)
            if not waiting:
                return
            carried = carry_dirty(workshop, only=waiting)
        except UndriftError as error:
            carried, obstacle = 0, error
        if (obstacle and not obstacle.retryable) or workshop.clock.monotonic() > until:
            raise MirrorTimeout(
                f"{plural(len(waiting), 'document')} of {workshop.alias} {are(len(waiting))} stored but not yet "
                "in the other field",
                f"for example {waiting[0]}" + (f"\n{obstacle.message}" if obstacle else ""),
                f"undrift status {workshop.alias}",
            ) from obstacle
        if not carried:
            workshop.clock.sleep(_POLL_S)


def _dirty(workshop: Workshop, keys: Sequence[DocumentId]) -> list[DocumentId]:
    """Return those of some documents that a worker has to carry over."""
    migration = workshop.state().migration
    if migration is None or migration.phase not in SYNCING:
        return []
    return [key for key, (dirty, _) in workshop.ledger.journal_state(workshop.alias, keys).items() if dirty]


def _carry(workshop: Workshop, source: FieldKey, claims: Sequence[Claim], sending: _Sending) -> None:
    state = workshop.state()
    route, migration = state.route, state.migration
    if route.follower is None or migration is None:
        raise LeaseLost(f"the migration of {workshop.alias} is over", hint=f"undrift status {workshop.alias}")
    here, there = (route.serving, route.follower) if source == route.serving.key else (route.follower, route.serving)
    keys = [claim.key for claim in claims]
    store = workshop.store_of(there)
    place = placing(store, there, of=here)
    entries, originals = read_truth(workshop, migration, here, keys)
    have = store.fetch(there, keys)
    made = make_records(workshop, list(entries.values()), there, have=have.values(), originals=originals)
    suspect(workshop, made.untagged, "a worker")
    # In the same records nothing is replaced that a stranger has written: a vector is put beside it.
    if there == migration.source and not there.is_beside(here):
        _tell_what_is_replaced(workshop, there, entries, have)

    def write(batch: Sequence[Record]) -> None:
        sending.send(store, lambda: place.replace(there, batch))

    failures = {**made.failures, **write_all(write, made.records)}
    # A document that cannot be carried must not be left there with an older text.
    gone = [key for key in keys if key not in entries or key in failures]
    if gone:
        sending.send(store, lambda: place.remove(there, gone))
    if failures:
        workshop.ledger.quarantine(workshop.alias, failures)
    workshop.ledger.release(workshop.alias, [key for key in keys if key not in failures])


def _tell_what_is_replaced(
    workshop: Workshop, place: VectorField, entries: Mapping[DocumentId, Entry], have: Mapping[DocumentId, Record]
) -> None:
    """Do not let it happen in silence that a write through undrift replaces one of a stranger in the old field."""
    replaced = []
    for key, record in have.items():
        entry = entries.get(key)
        there = Entry(id=key, text=record.text, metadata=record.metadata, tag=record.tag)
        if not is_ours(there, place) and (entry is None or entry.text != record.text):
            replaced.append(key)
    if replaced and not workshop.state().needs_reconcile:
        reason = f"writes of somebody else to the old field were replaced by later ones, such as that of {replaced[0]}"
        workshop.ledger.require_reconcile(workshop.alias, reason, sequence=0)


def _give_up_for_now(workshop: Workshop, claims: Sequence[Claim], error: UndriftError) -> None:
    if isinstance(error, WorkStopped):
        workshop.ledger.postpone(workshop.alias, claims, owner=workshop.me, delay_s=0.0, error="")
        return
    attempts = max(claim.attempts for claim in claims)
    delay_s = workshop.timing.retry_s * 2 ** min(attempts, MAX_DOUBLINGS)
    workshop.ledger.postpone(workshop.alias, claims, owner=workshop.me, delay_s=delay_s, error=error.message)
