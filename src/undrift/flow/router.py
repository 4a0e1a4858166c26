"""What each alias means now, as this process knows it, and the lease that lets it act on that."""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from undrift.domain.client import ClientId
from undrift.domain.route import AliasName, Mode, Route
from undrift.domain.timing import LEASE_SAFETY, Timing
from undrift.errors import UndriftError, UnknownAlias
from undrift.ports.ledger import Ledger
from undrift.ports.runtime import Clock, Processes
from undrift.release import VERSION


class Router:
    """This process as a client of the ledger: an identity, a lease, and the routes it has acknowledged.

    A thread looks every `poll_s` whether a route changed, and prolongs the lease. An epoch is acknowledged only when
    nothing that began under an older one is going on any more; that is what lets a migration trust the journal.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        timing: Timing,
        *,
        role: str,
        processes: Processes,
        heartbeat: bool = True,
    ) -> None:
        """Begin without a lease; it is taken when the first alias is joined.

        Args:
            ledger: where routes and leases are kept.
            clock: the source of time.
            timing: how long leases last and how often they are prolonged.
            role: what this process is, for those who look at the list of clients.
            processes: gives this process a name by which others see whether it lives.
            heartbeat: whether a thread keeps the lease; without it, `beat` has to be called.
        """
        self._ledger = ledger
        self._clock = clock
        self._timing = timing
        self._role = role
        self._processes = processes
        self._heartbeat = heartbeat
        self._tells: list[Callable[[], None]] = []
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._host = socket.gethostname()
        self.client = ClientId(f"{self._host}-{self._pid}-{uuid.uuid4().hex[:8]}")
        self._lock = threading.Lock()
        self._routes: dict[AliasName, Route] = {}
        self._joining: set[AliasName] = set()
        self._in_use: Counter[tuple[AliasName, int]] = Counter()
        self._lingering: dict[tuple[AliasName, int], float] = {}
        self._told: dict[AliasName, int] = {}
        self._lease_until = float("-inf")
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def join(self, alias: AliasName) -> Route:
        """Start to use an alias; a repeated call returns what is known.

        Raises:
            UnknownAlias: the ledger does not know it.
        """
        self._after_fork()
        with self._lock:
            known = self._routes.get(alias)
        if known is not None:
            return known
        if self._routes:
            # What is known of the others may be older than the lease: they are looked at before it is prolonged.
            self.beat()
            return self._join(alias)
        self._enter([alias])
        return self._routes[alias]

    def current(self, alias: AliasName) -> Route:
        """Return what an alias means, from memory."""
        known = self._routes.get(alias) if self._pid == os.getpid() else None
        return known or self.join(alias)

    @contextmanager
    def using(self, alias: AliasName) -> Iterator[Route]:
        """Hold the present route: its epoch is not taken for finished until this is left."""
        self.current(alias)
        with self._lock:
            route = self._routes[alias]
            self._in_use[alias, route.epoch] += 1
        try:
            yield route
        finally:
            with self._lock:
                self._in_use[alias, route.epoch] -= 1
                if not self._in_use[alias, route.epoch]:
                    del self._in_use[alias, route.epoch]

    def linger(self, alias: AliasName, epoch: int, settle_s: float) -> None:
        """Take an epoch for unfinished though nobody waits: an unanswered write of it may still reach the store.

        It was sent under the lease, so it lands before the lease and the fence horizon are over, as that of a process
        that has died.
        """
        until = self._clock.monotonic() + self._timing.lease_s + settle_s
        with self._lock:
            self._lingering[alias, epoch] = max(until, self._lingering.get((alias, epoch), until))

    def may_write(self) -> bool:
        """Whether the lease lets this process write without asking the ledger, at this very moment."""
        return self._clock.monotonic() < self._lease_until

    def refresh(self, alias: AliasName) -> Route:
        """Read a route from the ledger, and prolong the lease.

        Raises:
            ControlUnavailable: the ledger cannot be read.
        """
        self._after_fork()
        self.beat()
        return self.learn(alias)

    def learn(self, alias: AliasName, route: Route | None = None) -> Route:
        """Take over a route that the ledger was seen to have, or read it."""
        found = route or self._read(alias)
        with self._lock:
            known = self._routes.get(alias)
            if known is None or found.epoch > known.epoch or (found.epoch == known.epoch and found.mode != known.mode):
                self._routes[alias] = found
            if known is None or found.epoch >= known.epoch:
                return self._routes[alias]
        # Either another thread was quicker, or the ledger has forgotten what this process was told.
        present = self._read(alias)
        return self.learn(alias, present) if present.epoch >= known.epoch else self._set_back(known, present)

    def _read(self, alias: AliasName) -> Route:
        found = self._ledger.route(alias)
        if found is None:
            raise UnknownAlias(f"the ledger knows no alias {alias}", hint="undrift alias list")
        return found

    def _set_back(self, known: Route, present: Route) -> Route:
        """Follow a ledger that was restored from a backup: it alone says what every process does.

        What this process has acknowledged is of a past that is gone, and must not count for epochs to come.
        """
        with self._lock:
            if self._routes.get(known.alias) is not known:
                return self._routes[known.alias]
            self._lease_until = float("-inf")
            aliases = list(self._routes)
        state = self._ledger.alias(known.alias)
        if state is not None and not state.needs_reconcile:
            reason = (
                f"the ledger was restored from a backup: it is at epoch {present.epoch}, and {self._role} pid "
                f"{self._pid} on {self._host} was at epoch {known.epoch}"
            )
            self._ledger.require_reconcile(known.alias, reason, sequence=0)
        self._ledger.leave(self.client)
        self._enter(aliases)
        return self._routes[known.alias]

    def known_mode(self, alias: AliasName) -> Mode | None:
        """Return the mode of an alias as this process knows it, without asking anybody."""
        known = self._routes.get(alias)
        return known.mode if known is not None else None

    def also(self, tell: Callable[[], None]) -> None:
        """Call something at every heartbeat."""
        self._tells.append(tell)

    def beat(self) -> None:
        """Read every route, acknowledge what may be, and prolong the lease when half of it is over."""
        self._keep_lease()
        for tell in list(self._tells):
            tell()

    def _keep_lease(self) -> None:
        with self._lock:
            unanswered = self._joining.difference(self._routes)
        for alias in unanswered:
            # The ledger may have counted this process in, though the answer was lost; then it is waited for.
            self._join(alias)
        with self._lock:
            aliases = list(self._routes)
        if not aliases:
            return
        for alias in aliases:
            self.learn(alias)
        with self._lock:
            acknowledged = {alias: self._acknowledged(alias) for alias in aliases}
        started = self._clock.monotonic()
        if acknowledged == self._told and self._lease_until - started > self._timing.lease_s / 2:
            return
        # The lease is counted from before it was asked for, so that this process ends it before the ledger does.
        if self._ledger.renew(self.client, acknowledged, self._timing.lease_s):
            with self._lock:
                # The ledger was not asked about what another thread has joined meanwhile, and may count on it no more.
                if self._routes.keys() == acknowledged.keys():
                    self._lease_until = started + self._timing.lease_s * LEASE_SAFETY
                    self._told = acknowledged
            return
        self._lease_until = float("-inf")
        self._enter(aliases)

    def close(self) -> None:
        """End the lease; nothing of this process may be going on any more."""
        if self._pid != os.getpid():
            return
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=10)
        joined, self._routes = bool(self._routes or self._joining), {}
        self._lease_until = float("-inf")
        with self._lock:
            unfinished = self._unfinished()
        # Of whom a write may still be under way, the lease runs out by itself.
        if joined and not unfinished:
            with suppress(UndriftError):
                self._ledger.leave(self.client)
        self._begin()

    def _acknowledged(self, alias: AliasName) -> int:
        """Return the newest epoch with nothing older going on; the caller holds the lock."""
        unfinished = [*self._in_use, *self._unfinished()]
        return min([epoch for name, epoch in unfinished if name == alias] + [self._routes[alias].epoch])

    def _unfinished(self) -> list[tuple[AliasName, int]]:
        """Return the epochs of which an unanswered write may still reach the store; the caller holds the lock."""
        now = self._clock.monotonic()
        for key in [key for key, until in self._lingering.items() if until <= now]:
            del self._lingering[key]
        return list(self._lingering)

    def _enter(self, aliases: Sequence[AliasName]) -> None:
        """Begin a lease: counted from before it was asked for, and valid once the ledger counts on this process."""
        started = self._clock.monotonic()
        self._told = {}
        self._ledger.register_client(
            self.client,
            host=self._host,
            pid=self._pid,
            role=self._role,
            version=VERSION,
            lease_s=self._timing.lease_s,
            process=self._processes.me(),
        )
        if self._heartbeat and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="undrift-lease", daemon=True)
            self._thread.start()
        for alias in aliases:
            self._join(alias)
        self._lease_until = started + self._timing.lease_s * LEASE_SAFETY

    def _join(self, alias: AliasName) -> Route:
        self._joining.add(alias)
        route = self._ledger.join(self.client, alias)
        self._joining.discard(alias)
        if route is None:
            raise UnknownAlias(f"the ledger knows no alias {alias}", hint=f"undrift alias create {alias}")
        with self._lock:
            self._routes[alias] = route
        return route

    def _run(self) -> None:
        stop = self._stop
        while not stop.wait(self._timing.poll_s):
            # The lease lapses by itself when the ledger is out of reach; writes then say so.
            with suppress(UndriftError):
                self.beat()

    def _after_fork(self) -> None:
        if self._pid != os.getpid():
            self._begin()
