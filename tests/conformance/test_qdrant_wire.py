"""The store on a Qdrant server keeps every promise of a store over the wire, with Qdrant's engine behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("qdrant_client")
pytest.importorskip("qdrant_edge")

from tests.conformance.live import Live, live
from tests.conformance.qdrant_doors import ClientDoor
from tests.conformance.qdrant_server import WireServer, wire_server
from undrift.adapters.stores.qdrant import QdrantStore
from undrift.adapters.stores.qdrant.place_of_server import where
from undrift.testing.stores import StoreConformance

pytestmark = pytest.mark.servers


class LiveServer:
    """A server of the user's own."""

    def __init__(self, found: Live) -> None:
        self.url, self.options = found.url, found.options

    def client(self) -> Any:
        import qdrant_client

        key = self.options.get("api_key")
        headers = {"api-key": key} if key else None
        return qdrant_client.QdrantClient(url=where(self.url).url, check_compatibility=False, headers=headers)


@pytest.fixture(scope="module")
def qdrant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WireServer | LiveServer]:
    """The server that `UNDRIFT_KIT_QDRANT` names, or one of the tests' own."""
    found = live("qdrant")
    if found is not None:
        yield LiveServer(found)
        return
    with wire_server(tmp_path_factory.mktemp("qdrant")) as server:
        yield server


class TestQdrantStore(StoreConformance):
    @pytest.fixture
    def store(self, qdrant: WireServer | LiveServer) -> Iterator[QdrantStore]:
        store = QdrantStore(qdrant.url, **{"index": "none", "listing_s": 0, **qdrant.options})
        yield store
        store.close()

    @pytest.fixture
    def other(self, qdrant: WireServer | LiveServer) -> Iterator[QdrantStore]:
        store = QdrantStore(qdrant.url, **{"index": "none", "listing_s": 0, **qdrant.options})
        yield store
        store.close()

    @pytest.fixture
    def side_door(self, qdrant: WireServer | LiveServer) -> Iterator[ClientDoor]:
        client = qdrant.client()
        yield ClientDoor(client)
        client.close()
