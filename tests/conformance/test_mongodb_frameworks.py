"""Collections that LangChain, LlamaIndex and other programs made in MongoDB, on a double of it.

LangChain's and LlamaIndex's packages are asked themselves where they are installed.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pymongo")

from bson import Binary, Decimal128, Int64, ObjectId
from bson.binary import UuidRepresentation

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
from tests.conformance.doubles.mongodb import MongoDb, serving
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.adapters.stores.mongodb import MongoDbStore
from undrift.adapters.stores.mongodb.ids import id_of, text_of
from undrift.domain.record import NO_TAG, Document, DocumentId, Entry, Record, stamp, tag_for
from undrift.domain.route import VectorField
from undrift.domain.shape import with_vector
from undrift.domain.space import Metric
from undrift.errors import BadArgument, BadConfig, CollectionMissing, FieldInUse, StoreRejected
from undrift.ports.store import FieldDescription, Part

OBJECT_ID = ObjectId("65f000000000000000000001")
#: One id of each kind that people use, and texts that look like another kind.
IDS = [
    "plain",
    OBJECT_ID,
    "65f000000000000000000002",
    '{"$id": 1}',
    7,
    Int64(2**40),
    Binary.from_uuid(uuid.UUID(int=7), UuidRepresentation.STANDARD),
    {"tenant": "a", "n": 1},
    Decimal128("1.50"),
    True,
]


@pytest.fixture
def port() -> Iterator[int]:
    with serving(MongoDb()) as port:
        yield port


@pytest.fixture
def store(port: int) -> Iterator[MongoDbStore]:
    opened = MongoDbStore(f"mongodb://127.0.0.1:{port}/vectors", listing_s=0)
    yield opened
    opened.close()


@pytest.fixture
def vendor(port: int) -> Iterator[Any]:
    from pymongo import MongoClient

    client: Any = MongoClient(f"mongodb://127.0.0.1:{port}")
    yield client.vectors
    client.close()


def at(collection: str, model: HashingEmbedder = OLD) -> VectorField:
    return VectorField(store="main", collection=collection, space=model.space.id)


def made(*documents: Document, model: HashingEmbedder = OLD) -> list[Record]:
    vectors = np.asarray(model.embed_documents([one.text for one in documents]))
    return stamp(documents, vectors, space=model.space, sequences={})


def indexed(vendor: Any, name: str, dimensions: int, path: str = "embedding") -> None:
    """Make a collection with the search index that LangChain and LlamaIndex make."""
    from pymongo.operations import SearchIndexModel

    if name not in {one["name"] for one in vendor.list_collections()}:
        vendor.create_collection(name)
    field = {"type": "vector", "path": path, "numDimensions": dimensions, "similarity": "cosine"}
    vendor[name].create_search_index(SearchIndexModel({"fields": [field]}, name="vector_index", type="vectorSearch"))


def settings(port: int) -> str:
    return f'url = "mongodb://127.0.0.1:{port}/vectors"\nlisting_s = 0'


def langchain(vendor: Any, name: str, model: HashingEmbedder) -> Any:
    module = pytest.importorskip("langchain_mongodb")
    return module.MongoDBAtlasVectorSearch(
        vendor[name], for_langchain(model), index_name="vector_index", auto_create_index=False
    )


def llama_index(vendor: Any, name: str) -> Any:
    module = pytest.importorskip("llama_index.vector_stores.mongodb")
    from pymongo import AsyncMongoClient

    # It wants one, and does not use it here.
    unused: Any = AsyncMongoClient("mongodb://127.0.0.1", connect=False)
    return module.MongoDBAtlasVectorSearch(
        mongodb_client=vendor.client,
        async_mongodb_client=unused,
        db_name="vectors",
        collection_name=name,
        vector_index_name="vector_index",
    )


@pytest.mark.parametrize("id", IDS, ids=[type(one).__name__ + str(at) for at, one in enumerate(IDS)])
def test_an_id_of_any_type_is_a_text_and_itself_again(id: Any) -> None:
    said = text_of(id)

    assert (id_of(said), type(id_of(said))) == (id, type(id))
    assert len({text_of(one) for one in IDS}) == len(IDS)


@pytest.mark.parametrize(
    "text", ["", "7", "a b", '{"$id": ', '{"$id": nonsense}', '{"other": 1}', "65F000000000000000000001"]
)
def test_a_text_that_is_no_id_of_another_type_stays_a_text(text: str) -> None:
    assert id_of(text) == text


def test_documents_with_ids_of_all_types_are_read_written_and_deleted(store: MongoDbStore, vendor: Any) -> None:
    indexed(vendor, "mixed", 16)
    texts = [f"text {number}" for number in range(len(IDS))]
    vendor.mixed.insert_many(
        [
            {"_id": id, "text": text, "embedding": vector, "n": number}
            for number, (id, text, vector) in enumerate(zip(IDS, texts, floats(OLD, texts), strict=True))
        ]
    )
    field = at("mixed?as=langchain")
    said = [text_of(id) for id in IDS]

    assert store.ids(field, limit=99) == sorted(said)
    assert [one.id for one in store.scan(field, after=sorted(said)[2], limit=3)] == sorted(said)[3:6]
    found = store.fetch(field, [DocumentId(id) for id in said])
    assert [found[DocumentId(id)].text for id in said] == texts
    hits = store.search(field, np.asarray(OLD.embed_query(texts[6])), k=1)
    assert [hit.id for hit in hits] == [said[6]]
    store.upsert(field, made(*(Document(id=id, text=text + "!") for id, text in zip(said, texts, strict=True))))
    assert {one["text"] for one in vendor.mixed.find()} == {text + "!" for text in texts}
    store.merge_metadata(field, {DocumentId(id): {"k": 1} for id in said}, sequence=1)
    store.delete(field, [DocumentId(id) for id in said[1:]])
    assert [(one["_id"], one["k"]) for one in vendor.mixed.find()] == [("plain", 1)]


def test_metadata_that_json_does_not_have_survive(store: MongoDbStore, vendor: Any) -> None:
    indexed(vendor, "rich", 16)
    kept = {"when": datetime(2026, 1, 2, 3, 4, 5, 678000, UTC), "who": ObjectId(), "price": Decimal128("1.50")}
    vendor.rich.insert_one(
        {"_id": "a", "text": "x", "embedding": floats(OLD, ["x"])[0], "deep": {"in": [kept]}, **kept}
    )
    field, target = at("rich?as=langchain"), at("rich_new?as=langchain")
    entry = store.entries(field, [DocumentId("a")])[DocumentId("a")]
    json.dumps(entry.metadata)
    store.create(target, dimensions=16, metric=Metric.COSINE)

    store.upsert(target, made(Document(id="a", text="x", metadata=entry.metadata)))
    store.merge_metadata(field, {DocumentId("a"): {"n": 2**40}}, sequence=1)

    for name in ("rich", "rich_new"):
        found = vendor[name].find_one({"_id": "a"})
        assert found["when"].replace(tzinfo=UTC) == kept["when"]
        assert (found["who"], found["price"]) == (kept["who"], kept["price"])
        assert found["deep"]["in"][0]["who"] == kept["who"]
    assert vendor.rich.find_one({"_id": "a"})["n"] == 2**40
    for bad in ({"a.b": 1}, {"$x": 1}, {"text": 1}, {"deep": {"$where": 1}}, {"n": 2**70}):
        with pytest.raises(StoreRejected, match="document 'a' cannot be kept"):
            store.upsert(target, made(Document(id="a", text="x", metadata=bad)))


def test_what_langchain_wrote_is_read_tagged_and_written(store: MongoDbStore, vendor: Any) -> None:
    indexed(vendor, "docs", 16)
    rows = zip(TEXTS, floats(OLD, TEXTS), strict=True)
    vendor.docs.insert_many(
        [{"_id": f"i{n}", "text": text, "embedding": vector, "n": n} for n, (text, vector) in enumerate(rows)]
    )
    field = at("docs?as=langchain")

    assert store.describe(field) == FieldDescription(dimensions=16, metric=Metric.COSINE, count=4)
    assert [(one.id, one.text, one.metadata, one.tag) for one in store.scan(field, limit=9, parts=Part.TEXT)] == [
        (f"i{n}", text, {"n": n}, None) for n, text in enumerate(TEXTS)
    ]
    assert store.count(field, {"n": {"$gte": 2}}) == 2
    (hit,) = store.search(field, np.asarray(OLD.embed_query(TEXTS[1])), k=1, filter={"n": {"$lt": 3}})
    assert (hit.id, hit.score) == ("i1", pytest.approx(1, abs=1e-5))
    wanted = [
        Entry(id=DocumentId(id), text=text, metadata={}, tag=tag_for(text, OLD.space.id))
        for id, text in (("i0", TEXTS[0]), ("i1", "another text"), ("nobody", "x"))
    ]
    assert store.tag(field, wanted) == {"i0"}
    assert store.entries(field, [DocumentId("i0")])[DocumentId("i0")].tag == wanted[0].tag

    store.upsert(field, made(Document(id="i1", text="on Friday", metadata={"k": [1]})))
    store.insert_absent(field, made(Document(id="i2", text="not written"), Document(id="x", text="new")))
    store.delete(field, [DocumentId("i3"), DocumentId("i2")], filter={"n": 3})

    there = {one["_id"]: one for one in vendor.docs.find()}
    assert there.keys() == {"i0", "i1", "i2", "x"}
    assert there["i1"].keys() == {"_id", "text", "embedding", "k", "undrift"}
    assert there["i1"]["embedding"] == floats(OLD, ["on Friday"])[0]
    assert there["i2"]["text"] == TEXTS[2]
    untouched = at("docs?as=langchain&tags=ledger")
    store.upsert(
        untouched,
        [
            Record(id=one.id, text=one.text, metadata={}, vector=one.vector, tag=NO_TAG)
            for one in made(Document(id="i1", text="t"))
        ],
    )
    assert vendor.docs.find_one({"_id": "i1"}).keys() == {"_id", "text", "embedding"}
    with pytest.raises(FieldInUse):
        store.create(field, dimensions=16, metric=Metric.COSINE)
    with pytest.raises(BadArgument, match="cannot have a second vector"):
        store.attach(field, made(Document(id="i1", text="t")))
    assert store.describe(at(with_vector("docs?as=langchain", "embedding"))) is not None


def test_nodes_of_llama_index_keep_what_they_have(store: MongoDbStore, vendor: Any) -> None:
    """Written here as its package writes them."""
    from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict

    indexed(vendor, "nodes", 16)
    for node in nodes_of(TEXTS):
        metadata = node_to_metadata_dict(node, remove_text=True, flat_metadata=False)
        vendor.nodes.insert_one(
            {"_id": node.node_id, "embedding": node.embedding, "text": node.text, "metadata": metadata}
        )
    field = at("nodes?as=llama_index")
    entry = store.entries(field, [DocumentId("n2")])[DocumentId("n2")]
    assert (entry.text, entry.metadata["n"], entry.metadata["ref_doc_id"]) == (TEXTS[2], 2, "file 2")

    store.merge_metadata(field, {DocumentId("n2"): {"lang": "no"}}, sequence=1)
    store.upsert(field, made(Document(id="x", text="new", metadata={"n": 9})))

    for id, metadata, source in (("n2", {"n": 2, "lang": "no"}, "file 2"), ("x", {"n": 9}, None)):
        node = metadata_dict_to_node(vendor.nodes.find_one({"_id": id})["metadata"])
        assert (node.node_id, node.metadata, node.ref_doc_id) == (id, metadata, source)
    assert store.entries(field, [DocumentId("n2")])[DocumentId("n2")].metadata == {**entry.metadata, "lang": "no"}


def test_a_collection_of_langchain_is_adopted_migrated_and_read_back(tmp_path: Path, port: int, vendor: Any) -> None:
    ids = [str(ObjectId(f"{number:024x}")) for number in range(1, len(MANY) + 1)]
    indexed(vendor, "kb_chain", 16)
    vendor.kb_chain.insert_many(
        [
            {"_id": ObjectId(id), "text": text, "embedding": vector, "n": number}
            for number, (id, text, vector) in enumerate(zip(ids, MANY, floats(OLD, MANY), strict=True))
        ]
    )

    moved = adopted_and_moved(tmp_path, settings(port), "kb_chain?as=langchain", ids=ids, tags="payload")

    name, _, said = moved.partition("?")
    assert said == "as=langchain"
    first = vendor[name].find_one({"_id": ObjectId(ids[0])})
    assert (first["text"], first["n"], first["embedding"]) == (
        "written through undrift",
        -1,
        floats(NEW, ["written through undrift"])[0],
    )
    assert vendor[name].find_one({"_id": ObjectId(ids[1])}) is None
    assert {one["name"] for one in vendor[name].list_search_indexes()} == {"vector_index"}


def test_langchain_itself_reads_back_what_was_migrated(tmp_path: Path, port: int, vendor: Any) -> None:
    ids = [f"d{number}" for number in range(len(MANY))]
    theirs = langchain(vendor, "kb", OLD)
    indexed(vendor, "kb", 16)
    theirs.add_texts(MANY, metadatas=[{"n": number} for number in range(len(MANY))], ids=ids)

    moved = adopted_and_moved(tmp_path, settings(port), "kb?as=langchain", ids=ids, tags="ledger")

    again = langchain(vendor, moved.partition("?")[0], NEW)
    (hit,) = again.similarity_search("written through undrift", k=1)
    assert (hit.page_content, hit.metadata) == ("written through undrift", {"_id": "d0", "n": -1})
    again.add_texts(["written by LangChain again"], ids=["new"])
    assert again.similarity_search("written by LangChain again", k=1)[0].metadata["_id"] == "new"


def test_llama_index_itself_reads_back_what_was_migrated(tmp_path: Path, port: int, vendor: Any) -> None:
    theirs = llama_index(vendor, "manual")
    theirs.add(nodes_of(MANY))
    indexed(vendor, "manual", 16)
    ids = [f"n{number}" for number in range(len(MANY))]

    moved = adopted_and_moved(tmp_path, settings(port), "manual?as=llama_index", ids=ids, tags="payload")

    again = llama_index(vendor, moved.partition("?")[0])
    node = nearest_node(again, NEW, "written through undrift")
    assert (node.node_id, node.text, node.metadata) == ("n0", "written through undrift", {"n": -1})
    node = nearest_node(again, NEW, MANY[9])
    assert (node.node_id, node.text, node.metadata, node.ref_doc_id) == ("n9", MANY[9], {"n": 9}, "file 9")


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("docs?as=haystack", BadConfig),
        ("docs?as=langchain&id=key", BadConfig),
        ("nothing_there?as=langchain", CollectionMissing),
    ],
)
def test_an_address_that_does_not_fit_is_refused(store: MongoDbStore, address: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        store.count(at(address))
