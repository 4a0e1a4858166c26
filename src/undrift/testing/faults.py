"""Back-ends that fail when they are told to, and processes that die in the middle of a call."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import wraps
from typing import Any, ClassVar, TypeVar, cast

from undrift.ports.batch import BatchService
from undrift.ports.embedder import Embedder
from undrift.ports.ledger import Ledger
from undrift.ports.store import SupportsInPlace, SupportsInsertAbsent, VectorStore

_T = TypeVar("_T")


class Killed(BaseException):
    """The process died here. Nothing catches it, and what it clutched at on its way down was dead as well."""


class When(Enum):
    """On which side of a call something happens."""

    #: The call is not made.
    BEFORE = "before"
    #: The call is made, and its answer is lost.
    AFTER = "after"


@dataclass(slots=True, kw_only=True)
class _Strike:
    """What is to happen to some calls."""

    call: str
    error: Callable[[], BaseException]
    when: When
    skip: int
    times: int


class Faults:
    """Decides which calls fail of the back-ends that it stands around; one for each simulated process.

    Calls are named after their port and method: `store.upsert`, `ledger.open`, `model.embed_documents`.

    Attributes:
        calls: the names of the calls so far, in order.
        dead: whether the process was killed; every further call raises `Killed`.
        on_call: told the name of every call before it is made.
        on_answer: told the name of every call that was made, and its answer.
    """

    def __init__(self) -> None:
        """Let everything pass."""
        self.calls: list[str] = []
        self.dead = False
        self.on_call: Callable[[str], None] = lambda _: None
        self.on_answer: Callable[[str, object], None] = lambda *_: None
        self._strikes: list[_Strike] = []
        self._death: tuple[int, When] | None = None

    def fail(
        self,
        call: str,
        error: Callable[[], BaseException],
        *,
        when: When = When.BEFORE,
        skip: int = 0,
        times: int = 1,
    ) -> None:
        """Let calls of a name fail.

        Args:
            call: the name; one that ends in a dot stands for every call of that port.
            error: makes what is raised.
            when: before the call is made, or after it.
            skip: so many calls of the name pass first.
            times: so many fail then.
        """
        self._strikes.append(_Strike(call=call, error=error, when=when, skip=skip, times=times))

    def kill_at(self, number: int, when: When = When.BEFORE) -> None:
        """Let the process die at a call, counted from 0 over all names and from now on."""
        self._death = (len(self.calls) + number, when)

    def kill(self) -> None:
        """Let the process be dead at once."""
        self.dead = True

    def heal(self) -> None:
        """Let everything pass again; the dead stay dead."""
        self._strikes.clear()
        self._death = None

    def store(self, store: VectorStore) -> VectorStore:
        """Stand around a store."""
        kinds = {(True, True): FaultyAbleStore, (True, False): FaultyInsertingStore, (False, True): FaultyInPlaceStore}
        kind = kinds.get((isinstance(store, SupportsInsertAbsent), isinstance(store, SupportsInPlace)), FaultyStore)
        return cast(VectorStore, kind(store, self))

    def ledger(self, ledger: Ledger) -> Ledger:
        """Stand around a ledger."""
        return cast(Ledger, FaultyLedger(ledger, self))

    def embedder(self, embedder: Embedder) -> Embedder:
        """Stand around a model."""
        return cast(Embedder, FaultyEmbedder(embedder, self))

    def around(self, name: str, call: Callable[[], _T]) -> _T:
        """Make a call, or let it fail."""
        if self.dead:
            raise Killed(f"{name} was asked for by a dead process")
        number = len(self.calls)
        self.calls.append(name)
        self.on_call(name)
        strike = self._due(name)
        self._stop_here(number, name, strike, When.BEFORE)
        answer = call()
        self.on_answer(name, answer)
        self._stop_here(number, name, strike, When.AFTER)
        return answer

    def _stop_here(self, number: int, name: str, strike: _Strike | None, when: When) -> None:
        if self._death == (number, when):
            self.dead = True
            raise Killed(f"killed {when.value} {name}")
        if strike is not None and strike.when is when:
            raise strike.error()

    def _due(self, name: str) -> _Strike | None:
        for strike in self._strikes:
            if strike.call == name or (strike.call.endswith(".") and name.startswith(strike.call)):
                if strike.skip:
                    strike.skip -= 1
                elif strike.times:
                    strike.times -= 1
                    return strike
        return None


class _Surrounded:
    """Hands every method of a port on; what is not a method of it is read past the faults."""

    _name: ClassVar[str]

    def __init__(self, inner: object, faults: Faults) -> None:
        """Stand around a back-end."""
        self._inner = inner
        self._faults = faults

    def __init_subclass__(cls, *, name: str, ports: tuple[type, ...], **rest: Any) -> None:
        """Make a method for each one of the ports."""
        super().__init_subclass__(**rest)
        cls._name = name
        for port in ports:
            for method, of_port in inspect.getmembers(port, inspect.isfunction):
                if not method.startswith("_"):
                    setattr(cls, method, _handed_on(method, of_port))

    def __getattr__(self, name: str) -> Any:
        """Read what is not a method of the port, such as its capabilities."""
        return getattr(self._inner, name)


def _handed_on(method: str, of_port: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(of_port)
    def call(self: _Surrounded, *args: Any, **kwargs: Any) -> Any:
        inner = getattr(self._inner, method)
        return self._faults.around(f"{self._name}.{method}", lambda: inner(*args, **kwargs))

    return call


class FaultyStore(_Surrounded, name="store", ports=(VectorStore,)):
    """A store that fails when its `Faults` say so; made by `Faults.store`."""


class FaultyInsertingStore(_Surrounded, name="store", ports=(VectorStore, SupportsInsertAbsent)):
    """The same for a store that supports `insert_absent`."""


class FaultyInPlaceStore(_Surrounded, name="store", ports=(VectorStore, SupportsInPlace)):
    """The same for a store that supports `attach` and `detach`."""


class FaultyAbleStore(_Surrounded, name="store", ports=(VectorStore, SupportsInsertAbsent, SupportsInPlace)):
    """The same for a store that supports all of these."""


class FaultyLedger(_Surrounded, name="ledger", ports=(Ledger,)):
    """A ledger that fails when its `Faults` say so; made by `Faults.ledger`."""


class FaultyEmbedder(_Surrounded, name="model", ports=(Embedder,)):
    """A model that fails when its `Faults` say so; made by `Faults.embedder`."""

    @property
    def batches(self) -> BatchService | None:
        """Its provider's batch API, which fails as well: `batch.upload`, `batch.create`, …."""
        found = getattr(self._inner, "batches", None)
        return None if found is None else cast(BatchService, FaultyBatches(found, self._faults))


class FaultyBatches(_Surrounded, name="batch", ports=(BatchService,)):
    """A batch API that fails when its `Faults` say so; reached through a `FaultyEmbedder`."""
