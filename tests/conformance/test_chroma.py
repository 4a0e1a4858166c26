"""The Chroma store keeps every promise of a store: on a real server with two clients, and in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("chromadb")

from tests.conformance.chroma_door import ChromaSideDoor, folder_client, server_client
from tests.conformance.chroma_server import ChromaServer
from undrift.adapters.stores.chroma import ChromaStore
from undrift.testing.stores import StoreConformance


def opened(place: str) -> Iterator[ChromaStore]:
    store = ChromaStore(place, listing_s=0)
    yield store
    store.close()


def door_of(client: Any) -> Iterator[ChromaSideDoor]:
    door = ChromaSideDoor(client)
    yield door
    door.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("chroma")


@pytest.fixture(scope="module")
def server_store(chroma: ChromaServer) -> Iterator[ChromaStore]:
    yield from opened(chroma.place)


@pytest.fixture(scope="module")
def server_other(chroma: ChromaServer) -> Iterator[ChromaStore]:
    yield from opened(chroma.place)


@pytest.fixture(scope="module")
def server_door(chroma: ChromaServer) -> Iterator[ChromaSideDoor]:
    yield from door_of(server_client(chroma.port))


@pytest.fixture(scope="module")
def folder_store(folder: Path) -> Iterator[ChromaStore]:
    yield from opened(str(folder))


@pytest.fixture(scope="module")
def folder_other(folder: Path) -> Iterator[ChromaStore]:
    yield from opened(str(folder))


@pytest.fixture(scope="module")
def folder_door(folder: Path, folder_store: ChromaStore) -> Iterator[ChromaSideDoor]:
    yield from door_of(folder_client(folder))


@pytest.mark.servers
class TestChromaServer(StoreConformance):
    #: An index finds the nearest; which of equally near ones are among the k is not said.
    exact = False

    @pytest.fixture
    def store(self, server_store: ChromaStore) -> ChromaStore:
        return server_store

    @pytest.fixture
    def other(self, server_other: ChromaStore) -> ChromaStore:
        return server_other

    @pytest.fixture
    def side_door(self, server_door: ChromaSideDoor) -> ChromaSideDoor:
        return server_door


class TestChromaFolder(StoreConformance):
    """Two stores of one process share a folder, and so does Chroma's own client in it."""

    exact = False

    @pytest.fixture
    def store(self, folder_store: ChromaStore) -> ChromaStore:
        return folder_store

    @pytest.fixture
    def other(self, folder_other: ChromaStore) -> ChromaStore:
        return folder_other

    @pytest.fixture
    def side_door(self, folder_door: ChromaSideDoor) -> ChromaSideDoor:
        return folder_door
