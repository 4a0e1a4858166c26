"""A collection, its ledger and its models in virtual time, used by processes that can be killed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.adapters.ledgers.sqlite import SqliteLedger
from undrift.adapters.sqlite import Database
from undrift.adapters.stores.memory import MemoryStore
from undrift.config import Config, ModelSettings, parse
from undrift.control import ControlPlane
from undrift.domain.migration import Migration, Phase
from undrift.domain.record import Document, DocumentId, Record, content_hash
from undrift.domain.route import AliasName, Route, VectorField
from undrift.domain.space import SpaceId
from undrift.errors import UndriftError
from undrift.flow.alias import Alias
from undrift.migrate.engine import Worker
from undrift.plugins import Plugins
from undrift.ports.embedder import Embedder
from undrift.ports.ledger import Ledger
from undrift.ports.store import VectorStore
from undrift.testing.clock import VirtualClock
from undrift.testing.faults import Faults, Killed

ALIAS = AliasName("kb")
#: Documents in a piece of the back-fill: so few that a handful of documents makes several pieces.
CHUNK_SIZE = 4
#: Least cosine between a stored vector and the one that its model gives; only rounding lies between them.
_SAME = 0.9999


class Layout(Enum):
    """Where the vectors and the ledger are."""

    #: The vectors in memory, the ledger in a file.
    MEMORY = "memory"
    #: Each in a file of its own.
    TWO_FILES = "two_files"
    #: Both in one file, so that a write and its bracket are one transaction.
    ONE_FILE = "one_file"


class BeatingClock(VirtualClock):
    """Virtual time in which every living process keeps its lease while somebody sleeps."""

    def __init__(self) -> None:
        """Begin without any process."""
        super().__init__()
        self.beats: list[Callable[[], None]] = []

    def sleep(self, seconds: float) -> None:
        """Let the time pass at once, and everybody's heart beat."""
        self.advance(seconds)
        for beat in list(self.beats):
            beat()


class Roll:
    """Who is alive, as the system would tell; a rig can be told to know nothing of it."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self.gone: set[str] = set()
        self.known = True

    def of(self, name: str) -> RollCall:
        """Return what one process sees."""
        return RollCall(self, name)


@dataclass(frozen=True, slots=True)
class RollCall:
    """The roll, as `ports.runtime.Processes` for one process."""

    roll: Roll
    name: str

    def me(self) -> str:
        """Return the name of this process."""
        return self.name

    def is_gone(self, name: str) -> bool:
        """Whether a process was killed."""
        return self.roll.known and name in self.roll.gone


class _RigPlugins(Plugins):
    """Puts the rig's store and models in the place of those that the configuration names, and faults around all."""

    def __init__(self, config: Config, rig: Rig, faults: Faults) -> None:
        super().__init__(config, rig.clock)
        self._rig = rig
        self._faults = faults
        self._rig_stores: dict[str, VectorStore] = {}
        self._rig_models: dict[str, Embedder] = {}

    def ledger(self) -> Ledger:
        database = self._rig.database or self._database(self.ledger_path())
        return self._faults.ledger(SqliteLedger(database, self._clock, boot_id="rig"))

    def store(self, name: str) -> VectorStore:
        if name not in self._rig_stores:
            # What is in memory is one store for all the processes of the rig.
            in_memory = self._rig.layout is Layout.MEMORY and not self._rig.store_url
            shared = {
                "main": self._rig.memory if in_memory else None,
                "other": self._rig.second_memory if self._rig.second.startswith("memory:") else None,
            }
            store = shared.get(name) or super().store(name)
            self._rig_stores[name] = self._faults.store(store)
        return self._rig_stores[name]

    def embedder(self, name: str, settings: ModelSettings) -> Embedder:
        del settings
        if name not in self._rig_models:
            self._rig_models[name] = self._faults.embedder(self._rig.models[name])
        return self._rig_models[name]


@dataclass(kw_only=True)
class Process:
    """A simulated process: a control plane of its own, and the faults around everything it calls."""

    plane: ControlPlane
    faults: Faults
    name: str
    paused: bool = False

    @property
    def alias(self) -> Alias:
        """The collection, as an application of this process has it."""
        return self.plane.alias(ALIAS)

    def worker(self, *, sample: int = 50, on_progress: Callable[[], None] = lambda: None) -> Worker:
        """Return a worker of this process."""
        return Worker(
            workshop=self.plane.workshop(ALIAS),
            who=self.name,
            sample=sample,
            chunk_size=CHUNK_SIZE,
            on_progress=on_progress,
        )

    def work(self, until: Callable[[Migration], bool], *, sample: int = 50) -> None:
        """Work until a condition on the migration holds."""
        self.worker(sample=sample).run(lambda migration: migration is not None and until(migration))

    def work_to(self, phase: Phase, *, sample: int = 50) -> None:
        """Work until the migration is in a phase."""
        self.work(lambda migration: migration.phase is phase, sample=sample)


@dataclass(kw_only=True)
class Rig:
    """One collection under the alias `kb`, and everything that is around it.

    Attributes:
        folder: where the files are.
        layout: where the vectors and the ledger are.
        models: the models by name; the collection begins with `old`, and `new` is where it goes.
        mirror: as in the configuration.
        reconcile: as in the configuration.
        order: as in the configuration.
        timing: seconds by name, as in the configuration.
        second: address of another store, which the configuration calls `other`; empty for none.
        collection: the address of its first collection.
        store_url: the address of another store, which takes the place of that of the layout.
        database: where the ledger is; None for a file of its own in the folder.
        model_settings: what the configuration says of models, by name.
    """

    folder: Path
    layout: Layout = Layout.MEMORY
    models: Mapping[str, Embedder] = field(
        default_factory=lambda: {
            "old": HashingEmbedder(dimensions=16, seed="old"),
            "new": HashingEmbedder(dimensions=24, seed="new"),
        }
    )
    mirror: str = "journal"
    reconcile: str = "suspected"
    order: Sequence[str] = ()
    timing: Mapping[str, float] = field(default_factory=dict)
    second: str = ""
    collection: str = ALIAS
    store_url: str = ""
    clock: BeatingClock = field(default_factory=BeatingClock)
    memory: MemoryStore = field(default_factory=MemoryStore)
    second_memory: MemoryStore = field(default_factory=MemoryStore)
    roll: Roll = field(default_factory=Roll)
    processes: list[Process] = field(default_factory=list)
    database: Database | None = None
    model_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Open the side door."""
        self._door: Process | None = None
        self._vectors: dict[tuple[SpaceId, str], Any] = {}
        self._count = 0

    def process(self, role: str = "app") -> Process:
        """Begin a process."""
        self._count += 1
        name = f"{role}-{self._count}"
        faults = Faults()
        config = self._config()
        plane = ControlPlane(
            config,
            role=role,
            clock=self.clock,
            heartbeat=False,
            plugins=_RigPlugins(config, self, faults),
            processes=self.roll.of(name),
        )
        process = Process(plane=plane, faults=faults, name=name)
        self.processes.append(process)
        self.clock.beats.append(lambda: _beat(process))
        return process

    def kill(self, process: Process) -> None:
        """End a process as SIGKILL does."""
        process.faults.kill()
        self.roll.gone.add(process.name)

    def bury_the_killed(self) -> None:
        """Let the roll know of processes that their faults have killed."""
        self.roll.gone.update(process.name for process in self.processes if process.faults.dead)

    def close(self) -> None:
        """Let go of every file."""
        for process in self.processes:
            process.faults.dead = False
            process.faults.heal()
            process.plane.plugins.close()
            process.plane.ledger.close_ledger()

    # The side door

    def route(self) -> Route:
        """Return what the alias means now, read past every fault."""
        found = self._ledger().route(ALIAS)
        assert found is not None
        return found

    def migration(self) -> Migration | None:
        """Return the migration, read past every fault."""
        state = self._ledger().alias(ALIAS)
        return state.migration if state else None

    def ledger_within(self) -> Ledger:
        """Return the ledger, past every fault."""
        return self._ledger()

    def dirty_from_elsewhere(self, serving: VectorField) -> set[str]:
        """Return the ids of documents whose truth is in the other field, as they are in the ledger's file."""
        database = self.database or Database(self._inside().plane.plugins.ledger_path())
        rows = database.read("SELECT key FROM dirty WHERE state = 1 AND source != ?", (serving.key,))
        return {str(key) for (key,) in rows}

    def store(self, place: VectorField | None = None) -> VectorStore:
        """Return the store of a field, or of the first one, past every fault."""
        first = VectorField(store="main", collection=self.collection, space=SpaceId(""))
        return self._inside().plane.store_of(place or first)

    def records(self, place: VectorField) -> dict[str, Record]:
        """Return everything that is in a field."""
        store = self.store(place)
        found: dict[str, Record] = {}
        after = ""
        while page := store.ids(place, after=after, limit=1000):
            found |= {str(id): record for id, record in store.fetch(place, page).items()}
            after = page[-1]
        return found

    def vector(self, space: SpaceId, text: str) -> Any:
        """Return what the model of a space gives for a text; float32, shape (d,)."""
        if (space, text) not in self._vectors:
            (model,) = (model for model in self.models.values() if model.space.id == space)
            self._vectors[space, text] = np.asarray(model.embed_documents([text]))[0]
        return self._vectors[space, text]

    def differences(self, place: VectorField, truth: Iterable[Document], *, without: Iterable[str] = ()) -> list[str]:
        """Compare a field with what should be in it, vectors and tags included; every sentence is a fault.

        Args:
            place: the field.
            truth: the documents that should be there.
            without: ids of those that should not.
        """
        left_out = set(without)
        wanted = {document.id: document for document in truth if document.id not in left_out}
        found = self.records(place)
        faults = [f"{id!r} is lost" for id in wanted if id not in found]
        faults += [f"{id!r} should not be there" for id in found if id not in wanted]
        for id, record in found.items():
            faults += [f"{id!r}: {fault}" for fault in self._faults_of(record, place, wanted.get(id))]
        return faults

    def mistakes(self, place: VectorField) -> list[str]:
        """Look for records that are wrong whatever they should be: another space, another text's hash or vector."""
        return [
            f"{id!r}: {fault}"
            for id, record in self.records(place).items()
            for fault in self._faults_of(record, place, None)
        ]

    def _faults_of(self, record: Record, place: VectorField, wanted: Document | None) -> list[str]:
        faults = []
        if wanted is not None and record.text != wanted.text:
            faults.append(f"its text is {record.text!r}, not {wanted.text!r}")
        if wanted is not None and dict(record.metadata) != dict(wanted.metadata):
            faults.append(f"its metadata is {dict(record.metadata)}, not {dict(wanted.metadata)}")
        if record.tag.space != place.space:
            faults.append(f"its tag says {record.tag.space}, and the field is of {place.space}")
        if record.tag.content != content_hash(record.text):
            faults.append("its tag has the hash of another text")
        if float(np.dot(record.vector, self.vector(place.space, record.text))) < _SAME:
            faults.append("its vector is not its text's")
        return faults

    def _inside(self) -> Process:
        if self._door is None:
            config = self._config()
            faults = Faults()
            plane = ControlPlane(
                config,
                role="side door",
                clock=self.clock,
                heartbeat=False,
                plugins=_RigPlugins(config, self, faults),
                processes=self.roll.of("side door"),
            )
            self._door = Process(plane=plane, faults=faults, name="side door")
            self.processes.append(self._door)
        return self._door

    def _ledger(self) -> Ledger:
        return self._inside().plane.ledger

    def _config(self) -> Config:
        files = {
            Layout.MEMORY: "memory:rig",
            Layout.TWO_FILES: "sqlite-vec:vectors.db",
            Layout.ONE_FILE: "sqlite-vec:all.db",
        }
        values = {
            "ledger": "sqlite:///all.db" if self.layout is Layout.ONE_FILE else "sqlite:///ledger.db",
            "stores": {
                "main": {"url": self.store_url or files[self.layout]},
                **({"other": {"url": self.second}} if self.second else {}),
            },
            "models": {name: {"provider": "rig", **self.model_settings.get(name, {})} for name in self.models},
            "aliases": {
                ALIAS: {
                    "store": "main",
                    "collection": self.collection,
                    "model": "old",
                    "mirror": self.mirror,
                    "reconcile": self.reconcile,
                    "order": list(self.order),
                }
            },
            "timing": dict(self.timing),
        }
        return parse(values, self.folder / "undrift.toml")


def _beat(process: Process) -> None:
    """Keep the lease of a process as its thread would."""
    if process.faults.dead or process.paused:
        return
    with suppress(UndriftError, Killed):
        process.plane.router.beat()


def documents(*texts: str, prefix: str = "d") -> list[Document]:
    """Return documents with numbered ids."""
    return [
        Document(id=DocumentId(f"{prefix}{number:02d}"), text=text, metadata={"number": number})
        for number, text in enumerate(texts)
    ]


__all__ = ["ALIAS", "CHUNK_SIZE", "BeatingClock", "Layout", "Process", "Rig", "documents"]
