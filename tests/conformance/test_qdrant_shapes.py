"""Collections in the shapes of LangChain and LlamaIndex, and in free ones: read, written, and read by them again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("qdrant_client")
pytest.importorskip("qdrant_edge")

from tests.conformance.qdrant_server import WireServer, wire_server
from undrift.adapters.stores.qdrant import QdrantEdgeStore, QdrantStore
from undrift.domain.record import DocumentId
from undrift.domain.route import VectorField
from undrift.domain.space import Metric
from undrift.errors import BadConfig, CollectionMissing, StoreRejected
from undrift.ports.store import Part
from undrift.testing.stores.bench import new_field
from undrift.testing.stores.samples import assert_same, record, records, unit_vectors

pytestmark = pytest.mark.servers
IDS = ["5e1a2a3e-0000-4000-8000-000000000001", "5e1a2a3e-0000-4000-8000-000000000002"]


@pytest.fixture(scope="module")
def qdrant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WireServer]:
    with wire_server(tmp_path_factory.mktemp("qdrant")) as server:
        yield server


@pytest.fixture
def store(qdrant: WireServer) -> Iterator[QdrantStore]:
    made = QdrantStore(qdrant.url, listing_s=0)
    yield made
    made.close()


@pytest.fixture
def client(qdrant: WireServer) -> Iterator[Any]:
    made = qdrant.client()
    yield made
    made.close()


def at(address: str) -> VectorField:
    return VectorField(store="kit", collection=address, space=new_field().space)


def made_by_langchain(client: Any, name: str) -> Any:
    pytest.importorskip("langchain_qdrant")
    from langchain_core.documents import Document
    from langchain_core.embeddings import DeterministicFakeEmbedding
    from langchain_qdrant import QdrantVectorStore
    from qdrant_client import models

    client.create_collection(name, models.VectorParams(size=8, distance=models.Distance.COSINE))
    made = QdrantVectorStore(client=client, collection_name=name, embedding=DeterministicFakeEmbedding(size=8))
    made.add_documents(
        [
            Document(id=IDS[0], page_content="first text", metadata={"lang": "en", "n": 1, "nested": {"a": [1, None]}}),
            Document(id=IDS[1], page_content="second text", metadata={"lang": "de", "n": 2}),
        ]
    )
    return made


def made_by_llama_index(client: Any, name: str) -> Any:
    pytest.importorskip("llama_index.vector_stores.qdrant")
    from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
    from llama_index.vector_stores.qdrant import QdrantVectorStore

    made = QdrantVectorStore(client=client, collection_name=name)
    nodes = []
    for number, (id, vector) in enumerate(zip(IDS, unit_vectors(2, 8), strict=True)):
        node = TextNode(
            id_=id,
            text=f"text {number}",
            metadata={"lang": "en", "n": number, "score": 0.1 + 0.2, "none": None},
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id="the-source")},
            excluded_embed_metadata_keys=["n"],
            embedding=vector.tolist(),
        )
        nodes.append(node)
    made.add(nodes)
    return made


def test_what_langchain_wrote_is_read_written_and_read_by_langchain_again(store: QdrantStore, client: Any) -> None:
    framework = made_by_langchain(client, "chain")
    field = at("chain?as=langchain")

    assert store.ids(field, limit=9) == IDS
    first = store.fetch(field, [DocumentId(IDS[0])])[DocumentId(IDS[0])]
    assert (first.text, first.metadata) == ("first text", {"lang": "en", "n": 1, "nested": {"a": [1, None]}})
    assert first.tag.space == ""
    assert store.count(field, {"lang": "de"}) == 1

    written = record(IDS[1], unit_vectors(1, 8)[0], text="undrift's text", metadata={"lang": "fr", "n": 3})
    store.upsert(field, [written])
    store.merge_metadata(field, {DocumentId(IDS[1]): {"late": True}}, sequence=5)
    (found,) = framework.get_by_ids([IDS[1]])

    assert found.page_content == "undrift's text"
    shown = {key: value for key, value in found.metadata.items() if not key.startswith(("undrift_", "_"))}
    assert shown == {"lang": "fr", "n": 3, "late": True}
    there = store.fetch(field, [DocumentId(IDS[1])])[DocumentId(IDS[1])]
    assert (there.tag.content, there.tag.sequence) == (written.tag.content, 5)


def test_a_target_in_langchains_shape_is_searched_by_langchain(store: QdrantStore, client: Any) -> None:
    pytest.importorskip("langchain_qdrant")
    from langchain_core.embeddings import DeterministicFakeEmbedding
    from langchain_qdrant import QdrantVectorStore

    field, model = at("chain-new?as=langchain"), DeterministicFakeEmbedding(size=8)
    store.create(field, dimensions=8, metric=Metric.COSINE)
    texts = ["some text", "another text"]
    vectors = [np.array(vector, np.float32) for vector in model.embed_documents(texts)]
    store.upsert(
        field,
        [record(f"id-{n}", v, text=t, metadata={"n": n}) for n, (t, v) in enumerate(zip(texts, vectors, strict=True))],
    )

    framework = QdrantVectorStore(client=client, collection_name="chain-new", embedding=model)
    (found,) = framework.similarity_search("another text", k=1)

    assert found.page_content == "another text"
    assert found.metadata["n"] == 1
    assert store.ids(field, limit=9) == ["id-0", "id-1"]


def test_a_collection_whose_tags_are_in_the_ledger_has_nothing_of_undrifts(store: QdrantStore, client: Any) -> None:
    made_by_langchain(client, "untouched")
    field = at("untouched?as=langchain&tags=ledger")

    store.upsert(field, [record(IDS[0], unit_vectors(1, 8)[0], text="t", metadata={"lang": "en"}, sequence=9)])
    store.merge_metadata(field, {DocumentId(IDS[0]): {"n": 2}}, sequence=10)

    (point,) = client.retrieve("untouched", [IDS[0]])
    assert point.payload == {"page_content": "t", "metadata": {"lang": "en", "n": 2}}
    assert store.fetch(field, [DocumentId(IDS[0])])[DocumentId(IDS[0])].tag.space == ""


def test_what_llama_index_wrote_is_read_written_and_read_by_llama_index_again(store: QdrantStore, client: Any) -> None:
    framework = made_by_llama_index(client, "llama")
    field = at("llama?as=llama_index")
    id = DocumentId(IDS[1])

    (entry,) = store.scan(field, after=IDS[0], limit=1, parts=Part.TEXT)
    assert entry.text == "text 1"
    shown = {key: entry.metadata[key] for key in ("lang", "n", "score", "none")}
    assert shown == {"lang": "en", "n": 1, "score": 0.1 + 0.2, "none": None}
    assert store.count(field, {"n": {"$gte": 1}}) == 1

    store.merge_metadata(field, {id: {"lang": "de", "new": None}}, sequence=3)
    (node,) = framework.get_nodes(node_ids=[id])
    assert node.metadata == {"lang": "de", "n": 1, "score": 0.1 + 0.2, "none": None, "new": None}
    assert node.text == "text 1"
    assert node.source_node.node_id == "the-source"
    assert client.count("llama", count_filter=filter_of("lang", "de")).count == 1


def test_a_node_moves_to_another_collection_with_everything_it_has(store: QdrantStore, client: Any) -> None:
    pytest.importorskip("llama_index.vector_stores.qdrant")
    from llama_index.vector_stores.qdrant import QdrantVectorStore

    before = made_by_llama_index(client, "llama-old")
    source, target = at("llama-old?as=llama_index"), at("llama-new?as=llama_index")
    store.create(target, dimensions=8, metric=Metric.COSINE)
    moved = store.fetch(source, [DocumentId(id) for id in IDS])

    store.upsert(target, list(moved.values()))

    after = QdrantVectorStore(client=client, collection_name="llama-new")
    for old, new in zip(before.get_nodes(node_ids=IDS), after.get_nodes(node_ids=IDS), strict=True):
        assert old.to_dict() == new.to_dict()
    (old_point,), (new_point,) = (client.retrieve(name, [IDS[0]]) for name in ("llama-old", "llama-new"))
    assert {key: value for key, value in new_point.payload.items() if not key.startswith(("undrift_", "_node_c"))} == {
        key: value for key, value in old_point.payload.items() if key != "_node_content"
    }


def test_changes_of_a_nodes_metadata_by_several_at_once_do_not_get_lost(store: QdrantStore, client: Any) -> None:
    made_by_llama_index(client, "llama-race")
    field, id = at("llama-race?as=llama_index"), DocumentId(IDS[0])

    def put(part: int) -> None:
        for number in range(5):
            store.merge_metadata(field, {id: {f"{part}-{number}": number}}, sequence=part)

    threads = [threading.Thread(target=put, args=(part,)) for part in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = store.entries(field, [id])[id].metadata
    assert {key for key in found if "-" in key} == {f"{part}-{number}" for part in range(3) for number in range(5)}


def test_a_free_shape_has_text_and_metadata_where_the_address_says(store: QdrantStore, client: Any) -> None:
    from qdrant_client import models

    params = models.VectorParams(size=8, distance=models.Distance.DOT)
    client.create_collection("free", {"large": params})
    vectors = unit_vectors(2, 8)
    client.upsert(
        "free",
        [models.PointStruct(id=7, vector={"large": vectors[0].tolist()}, payload={"body": "text", "a": 1, "b": [1]})],
    )
    field = at("free?text=body&metadata=*&vector=large")
    (there,) = store.fetch(field, [DocumentId("7")]).values()

    assert (there.text, there.metadata) == ("text", {"a": 1, "b": [1]})
    assert there.vector.tobytes() == vectors[0].tobytes()
    described = store.describe(field)
    assert described is not None
    assert (described.dimensions, described.metric, described.count) == (8, Metric.DOT, 1)
    written = record("x", vectors[1], text="mine", metadata={"a": 2})
    store.upsert(field, [written])
    store.merge_metadata(field, {written.id: {"c": 3}}, sequence=2)
    changed = store.fetch(field, [written.id])[written.id]
    assert changed.metadata == {"a": 2, "c": 3}
    assert store.count(field, {"a": 2}) == 1
    assert store.search(field, vectors[1], k=1)[0].id == "x"
    with pytest.raises(StoreRejected, match="body"):
        store.upsert(field, [record("y", vectors[0], metadata={"body": "x"})])


def test_a_write_leaves_the_other_vectors_of_a_point_as_they_are(store: QdrantStore, client: Any) -> None:
    """Also sparse ones, and also where undrift may put nothing into the payload that would tell who writes."""
    from qdrant_client import models

    params = models.VectorParams(size=8, distance=models.Distance.DOT)
    client.create_collection(
        "several", {"one": params, "other": params}, sparse_vectors_config={"words": models.SparseVectorParams()}
    )
    words = models.SparseVector(indices=[3, 8], values=[0.5, 0.25])
    vectors = dict(zip(("one", "other"), unit_vectors(2, 8).tolist(), strict=True)) | {"words": words}
    client.upsert("several", [models.PointStruct(id=7, vector=vectors, payload={"text": "t", "metadata": {"a": 1}})])
    field, id = at("several?vector=one"), DocumentId("7")
    plain = at("several?vector=one&tags=ledger")

    written = record("7", unit_vectors(1, 8, seed=3)[0], text="new", metadata={"b": 2})
    for place in (field, plain):
        store.upsert(place, [written, record("8", written.vector)])
        (point,) = client.retrieve("several", [7], with_vectors=True)
        assert (point.vector["other"], point.vector["words"]) == (vectors["other"], words)
        assert store.fetch(field, [id])[id].vector.tobytes() == written.vector.tobytes()
        assert (store.entries(field, [id])[id].text, store.entries(field, [id])[id].metadata) == ("new", {"b": 2})
    assert store.count(field) == 2
    assert store.count(at("several?vector=other")) == 1
    with pytest.raises(StoreRejected, match="ledger"):
        store.attach(plain, [written])
    store.drop(field)
    assert store.describe(field) is None
    assert {one.id for one in client.scroll("several", with_vectors=True)[0]} == {7}


def test_an_address_that_does_not_fit_the_collection_is_refused(store: QdrantStore, client: Any) -> None:
    from qdrant_client import models

    params = models.VectorParams(size=8, distance=models.Distance.DOT)
    client.create_collection("two", {"one": params, "other": params})

    for address in ("two", "two?as=langchain", "two?vector=third"):
        with pytest.raises(CollectionMissing, match="'one', 'other'") as refused:
            store.count(at(address))
        assert refused.value.hint == "write behind the collection which one is meant: two?vector=NAME"
        assert store.describe(at(address)) is None
    with pytest.raises(BadConfig, match="haystack"):
        store.count(at("two?as=haystack"))
    with pytest.raises(BadConfig, match="ids"):
        store.count(at("two?id=key"))
    with pytest.raises(BadConfig, match="own keys"):
        store.count(at("two?as=llama_index&text=body"))


def test_the_text_may_be_elsewhere(tmp_path: Path) -> None:
    store, field = QdrantEdgeStore(tmp_path), at("docs?text=-&metadata=*")
    store.create(field, dimensions=8, metric=Metric.COSINE)
    store.upsert(field, records(["a"], 8))

    (entry,) = store.scan(field, limit=1, parts=Part.TEXT)
    assert (entry.text, entry.metadata) == ("", {"n": 0, "seed": 0})
    store.close()


def test_keys_that_are_undrifts_cannot_be_a_documents(tmp_path: Path) -> None:
    store, field = QdrantEdgeStore(tmp_path), new_field()
    store.create(field, dimensions=8, metric=Metric.COSINE)
    vector = unit_vectors(1, 8)[0]
    kept = record("a", vector)
    store.upsert(field, [kept])

    with pytest.raises(StoreRejected, match="undrift_space"):
        store.upsert(field, [record("b", vector, metadata={"undrift_space": "x"})])
    with pytest.raises(StoreRejected, match="undrift_space"):
        store.merge_metadata(field, {kept.id: {"undrift_space": "x"}}, sequence=1)

    assert_same(store.fetch(field, [kept.id])[kept.id], kept)
    store.close()


def filter_of(key: str, value: str) -> Any:
    from qdrant_client import models

    return models.Filter(must=[models.FieldCondition(key=key, match=models.MatchValue(value=value))])
