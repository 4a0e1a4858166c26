"""The store Qdrant Edge keeps every promise of a store, with the engine in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("qdrant_edge")

from tests.conformance.qdrant_doors import EdgeDoor
from undrift.adapters.stores.qdrant import QdrantEdgeStore
from undrift.adapters.stores.qdrant.shards import Shards
from undrift.testing.stores import StoreBench, StoreConformance
from undrift.testing.stores.changes import ChangeTests
from undrift.testing.stores.filters import FilterTests
from undrift.testing.stores.searches import SearchTests


class EdgeBench(StoreBench):
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return tmp_path / "shards"

    @pytest.fixture
    def other(self, folder: Path) -> Iterator[QdrantEdgeStore]:
        store = QdrantEdgeStore(folder)
        yield store
        store.close()

    @pytest.fixture
    def side_door(self, folder: Path, store: QdrantEdgeStore) -> EdgeDoor:
        return EdgeDoor(Shards.of(folder))


class TestQdrantEdgeStore(EdgeBench, StoreConformance):
    @pytest.fixture
    def store(self, folder: Path) -> Iterator[QdrantEdgeStore]:
        store = QdrantEdgeStore(folder)
        yield store
        store.close()


class TestQdrantEdgeStoreWithIndexes(EdgeBench, SearchTests, FilterTests, ChangeTests):
    """What indexes have a part in: that of the vectors, and those of metadata."""

    exact = False

    @pytest.fixture
    def store(self, folder: Path) -> Iterator[QdrantEdgeStore]:
        store = QdrantEdgeStore(folder, index="hnsw", payload_indexes={"k": "keyword", "n": "float", "even": "bool"})
        yield store
        store.close()
