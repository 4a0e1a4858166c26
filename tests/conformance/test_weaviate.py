"""The kit on Weaviate: on a double of it, or on a server that the environment names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.conformance.live import Live, answering, live
from undrift.domain.record import DocumentId, Record, encode_metadata, tag_from_stored
from undrift.domain.route import VectorField
from undrift.domain.terms import words
from undrift.ports.store import VectorStore
from undrift.testing.stores import StoreConformance

pytest.importorskip("weaviate")

from tests.conformance.doubles.weaviate import Weaviate, serving
from undrift.adapters.stores.weaviate import WeaviateStore
from undrift.adapters.stores.weaviate.collections import physical
from undrift.adapters.stores.weaviate.rows import shortened


class WeaviateDoor:
    """The vendor's client, by its public methods only."""

    def __init__(self, server: Live) -> None:
        import weaviate
        from weaviate.classes.init import Auth

        host, _, port = server.rest.removeprefix("//").partition(":")
        tls, key = server.url.startswith("weaviates"), server.options.get("api_key")
        self.client: Any = weaviate.connect_to_custom(
            http_host=host,
            http_port=int(port or (443 if tls else 8080)),
            http_secure=tls,
            grpc_host=server.options.get("grpc_host", host),
            grpc_port=int(server.options.get("grpc_port", 50051)),
            grpc_secure=tls,
            auth_credentials=Auth.api_key(key) if key else None,
            skip_init_checks=True,
        )

    def read(self, field: VectorField, id: DocumentId) -> Record | None:
        found = self._of(field).query.fetch_object_by_id(_key(id), include_vector=["embedding"])
        if found is None:
            return None
        said = found.properties
        return Record(
            id=DocumentId(said["doc_id"]),
            text=said["text"],
            metadata=json.loads(said["metadata"]),
            vector=np.array(found.vector["embedding"], np.float32),
            tag=tag_from_stored(said["space"], said["content"], said["sequence"]),
        )

    def write(self, field: VectorField, record: Record) -> None:
        from weaviate.classes.data import DataObject

        properties = {
            "doc_id": record.id,
            "text": record.text,
            "metadata": encode_metadata(record.id, record.metadata),
            "filter_words": [shortened(word) for word in words(record.metadata)],
            "space": record.tag.space,
            "content": record.tag.content,
            "sequence": record.tag.sequence,
        }
        vector = {"embedding": record.vector.tolist()}
        made = DataObject(uuid=_key(record.id), properties=properties, vector=vector)
        assert not self._of(field).data.insert_many([made]).has_errors

    def delete(self, field: VectorField, id: DocumentId) -> None:
        assert self._of(field).data.delete_by_id(_key(id))

    def _of(self, field: VectorField) -> Any:
        return self.client.collections.use(physical(field.collection))

    def close(self) -> None:
        self.client.close()


def _key(id: str) -> str:
    from weaviate.util import generate_uuid5

    return generate_uuid5(id)


@pytest.fixture(scope="module")
def server() -> Iterator[Live]:
    named = live("weaviate")
    if named is not None:
        yield named
        return
    with serving(Weaviate()) as running:
        yield Live(url=running.url, options={"grpc_port": running.grpc_port})


# To set up a client of Weaviate takes long, most of it for TLS; every test of the kit has collections of its own.
@pytest.fixture(scope="module")
def clients(server: Live) -> Iterator[tuple[WeaviateStore, WeaviateStore, WeaviateDoor]]:
    options = {key: int(value) if key == "grpc_port" else value for key, value in server.options.items()}
    stores = [WeaviateStore(server.url, **options, listing_s=0) for _ in range(2)]
    door = WeaviateDoor(server)
    yield (*stores, door)
    for client in (*stores, door):
        client.close()


class TestWeaviate(StoreConformance):
    label, live = "Weaviate", live("weaviate") is not None

    def engine(self, store: VectorStore) -> str:
        return answering("weaviate", "Weaviate 1.33")

    @pytest.fixture
    def store(self, clients: tuple[Any, ...]) -> VectorStore:
        return clients[0]

    @pytest.fixture
    def other(self, clients: tuple[Any, ...]) -> VectorStore:
        return clients[1]

    @pytest.fixture
    def side_door(self, clients: tuple[Any, ...]) -> WeaviateDoor:
        return clients[2]
