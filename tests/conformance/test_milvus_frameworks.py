"""Collections that LangChain and LlamaIndex write in Milvus are migrated, and the same software reads them back.

LlamaIndex's package wants an older client of Milvus than LangChain's: of the two tests of them, one is skipped wherever
the other runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pymilvus")
pytest.importorskip("milvus_lite")

from tests.conformance.adoption import (
    MANY,
    NEW,
    OLD,
    TEXTS,
    adopted_and_moved,
    floats,
    for_langchain,
    nearest_node,
    nodes_of,
)
from tests.conformance.milvus_server import running_server
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.adapters.stores.milvus import MilvusStore
from undrift.domain.record import NO_TAG, Document, DocumentId, Record, stamp
from undrift.domain.route import VectorField
from undrift.domain.shape import split_address
from undrift.domain.space import Metric
from undrift.errors import BadArgument, BadConfig, CollectionMissing, FieldInUse, StoreRejected
from undrift.ports.store import FieldDescription, Part

# The client writes its own deprecations into the programs that use it.
pytestmark = [pytest.mark.servers, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
IDS = ["i0", "i1", "i2", "i3"]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with running_server(tmp_path_factory.mktemp("milvus") / "data") as port:
        yield port


@pytest.fixture
def store(port: int) -> Iterator[MilvusStore]:
    opened = MilvusStore(f"//127.0.0.1:{port}", listing_s=0)
    yield opened
    opened.close()


@pytest.fixture
def client(port: int) -> Iterator[Any]:
    from pymilvus import MilvusClient

    opened = MilvusClient(f"http://127.0.0.1:{port}")
    yield opened
    opened.close()


def at(collection: str, model: HashingEmbedder = OLD) -> VectorField:
    return VectorField(store="main", collection=collection, space=model.space.id)


def made(*documents: Document, model: HashingEmbedder = OLD) -> list[Record]:
    vectors = np.asarray(model.embed_documents([one.text for one in documents]))
    return stamp(documents, vectors, space=model.space, sequences={})


def langchain(port: int, name: str, model: HashingEmbedder, **said: Any) -> Any:
    return pytest.importorskip("langchain_milvus").Milvus(
        for_langchain(model),
        collection_name=name,
        connection_args={"uri": f"http://127.0.0.1:{port}"},
        consistency_level="Strong",
        **said,
    )


def settings(port: int) -> str:
    return f'url = "milvus://127.0.0.1:{port}"\nlisting_s = 0'


def test_a_collection_of_langchain_is_adopted_migrated_and_read_back(tmp_path: Path, port: int) -> None:
    ids = [f"d{number}" for number in range(len(MANY))]
    theirs = langchain(port, "kb_chain", OLD)
    theirs.add_texts(MANY, metadatas=[{"n": number} for number in range(len(MANY))], ids=ids)

    target = adopted_and_moved(tmp_path, settings(port), "kb_chain?as=langchain", ids=ids, tags="ledger")

    # Milvus takes no hyphens in names: what undrift calls it is what it is called there.
    name, _ = split_address(target)
    assert target == f"kb__{NEW.space.id.replace('-', '_')}?as=langchain&tags=ledger"
    again = langchain(port, name, NEW, enable_dynamic_field=True)
    (hit,) = again.similarity_search("written through undrift", k=1)
    assert (hit.page_content, hit.metadata) == ("written through undrift", {"pk": "d0", "n": -1})
    (hit,) = again.similarity_search(MANY[9], k=1)
    assert (hit.page_content, hit.metadata) == (MANY[9], {"pk": "d9", "n": 9})
    assert "d1" not in {one.metadata["pk"] for one in again.similarity_search(MANY[1], k=99)}
    again.add_texts(["written by LangChain again"], metadatas=[{"other": True}], ids=["new"])
    assert again.similarity_search("written by LangChain again", k=1)[0].metadata == {"pk": "new", "other": True}


def test_a_collection_of_llama_index_is_adopted_migrated_and_read_back(
    tmp_path: Path, port: int, store: MilvusStore
) -> None:
    module = pytest.importorskip("llama_index.vector_stores.milvus")

    def llama_index(name: str, model: HashingEmbedder) -> Any:
        return module.MilvusVectorStore(
            uri=f"http://127.0.0.1:{port}",
            collection_name=name,
            dim=model.space.dimensions,
            use_async_client=False,
            consistency_level="Strong",
        )

    llama_index("manual", OLD).add(nodes_of(MANY))
    ids = [f"n{number}" for number in range(len(MANY))]
    found = store.entries(at("manual?as=llama_index"), [DocumentId("n3")])[DocumentId("n3")]
    assert (found.text, found.metadata["n"], found.metadata["ref_doc_id"]) == (MANY[3], 3, "file 3")

    target = adopted_and_moved(tmp_path, settings(port), "manual?as=llama_index", ids=ids, tags="ledger")

    again = llama_index(split_address(target)[0], NEW)
    node = nearest_node(again, NEW, "written through undrift")
    assert (node.node_id, node.text, node.metadata) == ("n0", "written through undrift", {"n": -1})
    node = nearest_node(again, NEW, MANY[9])
    assert (node.node_id, node.text, node.metadata, node.ref_doc_id) == ("n9", MANY[9], {"n": 9}, "file 9")
    again.add(nodes_of(["closed on Sunday"], NEW, ids=["later"]))
    assert nearest_node(again, NEW, "closed on Sunday").node_id == "later"


def test_a_collection_as_llama_index_makes_it_is_read_and_written(store: MilvusStore, client: Any) -> None:
    """Made here as its package makes one, which cannot be installed beside LangChain's."""
    from pymilvus import DataType

    schema = client.create_schema(auto_id=False, enable_dynamic_field=True)
    schema.add_field("id", DataType.VARCHAR, max_length=65_535, is_primary=True)
    for name in ("doc_id", "text"):
        schema.add_field(name, DataType.VARCHAR, max_length=65_535)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=16)
    indexes = client.prepare_index_params()
    indexes.add_index("embedding", index_type="FLAT", metric_type="IP")
    client.create_collection("as_llama", schema=schema, index_params=indexes, consistency_level="Strong")
    node = {"id_": "n1", "metadata": {"n": 1}, "relationships": {"1": {"node_id": "file"}}, "text": ""}
    row = {"n": 1, "_node_type": "TextNode", "document_id": "file", "doc_id": "file", "ref_doc_id": "file"}
    row |= {"id": "n1", "text": TEXTS[1], "embedding": floats(OLD, TEXTS)[1], "_node_content": json.dumps(node)}
    client.insert("as_llama", [row])
    field = at("as_llama?as=llama_index")

    assert store.describe(field) == FieldDescription(dimensions=16, metric=Metric.DOT, count=1)
    store.merge_metadata(field, {DocumentId("n1"): {"lang": "no"}}, sequence=1)
    store.upsert(field, made(Document(id="x", text="to Norway", metadata={"n": 4})))

    there = {one.id: one for one in store.scan(field, limit=9, parts=Part.TEXT)}
    assert there[DocumentId("n1")].metadata.items() >= {"n": 1, "lang": "no", "ref_doc_id": "file"}.items()
    assert (there[DocumentId("x")].text, there[DocumentId("x")].metadata) == ("to Norway", {"n": 4})
    kept = {one["id"]: one for one in client.query("as_llama", filter="", output_fields=["*"], limit=9)}
    said = json.loads(kept["n1"]["_node_content"])
    assert (said["metadata"], said["relationships"]) == ({"n": 1, "lang": "no"}, node["relationships"])
    assert (kept["n1"]["doc_id"], kept["n1"]["lang"], kept["n1"]["text"]) == ("file", "no", TEXTS[1])
    assert json.loads(kept["x"]["_node_content"])["class_name"] == "TextNode"


@pytest.mark.parametrize(
    ("said", "query"),
    [({}, ""), ({"enable_dynamic_field": True}, ""), ({"metadata_field": "meta"}, "&metadata=meta")],
    ids=["a field for each key", "fields as they come", "one field of JSON"],
)
def test_what_langchain_wrote_is_read_and_what_undrift_wrote_is_read_by_it(
    store: MilvusStore, port: int, said: dict[str, Any], query: str, request: pytest.FixtureRequest
) -> None:
    name = "docs_" + str(len(request.node.callspec.id))
    theirs = langchain(port, name, OLD, **said)
    theirs.add_texts(TEXTS, metadatas=[{"n": n, "s": "x"} for n in range(4)], ids=IDS)
    field = at(f"{name}?as=langchain{query}&tags=ledger")

    assert store.describe(field) == FieldDescription(dimensions=16, metric=Metric.L2, count=4)
    entries = store.scan(field, limit=9, parts=Part.TEXT)
    assert [(one.id, one.text, one.metadata, one.tag) for one in entries] == [
        (id, text, {"n": number, "s": "x"}, None) for number, (id, text) in enumerate(zip(IDS, TEXTS, strict=True))
    ]
    assert store.count(field, {"n": {"$gte": 2}}) == 2
    (hit,) = store.search(field, np.asarray(OLD.embed_query(TEXTS[1])), k=1, filter={"n": {"$lt": 3}})
    assert (hit.id, hit.text, hit.score) == ("i1", TEXTS[1], pytest.approx(0, abs=1e-3))

    store.upsert(field, made(Document(id="i1", text="on Friday", metadata={"n": 9, "s": "y"})))
    store.merge_metadata(field, {DocumentId("i0"): {"s": "changed"}}, sequence=3)
    store.delete(field, [DocumentId("i3"), DocumentId("i2")], filter={"n": 3})

    again = langchain(port, name, OLD, **said)
    (hit,) = again.similarity_search("on Friday", k=1)
    assert (hit.page_content, hit.metadata["n"], hit.metadata["s"]) == ("on Friday", 9, "y")
    (hit,) = again.similarity_search(TEXTS[0], k=1)
    assert (hit.page_content, hit.metadata["n"], hit.metadata["s"]) == (TEXTS[0], 0, "changed")
    assert store.ids(field, limit=9) == ["i0", "i1", "i2"]
    assert store.fetch(field, [DocumentId("i1")])[DocumentId("i1")].tag == NO_TAG
    if not said:
        with pytest.raises(StoreRejected, match="the metadata key 'lang' of document 'x' cannot be kept"):
            store.upsert(field, made(Document(id="x", text="x", metadata={"n": 1, "s": "x", "lang": "en"})))
        with pytest.raises(StoreRejected, match="cannot be written with a tag"):
            store.upsert(at(f"{name}?as=langchain"), made(Document(id="x", text="x", metadata={"n": 1, "s": "x"})))


def test_a_target_for_langchain_keeps_tags_beside_the_records(store: MilvusStore, port: int) -> None:
    field = at("made_for_chain?as=langchain")
    store.create(field, dimensions=16, metric=Metric.COSINE)
    with pytest.raises(FieldInUse):
        store.create(field, dimensions=16, metric=Metric.COSINE)
    records = made(Document(id="i0", text=TEXTS[0], metadata={"deep": {"a": [1, None]}, "none": None}))
    store.upsert(field, records)

    found = store.fetch(field, [DocumentId("i0")])[DocumentId("i0")]
    assert (found.text, found.metadata, found.tag) == (TEXTS[0], records[0].metadata, records[0].tag)
    (hit,) = langchain(port, "made_for_chain", OLD, enable_dynamic_field=True).similarity_search(TEXTS[0], k=1)
    assert (hit.page_content, hit.metadata["deep"]) == (TEXTS[0], {"a": [1, None]})
    with pytest.raises(StoreRejected, match="the metadata key 'text'"):
        store.upsert(field, made(Document(id="x", text="x", metadata={"text": "taken"})))
    store.drop(field)
    assert store.describe(field) is None


def test_ids_that_are_numbers_stay_numbers(store: MilvusStore, client: Any) -> None:
    client.create_collection("numbered", dimension=16, metric_type="COSINE", consistency_level="Strong")
    rows = [{"id": n, "vector": v, "text": t} for n, (t, v) in enumerate(zip(TEXTS, floats(OLD, TEXTS), strict=True))]
    client.insert("numbered", rows)
    field = at("numbered?text=text")

    store.upsert(field, made(Document(id="2", text="on Friday"), Document(id="-7", text="new")))
    store.delete(field, [DocumentId("0"), DocumentId("not a number")])

    assert [(one.id, one.text) for one in store.scan(field, limit=9, parts=Part.TEXT)] == [
        ("-7", "new"),
        ("1", TEXTS[1]),
        ("2", "on Friday"),
        ("3", TEXTS[3]),
    ]
    with pytest.raises(StoreRejected, match="has integers as ids"):
        store.upsert(field, made(Document(id="01", text="x")))
    with pytest.raises(StoreRejected, match="does not look as its address says"):
        store.count(at("numbered?as=langchain"))


def test_an_adoption_that_would_write_tags_is_refused_with_what_works(tmp_path: Path, port: int) -> None:
    """Milvus has no condition on a write: a tag could be put beside a text that has just changed."""
    with pytest.raises(BadArgument, match="cannot put a tag beside a vector") as refused:
        adopted_and_moved(tmp_path, settings(port), "anything?as=langchain", ids=[], tags="payload")

    assert "--tags ledger" in refused.value.hint
    assert "kb" not in (tmp_path / "undrift.toml").read_text()


@pytest.mark.parametrize(
    ("address", "error"), [("docs?as=haystack", BadConfig), ("nothing_there?as=langchain", CollectionMissing)]
)
def test_an_address_that_does_not_fit_is_refused(store: MilvusStore, address: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        store.count(at(address))
