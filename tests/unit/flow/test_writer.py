"""The three kinds of write: what they touch, what they need, and what they refuse before anything is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from undrift import Document
from undrift.adapters.embedders.callable import CallableEmbedder
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.adapters.stores.memory import MemoryStore
from undrift.domain.record import DocumentId, content_hash
from undrift.domain.route import VectorField
from undrift.domain.space import Metric
from undrift.errors import BadDocument, EmbedderRejected, TextTooLong
from undrift.flow.embed import EmbeddingDoor
from undrift.flow.writer import Delete, MergeMetadata, Upsert, checked, checked_ids
from undrift.testing.clock import VirtualClock

DOCUMENTS = [Document(id="a", text="the first"), Document(id="b", text="the second", metadata={"n": 2})]


class Refusing(HashingEmbedder):
    """Refuses what has a certain word in it."""

    def __init__(self, error: type[Exception]) -> None:
        super().__init__(dimensions=8)
        self.error = error

    def embed_documents(self, texts: Sequence[str]) -> Any:
        if any("bad" in text for text in texts):
            raise self.error("it has a bad word", "so it said")
        return super().embed_documents(texts)


def door_to(model: Any) -> EmbeddingDoor:
    return EmbeddingDoor(model, clock=VirtualClock())


@pytest.fixture
def door() -> EmbeddingDoor:
    return door_to(HashingEmbedder(dimensions=8))


@pytest.fixture
def field(door: EmbeddingDoor) -> VectorField:
    return VectorField(store="main", collection="kb", space=door.space.id)


@pytest.fixture
def store(field: VectorField) -> MemoryStore:
    store = MemoryStore()
    store.create(field, dimensions=8, metric=Metric.COSINE)
    return store


def test_an_upsert_stamps_every_record_with_space_hash_and_sequence(
    door: EmbeddingDoor, field: VectorField, store: MemoryStore
) -> None:
    upsert = Upsert(documents=DOCUMENTS, door_of=lambda _: door)
    prepared = upsert.prepare(field.space)

    upsert.send(store, field, prepared, 7)

    found = store.fetch(field, [DocumentId("a"), DocumentId("b")])
    assert upsert.keys == ["a", "b"]
    for document in DOCUMENTS:
        record = found[DocumentId(document.id)]
        assert (record.text, record.metadata) == (document.text, document.metadata)
        assert (record.tag.space, record.tag.content, record.tag.sequence) == (
            field.space,
            content_hash(document.text),
            7,
        )


@pytest.mark.parametrize(("given", "raised"), [(TextTooLong, TextTooLong), (EmbedderRejected, EmbedderRejected)])
def test_a_text_that_cannot_be_embedded_refuses_the_write_and_is_named(
    given: type[Exception], raised: type[Exception]
) -> None:
    door = door_to(Refusing(given))
    upsert = Upsert(documents=[*DOCUMENTS, Document(id="c", text="a bad one")], door_of=lambda _: door)

    with pytest.raises(raised, match="document 'c' cannot be embedded") as refused:
        upsert.prepare(door.space.id)

    assert "it has a bad word" in refused.value.detail
    assert "nothing of this call was written" in refused.value.hint


def test_a_text_whose_vector_has_no_direction_refuses_the_write() -> None:
    model = CallableEmbedder(
        function=lambda texts: [[0.0, 0.0] if "zero" in text else [1.0, 0.0] for text in texts], dimensions=2, name="m"
    )
    door = door_to(model)

    with pytest.raises(EmbedderRejected, match="'z' cannot be embedded"):
        Upsert(documents=[*DOCUMENTS, Document(id="z", text="zero")], door_of=lambda _: door).prepare(door.space.id)


def test_a_delete_applies_its_filter_once_more(door: EmbeddingDoor, field: VectorField, store: MemoryStore) -> None:
    """What matched when the ids were looked up may have been written since."""
    upsert = Upsert(documents=DOCUMENTS, door_of=lambda _: door)
    upsert.send(store, field, upsert.prepare(field.space), 0)
    delete = Delete(keys=[DocumentId("a"), DocumentId("b")], filter={"n": 2})

    assert delete.prepare(field.space) is None
    delete.send(store, field, None, 0)

    assert store.ids(field, limit=10) == ["a"]


def test_metadata_is_merged_without_an_embedding(door: EmbeddingDoor, field: VectorField, store: MemoryStore) -> None:
    upsert = Upsert(documents=DOCUMENTS, door_of=lambda _: door)
    upsert.send(store, field, upsert.prepare(field.space), 1)
    merge = MergeMetadata(keys=[DocumentId("b"), DocumentId("nobody")], changes={"lang": "en"})

    assert merge.prepare(field.space) is None
    merge.send(store, field, None, 5)

    found = store.fetch(field, [DocumentId("b"), DocumentId("nobody")])
    assert list(found) == ["b"]
    assert found[DocumentId("b")].metadata == {"n": 2, "lang": "en"}
    assert found[DocumentId("b")].tag.sequence == 5


@pytest.mark.parametrize(
    "wrong",
    [
        Document(id="", text="x"),
        Document(id="x", text=""),
        Document(id="x", text=" \n\t\u3000 "),
        Document(id="x\n", text="x"),
        Document(id="x" * 513, text="x"),
        Document(id="x", text="x\ud800"),
        Document(id="x", text="x", metadata={"n": float("nan")}),
        Document(id="x", text="x", metadata={"n": {1}}),
        replace(DOCUMENTS[0], id=7),  # type: ignore[arg-type]
        replace(DOCUMENTS[0], text=None),  # type: ignore[arg-type]
    ],
    ids=repr,
)
def test_a_document_that_cannot_be_kept_is_refused(wrong: Document) -> None:
    with pytest.raises(BadDocument):
        checked([*DOCUMENTS, wrong])


def test_an_id_that_comes_twice_is_refused() -> None:
    with pytest.raises(BadDocument, match="'a' comes twice"):
        checked([*DOCUMENTS, Document(id="a", text="another")])


def test_ids_are_taken_once_each_in_order() -> None:
    assert checked_ids(["b", "a", "b"]) == ["b", "a"]
    assert checked_ids([]) == []


@pytest.mark.parametrize("wrong", ["abc", [""], [7], ["a", None]])
def test_what_is_no_list_of_ids_is_refused(wrong: Any) -> None:
    with pytest.raises(BadDocument):
        checked_ids(wrong)
