"""The kit on Elasticsearch and OpenSearch: on doubles of them, or on a server that the environment names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import pytest

from tests.conformance.doubles.elastic import Elastic
from tests.conformance.doubles.http import serving
from tests.conformance.live import Live, answering, live
from undrift.adapters.stores.elastic import ElasticsearchStore, OpenSearchStore
from undrift.domain.record import DocumentId, Record, encode_metadata, tag_from_stored
from undrift.domain.route import VectorField
from undrift.domain.terms import words
from undrift.ports.store import VectorStore
from undrift.testing.stores import StoreBench, StoreConformance


class ElasticsearchDoor:
    """The client's own methods, one for each request."""

    def __init__(self, url: str, **options: Any) -> None:
        from elasticsearch import Elasticsearch

        self.client: Any = Elasticsearch(url, **options)

    def read(self, field: VectorField, id: DocumentId) -> Record | None:
        found = self.client.mget(
            index=field.collection,
            ids=[id],
            source_includes=["text", "metadata", "space", "content", "sequence", "embedding"],
        )["docs"][0]
        return _record(id, found["_source"]) if found["found"] else None

    def write(self, field: VectorField, record: Record) -> None:
        operations = [{"index": {"_id": record.id}}, _source(record)]
        self._bulk(field, operations)

    def delete(self, field: VectorField, id: DocumentId) -> None:
        self._bulk(field, [{"delete": {"_id": id}}])

    def _bulk(self, field: VectorField, operations: list[dict[str, Any]]) -> None:
        answer = self.client.bulk(index=field.collection, operations=operations)
        assert not answer["errors"], answer

    def close(self) -> None:
        self.client.close()


class OpenSearchDoor(ElasticsearchDoor):
    """The same with the other client."""

    def __init__(self, url: str, **options: Any) -> None:
        from opensearchpy import OpenSearch

        self.client = OpenSearch(url, **options)

    def read(self, field: VectorField, id: DocumentId) -> Record | None:
        named = "text,metadata,space,content,sequence,embedding"
        found = self.client.mget({"ids": [id]}, index=field.collection, params={"_source_includes": named})["docs"][0]
        return _record(id, found["_source"]) if found["found"] else None

    def _bulk(self, field: VectorField, operations: list[dict[str, Any]]) -> None:
        answer = self.client.bulk(operations, index=field.collection)
        assert not answer["errors"], answer


def _source(record: Record) -> dict[str, Any]:
    return {
        "id": record.id,
        "text": record.text,
        "metadata": encode_metadata(record.id, record.metadata),
        "filter_words": words(record.metadata),
        "space": record.tag.space,
        "content": record.tag.content,
        "sequence": record.tag.sequence,
        "embedding": record.vector.tolist(),
    }


def _record(id: DocumentId, source: dict[str, Any]) -> Record:
    import json

    return Record(
        id=id,
        text=source["text"],
        metadata=json.loads(source["metadata"]),
        vector=np.array(source["embedding"], np.float32),
        tag=tag_from_stored(source["space"], source["content"], source["sequence"]),
    )


@contextmanager
def running(vendor: str, version: str) -> Iterator[Live]:
    named = live(vendor)
    if named is not None:
        yield named
        return
    pytest.importorskip({"elasticsearch": "elasticsearch", "opensearch": "opensearchpy"}[vendor])
    double = Elastic(vendor=vendor, version=version)
    with serving(double.answer) as server:
        yield Live(url=f"{vendor}://127.0.0.1:{server.port}", options={})


@pytest.fixture(scope="module")
def elasticsearch() -> Iterator[Live]:
    with running("elasticsearch", "9.2.1") as there:
        yield there


@pytest.fixture(scope="module")
def opensearch() -> Iterator[Live]:
    with running("opensearch", "3.1.0") as there:
        yield there


class Fixtures(StoreBench):
    """What the tests of both have in common."""

    adapter: ClassVar[Any]
    door: ClassVar[Any]
    options: ClassVar[dict[str, Any]] = {"index": "none", "listing_s": 0}

    @pytest.fixture
    def store(self, server: Live) -> Iterator[VectorStore]:
        store = self.adapter(server.rest, **server.options, **self.options)
        yield store
        store.close()

    @pytest.fixture
    def other(self, server: Live) -> Iterator[VectorStore]:
        store = self.adapter(server.rest, **server.options, **self.options)
        yield store
        store.close()

    @pytest.fixture
    def side_door(self, server: Live) -> Iterator[ElasticsearchDoor]:
        door = self.door(server.http_url, **server.client_options)
        yield door
        door.close()


class TestElasticsearch(Fixtures, StoreConformance):
    label, live = "Elasticsearch", live("elasticsearch") is not None
    adapter, door = ElasticsearchStore, ElasticsearchDoor

    def engine(self, store: VectorStore) -> str:
        return answering("elasticsearch", "Elasticsearch 9.2")

    @pytest.fixture
    def server(self, elasticsearch: Live) -> Live:
        return elasticsearch


class TestOpenSearch(Fixtures, StoreConformance):
    label, live = "OpenSearch", live("opensearch") is not None
    adapter, door = OpenSearchStore, OpenSearchDoor

    def engine(self, store: VectorStore) -> str:
        return answering("opensearch", "OpenSearch 3.1")

    @pytest.fixture
    def server(self, opensearch: Live) -> Live:
        return opensearch
