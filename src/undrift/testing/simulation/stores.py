"""The store as one simulated process sees it: what a write asks for takes effect at a time of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

from undrift.domain.record import DocumentId, Entry, Hit, Metadata, Record, Vector
from undrift.domain.route import VectorField
from undrift.domain.space import Metric
from undrift.errors import StoreUnavailable, UndriftError
from undrift.ports.store import FieldDescription, Filter, Part, StoreCapabilities, SupportsInsertAbsent, VectorStore
from undrift.testing.faults import Killed
from undrift.testing.simulation.history import Write
from undrift.testing.simulation.ports import PATIENCE, strain
from undrift.testing.simulation.promises import Promises
from undrift.testing.simulation.scheduler import Life, Task
from undrift.testing.simulation.world import World

_T = TypeVar("_T")
#: A document, and what a write does to it.
_Part = tuple[str, Callable[[], None]]
#: Writes to the store are few among all calls, and most of what can go wrong goes wrong with them.
_WRITES = 4


@dataclass(slots=True, kw_only=True, eq=False)
class _Request:
    """A write on its way: what of it arrives, when at the latest, and whether the sender hears of it."""

    name: str
    field: VectorField
    task: Task
    parts: Sequence[_Part]
    sent: float
    last: float
    furthest: float
    late: bool
    mute: bool
    together: float = 0.0
    error: UndriftError | None = None


class SimulatedStore:
    """The store as one process sees it. What a write asks for takes effect at a time of its own."""

    def __init__(self, world: World, life: Life, promises: Promises) -> None:
        """Stand between a process and the store."""
        self._world = world
        self._life = life
        self._promises = promises

    @property
    def capabilities(self) -> StoreCapabilities:
        """What the store says of itself."""
        return self._world.store.capabilities

    def create(self, field: VectorField, *, dimensions: int, metric: Metric) -> None:
        """Make a collection."""
        self._call("create", field, lambda: self._world.store.create(field, dimensions=dimensions, metric=metric))

    def drop(self, field: VectorField) -> None:
        """Delete a collection."""

        def dropped() -> None:
            self._promises.at_drop(field)
            self._world.store.drop(field)

        self._call("drop", field, dropped)

    def describe(self, field: VectorField) -> FieldDescription | None:
        """Return what is known of a field."""
        return self._call("describe", field, lambda: self._world.store.describe(field))

    def upsert(self, field: VectorField, records: Sequence[Record]) -> None:
        """Write records."""
        self._write("upsert", field, records)

    def delete(self, field: VectorField, ids: Sequence[DocumentId], *, filter: Filter | None = None) -> None:
        """Delete records."""
        store = self._world.store
        parts = [(str(id), partial(store.delete, field, [id], filter=filter)) for id in ids]
        self._send("delete", field, parts)

    def merge_metadata(self, field: VectorField, changes: Mapping[DocumentId, Metadata], *, sequence: int) -> None:
        """Change payloads."""
        store = self._world.store
        parts = [
            (str(id), partial(store.merge_metadata, field, {id: change}, sequence=sequence))
            for id, change in changes.items()
        ]
        self._send("merge_metadata", field, parts)

    def fetch(self, field: VectorField, ids: Sequence[DocumentId]) -> dict[DocumentId, Record]:
        """Read records."""
        return self._call("fetch", field, lambda: self._world.store.fetch(field, ids))

    def entries(
        self, field: VectorField, ids: Sequence[DocumentId], parts: Part = Part.TEXT
    ) -> dict[DocumentId, Entry]:
        """Read records without their vectors."""
        return self._call("entries", field, lambda: self._world.store.entries(field, ids, parts))

    def scan(
        self,
        field: VectorField,
        *,
        after: str = "",
        until: str | None = None,
        limit: int,
        parts: Part = Part.NONE,
        filter: Filter | None = None,
    ) -> list[Entry]:
        """Read the next records."""
        return self._call(
            "scan",
            field,
            lambda: self._scan(field, after=after, until=until, limit=limit, parts=parts, filter=filter),
        )

    def ids(self, field: VectorField, *, after: str = "", limit: int) -> list[DocumentId]:
        """Read the next ids."""
        return self._call("ids", field, lambda: [entry.id for entry in self._scan(field, after=after, limit=limit)])

    def count(self, field: VectorField, filter: Filter | None = None) -> int:
        """Count, where the store allows it on a replica that lags."""
        return self._call("count", field, lambda: self._replica(field).count(field, filter))

    def search(self, field: VectorField, vector: Vector, *, k: int, filter: Filter | None = None) -> list[Hit]:
        """Search, where the store allows it on a replica that lags."""
        self._promises.at_search(field, vector)
        return self._call("search", field, lambda: self._replica(field).search(field, vector, k=k, filter=filter))

    def close(self) -> None:
        """Let go of nothing."""

    def _scan(self, field: VectorField, *, limit: int, **asked: Any) -> list[Entry]:
        """Read the next records, without those that this process may not see yet."""
        store, now = self._world.store, self._world.scheduler.now
        found: list[Entry] = []
        while True:
            page = store.scan(field, limit=limit, **asked)
            for entry in page:
                at, who = store.inserted.get((field.collection, entry.id), (0.0, self._life.name))
                if who == self._life.name or now - at >= self._world.options.scans_lag_s:
                    found.append(entry)
            if len(page) < limit or len(found) >= limit:
                return found[:limit]
            asked["after"] = page[-1].id

    def _replica(self, field: VectorField) -> VectorStore:
        store = self._world.store
        return store.replica if self._world.options.stale and field.collection in store.replica.collections else store

    def _write(self, name: str, field: VectorField, records: Sequence[Record]) -> None:
        act = self._world.store.insert_absent if name == "insert_absent" else self._world.store.upsert

        def put(batch: Sequence[Record]) -> None:
            self._promises.at_write(field, batch)
            there = self._world.store.collections.get(field.collection)
            fresh = [record.id for record in batch if there is not None and record.id not in there.rows]
            act(field, batch)
            now = self._world.scheduler.now
            self._world.store.inserted.update({(field.collection, id): (now, self._life.name) for id in fresh})

        parts = [(str(record.id), partial(put, [record])) for record in records]
        self._send(name, field, parts)

    def _call(self, name: str, field: VectorField, call: Callable[[], _T]) -> _T:
        """Make a call that takes effect at once, when its time has come."""
        world, task = self._world, self._world.scheduler.current
        if task is None:
            return call()
        if self._life.dead:
            raise Killed(f"store.{name} was asked for by a dead process")
        world.count("calls")
        strain(world, task, f"before store.{name}")
        world.scheduler.sleep(world.chance.expovariate(1 / world.options.latency_s))
        self._refuse(name)
        answer = call()
        world.say(self._life.name, f"store.{name} {field.collection}")
        strain(world, task, f"after store.{name}")
        if world.happens(world.options.mute):
            world.say(self._life.name, f"store.{name}: the answer is lost")
            raise StoreUnavailable(f"store.{name} got no answer")
        if task.life.paused_until > world.scheduler.now or task.life.dead or world.chance.random() < 0.5:
            world.scheduler.sleep(world.chance.expovariate(1 / world.options.latency_s))
        return answer

    def _refuse(self, name: str) -> None:
        world = self._world
        if world.weather.store_down or world.happens(world.options.lose):
            world.say(self._life.name, f"store.{name} does not arrive")
            raise StoreUnavailable(f"store.{name} got no answer")

    def _send(self, name: str, field: VectorField, parts: Sequence[_Part]) -> None:
        """Send a write: each part lands when it does, and the answer comes after all of them, or does not come."""
        world, task = self._world, self._world.scheduler.current
        if task is None or not parts:
            for _, act in parts:
                act()
            return
        if self._life.dead:
            raise Killed(f"store.{name} was asked for by a dead process")
        world.count("calls")
        if task.opened_field and world.happens(world.options.late_send):
            self._oversleep(task)
        strain(world, task, f"before store.{name}")
        if self._life.dead:
            raise Killed(f"{self._life.name} is dead")
        request = self._decide(name, field, task, parts)
        for key, act in request.parts:
            self._dispatch(request, key, act)
        named = " ".join(key for key, _ in request.parts)
        world.say(self._life.name, f"store.{name} {field.collection} {named} is sent")
        if request.mute:
            # The caller gives up before or after it lands; a store inside the process has done with it by then.
            patience = world.settle_s * PATIENCE * world.chance.random()
            world.scheduler.sleep(patience if world.options.outlives else max(patience, request.last - request.sent))
            world.say(self._life.name, f"store.{name} gets no answer")
            raise StoreUnavailable(f"store.{name} got no answer")
        world.scheduler.sleep(request.last - request.sent + world.chance.expovariate(1 / world.options.latency_s) * 0.5)
        if request.error is not None:
            raise request.error
        if not task.shielded:
            strain(world, task, f"after store.{name}")
            if self._life.dead:
                raise Killed(f"{self._life.name} is dead")

    def _decide(self, name: str, field: VectorField, task: Task, parts: Sequence[_Part]) -> _Request:
        """Decide what becomes of a write on its way; nothing does to one whose sender is watched over."""
        world, options, chance = self._world, self._world.options, self._world.chance
        lost = not task.shielded and (world.weather.store_down or world.happens(options.lose * _WRITES))
        mute = not task.shielded and (lost or world.happens(options.mute * _WRITES))
        # An answer that does not come often belongs to a request that takes its time.
        late = not task.shielded and (world.happens(options.late * _WRITES) or (mute and chance.random() < 0.5))
        arriving = [] if lost else list(parts)
        if not task.shielded and world.happens(options.part):
            mute = True
            arriving = [part for part in parts if chance.random() < 0.5]
        # A request may take as long as its deadline and the fence horizon; that of an un-journaled write is its lease.
        is_unjournaled = task.operation is not None and not task.opened_field
        deadline = task.life.lease_until if is_unjournaled else task.work_until
        now = world.scheduler.now
        furthest = max(now, deadline + world.settle_s * 0.99)
        request = _Request(
            name=name,
            field=field,
            task=task,
            parts=arriving,
            sent=now,
            last=now,
            furthest=furthest,
            late=late,
            mute=mute,
        )
        request.together = self._travel(request)
        return request

    def _dispatch(self, request: _Request, key: str, act: Callable[[], None]) -> None:
        """Let a part of a request land, and land again where a network delivers it twice."""
        world = self._world
        lands = self._travel(request) if world.options.torn else request.together
        self._land(request, key, act, lands)
        if world.happens(world.options.twice):
            again = lands + world.chance.random() * world.settle_s * 0.5
            self._land(request, key, act, min(again, max(lands, request.furthest)))

    def _land(self, request: _Request, key: str, act: Callable[[], None], at: float) -> None:
        world, life, field = self._world, self._life, request.field
        operation, opened = request.task.operation, request.task.opened_field

        def land() -> None:
            world.flying -= 1
            if life.dead and not world.options.outlives:
                return
            try:
                act()
            except UndriftError as error:
                request.error = error
                return
            world.say(life.name, f"store.{request.name} {field.collection} {key} lands")
            if isinstance(operation, Write):
                operation.landings.append(world.scheduler.now)
                self._promises.at_landing(field, opened, operation)
            self._promises.at_any_landing(key)

        request.last = max(request.last, at)
        world.flying += 1
        world.scheduler.at(at, land)

    def _travel(self, request: _Request) -> float:
        """Return when a part of a request arrives."""
        chance = self._world.chance
        if request.late and request.furthest > request.sent:
            return chance.uniform(request.sent, request.furthest)
        return request.sent + min(chance.expovariate(1 / self._world.options.latency_s), self._world.settle_s * 0.9)

    def _oversleep(self, task: Task) -> None:
        """Stop a client after its last look at the clock, until nobody counts on its request any more.

        It has to live on and to end its write then: if it died as well, nothing would tell that its request landed
        so late. That is what the protocol leaves open.
        """
        world = self._world
        until = task.work_until + world.settle_s + world.chance.random() * world.options.timing["lease_s"]
        world.say(self._life.name, "is stopped after its last look at the clock")
        world.count("late sends")
        task.shielded = True
        if isinstance(task.operation, Write):
            task.operation.overslept = True
        self._life.shielded += 1
        self._life.paused_until = max(self._life.paused_until, until)
        world.scheduler.sleep(0.0)


class InsertingStore(SimulatedStore):
    """The same for a store that can leave records alone which are there."""

    def insert_absent(self, field: VectorField, records: Sequence[Record]) -> None:
        """Insert records."""
        self._write("insert_absent", field, records)


def store_for(world: World, life: Life, promises: Promises) -> VectorStore:
    """Return the store as a process sees it."""
    kind = InsertingStore if world.options.insert_absent else SimulatedStore
    store: Any = kind(world, life, promises)
    if isinstance(store, SupportsInsertAbsent) != world.options.insert_absent:
        raise TypeError("a simulated store says that it can do what it cannot")
    return cast(VectorStore, store)
