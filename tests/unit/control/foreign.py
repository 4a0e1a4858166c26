"""A store with a collection of somebody else, and processes that may adopt it."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.adapters.stores.memory import MemoryStore
from undrift.config import Config, ModelSettings, parse
from undrift.control import ControlPlane
from undrift.domain.record import NO_TAG, DocumentId, Record, Vectors
from undrift.domain.route import VectorField
from undrift.domain.space import Metric, Space
from undrift.plugins import Plugins
from undrift.ports.embedder import Embedder, EmbedderLimits, TokenCount
from undrift.ports.store import VectorStore
from undrift.testing.clock import VirtualClock
from undrift.testing.faults import Faults
from undrift.testing.rig import Roll, RollCall

WORDS = ["root", "leaf", "stem", "bark", "seed", "vine", "moss", "fern", "palm", "reed"]
TEXTS = [f"{WORDS[n % 10]} number {n} of the {WORDS[(n * 7) % 10]} and {WORDS[n % 3]}" for n in range(120)]
DIMENSIONS = 24


class Model:
    """A model of which the space can be changed, and which counts what it is asked."""

    def __init__(self, seed: str, *, dimensions: int = DIMENSIONS, paid: bool = False, **space: Any) -> None:
        self.inner = HashingEmbedder(dimensions=max(dimensions, DIMENSIONS), seed=seed)
        self.kept = dimensions
        self.space: Space = replace(self.inner.space, model=f"model-{seed}", dimensions=dimensions, **space)
        self.limits = EmbedderLimits(paid=paid, usd_per_million_tokens=1.0 if paid else 0.0, worth_keeping=False)
        self.asked = 0

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        self.asked += len(texts)
        return self._cut(self.inner.embed_documents(texts))

    def embed_query(self, text: str) -> Any:
        return self._cut(self.inner.embed_documents([self.space.query_task + text]))[0]

    def count_tokens(self, texts: Sequence[str]) -> TokenCount:
        return TokenCount(tokens=sum(len(text.split()) for text in texts), exact=True)

    def close(self) -> None:
        pass

    def _cut(self, vectors: Vectors) -> Vectors:
        kept = vectors[:, : self.kept]
        unit = kept / np.linalg.norm(kept, axis=1, keepdims=True)
        return np.ascontiguousarray(unit if self.space.normalized else 3 * unit, dtype=np.float32)

    def of(self, text: str) -> Any:
        return self._cut(self.inner.embed_documents([self.space.document_prefix + text]))[0]


class _Plugins(Plugins):
    def __init__(self, config: Config, scene: Scene, faults: Faults) -> None:
        super().__init__(config, scene.clock)
        self.scene, self.faults = scene, faults

    def ledger(self) -> Any:
        return self.faults.ledger(super().ledger())

    def store(self, name: str) -> VectorStore:
        return self.scene.wrapped(self.scene.store)

    def embedder(self, name: str, settings: ModelSettings) -> Embedder:
        return self.scene.models[name]


class Scene:
    """A store with a collection of somebody else, and processes that may adopt it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = VirtualClock()
        self.store = MemoryStore()
        self.wrapped: Callable[[VectorStore], VectorStore] = lambda store: store
        self.models: dict[str, Model] = {
            "ada": Model("ada"),
            "new": Model("new", dimensions=32),
            "query": Model("other", dimensions=8, paid=True),
            "third": Model("third", dimensions=12),
        }
        self.place = VectorField(store="main", collection="docs", space=self.models["ada"].space.id)
        self.path = folder / "undrift.toml"
        self.planes: list[ControlPlane] = []
        tables = "".join(f'[models.{name}]\nprovider = "own"\n' for name in ("ada", "new", "query", "third"))
        self.path.write_text(
            f'ledger = "sqlite:///ledger.db"\n[stores.main]\nurl = "memory:x"\n{tables}', encoding="utf-8"
        )

    def fill(
        self,
        make: Callable[[str], Any] | None = None,
        *,
        texts: Sequence[str] = TEXTS,
        metric: Metric = Metric.COSINE,
        dimensions: int = DIMENSIONS,
        metadata: Callable[[int], dict[str, Any]] = lambda number: {"number": number},
    ) -> None:
        """Write a collection as a program that knows nothing of undrift does."""
        make = make or self.models["ada"].of
        self.store.create(self.place, dimensions=dimensions, metric=metric)
        self.put({f"d{number:03}": text for number, text in enumerate(texts)}, make, metadata)

    def put(
        self,
        texts: dict[str, str],
        make: Callable[[str], Any],
        metadata: Callable[[int], dict[str, Any]] = lambda number: {"number": number},
    ) -> None:
        records = [
            Record(id=DocumentId(id), text=text, metadata=metadata(number), vector=make(text), tag=NO_TAG)
            for number, (id, text) in enumerate(texts.items())
        ]
        self.store.upsert(self.place, records)

    def plane(self, faults: Faults | None = None) -> ControlPlane:
        values = {
            "ledger": "sqlite:///ledger.db",
            "stores": {"main": {"url": "memory:x"}},
            "models": {name: {"provider": "own"} for name in self.models},
        }
        told = tomllib.loads(self.path.read_text(encoding="utf-8"))
        config = parse({**values, "aliases": told.get("aliases", {})}, self.path, text=self.path.read_text())
        plane = ControlPlane(
            config,
            clock=self.clock,
            heartbeat=False,
            plugins=_Plugins(config, self, faults or Faults()),
            processes=RollCall(Roll(), "one"),
        )
        self.planes.append(plane)
        return plane

    def close(self) -> None:
        for plane in self.planes:
            plane.plugins.faults.dead = False  # type: ignore[attr-defined]
            plane.plugins.faults.heal()  # type: ignore[attr-defined]
            plane.plugins.close()
            plane.ledger.close_ledger()
        self.planes.clear()

    def adopt(self, plane: ControlPlane | None = None, **options: Any) -> dict[str, Any]:
        given = {"store": "main", "collection": "docs", "model": "ada", **options}
        return (plane or self.plane()).adopt_collection("kb", **given)

    def content(self) -> dict[str, tuple[str, str, bytes]]:
        rows = self.store.collections["docs"].rows
        return {id: (row.text, row.metadata, row.vector.tobytes()) for id, row in rows.items()}

    def tags(self) -> dict[str, Any]:
        return {id: row.tag for id, row in self.store.collections["docs"].rows.items()}
