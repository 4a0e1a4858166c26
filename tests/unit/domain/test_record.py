"""Documents, hashes and tags: what is the same text, what may be an id, and which vector belongs to what."""

from __future__ import annotations

import unicodedata
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from undrift.domain.record import (
    MAX_ID_BYTES,
    Document,
    DocumentId,
    Hit,
    Hits,
    canonical_text,
    check_document,
    check_id,
    content_hash,
    encode_metadata,
    stamp,
    tag_from_stored,
)
from undrift.domain.space import Space
from undrift.errors import BadDocument, MalformedVectors
from undrift.testing.strategies import document_ids, documents, texts

SPACE = Space(channel="test", model="m", revision="1", dimensions=2)


# Hashes


def test_the_hash_of_a_text_is_what_it_was_in_earlier_releases() -> None:
    """It stands beside every stored vector: should it change, everything would be embedded anew."""
    assert content_hash("The tide comes in.\n") == "b865af3282fdd7bd73a32c6976b63124"


@pytest.mark.parametrize("other", ["  caf\u00e9 au lait\n", "cafe\u0301 au lait", "caf\u00e9 au lait\r\n"])
def test_what_looks_the_same_is_the_same_text(other: str) -> None:
    assert content_hash(other) == content_hash("caf\u00e9 au lait")


@pytest.mark.parametrize("other", ["Caf\u00e9 au lait", "caf\u00e9  au lait", "caf\u00e9 au\nlait", "cafe au lait"])
def test_what_reads_differently_is_another_text(other: str) -> None:
    assert content_hash(other) != content_hash("caf\u00e9 au lait")


def test_line_ends_are_the_same_whoever_wrote_them() -> None:
    assert canonical_text("a\r\nb\rc\n") == "a\nb\nc"


@given(texts())
def test_the_canonical_form_is_its_own(text: str) -> None:
    form = canonical_text(text)
    assert canonical_text(form) == form
    assert unicodedata.is_normalized("NFC", form)
    assert content_hash(form) == content_hash(text)


def test_half_a_character_can_be_hashed() -> None:
    """It is refused as a document; a text that a store has must not break a scan."""
    assert len(content_hash("\ud800")) == 32


# Ids and documents


@given(document_ids())
def test_an_id_is_any_printed_text_that_is_short_enough(id: str) -> None:
    assert check_id(id) == id


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        pytest.param(None, "is of type NoneType", id="nothing"),
        pytest.param(7, "is of type int", id="number"),
        pytest.param(b"a", "is of type bytes", id="bytes"),
        pytest.param("", "an empty id", id="empty"),
        pytest.param("a\nb", "a control character", id="new line"),
        pytest.param("a\x00", "a control character", id="zero"),
        pytest.param("\x7f", "a control character", id="delete"),
        pytest.param("\x85", "a control character", id="next line"),
        pytest.param("\ud800", "not valid Unicode", id="half a character"),
        pytest.param("x" * (MAX_ID_BYTES + 1), "513 bytes long", id="too many letters"),
        pytest.param("ü" * (MAX_ID_BYTES // 2 + 1), "514 bytes long", id="too many bytes"),
    ],
)
def test_what_no_store_can_keep_as_a_key_is_refused(wrong: Any, why: str) -> None:
    with pytest.raises(BadDocument, match=why):
        check_id(wrong)


def test_the_longest_id_is_taken() -> None:
    assert check_id("ü" * (MAX_ID_BYTES // 2))


@given(documents())
def test_a_document_that_every_store_takes_is_taken(document: Document) -> None:
    assert check_document(document) is document
    assert encode_metadata(document.id, document.metadata)


def test_a_bad_document_is_named_with_what_is_wrong() -> None:
    with pytest.raises(BadDocument, match="'d7' has a blank text"):
        check_document(Document(id="d7", text=" \n"))
    with pytest.raises(BadDocument, match="'d7' has no text"):
        check_document(Document(id="d7", text=""))
    with pytest.raises(BadDocument, match="metadata of document 'd7' is not JSON"):
        check_document(Document(id="d7", text="x", metadata={"x": float("nan")}))


# Stamps


def test_a_stamp_binds_vector_text_space_and_sequence() -> None:
    pair = [Document(id="a", text="one", metadata={"n": 1}), Document(id="b", text="two")]
    vectors = np.array([[1, 0], [0, 1]], np.float32)

    records = stamp(pair, vectors, space=SPACE, sequences={DocumentId("b"): 7})

    assert [record.tag for record in records] == [
        tag_from_stored(SPACE.id, content_hash("one"), 0),
        tag_from_stored(SPACE.id, content_hash("two"), 7),
    ]
    assert [Document(id=record.id, text=record.text, metadata=record.metadata) for record in records] == pair
    assert np.array_equal([record.vector for record in records], vectors)
    assert stamp([], np.empty((0, 2), np.float32), space=SPACE, sequences={}) == []


@pytest.mark.parametrize("shape", [(1, 2), (3, 2), (2, 3), (2,), (4,)])
def test_vectors_that_do_not_belong_to_the_documents_are_refused(shape: tuple[int, ...]) -> None:
    two = [Document(id="a", text="one"), Document(id="b", text="two")]

    with pytest.raises(MalformedVectors, match="cannot be records of space"):
        stamp(two, np.zeros(shape, np.float32), space=SPACE, sequences={})


# Hits


@given(st.integers(0, 5))
def test_hits_are_a_sequence(count: int) -> None:
    some = tuple(Hit(id=str(number), score=-float(number), text="", metadata={}) for number in range(count))
    hits = Hits(hits=some, space=SPACE.id, epoch=3)

    assert len(hits) == count
    assert list(hits) == list(some)
    assert hits[:2] == some[:2]
    assert bool(hits) is bool(count)
