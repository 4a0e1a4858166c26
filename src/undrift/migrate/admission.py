"""Asks before each call of a worker to a store or a model whether an operator still lets the workers work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial, wraps
from typing import Any, TypeVar, cast

from undrift.domain.migration import RunStatus
from undrift.domain.record import DocumentId, Entry
from undrift.domain.route import VectorField
from undrift.domain.space import SpaceId
from undrift.errors import NoMigration, StoreUnavailable, WorkStopped
from undrift.flow.embed import EmbeddingDoor
from undrift.flow.oversight import Oversight
from undrift.flow.paying import paid_by
from undrift.migrate.purse import proof_purse_of
from undrift.migrate.workshop import Workshop
from undrift.ports.source import DocumentSource
from undrift.ports.store import VectorStore

_T = TypeVar("_T")

Admit = Callable[[], None]


def attended(
    workshop: Workshop, waits: Callable[[str], None], called: Callable[[float], None] = lambda _: None
) -> Workshop:
    """Return the means of a worker: every call to a store or a model is refused once an operator has stopped the work.

    A pause, a halt and the fleet's pause file refuse all but what writers wait for (`Workshop.for_writers`); when the
    workers are stopped at once, that is refused as well. The ledger is asked each time, so the very next call after
    the operator's word is refused, on every host.

    Args:
        workshop: the means.
        waits: told what a call of a model waits for.
        called: told of each call of a store whether it failed: 1 if so, else 0.
    """

    def status() -> RunStatus:
        migration = workshop.state().migration
        if migration is None or migration.is_final:
            raise NoMigration(f"the migration of {workshop.alias} is over", hint=f"undrift status {workshop.alias}")
        return migration.run_status

    def ordinary() -> None:
        found = status()
        if found is not RunStatus.RUNNING:
            raise _refusal(workshop, found.value)
        if why := workshop.held_back():
            raise WorkStopped(f"the workers of {workshop.alias} wait for {why}")

    def urgent() -> None:
        if (found := status()) is RunStatus.STOPPED:
            raise _refusal(workshop, found.value)

    return replace(
        _guarded(workshop, Oversight(admit=ordinary, waits=waits, is_work=True), called),
        urgent=_guarded(workshop, Oversight(admit=urgent, waits=waits, is_work=True), called),
    )


def counted(workshop: Workshop, called: Callable[[float], None]) -> Workshop:
    """Return the same means, with every call of a store told: 1 if it failed, else 0."""
    return _guarded(workshop, workshop.oversight, called)


def _refusal(workshop: Workshop, how: str) -> WorkStopped:
    return WorkStopped(f"the migration of {workshop.alias} is {how}", hint=f"undrift resume {workshop.alias}")


def _guarded(workshop: Workshop, oversight: Oversight, called: Callable[[float], None]) -> Workshop:
    admit = oversight.admit
    stores: dict[int, VectorStore] = {}

    def store_of(field: VectorField) -> VectorStore:
        store = workshop.store_of(field)
        guard = stores.get(id(store))
        if guard is None:
            # The guard keeps its store alive, so the number stays that store's.
            guard = stores[id(store)] = cast(VectorStore, GuardedStore(store, admit, called, workshop.last_look.look))
        return guard

    def door_of(space: SpaceId) -> EmbeddingDoor:
        # To prove a model is a call of it, which the migration pays for.
        admit()
        with paid_by(partial(proof_purse_of, workshop)):
            return workshop.door_of(space)

    source = _GuardedSource(workshop.source, admit)
    return replace(workshop, store_of=store_of, door_of=door_of, source=source, oversight=oversight)


class GuardedStore:
    """A store each of whose methods asks first; what is not a method, such as its capabilities, is read as it is."""

    def __init__(
        self,
        store: VectorStore,
        admit: Admit,
        called: Callable[[float], None] = lambda _: None,
        look: Callable[[], None] = lambda: None,
    ) -> None:
        """Stand around a store, whatever optional abilities it has; `look` comes last before each call."""
        self._store = store
        for name in dir(store):
            method = None if name.startswith("_") or name == "capabilities" else getattr(store, name)
            if callable(method):
                setattr(self, name, _asking(method, admit, called, look))

    def __getattr__(self, name: str) -> Any:
        """Read what is not a method."""
        return getattr(self._store, name)


def _asking(
    method: Callable[..., _T], admit: Admit, called: Callable[[float], None], look: Callable[[], None]
) -> Callable[..., _T]:
    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> _T:
        admit()
        # To ask the ledger takes time, in which a lease may end.
        look()
        try:
            answer = method(*args, **kwargs)
        except StoreUnavailable:
            called(1.0)
            raise
        called(0.0)
        return answer

    return call


class _GuardedSource:
    """A source that asks first."""

    def __init__(self, source: DocumentSource, admit: Admit) -> None:
        self._source = source
        self._admit = admit

    def texts(self, entries: Sequence[Entry]) -> dict[DocumentId, str]:
        self._admit()
        return self._source.texts(entries)
