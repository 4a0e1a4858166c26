"""An account's limits as a provider keeps them: a bucket that fills steadily, and headers that tell how full it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from undrift.testing.provider.faults import Refuse

_MINUTE = 60.0


class AccountLimits:
    """Requests and tokens that an account may send; shared by everybody who has its key. Safe from several threads."""

    def __init__(
        self,
        *,
        requests_per_min: float | None = None,
        tokens_per_min: float | None = None,
        concurrent_requests: int | None = None,
        bucket_s: float = 60.0,
        tells_limits: bool = True,
        tells_when: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with full buckets.

        Args:
            requests_per_min: requests in a minute; None for any number.
            tokens_per_min: tokens in a minute.
            concurrent_requests: requests under way at a time.
            bucket_s: how much may be saved up while nothing is sent, in seconds of the limit.
            tells_limits: whether answers have the headers `x-ratelimit-…`.
            tells_when: whether a refusal has `retry-after-ms`.
            clock: seconds.
        """
        self._rates = {
            name: rate / _MINUTE
            for name, rate in (("requests", requests_per_min), ("tokens", tokens_per_min))
            if rate is not None
        }
        self._most = {name: rate * bucket_s for name, rate in self._rates.items()}
        self._left = dict(self._most)
        self._concurrent = concurrent_requests
        self._under_way = 0
        self._tells_limits, self._tells_when = tells_limits, tells_when
        self._clock = clock
        self._at = clock()
        self._lock = threading.Lock()

    def begin(self, tokens: int) -> Refuse | None:
        """Let a request pass, or say no; `end` follows one that passed. A refused one costs nothing."""
        with self._lock:
            self._fill()
            if self._concurrent is not None and self._under_way >= self._concurrent:
                return self._refusal("concurrent requests", 1.0)
            needs = {"requests": 1.0, "tokens": float(tokens)}
            for name, rate in self._rates.items():
                if self._left[name] < needs[name]:
                    return self._refusal(f"{name} per min", (needs[name] - self._left[name]) / rate)
            for name in self._rates:
                self._left[name] -= needs[name]
            self._under_way += 1
            return None

    def end(self) -> None:
        """Count a request as answered."""
        with self._lock:
            self._under_way -= 1

    def headers(self) -> dict[str, str]:
        """Return what an answer tells of the limits."""
        with self._lock:
            self._fill()
            return self._headers()

    def _fill(self) -> None:
        now = self._clock()
        for name, rate in self._rates.items():
            self._left[name] = min(self._most[name], self._left[name] + rate * (now - self._at))
        self._at = now

    def _headers(self) -> dict[str, str]:
        if not self._tells_limits:
            return {}
        told = {}
        for name, rate in self._rates.items():
            told[f"x-ratelimit-limit-{name}"] = str(round(rate * _MINUTE))
            told[f"x-ratelimit-remaining-{name}"] = str(int(self._left[name]))
            told[f"x-ratelimit-reset-{name}"] = f"{(self._most[name] - self._left[name]) / rate:.3f}s"
        return told

    def _refusal(self, what: str, wait_s: float) -> Refuse:
        told = self._headers()
        if self._tells_when:
            told["retry-after-ms"] = str(int(wait_s * 1000) + 1)
        return Refuse(status=429, code="rate_limit_exceeded", message=f"Rate limit reached on {what}", headers=told)
