"""Collections in Chroma that LangChain, LlamaIndex or other programs made, and those that undrift makes for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("chromadb")

from tests.conformance.chroma_door import close_client, folder_client, server_client
from tests.conformance.chroma_server import ChromaServer
from undrift.adapters.stores.chroma import ChromaStore
from undrift.domain.record import DocumentId, content_hash
from undrift.domain.route import VectorField
from undrift.domain.space import Metric, SpaceId
from undrift.errors import BadConfig, FieldInUse, StoreRejected
from undrift.ports.store import FieldDescription, Part
from undrift.testing.stores.samples import assert_same, record, unit_vectors

D = 8


def field(collection: str) -> VectorField:
    return VectorField(store="main", collection=collection, space=SpaceId("space"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChromaStore]:
    store = ChromaStore(str(tmp_path_factory.mktemp("shapes")))
    yield store
    store.close()


@pytest.fixture(scope="module")
def vendor(store: ChromaStore) -> Iterator[Any]:
    # The folder is the store's first, so that a second process would be refused.
    store.client()
    opened = folder_client(Path(store.name.removeprefix("chroma:")))
    yield opened
    opened.close()


def vector_of(text: str) -> list[float]:
    """A model of LangChain's and LlamaIndex's kind, which takes a text and gives floats."""
    number = int(content_hash(text)[:8], 16)
    return [float(value) for value in unit_vectors(1, D, seed=number)[0]]


def langchain(vendor: Any, name: str) -> Any:
    langchain_chroma = pytest.importorskip("langchain_chroma")
    from langchain_core.embeddings import Embeddings

    class Model(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [vector_of(text) for text in texts]

        def embed_query(self, text: str) -> list[float]:
            return vector_of(text)

    return langchain_chroma.Chroma(collection_name=name, embedding_function=Model(), client=vendor)


def state(vendor: Any, name: str) -> Any:
    """Everything that Chroma has of a collection but its records."""
    (model,) = [one for one in vendor._server.list_collections() if one.name == name]
    return model.configuration_json, model.metadata, model.dimension


def test_what_langchain_wrote_is_read(store: ChromaStore, vendor: Any) -> None:
    chain = langchain(vendor, "read_chain")
    chain.add_texts(["one", "two"], metadatas=[{"a": 1, "on": True}, {"b": "x", "part": 0.5}], ids=["i1", "i2"])
    chain.add_texts(["three"], ids=["i3"])
    place = field("read_chain?as=langchain")

    assert store.describe(place) == FieldDescription(dimensions=D, metric=Metric.L2, count=3)
    entries = store.scan(place, limit=9, parts=Part.TEXT)
    assert [(one.id, one.text, one.metadata, one.tag) for one in entries] == [
        ("i1", "one", {"a": 1, "on": True}, None),
        ("i2", "two", {"b": "x", "part": 0.5}, None),
        ("i3", "three", {}, None),
    ]
    found = store.fetch(place, [DocumentId("i2")])[DocumentId("i2")]
    assert found.vector.tobytes() == np.array(vector_of("two"), np.float32).tobytes()
    (hit,) = store.search(place, found.vector, k=1)
    assert (hit.id, hit.text, hit.score) == ("i2", "two", pytest.approx(0, abs=1e-3))
    assert store.count(place, {"a": {"$lt": 2}}) == store.count(place, {"part": {"$exists": True}}) == 1


@pytest.mark.parametrize("tags", ["payload", "ledger"])
def test_langchain_reads_what_undrift_wrote(store: ChromaStore, vendor: Any, tags: str) -> None:
    chain = langchain(vendor, f"write_chain_{tags}")
    chain.add_texts(["one", "two"], metadatas=[{"a": 1, "old": 1}, {"a": 2}], ids=["i1", "i2"])
    place = field(f"write_chain_{tags}?as=langchain&tags={tags}")
    before = state(vendor, f"write_chain_{tags}")
    changed = record("i1", np.array(vector_of("uno"), np.float32), text="uno", metadata={"a": 3, "many": ["x", "y"]})

    store.upsert(place, [changed, record("i3", np.array(vector_of("three"), np.float32), text="three")])
    store.merge_metadata(place, {DocumentId("i2"): {"b": "put in"}}, sequence=4)

    (first,) = chain.similarity_search("uno", k=1)
    assert (first.id, first.page_content) == ("i1", "uno")
    assert {key: value for key, value in first.metadata.items() if not key.startswith("undrift_")} == changed.metadata
    assert ("undrift_space" in first.metadata) is (tags == "payload")
    assert [one.page_content for one in chain.similarity_search("two", k=1, filter={"b": "put in"})] == ["two"]
    assert sorted(chain.get()["ids"]) == ["i1", "i2", "i3"]
    assert state(vendor, f"write_chain_{tags}") == before
    found = store.fetch(place, [changed.id])[changed.id]
    if tags == "payload":
        assert_same(found, changed)
    else:
        assert (found.text, found.metadata, found.tag.space) == (changed.text, changed.metadata, "")


def test_a_target_for_langchain_is_one_that_it_can_use(store: ChromaStore, vendor: Any) -> None:
    place = field("made_for_chain?as=langchain")
    store.create(place, dimensions=D, metric=Metric.COSINE)
    with pytest.raises(FieldInUse):
        store.create(place, dimensions=D, metric=Metric.COSINE)
    assert store.describe(place) == FieldDescription(dimensions=D, metric=Metric.COSINE, count=0)
    store.insert_absent(place, [record("i1", np.array(vector_of("one"), np.float32), text="one", metadata={"a": 1})])

    chain = langchain(vendor, "made_for_chain")
    chain.add_texts(["two"], metadatas=[{"a": 2}], ids=["i2"])

    assert [one.page_content for one in chain.similarity_search("one", k=2)] == ["one", "two"]
    ((_, relevance),) = chain.similarity_search_with_relevance_scores("one", k=1)
    assert relevance == pytest.approx(1, abs=1e-5)
    (hit, _) = store.search(place, np.array(vector_of("one"), np.float32), k=2)
    assert (hit.id, hit.score) == ("i1", pytest.approx(1, abs=1e-5))
    store.drop(place)
    assert store.describe(place) is None


def test_llama_index_reads_what_undrift_wrote_and_undrift_what_it_wrote(store: ChromaStore, vendor: Any) -> None:
    llama = pytest.importorskip("llama_index.vector_stores.chroma")
    from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
    from llama_index.core.vector_stores.types import VectorStoreQuery

    store.create(field("nodes?as=llama_index"), dimensions=D, metric=Metric.COSINE)
    collection = vendor.get_or_create_collection("nodes")
    theirs = llama.ChromaVectorStore(chroma_collection=collection)
    node = TextNode(
        id_="n1",
        text="hello",
        metadata={"a": 1, "s": "\u00e9"},
        embedding=vector_of("hello"),
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id="source")},
    )
    theirs.add([node])
    place = field("nodes?as=llama_index")

    (entry,) = store.scan(place, limit=9, parts=Part.TEXT)
    assert (entry.id, entry.text, entry.metadata["a"], entry.metadata["ref_doc_id"]) == ("n1", "hello", 1, "source")
    assert "metadata" not in json.loads(entry.metadata["_node_content"])

    new = np.array(vector_of("changed"), np.float32)
    store.upsert(place, [record("n1", new, text="changed", metadata={**entry.metadata, "a": 2})])
    store.merge_metadata(place, {DocumentId("n1"): {"s": "put in"}}, sequence=2)
    store.upsert(place, [record("n2", np.array(vector_of("x"), np.float32), text="x", metadata={"of": "undrift"})])

    answer = theirs.query(VectorStoreQuery(query_embedding=vector_of("changed"), similarity_top_k=2))
    first, second = answer.nodes
    assert (first.node_id, first.text, first.metadata) == ("n1", "changed", {"a": 2, "s": "put in"})
    assert first.ref_doc_id == "source"
    assert (second.node_id, second.text, second.metadata["of"]) == ("n2", "x", "undrift")
    again = store.entries(place, [DocumentId("n1")])[DocumentId("n1")]
    assert again.metadata == {**entry.metadata, "a": 2, "s": "put in"}
    theirs.delete("source")
    assert store.ids(place, limit=9) == ["n2"]


@pytest.mark.parametrize("text", ["text=body", "text=-"])
def test_a_text_may_be_in_the_metadata_or_nowhere(store: ChromaStore, vendor: Any, text: str) -> None:
    name = f"own_{text[-1].replace('-', 'n')}"
    theirs = vendor.create_collection(name, embedding_function=None)
    theirs.add(ids=["a"], embeddings=[vector_of("x")], metadatas=[{"body": "the text", "k": 1}])
    place = field(f"{name}?as=chroma&{text}")
    inside = text == "text=body"

    entry = store.entries(place, [DocumentId("a")])[DocumentId("a")]
    assert entry.text == ("the text" if inside else None)
    assert entry.metadata == ({"k": 1} if inside else {"body": "the text", "k": 1})

    store.upsert(place, [record("b", np.array(vector_of("y"), np.float32), text="new text", metadata={"k": 2})])
    assert theirs.get(ids=["b"])["documents"] == [None]
    assert theirs.get(ids=["b"])["metadatas"][0].get("body") == ("new text" if inside else None)


def test_an_embedding_function_survives_and_is_not_made(store: ChromaStore, vendor: Any) -> None:
    """A collection may name a function that needs a key: nobody asks for it."""
    from chromadb.utils.embedding_functions import DefaultEmbeddingFunction

    theirs = vendor.create_collection("with_function", embedding_function=DefaultEmbeddingFunction())
    theirs.add(ids=["a"], embeddings=[vector_of("x")], documents=["x"])
    before = state(vendor, "with_function")
    assert before[0]["embedding_function"]["name"] == "default"
    place = field("with_function?as=chroma")

    store.upsert(place, [record("b", np.array(vector_of("y"), np.float32))])
    store.merge_metadata(place, {DocumentId("a"): {"k": 1}}, sequence=1)
    store.delete(place, [DocumentId("b")])

    assert state(vendor, "with_function") == before
    assert theirs.get()["metadatas"] == [{"k": 1}]


@pytest.mark.parametrize(
    "metadata", [{"k": None}, {"k": {"a": 1}}, {"k": []}, {"k": [1, "a"]}, {"k": 2**63}, {"": 1}, {"$k": 1}, {"#k": 1}]
)
def test_what_chroma_cannot_keep_is_refused_by_name(store: ChromaStore, vendor: Any, metadata: Any) -> None:
    vendor.get_or_create_collection("flat_only", embedding_function=None).upsert(ids=["a"], embeddings=[vector_of("x")])
    place = field("flat_only?as=chroma")
    (key,) = metadata

    with pytest.raises(StoreRejected, match="of document 'b' cannot be kept") as refused:
        store.upsert(place, [record("b", np.array(vector_of("y"), np.float32), metadata=metadata)])

    assert repr(key) in str(refused.value)
    with pytest.raises(StoreRejected):
        store.merge_metadata(place, {DocumentId("a"): metadata}, sequence=1)
    assert store.ids(place, limit=9) == ["a"]


@pytest.mark.servers
def test_fractions_are_kept_though_the_server_misreads_one_in_five(chroma: ChromaServer) -> None:
    """Chroma's server reads them from JSON with another last digit; a comparison of two fields would never agree."""
    store, place = ChromaStore(chroma.place), field("fractions?as=langchain")
    store.create(place, dimensions=2, metric=Metric.L2)
    random = np.random.default_rng(0)
    numbers = [float(number) for number in random.standard_normal(400) * 10.0 ** random.integers(-20, 20, 400)]
    there = [
        record(f"{at:03}", vector, metadata={"one": numbers[2 * at], "some": numbers[2 * at : 2 * at + 2]})
        for at, vector in enumerate(unit_vectors(200, 2))
    ]

    store.insert_absent(place, there[:100])
    store.upsert(place, there)
    store.merge_metadata(place, {there[7].id: {"late": 0.10490011715303971}}, sequence=1)

    found = store.entries(place, [one.id for one in there])
    assert [found[one.id].metadata for one in there[:7]] == [one.metadata for one in there[:7]]
    assert {id: dict(entry.metadata) for id, entry in found.items()} == {
        one.id: {**one.metadata, **({"late": 0.10490011715303971} if one is there[7] else {})} for one in there
    }
    # Another program writes other values, and what was said of the old ones is not believed.
    theirs = server_client(chroma.port)
    theirs.get_collection("fractions", embedding_function=None).update(
        ids=["000"], metadatas=[{"one": 0.5, "some": ["x", "y"]}]
    )
    close_client(theirs)
    assert store.entries(place, [there[0].id])[there[0].id].metadata == {"one": 0.5, "some": ["x", "y"]}
    store.drop(place)
    store.close()


@pytest.mark.parametrize("query", ["as=haystack", "vector=v", "id=key", "metadata=column"])
def test_a_shape_that_chroma_has_not_is_refused(store: ChromaStore, query: str) -> None:
    with pytest.raises(BadConfig):
        store.describe(field(f"docs?{query}"))
