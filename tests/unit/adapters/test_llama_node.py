"""A node of LlamaIndex is the same document in every store, and goes from one to another with everything it has."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from undrift.adapters import llama_node
from undrift.adapters.stores.chroma import foreign as chroma
from undrift.adapters.stores.elastic import foreign as elastic
from undrift.adapters.stores.elastic.places import Places as ElasticPlaces
from undrift.adapters.stores.pgvector import nodes as pgvector
from undrift.adapters.stores.qdrant.payload import PayloadShape, payload_shape
from undrift.adapters.stores.qdrant.points import Point
from undrift.domain.record import DocumentId, Record, tag_from_stored
from undrift.domain.shape import split_address
from undrift.errors import StoreRejected

SHAPE = split_address("nodes?as=llama_index&tags=ledger")[1]
ELASTIC = ElasticPlaces(text="content", metadata="metadata", vector="embedding", shape=SHAPE)
QDRANT: PayloadShape = payload_shape("nodes", SHAPE)
#: What LlamaIndex has in every node.
USUAL = {
    "excluded_embed_metadata_keys": [],
    "excluded_llm_metadata_keys": [],
    "relationships": {},
    "metadata_template": "{key}: {value}",
    "metadata_separator": "\n",
    "mimetype": "text/plain",
    "start_char_idx": None,
    "end_char_idx": None,
    "text_template": "{metadata_str}\n\n{content}",
    "class_name": "TextNode",
}
CHUNK = {**USUAL, "relationships": {"1": {"node_id": "file"}}, "start_char_idx": 7, "end_char_idx": 9}


def stored(
    node: dict[str, Any], metadata: dict[str, Any], *, inside: dict[str, Any] | None = None, text: str = ""
) -> dict[str, Any]:
    """What LlamaIndex puts beside a vector."""
    whole = {**node, "id_": "n", "embedding": None, "metadata": metadata if inside is None else inside, "text": text}
    source = node.get("relationships", {}).get("1", {}).get("node_id", "None")
    return {
        **metadata,
        "_node_content": json.dumps(whole),
        "_node_type": node["class_name"],
        **dict.fromkeys(("document_id", "doc_id", "ref_doc_id"), source),
    }


def record(text: str, metadata: dict[str, Any]) -> Record:
    return Record(
        id=DocumentId("n"), text=text, metadata=metadata, vector=np.ones(2, np.float32), tag=tag_from_stored("", "", 0)
    )


def through_chroma(one: Record) -> tuple[dict[str, Any], dict[str, Any]]:
    flat, _ = chroma.encoded(one, SHAPE)
    return flat, chroma.metadata_from(flat, SHAPE)


def through_elastic(one: Record) -> tuple[dict[str, Any], dict[str, Any]]:
    source = elastic.source(ELASTIC, one)
    return source["metadata"], elastic.metadata(ELASTIC, source)


def through_qdrant(one: Record) -> tuple[dict[str, Any], dict[str, Any]]:
    payload = QDRANT.packed(one, keeps_floats=False)
    return payload, QDRANT.metadata_of(Point(id="n", payload=payload))


def through_pgvector(one: Record) -> tuple[dict[str, Any], dict[str, Any]]:
    (dressed,) = pgvector.dressed([one])
    ((_, read, _),) = pgvector.shown([("n", json.dumps(dict(dressed.metadata)), None)])
    return dict(dressed.metadata), json.loads(read)


THROUGH = {
    "chroma": through_chroma,
    "elastic": through_elastic,
    "qdrant": through_qdrant,
    "pgvector": through_pgvector,
}


@pytest.mark.parametrize("name", THROUGH)
def test_a_store_writes_a_chunk_as_llama_index_does_and_reads_it_alike(name: str) -> None:
    theirs = stored(CHUNK, {"n": 1, "s": "é"})
    metadata = llama_node.read(theirs)

    written, read = THROUGH[name](record("the text", metadata))

    assert read == metadata
    assert {key: written[key] for key in theirs if key != "_node_content"} == {
        key: value for key, value in theirs.items() if key != "_node_content"
    }
    node = json.loads(written["_node_content"])
    assert node == json.loads(theirs["_node_content"]) | {"text": "the text" if name == "qdrant" else ""}


@pytest.mark.parametrize("name", THROUGH)
def test_a_document_that_no_framework_wrote_becomes_a_node_that_says_nothing_more(name: str) -> None:
    written, read = THROUGH[name](record("the text", {"n": 1}))

    assert read == {"n": 1}
    node = json.loads(written["_node_content"])
    assert {key: node[key] for key in USUAL} == USUAL
    assert (node["id_"], node["metadata"], written["_node_type"]) == ("n", {"n": 1}, "TextNode")


@pytest.mark.parametrize("name", THROUGH)
def test_what_is_no_node_is_refused_where_nodes_are_kept(name: str) -> None:
    with pytest.raises(StoreRejected, match="'_node_content' of document 'n' is no node") as caught:
        THROUGH[name](record("the text", {"_node_content": "not JSON"}))

    assert caught.value.hint is not None


def test_metadata_name_the_document_of_a_node_and_what_is_usual_is_left_out() -> None:
    assert llama_node.read(stored(USUAL, {"n": 1})) == {"n": 1}

    metadata = llama_node.read(stored(CHUNK, {"n": 1}))

    assert metadata.keys() == {"n", "_node_content", "document_id", "doc_id", "ref_doc_id"}
    assert metadata["ref_doc_id"] == "file"
    assert json.loads(metadata["_node_content"]) == CHUNK


def test_a_node_that_earlier_versions_kept_whole_or_as_an_object_is_written_as_one_that_is_read_now() -> None:
    metadata = llama_node.read(stored(CHUNK, {"n": 1}))
    whole = stored(CHUNK, {"n": 1})["_node_content"]

    for earlier in (whole, json.loads(whole), CHUNK):
        assert llama_node.written("n", "t", {**metadata, "_node_content": earlier}) == llama_node.written(
            "n", "t", metadata
        )


def test_a_change_touches_the_keys_that_change_and_the_copy_of_them_in_the_node() -> None:
    theirs = stored(CHUNK, {"n": 1, "s": "x"}, text="inside")

    changes = llama_node.changed("n", theirs, {"n": None, "new": [1]})

    assert changes.keys() == {"n", "new", "_node_content"}
    node = json.loads(changes["_node_content"])
    assert node == json.loads(theirs["_node_content"]) | {"metadata": {"n": None, "s": "x", "new": [1]}}


def test_a_change_of_a_value_to_an_equal_one_of_another_type_is_one() -> None:
    changes = llama_node.changed("n", stored(USUAL, {"n": 1}), {"n": True})

    assert changes["n"] is True
    assert json.loads(changes["_node_content"])["metadata"]["n"] is True


@pytest.mark.parametrize("content", [{}, {"_node_content": "not JSON"}, {"_node_content": None}], ids=repr)
def test_a_change_makes_no_node_where_there_is_none(content: dict[str, Any]) -> None:
    assert llama_node.changed("n", {"n": 1, **content}, {"n": 2}) == {"n": 2}


def test_the_text_of_a_node_that_may_have_pictures_is_read_and_replaced() -> None:
    rich = {
        "class_name": "Node",
        "relationships": {},
        "text_resource": {"embeddings": None, "text": "old", "path": "a.md", "url": None, "mimetype": None},
        "image_resource": {"url": "a.png"},
    }
    theirs = stored(rich, {})
    assert llama_node.text_in(theirs) == "old"
    metadata = llama_node.read(theirs)
    assert "old" not in json.dumps(metadata)

    node = json.loads(llama_node.written("n", "new", metadata)["_node_content"])

    assert node["text_resource"] == {"embeddings": None, "text": "new", "path": "a.md", "url": None, "mimetype": None}
    assert node["image_resource"] == {"url": "a.png"}


def test_such_a_node_gets_its_text_back_when_it_comes_from_a_store_that_has_texts_elsewhere() -> None:
    elsewhere = stored({"class_name": "Node", "relationships": {}, "image_resource": None}, {})

    node = json.loads(llama_node.written("n", "the text", llama_node.read(elsewhere))["_node_content"])

    assert node["text_resource"] == {"text": "the text"}


def test_qdrant_believes_the_node_whose_numbers_are_exact() -> None:
    exact = {"n": 0.1 + 0.2, "none": None}
    theirs = stored(CHUNK, {"n": 0.3}, inside=exact, text="inside")
    point = Point(id="n", payload=theirs)

    assert QDRANT.text_of(point) == "inside"
    assert {key: QDRANT.metadata_of(point)[key] for key in exact} == exact
    changed = QDRANT.changed_node(point, {"s": None})
    assert json.loads(changed["_node_content"])["metadata"] == {**exact, "s": None}
    assert json.loads(changed["_node_content"])["text"] == "inside"


def test_a_point_without_a_node_has_the_metadata_of_its_payload() -> None:
    assert QDRANT.metadata_of(Point(id="n", payload={"n": 1, "undrift_space": "s"})) == {"n": 1}
    assert QDRANT.changed_node(Point(id="n", payload={"n": 1}), {"n": 2}) == {}
