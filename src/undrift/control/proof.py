"""How old the evidence about an alias is, for those who look at its status."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from undrift.domain.migration import AliasState
from undrift.domain.reconcile import ReconcileRecord
from undrift.domain.route import AliasName
from undrift.migrate.gates import is_fresh
from undrift.ports.ledger import Ledger


def verification_of(ledger: Ledger, alias: AliasName, now: datetime) -> dict[str, Any] | None:
    """Return what the last verification of the present migration says now, and how far one is that goes on.

    Args:
        ledger: the ledger.
        alias: the alias.
        now: the wall clock.
    """
    report, running = ledger.verification(alias), ledger.bookmark(alias, "verify.run")
    if report is None and running is None:
        return None
    going = {key: running[key] for key in ("compared", "resumed", "started")} if running else None
    if report is None:
        return {"verdict": None, "age_s": None, "stale": None, "touched": None, "running": going}
    age = now - report.begun
    return {
        "verdict": report.verdict.value,
        "age_s": round(age.total_seconds(), 3),
        "stale": not is_fresh(age),
        "touched": ledger.touched(alias, after=report.max_sequence),
        "running": going,
    }


def reconciliation_of(ledger: Ledger, state: AliasState) -> dict[str, Any]:
    """Return what is known of writes past undrift during the present migration.

    Args:
        ledger: the ledger.
        state: the alias.
    """
    record = ReconcileRecord.from_dict(ledger.bookmark(state.route.alias, "reconcile"))
    last = record.reports[-1] if record.reports else None
    return {
        "needed": state.needs_reconcile,
        "foreign": record.seen,
        "held": last.held if last else 0,
        "settled": record.speaks_for(state.route.epoch) and not state.needs_reconcile,
        "last_scan": last.finished.isoformat() if last else None,
    }
