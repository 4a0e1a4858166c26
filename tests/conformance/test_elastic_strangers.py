"""Indexes that LangChain and LlamaIndex made: read, written and changed so that they still read them.

The documents are those that langchain-elasticsearch 1.0.0 and llama-index-vector-stores-elasticsearch 0.7.0 send.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.conformance.doubles.elastic import Elastic
from tests.conformance.doubles.http import Server, serving
from undrift.adapters.llama_node import KEYS
from undrift.adapters.stores.elastic import ElasticsearchStore, OpenSearchStore
from undrift.domain.record import DocumentId, Entry, is_tagged, tag_for
from undrift.domain.route import VectorField
from undrift.domain.space import Metric
from undrift.errors import BadConfig, CollectionMissing, FieldInUse, StoreRejected
from undrift.ports.store import Part
from undrift.testing.stores.samples import SPACE, record, unit_vectors

ADAPTERS: dict[str, Any] = {"elasticsearch": ElasticsearchStore, "opensearch": OpenSearchStore}
NODE = {"id_": "n1", "embedding": None, "metadata": {"a": 1}, "text": "", "class_name": "TextNode"}
#: For each vendor and program: the mapping of the vector, its key, that of the text, and a document.
VECTOR = [0.1, 0.2, 0.3, 0.4]
MADE: dict[tuple[str, str], tuple[str, str]] = {
    ("elasticsearch", "langchain"): ("vector", "text"),
    ("elasticsearch", "llama_index"): ("embedding", "content"),
    ("opensearch", "langchain"): ("vector_field", "text"),
    ("opensearch", "llama_index"): ("embedding", "content"),
}


class Bench:
    def __init__(self, vendor: str, program: str, double: Elastic, server: Server) -> None:
        self.vendor, self.program, self.double, self.server = vendor, program, double, server
        self.vector, self.text = MADE[vendor, program]
        self.field = VectorField(store="main", collection=f"theirs?as={program}", space=SPACE.id)
        self.store = ADAPTERS[vendor](f"//127.0.0.1:{server.port}", listing_s=0)
        mapping = {"type": "dense_vector", "dims": 4, "index": True, "similarity": "cosine"}
        if vendor == "opensearch":
            method = {"name": "hnsw", "engine": "lucene", "space_type": "cosinesimil", "parameters": {}}
            mapping = {"type": "knn_vector", "dimension": 4, "method": method}
        double._create("theirs", {"mappings": {"properties": {self.vector: mapping}}, "settings": {}})
        self.put("x", "hello", {"a": 1, "b": {"c": [1, 2]}})

    def put(self, id: str, text: str, metadata: dict[str, Any], vector: list[float] | None = None) -> None:
        """Write a document as the program does."""
        kept = dict(metadata)
        if self.program == "llama_index":
            kept |= {"_node_content": json.dumps({**NODE, "metadata": metadata}), "_node_type": "TextNode"}
            kept |= dict.fromkeys(("document_id", "doc_id", "ref_doc_id"), "None")
        source = {self.text: text, "metadata": kept, self.vector: vector or VECTOR}
        self.double._applied(self.double.indexes["theirs"], "index", id, {}, source)

    def source(self, id: str) -> dict[str, Any]:
        return self.double.indexes["theirs"].documents[id].source


@pytest.fixture(params=list(MADE), ids="-".join)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    vendor, program = request.param
    pytest.importorskip({"elasticsearch": "elasticsearch", "opensearch": "opensearchpy"}[vendor])
    double = Elastic(vendor=vendor, version={"elasticsearch": "9.2.1", "opensearch": "2.19.1"}[vendor])
    with serving(double.answer) as server:
        bench = Bench(vendor, program, double, server)
        yield bench
        bench.store.close()


def plain(metadata: Any) -> dict[str, Any]:
    """Metadata without what LlamaIndex keeps for itself."""
    return {key: value for key, value in metadata.items() if key not in KEYS}


def test_what_the_program_wrote_is_read(bench: Bench) -> None:
    described = bench.store.describe(bench.field)
    found = bench.store.fetch(bench.field, [DocumentId("x")])["x"]

    assert (described.dimensions, described.metric, described.count) == (4, Metric.COSINE, 1)
    assert (found.text, plain(found.metadata)) == ("hello", {"a": 1, "b": {"c": [1, 2]}})
    assert found.vector.tolist() == np.array(VECTOR, np.float32).tolist()
    assert not is_tagged(found.tag)
    assert bench.store.entries(bench.field, [DocumentId("x")])["x"].tag is None
    (hit,) = bench.store.search(bench.field, np.array(VECTOR, np.float32), k=5)
    assert (hit.id, hit.text, hit.tag) == ("x", "hello", None)
    assert hit.score == pytest.approx(1, abs=1e-6)


def test_what_is_written_looks_as_the_program_would_have_written_it(bench: Bench) -> None:
    there = bench.store.fetch(bench.field, [DocumentId("x")])["x"]
    written = record("x", there.vector, text="other", metadata={**there.metadata, "a": 2}, sequence=4)

    bench.store.upsert(bench.field, [written])

    source = bench.source("x")
    assert source[bench.text] == "other"
    assert plain(source["metadata"]) == {"a": 2, "b": {"c": [1, 2]}}
    assert source[bench.vector] == pytest.approx(VECTOR)
    if bench.program == "llama_index":
        # It reads the metadata from the copy in the node.
        assert json.loads(source["metadata"]["_node_content"])["metadata"] == {"a": 2, "b": {"c": [1, 2]}}
    found = bench.store.fetch(bench.field, [DocumentId("x")])["x"]
    assert found.tag == written.tag
    assert found.metadata == written.metadata
    assert {key for key in source if key.startswith("undrift")} == {
        "undrift_space",
        "undrift_content",
        "undrift_sequence",
    }


def test_a_change_of_metadata_replaces_values_whole_and_keeps_the_rest(bench: Bench) -> None:
    bench.store.merge_metadata(bench.field, {DocumentId("x"): {"b": {"d": 1}, "new": None}}, sequence=3)

    source = bench.source("x")
    assert plain(source["metadata"]) == {"a": 1, "b": {"d": 1}, "new": None}
    assert source[bench.vector] == VECTOR
    # A record without a tag gets none.
    assert not [key for key in source if key.startswith("undrift")]
    if bench.program == "llama_index":
        assert json.loads(source["metadata"]["_node_content"])["metadata"] == {"a": 1, "b": {"d": 1}, "new": None}


def test_ids_come_in_order_and_each_once(bench: Bench) -> None:
    for id in ("\U0001f600", "b", "\uffff", "A", "a"):
        bench.put(id, f"text {id}", {"n": ord(id[0])})
    wanted = ["A", "a", "b", "x", "\uffff", "\U0001f600"]

    assert bench.store.ids(bench.field, limit=10) == wanted
    assert [entry.id for entry in bench.store.scan(bench.field, after="a", limit=2, parts=Part.TEXT)] == ["b", "x"]
    assert [one.id for one in bench.store.scan(bench.field, limit=9, filter={"n": {"$gte": 97}})] == [
        "a",
        "b",
        "\uffff",
        "\U0001f600",
    ]
    assert bench.store.count(bench.field, {"n": {"$exists": True}}) == 5
    assert bench.double.scrolls == {}


def test_a_filter_is_looked_at_on_what_the_engine_finds(bench: Bench) -> None:
    vectors = unit_vectors(250, 4)
    for number, vector in enumerate(vectors):
        bench.put(f"d{number:03}", f"text {number}", {"n": number}, vector.tolist())
    query = vectors[0]
    matching = sorted(range(200, 250), key=lambda number: -float(vectors[number] @ query))

    hits = bench.store.search(bench.field, query, k=10, filter={"n": {"$gte": 200}})

    assert [hit.id for hit in hits] == [f"d{number:03}" for number in matching[:10]]
    assert len(bench.store.search(bench.field, query, k=99, filter={"n": {"$gte": 200}})) == 50


def test_a_deletion_with_a_filter_spares_what_does_not_match(bench: Bench) -> None:
    bench.put("y", "world", {"a": 2})

    bench.store.delete(bench.field, [DocumentId("x"), DocumentId("y"), DocumentId("never")], filter={"a": 2})

    assert bench.store.ids(bench.field, limit=5) == ["x"]


def test_no_write_makes_an_index_that_somebody_dropped(bench: Bench) -> None:
    bench.store.describe(bench.field)
    del bench.double.indexes["theirs"]

    for call in (
        lambda: bench.store.upsert(bench.field, [record("a", np.array(VECTOR, np.float32))]),
        lambda: bench.store.delete(bench.field, [DocumentId("a")]),
        lambda: bench.store.merge_metadata(bench.field, {DocumentId("a"): {"n": 1}}, sequence=1),
    ):
        with pytest.raises(CollectionMissing, match="theirs"):
            call()

    assert bench.double.indexes == {}


def test_a_collection_is_made_in_the_shape_of_the_program(bench: Bench) -> None:
    field = VectorField(store="main", collection=f"made?as={bench.program}", space=SPACE.id)

    bench.store.create(field, dimensions=4, metric=Metric.L2)

    body = bench.double.indexes["made"].body
    assert set(body["mappings"]["properties"]) == {bench.text, bench.vector}
    assert "aliases" not in body
    assert "dynamic" not in body["mappings"]
    written = record("a", np.array(VECTOR, np.float32), metadata={"n": 1})
    bench.store.upsert(field, [written])
    assert bench.store.describe(field).metric is Metric.L2
    found = bench.store.fetch(field, [written.id])["a"]
    assert (found.metadata, found.tag) == (written.metadata, written.tag)
    assert found.vector.tobytes() == written.vector.tobytes()
    with pytest.raises(FieldInUse):
        bench.store.create(field, dimensions=4, metric=Metric.L2)
    bench.store.drop(field)
    assert "made" not in bench.double.indexes


def test_tags_in_the_ledger_leave_no_trace_in_the_documents(bench: Bench) -> None:
    field = VectorField(store="main", collection=f"{bench.field.collection}&tags=ledger", space=SPACE.id)

    bench.store.upsert(field, [record("x", np.array(VECTOR, np.float32), text="new", metadata={"a": 1})])

    assert set(bench.source("x")) == {bench.text, "metadata", bench.vector}


def test_other_places_can_be_named(bench: Bench) -> None:
    theirs = bench.double.indexes["theirs"]
    bench.double._applied(theirs, "index", "y", {}, {"body": "hello", "year": 2020, bench.vector: VECTOR})
    field = VectorField(store="main", collection="theirs?text=body", space=SPACE.id)

    found = bench.store.fetch(field, [DocumentId("y")])["y"]
    assert (found.text, found.metadata) == ("hello", {"year": 2020})
    bench.store.merge_metadata(field, {DocumentId("y"): {"year": 2021}}, sequence=1)
    assert bench.source("y") == {"body": "hello", "year": 2021, bench.vector: VECTOR}

    without = VectorField(store="main", collection="theirs?text=-", space=SPACE.id)
    assert bench.store.entries(without, [DocumentId("y")])["y"].text is None


@pytest.mark.parametrize(
    ("address", "said"),
    [("theirs?as=haystack", "cannot be read so"), ("theirs?id=key", "cannot be read so"), ("theirs?top=1", "top")],
)
def test_a_shape_that_is_none_is_refused(bench: Bench, address: str, said: str) -> None:
    with pytest.raises(BadConfig, match=said):
        bench.store.describe(VectorField(store="main", collection=address, space=SPACE.id))


def test_a_vector_that_is_none_is_refused_and_named(bench: Bench) -> None:
    with pytest.raises(StoreRejected, match="no vectors in dense") as caught:
        bench.store.describe(VectorField(store="main", collection="theirs?vector=dense", space=SPACE.id))
    assert bench.vector in caught.value.detail


def test_langchain_reads_what_was_written() -> None:
    langchain = pytest.importorskip("langchain_elasticsearch")
    from langchain_core.embeddings import DeterministicFakeEmbedding

    model = DeterministicFakeEmbedding(size=4)
    double = Elastic(vendor="elasticsearch", version="8.19.0")
    with serving(double.answer) as server:
        theirs = langchain.ElasticsearchStore(
            index_name="lc", es_url=f"http://127.0.0.1:{server.port}", embedding=model
        )
        theirs.add_texts(["hello", "world"], metadatas=[{"a": 1}, {"a": 2}], ids=["x", "y"])
        store = ElasticsearchStore(f"//127.0.0.1:{server.port}", listing_s=0)
        field = VectorField(store="main", collection="lc?as=langchain", space=SPACE.id)
        assert store.ids(field, limit=5) == ["x", "y"]
        vector = np.array(model.embed_query("later"), np.float32)

        store.upsert(field, [record("z", vector, text="later", metadata={"a": 3})])
        store.count(field)

        (found,) = theirs.similarity_search("later", k=1)
        assert (found.page_content, found.metadata) == ("later", {"a": 3})


def test_llama_index_reads_what_was_written() -> None:
    stores = pytest.importorskip("llama_index.vector_stores.elasticsearch")
    from llama_index.core.schema import TextNode
    from llama_index.core.vector_stores.types import VectorStoreQuery

    double = Elastic(vendor="elasticsearch", version="8.19.0")
    with serving(double.answer) as server:
        theirs = stores.ElasticsearchStore(index_name="li", es_url=f"http://127.0.0.1:{server.port}")
        theirs.add([TextNode(text="hello", id_="n1", metadata={"a": 1}, embedding=VECTOR)])
        store = ElasticsearchStore(f"//127.0.0.1:{server.port}", listing_s=0)
        field = VectorField(store="main", collection="li?as=llama_index", space=SPACE.id)

        store.merge_metadata(field, {DocumentId("n1"): {"a": 2}}, sequence=1)
        store.count(field)

        (node,) = theirs.query(VectorStoreQuery(query_embedding=VECTOR, similarity_top_k=1)).nodes
        assert (node.text, node.metadata) == ("hello", {"a": 2})


def test_a_tag_is_put_beside_the_text_that_it_is_of(bench: Bench) -> None:
    bench.put("y", "world", {"a": 2})
    before = dict(bench.source("x"))
    asked = [
        Entry(id=DocumentId(id), text=text, metadata={}, tag=tag_for(text, SPACE.id))
        for id, text in (("x", "hello"), ("y", "another world"), ("never", "x"))
    ]

    assert bench.store.tag(bench.field, asked) == {"x"}

    assert bench.store.entries(bench.field, [DocumentId("x")])["x"].tag == asked[0].tag
    kept = {key: value for key, value in bench.source("x").items() if not key.startswith("undrift")}
    assert kept == before
    assert not [key for key in bench.source("y") if key.startswith("undrift")]
