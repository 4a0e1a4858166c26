"""How long an alias's searches take in this process, and what they return, told to the workers that ask for it."""

from __future__ import annotations

import json
import math
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from undrift.domain.order import Order, searched_note
from undrift.domain.record import Hits, Vector
from undrift.domain.route import AliasName, Mode
from undrift.domain.tuning import Limits, tuned
from undrift.domain.window import Sampling
from undrift.errors import UndriftError
from undrift.flow.asked import Asked
from undrift.flow.popular import Popular
from undrift.flow.router import Router
from undrift.ports.ledger import Ledger
from undrift.ports.runtime import Clock

#: Numbers count for so long, in seconds.
WINDOW_S = 60.0
#: How often a process tells, in seconds.
_TELL_EVERY_S = 5.0
#: Searches that are remembered at most; the newest of a busy minute say enough.
_REMEMBERED = 2000
#: Fewer than these say nothing.
_FEWEST = 5
#: Names of notes in the ledger; so many processes at most are heard of, so that notes do not pile up.
_NOTE, _SLOTS = "@searches.", 16


class Window:
    """Numbers of the last minute."""

    def __init__(self, clock: Clock, most: int | None = None) -> None:
        """Begin without any, and remember at most so many."""
        self._clock = clock
        self._values: deque[tuple[float, float]] = deque(maxlen=most)

    def add(self, value: float) -> None:
        """Add a number of this moment."""
        self._values.append((self._clock.monotonic(), value))

    def values(self) -> list[float]:
        """Return the numbers that are not too old, sorted."""
        oldest = self._clock.monotonic() - WINDOW_S
        # Another thread may do the same at this moment.
        with suppress(IndexError):
            while self._values[0][0] < oldest:
                self._values.popleft()
        return sorted(value for at, value in self._values.copy() if at >= oldest)


def p95(values: list[float]) -> float | None:
    """Return the 95th percentile of sorted numbers; None when they are too few to say."""
    if len(values) < _FEWEST:
        return None
    return values[min(len(values) - 1, math.ceil(0.95 * len(values)) - 1)]


class Traffic:
    """The searches of one alias by this process; its heart tells of them while a migration wants to know."""

    def __init__(
        self,
        alias: AliasName,
        *,
        ledger: Ledger,
        router: Router,
        clock: Clock,
        limits: Limits,
        order: Order,
        sampling: Sampling | None = None,
    ) -> None:
        """Know of no search yet.

        Args:
            alias: the alias.
            ledger: where workers look.
            router: this process's routes; no ledger is asked while nothing migrates.
            clock: the source of time.
            limits: the configured ones; only where searches are limited is it told how long they take.
            order: what comes first in a back-fill; only where it is what searches return is that counted.
            sampling: what of queries may be kept for the look-out; None for nothing.
        """
        self._alias = alias
        self._ledger = ledger
        self._router = router
        self._clock = clock
        self._limits = limits
        self._searches = Window(clock, _REMEMBERED)
        self._popular = Popular(order.documents) if order.counts_searches else None
        self._asked = Asked(alias, sampling, memory=ledger, clock=clock) if sampling is not None else None
        self._has_told = False
        self._next = clock.monotonic() + _TELL_EVERY_S

    def begin(self) -> float:
        """Return the moment at which a search begins."""
        return self._clock.monotonic()

    def timed(self, began: float) -> None:
        """Take note of a search that began at a moment of the clock and has ended."""
        self._searches.add((self._clock.monotonic() - began) * 1000)

    def returned(self, ids: Iterable[str]) -> None:
        """Take note of what a search returned."""
        if self._popular is not None:
            self._popular.saw(ids)

    def asked(self, vector: Vector, hits: Hits, text: str, filter: Mapping[str, Any] | None) -> None:
        """Take note of a query and its answer."""
        if self._asked is not None:
            self._asked.saw(hits.space, vector, hits.hits, text, filter)

    def tell(self) -> None:
        """Leave notes for the workers and the look-out, if it is time and anybody wants to know."""
        if self._asked is not None:
            self._asked.tell()
        if self._popular is not None:
            self._popular.fold()
            self._tell_popular(self._popular)
        now = self._clock.monotonic()
        if now < self._next or self._router.known_mode(self._alias) is not Mode.JOURNAL:
            return
        self._next = now + _TELL_EVERY_S
        found = p95(self._searches.values())
        if found is None:
            return
        with suppress(UndriftError):
            if tuned(self._limits, self._ledger.tuning(self._alias)).max_search_ms is not None:
                slot = zlib.crc32(self._router.client.encode()) % _SLOTS
                note = {"p95_ms": round(found, 1), "at": self._clock.now().isoformat()}
                self._ledger.tune(self._alias, {f"{_NOTE}{slot}": json.dumps(note)})

    def _tell_popular(self, popular: Popular) -> None:
        """Tell what searches return, once in a migration: at its beginning, or when there is something to tell."""
        mode = self._router.known_mode(self._alias)
        if mode is Mode.PASSIVE:
            self._has_told = False
        elif mode is Mode.JOURNAL and not self._has_told and (found := popular.top()):
            with suppress(UndriftError):
                self._ledger.tune(self._alias, searched_note(self._router.client, found))
                self._has_told = True


def told_p95(tuning: Mapping[str, str], now: Callable[[], datetime]) -> float | None:
    """Return the largest of the percentiles that processes have told within the last minute; None if none has."""
    found = []
    for name, text in tuning.items():
        if name.startswith(_NOTE):
            note = json.loads(text)
            age_s = (now() - datetime.fromisoformat(note["at"])).total_seconds()
            # A clock that is ahead is no reason not to listen.
            if abs(age_s) <= WINDOW_S:
                found.append(float(note["p95_ms"]))
    return max(found, default=None)
