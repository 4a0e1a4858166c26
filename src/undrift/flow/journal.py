"""The way of one write: under a lease when nothing migrates, else inside a bracket of two ledger transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from undrift.domain.operation import Foreign, Held, Opened, Passive
from undrift.domain.record import DocumentId, Receipt
from undrift.domain.route import AliasName, Mode, Route, VectorField
from undrift.domain.space import SpaceId
from undrift.domain.timing import LEASE_SAFETY, Timing
from undrift.domain.wording import are, plural
from undrift.errors import (
    ControlUnavailable,
    LedgerUnusable,
    OutcomeUnknown,
    RefusedError,
    StoreRejected,
    TransactionUndone,
    UsageError,
    WriteTimeout,
)
from undrift.flow.router import Router
from undrift.ports.ledger import Ledger
from undrift.ports.runtime import Clock
from undrift.ports.store import VectorStore
from undrift.telemetry import Metric, count

Prepared = TypeVar("Prepared")

#: Waits between two looks at whether a write may begin, in seconds; the last one is repeated.
_WAITS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
#: The store said that it changed nothing: the operation is over, and known to be.
_DEFINITE = (StoreRejected, UsageError, RefusedError)


class WriteAction(Protocol, Generic[Prepared]):
    """What a write does to the serving field, whichever that is when its turn comes."""

    @property
    def keys(self) -> Sequence[DocumentId]:
        """The documents it touches, each once."""
        ...

    def prepare(self, space: SpaceId) -> Prepared:
        """Compute what has to be known before the write begins, such as vectors of that space."""
        ...

    def send(self, store: VectorStore, field: VectorField, prepared: Prepared, sequence: int, /) -> None:
        """Change the field, in one call of the store."""
        ...


@runtime_checkable
class InSeveralCalls(Protocol):
    """A write that one call of a store cannot do."""

    def calls(self, prepared: Any, /) -> Iterator[Callable[[VectorStore, VectorField, int], None]]:
        """Yield its calls in order; each leaves only while the write may still be sent."""
        ...


class Journal:
    """Carries out writes to one alias so that none is lost, however far a migration is and whatever crashes."""

    def __init__(
        self,
        alias: AliasName,
        *,
        ledger: Ledger,
        router: Router,
        store_of: Callable[[VectorField], VectorStore],
        clock: Clock,
        timing: Timing,
    ) -> None:
        """Use a ledger, this process's routes, and the stores behind the fields."""
        self._alias = alias
        self._ledger = ledger
        self._router = router
        self._store_of = store_of
        self._clock = clock
        self._timing = timing

    def write(self, action: WriteAction[Prepared]) -> Receipt:
        """Carry out a write and acknowledge it.

        Raises:
            OutcomeUnknown: it may or may not have happened; it was not acknowledged, and repeating it is safe.
            WriteTimeout: its turn did not come in time; nothing was written.
            ControlUnavailable: the ledger cannot be reached and is needed; nothing was written.
            StoreRejected: the store will not take it; nothing was written.
        """
        patience = _Patience(self._clock, self._timing.write_timeout_s)
        preparation = _Preparation(action)
        route = self._router.current(self._alias)
        while True:
            space, prepared = route.serving.space, preparation.of(route.serving.space)
            if route.mode is Mode.PASSIVE:
                if self._send_passive(route, action, prepared):
                    return _receipt(action, route)
                route = self._router.refresh(self._alias)
                continue
            started = self._clock.monotonic()
            outcome = self._journaled(action, space, prepared)
            match outcome:
                case Opened() if outcome.route.serving.space != space:
                    # The route moved on while the vectors were computed: nothing is sent, and they are computed anew.
                    self._ledger.close(self._alias, outcome.operation, action.keys)
                    route = self._router.learn(self._alias, outcome.route)
                case Opened():
                    self._router.learn(self._alias, outcome.route)
                    if self._finish(outcome, action, prepared, started):
                        return _receipt(action, outcome.route)
                    patience.wait(self._too_slow(action.keys))
                    route = self._router.current(self._alias)
                case Passive() | Held() | Foreign():
                    if not isinstance(outcome, Passive):
                        count(Metric.WRITES_WAITED)
                        patience.wait(_why(self._alias, outcome))
                    route = self._router.refresh(self._alias)
                case Receipt():
                    return outcome

    def any_dirty(self, keys: Sequence[DocumentId]) -> bool:
        """Whether the serving field may not have the truth of one of these documents; never while nothing migrates.

        Raises:
            ControlUnavailable: the ledger cannot be reached and is needed.
        """
        if self._router.current(self._alias).mode is Mode.PASSIVE and self._router.may_write():
            return False
        return any(dirty for dirty, _ in self._ledger.journal_state(self._alias, keys).values())

    def await_truth(self) -> Route:
        """Wait until the serving field has the truth of every document, which it may lack shortly after a flip.

        Returns:
            The route to that field, which was the alias's during this call, whatever this process knew before.

        Raises:
            WriteTimeout: some documents were not carried over in time.
            ControlUnavailable: the ledger cannot be reached and is needed.
        """
        patience = _Patience(self._clock, self._timing.write_timeout_s)
        while True:
            route = self._router.current(self._alias)
            if route.mode is Mode.PASSIVE and self._router.may_write():
                return route
            # A flip that this process has not heard of may be over, and others may have written to the new field.
            route = self._router.refresh(self._alias)
            foreign = self._ledger.lag(self._alias).foreign
            if not foreign:
                return route
            patience.wait(
                WriteTimeout(
                    f"{plural(foreign, 'document')} of {self._alias} {are(foreign)} still to be carried over, and may "
                    "match the filter",
                    "their last text is only in the other field",
                    "undrift worker",
                )
            )

    @contextmanager
    def bracket(self, keys: Sequence[DocumentId]) -> Iterator[tuple[VectorField, int]]:
        """Bracket a write that the caller makes itself; yields the field it must go to and the sequence of its tags.

        Raises:
            OutcomeUnknown: the block raised, or took longer than the deadline; it was not acknowledged.
            WriteTimeout: its turn did not come in time.
        """
        patience = _Patience(self._clock, self._timing.write_timeout_s)
        while True:
            with self._router.using(self._alias) as route:
                if route.mode is Mode.PASSIVE and self._router.may_write():
                    with self._lingering(route):
                        yield route.serving, 0
                    return
            opened = self._ledger.open(
                self._alias, keys, client=self._router.client, deadline_s=self._timing.deadline_s
            )
            if isinstance(opened, Opened):
                break
            if not isinstance(opened, Passive):
                patience.wait(_why(self._alias, opened))
            self._router.refresh(self._alias)
        try:
            yield opened.route.serving, opened.sequence
        except Exception as error:
            raise self._unknown(keys, str(error)) from error
        if not self._close(opened, keys):
            raise self._unknown(keys, f"it took longer than {self._timing.deadline_s:g} s")

    def _send_passive(self, route: Route, action: WriteAction[Prepared], prepared: Prepared) -> bool:
        with self._router.using(self._alias) as present:
            # A route that changed meanwhile may want a journal, and a lapsed lease may hide that it changed.
            if present.epoch != route.epoch or present.mode is not Mode.PASSIVE or not self._router.may_write():
                return False
            with self._lingering(present):
                self._send(action, route.serving, prepared, 0, in_time=self._router.may_write)
        return True

    def _send(
        self,
        action: WriteAction[Prepared],
        field: VectorField,
        prepared: Prepared,
        sequence: int,
        *,
        in_time: Callable[[], bool],
    ) -> None:
        """Send a write; of one in several calls, each only while there is time for it.

        Raises:
            OutcomeUnknown: the time was over between two of them, so that a part of it happened.
        """
        store = self._store_of(field)
        if not isinstance(action, InSeveralCalls):
            action.send(store, field, prepared, sequence)
            return
        for number, call in enumerate(action.calls(prepared)):
            if number and not in_time():
                raise self._unknown(action.keys, f"its time was over after {plural(number, 'call')} of the store")
            call(store, field, sequence)

    @contextmanager
    def _lingering(self, route: Route) -> Iterator[None]:
        """Keep the epoch of an un-journaled write from being acknowledged as long as it may land without an answer."""
        try:
            yield
        except _DEFINITE:
            raise
        except BaseException:
            settle_s = self._timing.fence_horizon_s
            if settle_s is None:
                settle_s = self._store_of(route.serving).capabilities.settles_within_s
            self._router.linger(self._alias, route.epoch, settle_s)
            raise

    def _journaled(
        self, action: WriteAction[Prepared], space: SpaceId, prepared: Prepared
    ) -> Opened | Passive | Held | Foreign | Receipt:
        """Open the write, or do all of it in one transaction when ledger and store share a file."""
        serving = self._router.current(self._alias).serving
        undone = 0
        while True:
            joint = self._ledger.transaction_with(self._store_of(serving))
            if joint is None:
                return self._open(action)
            try:
                return self._jointly(joint, action, serving, space, prepared)
            except TransactionUndone:
                if undone == len(_WAITS):
                    raise
            self._clock.sleep(_WAITS[undone])
            undone += 1

    def _jointly(
        self,
        joint: AbstractContextManager[None],
        action: WriteAction[Prepared],
        serving: VectorField,
        space: SpaceId,
        prepared: Prepared,
    ) -> Passive | Held | Foreign | Receipt:
        """Do all of a write in one transaction of ledger and store."""
        with joint:
            outcome = self._open(action)
            if not isinstance(outcome, Opened) or outcome.route.serving != serving or serving.space != space:
                if isinstance(outcome, Opened):
                    self._ledger.close(self._alias, outcome.operation, action.keys)
                    return Passive(route=outcome.route)
                return outcome
            action.send(self._store_of(serving), serving, prepared, outcome.sequence)
            self._ledger.close(self._alias, outcome.operation, action.keys)
        self._router.learn(self._alias, outcome.route)
        return _receipt(action, outcome.route)

    def _open(self, action: WriteAction[Prepared]) -> Opened | Passive | Held | Foreign:
        return self._ledger.open(
            self._alias, action.keys, client=self._router.client, deadline_s=self._timing.deadline_s
        )

    def _finish(self, opened: Opened, action: WriteAction[Prepared], prepared: Prepared, started: float) -> bool:
        """Send an opened write and close it; False when it was too late to send it, so that nothing was written.

        Raises:
            OutcomeUnknown: it was sent, and nobody saw its end. It is not sent again: others may have read it and
                written since, and would see their writes undone.
        """
        route = opened.route

        def in_time() -> bool:
            return self._clock.monotonic() - started <= self._timing.deadline_s * LEASE_SAFETY

        if not in_time():
            # Not sent: the reaper counts on nothing being sent after the deadline.
            self._ledger.close(self._alias, opened.operation, action.keys)
            return False
        try:
            self._send(action, route.serving, prepared, opened.sequence, in_time=in_time)
        except OutcomeUnknown:
            # Nothing of it is on its way, and its documents stay dirty until the operation is reaped.
            raise
        except _DEFINITE:
            # What the store said is the news; an operation that cannot be closed now is reaped later.
            with suppress(ControlUnavailable, LedgerUnusable):
                self._ledger.close(self._alias, opened.operation, action.keys)
            raise
        except Exception as error:
            # The request may still land: the operation stays open until nothing of it can be in flight any more.
            raise self._unknown(action.keys, str(error)) from error
        if not self._close(opened, action.keys):
            raise self._unknown(action.keys, "it took so long that a worker closed it in its place")
        return True

    def _close(self, opened: Opened, keys: Sequence[DocumentId]) -> bool:
        """Close a write that was made; False when it had been reaped."""
        try:
            return self._ledger.close(self._alias, opened.operation, keys)
        except (ControlUnavailable, LedgerUnusable) as error:
            raise self._unknown(keys, f"the ledger did not answer afterwards: {error.message}") from error

    def _too_slow(self, keys: Sequence[DocumentId]) -> WriteTimeout:
        return WriteTimeout(
            f"a write to {self._alias} was kept back: it came to be sent only after its deadline",
            f"nothing of {', '.join(keys[:3])} was written, and this process, or its ledger, is slow",
            "undrift doctor",
        )

    def _unknown(self, keys: Sequence[DocumentId], why: str) -> OutcomeUnknown:
        count(Metric.OUTCOMES_UNKNOWN)
        some = ", ".join(keys[:3]) + (" …" if len(keys) > 3 else "")
        return OutcomeUnknown(
            f"whether the write to {self._alias} happened is not known ({some})",
            why,
            "repeat the call: writing the same documents twice is safe",
        )


class _Preparation(Generic[Prepared]):
    """What a write needs in the space it goes to; computed again only when that is another one."""

    def __init__(self, action: WriteAction[Prepared]) -> None:
        self._action = action
        self._known: tuple[SpaceId, Prepared] | None = None

    def of(self, space: SpaceId) -> Prepared:
        """Return what the write needs in a space."""
        if self._known is None or self._known[0] != space:
            self._known = (space, self._action.prepare(space))
        return self._known[1]


class _Patience:
    """Waits longer and longer, until the time is up."""

    def __init__(self, clock: Clock, limit_s: float) -> None:
        self._clock = clock
        self._limit_s = limit_s
        self._until = clock.monotonic() + limit_s
        self._waited = 0

    def wait(self, error: WriteTimeout) -> None:
        """Wait a little, or raise the error when there is no time left."""
        if self._clock.monotonic() >= self._until:
            raise error
        self._clock.sleep(_WAITS[min(self._waited, len(_WAITS) - 1)])
        self._waited += 1


def _why(alias: AliasName, outcome: Held | Foreign) -> WriteTimeout:
    if isinstance(outcome, Held):
        return WriteTimeout(f"a write to {alias} waited too long for a cutover", hint=f"undrift status {alias}")
    keys = ", ".join(outcome.keys[:5])
    return WriteTimeout(
        f"a write to {alias} waited too long: {len(outcome.keys)} of its documents are still to be carried over",
        f"their last text is only in the other field: {keys}",
        "undrift worker",
    )


def _receipt(action: WriteAction[Prepared], route: Route) -> Receipt:
    return Receipt(ids=tuple(action.keys), epoch=route.epoch, space=route.serving.space)
