"""Carry over the documents that nobody has touched since writes are journaled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from undrift import telemetry
from undrift.domain.checkpoint import Chunk
from undrift.domain.migration import Migration
from undrift.domain.record import ContentHash, DocumentId, Entry, Record
from undrift.domain.tuning import PIECE
from undrift.errors import LeaseLost, UndriftError
from undrift.migrate.carry import Made, make_records, read_truth, write_all
from undrift.migrate.keeping import Grip
from undrift.migrate.placing import placing
from undrift.migrate.reconcile import suspect
from undrift.migrate.workshop import Workshop
from undrift.ports.store import Part

#: Documents in a piece.
CHUNK_SIZE = PIECE
#: Pieces laid out in one transaction.
_CHUNKS_AT_ONCE = 64


def lay_out(workshop: Workshop, migration: Migration, chunk_size: int = CHUNK_SIZE) -> bool:
    """Divide the next part of the source's ids into pieces; True when all of them are.

    Documents that come later are journaled, so the end is where the source ended when it was reached.
    """
    last = workshop.ledger.last_chunk(migration.id)
    after, number = (last.hi, last.number + 1) if last else ("", 0)
    limit = chunk_size * _CHUNKS_AT_ONCE
    ids = workshop.store_of(migration.source).ids(migration.source, after=after, limit=limit)
    chunks: list[Chunk] = []
    for start in range(0, len(ids), chunk_size):
        piece = ids[start : start + chunk_size]
        chunks.append(Chunk(number=number + len(chunks), lo=after, hi=piece[-1], count=len(piece)))
        after = piece[-1]
    complete = len(ids) < limit
    workshop.ledger.add_chunks(migration.id, chunks, complete=complete)
    return complete


@dataclass(frozen=True, slots=True, kw_only=True)
class Taking:
    """Which pieces a worker takes, where some wait for batch jobs.

    Attributes:
        vault: where its cache is, as jobs name it.
        unbatched: whether it takes pieces that were never in a job.
        told: told which vectors of a piece are published.
    """

    vault: str = ""
    unbatched: bool = True
    told: Callable[[Chunk, list[ContentHash]], None] = field(default=lambda _, __: None)


def carry_chunk(
    workshop: Workshop, migration: Migration, *, at_once: int = CHUNK_SIZE, taking: Taking | None = None
) -> int | None:
    """Carry one piece over; return its number of documents, or None when there is none to take now.

    Args:
        workshop: the means.
        migration: the migration.
        at_once: documents that are read and embedded in one go.
        taking: which pieces may be taken; every one by default.

    Raises:
        LeaseLost: another worker took the piece, which is theirs then.
    """
    ledger, timing = workshop.ledger, workshop.timing
    taking = taking or Taking()
    chunk = ledger.lease_chunk(
        workshop.alias,
        migration.id,
        owner=workshop.me,
        lease_s=timing.work_lease_s,
        settle_s=workshop.settle_s,
        vault=taking.vault,
        unbatched=taking.unbatched,
    )
    if chunk is None:
        return None
    with telemetry.span(
        "undrift.piece",
        undrift__alias=workshop.alias,
        undrift__migration=migration.id,
        undrift__piece=chunk.number,
        undrift__documents=chunk.count,
    ):
        _carry(workshop, migration, chunk, at_once=at_once, taking=taking)
    return chunk.count


def _carry(workshop: Workshop, migration: Migration, chunk: Chunk, *, at_once: int, taking: Taking) -> None:
    """Carry a piece over that this worker has."""
    ledger, timing = workshop.ledger, workshop.timing
    work = f"chunk {chunk.number} of {workshop.alias}"
    try:
        with workshop.keeper.holding(workshop.alias, chunk, workshop.me) as grip:
            made = _embed(_while(grip, workshop), migration, chunk, at_once)
            grip.require()
        # The ledger knows nothing of a pause file, so it is asked for once more before the piece is published.
        workshop.oversight.admit()
    except BaseException:
        # What was paid for is in the cache; whoever takes the piece next finds it there. That it cannot be given back
        # is not what happened.
        with suppress(UndriftError):
            ledger.release_chunk(workshop.alias, chunk, owner=workshop.me)
        raise
    until = workshop.lease_end()
    # Those that could not be made are asked for as well: what was written meanwhile may be mended, or gone.
    keys = [*(record.id for record in made.records), *made.failures]
    try:
        allowed = set(ledger.publish(workshop.alias, chunk, keys, owner=workshop.me, lease_s=timing.work_lease_s))
    except LeaseLost:
        # Paused meanwhile: it is still this worker's, and whoever goes on after that need not wait for its lease.
        with suppress(UndriftError):
            ledger.release_chunk(workshop.alias, chunk, owner=workshop.me)
        raise
    # What has begun to be published is finished: only a stop at once leaves it to a later takeover.
    store = workshop.for_writers.store_of(migration.target)
    place = placing(store, migration.target, of=migration.source)
    # The first to write a piece finds nothing there; whoever takes it over replaces what is.
    insert = place.insert if chunk.fence == 1 else place.replace

    def write(batch: Sequence[Record]) -> None:
        with workshop.under_lease(until, work):
            insert(migration.target, batch)

    rejected = write_all(write, [record for record in made.records if record.id in allowed])
    failures = {**{key: why for key, why in made.failures.items() if key in allowed}, **rejected}
    if failures:
        ledger.quarantine(workshop.alias, failures)
    ledger.published(workshop.alias, chunk, owner=workshop.me)
    suspect(workshop, made.untagged, "the back-fill")
    taking.told(chunk, [record.tag.content for record in made.records if record.id in allowed])


def _while(grip: Grip, workshop: Workshop) -> Workshop:
    """Return the same means, with nothing more sent to a model once the piece may be another worker's."""
    admit = workshop.oversight.admit

    def both() -> None:
        admit()
        grip.require()

    return replace(workshop, oversight=replace(workshop.oversight, admit=both))


def _embed(workshop: Workshop, migration: Migration, chunk: Chunk, at_once: int) -> Made:
    made = Made(records=[], failures={})
    for entries in _pages(workshop, migration, chunk, at_once):
        touched = workshop.ledger.journal_state(workshop.alias, [entry.id for entry in entries])
        wanted = [entry for entry in entries if entry.id not in touched]
        have = []
        if chunk.fence > 1:
            # Somebody had this piece before and may have written a part of it: those vectors are paid for.
            ids = [DocumentId(entry.id) for entry in wanted]
            have = list(workshop.store_of(migration.target).fetch(migration.target, ids).values())
        originals: list[Record] | None = None
        if migration.copies:
            found, originals = read_truth(workshop, migration, migration.source, [entry.id for entry in wanted])
            wanted = list(found.values())
        page = make_records(workshop, wanted, migration.target, have=have, originals=originals)
        made.records.extend(page.records)
        made.failures.update(page.failures)
        made.untagged.extend(page.untagged)
    return made


def _pages(workshop: Workshop, migration: Migration, chunk: Chunk, at_once: int) -> Iterator[list[Entry]]:
    store = workshop.store_of(migration.source)
    after = chunk.lo
    parts = Part.NONE if migration.copies else Part.TEXT
    while True:
        page = store.scan(migration.source, after=after, until=chunk.hi, limit=at_once, parts=parts)
        yield page
        # Most pieces end with the last one of a full page.
        if len(page) < at_once or page[-1].id == chunk.hi:
            return
        after = page[-1].id
