"""How hard the workers of a migration may work, and what an operator can change of that while they do."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import time
from typing import Any

from undrift.domain.batch import BatchMode
from undrift.errors import BadArgument

#: Documents in a piece of the back-fill: large enough to make the bookkeeping cheap, small enough to be lost without
#: regret.
PIECE = 256
#: The word for no limit.
NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """A part of the day, from one time to another; over midnight when it ends before it begins."""

    begin: time
    end: time

    def has(self, moment: time) -> bool:
        """Whether a time of the day is in it; the end is not."""
        if self.begin <= self.end:
            return self.begin <= moment < self.end
        return moment >= self.begin or moment < self.end

    def __str__(self) -> str:
        """Write it as it is configured."""
        return f"{self.begin:%H:%M}-{self.end:%H:%M}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How hard the workers of one alias may work; None for no limit.

    Attributes:
        chunk_size: documents that a worker reads and embeds in one go, 1 to 256.
        nice_ratio: seconds of rest after a piece, for each second that it took.
        max_rows_per_s: documents back-filled in a second, by all workers together.
        max_lag_s: age of the oldest dirty document above which the back-fill waits for it.
        max_search_ms: p95 of searches of the serving field, as applications measure them and else the worker itself,
            above which the work waits.
        max_error_rate: share of a worker's calls of the store that fail, above which the work waits.
        hours: the only part of the day in which the work goes on, such as 22:00-06:00.
        time_zone: the time zone of those hours, such as Europe/Berlin.
        batch: whether texts are embedded through the provider's batch API; None for what the model is configured with.
    """

    chunk_size: int = PIECE
    nice_ratio: float = 0.0
    max_rows_per_s: float | None = None
    max_lag_s: float | None = None
    max_search_ms: float | None = None
    max_error_rate: float | None = None
    hours: Hours | None = None
    time_zone: str = "UTC"
    batch: BatchMode | None = None


def read_hours(text: str) -> Hours:
    """Read a part of the day such as `22:00-06:00`.

    Raises:
        BadArgument: it is none, or has no length.
    """
    found = re.fullmatch(r"\s*([01]?\d|2[0-3]):([0-5]\d)\s*-\s*([01]?\d|2[0-3]):([0-5]\d)\s*", text)
    if found is not None:
        begin_hour, begin_minute, end_hour, end_minute = map(int, found.groups())
        begin, end = time(begin_hour, begin_minute), time(end_hour, end_minute)
        if begin != end:
            return Hours(begin=begin, end=end)
    raise BadArgument(f"{text!r} is no part of a day", "it is written as 22:00-06:00, and is not empty")


def _number(least: float, most: float = float("inf"), *, above: bool = False) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not (least < value if above else least <= value) or not value <= most or value == float("inf"):
            bound = f"above {least:g}" if above else f"{least:g} or more"
            raise BadArgument(f"{text!r} is not a number {bound}" + (f", at most {most:g}" if most < 1e300 else ""))
        return value

    return read


def _piece(text: str) -> int:
    if not re.fullmatch(r"\d{1,3}", text) or not 1 <= int(text) <= PIECE:
        raise BadArgument(f"{text!r} is not a whole number from 1 to {PIECE}, the size of a piece")
    return int(text)


def _batch(text: str) -> BatchMode:
    try:
        return BatchMode(text)
    except ValueError:
        raise BadArgument(f"{text!r} is not true, false or auto") from None


#: How the value of each setting is read; a setting that may be `none` has no limit then.
_READERS: dict[str, Callable[[str], Any]] = {
    "chunk_size": _piece,
    "nice_ratio": _number(0, 100),
    "max_rows_per_s": _number(0, above=True),
    "max_lag_s": _number(0, above=True),
    "max_search_ms": _number(0, above=True),
    "max_error_rate": _number(0, 1),
    "hours": read_hours,
    "time_zone": str,
    "batch": _batch,
}
#: Settings of the work that an operator can change while it goes on.
KNOBS = tuple(_READERS)
_ALWAYS = frozenset({"chunk_size", "nice_ratio", "time_zone"})


def read_knob(key: str, text: str) -> Any:
    """Read the value of a setting.

    Raises:
        BadArgument: there is no such setting, or it cannot have that value.
    """
    if key not in _READERS:
        raise BadArgument(f"there is no setting {key}", f"there are: {', '.join(KNOBS)}")
    if text == NONE and key not in _ALWAYS:
        return None
    try:
        return _READERS[key](text)
    except BadArgument as error:
        raise BadArgument(f"{key} cannot be {text!r}: {error.message}", error.detail, f"{key}=?") from error


def tuned(limits: Limits, live: Mapping[str, str]) -> Limits:
    """Return the limits with an operator's live settings on top; notes that lie beside them are no settings."""
    return replace(limits, **{key: read_knob(key, text) for key, text in live.items() if key in _READERS})


def shown(limits: Limits) -> dict[str, str]:
    """Return every setting as it would be given."""
    values = {key: getattr(limits, key) for key in KNOBS}
    return {
        key: NONE
        if value is None
        else value.value
        if isinstance(value, BatchMode)
        else f"{value:g}"
        if isinstance(value, int | float)
        else str(value)
        for key, value in values.items()
    }
