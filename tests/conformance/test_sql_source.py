"""Texts in a PostgreSQL of somebody else are found by their ids; what is wrong with a query or a server is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("psycopg")

from tests.conformance.postgres_server import PostgresServer
from undrift.adapters.sources.sql import SqlSource
from undrift.domain.record import DocumentId, Entry
from undrift.errors import BadConfig, StoreUnavailable

pytestmark = pytest.mark.servers

DATABASE = "texts"
BY_ID = "SELECT id, body FROM pages WHERE id IN (:ids)"
BODIES = [("a", "one"), ("it's", "two"), ("100%", "three"), ("ünï", "four \U0001f600"), ("n", None)]


@pytest.fixture(scope="module")
def place(server: PostgresServer) -> Iterator[PostgresServer]:
    server.sql(f"CREATE DATABASE {DATABASE}")
    with server.connect(DATABASE) as connection:
        connection.execute("CREATE TABLE pages (id text PRIMARY KEY, body text, number int)")
        with connection.cursor() as cursor:
            rows = [(id, body, number) for number, (id, body) in enumerate(BODIES)]
            cursor.executemany("INSERT INTO pages VALUES (%s, %s, %s)", rows)
    yield server
    server.sql(f"DROP DATABASE {DATABASE} WITH (FORCE)")


def entries(*ids: str) -> list[Entry]:
    return [Entry(id=DocumentId(id), text=None, metadata={}, tag=None) for id in ids]


def nowhere(_: str) -> Path:
    raise AssertionError("a server's address is no path")


def test_a_query_finds_texts_by_their_ids(place: PostgresServer) -> None:
    source = SqlSource(place.url(DATABASE), BY_ID, nowhere)

    assert source.texts(entries(*(id for id, _ in BODIES), "unknown")) == {id: body for id, body in BODIES if body}
    assert source.texts(entries("unknown")) == source.texts([]) == {}
    like = SqlSource(place.url(DATABASE), f"{BY_ID} AND body LIKE '%o%'", nowhere)
    assert set(like.texts(entries(*(id for id, _ in BODIES)))) == {"a", "it's", "ünï"}
    numbers = SqlSource(place.url(DATABASE), "SELECT number, body FROM pages WHERE number::text IN (:ids)", nowhere)
    assert numbers.texts(entries("1", "4", "77")) == {"1": "two"}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT id, nothing FROM pages WHERE id IN (:ids)", 'column "nothing" does not exist'),
        ("SELECT id, body FROM nowhere WHERE id IN (:ids)", 'relation "nowhere" does not exist'),
        ("SELECT id, body FROM pages WHERE number IN (:ids)", "operator does not exist"),
        ("SELECT id FROM pages WHERE id IN (:ids)", "returns 1 columns"),
        ("SELEKT id, body FROM pages WHERE id IN (:ids)", "syntax error"),
        ("DELETE FROM pages WHERE id IN (:ids) RETURNING id, body", "read-only transaction"),
    ],
)
def test_a_query_that_is_wrong_is_told_and_changes_nothing(place: PostgresServer, query: str, said: str) -> None:
    with pytest.raises(BadConfig, match=f"(?s)the query for texts.*{said}"):
        SqlSource(place.url(DATABASE), query, nowhere).texts(entries("a"))

    assert place.sql("SELECT count(*) FROM pages", DATABASE) == [(len(BODIES),)]


def test_a_database_that_is_away_is_asked_again_later(place: PostgresServer) -> None:
    url = place.url(DATABASE)
    for away in (url.replace(f"/{DATABASE}", "/no_such_database"), "postgresql://postgres@127.0.0.1:1/texts"):
        source = SqlSource(away, BY_ID, nowhere)
        with pytest.raises(StoreUnavailable, match=r"source of texts postgresql://.*did not answer") as refused:
            source.texts(entries("a"))
        assert refused.value.hint.startswith("pg_isready")


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(BadConfig, match="has a password in it") as refused:
        SqlSource("postgresql://me:se%20cret@db.example.com/texts", BY_ID, nowhere)

    said: Any = str(refused.value)
    assert "se%20cret" not in said
    assert "PGPASSWORD" in said
