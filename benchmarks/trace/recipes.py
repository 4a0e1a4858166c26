"""Recipes that people follow, as their authors write them down, on one in-process store; see `docs/explanation`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.trace.checker import Answer, Stored
from benchmarks.trace.events import Text
from benchmarks.trace.models import NEW, OLD
from benchmarks.trace.points import Point, Points, WatchedPoints
from benchmarks.trace.stage import NEAREST, PROCESSES, HeldBack, Stage
from undrift.domain.record import Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where vectors of a model are: a collection or an alias of one, and the vector's name if it has one."""

    collection: str
    model: str
    vector: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an application process was started with; another setting takes a restart."""

    writes: tuple[Target, ...]
    reads: Target


class Recipe:
    """The application, which is the same for all recipes but for its settings, and the store."""

    def __init__(self, stage: Stage) -> None:
        """Begin with an empty store."""
        self.stage = stage
        self.points = Points()
        self._processes: list[Settings] = []

    @property
    def migrator(self) -> WatchedPoints:
        """The store as the migrating process has it."""
        return WatchedPoints(self.points, read=self.stage.read, write=self.stage.write)

    def deploy(self, settings: Settings, *, halfway: bool = False) -> None:
        """Restart the application's processes one after the other."""
        for process in range(PROCESSES):
            self._processes[process] = settings
            if halfway and process == 0:
                self.stage.halfway()

    def embed(self, model: str, texts: Sequence[str]) -> list[Vector]:
        """Embed texts."""
        return list(self.stage.bill.vectors(model, texts))

    def fill(self, collection: str, documents: Sequence[Text], settings: Settings) -> None:
        """Make a collection of the old model, and start the application."""
        self._processes = [settings] * PROCESSES
        self.points.recreate(collection)
        vectors = self.embed(OLD, [document.text for document in documents])
        self.points.upsert(
            collection,
            {
                document.id: _point(document, {settings.reads.vector: vector})
                for document, vector in zip(documents, vectors, strict=True)
            },
        )

    def finish(self) -> None:
        """Nothing comes between the back-fill and the cutover."""

    def put(self, process: int, document: Text) -> None:
        """Embed for every target, and write each collection, one after the other."""
        writes = self._processes[process].writes
        for collection in dict.fromkeys(target.collection for target in writes):
            targets = [target for target in writes if target.collection == collection]
            vectors = {target.vector: self.embed(target.model, [document.text])[0] for target in targets}
            self.points.upsert(collection, {document.id: _point(document, vectors)})

    def delete(self, process: int, id: str) -> None:
        """Delete in each collection."""
        for collection in dict.fromkeys(target.collection for target in self._processes[process].writes):
            self.points.delete(collection, id)

    def merge(self, process: int, id: str, changes: Mapping[str, Any]) -> None:
        """Change the metadata in each collection."""
        for collection in dict.fromkeys(target.collection for target in self._processes[process].writes):
            self.points.set_payload(collection, id, changes)

    def search(self, process: int, question: str) -> list[Answer]:
        """Embed the question and search what the process was told to."""
        reads = self._processes[process].reads
        return self.points.search(reads.collection, reads.vector, self.embed(reads.model, [question])[0], NEAREST)

    def contents(self) -> dict[str, Stored]:
        """Return the collection that is searched."""
        reads = self._processes[0].reads
        return {
            id: Stored(text=point.text, metadata=point.metadata, vector=point.vectors.get(reads.vector))
            for id, point in self.points.all_of(reads.collection).items()
        }

    def close(self) -> None:
        """Nothing is open."""


class Script(Recipe):
    """The re-embed script: scroll, embed, write to a new collection, switch the alias, deploy the new model.

    It keeps no checkpoint, so a script that died is started again from the beginning.
    """

    def load(self, documents: Sequence[Text]) -> None:
        """Fill the first collection; the application knows the alias only."""
        self.fill("docs_v1", documents, _served("docs", OLD))
        self.points.switch("docs", "docs_v1")

    def start(self) -> None:
        """The script makes its collection itself."""

    def backfill(self) -> None:
        """Run the script."""
        store = self.migrator
        self.points.recreate("docs_v2")
        after = ""
        while page := store.scroll("docs_v1", after=after, limit=self.stage.trace.batch):
            vectors = self.embed(NEW, [point.text for _, point in page])
            store.upsert("docs_v2", _points(page, vectors))
            after = page[-1][0]

    def cutover(self) -> None:
        """Switch the alias, and restart the application with the new model."""
        self.points.switch("docs", "docs_v2")
        self.deploy(_served("docs", NEW), halfway=True)

    def rollback(self) -> None:
        """Switch the alias back, and restart the application with the old model."""
        self.points.switch("docs", "docs_v1")
        self.deploy(_served("docs", OLD), halfway=True)


class DualWrite(Recipe):
    """Two collections: every write goes to both, the back-fill inserts what is absent, searches are switched over.

    The back-fill keeps its offset in a file, as the tutorial advises. Collection and model are one setting of the
    application. Deletes and changes of metadata go to both collections like every write; or they are held back until
    the migration is over, which is the other thing that the tutorial says.
    """

    def __init__(self, stage: Stage, *, to_the_end: bool = False, hold_back: bool = False) -> None:
        """Choose a variant.

        Args:
            stage: where it plays.
            to_the_end: whether both collections are written even after the cutover, against the tutorial's last step.
            hold_back: whether deletes and changes of metadata wait while it migrates.
        """
        super().__init__(stage)
        self._to_the_end = to_the_end
        self._hold_back = hold_back
        self._migrating = False
        self._offset = ""
        self._old, self._new = Target(collection="docs_v1", model=OLD), Target(collection="docs_v2", model=NEW)

    def load(self, documents: Sequence[Text]) -> None:
        """Fill the first collection."""
        self.fill("docs_v1", documents, Settings(writes=(self._old,), reads=self._old))

    def start(self) -> None:
        """Make the second collection, and let every process write both."""
        self.points.recreate("docs_v2")
        self.deploy(Settings(writes=(self._old, self._new), reads=self._old))
        self._migrating = True

    def backfill(self) -> None:
        """Copy what is absent, from the offset that was kept."""
        store = self.migrator
        while page := store.scroll("docs_v1", after=self._offset, limit=self.stage.trace.batch):
            vectors = self.embed(NEW, [point.text for _, point in page])
            store.upsert("docs_v2", _points(page, vectors), insert_only=True)
            self._offset = page[-1][0]

    def cutover(self) -> None:
        """Switch searches over, and then stop writing both."""
        self.deploy(Settings(writes=(self._old, self._new), reads=self._new), halfway=True)
        self._migrating = False
        if not self._to_the_end:
            self.deploy(Settings(writes=(self._new,), reads=self._new))

    def rollback(self) -> None:
        """Go back to the first collection, which was kept."""
        both = (self._old, self._new)
        self.deploy(Settings(writes=both if self._to_the_end else (self._old,), reads=self._old), halfway=True)

    def delete(self, process: int, id: str) -> None:
        """Delete in both, or later."""
        self._require_allowed()
        super().delete(process, id)

    def merge(self, process: int, id: str, changes: Mapping[str, Any]) -> None:
        """Change both, or later."""
        self._require_allowed()
        super().merge(process, id, changes)

    def _require_allowed(self) -> None:
        if self._hold_back and self._migrating:
            raise HeldBack


class NamedVectors(Recipe):
    """One collection: the new vector beside the old one in the same record, every write makes both.

    The back-fill keeps its offset in a file. The old vector is not dropped before the rollback, so both are written.
    """

    _old, _new = Target(collection="docs", model=OLD, vector=OLD), Target(collection="docs", model=NEW, vector=NEW)

    def __init__(self, stage: Stage) -> None:
        """Begin without an offset."""
        super().__init__(stage)
        self._offset = ""

    def load(self, documents: Sequence[Text]) -> None:
        """Fill the collection."""
        self.fill("docs", documents, Settings(writes=(self._old,), reads=self._old))

    def start(self) -> None:
        """Let every process write both vectors."""
        self.deploy(Settings(writes=(self._old, self._new), reads=self._old))

    def backfill(self) -> None:
        """Put the new vector into every record, from the offset that was kept."""
        store = self.migrator
        while page := store.scroll("docs", after=self._offset, limit=self.stage.trace.batch):
            vectors = self.embed(NEW, [point.text for _, point in page])
            store.update_vectors("docs", {id: {NEW: vector} for (id, _), vector in zip(page, vectors, strict=True)})
            self._offset = page[-1][0]

    def cutover(self) -> None:
        """Search by the new vector."""
        self.deploy(Settings(writes=(self._old, self._new), reads=self._new), halfway=True)

    def rollback(self) -> None:
        """Search by the old vector."""
        self.deploy(Settings(writes=(self._old, self._new), reads=self._old), halfway=True)


def _served(alias: str, model: str) -> Settings:
    target = Target(collection=alias, model=model)
    return Settings(writes=(target,), reads=target)


def _point(document: Text, vectors: dict[str, Vector]) -> Point:
    return Point(vectors=vectors, text=document.text, metadata=dict(document.metadata))


def _points(page: Sequence[tuple[str, Point]], vectors: Sequence[Vector]) -> dict[str, Point]:
    return {
        id: Point(vectors={"": vector}, text=point.text, metadata=point.metadata)
        for (id, point), vector in zip(page, vectors, strict=True)
    }
