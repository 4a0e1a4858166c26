"""Find what was written past undrift: a scan of both fields that marks documents and never writes any itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta

from undrift.domain.checkpoint import Progress
from undrift.domain.migration import Phase
from undrift.domain.reconcile import FOREIGN_WRITE, ReconcileRecord, ReconcileReport
from undrift.domain.record import DocumentId, Entry
from undrift.domain.route import Route, VectorField
from undrift.errors import IllegalTransition, NoMigration
from undrift.migrate.compare import (
    Pair,
    Throttle,
    add_sample,
    await_scans,
    difference,
    is_ours,
    is_readable,
    may_replace,
    reread,
    shown,
    total_of,
    walk,
)
from undrift.migrate.workshop import Workshop
from undrift.ports.store import Part

#: Names of what is kept in the ledger: the scan that goes on, and what the last ones found.
_RUN, _RECORD = "reconcile.run", "reconcile"
#: A scan that was interrupted longer ago begins anew: its first part is too old.
_RESUMABLE = timedelta(hours=24)
#: Phases in which both fields are to be equal except for what is dirty.
COMPARABLE = frozenset({Phase.CATCHUP, Phase.VERIFY, Phase.READY, Phase.REVERSING, Phase.ROLLED_BACK})
#: Documents in quarantine that are looked at once more in the end.
_HELD_AT_MOST = 100_000


@dataclass(slots=True, kw_only=True)
class _Run:
    """A scan that is going on; kept in the ledger after every page."""

    epoch: int
    since: str
    started: str
    cursor: str = ""
    compared: int = 0
    foreign: int = 0
    held: int = 0
    requeued: int = 0
    explained: int = 0
    resumed: int = 0
    flag: str = ""
    kinds: dict[str, int] = field(default_factory=dict)
    samples: dict[str, list[str]] = field(default_factory=dict)


def record_of(workshop: Workshop) -> ReconcileRecord:
    """Return what is known of writes past undrift during the present migration."""
    return ReconcileRecord.from_dict(workshop.ledger.bookmark(workshop.alias, _RECORD))


def suspect(workshop: Workshop, entries: Sequence[Entry], seen_by: str) -> None:
    """Close the cutover's gate because of records that carry no tag of their text, unless that has an explanation.

    Args:
        workshop: the means.
        entries: such records, which were read anyway.
        seen_by: who read them.
    """
    if not entries or workshop.state().needs_reconcile:
        return
    first = record_of(workshop).first_sequence
    journal = workshop.ledger.journal_state(workshop.alias, [entry.id for entry in entries])
    keys = [entry.id for entry in entries if not _is_explained(entry, journal.get(entry.id), first)]
    if keys:
        what = "1 document was" if len(keys) == 1 else f"{len(keys)} documents were"
        reason = f"{what} written past undrift, such as {keys[0]}, as {seen_by} saw"
        workshop.ledger.require_reconcile(workshop.alias, reason, sequence=0)


def _is_explained(entry: Entry, touched: tuple[bool, int] | None, first_sequence: int | None) -> bool:
    """Whether it is known why a record in the serving field carries no tag of its text.

    Its write was journaled, by a program that keeps no tags; or a scan has told it, and marked it then.
    """
    if touched is None:
        return False
    has_tag = entry.tag is not None and bool(entry.tag.content)
    return not has_tag or (first_sequence is not None and touched[1] > first_sequence)


def reconcile(
    workshop: Workshop, *, rate: float | None = None, on_progress: Callable[[Progress], None] = lambda _: None
) -> ReconcileReport:
    """Scan both fields for what nobody journaled, and mark it dirty, so that it is carried over.

    A document is foreign when the follower's tag, text or metadata are not those of the serving record, or one field
    only has it, while it is clean and nobody writes it; also, once, when the serving record's own tag is missing or not
    of its text and the journal does not explain it. After a cutover the follower is the field that served before: what
    only that field has is never deleted or replaced. It is set aside, until `adopt` takes it over or a write through
    undrift decides.

    An interrupted scan goes on where it stopped.

    Args:
        workshop: the means.
        rate: documents a second; None for no limit.
        on_progress: told how far it has come.

    Raises:
        NoMigration: there is no follower to compare with.
        IllegalTransition: the back-fill is not done, so that everything would differ.
    """
    state = workshop.state()
    if state.migration is None or state.route.follower is None or state.migration.is_final:
        raise NoMigration(
            f"alias {workshop.alias} has one field only; there is nothing to compare",
            hint=f"undrift plan {workshop.alias} --to MODEL",
        )
    if state.migration.phase not in COMPARABLE:
        raise IllegalTransition(
            f"the migration of {workshop.alias} is {state.migration.phase.value}; it is too early to reconcile",
            "what is not carried over yet would look as if somebody had deleted it",
            f"undrift status {workshop.alias}",
        )
    route, follower = state.route, state.route.follower
    record = record_of(workshop)
    if record.first_sequence is None:
        record = replace(record, first_sequence=state.sequence)
        _keep(workshop, record)
    run = _begin_or_resume(workshop, route, record, state.migration.started)
    scan = _Scan(
        workshop=workshop,
        route=route,
        follower=follower,
        run=run,
        first_sequence=record.first_sequence or 0,
        after_cutover=state.migration.phase is Phase.REVERSING,
    )
    throttle = Throttle(
        clock=workshop.clock,
        rate=rate,
        done=run.compared,
        total=total_of(workshop, route, follower),
        tell=on_progress,
    )
    # A stranger's write of a moment ago must not be missed by both scans that open the gate.
    lag_s = max(workshop.store_of(place).capabilities.scans_lag_s for place in (route.serving, follower))
    since_began = workshop.clock.now() - datetime.fromisoformat(run.started)
    await_scans(throttle, lag_s, since_began.total_seconds())
    pages = walk(workshop, route, follower, after=run.cursor, limit=throttle.page, parts=Part.TEXT)
    for until, pairs in pages:
        scan.page(pairs)
        run.cursor = until
        workshop.ledger.save_bookmark(workshop.alias, _RUN, asdict(run))
        throttle.passed(run.compared)
    scan.release_what_is_settled()
    report = _report(workshop, run)
    record = record.with_report(report)
    _keep(workshop, record)
    workshop.ledger.save_bookmark(workshop.alias, _RUN, None)
    flag = workshop.state().needs_reconcile
    if flag and record.answers(flag):
        workshop.ledger.reconciled(workshop.alias)
    return report


@dataclass(slots=True, kw_only=True)
class _Scan:
    """Looks at pages, counts into a run, and marks."""

    workshop: Workshop
    route: Route
    follower: VectorField
    run: _Run
    first_sequence: int
    after_cutover: bool

    def page(self, pairs: dict[DocumentId, Pair]) -> None:
        """Look at some documents; those that seem to differ are read again, with the journal's word on them."""
        run = self.run
        run.compared += len(pairs)
        suspicious = [key for key, pair in pairs.items() if self._is_suspicious(pair)]
        if not suspicious:
            return
        again, moving = reread(self.workshop, self.route, self.follower, suspicious)
        told = self.workshop.ledger.journal_state(self.workshop.alias, suspicious)
        aside = {
            one.key: one.reason
            for one in self.workshop.ledger.quarantined(self.workshop.alias, limit=len(suspicious), only=suspicious)
        }
        foreign: list[DocumentId] = []
        held: dict[DocumentId, tuple[str, str]] = {}
        for key, pair in again.items():
            kind = difference(pair, self.follower)
            if not kind and self._is_in_order(pair[0], told.get(key)):
                continue
            if key in moving:
                run.requeued += 1
            elif key in aside and aside[key] != FOREIGN_WRITE:
                run.explained += 1
            else:
                kind = kind or "untagged"
                run.kinds[kind] = run.kinds.get(kind, 0) + 1
                add_sample(run.samples, kind, key)
                if self.after_cutover and not may_replace(pair, kind, self.route.serving, self.follower):
                    run.held += 1
                    if key not in aside:
                        run.foreign += 1
                        held[key] = (FOREIGN_WRITE, _sentence(kind))
                else:
                    foreign.append(key)
        if foreign:
            run.foreign += len(foreign)
            self.workshop.ledger.mark(self.workshop.alias, foreign)
        if held:
            self.workshop.ledger.quarantine(self.workshop.alias, held)
        if foreign or held:
            self._close_the_gate()

    def release_what_is_settled(self) -> None:
        """Let documents out of quarantine that were set aside as foreign and differ no more."""
        if not self.after_cutover:
            return
        held = self.workshop.ledger.quarantined(self.workshop.alias, limit=_HELD_AT_MOST)
        keys = [one.key for one in held if one.reason == FOREIGN_WRITE]
        for start in range(0, len(keys), 500):
            again, _ = reread(self.workshop, self.route, self.follower, keys[start : start + 500])
            equal = [
                key
                for key, pair in again.items()
                if not difference(pair, self.follower) and not self._is_left_behind(pair[0])
            ]
            self.workshop.ledger.release(self.workshop.alias, equal)

    def _is_suspicious(self, pair: Pair) -> bool:
        left = pair[0]
        return bool(difference(pair, self.follower)) or (left is not None and not is_ours(left, self.route.serving))

    def _is_in_order(self, entry: Entry | None, touched: tuple[bool, int] | None) -> bool:
        if entry is None or is_ours(entry, self.route.serving):
            return True
        return not self._is_left_behind(entry) and _is_explained(entry, touched, self.first_sequence)

    def _is_left_behind(self, entry: Entry | None) -> bool:
        """Whether a serving vector is of an older text than the one in its record.

        After a cutover in the same records, who knows the old vector only leaves it so, journaled or not.
        """
        if not self.after_cutover or not self.follower.is_beside(self.route.serving):
            return False
        return entry is not None and not is_ours(entry, self.route.serving) and bool(entry.tag and entry.tag.content)

    def _close_the_gate(self) -> None:
        """Let everybody know at once: the scan may be interrupted before its report."""
        if not self.workshop.state().needs_reconcile:
            kind, key = next((kind, keys[0]) for kind, keys in self.run.samples.items() if keys)
            self.run.flag = f"a reconcile scan found documents that were written past undrift, such as {key} ({kind})"
            self.workshop.ledger.require_reconcile(self.workshop.alias, self.run.flag, sequence=0)


def _sentence(kind: str) -> str:
    if kind == "extra":
        return "only the old field has it, and nobody wrote it through undrift"
    return "the old field has something else than the serving one, and nobody wrote it through undrift"


def _begin_or_resume(workshop: Workshop, route: Route, record: ReconcileRecord, migration_started: datetime) -> _Run:
    now = workshop.clock.now()
    kept = workshop.ledger.bookmark(workshop.alias, _RUN)
    if is_readable(kept, _Run) and kept["epoch"] == route.epoch:
        run = _Run(**kept)
        if now - datetime.fromisoformat(run.started) < _RESUMABLE:
            run.resumed += 1
            return run
    since = record.reports[-1].started if record.reports else migration_started
    flag = workshop.state().needs_reconcile
    return _Run(epoch=route.epoch, since=since.isoformat(), started=now.isoformat(), flag=flag)


def _report(workshop: Workshop, run: _Run) -> ReconcileReport:
    return ReconcileReport(
        compared=run.compared,
        foreign=run.foreign,
        held=run.held,
        requeued=run.requeued,
        explained=run.explained,
        kinds=run.kinds,
        samples=shown(run.samples),
        epoch=run.epoch,
        since=datetime.fromisoformat(run.since),
        started=datetime.fromisoformat(run.started),
        finished=workshop.clock.now(),
        resumed=run.resumed,
        flag=run.flag,
    )


def _keep(workshop: Workshop, record: ReconcileRecord) -> None:
    workshop.ledger.save_bookmark(workshop.alias, _RECORD, record.as_dict())
