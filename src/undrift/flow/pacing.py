"""Lets the requests of this process go at the pace that the ledger grants it.

The ledger is asked once for each slice, not for each request. What is kept here between two slices is a purse: a count
of requests and tokens, with the time from which they are good. No limiter library is used for that. Each of those that
are kept up would keep a second, slower account of what the ledger has granted already, at a rate that it is given once
and for all, while the rate here is learned: `pyrate-limiter` keeps an entry for every token, `aiolimiter` works only
in asyncio, `limits` cannot wait, `throttled-py` waits by itself and so can be neither paused nor stopped; and none of
them takes the clock that tests and simulations put in the place of the machine's.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from undrift.domain.pace import SeenLimits
from undrift.domain.pacing import FIRST_WAIT_S, LONGEST_WAIT_S, SLICE_S, VALID_S, Ask, PaceLimits
from undrift.errors import BackendError
from undrift.flow.oversight import Oversight
from undrift.ports.runtime import Clock
from undrift.ports.spending import PaceLedger

#: Whoever waits looks so often whether the work may go on at all. In seconds.
_LOOK_S = 1.0
#: Waits for a request of this process to end, where the account takes only so many at a time. In seconds.
_SLOT_WAIT_S = 0.02
#: A wait is told when it lasts so long. In seconds.
_TELL_S = 1.0
#: How much the newest answer counts in what is known of the estimate's error.
_NEWEST = 0.2
#: No estimate is believed to be wrong by more than this factor; a bill that is, is an exception.
_MOST_OFF = 4.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Purse:
    """What is granted and not spent, and what was spent since the ledger was asked last."""

    requests: int = 0
    tokens: int = 0
    good_from: float = float("-inf")
    slots: int | None = None
    asked: float = float("-inf")
    sent: int = 0
    sent_tokens: int = 0

    def expire(self, now: float) -> None:
        if now > self.good_from + VALID_S:
            # A debt stays one.
            self.requests, self.tokens = 0, min(0, self.tokens)

    def has(self, now: float, tokens: int) -> bool:
        return self.requests > 0 and self.tokens >= tokens and now >= self.good_from


class Pacer:
    """The pace of one account as this process sees it; safe from several threads."""

    def __init__(
        self, ledger: PaceLedger, account: str, *, owner: str, clock: Clock, limits: PaceLimits, model: str
    ) -> None:
        """Know nothing yet.

        Args:
            ledger: grants the slices.
            account: the account's name in the ledger.
            owner: this process's name there.
            clock: what waits.
            limits: what is configured.
            model: the model's name, for messages.
        """
        self.account = account
        self.limits = limits
        self._ledger = ledger
        self._owner = owner
        self._clock = clock
        self._model = model
        self._lock = threading.Lock()
        self._purses = {True: _Purse(), False: _Purse()}
        self._not_before = float("-inf")
        self._under_way = 0
        self._seen = SeenLimits()
        self._most_tokens: int | None = None
        self._is_limited = False
        self._ratio = 1.0

    @property
    def most_tokens(self) -> int | None:
        """Most tokens of one request, as they are estimated; None while no limit is known."""
        with self._lock:
            return None if self._most_tokens is None else max(1, int(self._most_tokens / self._ratio))

    @contextmanager
    def passing(self, tokens: int, oversight: Oversight) -> Iterator[None]:
        """Wait for the pace, and count a request as under way for the length of a `with` block.

        Args:
            tokens: how many it has, as they are estimated.
            oversight: asked while it waits, and told for what.

        Raises:
            ControlUnavailable: the ledger does not answer; only work fails by that.
        """
        self.admit(tokens, oversight)
        try:
            yield
        finally:
            self.ended()

    def admit(self, tokens: int, oversight: Oversight) -> None:
        """Wait for the pace; `ended` has to follow."""
        waited = 0.0
        while (wait_s := self._try(tokens, is_work=oversight.is_work)) > 0:
            if wait_s >= _TELL_S or waited >= _TELL_S:
                oversight.waits(f"the rate limit of model {self._model}; it goes on by itself in {wait_s:.0f} s")
            self._clock.sleep(min(wait_s, _LOOK_S))
            waited += wait_s
            oversight.admit()

    def ended(self) -> None:
        """Count a request as answered."""
        with self._lock:
            self._under_way -= 1

    def billed(self, estimated: int, billed: int, *, is_work: bool) -> None:
        """Count what an answer cost instead of what it was estimated at."""
        with self._lock:
            self._purses[is_work].tokens += self._expected(estimated) - billed
            if estimated > 0:
                found = min(max(billed / estimated, 1 / _MOST_OFF), _MOST_OFF)
                self._ratio += _NEWEST * (found - self._ratio)

    def sees(self, seen: SeenLimits, *, refused: bool) -> None:
        """Take note of what an answer says; a refusal is told to everybody at once, the rest with the next slice."""
        with self._lock:
            if seen.requests_per_min is not None or seen.tokens_per_min is not None:
                self._seen = seen
                if not self._is_limited:
                    # What was granted before anybody knew of a limit is void.
                    for purse in self._purses.values():
                        purse.requests, purse.tokens = 0, min(0, purse.tokens)
            if refused:
                wait_s = FIRST_WAIT_S if seen.retry_after_s is None else min(seen.retry_after_s, LONGEST_WAIT_S)
                self._not_before = max(self._not_before, self._clock.monotonic() + wait_s)
        if refused:
            try:
                self._ledger.pace_refused(self.account, seen, self.limits)
            except BackendError as error:
                # This process knows at any rate, and the others will be refused as well.
                _log.warning("the others cannot be told to slow down: %s", error.message)

    def _try(self, tokens: int, *, is_work: bool) -> float:
        """Let a request pass and return 0, or return how long to wait before the next try."""
        with self._lock:
            now = self._clock.monotonic()
            if now < self._not_before:
                return self._not_before - now
            purse, expected = self._purses[is_work], self._expected(tokens)
            purse.expire(now)
            if purse.slots is not None and 0 < purse.slots <= self._under_way:
                return _SLOT_WAIT_S
            if not purse.has(now, expected):
                if now < purse.good_from:
                    return purse.good_from - now
                if (wait_s := self._ask(purse, expected, is_work=is_work)) > 0:
                    return wait_s
            purse.requests -= 1
            purse.tokens -= expected
            purse.sent += 1
            purse.sent_tokens += expected
            self._under_way += 1
            return 0.0

    def _ask(self, purse: _Purse, tokens: int, *, is_work: bool) -> float:
        """Ask for a slice, and return how long to wait for it."""
        now = self._clock.monotonic()
        since = max(now - purse.asked, SLICE_S / 10)
        ask = Ask(
            owner=self._owner,
            limits=self.limits,
            tokens=max(1, tokens - purse.tokens),
            each=max(1, purse.sent_tokens // purse.sent if purse.sent else tokens),
            # Twice as fast as of late, at most: whoever is held back by nothing but its own pace gets faster.
            wanted=max(1, math.ceil(2 * purse.sent * SLICE_S / since)),
            under_way=self._under_way,
            is_work=is_work,
            seen=self._seen,
        )
        try:
            granted = self._ledger.take_pace(self.account, ask)
        except BackendError:
            if is_work:
                raise
            # An application writes and searches on without the ledger as far as it can; a limit is no reason not to.
            purse.requests, purse.tokens, purse.good_from = 1, tokens, now
            return 0.0
        self._seen = SeenLimits()
        self._most_tokens = granted.most_tokens
        self._is_limited = granted.is_limited
        purse.slots = granted.slots
        purse.asked, purse.sent, purse.sent_tokens = now, 0, 0
        if not granted.requests:
            return granted.wait_s
        purse.requests += granted.requests
        purse.tokens += granted.tokens
        purse.good_from = self._clock.monotonic() + granted.wait_s
        return granted.wait_s

    def _expected(self, tokens: int) -> int:
        """Return what a request with that estimate is likely to be billed for."""
        return math.ceil(tokens * self._ratio)
