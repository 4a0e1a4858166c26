"""When somebody has to be told of a model's end: at its levels, on every change, and when it is over."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from enum import Enum
from typing import Any

from undrift.domain.sunset import LEVELS, Sunset


class Event(Enum):
    """Why somebody is told."""

    #: A day was named, and none was before.
    ANNOUNCED = "announced"
    #: The day has moved, to earlier or to later.
    CHANGED = "changed"
    #: The day has come nearer, past one of the levels.
    NEARER = "nearer"
    #: The provider itself said something while the model was used: a warning, or that it is gone.
    SAID = "said"
    #: It is over: the alias has no vectors of the model any more, or nobody names a day any more.
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One thing that somebody has to be told about the model of an alias.

    Attributes:
        alias: whose vectors are concerned.
        model: the model, as `channel/model`.
        event: why.
        level: how urgent it is: `none`, `info`, `warn`, `page`, `gone`.
        day: the day that counts, as YYYY-MM-DD; empty where nobody names one.
        within: days before the end of the level that was passed; 0 when the day has come, None for none.
        words: all of it in one sentence.
    """

    alias: str
    model: str
    event: Event
    level: str
    day: str = ""
    within: int | None = None
    words: str = ""

    @property
    def id(self) -> str:
        """The same for the same alert, so that a receiver can tell that it comes again."""
        content = json.dumps({**self.as_dict(), "words": self.words if self.event is Event.SAID else ""})
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        shown = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**shown, "event": self.event.value}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Alert:
        """Read back the JSON form."""
        known = {field.name for field in fields(cls)}
        kept = {key: value for key, value in values.items() if key in known}
        return cls(**{**kept, "event": Event(kept["event"])})


def due(sunset: Sunset, alias: str, told: Sequence[Alert], today: date, *, begin: date) -> Alert | None:
    """Return what has to be told of a model's end, or None when it was told already.

    Args:
        sunset: the end.
        alias: whose vectors are concerned.
        told: what was told of this model before, the first first.
        today: the day.
        begin: the last safe day to begin a migration away from it.
    """
    last = _last_of_the_end(told)
    day, within = sunset.end.value, within_of(sunset, today)
    if last is None:
        event, how = Event.ANNOUNCED, "ends"
    elif last.day != day:
        event, how = Event.CHANGED, f"ends {'earlier' if day < last.day else 'later'} than {last.day}:"
    elif within is not None and (last.within is None or within < last.within):
        event, how = Event.NEARER, "ends"
    else:
        return None
    left = (sunset.end.day - today).days
    when = f"in {left} days" if left > 0 else "which has come"
    return Alert(
        alias=alias,
        model=str(sunset.key),
        event=event,
        level=sunset.level(today),
        day=day,
        within=within,
        words=f"{sunset.key}, of which {alias} has vectors, {how} on {day} ({when}; {sunset.end.source}): the last "
        f"safe day to begin is {begin.isoformat()}",
    )


def within_of(sunset: Sunset, today: date) -> int | None:
    """Return the level that was passed last, in days before the end; None before the first."""
    if sunset.level(today) == "gone":
        return 0
    left = (sunset.end.day - today).days
    return min((days for days, _ in LEVELS if left <= days), default=None)


def resolved(told: Iterable[Alert], concerned: Iterable[str]) -> list[Alert]:
    """Return an end for everything that was told and concerns nobody any more.

    Args:
        told: what was told of one alias, the first first.
        concerned: the models that there is still something to tell of.
    """
    still = set(concerned)
    last = {alert.model: alert for alert in told}
    return [
        Alert(
            alias=alert.alias,
            model=model,
            event=Event.RESOLVED,
            level="none",
            words=f"what was told of {model} does not concern {alert.alias} any more",
        )
        for model, alert in last.items()
        if alert.event is not Event.RESOLVED and model not in still
    ]


def _last_of_the_end(told: Sequence[Alert]) -> Alert | None:
    """Return the last alert about the end, unless all was resolved since."""
    for alert in reversed(told):
        if alert.event is Event.RESOLVED:
            return None
        if alert.event is not Event.SAID:
            return alert
    return None
