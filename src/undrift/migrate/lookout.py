"""What one worker sees of the world while it works: live settings, latency, errors, the hour, the user's own hook."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from undrift.domain.client import WORKING_ROLES
from undrift.domain.record import Vector
from undrift.domain.space import SpaceId
from undrift.domain.tuning import Limits, tuned
from undrift.errors import BackendError
from undrift.flow.traffic import Window, p95, told_p95
from undrift.migrate.throttle import Go, Observed, Wait, decide
from undrift.migrate.workshop import Workshop

#: The world is looked at, and the live settings are read, this often while there is work. In seconds.
LOOK_EVERY_S = 1.0
#: Fewer calls than these say nothing.
_FEWEST_CALLS = 10
#: Hits of a search by which the latency is measured.
_K = 10


class Lookout:
    """Looks out for a worker, and decides whether it may work."""

    def __init__(self, workshop: Workshop) -> None:
        """See nothing yet.

        Args:
            workshop: the means, unguarded: the searches that measure are not the work.
        """
        self._workshop = workshop
        self._limits = workshop.limits
        self._notes: Mapping[str, str] = {}
        self._searches = Window(workshop.clock)
        self._outcomes = Window(workshop.clock)
        self._vectors: dict[SpaceId, Vector] = {}
        self._seen = Observed()
        self._next = float("-inf")
        self._rest_until = float("-inf")

    @property
    def limits(self) -> Limits:
        """The limits as an operator has set them, as of the last look."""
        return self._limits

    @property
    def notes(self) -> Mapping[str, str]:
        """The live settings and notes in the ledger, as of the last look."""
        return self._notes

    def called(self, failed: float) -> None:
        """Take note of a call of the store: 1 when it failed, 0 when it did not."""
        self._outcomes.add(failed)

    def look(self) -> Go | Wait:
        """Look, if it is time to, and decide whether the back-fill or the comparison may go on."""
        now = self._workshop.clock.monotonic()
        if now >= self._next:
            self._next = now + LOOK_EVERY_S
            tuning = self._workshop.ledger.tuning(self._workshop.alias)
            self._notes = tuning
            self._limits = tuned(self._workshop.limits, tuning)
            self._seen = self._observe(tuning)
        found = decide(self._seen, self._limits, self._workshop.alias)
        if isinstance(found, Go) and now < self._rest_until:
            return Wait(reason=self._pace(), ends_by=f"it goes on by itself in {self._rest_until - now:.0f} s")
        return found

    def rest(self, documents: int, began: float) -> None:
        """Take note of a piece that was carried over, after which the worker may have to rest.

        Args:
            documents: how many it had.
            began: when, on the worker's clock.
        """
        now = self._workshop.clock.monotonic()
        until = now + self._limits.nice_ratio * (now - began)
        if self._limits.max_rows_per_s is not None:
            # Counted from when it might have begun, so that a look that comes a little late costs no pace.
            due = max(self._rest_until, began - LOOK_EVERY_S)
            until = max(until, due + documents * self._workers() / self._limits.max_rows_per_s)
        self._rest_until = until

    def _pace(self) -> str:
        rows = self._limits.max_rows_per_s
        parts = [f"nice_ratio={self._limits.nice_ratio:g}"] if self._limits.nice_ratio else []
        parts += [f"max_rows_per_s={rows:g}"] if rows is not None else []
        return f"the pace that was set ({', '.join(parts)})"

    def _workers(self) -> int:
        clients = self._workshop.ledger.clients(self._workshop.alias)
        return max(1, sum(client.role in WORKING_ROLES and client.lease_left_s > 0 for client in clients))

    def _observe(self, tuning: Mapping[str, str]) -> Observed:
        limits, shop = self._limits, self._workshop
        search_p95_ms = None
        if limits.max_search_ms is not None:
            # What applications see is what counts; without any, the worker searches itself.
            search_p95_ms = told_p95(tuning, shop.clock.now)
            if search_p95_ms is None:
                self._search()
                search_p95_ms = p95(self._searches.values())
        lag = shop.ledger.lag(shop.alias) if limits.max_lag_s is not None else None
        objections = [shop.objection()]
        local = None
        if limits.hours is not None:
            try:
                local = shop.clock.now().astimezone(_zone(limits.time_zone)).time()
            except (ZoneInfoNotFoundError, ValueError, OSError):
                objections.append(f"the time zone {limits.time_zone}, which this worker's machine does not know")
        return Observed(
            search_p95_ms=search_p95_ms,
            error_rate=self._error_rate() if limits.max_error_rate is not None else None,
            oldest_dirty_s=lag.oldest_s if lag is not None else None,
            local=local,
            objection="; ".join(filter(None, objections)),
        )

    def _search(self) -> None:
        """Search the serving field once as an application does, with a vector that costs nothing: of a probe text."""
        shop = self._workshop
        field = shop.state().route.serving
        if field.space not in self._vectors:
            known = shop.ledger.space(field.space)
            if known is None:
                return
            self._vectors = {field.space: known.probes[0]}
        began = shop.clock.monotonic()
        # A search that failed took its time as well.
        with suppress(BackendError):
            shop.store_of(field).search(field, self._vectors[field.space], k=_K)
        self._searches.add((shop.clock.monotonic() - began) * 1000)

    def _error_rate(self) -> float | None:
        outcomes = self._outcomes.values()
        return sum(outcomes) / len(outcomes) if len(outcomes) >= _FEWEST_CALLS else None


def _zone(name: str) -> tzinfo:
    """Return a time zone; the one that needs no data of the machine is there without it."""
    return UTC if name == "UTC" else ZoneInfo(name)
