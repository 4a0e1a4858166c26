"""The moments of a migration at which a user's own programs are called, and which of them are due in a state."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from undrift.domain.migration import BEFORE_CUTOVER, AliasState, Phase, RunStatus


class Moment(Enum):
    """A moment at which hooks are called."""

    #: The migration is recorded: its plan was sound.
    ON_VALIDATED = "on_validated"
    #: Writes are journaled; the work begins.
    ON_START = "on_start"
    #: Every document that nobody touched is carried over.
    ON_BACKFILL_COMPLETE = "on_backfill_complete"
    #: Both fields are equal; the cutover may come.
    ON_READY = "on_ready"
    #: A cutover is about to happen; a hook may refuse it.
    BEFORE_CUTOVER = "before_cutover"
    #: The target serves.
    AFTER_CUTOVER = "after_cutover"
    #: The source serves again.
    ON_ROLLBACK = "on_rollback"
    #: More documents are set aside than ever before in this migration.
    ON_QUARANTINE = "on_quarantine"
    #: The migration is halted; going on needs a person.
    ON_FAILURE = "on_failure"
    #: The migration is completed.
    ON_SUCCESS = "on_success"


#: Name of the note in the ledger that says for what a moment's hooks were called last.
NOTE = "@hook:"

_GIVEN_UP = frozenset({Phase.ABORTING, Phase.ABORTED})
_READY = frozenset({Phase.READY, Phase.REVERSING, Phase.ROLLED_BACK, Phase.RETIRING, Phase.DONE})


def due(state: AliasState, quarantined: int, called: Mapping[Moment, str]) -> list[tuple[Moment, str]]:
    """Return the moments whose hooks are still to be called, in order, each with what to note when they were.

    It is read off the state, so a process that was killed between a change and its hooks leaves them to the next one.

    Args:
        state: the alias with its migration.
        quarantined: documents that are set aside.
        called: what was noted, by moment.
    """
    migration = state.migration
    if migration is None:
        return []
    phase, epoch = migration.phase, str(state.route.epoch)
    wanted = [(Moment.ON_VALIDATED, "1")]
    if phase not in _GIVEN_UP:
        wanted += [(Moment.ON_START, "1")] if phase is not Phase.REGISTERED else []
        wanted += [(Moment.ON_BACKFILL_COMPLETE, "1")] if phase in _READY or phase in _AFTER_BACKFILL else []
        wanted += [(Moment.ON_READY, "1")] if phase in _READY else []
        wanted += [(Moment.AFTER_CUTOVER, epoch)] if phase is Phase.REVERSING else []
        wanted += [(Moment.ON_ROLLBACK, epoch)] if phase is Phase.ROLLED_BACK else []
    if quarantined > int(called.get(Moment.ON_QUARANTINE) or 0):
        wanted.append((Moment.ON_QUARANTINE, str(quarantined)))
    if migration.run_status is RunStatus.HALTED and not migration.is_final:
        wanted.append((Moment.ON_FAILURE, migration.reason))
    if phase is Phase.DONE:
        wanted.append((Moment.ON_SUCCESS, "1"))
    return [(moment, note) for moment, note in wanted if called.get(moment) != note]


_AFTER_BACKFILL = BEFORE_CUTOVER - {Phase.REGISTERED, Phase.JOURNALING, Phase.BACKFILL}


def context(state: AliasState, moment: Moment, quarantined: int, *, dry_run: bool = False) -> dict[str, Any]:
    """Return what a hook is told, as it is written in JSON."""
    migration, route = state.migration, state.route
    told: dict[str, Any] = {
        "event": moment.value,
        "alias": route.alias,
        "epoch": route.epoch,
        "serving": {"field": route.serving.key, "space": route.serving.space},
        "quarantined": quarantined,
        "dry_run": dry_run,
    }
    if migration is not None:
        told |= {
            "migration": migration.id,
            "phase": migration.phase.value,
            "run_status": migration.run_status.value,
            "reason": migration.reason,
            "source": {"field": migration.source.key, "space": migration.source.space},
            "target": {"field": migration.target.key, "space": migration.target.space, "model": migration.target_model},
            "documents": migration.total,
            "tokens": migration.tokens,
        }
    return told
