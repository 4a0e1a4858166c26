"""When nobody is told of an alert although it fires: silences by hand, and maintenance windows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any
from zoneinfo import ZoneInfo

from undrift.domain.tuning import Hours

#: The days of a week as they are configured.
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Alerts of which nobody is told for a while.

    Attributes:
        key: the key of an alert, or a pattern with `*` and `?`.
        until: its end.
        reason: why.
        who: who wanted it.
    """

    key: str
    until: datetime
    reason: str
    who: str

    def covers(self, key: str, now: datetime) -> bool:
        """Whether nobody is told of an alert now."""
        return now < self.until and (key == self.key or fnmatchcase(key, self.key))

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"key": self.key, "until": self.until.isoformat(), "reason": self.reason, "who": self.who}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Silence:
        """Read back the JSON form."""
        return cls(
            key=values["key"],
            until=datetime.fromisoformat(values["until"]),
            reason=values["reason"],
            who=values["who"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Hours in which nobody is told of some alerts, again and again.

    Attributes:
        keys: keys of alerts, or patterns with `*` and `?`.
        hours: the part of the day.
        days: the days on which it begins; empty for every day.
        time_zone: whose hours and days they are.
    """

    keys: tuple[str, ...]
    hours: Hours
    days: tuple[str, ...] = ()
    time_zone: str = "UTC"

    def covers(self, key: str, now: datetime) -> bool:
        """Whether nobody is told of an alert now."""
        local = now.astimezone(ZoneInfo(self.time_zone))
        if not self.hours.has(local.time()) or not any(fnmatchcase(key, one) for one in self.keys):
            return False
        # A window over midnight belongs to the day on which it began.
        began = local.weekday() - (self.hours.begin > self.hours.end and local.time() < self.hours.end)
        return not self.days or DAYS[began % 7] in self.days


def muted(key: str, now: datetime, silences: Iterable[Silence], windows: Iterable[Window]) -> str:
    """Return why nobody is told of an alert now; empty when people are."""
    for silence in silences:
        if silence.covers(key, now):
            return f"silenced until {silence.until.isoformat(timespec='minutes')} by {silence.who}: {silence.reason}"
    return "in a maintenance window" if any(window.covers(key, now) for window in windows) else ""
