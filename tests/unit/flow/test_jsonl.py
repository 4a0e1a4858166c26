"""Documents as JSON Lines: what is taken, what is refused and in which words, and what comes back."""

from __future__ import annotations

import gzip
import io
import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from undrift.domain.record import Document, DocumentId, Entry, Record, stamp, tag_from_stored
from undrift.domain.space import Metric, Space
from undrift.errors import BadArgument, BadDocument, BadInputLine, MalformedVectors, UndriftError
from undrift.flow.jsonl import (
    EXCERPT_CHARACTERS,
    batches,
    document_line,
    open_documents,
    open_lines,
    read_documents,
    read_lines,
    read_objects,
)

GOOD = '{"id": "1", "text": "one"}\n'
TAG = tag_from_stored("s1", "c0ffee", 7)


def read(*lines: str) -> list[Document]:
    return list(read_documents(lines, "docs.jsonl"))


def refusal(*lines: str, kind: type[UndriftError] = BadInputLine) -> UndriftError:
    with pytest.raises(kind) as caught:
        read(*lines)
    assert type(caught.value) is kind
    return caught.value


# --- what is taken


def test_a_document_is_read_with_its_metadata() -> None:
    assert read('{"id": "42", "text": "hello", "metadata": {"lang": "en", "deep": {"a": [1, 2.5, null, true]}}}\n') == [
        Document(id="42", text="hello", metadata={"lang": "en", "deep": {"a": [1, 2.5, None, True]}})
    ]


def test_a_title_is_joined_in_front_of_the_text_by_one_space() -> None:
    assert [one.text for one in read('{"id": "1", "title": "Title", "text": "text"}')] == ["Title text"]


@pytest.mark.parametrize("title", ['""', '"  "', "null"])
def test_a_title_without_words_changes_nothing(title: str) -> None:
    assert [one.text for one in read(f'{{"id": "1", "title": {title}, "text": "text"}}')] == ["text"]


def test_null_metadata_is_none() -> None:
    assert read('{"id": "1", "text": "one", "metadata": null}')[0].metadata == {}


def test_blank_lines_are_skipped_and_counted() -> None:
    assert refusal("\n", GOOD, "  \r\n", "", "nonsense\n").message.startswith("docs.jsonl line 5 ")


@pytest.mark.parametrize("lines", [[], ["\n"], ["\ufeff"], ["\ufeff\n"]])
def test_nothing_but_blank_lines_is_no_document(lines: list[str]) -> None:
    assert read(*lines) == []


def test_a_byte_order_mark_is_ignored_in_front_only() -> None:
    assert [one.id for one in read("\ufeff" + GOOD)] == ["1"]
    assert "line 2 is not JSON" in refusal(GOOD, "\ufeff" + GOOD).message


def test_a_last_line_needs_no_line_end() -> None:
    assert [one.id for one in read(GOOD, '{"id": "2", "text": "two"}')] == ["1", "2"]


def test_the_other_line_separators_of_unicode_do_not_end_a_line() -> None:
    text = "one\u2028two\u0085three\x0bfour"
    stream = io.BytesIO((json.dumps({"id": "1", "text": text.replace("\x0b", "")}, ensure_ascii=False) + "\n").encode())

    assert [one.text for one in read_documents(read_lines(stream, "x"), "x")] == [text.replace("\x0b", "")]


def test_documents_come_one_by_one() -> None:
    """What stands before a broken line can be used, and memory does not grow with the file."""
    documents = read_documents(iter([GOOD, "broken\n"]), "docs.jsonl")

    assert next(documents).id == "1"
    with pytest.raises(BadInputLine):
        next(documents)


# --- broken lines


@pytest.mark.parametrize("line", ["nonsense", '{"id": "1", "text"}', '{"id": "1", "text": "a"} {}', "{'id': 1}", '{"id'])
def test_a_line_that_is_not_json_is_named_by_number_and_shown(line: str) -> None:
    error = refusal(*[GOOD.replace("1", str(i)) for i in range(16)], line + "\n", GOOD)

    assert error.message.startswith("docs.jsonl line 17 is not JSON: ")
    assert "cut off" not in str(error)
    assert error.detail == line
    assert error.hint


def test_a_broken_last_line_without_line_end_looks_cut_off() -> None:
    error = refusal(GOOD, '{"id": "2", "text": "the conn')

    assert error.message.startswith("docs.jsonl line 2 is not JSON: unterminated string")
    assert "looks cut off" in error.message
    assert "get the file again" in error.hint


def test_a_broken_line_in_a_list_without_line_ends_does_not_look_cut_off() -> None:
    assert "cut off" not in str(refusal('{"id": "2", "text": "the conn', GOOD))


@given(st.data())
def test_a_file_cut_anywhere_gives_whole_documents_or_says_so(data: st.DataObject) -> None:
    whole = [Document(id=f"né{i}", text=f"tèxt {i}", metadata={"n": i}) for i in range(3)]
    content = "".join(
        json.dumps({"id": one.id, "text": one.text, "metadata": one.metadata}, ensure_ascii=False) + "\n"
        for one in whole
    ).encode()
    size = data.draw(st.integers(0, len(content)))
    taken: list[Document] = []

    try:
        taken.extend(read_documents(read_lines(io.BytesIO(content[:size]), "x"), "x"))
    except BadInputLine as error:
        assert "get the file again" in error.hint
        assert content[size - 1 : size] not in (b"\n", b"")

    assert taken == whole[: len(taken)]


def test_an_excerpt_is_short_shows_the_place_and_cannot_harm_a_terminal() -> None:
    line = '{"id": "1", "text": "' + "x" * 500 + '" HERE \x1b[31m' + "y" * 500 + "\n"
    error = refusal(line)

    assert len(error.detail) == EXCERPT_CHARACTERS
    assert "HERE" in error.detail
    assert error.detail.startswith("…")
    assert error.detail.endswith("…")
    assert error.detail.isprintable()


@given(st.text(max_size=300), st.booleans())
def test_whatever_the_line_the_error_names_it_and_stays_short(line: str, ends: bool) -> None:
    with pytest.raises((BadInputLine, BadDocument)) as caught:
        read(GOOD, "?" + line + "\n" * ends)

    assert caught.value.message.startswith("docs.jsonl line 2 ")
    assert len(caught.value.detail) <= EXCERPT_CHARACTERS
    assert caught.value.detail.isprintable()


@pytest.mark.parametrize(
    ("line", "kind"),
    [("[]", "an array"), ("3", "a number"), ("null", "null"), ('"a"', "a string"), ("true", "true or false")],
)
def test_json_that_is_not_an_object_is_refused(line: str, kind: str) -> None:
    assert refusal(line).message == f"docs.jsonl line 1 is not a JSON object but {kind}"


@pytest.mark.parametrize("first", ["[\n", '[{"id": "1", "text": "one"}]\n'])
def test_an_array_of_documents_is_refused_with_the_way_to_lines(first: str) -> None:
    assert "jq -c '.[]' FILE" in refusal(first, "x\n").hint


def test_an_object_over_several_lines_is_refused_with_the_way_to_lines() -> None:
    assert "jq -c . FILE" in refusal("{\n", '  "id": "1",\n', '  "text": "one"\n', "}\n").hint


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_does_not_have_are_refused(constant: str) -> None:
    error = refusal(f'{{"id": "1", "text": "one", "metadata": {{"x": {constant}}}}}')

    assert error.message == f"docs.jsonl line 1 cannot be taken: {constant} is not a JSON value"


def test_a_number_that_would_become_infinite_is_refused() -> None:
    assert refusal('{"id": "1", "text": "a", "metadata": {"x": 1e999}}', kind=BadDocument).message.startswith(
        "docs.jsonl line 1: the metadata of document '1' is not JSON"
    )


def test_an_endless_integer_is_refused() -> None:
    assert "line 1 cannot be taken" in refusal('{"id": "1", "text": "a", "metadata": {"x": ' + "9" * 9999 + "}}").message


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('{"id": "1", "text": "one", "id": "2"}', "id"),
        ('{"id": "1", "text": "one", "metadata": {"a": [{"b": 1, "c": 2, "b": 1}]}}', "b"),
    ],
)
def test_a_key_that_comes_twice_in_one_object_is_refused(line: str, key: str) -> None:
    assert refusal(line).message == f"docs.jsonl line 1 cannot be taken: the key {key!r} comes twice in one object"


def test_bottomless_nesting_is_refused() -> None:
    depth = 200_000
    line = '{"id": "1", "text": "one", "metadata": {"x": ' + "[" * depth + "]" * depth + "}}"

    assert refusal(line).message == "docs.jsonl line 1 cannot be taken: it is nested too deeply"


@pytest.mark.parametrize("half", ["\\ud800", "\\uDEAD"])
@pytest.mark.parametrize("place", ['"id": "1", "text": "a HALF"', '"id": "1", "text": "a", "metadata": {"x": "HALF"}'])
def test_half_of_a_surrogate_pair_is_refused_wherever_it_stands(half: str, place: str) -> None:
    assert "surrogates not allowed" in refusal("{" + place.replace("HALF", half) + "}").message


def test_an_escaped_surrogate_pair_is_one_character() -> None:
    assert read('{"id": "1", "text": "a \\ud83d\\ude00"}')[0].text == "a 😀"


# --- objects that are not documents


@pytest.mark.parametrize("key", ["id", "text"])
def test_a_missing_key_is_named_with_those_that_are_there(key: str) -> None:
    error = refusal(json.dumps({"_id": "1", "body": "one", "id": "1", "text": "one"} | {}).replace(f'"{key}"', '"k"'))

    assert error.message == f'docs.jsonl line 1 has no "{key}"'
    assert '"_id", "body"' in error.detail
    assert '"k"' in error.detail


def test_an_empty_object_has_no_id() -> None:
    assert refusal("{}").message == 'docs.jsonl line 1 has no "id"'


def test_keys_that_a_document_does_not_have_are_named_and_not_dropped() -> None:
    error = refusal('{"id": "1", "text": "one", "lang": "en", "year": 2020, "metadata": {}}')

    assert error.message == 'docs.jsonl line 1 has keys that a document does not have: "lang", "year"'
    assert error.detail == '{"lang": "en", "year": 2020}'
    assert error.hint.startswith('put them under "metadata"')


@pytest.mark.parametrize("value", ["42", "4.2", "true", "null", "[]", "{}"])
def test_an_id_that_is_not_a_string_is_refused_with_the_cure(value: str) -> None:
    error = refusal(f'{{"id": {value}, "text": "one"}}')

    assert error.message.startswith("docs.jsonl line 1 has an id that is not a string but ")
    assert error.detail == value
    assert '"id": "42"' in error.hint


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ('"text": null', "a text that is not a string but null"),
        ('"text": 3', "a text that is not a string but a number"),
        ('"text": "a", "title": ["b"]', "a title that is not a string but an array"),
        ('"text": "a", "metadata": "b"', "metadata that is not an object but a string"),
        ('"text": "a", "metadata": []', "metadata that is not an object but an array"),
    ],
)
def test_a_value_of_another_kind_is_refused(fields: str, state: str) -> None:
    assert refusal(f'{{"id": "1", {fields}}}').message == f"docs.jsonl line 1 has {state}"


@pytest.mark.parametrize("text", ["", "   ", "\\n\\t"])
def test_a_text_without_words_is_refused_with_its_line(text: str) -> None:
    error = refusal(GOOD, f'{{"id": "2", "text": "{text}"}}', kind=BadDocument)

    assert error.message.startswith("docs.jsonl line 2: document '2' has ")
    assert error.hint


@pytest.mark.parametrize("id", ["", "a\\u0000b", "x" * 513])
def test_an_id_that_no_store_keeps_is_refused_with_its_line(id: str) -> None:
    assert refusal(GOOD, f'{{"id": "{id}", "text": "two"}}', kind=BadDocument).message.startswith("docs.jsonl line 2: ")


def test_an_id_that_comes_twice_is_refused_with_both_lines() -> None:
    error = refusal(GOOD, "\n", '{"id": "2", "text": "two"}', '{"id": "1", "text": "other"}', kind=BadDocument)

    assert error.message == "docs.jsonl line 4 has the id '1', as line 1 has"


def test_ids_that_only_look_alike_are_two() -> None:
    composed, decomposed = "é", unicodedata.normalize("NFD", "é")

    assert len(read(*(json.dumps({"id": id, "text": "a"}) for id in (composed, decomposed, "1", "1 ", "01")))) == 5


# --- bytes and files


@pytest.mark.parametrize("bad", [b"\xff", b"\xc3\x28", b"\xe2\x82", b"\xed\xa0\x80"])
def test_bytes_that_are_not_utf8_are_named_by_line(bad: bytes) -> None:
    stream = io.BytesIO(GOOD.encode() + b'{"id": "2", "text": "caf' + bad + b'"}\n')

    with pytest.raises(BadInputLine, match=r"^docs line 2 is not UTF-8: .* at byte 25") as caught:
        list(read_lines(stream, "docs"))
    assert caught.value.detail.startswith('{"id": "2", "text": "caf\\x')
    assert "iconv" in caught.value.hint


def test_utf16_is_recognised() -> None:
    with pytest.raises(BadInputLine) as caught:
        list(read_lines(io.BytesIO(GOOD.encode("utf-16")), "docs"))
    assert caught.value.hint == "iconv -f UTF-16 -t UTF-8 FILE"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["docs.jsonl", "docs.jsonl.gz"])
def test_a_file_is_opened_by_what_is_in_it(tmp_path: Path, name: str, packed: bool) -> None:
    path = tmp_path / name
    content = ("\ufeff" + GOOD + '{"id": "2", "text": "zwei"}').encode()
    path.write_bytes(gzip.compress(content) if packed else content)

    with open_documents(path) as documents:
        assert [(one.id, one.text) for one in documents] == [("1", "one"), ("2", "zwei")]


@pytest.mark.parametrize("packed", [False, True])
def test_an_empty_file_has_no_documents(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "docs.jsonl"
    path.write_bytes(gzip.compress(b"") if packed else b"")

    with open_documents(path) as documents:
        assert list(documents) == []


def test_the_file_is_closed_after_the_block(tmp_path: Path) -> None:
    """An open file would warn, and a warning is an error here."""
    path = tmp_path / "docs.jsonl.gz"
    path.write_bytes(gzip.compress(GOOD.encode() * 2))

    with open_documents(path) as documents:
        next(documents)

    with pytest.raises(ValueError, match="closed"):
        next(documents)


def test_an_error_names_the_file_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("docs.jsonl").write_text(GOOD + "broken\n")

    with pytest.raises(BadInputLine, match=r"^docs\.jsonl line 2 "), open_documents(Path("docs.jsonl")) as documents:
        list(documents)


@pytest.mark.parametrize("name", ["absent.jsonl", "."])
def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name

    with pytest.raises(BadArgument) as caught, open_lines(path):
        pass
    assert caught.value.message == f"file {path} cannot be opened"
    assert caught.value.detail


def test_an_error_inside_the_block_passes_through(tmp_path: Path) -> None:
    path = tmp_path / "docs.jsonl"
    path.write_text(GOOD)

    with pytest.raises(OSError, match="mine"), open_documents(path):
        raise OSError("mine")


@pytest.mark.parametrize("size", [-1, -9, -40])
def test_compressed_data_that_was_cut_off_is_told(tmp_path: Path, size: int) -> None:
    path = tmp_path / "docs.jsonl.gz"
    lines = [json.dumps({"id": str(i), "text": f"{i:x}" * 9}) + "\n" for i in range(2_000)]
    path.write_bytes(gzip.compress("".join(lines).encode())[:size])

    with pytest.raises(BadInputLine, match=r"cannot be read beyond line \d+") as caught, open_documents(path) as documents:
        list(documents)
    assert "cut off" in caught.value.hint


def test_compressed_data_that_was_damaged_is_told(tmp_path: Path) -> None:
    path = tmp_path / "docs.jsonl.gz"
    content = bytearray(gzip.compress(GOOD.encode() * 50))
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)

    with pytest.raises(BadInputLine), open_lines(path) as lines:
        list(lines)


def test_a_disk_that_fails_in_the_middle_is_told() -> None:
    class Failing(io.RawIOBase):
        def __init__(self) -> None:
            self.parts = [GOOD.encode() * 3]

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            if not self.parts:
                raise OSError(5, "Input/output error")
            part = self.parts.pop()
            buffer[: len(part)] = part
            return len(part)

    with pytest.raises(BadInputLine, match="docs cannot be read beyond line 3") as caught:
        list(read_lines(io.BufferedReader(Failing()), "docs"))
    assert "Input/output error" in caught.value.detail


def test_objects_come_with_their_line_numbers() -> None:
    assert list(read_objects(["\n", '{"a": 1}\n', "\n", "{}"], "x")) == [(2, {"a": 1}), (4, {})]


# --- export


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
    return Space(provider="hashing", model="test", dimensions=dimensions, metric=Metric.COSINE)


@given(documents=DOCUMENTS, dimensions=st.integers(1, 5), data=st.data())
@example(documents=[Document(id="1", text="é\u2028\n\ud7ff😀", metadata={"": {"": [-0.0, 1e-320]}})], dimensions=1, data=None)
def test_what_is_exported_is_read_again_as_it_was(documents: list[Document], dimensions: int, data: Any) -> None:
    numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)
    rows = [[data.draw(numbers) if data else 7.038531e-26 for _ in range(dimensions)] for _ in documents]
    vectors = np.array(rows, dtype=np.float32).reshape(-1, dimensions)
    records = stamp(documents, vectors, space=space(dimensions), sequences={})
    content = "".join(document_line(record, record.vector) + "\n" for record in records).encode()

    assert list(read_documents(read_lines(io.BytesIO(content), "export"), "export")) == documents
    for line, vector in zip(content.decode().splitlines() if False else content.split(b"\n"), vectors, strict=False):
        assert np.array(json.loads(line)["vector"], dtype=np.float32).tobytes() == vector.tobytes()


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

    assert json.loads(line) == {
        "id": "1", "text": "one", "metadata": {}, "space": None, "hash": None, "sequence": None
    }  # fmt: skip
    assert read(line) == [Document(id="1", text="one")]


def test_sequence_zero_is_not_the_absence_of_one() -> None:
    entry = Entry(id=DocumentId("1"), text="one", metadata={}, tag=tag_from_stored("s", "c", 0))

    assert json.loads(document_line(entry))["sequence"] == 0


@pytest.mark.parametrize(
    "extra", ['"hash": "x"', '"vector": [1.0]', '"space": "s", "hash": "h"', '"space": "s", "hash": "h", "sequence": 1, "x": 1']
)
def test_a_line_with_only_some_keys_of_an_export_is_not_taken_for_one(extra: str) -> None:
    assert "keys that a document does not have" in refusal(f'{{"id": "1", "text": "one", {extra}}}').message


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_vector_that_json_cannot_say_is_refused(value: float) -> None:
    entry = Entry(id=DocumentId("7"), text="one", metadata={}, tag=TAG)

    with pytest.raises(MalformedVectors, match="record '7'"):
        document_line(entry, np.array([1.0, value], dtype=np.float32))


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, b"x"])
def test_metadata_that_json_cannot_say_is_refused(value: object) -> None:
    with pytest.raises(BadDocument, match="metadata of record '7'"):
        document_line(Entry(id=DocumentId("7"), text="one", metadata={"x": value}, tag=TAG))


# --- batches


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
