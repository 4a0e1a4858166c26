"""The package `vectormigrate` as its author publishes it, in the way of its README, its demo and its tests."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.trace.checker import Answer, Stored
from benchmarks.trace.events import Put, Text
from benchmarks.trace.models import DIMENSIONS, NEW, OLD, Bill
from benchmarks.trace.stage import NEAREST, PROCESSES, Stage

#: The file that says which version, by its hash.
REQUIREMENT = Path(__file__).with_name("vectormigrate.txt")
_ALIAS = "docs"
#: Documents that its evaluation gate asks for by their own text.
_CASES = 3


class NotAvailable(Exception):
    """The package cannot be had here."""


def fetch(folder: Path) -> Any:
    """Return the package, installed into a folder of its own if it is not there yet.

    Raises:
        NotAvailable: it could not be installed; the text says why.
    """
    place = folder / "vectormigrate"
    if not place.is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary", ":all:", "--require-hashes", "--target", str(place), "-r", str(REQUIREMENT)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotAvailable((done.stderr.strip().splitlines() or ["pip failed without a word"])[-1])
    if str(place) not in sys.path:
        sys.path.append(str(place))
    return importlib.import_module("vectormigrate")


class _Embedder:
    """A model as the package takes one."""

    def __init__(self, name: str, abi: Any, bill: Bill) -> None:
        self.abi = abi
        self.name = name
        self._bill = bill

    def embed(self, texts: Sequence[str]) -> NDArray[np.float64]:
        return self._bill.vectors(self.name, texts).astype(np.float64)


def _watched(package: Any, stage: Stage) -> Any:
    """Return its in-memory backend with what every real one has, and the trace goes on before a batch is written."""

    class Backend(package.InMemoryVectorBackend):  # type: ignore[misc,name-defined]
        filling = False

        def upsert(self, namespace: str, documents: Sequence[Any], embeddings: NDArray[np.float64]) -> None:
            filling, self.filling = self.filling, False
            if filling:
                stage.write([document.doc_id for document in documents])
            super().upsert(namespace, documents, embeddings)

        def stored(self, namespace: str) -> dict[str, Any]:
            found: dict[str, Any] = self._namespaces[self.resolve_namespace(namespace)]
            return found

    return Backend()


class VectorMigrate:
    """The package's orchestrator on its in-memory backend, the only one that it can migrate.

    The backend is taken for a server that outlives the migrating process, and is lent a delete and a change of
    metadata, which it does not have. Its back-fill takes all documents in one call.
    """

    def __init__(self, stage: Stage, package: Any, folder: Path, *, by_hand: bool = False) -> None:
        """Set it up as its README does.

        Args:
            stage: where it plays.
            package: the package.
            folder: where its registry is.
            by_hand: whether the application writes both namespaces by itself between the start and the cutover.
        """
        self._stage = stage
        self._package = package
        self._by_hand = by_hand
        self._backend = _watched(package, stage)
        registry = package.SQLiteRegistry(folder / "vectormigrate.sqlite")
        self._orchestrator = package.MigrationOrchestrator(registry, self._backend)
        self._models: dict[str, _Embedder] = {}
        for name in (OLD, NEW):
            abi = package.EmbeddingABI(model_id=name, provider="benchmark", version="1", dimensions=DIMENSIONS)
            self._models[name] = _Embedder(name, self._orchestrator.register_abi(abi), stage.bill)
        self._serves = [OLD] * PROCESSES
        self._writes_both = False
        plan = package.MigrationPlan(
            source_abi_id=self._models[OLD].abi.abi_id, target_abi_id=self._models[NEW].abi.abi_id, alias_name=_ALIAS
        )
        self._plan = self._orchestrator.create_plan(plan).plan_id

    def load(self, documents: Sequence[Text]) -> None:
        """Provision, and index the documents with the old model."""
        self._orchestrator.provision_plan(self._plan)
        self._index(OLD, documents)

    def start(self) -> None:
        """Enable dual write."""
        self._orchestrator.enable_dual_write(self._plan)
        self._writes_both = self._by_hand

    def backfill(self) -> None:
        """Back-fill everything; a process that takes over has to set the state back first, or is refused."""
        states = self._package.MigrationState
        if self._orchestrator.registry.require_plan(self._plan).state == states.BACKFILLING:
            self._orchestrator.enable_dual_write(self._plan)
        stored = self._backend.stored(self._models[OLD].abi.abi_id)
        documents = [self._document(id, row.text, row.metadata) for id, row in sorted(stored.items())]
        self._stage.read([document.doc_id for document in documents])
        self._backend.filling = True
        self._orchestrator.backfill(self._plan, documents, self._models[NEW])

    def finish(self) -> None:
        """Pass its gate: documents that nobody touched are asked for by their own text."""
        touched = {event.action.document.id for event in self._stage.trace.events if isinstance(event.action, Put)}
        touched |= {getattr(event.action, "id", "") for event in self._stage.trace.events}
        calm = [document for document in self._stage.trace.base if document.id not in touched][:_CASES]
        cases = [self._package.QueryCase(item.id, item.text, {item.id: 1.0}) for item in calm]
        metrics = self._orchestrator.evaluate_plan(self._plan, cases, self._models[OLD], self._models[NEW])
        assert metrics.passes, metrics

    def cutover(self) -> None:
        """Cut over, and restart the application's processes with the new model."""
        self._orchestrator.cutover(self._plan)
        self._deploy(NEW)
        self._writes_both = False

    def rollback(self) -> None:
        """Roll back, and restart the application's processes with the old model."""
        self._orchestrator.rollback(self._plan)
        self._deploy(OLD)

    def put(self, process: int, document: Text) -> None:
        """`index_documents` for the model that the process was started with."""
        for name in self._targets(process):
            self._index(name, [document])

    def delete(self, process: int, id: str) -> None:
        """Delete, which its backend is lent."""
        for name in self._targets(process):
            self._backend.stored(self._models[name].abi.abi_id).pop(id, None)

    def merge(self, process: int, id: str, changes: Mapping[str, Any]) -> None:
        """Change metadata, which its backend is lent."""
        for name in self._targets(process):
            row = self._backend.stored(self._models[name].abi.abi_id).get(id)
            if row is not None:
                row.metadata.update(changes)

    def search(self, process: int, question: str) -> list[Answer]:
        """`search_namespace` by the alias, with the model that the process was started with."""
        hits = self._orchestrator.search_namespace(_ALIAS, question, self._models[self._serves[process]], NEAREST)
        return [Answer(text=str(hit.metadata["text"]), score=hit.score) for hit in hits]

    def contents(self) -> dict[str, Stored]:
        """Return the namespace that the alias stands for."""
        return {
            id: Stored(text=row.text, metadata=row.metadata, vector=row.vector.astype(np.float32))
            for id, row in self._backend.stored(_ALIAS).items()
        }

    def close(self) -> None:
        """Nothing is open."""

    def _targets(self, process: int) -> tuple[str, ...]:
        return (OLD, NEW) if self._writes_both else (self._serves[process],)

    def _deploy(self, model: str) -> None:
        for process in range(PROCESSES):
            self._serves[process] = model
            if process == 0:
                self._stage.halfway()

    def _index(self, name: str, documents: Sequence[Text]) -> None:
        made = [self._document(item.id, item.text, item.metadata) for item in documents]
        self._orchestrator.index_documents(self._models[name].abi.abi_id, made, self._models[name])

    def _document(self, id: str, text: str, metadata: Mapping[str, Any]) -> Any:
        return self._package.Document(doc_id=id, text=text, metadata=dict(metadata))
