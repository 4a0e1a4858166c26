"""Call the hooks that are due, each at least once, by one process at a time; what they say goes into the history."""

from __future__ import annotations

from undrift.domain.gate import Gate, Verdict
from undrift.domain.hook import NOTE, Moment, context, due
from undrift.domain.migration import RunStatus
from undrift.errors import UndriftError
from undrift.migrate.workshop import Workshop


def call_due(workshop: Workshop, who: str) -> None:
    """Call the hooks of every moment that has come and whose hooks were not called yet.

    They are called by whoever coordinates the migration. A process that dies before it has noted that leaves them to
    the next one, which calls them again: at least once. What they answer changes nothing; it is kept.
    """
    if not any(workshop.hooks.values()):
        return
    alias, ledger = workshop.alias, workshop.ledger
    state = workshop.state()
    if state.migration is None:
        return
    notes = ledger.tuning(alias)
    called = {moment: notes[NOTE + moment.value] for moment in Moment if notes.get(NOTE + moment.value)}
    if Moment.ON_FAILURE in called and state.migration.run_status is not RunStatus.HALTED:
        # It goes on: the next halt is another one, though it may be for the same reason.
        ledger.tune(alias, {NOTE + Moment.ON_FAILURE.value: ""})
    quarantined = ledger.quarantined_count(alias)
    for moment, note in due(state, quarantined, called):
        hooks = workshop.hooks.get(moment, ())
        if not hooks:
            continue
        lease_s = workshop.timing.work_lease_s + sum(workshop.hook_timeout_s for _ in hooks)
        if not ledger.coordinate(state.migration.id, owner=workshop.me, lease_s=lease_s):
            return
        try:
            # Another process may have called them while this one waited to coordinate.
            if ledger.tuning(alias).get(NOTE + moment.value) == note:
                continue
            for hook in hooks:
                outcome = hook.call(context(state, moment, quarantined))
                verdict = "" if outcome.agreed else "failed: "
                detail = f"{hook.name}: {verdict}{outcome.said}".rstrip(": ")
                ledger.enter(alias, who=who, action=moment.value, detail=detail)
            ledger.tune(alias, {NOTE + moment.value: note})
        finally:
            ledger.yield_coordination(state.migration.id, owner=workshop.me)


def consent(workshop: Workshop, who: str, others: list[Gate], *, dry_run: bool) -> list[Gate]:
    """Ask the hooks before a cutover, as one more gate; none without hooks, and nobody while another gate is closed.

    Args:
        workshop: the means.
        who: for the history.
        others: the gates that were looked at before.
        dry_run: whether the cutover is only looked at; the hooks are told.
    """
    hooks = workshop.hooks.get(Moment.BEFORE_CUTOVER, ())
    if not hooks:
        return []
    name = Moment.BEFORE_CUTOVER.value
    if any(gate.verdict is not Verdict.PASS for gate in others):
        return [Gate(name=name, verdict=Verdict.UNKNOWN, detail="not asked while another gate does not hold")]
    told = context(workshop.state(), Moment.BEFORE_CUTOVER, workshop.ledger.quarantined_count(workshop.alias))
    refusals = []
    for hook in hooks:
        outcome = hook.call({**told, "dry_run": dry_run})
        if not dry_run:
            verdict = "agreed" if outcome.agreed else "refused"
            detail = f"{hook.name}: {verdict}: {outcome.said}".rstrip(": ")
            workshop.ledger.enter(workshop.alias, who=who, action=name, detail=detail)
        if not outcome.agreed:
            refusals.append(f"{hook.name}: {' '.join(outcome.said.split())}")
    if refusals:
        hint = f"see to it, or change [aliases.{workshop.alias}.hooks]"
        return [Gate(name=name, verdict=Verdict.FAIL, detail="; ".join(refusals), hint=hint)]
    names = ", ".join(hook.name for hook in hooks)
    return [Gate(name=name, verdict=Verdict.PASS, detail=f"{names} agreed")]


def call_if_possible(workshop: Workshop, who: str) -> None:
    """Call what is due; that it cannot be noted now is no reason to fail what is done, the next process calls it."""
    try:
        call_due(workshop, who)
    except UndriftError as error:
        if not error.retryable:
            raise
