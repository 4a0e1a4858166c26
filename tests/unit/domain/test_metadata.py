"""Metadata that some store could not read back is refused before it reaches any."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undrift.domain.record import MAX_METADATA_DEPTH, Document, check_document, encode_metadata
from undrift.errors import BadDocument


def nested(levels: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(levels - 1):
        value = [value]
    return {"deep": value}


def test_equal_metadata_has_one_form_whatever_the_order_of_its_keys() -> None:
    assert encode_metadata("1", {"b": 1, "a": "é"}) == encode_metadata("1", {"a": "é", "b": 1}) == '{"a":"é","b":1}'


def test_metadata_may_be_wide_and_as_deep_as_every_store_can_read() -> None:
    assert encode_metadata("1", {"wide": [[1]] * 500})
    assert encode_metadata("1", nested(MAX_METADATA_DEPTH))


@pytest.mark.parametrize("levels", [MAX_METADATA_DEPTH + 1, 5000])
def test_deeper_metadata_is_refused(levels: int) -> None:
    with pytest.raises(BadDocument, match="metadata of document '1'"):
        encode_metadata("1", nested(levels))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", {1}, b"x", object()])
def test_what_json_cannot_say_is_refused(value: object) -> None:
    with pytest.raises(BadDocument, match="is not JSON"):
        encode_metadata("1", {"key": value})


@pytest.mark.parametrize("metadata", [None, [], "text", {1: "a"}])
def test_what_is_no_mapping_with_str_keys_is_refused(metadata: Any) -> None:
    with pytest.raises(BadDocument, match="not a mapping with str keys"):
        encode_metadata("1", metadata)


words = st.text(max_size=4) | st.sampled_from(["a", "é", "\ud800"])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | words | st.binary(max_size=2)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2))


@given(st.dictionaries(words | st.integers(0, 1), values, max_size=3))
def test_a_document_is_refused_for_its_metadata_exactly_when_they_cannot_be_encoded(metadata: dict[Any, Any]) -> None:
    """What is plainly JSON is not encoded to find that out."""
    document = Document(id="1", text="text", metadata=metadata)
    try:
        encode_metadata("1", metadata)
    except BadDocument:
        with pytest.raises(BadDocument):
            check_document(document)
    else:
        assert check_document(document) is document


def test_a_number_that_python_does_not_print_is_refused() -> None:
    with pytest.raises(BadDocument, match="is not JSON"):
        check_document(Document(id="1", text="text", metadata={"n": 10**5000}))
