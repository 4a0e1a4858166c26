"""When each check looks next: kept in the ledger, so that of many processes one looks, and none twice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from undrift.ports.memory import MemoryLedger
from undrift.ports.runtime import Processes

_KEY = "watch/look/"
#: A look may take so long; then another process may look, in case the first died. In seconds.
LOOK_S = 1800.0
#: A check that knew nothing for so many of its intervals is stale.
STALE_AFTER = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """What is remembered of a check's looks.

    Attributes:
        began: when it was first heard of.
        due: when it has to look.
        known: when it last knew something; None for never.
        ended: when it last looked; None for never.
        problem: why it knew nothing the last time; empty when it did.
        took_s: how long the last look took, in seconds.
        owner: who looks now; empty for nobody.
        process: its name, as in `ports.runtime.Processes`.
        until: until when that process may take.
        good: looks that knew something.
        failed: looks that knew nothing.
        blind: subjects of which nothing was known the last time: since when, and why.
    """

    began: datetime
    due: datetime
    known: datetime | None = None
    ended: datetime | None = None
    problem: str = ""
    took_s: float = 0.0
    owner: str = ""
    process: str = ""
    until: datetime | None = None
    good: int = 0
    failed: int = 0
    blind: Mapping[str, tuple[datetime, str]] = field(default_factory=dict)

    def stale_since(self, every_s: float, known: datetime | None = None) -> datetime:
        """Return from when on too little is known, of the whole, or of what was last known at another moment."""
        return (known or self.known or self.began) + timedelta(seconds=STALE_AFTER * every_s)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        values["blind"] = {subject: (since.isoformat(), why) for subject, (since, why) in self.blind.items()}
        return {name: one.isoformat() if isinstance(one, datetime) else one for name, one in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Looks:
        """Read back the JSON form."""
        moments = {
            name: datetime.fromisoformat(values[name]) if values[name] else None
            for name in ("began", "due", "known", "ended", "until")
        }
        blind = {one: (datetime.fromisoformat(since), why) for one, (since, why) in values.get("blind", {}).items()}
        return cls(**{**values, **moments, "blind": blind})


class Schedule:
    """The looks of all checks, in the ledger."""

    def __init__(self, ledger: MemoryLedger, me: str, processes: Processes) -> None:
        """Use a ledger, as a client of a name; `processes` tells which of the others are dead."""
        self._ledger = ledger
        self._me = me
        self._processes = processes

    def looks(self, check: str, now: datetime) -> Looks:
        """Return what is remembered of a check; one that was never heard of has to look now."""
        return self._read(check, now)[0]

    def begin(self, check: str, now: datetime, *, anyway: bool = False) -> bool:
        """Take the next look of a check; False when it is not due, or another process has it.

        Args:
            check: the check.
            now: the time.
            anyway: look although it is not due.
        """
        looks, version = self._read(check, now)
        # A look that is still to come is of a clock that was set back, and so is a claim that ends later than any.
        was_set_back = looks.ended is not None and now + timedelta(seconds=LOOK_S) < looks.ended
        taken = looks.until is not None and now < looks.until <= now + timedelta(seconds=LOOK_S)
        if taken and looks.owner != self._me and not self._processes.is_gone(looks.process):
            return False
        if not (anyway or was_set_back or now >= looks.due):
            return False
        until = now + timedelta(seconds=LOOK_S)
        mine = replace(looks, owner=self._me, process=self._processes.me(), until=until)
        return self._ledger.remember(_KEY + check, json.dumps(mine.as_dict()), version=version)

    def end(
        self,
        check: str,
        now: datetime,
        *,
        due: datetime,
        took_s: float,
        problem: str,
        blind: Mapping[str, str] | None = None,
    ) -> None:
        """Give back a look of this process.

        Args:
            check: the check.
            now: the time.
            due: when it has to look next.
            took_s: how long it took.
            problem: why it knew nothing; empty when it did.
            blind: of which of its subjects it knew nothing, and why; None where it looked at none of them.
        """
        while True:
            looks, version = self._read(check, now)
            over = replace(looks, owner="", process="", until=None) if looks.owner == self._me else looks
            done = replace(
                over,
                due=due,
                ended=now,
                began=min(looks.began, now),
                known=(looks.known and min(looks.known, now)) if problem else now,
                problem=problem,
                took_s=took_s,
                good=looks.good + (not problem),
                failed=looks.failed + bool(problem),
                blind=looks.blind if blind is None else _lasting(looks, blind, now),
            )
            if self._ledger.remember(_KEY + check, json.dumps(done.as_dict()), version=version):
                return

    def _read(self, check: str, now: datetime) -> tuple[Looks, int]:
        memo = self._ledger.recall(_KEY + check)
        if memo is None:
            return Looks(began=now, due=now), 0
        return Looks.from_dict(json.loads(memo.text)), memo.version


def _lasting(looks: Looks, blind: Mapping[str, str], now: datetime) -> dict[str, tuple[datetime, str]]:
    """Return since when nothing is known of each subject: since it was so for the first time in a row."""
    return {one: (min(looks.blind.get(one, (now, ""))[0], now), why) for one, why in blind.items()}
