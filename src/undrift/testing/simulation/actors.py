"""Who takes part: clients that write and read, workers, operators, and those that keep leases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from undrift.config import Config, ModelSettings
from undrift.control import ControlPlane
from undrift.domain.client import ClientId
from undrift.domain.record import Document, Hits
from undrift.errors import (
    ControlUnavailable,
    EmbedderUnavailable,
    OutcomeUnknown,
    StoreUnavailable,
    UndriftError,
    WriteTimeout,
)
from undrift.flow.alias import Alias
from undrift.migrate.engine import Worker
from undrift.plugins import Plugins
from undrift.ports.cache import VectorCache
from undrift.ports.embedder import Embedder
from undrift.ports.ledger import Ledger
from undrift.ports.store import VectorStore
from undrift.testing.simulation.history import Kind, Outcome
from undrift.testing.simulation.ports import Calls, SimulatedModel, ledger_for
from undrift.testing.simulation.promises import Promises
from undrift.testing.simulation.scheduler import Life
from undrift.testing.simulation.stores import store_for
from undrift.testing.simulation.world import ALIAS, World, key_of

#: What a client may be told; anything else is a bug.
_UNSURE = (OutcomeUnknown, StoreUnavailable)
REFUSED = (StoreUnavailable, WriteTimeout, ControlUnavailable, EmbedderUnavailable)
#: Documents of a comparison that are embedded again.
_SAMPLE = 2


class _RollCall:
    """Who is dead, as one process is told."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name

    def me(self) -> str:
        return self._name

    def is_gone(self, name: str) -> bool:
        return self._world.options.known_dead and name in self._world.gone


class _SimulatedPlugins(Plugins):
    """Hands out the world's back-ends, as one process sees them."""

    def __init__(self, config: Config, world: World, life: Life, promises: Promises) -> None:
        super().__init__(config, world.clock)
        self._world = world
        self._calls = Calls(world, life, promises)
        self._store = store_for(world, life, promises)

    def ledger(self) -> Ledger:
        return ledger_for(self._calls, self._world.ledger)

    def cache(self) -> VectorCache:
        return self._world.cache

    def store(self, name: str) -> VectorStore:
        del name
        return self._store

    def embedder(self, name: str, settings: ModelSettings) -> Embedder:
        del settings
        return SimulatedModel(self._world.models[name], self._calls)

    def close(self) -> None:
        """Let go of nothing."""


@dataclass(slots=True, kw_only=True, eq=False)
class Simulated:
    """A simulated process."""

    life: Life
    plane: ControlPlane


class Cast:
    """Makes processes, and others in the place of those that die."""

    def __init__(self, world: World, promises: Promises) -> None:
        """Begin without anybody."""
        self.world = world
        self.promises = promises
        self._made = 0
        # Where every text is to be embedded once, a comparison may embed none again.
        self.sample = 0 if world.options.calm else _SAMPLE
        self._lefts: list[list[int]] = []
        self.retired = False

    def process(self, role: str) -> Simulated:
        """Begin a process; it keeps its lease as its own thread would."""
        world = self.world
        self._made += 1
        life = Life(name=f"{role}-{self._made}")
        plane = ControlPlane(
            world.config,
            role=role,
            clock=world.clock,
            heartbeat=False,
            plugins=_SimulatedPlugins(world.config, world, life, self.promises),
            processes=_RollCall(world, life.name),
        )
        # A name by chance would make no two runs alike.
        plane.router.client = ClientId(life.name)
        made = Simulated(life=life, plane=plane)
        world.scheduler.spawn(life, lambda: self._beat(made), after=world.chance.random() * 0.1)
        return made

    def perform(self, role: str, body: Callable[[Simulated], None], *, after: float = 0.0) -> None:
        """Let a process do something; when it dies, another one does it from the beginning."""
        world = self.world

        def begin() -> None:
            made = self.process(role)

            def guarded() -> None:
                try:
                    body(made)
                finally:
                    if made.life.dead and not world.weather.healed:
                        world.scheduler.at(world.scheduler.now + world.chance.uniform(0.02, 0.5), begin)
                    elif made.life.dead and role == "worker":
                        world.scheduler.at(world.scheduler.now + 0.1, begin)

            world.scheduler.spawn(made.life, guarded)

        world.scheduler.at(world.scheduler.now + after, begin)

    def client(self, number: int) -> None:
        """Let an application do its share of writes and reads, on one thread or several, however often it dies."""
        world = self.world
        left = [world.options.operations * world.options.threads]

        def work(made: Simulated) -> None:
            for _ in range(world.options.threads - 1):
                world.scheduler.spawn(made.life, lambda: self._serve(made, left))
            self._serve(made, left)

        self._lefts.append(left)
        self.perform(f"client{number}", work)

    @property
    def busy(self) -> bool:
        """Whether a client has still something to do."""
        return any(left[0] for left in self._lefts) and not self.retired

    def _serve(self, made: Simulated, left: list[int]) -> None:
        world = self.world
        alias: Alias | None = None
        while left[0] and not self.retired:
            world.scheduler.sleep(world.chance.expovariate(1 / world.options.think_s))
            try:
                alias = alias or made.plane.alias(ALIAS)
            except REFUSED as error:
                world.say(made.life.name, f"cannot begin: {type(error).__name__}")
                continue
            if left[0]:
                left[0] -= 1
                self._act(made, alias)

    def _act(self, made: Simulated, alias: Alias) -> None:
        world, chance = self.world, self.world.chance
        names, weights = zip(*world.options.writes.items(), strict=True)
        (name,) = chance.choices(names, weights)
        some = sorted(
            chance.sample(range(world.options.keys), min(chance.randint(1, world.options.batch), world.options.keys))
        )
        keys = [str(key_of(number)) for number in some]
        match name:
            case "upsert":
                self._upsert(made, alias, keys)
            case "delete":
                self._write(made, Kind.DELETE, keys, "", lambda: alias.delete(keys))
            case "update_metadata":
                note = f"note {len(world.history.writes)}"
                self._write(made, Kind.MERGE, keys[:1], note, lambda: alias.update_metadata(keys[0], {"note": note}))
            case "delete_by_filter":
                # Only what one write put there matches, so that it is known which documents may go.
                everything = [str(key_of(number)) for number in range(world.options.keys)]
                language = chance.choice(["en", "de"])
                self._write(made, Kind.FILTERED, everything, "", lambda: alias.delete(filter={"lang": language}))
            case _:
                self._read(made, alias, keys)

    def _upsert(self, made: Simulated, alias: Alias, keys: Sequence[str]) -> None:
        text = f"text {len(self.world.history.writes)}"
        language = self.world.chance.choice(["en", "de"])
        documents = [Document(id=key, text=f"{key} {text}", metadata={"note": text, "lang": language}) for key in keys]
        self._write(made, Kind.UPSERT, keys, text, lambda: alias.upsert(documents))

    def _write(self, made: Simulated, kind: Kind, keys: Sequence[str], value: str, act: Callable[[], Any]) -> None:
        world = self.world
        write = world.history.begin(kind, keys, value, world.scheduler.now)
        task = world.scheduler.current
        if task is None:
            raise RuntimeError("a client is a task")
        task.operation = write
        world.say(made.life.name, f"begins {kind.value} of {'+'.join(keys)} as #{write.number} {value}")
        try:
            act()
        except _UNSURE as error:
            write.outcome = Outcome.UNKNOWN
            world.say(made.life.name, f"#{write.number} is unknown: {error.message}; {error.detail}")
        except REFUSED as error:
            write.outcome = Outcome.REFUSED
            world.say(made.life.name, f"#{write.number} is refused: {error.message}")
            self.promises.at_refusal(write, error)
        except UndriftError as error:
            world.broken("error", f"a client is told {error!r}")
        else:
            write.outcome = Outcome.ACKNOWLEDGED
            world.count("acknowledged")
            world.say(made.life.name, f"#{write.number} is acknowledged")
        finally:
            write.ended = world.scheduler.now
            if write.outcome is Outcome.PENDING:
                write.outcome = Outcome.UNKNOWN
            task.operation, task.opened_field = None, ""

    def _read(self, made: Simulated, alias: Alias, keys: Sequence[str]) -> None:
        world = self.world
        try:
            if world.chance.random() < 0.6:
                self._look(alias.search("anything", k=3))
            elif world.chance.random() < 0.5:
                alias.get(keys)
            else:
                alias.count()
        except (StoreUnavailable, ControlUnavailable, EmbedderUnavailable) as error:
            world.say(made.life.name, f"a read fails: {error.message}")
        except UndriftError as error:
            world.broken("error", f"a reader is told {error!r}")

    def _look(self, hits: Hits) -> None:
        """I4 once more, on what comes back."""
        for hit in hits:
            if hit.tag is None or hit.tag.space != hits.space:
                self.world.broken("I4", f"{hit.id} of another space was found by a query of {hits.space}")

    def prober(self) -> None:
        """Let somebody only read, all the time."""
        world = self.world

        def work(made: Simulated) -> None:
            alias: Alias | None = None
            while not self.retired:
                world.scheduler.sleep(world.chance.expovariate(1 / 0.3))
                try:
                    alias = alias or made.plane.alias(ALIAS)
                except REFUSED:
                    continue
                self._read(made, alias, [str(key_of(0))])

        self.perform("prober", work)

    def worker(self) -> None:
        """Let a worker work for ever."""
        world = self.world

        def work(made: Simulated) -> None:
            while True:
                try:
                    Worker(
                        workshop=made.plane.workshop(ALIAS),
                        who=made.life.name,
                        sample=self.sample,
                        chunk_size=world.options.chunk_size,
                    ).run(lambda _: False)
                except (ControlUnavailable, StoreUnavailable, EmbedderUnavailable) as error:
                    world.say(made.life.name, f"cannot begin: {error.message}")
                except UndriftError as error:
                    world.broken("error", f"a worker is stopped by {error!r}")
                world.scheduler.sleep(0.1)

        self.perform("worker", work, after=world.chance.random() * 0.2)

    def _beat(self, made: Simulated) -> None:
        """Keep a lease, as the thread of a router does."""
        every = self.world.options.timing["poll_s"]
        while True:
            self.world.scheduler.sleep(every)
            with suppress(UndriftError):
                made.plane.router.beat()
