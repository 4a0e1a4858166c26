"""Durations taken turn by turn, and the rows that are made of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np


class Judged(Enum):
    """What of a row a target is about."""

    #: Ours divided by the baseline.
    RATIO = "ratio"
    #: Ours less the baseline.
    ADDED = "added"
    #: Ours alone.
    VALUE = "value"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is promised; exactly one of the limits is set."""

    judged: Judged
    at_most: float | None = None
    at_least: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table.

    Attributes:
        name: what was measured.
        ours: through undrift.
        baseline: the same without it, or before, or smaller; the name says which.
        unit: of both.
        target: what is promised, if anything is.
    """

    name: str
    ours: float
    baseline: float | None = None
    unit: str
    target: Target | None = None

    @property
    def ratio(self) -> float | None:
        """Ours divided by the baseline."""
        return self.ours / self.baseline if self.baseline else None

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None without one."""
        if self.target is None:
            return None
        judged = self._judged(self.target.judged)
        too_much = self.target.at_most is not None and judged > self.target.at_most
        too_little = self.target.at_least is not None and judged < self.target.at_least
        return not (too_much or too_little)

    def _judged(self, judged: Judged) -> float:
        match judged:
            case Judged.VALUE:
                return self.ours
            case Judged.ADDED:
                return self.ours - (self.baseline or 0.0)
            case Judged.RATIO:
                return self.ratio if self.ratio is not None else float("nan")


def timed(call: Callable[[], object]) -> float:
    """Return how long a call takes, in seconds."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def in_turns(
    ours: Callable[[int], object],
    baseline: Callable[[int], object],
    rounds: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[list[float], list[float]]:
    """Time two calls in turns, each given the number of the round; who comes first changes with every round.

    Args:
        ours: the call through undrift.
        baseline: the same without it.
        rounds: how often.
        clock: what the time is read from, in seconds.

    Returns:
        The seconds of each round, ours and the baseline's.
    """
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for which in (0, 1) if number % 2 else (1, 0):
            call = (ours, baseline)[which]
            started = clock()
            call(number)
            seconds[which].append(clock() - started)
    return seconds


def quantile_ms(seconds: Sequence[float], share: float) -> float:
    """Return a quantile of some durations, in milliseconds."""
    return float(np.quantile(seconds, share)) * 1000


def median(values: Sequence[float]) -> float:
    """Return the middle value."""
    return float(np.median(values))


def latency_rows(
    name: str, ours: Sequence[float], baseline: Sequence[float], *, p50: Target | None, p99: Target | None
) -> list[Row]:
    """Return the median and the 99th percentile of two lists of durations as rows."""
    return [
        Row(
            name=f"{name}, {label}",
            ours=quantile_ms(ours, share),
            baseline=quantile_ms(baseline, share),
            unit="ms",
            target=target,
        )
        for label, share, target in (("p50", 0.5, p50), ("p99", 0.99, p99))
    ]
