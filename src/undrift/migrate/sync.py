"""Make the other field equal, document by document, by reading the field that holds the truth: never by replaying writes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from undrift.domain.checkpoint import Claim
from undrift.domain.record import DocumentId
from undrift.domain.route import FieldKey
from undrift.errors import LeaseLost, MirrorTimeout, UndriftError
from undrift.migrate.carry import make_records, write_all
from undrift.migrate.workshop import Workshop
from undrift.ports.store import Part

#: Documents carried over in one go.
BATCH = 64
#: How often the wait before the next try of a failed document is doubled.
MAX_DOUBLINGS = 6


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
    ordered = sorted(claims, key=lambda claim: claim.source)
    for source, group in groupby(ordered, key=lambda claim: claim.source):
        batch = list(group)
        try:
            _carry(workshop, source, batch, until)
        except UndriftError as error:
            _give_up_for_now(workshop, batch, error)
            raise
        ledger.clear(workshop.alias, batch, owner=workshop.me)
    return len(claims)


def settle(workshop: Workshop, keys: Sequence[DocumentId], timeout_s: float) -> None:
    """Carry these documents over now, and wait until they are, for writes with `mirror = "inline"`.

    Raises:
        MirrorTimeout: they were not in time; they are stored and will follow.
    """
    until = workshop.clock.monotonic() + timeout_s
    while True:
        if workshop.state().route.follower is None:
            return
        waiting = [key for key, (dirty, _) in workshop.ledger.journal_state(workshop.alias, keys).items() if dirty]
        if not waiting:
            return
        if workshop.clock.monotonic() > until:
            raise MirrorTimeout(
                f"{len(waiting)} documents of {workshop.alias} are stored but not yet in the other field",
                f"for example {waiting[0]}",
                f"undrift status {workshop.alias}",
            )
        if not carry_dirty(workshop, only=waiting):
            workshop.clock.sleep(0.05)


def _carry(workshop: Workshop, source: FieldKey, claims: Sequence[Claim], until: float) -> None:
    route = workshop.state().route
    if route.follower is None:
        raise LeaseLost(f"the migration of {workshop.alias} is over", hint=f"undrift status {workshop.alias}")
    here, there = (route.serving, route.follower) if source == route.serving.key else (route.follower, route.serving)
    keys = [claim.key for claim in claims]
    store = workshop.store_of(there)
    entries = workshop.store_of(here).entries(here, keys, Part.TEXT)
    made = make_records(workshop, list(entries.values()), there, have=store.fetch(there, keys).values())
    if workshop.clock.monotonic() > until:
        raise LeaseLost(f"carrying {len(claims)} documents of {workshop.alias} took longer than its lease")
    failures = {**made.failures, **write_all(lambda batch: store.upsert(there, batch), made.records)}
    # A document that cannot be carried must not be left there with an older text.
    gone = [key for key in keys if key not in entries or key in failures]
    if gone:
        store.delete(there, gone)
    if failures:
        workshop.ledger.quarantine(workshop.alias, failures)
    workshop.ledger.release(workshop.alias, [key for key in keys if key not in failures])
    workshop.door_of(there.space).published([record.tag.content for record in made.records])


def _give_up_for_now(workshop: Workshop, claims: Sequence[Claim], error: UndriftError) -> None:
    attempts = max(claim.attempts for claim in claims)
    delay_s = workshop.timing.retry_s * 2 ** min(attempts, MAX_DOUBLINGS)
    workshop.ledger.postpone(workshop.alias, claims, owner=workshop.me, delay_s=delay_s, error=error.message)
