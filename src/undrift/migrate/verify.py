"""Compare both fields: ids, hashes, metadata and tags of every document, and the vectors of a sample."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta

import numpy as np

from undrift.domain.checkpoint import Progress
from undrift.domain.gate import VerificationReport
from undrift.domain.migration import Phase
from undrift.domain.reconcile import FOREIGN_WRITE
from undrift.domain.record import DocumentId, content_hash
from undrift.domain.route import Route, VectorField
from undrift.errors import IncarnationMismatch, NoMigration
from undrift.migrate.compare import (
    PAGE,
    Pair,
    Throttle,
    add_sample,
    difference,
    is_ours,
    is_readable,
    may_replace,
    quick_difference,
    reread,
    shown,
    total_of,
    walk,
)
from undrift.migrate.copies import compare_copies, cosine
from undrift.migrate.purse import purse_of
from undrift.migrate.reconcile import suspect
from undrift.migrate.workshop import Workshop
from undrift.ports.store import Part

#: Documents that are embedded again, by default.
SAMPLE = 1000
#: How often documents that are being written are looked at again before they count as differing.
_ROUNDS = 20
#: Documents embedded again in one go.
_EMBEDDED_AT_ONCE = 256
#: The name of what is kept in the ledger while a comparison goes on.
_RUN = "verify.run"
#: A comparison that was interrupted longer ago begins anew: the evidence of its first part is stale.
_RESUMABLE = timedelta(hours=24)


@dataclass(slots=True, kw_only=True)
class _Run:
    """A comparison that is going on; kept in the ledger after every page.

    `waiting` are documents that differed while they were being written; `sample` those with the smallest hash so far.
    """

    epoch: int
    max_sequence: int
    started: str
    size: int
    cursor: str = ""
    walked: bool = False
    compared: int = 0
    requeued: int = 0
    explained: int = 0
    unverifiable: int = 0
    bypassed: int = 0
    resumed: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    samples: dict[str, list[str]] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    sample: list[str] = field(default_factory=list)
    embedded: int = 0
    sampled: int = 0
    worst: float | None = None


def verify(
    workshop: Workshop,
    *,
    sample: int = SAMPLE,
    rate: float | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    carry: Callable[[], int] = lambda: 0,
) -> VerificationReport:
    """Compare the serving field with its follower and keep the report.

    A difference counts only when the document was not written meanwhile; the others are looked at again after they were
    carried over. What still differs is marked dirty, so that it heals, except that after a cutover nothing that only
    the old field has is deleted or replaced in it: nobody asked for that.

    A comparison that was interrupted goes on where it stopped, if the route is still the same.

    Args:
        workshop: the means.
        sample: documents to embed again, chosen evenly.
        rate: documents a second; None for no limit.
        on_progress: told how far it has come.
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
    run = _begin_or_resume(workshop, route, sample, state.sequence)
    comparison = _Comparison(
        workshop=workshop,
        route=route,
        follower=route.follower,
        run=run,
        after_cutover=state.migration.phase is Phase.REVERSING,
        after_rollback=state.migration.phase is Phase.ROLLED_BACK,
        copies=state.migration.copies,
        carry=carry,
    )
    comparison.walk(
        Throttle(
            clock=workshop.clock,
            rate=rate,
            done=run.compared,
            total=total_of(workshop, route, route.follower),
            tell=on_progress,
        )
    )
    comparison.look_again()
    comparison.look_at_sample()
    report = _report(workshop, run, copied=comparison.copies)
    workshop.ledger.save_verification(workshop.alias, report)
    workshop.ledger.save_bookmark(workshop.alias, _RUN, None)
    return report


@dataclass(slots=True, kw_only=True)
class _Comparison:
    """Compares, counts into a run that it keeps in the ledger, and marks what differs."""

    workshop: Workshop
    route: Route
    follower: VectorField
    run: _Run
    after_cutover: bool
    after_rollback: bool
    copies: bool
    carry: Callable[[], int]
    #: The sample as a heap of the largest hash first.
    heap: list[tuple[int, str]] = field(default_factory=list)

    def walk(self, throttle: Throttle) -> None:
        """Walk both fields side by side in the order of ids, and choose the sample on the way."""
        run = self.run
        if run.walked:
            throttle.passed(run.compared)
            return
        self.heap = [(-self._place(key), key) for key in run.sample]
        heapq.heapify(self.heap)
        limit = throttle.page
        for until, pairs in walk(
            self.workshop, self.route, self.follower, after=run.cursor, limit=limit, parts=Part.NONE
        ):
            self._page(pairs)
            run.cursor = until
            run.sample = [key for _, key in self.heap]
            self._keep()
            throttle.passed(run.compared)
            if len(run.waiting) >= PAGE:
                self.look_again()
        run.walked = True
        self._keep()

    def look_again(self) -> None:
        """Wait for documents that are being written, and count those that differ when nobody does."""
        waiting = [DocumentId(key) for key in self.run.waiting]
        first = self.workshop.ledger.journal_state(self.workshop.alias, waiting)
        for attempt in range(_ROUNDS):
            if not waiting:
                break
            waiting = self._settle(waiting, since=first if attempt == _ROUNDS - 1 else None)
            if waiting and not self.carry():
                self.workshop.clock.sleep(0.1)
        self.run.waiting = []
        self._keep()

    def look_at_sample(self) -> None:
        """Compare the stored vectors of the sample: copied ones with their originals, others with new ones."""
        run = self.run
        keys = sorted(run.sample)
        look = self._copied if self.copies else self._embedded_again()
        while run.embedded < len(keys):
            chosen = [DocumentId(key) for key in keys[run.embedded : run.embedded + _EMBEDDED_AT_ONCE]]
            alike = look(chosen)
            run.sampled += len(alike)
            if alike:
                # Unlike that of Python, this least of all is NaN if one of them is.
                run.worst = float(np.min([*alike, 1.0 if run.worst is None else run.worst]))
            run.embedded += len(chosen)
            self._keep()

    def _embedded_again(self) -> Callable[[list[DocumentId]], list[float]]:
        """Return what embeds the texts of the follower's records again, and says how alike the vectors are."""
        place = self.follower
        store, door = self.workshop.store_of(place), self.workshop.door_of(place.space)
        migration = self.workshop.state().migration
        purse = purse_of(self.workshop, migration, door) if door.limits.paid and migration is not None else None

        def look(keys: list[DocumentId]) -> list[float]:
            records = list(store.fetch(place, keys).values())
            if place.is_beside(self.route.serving):
                # A text in the same record may be written at any time, and its vector follows.
                records = [record for record in records if record.tag.content == content_hash(record.text)]
            if not records:
                return []
            again = door.fresh([record.text for record in records], purse=purse, oversight=self.workshop.oversight)
            return [cosine(record.vector, vector) for record, vector in zip(records, again, strict=True)]

        return look

    def _copied(self, keys: list[DocumentId]) -> list[float]:
        """Compare copied vectors with their originals; those that differ while nobody writes them are copied again."""
        alike, differing = compare_copies(self.workshop, self.route, self.follower, keys)
        for key in differing:
            self.run.kinds["vector"] = self.run.kinds.get("vector", 0) + 1
            add_sample(self.run.samples, "vector", key)
        if differing:
            self.workshop.ledger.mark(self.workshop.alias, differing)
        return alike

    def _page(self, pairs: dict[DocumentId, Pair]) -> None:
        run, serving = self.run, self.route.serving
        run.compared += len(pairs)
        newest = 0
        differing: list[DocumentId] = []
        for key, pair in pairs.items():
            left, right = pair
            for entry in (left, right):
                if entry is not None and entry.tag is not None:
                    newest = max(newest, entry.tag.sequence)
            if left is not None and left.tag is None:
                run.unverifiable += 1
            if quick_difference(pair, serving, self.follower):
                differing.append(key)
            else:
                self._consider(key)
        self._refuse_older_ledger(newest)
        run.waiting += self._settle(differing)

    def _settle(
        self, keys: list[DocumentId], *, since: Mapping[DocumentId, tuple[bool, int]] | None = None
    ) -> list[DocumentId]:
        """Count those documents that nobody is writing; return the others, of which nothing can be said yet.

        Args:
            keys: the documents.
            since: what the journal said of them when they were first waited for; given at the last look, which
                returns nothing. One that was written since is left to the journal, which will not lose it; one that is
                dirty and was not carried over counts as it is.
        """
        if not keys:
            return []
        run, ledger, alias = self.run, self.workshop.ledger, self.workshop.alias
        again, moving = reread(self.workshop, self.route, self.follower, keys)
        now = ledger.journal_state(alias, sorted(moving)) if since is not None else {}
        aside = {one.key: one.reason for one in ledger.quarantined(alias, limit=len(keys), only=keys)}
        # What could not be carried is where it was: in the serving field, or since a flip in the other.
        absent = "extra" if self.after_cutover or self.after_rollback else "missing"
        waiting, healing, bypassed = [], [], []
        for key, pair in again.items():
            kind = difference(pair, self.follower)
            left = pair[0]
            if not kind and left is not None and not is_ours(left, self.route.serving):
                bypassed.append(left)
            elif not kind:
                run.requeued += 1
            elif key in moving and since is None:
                waiting.append(key)
            elif since is not None and key in now and key in since and now[key][1] != since[key][1]:
                run.requeued += 1
            elif kind in ("missing", absent) and key in aside and (self.after_cutover or aside[key] != FOREIGN_WRITE):
                run.explained += 1
            else:
                run.kinds[kind] = run.kinds.get(kind, 0) + 1
                add_sample(run.samples, kind, key)
                if not self.after_cutover or may_replace(pair, kind, self.route.serving, self.follower):
                    healing.append(key)
        run.bypassed += len(bypassed)
        suspect(self.workshop, bypassed, "a verification")
        if healing:
            ledger.mark(alias, healing)
        return waiting

    def _consider(self, key: DocumentId) -> None:
        """Keep the documents with the smallest hashes: an even choice that an interruption does not change."""
        if self.run.size == 0:
            return
        place = self._place(key)
        if len(self.heap) < self.run.size:
            heapq.heappush(self.heap, (-place, key))
        elif place < -self.heap[0][0]:
            heapq.heapreplace(self.heap, (-place, key))

    def _place(self, key: str) -> int:
        salt = str(self.run.epoch).encode()[:16]
        return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8, salt=salt).digest())

    def _keep(self) -> None:
        self.workshop.ledger.save_bookmark(self.workshop.alias, _RUN, asdict(self.run))

    def _refuse_older_ledger(self, newest: int) -> None:
        """Notice a ledger that was restored from a backup: records carry numbers that it never gave out (R38).

        Its marks of what was dirty may be missing, so that only a comparison that begins now tells what differs.
        """
        given_out = self.workshop.state().sequence
        if newest > given_out:
            alias = self.workshop.alias
            reason = f"a record carries the sequence {newest}, and the ledger gave out {given_out} at most"
            self.workshop.ledger.require_reconcile(alias, reason, sequence=newest)
            self.workshop.ledger.save_bookmark(alias, _RUN, None)
            raise IncarnationMismatch(
                f"the ledger is older than the records of {alias}: it was restored from a backup",
                reason,
                f"undrift reconcile {alias}",
            )


def _begin_or_resume(workshop: Workshop, route: Route, sample: int, sequence: int) -> _Run:
    now = workshop.clock.now()
    kept = workshop.ledger.bookmark(workshop.alias, _RUN)
    if is_readable(kept, _Run) and (kept["epoch"], kept["size"]) == (route.epoch, sample):
        run = _Run(**kept)
        if now - datetime.fromisoformat(run.started) < _RESUMABLE:
            run.resumed += 1
            return run
    return _Run(epoch=route.epoch, max_sequence=sequence, started=now.isoformat(), size=sample)


def _report(workshop: Workshop, run: _Run, *, copied: bool) -> VerificationReport:
    missing, extra = run.kinds.get("missing", 0), run.kinds.get("extra", 0)
    return VerificationReport(
        compared=run.compared,
        missing=missing,
        extra=extra,
        mismatched=sum(run.kinds.values()) - missing - extra,
        requeued=run.requeued,
        explained=run.explained,
        unverifiable=run.unverifiable,
        bypassed=run.bypassed,
        sampled=run.sampled,
        sample_min_cosine=run.worst,
        samples=shown(run.samples),
        max_sequence=run.max_sequence,
        epoch=run.epoch,
        resumed=run.resumed,
        copied=copied,
        started=datetime.fromisoformat(run.started),
        finished=workshop.clock.now(),
    )
