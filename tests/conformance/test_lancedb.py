"""The LanceDB store keeps every promise of a store, on a real folder with two clients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("lancedb")
pytest.importorskip("lance")

from tests.conformance.lancedb_door import LanceDbSideDoor
from undrift.adapters.stores.lancedb import LanceDbStore
from undrift.testing.stores import StoreConformance


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lancedb")


class TestLanceDbStore(StoreConformance):
    @pytest.fixture
    def store(self, folder: Path) -> Iterator[LanceDbStore]:
        store = LanceDbStore(str(folder))
        yield store
        store.close()

    @pytest.fixture
    def other(self, folder: Path) -> Iterator[LanceDbStore]:
        store = LanceDbStore(str(folder))
        yield store
        store.close()

    @pytest.fixture
    def side_door(self, folder: Path) -> LanceDbSideDoor:
        return LanceDbSideDoor(folder)
