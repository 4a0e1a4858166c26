"""What must hold before traffic moves; every condition is looked at, and all that do not hold are told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from undrift.domain.checkpoint import Lag
from undrift.domain.gate import Gate, Verdict
from undrift.domain.migration import Migration, Phase
from undrift.domain.plan import MAX_DIRTY_AT_CUTOVER
from undrift.domain.reconcile import FOREIGN_WRITE, ReconcileReport
from undrift.domain.record import DocumentId
from undrift.domain.route import Route, VectorField
from undrift.domain.wording import are, plural
from undrift.errors import UndriftError
from undrift.migrate.postponement import postponed
from undrift.migrate.reconcile import record_of
from undrift.migrate.workshop import Workshop
from undrift.ports.store import Part

#: Age of the oldest dirty document that a cutover accepts, in seconds.
MAX_LAG_S = 2.0
#: After this long a verification says nothing any more.
VERIFICATION_VALID = timedelta(hours=24)
#: What is further in the future was dated by a clock that is wrong, or this one is: nobody knows how old it is.
_AHEAD = timedelta(minutes=5)
#: Ids of foreign documents that a closed gate names.
SAMPLES_SHOWN = 10
#: Documents in quarantine that are looked at, and how many at a time.
_HELD_AT_MOST, _AT_ONCE = 100_000, 500
#: Id that no document has, deleted to prove that a field takes writes.
PROBE_ID = DocumentId("undrift:rollback-probe")


def standing_gates(workshop: Workshop, *, accept_quarantine: bool = False) -> list[Gate]:
    """Return those conditions of a cutover that can be read off the ledger, without asking a store or a model."""
    state = workshop.state()
    return [
        _complete(workshop.migration()),
        _lag(workshop),
        _verified(workshop),
        _quarantine(workshop, accept_quarantine=accept_quarantine),
        _acknowledged(workshop, state.route),
        _reconciled(workshop, state.needs_reconcile, state.route.epoch),
        *postponed(workshop.alias, workshop.ledger.tuning(workshop.alias)),
    ]


def cutover_gates(
    workshop: Workshop, *, accept_quarantine: bool = False, accept_no_way_back: bool = False
) -> list[Gate]:
    """Return all conditions of a cutover with their verdicts."""
    way_back = _reachable(workshop, workshop.migration().source, "rollback", "the way back is proven")
    if way_back.verdict is not Verdict.PASS:
        if accept_no_way_back:
            way_back = replace(way_back, verdict=Verdict.PASS, detail=f"{way_back.detail}; accepted", hint="")
        else:
            # Where the old model is gone for good, to move away from it is the very thing that is wanted.
            mend = way_back.hint if way_back.hint and "ALIAS" not in way_back.hint else "mend it"
            hint = f"{mend}, or go without a way back: undrift cutover {workshop.alias} --accept-no-way-back"
            way_back = replace(way_back, hint=hint)
    return [*standing_gates(workshop, accept_quarantine=accept_quarantine), way_back]


def rollback_gates(workshop: Workshop) -> list[Gate]:
    """Return the conditions of a rollback that waits for the last documents to be carried back."""
    migration, state = workshop.migration(), workshop.state()
    # Scans of before the cutover say enough here; what somebody suspects now may be in the target only.
    suspected = [_reconciled(workshop, state.needs_reconcile, state.route.epoch)] if state.needs_reconcile else []
    return [
        _lag(workshop),
        _acknowledged(workshop, state.route),
        *suspected,
        _carried_back(
            workshop, state.route, f"undrift rollback {workshop.alias} --now, which leaves them where they are"
        ),
        _reachable(workshop, migration.source, "source", "the source takes writes, and its model answers"),
    ]


def completion_gates(workshop: Workshop) -> list[Gate]:
    """Return the conditions of a completion, after which there is no way back."""
    # Documents that were accepted as missing exist in the source only; dropping it would lose them.
    hint = f"mend or delete them; the source alone has them: undrift export {workshop.alias} --field follower"
    if any(one.reason == FOREIGN_WRITE for one in workshop.ledger.quarantined(workshop.alias, limit=3)):
        hint = f"undrift adopt {workshop.alias} --all, or write or delete them through undrift"
    kept = replace(_quarantine(workshop, accept_quarantine=False), hint=hint)
    state = workshop.state()
    reconciled = _reconciled(workshop, state.needs_reconcile, state.route.epoch)
    return [_settled(workshop, "source"), kept, _acknowledged(workshop, state.route), reconciled]


def cancellation_gates(workshop: Workshop) -> list[Gate]:
    """Return the conditions under which a migration that was rolled back may be given up, and its target with it."""
    route = workshop.state().route
    turned = replace(route, serving=route.follower, follower=route.serving) if route.follower else route
    # What is still to be carried may yet be refused, when nobody looks any more.
    left = _carried_back(workshop, turned, f"undrift cutover {workshop.alias} --accept-quarantine")
    return [_settled(workshop, "target"), left]


def rollback_ready(workshop: Workshop, migration: Migration) -> bool:
    """Whether a rollback could begin at once: the source has every write and is there, and its model is what it was."""
    if migration.phase is not Phase.REVERSING or _lag(workshop).verdict is not Verdict.PASS:
        return False
    try:
        if _carried_back(workshop, workshop.state().route, "").verdict is not Verdict.PASS:
            return False
        if not migration.copies:
            workshop.door_of(migration.source.space)
        return workshop.store_of(migration.source).describe(migration.source) is not None
    except UndriftError:
        return False


def _complete(migration: Migration) -> Gate:
    done = migration.phase in (Phase.READY, Phase.ROLLED_BACK)
    if migration.is_selftest:
        hint = f"undrift selftest {migration.alias}"
        detail = "what runs is a selftest, which never cuts over"
        return Gate(name="complete", verdict=Verdict.FAIL, detail=detail, hint=hint)
    return Gate(
        name="complete",
        verdict=Verdict.PASS if done else Verdict.FAIL,
        detail=f"the migration is {migration.phase.value}",
        hint="" if done else migration.command,
    )


def is_close(lag: Lag) -> bool:
    """Whether the follower is close enough behind for traffic to move."""
    return lag.dirty <= MAX_DIRTY_AT_CUTOVER and (lag.oldest_s or 0.0) <= MAX_LAG_S


def _lag(workshop: Workshop) -> Gate:
    lag = workshop.ledger.lag(workshop.alias)
    late, migration = not is_close(lag), workshop.migration()
    held = f"; the work is {migration.run_status.value}" if migration.is_held else ""
    return Gate(
        name="lag",
        verdict=Verdict.FAIL if late else Verdict.PASS,
        detail=f"{plural(lag.dirty, 'document')} {are(lag.dirty)} dirty, the oldest for {lag.oldest_s or 0.0:.1f} s; "
        f"at most {MAX_DIRTY_AT_CUTOVER} for {MAX_LAG_S:g} s are allowed{held + lag.open_writes if late else ''}",
        hint=(f"undrift resume {workshop.alias}" if held else "undrift worker") if late else "",
    )


def _verified(workshop: Workshop) -> Gate:
    report = workshop.ledger.verification(workshop.alias)
    hint = f"undrift verify {workshop.alias}"
    if report is None:
        return Gate(name="verified", verdict=Verdict.UNKNOWN, detail="both fields were never compared", hint=hint)
    age = workshop.clock.now() - report.begun
    if report.verdict is not Verdict.PASS:
        detail = f"{report.missing} missing, {report.extra} extra, {report.mismatched} mismatched of {report.compared}"
        return Gate(name="verified", verdict=report.verdict, detail=detail, hint=hint)
    hours = age.total_seconds() / 3600
    if not is_fresh(age):
        limit = VERIFICATION_VALID.total_seconds() / 3600
        detail = f"verification is {hours:.0f} h old, at most {limit:.0f} h is allowed"
        if age < timedelta():
            detail = f"verification is dated {-hours:.1f} h ahead of this machine's clock, so that its age is not known"
        return Gate(name="verified", verdict=Verdict.STALE, detail=detail, hint=hint)
    touched = workshop.ledger.touched(workshop.alias, after=report.max_sequence)
    since = f", {touched} touched since" if touched else ""
    what = plural(report.compared, "document")
    detail = f"{what} equal, {report.sampled} {report.sampled_how}, {hours:.1f} h ago{since}"
    return Gate(name="verified", verdict=Verdict.PASS, detail=detail)


def is_fresh(age: timedelta) -> bool:
    """Whether evidence of this age still says something."""
    return -_AHEAD <= age <= VERIFICATION_VALID


def _quarantine(workshop: Workshop, *, accept_quarantine: bool) -> Gate:
    count = workshop.ledger.quarantined_count(workshop.alias)
    if not count:
        return Gate(name="quarantine", verdict=Verdict.PASS, detail="no document is set aside")
    first = workshop.ledger.quarantined(workshop.alias, limit=3)
    detail = f"{plural(count, 'document')} could not be carried over, for example " + ", ".join(
        f"{item.key} ({item.reason})" for item in first
    )
    if accept_quarantine:
        return Gate(name="quarantine", verdict=Verdict.PASS, detail=f"{detail}; accepted")
    hint = f"mend or delete them, or: undrift cutover {workshop.alias} --accept-quarantine"
    return Gate(name="quarantine", verdict=Verdict.FAIL, detail=detail, hint=hint)


def _settled(workshop: Workshop, place: str) -> Gate:
    """No document has its truth in the field that does not serve."""
    lag = workshop.ledger.lag(workshop.alias)
    what = f"{plural(lag.foreign, 'document')} with the truth in the {place}"
    # A write that is still open there keeps its documents foreign, so these count for it too.
    return Gate(
        name="settled",
        verdict=Verdict.FAIL if lag.foreign else Verdict.PASS,
        detail=f"{what}{lag.open_writes}" if lag.foreign else what,
        hint=f"undrift worker, then undrift status {workshop.alias}" if lag.foreign else "",
    )


def _carried_back(workshop: Workshop, route: Route, otherwise: str) -> Gate:
    """No document is in a field only, because the other one would not take it; `serving` is the field that has it."""
    held = workshop.ledger.quarantined(workshop.alias, limit=_HELD_AT_MOST) if route.follower is not None else []
    for start in range(0, len(held), _AT_ONCE):
        some = held[start : start + _AT_ONCE]
        here, there = (
            workshop.store_of(place).entries(place, [one.key for one in some], Part.NONE)
            for place in (route.serving, route.follower or route.serving)
        )
        alone = [one for one in some if one.key in here and one.key not in there]
        if alone:
            examples = ", ".join(f"{one.key} ({one.reason})" for one in alone[:3])
            detail = f"only {route.serving.key} has documents that could not be carried over, for example {examples}"
            hint = f"mend or delete them, or: {otherwise}"
            return Gate(name="quarantine", verdict=Verdict.FAIL, detail=detail, hint=hint)
    if len(held) == _HELD_AT_MOST:
        detail = f"{_HELD_AT_MOST:,} documents or more are in quarantine, and not all were looked at"
        return Gate(
            name="quarantine", verdict=Verdict.FAIL, detail=detail, hint=f"mend or delete them, or: {otherwise}"
        )
    return Gate(name="quarantine", verdict=Verdict.PASS, detail="no document is in one field only")


def _acknowledged(workshop: Workshop, route: Route) -> Gate:
    waiting = workshop.ledger.unacknowledged(workshop.alias, route.epoch, workshop.settle_s)
    names = ", ".join(client.name for client in waiting[:5])
    return Gate(
        name="acknowledged",
        verdict=Verdict.FAIL if waiting else Verdict.PASS,
        detail=f"not yet at epoch {route.epoch}: {names}" if waiting else f"every client is at epoch {route.epoch}",
        hint=f"undrift status {workshop.alias}" if waiting else "",
    )


def _reconciled(workshop: Workshop, needs_reconcile: str, epoch: int) -> Gate:
    """Two scans in a row, the second without anything foreign, once anybody is suspected to write past undrift."""
    record = record_of(workshop)
    hint = f"undrift reconcile {workshop.alias}"
    if not (needs_reconcile or record.seen or workshop.always_reconcile):
        detail = "nobody is known to have written past the journal"
        return Gate(name="reconciled", verdict=Verdict.PASS, detail=detail)
    last = record.reports[-1] if record.reports else None
    if last is not None and record.speaks_for(epoch) and not needs_reconcile:
        age = workshop.clock.now() - last.started
        hours = age.total_seconds() / 3600
        fresh = is_fresh(age)
        return Gate(
            name="reconciled",
            verdict=Verdict.PASS if fresh else Verdict.STALE,
            detail=f"two scans in a row, nothing foreign in {last.compared} documents, {hours:.1f} h ago",
            hint="" if fresh else hint,
        )
    return Gate(name="reconciled", verdict=Verdict.FAIL, detail=_suspicion(needs_reconcile, last), hint=hint)


def _suspicion(needs_reconcile: str, last: ReconcileReport | None) -> str:
    """Say who is suspected, of how much, since when, with examples."""
    wanted = "two scans in a row are needed, the second without a foreign change"
    parts = [needs_reconcile] if needs_reconcile else []
    if last is not None and last.foreign:
        kinds = ", ".join(f"{count} {kind}" for kind, count in last.kinds.items())
        examples = ", ".join(sample["id"] for sample in last.samples[:SAMPLES_SHOWN])
        parts.append(
            f"the last scan found {last.foreign} foreign changes ({kinds}) between {last.since:%Y-%m-%d %H:%M:%S} and "
            f"{last.finished:%Y-%m-%d %H:%M:%S} UTC, {last.per_minute:.2g} a minute, for example {examples}"
        )
    return "; ".join([*parts, wanted])


def _reachable(workshop: Workshop, field: VectorField, name: str, detail: str) -> Gate:
    """Prove that a field takes writes and that its model answers.

    The write is a delete of an id that nobody has: it needs every permission, and leaves nothing behind if this dies.
    """
    try:
        # Where the space stays, its model is no part of the way back, and nothing is paid.
        if not workshop.migration().copies:
            workshop.door_of(field.space).fresh(["undrift proves the way back"])
        workshop.store_of(field).delete(field, [PROBE_ID])
    except UndriftError as error:
        return Gate(name=name, verdict=Verdict.FAIL, detail=error.message, hint=error.hint)
    return Gate(name=name, verdict=Verdict.PASS, detail=detail)
