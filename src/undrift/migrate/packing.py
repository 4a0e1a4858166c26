"""Put pieces of a back-fill together into one batch job."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from undrift.domain.batch import IN_QUEUE, KEEPS_PIECES, BatchJob, BatchMode, JobId, JobState, affordable
from undrift.domain.checkpoint import Chunk
from undrift.domain.migration import Migration
from undrift.domain.record import ContentHash
from undrift.errors import BudgetExhausted, EmbedderRejected, StaleRoute
from undrift.flow.batch import BatchDoor, Size
from undrift.migrate.workshop import Workshop
from undrift.ports.store import Part

#: With `auto`, fewer texts than these are not worth the wait.
LEAST_ITEMS = 1000
#: The part of what a budget has left that jobs may put aside; the rest is for what is embedded online meanwhile.
_FOR_JOBS = 0.9
#: A queue with less room than this share of it is not filled up: many small jobs would take as long as one.
_LEAST_ROOM = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """What there was to be packed.

    Attributes:
        made: whether a job was recorded.
        lets_online: whether pieces that are in no job may be embedded online now.
    """

    made: bool
    lets_online: bool


@dataclass(slots=True, kw_only=True)
class _Box:
    """A job's content while it is put together."""

    most_items: int
    most_bytes: int
    most_queued: int | None
    most_paid: int | None
    pieces: list[int] = field(default_factory=list)
    sent: set[ContentHash] = field(default_factory=set)
    needed: set[ContentHash] = field(default_factory=set)
    after: dict[JobId, list[int]] = field(default_factory=dict)
    bytes: int = 0
    queued: int = 0
    paid: int = 0
    is_full: bool = False

    def takes(self, size: Size) -> bool:
        """Whether so much more goes in; it is taken note of if it does."""
        amounts = (
            (len(self.sent) + len(size.lines), self.most_items),
            (self.bytes + sum(map(len, size.lines)), self.most_bytes),
            (self.queued + size.tokens, self.most_queued),
            (self.paid + size.most_tokens, self.most_paid),
        )
        self.is_full = any(most is not None and amount > most for amount, most in amounts)
        if not self.is_full:
            self.bytes += sum(map(len, size.lines))
            self.queued += size.tokens
            self.paid += size.most_tokens
        return not self.is_full


def pack(workshop: Workshop, door: BatchDoor, migration: Migration, mode: BatchMode) -> Packed:
    """Record a job of the next pieces that nobody has, as large as the provider, the queue and the cache take.

    Only the coordinator does, so that no two jobs have the same texts.

    Raises:
        BudgetExhausted: it may cost more than is left.
        EmbedderRejected: the provider's queue does not take a single piece.
    """
    ledger, limits = workshop.ledger, door.service.limits
    waits = Packed(made=False, lets_online=mode is BatchMode.AUTO)
    room = _room(workshop, door)
    if room is not None and room <= 0:
        return waits
    if not ledger.free_pieces(workshop.alias, limit=1):
        return replace(waits, lets_online=True)
    if not _coordinates(workshop, migration):
        return replace(waits, lets_online=False)
    try:
        _sweep(workshop, door, migration)
        job = JobId(f"{_prefix(migration)}{uuid.uuid4().hex[:12]}")
        money = affordable(migration, door.usd_per_million_tokens)
        box = _Box(
            most_items=door.most_items,
            most_bytes=limits.size,
            most_queued=room,
            most_paid=None if money is None else int(money * _FOR_JOBS),
        )
        size, sha256 = door.spool.write(job, _lines(workshop, door, migration, box))
        if not box.pieces:
            door.spool.remove(job)
            if ledger.free_pieces(workshop.alias, limit=1) and not box.after and box.is_full:
                return _no_piece_fits(workshop, waits, box)
            return waits
        if mode is BatchMode.AUTO and not box.is_full and 0 < len(box.sent) < LEAST_ITEMS:
            door.spool.remove(job)
            return waits
        door.spool.note(job, "sent", sorted(box.sent))
        door.spool.note(job, "needed", sorted(box.needed))
        made = BatchJob(
            id=job,
            alias=workshop.alias,
            migration=migration.id,
            account=door.account,
            space=migration.target.space,
            # Where nothing is missing, there is nothing to ask for: the pieces are carried over at once.
            state=JobState.PREPARED if box.sent else JobState.BROUGHT,
            vault=door.spool.vault,
            pieces=len(box.pieces),
            items=len(box.sent),
            size=size,
            sha256=sha256,
            queued=box.queued,
            tokens=box.paid,
            usd_per_million_tokens=door.usd_per_million_tokens,
            created=workshop.clock.now(),
        )
        try:
            if ledger.add_job(made, box.pieces, after=box.after, queue_tokens=_queue_tokens(workshop, door)):
                return Packed(made=True, lets_online=False)
        except BudgetExhausted:
            door.spool.remove(job)
            raise
        except StaleRoute:
            door.spool.remove(job)
            return replace(waits, lets_online=False)
        door.spool.remove(job)
        return waits
    finally:
        ledger.yield_coordination(migration.id, owner=workshop.me)


def texts_of(workshop: Workshop, migration: Migration, chunk: Chunk) -> list[str]:
    """Return the texts of a piece that the back-fill would embed: of documents that nobody has touched."""
    store = workshop.store_of(migration.source)
    # One more than the piece had: it may have gained documents since it was laid out.
    entries, after = [], chunk.lo
    while page := store.scan(migration.source, after=after, until=chunk.hi, limit=chunk.count + 1, parts=Part.TEXT):
        entries += page
        if len(page) <= chunk.count:
            break
        after = page[-1].id
    touched = workshop.ledger.journal_state(workshop.alias, [entry.id for entry in entries])
    wanted = [entry for entry in entries if entry.id not in touched]
    found = workshop.source.texts(wanted)
    return [text for text in (found.get(entry.id) for entry in wanted) if text is not None]


def _lines(workshop: Workshop, door: BatchDoor, migration: Migration, box: _Box) -> Iterator[bytes]:
    """Fill a box piece by piece, and give the lines of its file as it grows."""
    elsewhere = {
        job.id: door.spool.noted(job.id, "sent") for job in workshop.ledger.jobs(workshop.alias) if job.is_open
    }
    # Asked for once: what is packed here is not free any more only when the job is recorded.
    for chunk in workshop.ledger.free_pieces(workshop.alias, limit=box.most_items):
        if not _coordinates(workshop, migration):
            raise StaleRoute(f"another worker packs the batch jobs of {workshop.alias}")
        missing = door.missing(texts_of(workshop, migration, chunk))
        after = {job: [chunk.number] for job, sent in elsewhere.items() if not sent.isdisjoint(missing)}
        fresh = {
            key: text
            for key, text in missing.items()
            if key not in box.sent and not any(key in elsewhere[job] for job in after)
        }
        size = door.size_of(fresh)
        if not box.takes(size):
            return
        box.pieces.append(chunk.number)
        box.needed |= missing.keys()
        box.sent |= fresh.keys()
        for job, numbers in after.items():
            box.after.setdefault(job, []).extend(numbers)
        yield from size.lines


def _no_piece_fits(workshop: Workshop, waits: Packed, box: _Box) -> Packed:
    """Wait while other jobs have the queue or the money; give up when none does, and a piece is too much all the same.

    Raises:
        BudgetExhausted: it may cost more than is left.
        EmbedderRejected: it is more than a job may be.
    """
    if waits.lets_online or any(job.state in KEEPS_PIECES for job in workshop.ledger.jobs(workshop.alias)):
        return waits
    resume = f"then undrift resume {workshop.alias}"
    if box.most_paid is not None:
        raise BudgetExhausted(
            f"the next piece of {workshop.alias} may cost more than its budget has left for batch jobs",
            f"there is room for {box.most_paid} tokens; a tenth of what is left is kept for what is embedded online",
            f"undrift tune {workshop.alias} budget_usd=N or budget_tokens=N, {resume}",
        )
    raise EmbedderRejected(
        f"no piece of {workshop.alias} goes into a batch job",
        f"the provider's queue takes {box.most_queued} tokens" if box.most_queued is not None else "it is too large",
        f"undrift tune {workshop.alias} batch=false, {resume}",
    )


def _queue_tokens(workshop: Workshop, door: BatchDoor) -> int | None:
    """Return what the account's queue takes: as configured, or as the provider has said since."""
    told = [job.queue_tokens for job in workshop.ledger.jobs(workshop.alias) if job.queue_tokens is not None]
    known = [limit for limit in (door.queue_tokens, *told[-1:]) if limit is not None]
    return min(known, default=None)


def _room(workshop: Workshop, door: BatchDoor) -> int | None:
    """Return the tokens that go into the queue now; none while there is too little to be worth a job."""
    limit = _queue_tokens(workshop, door)
    if limit is None:
        return None
    queued = sum(job.queued for job in workshop.ledger.jobs(workshop.alias) if job.state in IN_QUEUE)
    return limit - queued if not queued or limit - queued >= limit * _LEAST_ROOM else 0


def _coordinates(workshop: Workshop, migration: Migration) -> bool:
    lease_s = workshop.timing.work_lease_s
    return workshop.ledger.coordinate(migration.id, owner=workshop.me, lease_s=lease_s)


def _prefix(migration: Migration) -> str:
    """Return how the names of a migration's jobs begin."""
    return hashlib.sha256(migration.id.encode()).hexdigest()[:8] + "-"


def _sweep(workshop: Workshop, door: BatchDoor, migration: Migration) -> None:
    """Delete what a worker has left that died before its job was recorded."""
    known = {job.id for job in workshop.ledger.jobs(workshop.alias) if job.is_open}
    for job in door.spool.jobs(_prefix(migration)) - known:
        door.spool.remove(job)
