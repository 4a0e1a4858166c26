"""The kit on MongoDB: on a double of it, or on a deployment that the environment names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("pymongo")

from tests.conformance.doubles.mongodb import MongoDb, serving
from tests.conformance.live import Live, answering, live
from undrift.adapters.stores.mongodb import MongoDbStore
from undrift.adapters.stores.mongodb.documents import binary, record_from
from undrift.domain.record import DocumentId, Record, encode_metadata
from undrift.domain.route import VectorField
from undrift.domain.terms import words
from undrift.ports.store import VectorStore
from undrift.testing.stores import StoreConformance


class MongoDoor:
    """The client's own methods."""

    def __init__(self, server: Live) -> None:
        from pymongo import MongoClient

        said = server.options
        address, _, database = server.url.rpartition("/")
        who = {"username": said["user"], "password": said["api_key"]} if "user" in said else {}
        self.client: Any = MongoClient(address, **who, **({"tls": said["tls"]} if "tls" in said else {}))
        self.database = self.client.get_database(database).with_options(write_concern=_majority())

    def read(self, field: VectorField, id: DocumentId) -> Record | None:
        import pymongo

        with pymongo.timeout(10):
            found = self._collection(field).find_one({"_id": id})
        return None if found is None else record_from("vector", found)

    def write(self, field: VectorField, record: Record) -> None:
        import pymongo

        tag = {"space": record.tag.space, "content": record.tag.content, "sequence": record.tag.sequence}
        document = {
            "text": record.text,
            "metadata": encode_metadata(record.id, record.metadata),
            "filter_words": words(record.metadata),
            "vector": binary(record.vector),
            **({"tags": {"vector": tag}} if record.tag.space else {}),
        }
        with pymongo.timeout(10):
            self._collection(field).delete_one({"_id": record.id})
            self._collection(field).insert_one({"_id": record.id, **document})

    def delete(self, field: VectorField, id: DocumentId) -> None:
        import pymongo

        with pymongo.timeout(10):
            self._collection(field).delete_one({"_id": id})

    def _collection(self, field: VectorField) -> Any:
        from pymongo.read_concern import ReadConcern

        return self.database.get_collection(field.collection, read_concern=ReadConcern("majority"))

    def close(self) -> None:
        self.client.close()


def _majority() -> Any:
    from pymongo.write_concern import WriteConcern

    return WriteConcern("majority")


@pytest.fixture(scope="module")
def server() -> Iterator[Live]:
    named = live("mongodb")
    if named is not None:
        yield named
        return
    with serving(MongoDb()) as port:
        yield Live(url=f"mongodb://127.0.0.1:{port}/kit", options={})


@pytest.fixture(scope="module")
def opened(server: Live) -> Iterator[tuple[VectorStore, VectorStore, MongoDoor]]:
    both = MongoDbStore(server.url, **server.options), MongoDbStore(server.url, **server.options)
    door = MongoDoor(server)
    yield (*both, door)
    for one in (*both, door):
        one.close()


class TestMongoDb(StoreConformance):
    label, live = "MongoDB Atlas", live("mongodb") is not None

    def engine(self, store: VectorStore) -> str:
        return answering("mongodb", "MongoDB 8.0 with Atlas Vector Search")

    @pytest.fixture
    def store(self, opened: tuple[VectorStore, VectorStore, MongoDoor]) -> VectorStore:
        return opened[0]

    @pytest.fixture
    def other(self, opened: tuple[VectorStore, VectorStore, MongoDoor]) -> VectorStore:
        return opened[1]

    @pytest.fixture
    def side_door(self, opened: tuple[VectorStore, VectorStore, MongoDoor]) -> MongoDoor:
        return opened[2]
