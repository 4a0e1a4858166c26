"""Compare both fields: ids, hashes, metadata and tags of every document, and the vectors of a sample."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from undrift.domain.gate import Verdict, VerificationReport
from undrift.domain.migration import Phase
from undrift.domain.record import DocumentId, Entry
from undrift.domain.route import Route, VectorField
from undrift.errors import IncarnationMismatch, NoMigration
from undrift.migrate.workshop import Workshop
from undrift.ports.store import Part, VectorStore

#: Documents read of each field at a time.
_PAGE = 2000
#: Documents that are embedded again, by default.
SAMPLE = 1000
#: How often documents that are being written are looked at again before they count as differing.
_ROUNDS = 20
#: Ids shown of each kind of difference.
_SHOWN = 10


@dataclass(slots=True, kw_only=True)
class _Found:
    compared: int = 0
    unverifiable: int = 0
    max_sequence: int = 0
    differing: dict[DocumentId, str] = field(default_factory=dict)
    sample: list[DocumentId] = field(default_factory=list)


def verify(
    workshop: Workshop,
    *,
    sample: int = SAMPLE,
    on_progress: Callable[[int], None] = lambda _: None,
    carry: Callable[[], int] = lambda: 0,
) -> VerificationReport:
    """Compare the serving field with its follower and keep the report.

    A difference counts only when the document was not written meanwhile; the others are looked at again after they were
    carried over. What still differs is marked dirty, so that it heals, except that after a cutover a document which
    only the old field has is never deleted from it: nobody asked for that.

    Args:
        workshop: the means.
        sample: documents to embed again, chosen evenly at random.
        on_progress: told how many documents are compared so far.
        carry: carries some dirty documents over; called while documents are awaited.

    Raises:
        NoMigration: there is no follower to compare with.
        IncarnationMismatch: the ledger is older than the records; the next comparison may go on.
    """
    state = workshop.state()
    route = state.route
    if route.follower is None or state.migration is None:
        raise NoMigration(
            f"alias {workshop.alias} has one field only; there is nothing to compare",
            hint=f"undrift plan {workshop.alias} --to MODEL",
        )
    found = _diff(workshop, route, route.follower, sample=sample, on_progress=on_progress)
    _refuse_older_ledger(workshop, found)
    requeued = _look_again(workshop, route, route.follower, found, carry)
    quarantined = {item.key for item in workshop.ledger.quarantined(workshop.alias, limit=1_000_000)}
    # What could not be carried is where it was: in the serving field, or after a cutover in the one that served before.
    absent = "extra" if state.migration.phase is Phase.REVERSING else "missing"
    explained = [key for key, kind in found.differing.items() if kind in ("missing", absent) and key in quarantined]
    for key in explained:
        del found.differing[key]
    sampled, worst = _embed_again(workshop, route.follower, found.sample)
    healing = [
        key for key, kind in found.differing.items() if kind != "extra" or state.migration.phase is not Phase.REVERSING
    ]
    if healing:
        workshop.ledger.mark(workshop.alias, healing)
    kinds = list(found.differing.values())
    report = VerificationReport(
        compared=found.compared,
        missing=kinds.count("missing"),
        extra=kinds.count("extra"),
        mismatched=len(kinds) - kinds.count("missing") - kinds.count("extra"),
        requeued=requeued,
        explained=len(explained),
        unverifiable=found.unverifiable,
        sampled=sampled,
        sample_min_cosine=worst,
        samples=_samples(found.differing),
        max_sequence=state.sequence,
        epoch=route.epoch,
        finished=workshop.clock.now(),
    )
    workshop.ledger.save_verification(workshop.alias, report)
    if state.needs_reconcile and report.verdict is Verdict.PASS:
        workshop.ledger.reconciled(workshop.alias)
    return report


def _diff(
    workshop: Workshop, route: Route, follower: VectorField, *, sample: int, on_progress: Callable[[int], None]
) -> _Found:
    """Walk both fields side by side in the order of ids, and choose the sample on the way (reservoir sampling)."""
    found = _Found()
    chance = random.Random(route.epoch)
    pairs = _merge(
        _pages(workshop.store_of(route.serving), route.serving), _pages(workshop.store_of(follower), follower)
    )
    for key, left, right in pairs:
        found.compared += 1
        found.max_sequence = max(found.max_sequence, _sequence(left), _sequence(right))
        kind = _difference(left, right, route.serving, follower)
        if kind == "unverifiable":
            found.unverifiable += 1
        elif kind:
            found.differing[key] = kind
        elif len(found.sample) < sample:
            found.sample.append(key)
        else:
            place = chance.randrange(found.compared)
            if place < sample:
                found.sample[place] = key
        if found.compared % _PAGE == 0:
            on_progress(found.compared)
    on_progress(found.compared)
    return found


def _look_again(
    workshop: Workshop, route: Route, follower: VectorField, found: _Found, carry: Callable[[], int]
) -> int:
    """Keep those differences only that stay while nobody writes the document; return how many went away."""
    waiting = dict(found.differing)
    found.differing = {}
    requeued = 0
    for attempt in range(_ROUNDS):
        before = workshop.ledger.journal_state(workshop.alias, waiting)
        kinds = _compare(workshop, route, follower, list(waiting))
        after = workshop.ledger.journal_state(workshop.alias, waiting)
        moving = {}
        for key in waiting:
            kind = kinds.get(key, "")
            if not kind:
                requeued += 1
            elif (before.get(key) != after.get(key) or after.get(key, (False, 0))[0]) and attempt < _ROUNDS - 1:
                moving[key] = kind
            else:
                found.differing[key] = kind
        waiting = moving
        if not waiting:
            break
        if not carry():
            workshop.clock.sleep(0.1)
    return requeued


def _compare(
    workshop: Workshop, route: Route, follower: VectorField, keys: Sequence[DocumentId]
) -> dict[DocumentId, str]:
    left = workshop.store_of(route.serving).entries(route.serving, keys, Part.NONE)
    right = workshop.store_of(follower).entries(follower, keys, Part.NONE)
    return {key: _difference(left.get(key), right.get(key), route.serving, follower) for key in keys}


def _difference(left: Entry | None, right: Entry | None, serving: VectorField, follower: VectorField) -> str:
    """Name the kind of difference between two records of one document; empty when there is none."""
    if left is None:
        return "extra" if right is not None else ""
    if right is None:
        return "missing"
    if left.tag is None or right.tag is None:
        return "unverifiable"
    if left.tag.content != right.tag.content:
        return "stale_text"
    if left.tag.space != serving.space or right.tag.space != follower.space:
        return "wrong_space"
    return "" if left.metadata == right.metadata else "stale_metadata"


def _sequence(entry: Entry | None) -> int:
    return entry.tag.sequence if entry is not None and entry.tag is not None else 0


def _refuse_older_ledger(workshop: Workshop, found: _Found) -> None:
    """Notice a ledger that was restored from a backup: records carry numbers that it never gave out (R38).

    Its marks of what was dirty may be missing, so that only a comparison that begins now tells what differs.
    """
    given_out = workshop.state().sequence
    if found.max_sequence > given_out:
        reason = f"a record carries the sequence {found.max_sequence}, and the ledger gave out {given_out} at most"
        workshop.ledger.require_reconcile(workshop.alias, reason, sequence=found.max_sequence)
        raise IncarnationMismatch(
            f"the ledger is older than the records of {workshop.alias}: it was restored from a backup",
            reason,
            f"undrift verify {workshop.alias}",
        )


def _embed_again(workshop: Workshop, follower: VectorField, keys: Sequence[DocumentId]) -> tuple[int, float | None]:
    """Return how many stored vectors were compared with new ones of the same text, and the worst cosine."""
    store, door = workshop.store_of(follower), workshop.door_of(follower.space)
    spend = partial(workshop.ledger.spend, workshop.migration().id) if door.limits.paid else None
    worst: float | None = None
    sampled = 0
    for start in range(0, len(keys), 256):
        records = list(store.fetch(follower, keys[start : start + 256]).values())
        if not records:
            continue
        stored = np.stack([record.vector for record in records]).astype(np.float64)
        again = door.fresh([record.text for record in records], spend=spend, oversight=workshop.oversight).astype(
            np.float64
        )
        cosines = np.sum(stored * again, axis=1) / (np.linalg.norm(stored, axis=1) * np.linalg.norm(again, axis=1))
        sampled += len(records)
        worst = float(min(cosines.min(), 1.0 if worst is None else worst))
    return sampled, worst


def _pages(store: VectorStore, field: VectorField) -> Iterator[Entry]:
    after = ""
    while True:
        page = store.scan(field, after=after, limit=_PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].id


def _merge(left: Iterator[Entry], right: Iterator[Entry]) -> Iterator[tuple[DocumentId, Entry | None, Entry | None]]:
    """Pair two streams that are ordered by id."""
    here, there = next(left, None), next(right, None)
    while here is not None or there is not None:
        if there is None or (here is not None and here.id < there.id):
            assert here is not None
            yield here.id, here, None
            here = next(left, None)
        elif here is None or there.id < here.id:
            yield there.id, None, there
            there = next(right, None)
        else:
            yield here.id, here, there
            here, there = next(left, None), next(right, None)


def _samples(differing: dict[DocumentId, str]) -> tuple[dict[str, str], ...]:
    shown: list[dict[str, str]] = []
    for kind in ("missing", "extra", "stale_text", "stale_metadata", "wrong_space"):
        shown += [{"kind": kind, "id": key} for key in sorted(k for k, v in differing.items() if v == kind)[:_SHOWN]]
    return tuple(shown)
