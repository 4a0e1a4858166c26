"""Documents as JSON Lines: what is exported, and that it comes back as it was."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from undrift.domain.record import Document, DocumentId, Entry, Record, stamp, tag_from_stored
from undrift.domain.space import Space
from undrift.errors import BadArgument, BadDocument, MalformedVectors
from undrift.flow.jsonl import batches, document_line, read_documents, read_lines

TAG = tag_from_stored("s1", "c0ffee", 7)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
IDS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: bool(text.strip()))
DOCUMENTS = st.lists(
    st.builds(Document, id=IDS, text=TEXTS, metadata=st.dictionaries(st.text(), JSON, max_size=4)),
    max_size=5,
    unique_by=lambda one: one.id,
)


def space(dimensions: int) -> Space:
    return Space(channel="hashing", model="test", revision="1", dimensions=dimensions)


@given(documents=DOCUMENTS, dimensions=st.integers(1, 5), data=st.data())
@example(
    documents=[Document(id="1", text="é\u2028\n\ud7ff😀", metadata={"": {"": [-0.0, 1e-320]}})], dimensions=1, data=None
)
def test_what_is_exported_is_read_again_as_it_was(documents: list[Document], dimensions: int, data: Any) -> None:
    numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)
    rows = [[data.draw(numbers) if data else 7.038531e-26 for _ in range(dimensions)] for _ in documents]
    vectors = np.array(rows, dtype=np.float32).reshape(-1, dimensions)
    records = stamp(documents, vectors, space=space(dimensions), sequences={})
    content = "".join(document_line(record, record.vector) + "\n" for record in records).encode()

    assert list(read_documents(read_lines(io.BytesIO(content), "export"), "export")) == documents
    written = [json.loads(line)["vector"] for line in content.split(b"\n")[:-1]]
    assert np.array(written, dtype=np.float32).tobytes() == vectors.tobytes()


def test_a_vector_keeps_every_bit_also_where_decimals_are_rounded_twice() -> None:
    # 7.038531e-26 is the shortest decimal of a 32-bit number, and read by way of 64 bits it becomes its neighbour.
    vector = np.array([0x15AE43FD, 0x00000001, 0x7F7FFFFF, 0x80000000], dtype=np.uint32).view(np.float32)
    line = document_line(Entry(id=DocumentId("1"), text="one", metadata={}, tag=None), vector)

    assert np.array(json.loads(line)["vector"], dtype=np.float32).tobytes() == vector.tobytes()


def test_a_line_has_the_tag_and_a_vector_only_when_it_is_given() -> None:
    vector = np.array([0.5, -1.0], dtype=np.float32)
    record = Record(id=DocumentId("42"), text="héllo", metadata={"lang": "fr"}, vector=vector, tag=TAG)

    assert document_line(record) == (
        '{"id": "42", "text": "héllo", "metadata": {"lang": "fr"}, "space": "s1", "hash": "c0ffee", "sequence": 7}'
    )
    assert json.loads(document_line(record, vector))["vector"] == [0.5, -1.0]


def test_a_record_without_a_tag_says_so() -> None:
    line = document_line(Entry(id=DocumentId("1"), text="one", metadata={}, tag=None))

    assert line == '{"id": "1", "text": "one", "metadata": {}, "space": null, "hash": null, "sequence": null}'
    assert list(read_documents([line], "export")) == [Document(id="1", text="one")]


def test_sequence_zero_is_not_the_absence_of_one() -> None:
    entry = Entry(id=DocumentId("1"), text="one", metadata={}, tag=tag_from_stored("s", "c", 0))

    assert json.loads(document_line(entry))["sequence"] == 0


def test_a_line_with_only_some_keys_of_an_export_is_not_taken_for_one() -> None:
    """A user's own `hash` is metadata; only the three keys of a tag together are a tag, which is left out."""
    (own,) = read_documents(['{"id": "1", "text": "one", "hash": "x", "space": "attic"}'], "export")
    (exported,) = read_documents(
        ['{"id": "1", "text": "one", "space": "s", "hash": "h", "sequence": 1, "vector": [1.0], "more": 2}'], "export"
    )

    assert own.metadata == {"hash": "x", "space": "attic"}
    assert exported.metadata == {"more": 2}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_vector_that_json_cannot_say_is_refused(value: float) -> None:
    entry = Entry(id=DocumentId("7"), text="one", metadata={}, tag=TAG)

    with pytest.raises(MalformedVectors, match="record '7'"):
        document_line(entry, np.array([1.0, value], dtype=np.float32))


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, b"x"])
def test_metadata_that_json_cannot_say_is_refused(value: object) -> None:
    with pytest.raises(BadDocument, match="metadata of record '7'"):
        document_line(Entry(id=DocumentId("7"), text="one", metadata={"x": value}, tag=TAG))


@given(st.lists(st.integers()), st.integers(1, 10))
def test_batches_are_the_items_in_order_and_all_but_the_last_are_full(items: list[int], size: int) -> None:
    made = list(batches(iter(items), size))

    assert [item for batch in made for item in batch] == items
    assert all(len(batch) == size for batch in made[:-1])
    assert all(made)


def test_batches_take_no_more_than_they_give() -> None:
    source = iter(range(10))

    assert next(batches(source, 3)) == [0, 1, 2]
    assert next(source) == 3


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_of_nothing_is_refused_at_once(size: int) -> None:
    with pytest.raises(BadArgument):
        batches([], size)
