"""Documents as JSON Lines: what is taken, what is refused and in which words, and what comes back."""

from __future__ import annotations

import io
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undrift.domain.record import Document
from undrift.errors import BadDocument, BadInputLine, UndriftError
from undrift.flow.jsonl import (
    EXCERPT_CHARACTERS,
    read_documents,
    read_lines,
    read_objects,
)

GOOD = '{"id": "1", "text": "one"}\n'


def read(*lines: str) -> list[Document]:
    return list(read_documents(lines, "docs.jsonl"))


def refusal(*lines: str, kind: type[UndriftError] = BadInputLine) -> UndriftError:
    with pytest.raises(kind) as caught:
        read(*lines)
    assert type(caught.value) is kind
    return caught.value


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
    text = "one\u2028two\u2029three\u0085four"
    stream = io.BytesIO((json.dumps({"id": "1", "text": text}, ensure_ascii=False) + "\n").encode())

    assert [one.text for one in read_documents(read_lines(stream, "x"), "x")] == [text]


def test_documents_come_one_by_one() -> None:
    """What stands before a broken line can be used, and memory does not grow with the file."""
    documents = read_documents(iter([GOOD, "broken\n"]), "docs.jsonl")

    assert next(documents).id == "1"
    with pytest.raises(BadInputLine):
        next(documents)


@pytest.mark.parametrize(
    "line", ["nonsense", '{"id": "1", "text"}', '{"id": "1", "text": "a"} {}', "{'id': 1}", '{"id']
)
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


def test_a_broken_last_line_with_its_line_end_does_not_look_cut_off() -> None:
    assert "cut off" not in str(refusal(GOOD, '{"id": "2", "text": "the conn\n'))


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
    is_between_lines = size == 0 or b"\n" in content[size - 1 : size + 1]
    taken: list[Document] = []
    told: BadInputLine | None = None

    try:
        taken.extend(read_documents(read_lines(io.BytesIO(content[:size]), "x"), "x"))
    except BadInputLine as error:
        told = error

    assert taken == whole[: len(taken)]
    if is_between_lines:
        assert told is None
        assert len(taken) == (content + b"\n")[: size + 1].rstrip(b"\n").count(b"}}")
    else:
        assert told is not None
        assert told.message.startswith("x line ")
        assert "get the file again" in told.hint


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
    assert (
        "line 1 cannot be taken" in refusal('{"id": "1", "text": "a", "metadata": {"x": ' + "9" * 9999 + "}}").message
    )


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


@pytest.mark.parametrize("key", ["id", "text"])
def test_a_missing_key_is_named_with_those_that_are_there(key: str) -> None:
    fields = {"id": "1", "text": "one", "_id": "1", "body": "one"}
    del fields[key]
    error = refusal(json.dumps(fields))

    assert error.message == f'docs.jsonl line 1 has no "{key}"'
    assert error.detail.endswith('"_id", "body"')


def test_an_empty_object_has_no_id() -> None:
    assert refusal("{}").message == 'docs.jsonl line 1 has no "id"'


def test_keys_that_a_document_does_not_have_become_metadata() -> None:
    """Collections in the wild carry `lang`, `url` and the like beside the text; none of it is dropped."""
    line = '{"id": "1", "text": "one", "lang": "en", "year": 2020, "metadata": {"kind": "page"}}'

    assert read(line) == [Document(id="1", text="one", metadata={"kind": "page", "lang": "en", "year": 2020})]


def test_a_key_beside_the_metadata_and_in_it_is_refused() -> None:
    error = refusal('{"id": "1", "text": "one", "lang": "en", "metadata": {"lang": "de"}}')

    assert error.message == 'docs.jsonl line 1 has "lang" twice: beside its metadata and in it'
    assert error.hint == "keep one of the two"


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


def test_objects_come_with_their_line_numbers() -> None:
    assert list(read_objects(["\n", '{"a": 1}\n', "\n", "{}"], "x")) == [(2, {"a": 1}), (4, {})]
