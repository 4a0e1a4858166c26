"""The Milvus store keeps the promises of a store, on a server of Milvus Lite with two clients.

Milvus Lite is an engine of its own that speaks the protocol of a Milvus server: what is tested here is the adapter and
the protocol, not that server.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("pymilvus")
pytest.importorskip("milvus_lite")

from tests.conformance.milvus_door import MilvusSideDoor
from tests.conformance.milvus_server import running_server
from undrift.adapters.stores.milvus import MilvusStore
from undrift.testing.stores import StoreConformance

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with running_server(tmp_path_factory.mktemp("milvus") / "data") as port:
        yield port


class TestMilvusStore(StoreConformance):
    @pytest.fixture
    def store(self, port: int) -> Iterator[MilvusStore]:
        store = MilvusStore(f"//127.0.0.1:{port}", listing_s=0)
        yield store
        store.close()

    @pytest.fixture
    def other(self, port: int) -> Iterator[MilvusStore]:
        store = MilvusStore(f"//127.0.0.1:{port}", listing_s=0)
        yield store
        store.close()

    @pytest.fixture
    def side_door(self, port: int) -> Iterator[MilvusSideDoor]:
        door = MilvusSideDoor(f"http://127.0.0.1:{port}")
        yield door
        door.close()
