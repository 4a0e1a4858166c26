"""Whether the back-fill and the comparison may go on now: what is seen is one value, and the decision another."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import time

from undrift.domain.route import AliasName
from undrift.domain.tuning import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Go:
    """Nothing is in the way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Something is in the way.

    Attributes:
        reason: what it is, with its figures.
        ends_by: what ends the wait: a command, or an event.
    """

    reason: str
    ends_by: str

    def __str__(self) -> str:
        """Write it as what is waited for."""
        return f"{self.reason}: {self.ends_by}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What a worker sees; None where nothing is known, or where no limit asks for it.

    Attributes:
        search_p95_ms: p95 of searches of the serving field over the last minute: the slowest application's, or the
            worker's own where no application tells.
        error_rate: share of its calls of the store in the last minute that failed.
        oldest_dirty_s: age of the oldest document that is to be carried over.
        local: the time of the day in the time zone of the limits.
        objection: what the user's own hook has against it; empty if nothing.
    """

    search_p95_ms: float | None = None
    error_rate: float | None = None
    oldest_dirty_s: float | None = None
    local: time | None = None
    objection: str = ""


def decide(seen: Observed, limits: Limits, alias: AliasName) -> Go | Wait:
    """Decide whether the work goes on; any limit that is passed keeps it waiting, and all that are passed are named.

    What writers wait for, and documents that they touched, are carried over in any case.
    """
    waits = [*_measured(seen, limits, alias), *_asked(seen, limits, alias)]
    if not waits:
        return Go()
    return Wait(reason="; ".join(wait.reason for wait in waits), ends_by=waits[0].ends_by)


def _measured(seen: Observed, limits: Limits, alias: AliasName) -> list[Wait]:
    waits = []
    tune = f"undrift tune {alias}"
    if limits.max_search_ms is not None and (seen.search_p95_ms or 0.0) > limits.max_search_ms:
        reason = f"searches that take {seen.search_p95_ms:.0f} ms (p95, at most {limits.max_search_ms:g})"
        waits.append(Wait(reason=reason, ends_by=f"{tune} max_search_ms=none"))
    if limits.max_error_rate is not None and (seen.error_rate or 0.0) > limits.max_error_rate:
        reason = f"a store that fails {seen.error_rate:.0%} of the calls (at most {limits.max_error_rate:.0%})"
        waits.append(Wait(reason=reason, ends_by=f"{tune} max_error_rate=none"))
    if limits.max_lag_s is not None and (seen.oldest_dirty_s or 0.0) > limits.max_lag_s:
        reason = f"documents dirty for {seen.oldest_dirty_s:.0f} s (at most {limits.max_lag_s:g})"
        waits.append(Wait(reason=reason, ends_by=f"undrift worker {alias} helps"))
    return waits


def _asked(seen: Observed, limits: Limits, alias: AliasName) -> list[Wait]:
    waits = []
    if limits.hours is not None and seen.local is not None and not limits.hours.has(seen.local):
        reason = f"the hours {limits.hours} of {limits.time_zone}, where it is {seen.local:%H:%M}"
        waits.append(Wait(reason=reason, ends_by=f"undrift tune {alias} hours=none"))
    if seen.objection:
        waits.append(Wait(reason=seen.objection, ends_by=f"it has to agree, or go from [aliases.{alias}.throttle]"))
    return waits
