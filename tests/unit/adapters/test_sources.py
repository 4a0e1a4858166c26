"""Texts that are not beside the vectors: in a file, in a database, behind a function, in a key of the metadata."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import apsw
import pytest

from undrift.adapters.sources.function import FunctionSource
from undrift.adapters.sources.jsonl import JsonlSource
from undrift.adapters.sources.payload import PayloadSource
from undrift.adapters.sources.sql import SqlSource
from undrift.domain.record import DocumentId, Entry
from undrift.errors import BadConfig, BadInputLine, StoreUnavailable
from undrift.ports.source import Answer


def entries(*ids: str, **metadata: Any) -> list[Entry]:
    return [Entry(id=DocumentId(id), text=None, metadata=metadata, tag=None) for id in ids]


def test_lines_are_found_by_their_ids_and_read_again_when_the_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text('{"id": "a", "text": "one"}\n\n{"id": "ä", "text": "two", "title": "T"}\n', encoding="utf-8")
    source = JsonlSource(file)
    assert source.texts(entries("a", "ä", "unknown")) == {"a": "one", "ä": "T two"}

    file.write_text('{"id": "a", "text": "another"}\n', encoding="utf-8")
    os.utime(file, ns=(1, 1))

    assert source.texts(entries("a", "ä")) == {"a": "another"}


@pytest.mark.parametrize("line", ["{", '{"id": "a"}', "[1]", '{"id": 1, "text": "x"}'])
def test_a_line_that_is_no_document_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text('{"id": "a", "text": "one"}\n' + line + "\n", encoding="utf-8")

    with pytest.raises(BadInputLine, match="line 2 of"):
        JsonlSource(file).texts(entries("a"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="cannot be read"):
        JsonlSource(tmp_path / "no").texts(entries("a"))


def table(path: Path) -> Path:
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE pages (id, body)")
    connection.executemany(
        "INSERT INTO pages VALUES (?, ?)", [("a", "one"), ("it's", "two"), (7, "seven"), ("n", None)]
    )
    connection.close()
    return path


def test_a_query_finds_texts_by_their_ids(tmp_path: Path) -> None:
    table(tmp_path / "pages.db")
    source = SqlSource("sqlite:///pages.db", "SELECT id, body FROM pages WHERE id IN (:ids)", tmp_path.joinpath)

    assert source.texts(entries("a", "it's", "n", "unknown")) == {"a": "one", "it's": "two"}
    assert source.texts([]) == {}
    numbers = SqlSource(
        "sqlite:///pages.db", "SELECT id, body FROM pages WHERE cast(id AS text) IN (:ids)", tmp_path.joinpath
    )
    assert numbers.texts(entries("7")) == {"7": "seven"}


@pytest.mark.parametrize(
    ("address", "query", "message"),
    [
        ("sqlite:///pages.db", "SELECT id, body FROM pages", "not written as sql"),
        ("mysql://x", "SELECT 1 WHERE id IN (:ids)", "not written as sql"),
        ("sqlite:///pages.db", "SELECT nothing FROM pages WHERE id IN (:ids)", "the query for texts fails"),
        ("sqlite:///pages.db", "SELECT id FROM pages WHERE id IN (:ids)", "returns 1 columns"),
    ],
)
def test_a_query_that_is_wrong_is_told(tmp_path: Path, address: str, query: str, message: str) -> None:
    table(tmp_path / "pages.db")

    with pytest.raises(BadConfig, match=message):
        SqlSource(address, query, tmp_path.joinpath).texts(entries("a"))


def test_a_database_that_is_away_is_asked_again_later(tmp_path: Path) -> None:
    source = SqlSource("sqlite:///none.db", "SELECT id, body FROM pages WHERE id IN (:ids)", tmp_path.joinpath)

    with pytest.raises(StoreUnavailable, match="cannot be read"):
        source.texts(entries("a"))


def test_a_function_says_what_is_missing_and_what_to_ask_again() -> None:
    answers: dict[str, Any] = {"a": "one", "b": Answer.MISSING}
    source = FunctionSource(lambda ids: {id: answers[id] for id in ids if id in answers}, "mine:fetch")
    assert source.texts(entries("a", "b", "left out")) == {"a": "one"}
    assert source.texts([]) == {}

    answers["c"] = Answer.RETRY
    with pytest.raises(StoreUnavailable, match="asks to be asked again"):
        source.texts(entries("a", "c"))


@pytest.mark.parametrize("answer", [None, ["one"], {"a": 1}, {"a": None}])
def test_a_function_that_returns_something_else_is_told(answer: Any) -> None:
    with pytest.raises(BadConfig, match="mine:fetch returned"):
        FunctionSource(lambda _: answer, "mine:fetch").texts(entries("a"))


def test_a_function_that_cannot_connect_is_asked_again_later() -> None:
    def away(_: list[str]) -> dict[str, str]:
        raise ConnectionError("no route")

    with pytest.raises(StoreUnavailable, match="did not answer"):
        FunctionSource(away, "mine:fetch").texts(entries("a"))


def test_a_key_of_the_metadata_is_a_text_if_it_is_one() -> None:
    assert PayloadSource("body").texts(entries("a", body="one")) == {"a": "one"}
    assert PayloadSource("body").texts(entries("a", body=1)) == {}
    assert json.dumps(PayloadSource().texts(entries("a"))) == "{}"
