"""The end of a model: which day counts, how urgent it is, and when a migration away from it has to begin."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from undrift.domain.catalogue import Attribute, Catalogue, Fact, ModelKey, Precision
from undrift.domain.finding import Finding, Severity, State

#: Days before the end at which one is told again, and how urgent it is from then on.
LEVELS: Sequence[tuple[int, str]] = (
    (180, "info"),
    (90, "info"),
    (60, "warn"),
    (30, "warn"),
    (14, "page"),
    (7, "page"),
    (1, "page"),
)
#: How soon somebody has to act at each of them.
_SEVERITY = {
    "none": Severity.INFO,
    "info": Severity.INFO,
    "warn": Severity.WARNING,
    "page": Severity.ERROR,
    "gone": Severity.CRITICAL,
}
#: The check of the look-out that looks at ends.
CHECK = "sunset"
#: Days that are kept between the end of a migration and that of the model: evaluation, and a way back.
MARGIN_DAYS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Sunset:
    """The end of a model, as far as it is known.

    Attributes:
        key: which model.
        end: the fact to go by.
        others: what other sources say, and what was said before.
    """

    key: ModelKey
    end: Fact
    others: tuple[Fact, ...]

    @property
    def disagreeing(self) -> tuple[Fact, ...]:
        """Last words of other sources that name another day."""
        last = {fact.origin: fact for fact in (*self.others, self.end)}
        return tuple(fact for fact in last.values() if fact.value != self.end.value and fact.origin != self.end.origin)

    @property
    def moved(self) -> bool:
        """Whether a source named another day before."""
        return any(
            before.origin == after.origin and before.value != after.value and before.seen < after.seen
            for before in (*self.others, self.end)
            for after in (*self.others, self.end)
        )

    def level(self, today: date) -> str:
        """Return how urgent it is: `none`, `info`, `warn`, `page`, or `gone` when the day has come."""
        left = (self.end.day - today).days
        if left <= 0 and self.end.precision is Precision.EXACT:
            return "gone"
        return next((name for days, name in reversed(LEVELS) if left <= days), "none")

    def within(self, today: date) -> int | None:
        """Return the level that was passed last, in days before the end, 0 when it has come; None before the first."""
        if self.level(today) == "gone":
            return 0
        left = (self.end.day - today).days
        return min((days for days, _ in LEVELS if left <= days), default=None)

    def latest_safe_start(self, hours: float) -> date:
        """Return the last day on which a migration that takes so long may begin."""
        # There is no day before the first one, however long it takes.
        days = MARGIN_DAYS + math.ceil(min(hours / 24, date.max.toordinal()))
        return date.fromordinal(max(date.min.toordinal(), self.end.day.toordinal() - days))


def sunset_of(catalogue: Catalogue, key: ModelKey) -> Sunset | None:
    """Return the end of a model, or None when nobody has named one."""
    end = catalogue.fact(key, Attribute.SHUTDOWN)
    if end is None:
        return None
    others = tuple(fact for fact in catalogue.history(key, Attribute.SHUTDOWN) if fact is not end)
    return Sunset(key=key, end=end, others=others)


def first_end(catalogue: Catalogue, keys: Iterable[ModelKey]) -> Sunset | None:
    """Return the earliest end of a model that may be each of these, or None when nobody has named one."""
    ends = [end for key in keys if (end := sunset_of(catalogue, key)) is not None]
    return min(ends, key=lambda end: end.end.day, default=None)


def end_found(sunset: Sunset, alias: str, moment: datetime, *, begin: date, tokens: int | None) -> Finding:
    """Return what a look found that an alias has vectors of a model whose end is known.

    Args:
        sunset: the end.
        alias: whose vectors are concerned.
        moment: when it was looked at.
        begin: the last safe day to begin a migration away from it.
        tokens: tokens to embed again; None where they cannot be reckoned.
    """
    today, day, within = moment.date(), sunset.end.value, sunset.within(moment.date())
    left = (sunset.end.day - today).days
    when = f"in {left} days" if left > 0 else "which has come"
    said = [f"{fact.source} says {fact.value} (seen {fact.seen})" for fact in sunset.disagreeing]
    known = [fact for fact in sunset.others if fact not in sunset.disagreeing]
    said += [f"{fact.source} said {fact.value} (seen {fact.seen})" for fact in known if sunset.moved]
    figures = {
        "end_timestamp_seconds": datetime.combine(sunset.end.day, time(), UTC).timestamp(),
        **({"tokens": float(tokens)} if tokens is not None else {}),
    }
    return Finding(
        check=CHECK,
        subject=f"{alias}/{sunset.key}",
        state=State.BAD,
        severity=_SEVERITY[sunset.level(today)],
        moment=moment,
        words=f"{sunset.key}, of which {alias} has vectors, ends on {day} ({when}; {sunset.end.source}): the last safe "
        f"day to begin is {begin.isoformat()}",
        detail="\n".join(said),
        hint=f"undrift plan {alias} --to MODEL",
        figures=figures,
        # A day that moved is told anew, and so is each level that is passed.
        occasion=day if within is None else f"{day} within {within}",
    )
