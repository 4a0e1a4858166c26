"""What keeps a migration waiting, in words that name who or what it is, why, and the command that ends it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from undrift.domain.client import ClientInfo
from undrift.domain.migration import Migration, RunStatus
from undrift.domain.route import AliasName
from undrift.errors import UndriftError
from undrift.ports.ledger import Ledger
from undrift.ports.runtime import Clock

#: Name of the note in the ledger that says what a worker waits for.
NOTE = "@waiting"
#: What is over sooner is not worth a note, and a note is not changed more often. In seconds.
_PATIENCE_S = 1.0
_EVERY_S = 2.0

#: What an operator did to bring the workers into a status, as the sentence says it.
_DEEDS = {RunStatus.PAUSED: "paused it", RunStatus.STOPPED: "stopped every worker"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorWait:
    """An operator keeps the workers waiting.

    Attributes:
        who: the operator.
        at: since when; None when the history does not reach back so far.
        reason: why, in the operator's words; may be empty.
        deed: what was done.
        ends_by: the command that ends it.
    """

    who: str
    at: datetime | None
    reason: str
    deed: str
    ends_by: str

    def __str__(self) -> str:
        """Write it as what is waited for."""
        because = f", because {self.reason}" if self.reason else ""
        return f"an operator: {self.who} {self.deed}{because}: {self.ends_by}"

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        at = self.at.isoformat() if self.at is not None else None
        return {"who": self.who, "at": at, "reason": self.reason, "ends_by": self.ends_by}


def operator_wait(ledger: Ledger, migration: Migration) -> OperatorWait | None:
    """Return who paused or stopped the workers of a migration; None when nobody did."""
    status = migration.run_status
    if status not in _DEEDS or migration.is_final:
        return None
    line = next((entry for entry in ledger.history(migration.alias) if entry.action == status.value), None)
    return OperatorWait(
        who=line.who if line else "somebody",
        at=line.at if line else None,
        reason=migration.reason,
        deed=_DEEDS[status],
        ends_by=f"undrift resume {migration.alias}",
    )


class Notice:
    """Tells what one worker waits for: at once who listens in its process, and by a note in the ledger everybody."""

    def __init__(self, ledger: Ledger, alias: AliasName, client: str, clock: Clock) -> None:
        """Wait for nothing yet."""
        self._ledger = ledger
        self._alias = alias
        self._client = client
        self._clock = clock
        self._since: float | None = None
        self._noted = ""
        self._next = float("-inf")

    def waits(self, reason: str) -> None:
        """Take note of a wait; called again and again while it lasts."""
        now = self._clock.monotonic()
        if self._since is None:
            self._since = now
        if now - self._since >= _PATIENCE_S and now >= self._next:
            self._next = now + _EVERY_S
            self._note(reason)

    def over(self) -> None:
        """Take note that it goes on."""
        self._since = None
        if self._noted:
            self._note("")

    def _note(self, reason: str) -> None:
        """Leave the note, unless it is there; that the ledger may be the obstacle is no reason to fail."""
        text = json.dumps({"client": self._client, "reason": reason}) if reason else ""
        with suppress(UndriftError):
            present = self._ledger.tuning(self._alias).get(NOTE, "")
            # Another worker's note stays when this one has nothing to say.
            if present != text and (text or present == self._noted):
                self._ledger.tune(self._alias, {NOTE: text})
            self._noted = text


def noted_wait(tuning: Mapping[str, str], clients: Callable[[], list[ClientInfo]]) -> str:
    """Return what a worker has noted that it waits for; empty when none has, or it is gone."""
    note = tuning.get(NOTE, "")
    if not note:
        return ""
    values = json.loads(note)
    alive = any(client.id == values["client"] and client.lease_left_s > 0 for client in clients())
    return str(values["reason"]) if alive else ""
