"""Following a migration: how fast it goes, what it waits for, and when to look again."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from undrift.cli.layout import duration, money, number
from undrift.cli.render import Meter, Reading
from undrift.errors import UndriftError

#: Looking costs a few reads of the ledger; more often is not worth it. In seconds.
LOOK_EVERY_S = 0.5
#: A worker that waits says so again and again; what it said longer ago is over. In seconds.
REASON_VALID_S = 1.0
#: The pace is that of the last so many seconds: an hour of pause must not spoil the forecast.
PACE_WINDOW_S = 30.0
#: A wait is told when it lasts so long, and then again and again. In seconds.
PATIENCE_S = 1.0
TELL_EVERY_S = 5.0


class Pace:
    """Documents per second over the recent past."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._samples: deque[tuple[float, int]] = deque()

    def add(self, now: float, done: int) -> float | None:
        """Take a sample and return the pace; None before there is anything to compare it with.

        Args:
            now: seconds of a clock that does not go back.
            done: documents done by then.
        """
        if self._samples and done < self._samples[-1][1]:
            self._samples.clear()
        self._samples.append((now, done))
        while len(self._samples) > 2 and now - self._samples[1][0] >= PACE_WINDOW_S:
            self._samples.popleft()
        (began, first), (ended, last) = self._samples[0], self._samples[-1]
        return (last - first) / (ended - began) if ended > began and last > first else None


class Waits:
    """Tells what is waited for, if it takes long enough to wonder."""

    def __init__(self, note: Callable[[str], None], alias: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Wait for nothing yet.

        Args:
            note: tells a person.
            alias: whose migration waits.
            clock: seconds of a clock that does not go back.
        """
        self._note = note
        self._alias = alias
        self._clock = clock
        self._due: float | None = None

    def __call__(self, reason: str) -> None:
        """Take note that something is waited for; called again and again while it is."""
        now = self._clock()
        if self._due is None:
            self._due = now + PATIENCE_S
        elif now >= self._due:
            self._due = now + TELL_EVERY_S
            self._note(f"{self._alias}: waiting for {reason}")

    def over(self) -> None:
        """Take note that the wait is over."""
        self._due = None


class Lookout:
    """Shows on a meter how far one alias's migration has come, while others work on it."""

    def __init__(self, look: Callable[[], Mapping[str, Any]], meter: Meter, clock: Callable[[], float]) -> None:
        """Show nothing before the first look.

        Args:
            look: returns a glance of the control plane.
            meter: where it is shown.
            clock: seconds of a clock that does not go back.
        """
        self._look = look
        self._meter = meter
        self._clock = clock
        self._pace = Pace()
        self._waiting = ("", float("-inf"))

    def waits(self, reason: str) -> None:
        """Take note of what a worker of this process waits for; from any thread, again and again while it does."""
        self._waiting = (reason, self._clock())

    def show(self) -> None:
        """Look, and show it."""
        try:
            glance = self._look()
        except UndriftError:
            # What is only shown must not end the work, which meets the same obstacle and knows what to do.
            return
        now = self._clock()
        reason, since = self._waiting
        pace = self._pace.add(now, glance["progress"]["done"])
        self._meter.show(reading(glance, pace, reason if now - since <= REASON_VALID_S else ""))


@contextmanager
def regularly(show: Callable[[], None], every_s: float = LOOK_EVERY_S) -> Iterator[None]:
    """Call something in a thread of its own again and again, for the length of a `with` block, and once at the end."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(every_s):
            show()

    thread = threading.Thread(target=run, name="undrift-show", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    show()


def reading(glance: Mapping[str, Any], pace: float | None, waiting: str = "") -> Reading:
    """Return what a progress bar shows of a glance.

    Args:
        glance: of the control plane.
        pace: documents per second, None when it is not known.
        waiting: what the worker of this very process waits for; by default what the glance names.
    """
    from undrift.domain.checkpoint import Progress

    progress, cost = glance["progress"], glance["cost"]
    speed = ""
    if glance["phase"] == "backfill" and pace:
        speed = f"{number(pace)} a second"
        forecast = Progress(total=progress["total"], done=progress["done"], rate_per_s=pace)
        # No rate in the glance says that the total is not known yet.
        if progress["rate_per_s"] is not None and forecast.eta_s:
            speed += f", about {duration(forecast.eta_s)} left{between(progress)}"
    state = "" if glance["run_status"] in ("running", "idle") else f" ({glance['run_status']})"
    facts = [f"{number(glance['dirty'])} dirty" if glance["dirty"] else "", spent(cost) if cost["tokens"] else ""]
    return Reading(
        label=f"{glance['alias']}: {glance['phase'].replace('_', ' ')}{state}",
        done=progress["done"],
        total=progress["total"],
        speed=speed,
        facts=", ".join(fact for fact in facts if fact),
        waiting=waiting or glance["waiting_for"] or "",
    )


def between(progress: Mapping[str, Any]) -> str:
    """Write the interval of a forecast behind it; nothing where there is none."""
    least, most = progress.get("eta_least_s"), progress.get("eta_most_s")
    if least is None:
        return ""
    return f" (at least {duration(least)})" if most is None else f" ({duration(least)} to {duration(most)})"


def spent(cost: Mapping[str, Any]) -> str:
    """Write what a migration has cost, and of which budget."""
    text = f"{number(cost['tokens'])} tokens"
    if cost["budget_tokens"] is not None:
        text += f" of {number(cost['budget_tokens'])}"
    if cost["usd"] or cost["budget_usd"] is not None:
        text += f", {money(cost['usd'])}"
        text += f" of {money(cost['budget_usd'])}" if cost["budget_usd"] is not None else ""
    if cost["reserved_tokens"]:
        text += f" ({number(cost['reserved_tokens'])} tokens of them put aside for requests under way)"
    if cost["left_tokens"] is not None:
        text += f", {number(cost['left_tokens'])} tokens left"
    return text
