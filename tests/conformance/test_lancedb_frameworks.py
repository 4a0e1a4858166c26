"""Tables that LangChain and LlamaIndex write in LanceDB are migrated, and the same software reads them back."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("lancedb")
pytest.importorskip("lance")

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
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.adapters.stores.lancedb import LanceDbStore
from undrift.domain.record import NO_TAG, Document, DocumentId, Record, stamp, tag_for
from undrift.domain.route import VectorField
from undrift.domain.space import Metric
from undrift.errors import BadConfig, CollectionMissing, FieldInUse, StoreRejected
from undrift.ports.store import Entry, FieldDescription, Part

# LlamaIndex's package asks LanceDB for its tables in a way that LanceDB warns of.
pytestmark = pytest.mark.filterwarnings("ignore:table_names:DeprecationWarning")
IDS = ["i0", "i1", "i2", "i3"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "vectors"


@pytest.fixture
def store(folder: Path) -> Iterator[LanceDbStore]:
    opened = LanceDbStore(str(folder))
    yield opened
    opened.close()


def at(collection: str, model: HashingEmbedder = OLD) -> VectorField:
    return VectorField(store="main", collection=collection, space=model.space.id)


def made(*documents: Document, model: HashingEmbedder = OLD) -> list[Record]:
    vectors = np.asarray(model.embed_documents([one.text for one in documents]))
    return stamp(documents, vectors, space=model.space, sequences={})


def langchain(folder: Path, table: str, model: HashingEmbedder) -> Any:
    return pytest.importorskip("langchain_lancedb").LanceDB(for_langchain(model), uri=folder, table_name=table)


def llama_index(folder: Path, table: str) -> Any:
    module = pytest.importorskip("llama_index.vector_stores.lancedb")
    return module.LanceDBVectorStore(uri=str(folder), table_name=table)


def older_langchain(folder: Path, table: str, model: HashingEmbedder) -> Any:
    """The table of the community package, whose metadata are a struct."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module = pytest.importorskip("langchain_community.vectorstores")
        return module.LanceDB(
            embedding=for_langchain(model), uri=str(folder), table_name=table, mode="append", distance="cosine"
        )


def without_tag(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if key != "source"}


@pytest.mark.parametrize("tags", ["payload", "ledger"])
def test_a_table_of_langchain_is_adopted_migrated_and_read_back(tmp_path: Path, folder: Path, tags: str) -> None:
    ids = [f"d{number}" for number in range(len(MANY))]
    theirs = langchain(folder, "kb_chain", OLD)
    theirs.add_texts(MANY, metadatas=[{"n": number, "deep": {"a": [1]}} for number in range(len(MANY))], ids=ids)

    moved = adopted_and_moved(tmp_path, 'url = "lancedb:vectors"', "kb_chain?as=langchain", ids=ids, tags=tags)

    table, _, said = moved.partition("?")
    assert said.startswith("as=langchain")
    again = langchain(folder, table, NEW)
    (hit,) = again.similarity_search("written through undrift", k=1)
    assert (hit.page_content, without_tag(hit.metadata)) == ("written through undrift", {"n": -1})
    (hit,) = again.similarity_search(MANY[9], k=1)
    assert (hit.page_content, without_tag(hit.metadata)) == (MANY[9], {"n": 9, "deep": {"a": [1]}})
    assert MANY[1] not in {one.page_content for one in again.similarity_search(MANY[1], k=99)}
    again.add_texts(["written by LangChain again"], ids=["new"])
    assert again.similarity_search("written by LangChain again", k=1)[0].page_content == "written by LangChain again"


def test_a_table_of_llama_index_is_adopted_migrated_and_read_back(tmp_path: Path, folder: Path) -> None:
    llama_index(folder, "manual").add(nodes_of(MANY))
    ids = [f"n{number}" for number in range(len(MANY))]

    moved = adopted_and_moved(tmp_path, 'url = "lancedb:vectors"', "manual?as=llama_index", ids=ids, tags="payload")

    again = llama_index(folder, moved.partition("?")[0])
    node = nearest_node(again, NEW, "written through undrift")
    assert (node.node_id, node.text, node.metadata) == ("n0", "written through undrift", {"n": -1})
    node = nearest_node(again, NEW, MANY[9])
    assert (node.node_id, node.text, node.metadata, node.ref_doc_id) == ("n9", MANY[9], {"n": 9}, "file 9")
    # What its `delete` and `delete_nodes` ask for, this version of LanceDB takes for the name of a column.
    again.table.delete("doc_id = 'file 9'")
    again.add(nodes_of(["closed on Sunday"], NEW, ids=["later"]))
    assert nearest_node(again, NEW, "closed on Sunday").node_id == "later"
    assert nearest_node(again, NEW, MANY[9]).node_id != "n9"


def test_what_langchain_wrote_is_read_and_what_undrift_wrote_is_read_by_it(store: LanceDbStore, folder: Path) -> None:
    theirs = langchain(folder, "docs", OLD)
    theirs.add_texts(TEXTS, metadatas=[{"n": n, "none": None, "tags": ["a"]} for n in range(4)], ids=IDS)
    field = at("docs?as=langchain")

    assert store.describe(field) == FieldDescription(dimensions=16, metric=Metric.L2, count=4)
    entries = store.scan(field, limit=3, parts=Part.TEXT) + store.scan(field, after="i2", limit=9, parts=Part.TEXT)
    assert [(one.id, one.text, one.tag) for one in entries] == [
        (id, text, None) for id, text in zip(IDS, TEXTS, strict=True)
    ]
    assert entries[2].metadata == {"n": 2, "none": None, "tags": ["a"]}
    assert store.count(field, {"n": {"$gte": 2}}) == 2
    (hit,) = store.search(field, np.asarray(OLD.embed_query(TEXTS[1])), k=1, filter={"n": {"$lt": 3}})
    assert (hit.id, hit.text, hit.score) == ("i1", TEXTS[1], pytest.approx(0, abs=1e-3))

    store.upsert(
        field, made(Document(id="i1", text="on Friday", metadata={"n": 9}), Document(id="x", text="to Norway"))
    )
    store.merge_metadata(field, {DocumentId("i0"): {"lang": "en"}, DocumentId("nobody"): {"a": 1}}, sequence=3)
    store.insert_absent(field, made(Document(id="i2", text="not written")))
    store.delete(field, [DocumentId("i3"), DocumentId("i2")], filter={"n": 3})

    again = langchain(folder, "docs", OLD)
    assert [one.page_content for one in again.similarity_search("to Norway", k=1)] == ["to Norway"]
    (first,) = again.similarity_search(TEXTS[0], k=1)
    assert without_tag(first.metadata) == {"n": 0, "none": None, "tags": ["a"], "lang": "en"}
    assert store.ids(field, limit=9) == ["i0", "i1", "i2", "x"]
    found = store.fetch(field, [DocumentId("i1"), DocumentId("i0"), DocumentId("i2")])
    assert found[DocumentId("i1")].tag == made(Document(id="i1", text="on Friday"))[0].tag
    assert (found[DocumentId("i0")].tag, found[DocumentId("i2")].text) == (NO_TAG, TEXTS[2])
    theirs.add_texts(["written by a handle that is old"], ids=["old"])
    assert store.entries(field, [DocumentId("old")])[DocumentId("old")].tag is None


def test_a_tag_is_put_beside_a_text_that_is_still_the_same(store: LanceDbStore, folder: Path) -> None:
    theirs = langchain(folder, "tagged", OLD)
    theirs.add_texts(TEXTS[:2], ids=IDS[:2])
    field = at("tagged?as=langchain")
    wanted = [
        Entry(id=DocumentId(id), text=text, metadata={}, tag=tag_for(text, OLD.space.id))
        for id, text in (("i0", TEXTS[0]), ("i1", "another text"), ("nobody", "x"))
    ]

    assert store.tag(field, wanted) == {"i0"}

    tags = {one.id: one.tag for one in store.scan(field, limit=9)}
    assert tags == {"i0": wanted[0].tag, "i1": None}


def test_an_id_that_was_written_twice_is_the_one_written_last(store: LanceDbStore, folder: Path) -> None:
    theirs = langchain(folder, "twice", OLD)
    theirs.add_texts(TEXTS[:3], ids=IDS[:3])
    theirs.add_texts(["written again", "and again"], ids=["i1", "i1"])
    field = at("twice?as=langchain")

    assert store.describe(field) == FieldDescription(dimensions=16, metric=Metric.L2, count=3)
    assert store.ids(field, limit=2) == ["i0", "i1"]
    assert [one.text for one in store.scan(field, limit=2, parts=Part.TEXT)] == [TEXTS[0], "and again"]
    hits = store.search(field, np.asarray(OLD.embed_query(TEXTS[1])), k=3)
    assert sorted((hit.id, hit.text) for hit in hits) == [("i0", TEXTS[0]), ("i1", "and again"), ("i2", TEXTS[2])]
    store.merge_metadata(field, {DocumentId("i1"): {"a": 1}}, sequence=1)
    (entry,) = store.entries(field, [DocumentId("i1")]).values()
    assert (entry.text, entry.metadata) == ("and again", {"a": 1})
    store.delete(field, [DocumentId("i1")])
    assert store.ids(field, limit=9) == ["i0", "i2"]


def test_nodes_keep_what_else_they_have_and_their_table_gets_fields_as_they_come(
    store: LanceDbStore, folder: Path
) -> None:
    theirs = llama_index(folder, "nodes")
    theirs.add(nodes_of(TEXTS))
    field, target = at("nodes?as=llama_index"), at("nodes_new?as=llama_index", NEW)
    entry = store.entries(field, [DocumentId("n2")])[DocumentId("n2")]
    assert (entry.text, entry.metadata["n"], entry.metadata["ref_doc_id"]) == (TEXTS[2], 2, "file 2")

    store.create(target, dimensions=24, metric=Metric.COSINE)
    with pytest.raises(FieldInUse):
        store.create(target, dimensions=24, metric=Metric.COSINE)
    moved = [
        Document(id=one.id, text=one.text or "", metadata=one.metadata)
        for one in store.scan(field, limit=9, parts=Part.TEXT)
    ]
    store.upsert(target, made(*moved, model=NEW))
    store.upsert(target, made(Document(id="x", text="new", metadata={"n": 4, "lang": "en", "part": 0.5}), model=NEW))
    store.merge_metadata(target, {DocumentId("n1"): {"lang": "no"}}, sequence=2)

    assert store.describe(target) == FieldDescription(dimensions=24, metric=Metric.COSINE, count=5)
    there = {one.id: one for one in store.scan(target, limit=9, parts=Part.TEXT)}
    assert there[DocumentId("n2")].metadata == entry.metadata
    assert there[DocumentId("x")].metadata == {"n": 4, "lang": "en", "part": 0.5}
    assert there[DocumentId("n1")].metadata["lang"] == "no"
    again = llama_index(folder, "nodes_new")
    node = nearest_node(again, NEW, TEXTS[1])
    assert (node.node_id, node.metadata, node.ref_doc_id) == ("n1", {"n": 1, "lang": "no"}, "file 1")
    node = nearest_node(again, NEW, "new")
    assert (node.node_id, node.text, node.metadata) == ("x", "new", {"n": 4, "lang": "en", "part": 0.5})

    # A table of theirs is not made anew: LlamaIndex itself could not write such a key to it.
    with pytest.raises(StoreRejected, match="have no field 'lang'"):
        store.upsert(field, made(Document(id="x", text="new", metadata={"lang": "en"})))
    with pytest.raises(StoreRejected, match="the metadata of document 'x'"):
        store.upsert(field, made(Document(id="x", text="new", metadata={"n": "four"})))
    with pytest.raises(StoreRejected, match="is null"):
        store.upsert(field, made(Document(id="x", text="new", metadata={"n": None})))
    assert store.count(field) == 4


def test_a_table_of_the_older_package_of_langchain_is_read_and_written(store: LanceDbStore, folder: Path) -> None:
    theirs = older_langchain(folder, "older", OLD)
    theirs.add_texts(TEXTS, metadatas=[{"n": n, "s": "x"} for n in range(4)], ids=IDS)
    field = at("older?as=langchain")

    store.upsert(field, made(Document(id="i1", text="on Friday", metadata={"n": 9})))

    assert store.entries(field, [DocumentId("i0")])[DocumentId("i0")].metadata == {"n": 0, "s": "x"}
    (hit,) = older_langchain(folder, "older", OLD).similarity_search("on Friday", k=1)
    assert (hit.page_content, hit.metadata) == ("on Friday", {"n": 9, "s": None})


def test_columns_may_be_called_otherwise_and_a_text_be_elsewhere(store: LanceDbStore, folder: Path) -> None:
    import lancedb
    import pyarrow as pa

    vectors = pa.array(floats(OLD, TEXTS), pa.list_(pa.float32(), 16))
    rows = pa.table({"Key": IDS, "body": TEXTS, "meta": ["{}"] * 4, "Vec": vectors})
    lancedb.connect(str(folder)).create_table("named", data=rows)
    field = at("named?id=Key&text=body&metadata=meta&vector=Vec")
    without = at("named?id=Key&text=-&metadata=meta&vector=Vec&tags=ledger")

    store.upsert(field, made(Document(id="i1", text="on Friday", metadata={"n": 9})))
    assert [one.text for one in store.scan(field, limit=9, parts=Part.TEXT)] == [TEXTS[0], "on Friday", *TEXTS[2:]]
    assert store.fetch(without, [DocumentId("i1")])[DocumentId("i1")].text == ""
    store.upsert(without, made(Document(id="i2", text="elsewhere")))
    assert store.entries(field, [DocumentId("i2")])[DocumentId("i2")].text == TEXTS[2]


def by_hand(folder: Path, name: str, texts: list[str], model: HashingEmbedder = OLD) -> Any:
    """A table as a program makes it that uses LanceDB by itself: what it knows of a document has a column each."""
    import lancedb
    import pyarrow as pa

    count = len(texts)
    other = pa.array([[float(number), 1.0] for number in range(count)], pa.list_(pa.float32(), 2))
    columns = {
        "id": [f"i{number}" for number in range(count)],
        "text": texts,
        "n": list(range(count)),
        "tags": pa.array([["a", "b"]] * count, pa.list_(pa.string())),
        "vector": pa.array(floats(model, texts), pa.list_(pa.float32(), 16)),
        "picture": other,
    }
    return lancedb.connect(str(folder)).create_table(name, data=pa.table(columns))


def test_metadata_may_have_columns_of_their_own(store: LanceDbStore, folder: Path) -> None:
    theirs, field = by_hand(folder, "plain", TEXTS), at("plain?metadata=*&tags=ledger")

    assert store.describe(field) == FieldDescription(dimensions=16, metric=Metric.L2, count=4)
    entries = store.scan(field, limit=9, parts=Part.TEXT)
    assert [(one.id, one.text, one.metadata) for one in entries] == [
        (id, text, {"n": number, "tags": ["a", "b"]}) for number, (id, text) in enumerate(zip(IDS, TEXTS, strict=True))
    ]
    assert store.count(field, {"n": {"$gte": 2}}) == 2
    (hit,) = store.search(field, np.asarray(OLD.embed_query(TEXTS[1])), k=1, filter={"n": {"$lt": 3}})
    assert (hit.id, hit.metadata["n"]) == ("i1", 1)

    store.upsert(field, made(Document(id="i1", text="on Friday", metadata={"n": 9})))
    store.insert_absent(field, made(Document(id="new", text="on Sunday", metadata={"tags": []})))
    store.merge_metadata(field, {DocumentId("i0"): {"tags": ["c"]}}, sequence=3)
    store.delete(field, [DocumentId("i3"), DocumentId("i2")], filter={"n": 3})

    theirs.checkout_latest()
    rows = {row["id"]: row for row in theirs.to_arrow().to_pylist()}
    assert {id: (row["text"], row["n"], row["tags"]) for id, row in rows.items()} == {
        "i0": (TEXTS[0], 0, ["c"]),
        "i1": ("on Friday", 9, None),
        "i2": (TEXTS[2], 2, ["a", "b"]),
        "new": ("on Sunday", None, []),
    }
    assert [rows[id]["picture"] for id in ("i0", "i1", "i2")] == [[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]]
    with pytest.raises(StoreRejected, match="have no field 'lang'"):
        store.upsert(field, made(Document(id="x", text="x", metadata={"lang": "en"})))
    with pytest.raises(StoreRejected, match="its column picture is another part of the record"):
        store.upsert(field, made(Document(id="x", text="x", metadata={"picture": 1})))
    with pytest.raises(StoreRejected, match="would change"):
        store.upsert(field, made(Document(id="x", text="x", metadata={"n": 1.5})))


def test_a_table_made_by_hand_is_adopted_migrated_and_read_back(tmp_path: Path, folder: Path) -> None:
    import lancedb

    by_hand(folder, "plain", MANY)
    ids = [f"i{number}" for number in range(len(MANY))]

    target = adopted_and_moved(tmp_path, f'url = "lancedb:{folder}"', "plain?metadata=*", ids=ids, tags="payload")

    name = target.partition("?")[0]
    rows = {row["id"]: row for row in lancedb.connect(str(folder)).open_table(name).to_arrow().to_pylist()}
    assert (rows["i0"]["text"], rows["i0"]["n"], rows["i0"]["tags"]) == ("written through undrift", -1, None)
    assert (rows["i9"]["text"], rows["i9"]["n"], rows["i9"]["tags"]) == (MANY[9], 9, ["a", "b"])
    assert "i1" not in rows


@pytest.mark.parametrize(
    ("address", "error", "words"),
    [
        ("docs?as=haystack", BadConfig, "as= can be langchain or llama_index"),
        ("docs?as=langchain&metadata=*", BadConfig, "whose metadata are in one column"),
        ("dated?metadata=*", StoreRejected, r"at is timestamp\[us\], which no metadata are"),
        ("dated?text=text", StoreRejected, r"metadata=\* is all other columns"),
        ("docs?as=langchain&vector=v2", StoreRejected, "v2 is not there"),
        ("docs", CollectionMissing, r"docs\?as=langchain"),
        ("nothing?as=langchain", CollectionMissing, "has no collection nothing"),
    ],
)
def test_an_address_that_does_not_fit_is_refused_with_what_would(
    store: LanceDbStore, folder: Path, address: str, error: type[Exception], words: str
) -> None:
    import lancedb
    import pyarrow as pa

    langchain(folder, "docs", OLD).add_texts(TEXTS, ids=IDS)
    dated = pa.schema([("id", pa.string()), ("text", pa.string()), ("at", pa.timestamp("us"))])
    dated = dated.append(pa.field("vector", pa.list_(pa.float32(), 16)))
    lancedb.connect(str(folder)).create_table("dated", schema=dated)

    with pytest.raises(error) as refused:
        store.count(at(address))

    said = " ".join(filter(None, (str(refused.value), *map(str, vars(refused.value).values()))))
    assert re.search(words, said), said
