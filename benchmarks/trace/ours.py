"""undrift on the embedded store, as an application, an operator and a worker use it, each a process of its own.

The processes share nothing but the files of the store and of the ledger. They live in one interpreter and in virtual
time, so that a trace can go on between any two calls of the store, and waiting costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.trace.checker import Answer, Stored
from benchmarks.trace.events import Text
from benchmarks.trace.models import NEW, OLD, Billed, Kept
from benchmarks.trace.stage import NEAREST, PROCESSES, Killed, Stage
from undrift import Document
from undrift.config import Config, ModelSettings, parse
from undrift.control import ControlPlane
from undrift.domain.migration import Migration, Phase
from undrift.domain.plan import Flip, Plan
from undrift.domain.record import DocumentId, Entry, Record
from undrift.domain.route import AliasName, VectorField
from undrift.errors import UndriftError
from undrift.migrate.engine import Worker
from undrift.plugins import Plugins
from undrift.ports.embedder import Embedder
from undrift.ports.ledger import Ledger
from undrift.ports.store import VectorStore
from undrift.testing.faults import Faults
from undrift.testing.faults import Killed as DeadProcess
from undrift.testing.rig import BeatingClock, Roll

_ALIAS = AliasName("kb")
_PAGE = 1000
#: Longer than clients take to learn of a route, shorter than any lease.
_MOMENT_S = 2.0
_BEFORE_THE_END = frozenset({Phase.REGISTERED, Phase.JOURNALING, Phase.BACKFILL})


class _Watched:
    """The store as a worker has it: the trace goes on when a batch was read, and before one is written."""

    def __init__(self, store: VectorStore, stage: Stage, faults: Faults) -> None:
        self._store = store
        self._stage = stage
        self._faults = faults
        self._held: list[str] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def scan(self, field: VectorField, **how: Any) -> list[Entry]:
        page = self._store.scan(field, **how)
        self._held = [entry.id for entry in page]
        self._go_on(self._stage.read, self._held)
        return page

    def insert_absent(self, field: VectorField, records: Sequence[Record]) -> None:
        self._about_to_write()
        self._store.insert_absent(field, records)  # type: ignore[attr-defined]

    def upsert(self, field: VectorField, records: Sequence[Record]) -> None:
        self._about_to_write()
        self._store.upsert(field, records)

    def _about_to_write(self) -> None:
        held, self._held = self._held, None
        # What is written without having been scanned are documents that were touched, not a batch of the back-fill.
        if held is not None:
            self._go_on(self._stage.write, held)

    def _go_on(self, moment: Callable[[Sequence[str]], None], ids: Sequence[str]) -> None:
        try:
            moment(ids)
        except Killed:
            # What a process would still do on its way down, a killed one does not do.
            self._faults.kill()
            raise


class _Parts(Plugins):
    """The adapters that the configuration names, the models on the stage's bill, and all of it mortal."""

    def __init__(
        self, config: Config, clock: BeatingClock, models: Mapping[str, Embedder], faults: Faults, watcher: Stage | None
    ) -> None:
        super().__init__(config, clock)
        self._models = models
        self._faults = faults
        self._watcher = watcher
        self._made: dict[str, VectorStore] = {}

    def ledger(self) -> Ledger:
        return self._faults.ledger(super().ledger())

    def store(self, name: str) -> VectorStore:
        if name not in self._made:
            store: Any = super().store(name)
            self._made[name] = self._faults.store(
                _Watched(store, self._watcher, self._faults) if self._watcher else store
            )
        return self._made[name]

    def embedder(self, name: str, settings: ModelSettings) -> Embedder:
        return self._faults.embedder(self._models[name])


class _Process:
    """A process that uses undrift."""

    def __init__(self, plane: ControlPlane, faults: Faults, name: str) -> None:
        self.plane = plane
        self.faults = faults
        self.name = name

    def beat(self) -> None:
        """Keep the lease, as a thread of the process does."""
        if not self.faults.dead:
            with suppress(UndriftError):
                self.plane.router.beat()


class Undrift:
    """The contestant that this repository is about."""

    def __init__(self, stage: Stage, models: Mapping[str, Kept], folder: Path) -> None:
        """Begin in an empty folder.

        Args:
            stage: where it plays.
            models: the models.
            folder: where the store and the ledger are.
        """
        self._stage = stage
        self._folder = folder
        self._models = {name: Billed(name, kept, stage.bill) for name, kept in models.items()}
        self._clock = BeatingClock()
        self._roll = Roll()
        self._all: list[_Process] = []
        self._applications: list[_Process] = []
        self._operator = self._begin("operator")
        self._worker: Worker | None = None

    def load(self, documents: Sequence[Text]) -> None:
        """Write the documents through the alias, and start the application's processes."""
        self._applications = [self._begin("app") for _ in range(PROCESSES)]
        self._applications[0].plane.alias(_ALIAS).upsert([_document(document) for document in documents])

    def start(self) -> None:
        """`undrift start kb --to new --detach`."""
        self._operator.plane.register(_ALIAS, NEW)

    def backfill(self) -> None:
        """`undrift worker kb`, until everything is copied."""
        process = self._begin("worker", self._stage)
        try:
            self._work(process, lambda migration: migration.phase not in _BEFORE_THE_END)
        except (Killed, DeadProcess) as death:
            self._roll.gone.add(process.name)
            raise Killed from death
        process.plane.close()
        process.faults.kill()

    def finish(self) -> None:
        """The worker goes on: it carries over what was written meanwhile and compares the fields."""
        process = self._begin("worker")
        self._work(process, lambda migration: migration.phase is Phase.READY)
        self._worker = self._at_work(process)
        # From here on it does what there is to do whenever somebody waits.
        self._clock.beats.append(self._tick)

    def cutover(self) -> None:
        """`undrift cutover kb`."""
        self._flip(self._operator.plane.cutover)

    def rollback(self) -> None:
        """`undrift rollback kb`."""
        self._flip(self._operator.plane.rollback)

    def put(self, process: int, document: Text) -> None:
        """`Alias.upsert`."""
        self._applications[process].plane.alias(_ALIAS).upsert([_document(document)])

    def delete(self, process: int, id: str) -> None:
        """`Alias.delete`."""
        self._applications[process].plane.alias(_ALIAS).delete([id])

    def merge(self, process: int, id: str, changes: Mapping[str, Any]) -> None:
        """`Alias.update_metadata`."""
        self._applications[process].plane.alias(_ALIAS).update_metadata(id, changes)

    def search(self, process: int, question: str) -> list[Answer]:
        """`Alias.search`."""
        hits = self._applications[process].plane.alias(_ALIAS).search(question, k=NEAREST)
        return [Answer(text=hit.text, score=hit.score) for hit in hits]

    def contents(self) -> dict[str, Stored]:
        """Read the field that serves through the store, past every process."""
        plane = self._begin("checker").plane
        route = plane.ledger.route(_ALIAS)
        assert route is not None
        store = plane.store_of(route.serving)
        found: dict[str, Stored] = {}
        after = ""
        while ids := store.ids(route.serving, after=after, limit=_PAGE):
            for id, record in store.fetch(route.serving, ids).items():
                found[id] = Stored(text=record.text, metadata=dict(record.metadata), vector=record.vector)
            after = ids[-1]
        return found

    def close(self) -> None:
        """Let go of every file."""
        self._clock.beats.clear()
        for process in self._all:
            process.faults.dead = False
            process.plane.plugins.close()
            process.plane.ledger.close_ledger()

    def _flip(self, verb: Callable[..., object]) -> None:
        """Let the trace go on right after the route has changed, before anybody has heard of it."""
        steps_until: list[int] = []

        def planned(plan: Plan) -> None:
            (flip,) = (number for number, step in enumerate(plan) if isinstance(step, Flip))
            steps_until.append(flip + 1)

        def next_step(_: str) -> None:
            steps_until[0] -= 1
            if steps_until[0] == -1:
                self._stage.halfway()

        # Nobody is that quick: by now every process has heard of the last change.
        self._clock.sleep(_MOMENT_S)
        verb(_ALIAS, on_plan=planned, on_step=next_step)

    def _work(self, process: _Process, until: Callable[[Migration], bool]) -> None:
        self._at_work(process).run(lambda migration: migration is not None and until(migration))

    def _at_work(self, process: _Process) -> Worker:
        return Worker(workshop=process.plane.workshop(_ALIAS), who=process.name, chunk_size=self._stage.trace.batch)

    def _tick(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            try:
                with self._stage.bill.of("the rest of the migration"):
                    worker.tick()
            finally:
                self._worker = worker

    def _begin(self, role: str, watcher: Stage | None = None) -> _Process:
        faults = Faults()
        config = parse(
            {
                "ledger": "sqlite:///undrift.db",
                "stores": {"main": {"url": "sqlite-vec:vectors.db"}},
                "models": {OLD: {"provider": "hashing"}, NEW: {"provider": "wordllama"}},
                "aliases": {_ALIAS: {"store": "main", "model": OLD}},
            },
            self._folder / "undrift.toml",
        )
        name = f"{role}-{len(self._all) + 1}"
        plane = ControlPlane(
            config,
            role=role,
            clock=self._clock,
            heartbeat=False,
            plugins=_Parts(config, self._clock, self._models, faults, watcher),
            processes=self._roll.of(name),
        )
        process = _Process(plane, faults, name)
        self._all.append(process)
        self._clock.beats.append(process.beat)
        return process


def _document(document: Text) -> Document:
    return Document(id=DocumentId(document.id), text=document.text, metadata=document.metadata)
