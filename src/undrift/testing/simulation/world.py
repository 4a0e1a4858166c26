"""What all simulated processes share: the store, the ledger, the models, time, and the history."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from undrift.adapters.ledgers.sqlite import SqliteLedger
from undrift.adapters.stores.memory import MemoryStore, StoredCollection, StoredRecord
from undrift.config import Config, parse
from undrift.domain.migration import Migration
from undrift.domain.record import Document, DocumentId, Record
from undrift.domain.route import AliasName, Route, VectorField
from undrift.domain.space import SpaceId
from undrift.ports.ledger import Ledger
from undrift.ports.store import StoreCapabilities
from undrift.testing.simulation.history import History
from undrift.testing.simulation.ledgerfile import OneConnection
from undrift.testing.simulation.models import DictCache, SpeakingModel
from undrift.testing.simulation.options import Options
from undrift.testing.simulation.scheduler import START, Hands, Life, Scheduler

ALIAS = AliasName("kb")
OLD, NEW = "old", "new"
_FOLDER = Path("simulation")
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)

#: Makes the ledger; a mutant puts its own in the place of the real one.
LedgerKind = Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A promise that was broken.

    Attributes:
        promise: which one; `error` for an error that nobody may get.
        what: what was seen.
        at: when, in virtual seconds.
    """

    promise: str
    what: str
    at: float

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{self.promise} broken at {self.at:.3f}: {self.what}"


@dataclass(frozen=True, slots=True)
class WorldClock:
    """The virtual time, as `ports.runtime.Clock`; whoever sleeps lets others go on."""

    scheduler: Scheduler

    def monotonic(self) -> float:
        """Return the virtual seconds."""
        return self.scheduler.now

    def now(self) -> datetime:
        """Return the wall clock that belongs to them."""
        return _EPOCH + timedelta(seconds=self.scheduler.now - START)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        if self.scheduler.current is not None:
            self.scheduler.sleep(max(seconds, 1e-6))


@dataclass(slots=True, eq=False)
class Weather:
    """What is out of order at present."""

    store_down: bool = False
    ledger_down: bool = False
    model_down: bool = False
    healed: bool = False


class SharedStore(MemoryStore):
    """The store behind all processes, with a replica that lags behind for those reads that may be stale."""

    def __init__(self, capabilities: StoreCapabilities) -> None:
        """Begin empty."""
        super().__init__()
        self._able = capabilities
        self.replica = MemoryStore()
        #: When a record was inserted, and by whom.
        self.inserted: dict[tuple[str, DocumentId], tuple[float, str]] = {}

    @property
    def capabilities(self) -> StoreCapabilities:
        """What this store says of itself."""
        return self._able

    def replicate(self) -> None:
        """Let the replica catch up."""
        self.replica.collections = {
            name: StoredCollection(
                dimensions=one.dimensions, metric=one.metric, rows=dict(one.rows), order=list(one.order)
            )
            for name, one in self.collections.items()
        }


@dataclass(slots=True, kw_only=True, eq=False)
class World:
    """One simulation.

    Attributes:
        options: what the seed decided.
        chance: where everything random comes from, in the order in which it is asked for.
        scheduler: who runs when.
        store: the vectors.
        ledger: the control data.
        models: by name.
        cache: vectors that are paid for.
        history: what clients did.
        weather: what is out of order.
        gone: names of the processes that were killed.
        asked: verbs that an operator has asked for, with those that name what may be dropped.
        flying: how many requests have not landed yet.
        violation: the first broken promise.
        trace: what happened, if it is written down.
        counts: how often things happened, for the summary.
    """

    options: Options
    chance: random.Random
    scheduler: Scheduler
    store: SharedStore
    ledger: Ledger
    database: OneConnection
    models: Mapping[str, SpeakingModel]
    cache: DictCache
    config: Config
    history: History = field(default_factory=History)
    weather: Weather = field(default_factory=Weather)
    gone: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    flying: int = 0
    violation: Violation | None = None
    trace: list[str] | None = None
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def clock(self) -> WorldClock:
        """The virtual time."""
        return WorldClock(self.scheduler)

    @property
    def settle_s(self) -> float:
        """The fence horizon D."""
        return self.options.timing["fence_horizon_s"]

    def say(self, who: str, what: str) -> None:
        """Write down what happened."""
        if self.trace is not None:
            self.trace.append(f"{self.scheduler.now - START:9.4f} {who:<12} {what}")

    def broken(self, promise: str, what: str) -> None:
        """Take note of a broken promise, and stop."""
        if self.violation is None:
            self.violation = Violation(promise=promise, what=what, at=self.scheduler.now - START)
            self.say("!", str(self.violation))
        self.scheduler.stopped = True

    def count(self, what: str) -> None:
        """Add to a count."""
        self.counts[what] = self.counts.get(what, 0) + 1

    def happens(self, rate: float) -> bool:
        """Whether something of a rate happens now; nothing does once everything is well again."""
        return rate > 0 and not self.weather.healed and self.chance.random() < rate

    def kill(self, life: Life, why: str) -> None:
        """End a process as SIGKILL does."""
        if not life.dead:
            life.dead = True
            self.gone.add(life.name)
            self.count("kills")
            self.say(life.name, f"is killed {why}")

    def stop(self, life: Life, why: str) -> None:
        """Stop a process as SIGSTOP does, and let it go on after a while that may be longer than its lease."""
        seconds = self.chance.uniform(0.0, 3.0 * self.options.timing["lease_s"])
        life.paused_until = max(life.paused_until, self.scheduler.now + seconds)
        self.count("stops")
        self.say(life.name, f"is stopped {why} for {seconds:.3f} s")

    # The side door

    def route(self) -> Route:
        """Return what the alias means now."""
        found = self.ledger.route(ALIAS)
        if found is None:
            raise RuntimeError("the alias is gone")
        return found

    def migration(self) -> Migration | None:
        """Return the migration that runs, or ran last."""
        state = self.ledger.alias(ALIAS)
        return state.migration if state else None

    def records(self, place: VectorField) -> dict[str, Record]:
        """Return everything that is in a field; nothing when there is no such field."""
        collection = self.store.collections.get(place.collection)
        if collection is None:
            return {}
        return {str(id): record for id, record in self.store.fetch(place, list(collection.order)).items()}

    def rows(self, place: VectorField) -> Mapping[str, StoredRecord]:
        """Return everything that is in a field, as the store keeps it; nothing when there is no such field."""
        collection = self.store.collections.get(place.collection)
        return {} if collection is None else cast(Mapping[str, StoredRecord], collection.rows)

    def model_of(self, space: SpaceId) -> SpeakingModel:
        """Return the model of a space."""
        return next(model for model in self.models.values() if model.space.id == space)


def make_world(options: Options, hands: Hands, *, ledger: LedgerKind = SqliteLedger, trace: bool = False) -> World:
    """Return a world in which nothing has happened yet."""
    scheduler = Scheduler(hands)
    capabilities = replace(
        MemoryStore().capabilities,
        requests_die_with_process=not options.outlives,
        scans_lag_s=options.scans_lag_s,
        settles_within_s=options.timing["fence_horizon_s"],
    )
    database = OneConnection()
    return World(
        options=options,
        chance=random.Random(f"simulation {options.seed}"),
        scheduler=scheduler,
        store=SharedStore(capabilities),
        ledger=ledger(database, WorldClock(scheduler), boot_id="simulation"),
        database=database,
        models={OLD: SpeakingModel(OLD, sign=1), NEW: SpeakingModel(NEW, sign=-1)},
        cache=DictCache(),
        config=_config(options),
        trace=[] if trace else None,
    )


def documents(options: Options) -> list[Document]:
    """Return what is in the collection in the beginning."""
    some = min(options.documents, options.keys)
    return [
        Document(id=key_of(number), text=f"k{number} as it was", metadata={"note": "as it was"})
        for number in range(some)
    ]


def key_of(number: int) -> DocumentId:
    """Return the id of a document."""
    return DocumentId(f"k{number}")


def _config(options: Options) -> Config:
    values = {
        "ledger": "sqlite:///simulation.db",
        "stores": {"main": {"url": "memory:simulation"}},
        "models": {name: {"provider": "simulation"} for name in (OLD, NEW)},
        "aliases": {ALIAS: {"store": "main", "model": OLD}},
        "timing": dict(options.timing),
    }
    return parse(values, _FOLDER / "undrift.toml")
