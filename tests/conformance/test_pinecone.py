"""The kit on Pinecone: on a double of it, or on a project that the environment names."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.conformance.doubles.http import serving
from tests.conformance.doubles.pinecone import Pinecone
from tests.conformance.live import Live, answering, live
from undrift.adapters.stores.pinecone import PineconeStore
from undrift.adapters.stores.pinecone.indexes import physical
from undrift.adapters.stores.pinecone.rows import key_of, row_of
from undrift.domain.record import DocumentId, Record, tag_from_stored
from undrift.domain.route import VectorField
from undrift.ports.store import VectorStore
from undrift.testing.stores import StoreConformance

pytest.importorskip("pinecone")


class PineconeDoor:
    """The vendor's client. It waits until what it did is seen, as whoever looks at a test's outcome has to."""

    def __init__(self, options: dict[str, Any]) -> None:
        import pinecone

        self.client: Any = pinecone.Pinecone(
            api_key=options["api_key"], host=options.get("controller", "https://api.pinecone.io")
        )
        self.indexes: dict[str, Any] = {}

    def read(self, field: VectorField, id: DocumentId) -> Record | None:
        found = self._of(field).fetch(ids=[key_of(id)]).vectors.get(key_of(id))
        if found is None:
            return None
        said = found.metadata
        return Record(
            id=DocumentId(said["doc_id"]),
            text=said["text"],
            metadata=json.loads(said["metadata"]),
            vector=np.array(found.values, np.float64).astype(np.float32),
            tag=tag_from_stored(said["space"], said["content"], int(said["sequence"])),
        )

    def write(self, field: VectorField, record: Record) -> None:
        row, index = row_of(record, record.vector), self._of(field)
        index.upsert(vectors=[row])
        self._until(lambda: self._row(index, row["id"]) == row["metadata"])
        self._drained(index)

    def delete(self, field: VectorField, id: DocumentId) -> None:
        index = self._of(field)
        index.delete(ids=[key_of(id)])
        self._until(lambda: self._row(index, key_of(id)) is None)
        self._drained(index)

    def _row(self, index: Any, key: str) -> Any:
        found = index.fetch(ids=[key]).vectors.get(key)
        return None if found is None else dict(found.metadata)

    def _drained(self, index: Any) -> None:
        # A change of nothing says where the log stands.
        number = index.update(id="nobody", set_metadata={"a": 1}).response_info.lsn_committed
        probe = [1.0] * index.describe_index_stats().dimension
        while not index.query(vector=probe, top_k=1).response_info.is_reconciled(number):
            time.sleep(0.002)

    def _until(self, is_so: Any) -> None:
        end = time.monotonic() + 60
        while not is_so():
            assert time.monotonic() < end
            time.sleep(0.002)

    def _of(self, field: VectorField) -> Any:
        host = self.client.indexes.describe(physical(field.collection)).host
        if host not in self.indexes:
            self.indexes[host] = self.client.index(host=host)
        return self.indexes[host]

    def close(self) -> None:
        for index in self.indexes.values():
            index.close()
        self.client.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Live]:
    named = live("pinecone")
    if named is not None:
        yield named
        return
    # That a fetch lags as well, the tests of the requests have.
    double = Pinecone(fetch_lag=0)
    with serving(double.answer) as running:
        double.port = running.port
        options = {"api_key": "key", "controller": f"http://127.0.0.1:{running.port}"}
        yield Live(url="pinecone:aws/us-east-1", options=options)


# To set up a client takes long, most of it for TLS; every test of the kit has collections of its own.
@pytest.fixture(scope="module")
def clients(server: Live) -> Iterator[tuple[PineconeStore, PineconeStore, PineconeDoor]]:
    stores = [PineconeStore(server.rest, **server.options, listing_s=0) for _ in range(2)]
    door = PineconeDoor(server.options)
    yield (*stores, door)
    for client in (*stores, door):
        client.close()


class TestPinecone(StoreConformance):
    # The vendor's index may overlook some; the double compares with all.
    exact = live("pinecone") is None
    label, live = "Pinecone", not exact

    def engine(self, store: VectorStore) -> str:
        return answering("pinecone", "Pinecone 2026-07")

    @pytest.fixture
    def store(self, clients: tuple[Any, ...]) -> VectorStore:
        return clients[0]

    @pytest.fixture
    def other(self, clients: tuple[Any, ...]) -> VectorStore:
        return clients[1]

    @pytest.fixture
    def side_door(self, clients: tuple[Any, ...]) -> PineconeDoor:
        return clients[2]
