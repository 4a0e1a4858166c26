"""One worker process: a thread for every alias whose migration has work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from undrift.control.migrations import Migrations
from undrift.domain.migration import BEFORE_CUTOVER, Migration, RunStatus
from undrift.domain.route import AliasName
from undrift.errors import UndriftError

#: How often is looked for migrations that began, in seconds.
_LOOK_S = 0.5
#: An alias is left alone so long after an error that nobody can wait out.
_RETRY_S = 5.0

OnAlias = Callable[[str], None]
OnAliasWait = Callable[[str, str], None]
OnAliasError = Callable[[str, UndriftError], None]


@dataclass(slots=True, kw_only=True)
class _Hand:
    """A thread at work on one alias, and what ended it."""

    thread: threading.Thread | None = None
    error: BaseException | None = None


@dataclass(slots=True, kw_only=True)
class _Shift:
    """What one call of `work_all` knows: who works, and who was stopped by an error that needs a person."""

    until: Callable[[], bool]
    on_progress: OnAlias
    on_wait: OnAliasWait
    on_error: OnAliasError
    engine: str | None = None
    hands: dict[AliasName, _Hand] = field(default_factory=dict)
    failures: dict[AliasName, UndriftError] = field(default_factory=dict)
    begun: set[AliasName] = field(default_factory=set)
    not_before: dict[AliasName, float] = field(default_factory=dict)


class Crew(Migrations):
    """The verb `worker`."""

    def work_all(
        self,
        names: Sequence[str] = (),
        *,
        until: Callable[[], bool],
        until_idle: bool = False,
        engine: str | None = None,
        on_progress: OnAlias = lambda _alias: None,
        on_wait: OnAliasWait = lambda _alias, _reason: None,
        on_error: OnAliasError = lambda _alias, _error: None,
    ) -> list[str]:
        """Be a worker of every migration there is and will be; the piece in hand is finished before it returns.

        A migration that halts, because going on needs a person, is left alone until it is resumed. A ledger that does
        not answer is waited for.

        Args:
            names: the aliases to work on; every alias of the ledger by default.
            until: asked again and again whether to stop.
            until_idle: whether to stop when nothing is dirty and no back-fill is unfinished.
            engine: who carries the pieces of back-fills; see `work`.
            on_progress: told the alias of every piece of work, by the thread that did it; so are the next two.
            on_wait: told what an alias waits for.
            on_error: told what halted an alias, or keeps this process from working on it.

        Returns:
            The aliases on which it worked, sorted.

        Raises:
            UnknownAlias: the ledger does not know a name.
            UndriftError: with `until_idle`, the first error that halted a migration.
        """
        for name in names:
            if name not in self.config.settings.aliases:
                self._look(name)
        shift = _Shift(until=until, on_progress=on_progress, on_wait=on_wait, on_error=on_error, engine=engine)
        try:
            while not until():
                try:
                    aliases = [AliasName(name) for name in names] or self.ledger.aliases()
                    idle = [self._attend(alias, shift) for alias in aliases]
                except UndriftError as error:
                    if not error.retryable:
                        raise
                    on_wait("", error.message)
                    idle = [False]
                if until_idle and all(idle):
                    break
                self._pause(until)
        finally:
            # With `until` true, or nothing to do, each of them ends after the piece it has in hand.
            shift.until = lambda: True
            for hand in shift.hands.values():
                if hand.thread is not None:
                    hand.thread.join()
        for alias in list(shift.hands):
            self._collect(alias, shift)
        if until_idle and shift.failures:
            raise next(iter(shift.failures.values()))
        return sorted(shift.begun)

    def _pause(self, until: Callable[[], bool]) -> None:
        try:
            self.clock.sleep(_LOOK_S)
        except KeyboardInterrupt:
            # A clock that wakes whoever sleeps when the process is asked to stop.
            if not until():
                raise

    def _attend(self, alias: AliasName, shift: _Shift) -> bool:
        """See that somebody works on an alias if there is work; return whether there is none."""
        self._collect(alias, shift)
        state = self.ledger.alias(alias)
        migration = state.migration if state else None
        if migration is None or migration.is_final or migration.run_status is RunStatus.HALTED:
            return True
        if alias not in shift.hands and self.clock.monotonic() >= shift.not_before.get(alias, 0.0):
            shift.failures.pop(alias, None)
            # Here and not in the thread: this process takes its lease once.
            self.router.join(alias)
            shift.begun.add(alias)
            hand = shift.hands[alias] = _Hand()
            hand.thread = threading.Thread(
                target=self._labour, args=(alias, hand, shift), name=f"undrift-work-{alias}", daemon=True
            )
            hand.thread.start()
        return self._has_rest(alias, migration)

    def _has_rest(self, alias: AliasName, migration: Migration) -> bool:
        lag = self.ledger.lag(alias)
        if lag.dirty or lag.open:
            return False
        return migration.phase not in BEFORE_CUTOVER or migration.run_status is not RunStatus.RUNNING

    def _labour(self, alias: AliasName, hand: _Hand, shift: _Shift) -> None:
        def ended(migration: Migration | None) -> bool:
            return shift.until() or migration is None or migration.is_final or migration.run_status is RunStatus.HALTED

        try:
            self.work(
                alias,
                ended,
                on_progress=partial(shift.on_progress, alias),
                on_wait=partial(shift.on_wait, alias),
                engine=shift.engine,
            )
        except BaseException as error:  # noqa: BLE001 - it is raised or told by the thread that waits for this one
            hand.error = error

    def _collect(self, alias: AliasName, shift: _Shift) -> None:
        """Take note of a thread that has ended, and of what ended it."""
        hand = shift.hands.get(alias)
        if hand is None or hand.thread is None or hand.thread.is_alive():
            return
        del shift.hands[alias]
        match hand.error:
            case None | KeyboardInterrupt():
                return
            case UndriftError() as error if error.retryable:
                shift.on_wait(alias, error.message)
            case UndriftError() as error:
                shift.failures[alias] = error
                # What could not be recorded as a halt would fail again at once.
                shift.not_before[alias] = self.clock.monotonic() + _RETRY_S
                shift.on_error(alias, error)
            case error:
                raise error
