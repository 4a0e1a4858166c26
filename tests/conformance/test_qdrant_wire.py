"""The store on a Qdrant server keeps every promise of a store over the wire, with Qdrant's engine behind it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("qdrant_client")
pytest.importorskip("qdrant_edge")

from tests.conformance.qdrant_doors import ClientDoor
from tests.conformance.qdrant_server import WireServer, wire_server
from undrift.adapters.stores.qdrant import QdrantStore
from undrift.testing.stores import StoreConformance

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def qdrant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WireServer]:
    with wire_server(tmp_path_factory.mktemp("qdrant")) as server:
        yield server


class TestQdrantStore(StoreConformance):
    @pytest.fixture
    def store(self, qdrant: WireServer) -> Iterator[QdrantStore]:
        store = QdrantStore(qdrant.url, index="none", listing_s=0)
        yield store
        store.close()

    @pytest.fixture
    def other(self, qdrant: WireServer) -> Iterator[QdrantStore]:
        store = QdrantStore(qdrant.url, index="none", listing_s=0)
        yield store
        store.close()

    @pytest.fixture
    def side_door(self, qdrant: WireServer) -> Iterator[ClientDoor]:
        client = qdrant.client()
        yield ClientDoor(client)
        client.close()
