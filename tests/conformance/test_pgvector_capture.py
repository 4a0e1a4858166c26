"""Triggers capture what others write into a collection, in the transactions in which they write it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("psycopg")


import psycopg

import undrift
from tests.conformance.pgvector_door import SCHEMA, store_url
from tests.conformance.postgres_server import PostgresServer
from undrift import Document
from undrift.adapters.stores.pgvector import PgVectorStore
from undrift.control import ControlPlane
from undrift.domain.migration import Phase
from undrift.domain.record import DocumentId
from undrift.domain.route import AliasName, VectorField
from undrift.domain.space import Metric, SpaceId
from undrift.errors import BadConfig
from undrift.ports.store import Layout, Part

pytestmark = pytest.mark.servers

DATABASE = "captured"
KB = AliasName("kb")
_CONFIG = """
ledger = "{ledger}"
[stores.main]
url = "{store}"
capture = "trigger"
[models.old]
provider = "hashing"
dimensions = 32
[models.new]
provider = "hashing"
dimensions = 48
"""
_INSERT = (
    f"INSERT INTO {SCHEMA}.kb SELECT '%s', '%s', '{{\"by\": \"them\"}}', space, content, 0, embedding "
    f"FROM {SCHEMA}.kb WHERE id = 'd0'"
)


@pytest.fixture
def place(server: PostgresServer) -> Iterator[PostgresServer]:
    server.sql(f"CREATE DATABASE {DATABASE}")
    yield server
    server.sql(f"DROP DATABASE {DATABASE} WITH (FORCE)")


@pytest.fixture
def plane(place: PostgresServer, tmp_path: Path) -> Iterator[ControlPlane]:
    text = _CONFIG.format(ledger=place.url(DATABASE), store=store_url(place, DATABASE))
    (tmp_path / "undrift.toml").write_text(text, encoding="utf-8")
    opened = undrift.open(tmp_path / "undrift.toml")
    opened.create_alias(KB, store="main", collection="kb", model="old")
    opened.alias(KB).upsert([Document(id=f"d{number}", text=f"document {number}") for number in range(20)])
    yield opened
    opened.close()


@pytest.fixture
def ready(plane: ControlPlane) -> ControlPlane:
    plane.register(KB, "new")
    plane.work(KB, lambda migration: migration.phase is Phase.READY)
    return plane


def sql(place: PostgresServer, statement: str) -> list[tuple[Any, ...]]:
    """Do what a program does that knows nothing of undrift."""
    return place.sql(statement, DATABASE)


def carry(plane: ControlPlane) -> None:
    plane.work(KB, lambda _: plane.ledger.lag(KB).dirty == 0)


def held(plane: ControlPlane, field: VectorField | None) -> dict[str, tuple[str, dict[str, Any]]]:
    assert field is not None
    entries = plane.store_of(field).scan(field, limit=1000, parts=Part.TEXT)
    return {entry.id: (entry.text or "", dict(entry.metadata)) for entry in entries}


def sequence(place: PostgresServer) -> int:
    ((number,),) = sql(place, "SELECT sequence FROM undrift.alias")
    return int(number)


def test_what_others_insert_update_and_delete_reaches_the_other_field(
    ready: ControlPlane, place: PostgresServer
) -> None:
    sql(place, _INSERT % ("foreign", "a text of theirs"))
    sql(place, f"UPDATE {SCHEMA}.kb SET text = 'changed by them' WHERE id = 'd1'")
    sql(place, f"UPDATE {SCHEMA}.kb SET metadata = '{{\"changed\": true}}' WHERE id IN ('d2', 'd3')")
    sql(place, f"UPDATE {SCHEMA}.kb SET id = 'renamed' WHERE id = 'd4'")
    sql(place, f"DELETE FROM {SCHEMA}.kb WHERE id IN ('d5', 'd6')")
    assert ready.ledger.lag(KB).dirty == 8

    carry(ready)

    route = ready.alias(KB).route()
    follower = held(ready, route.follower)
    assert follower == held(ready, route.serving)
    assert follower["foreign"] == ("a text of theirs", {"by": "them"})
    assert follower["d1"][0] == "changed by them"
    assert follower["d2"][1] == {"changed": True}
    assert {"d4", "d5", "d6"}.isdisjoint(follower)
    assert "renamed" in follower


def test_a_collection_that_others_empty_is_emptied_on_the_other_side(
    ready: ControlPlane, place: PostgresServer
) -> None:
    sql(place, f"TRUNCATE {SCHEMA}.kb")
    carry(ready)

    route = ready.alias(KB).route()
    assert held(ready, route.follower) == held(ready, route.serving) == {}


def test_what_is_undone_is_not_captured(ready: ControlPlane, place: PostgresServer) -> None:
    with place.connect(DATABASE) as connection, connection.transaction(force_rollback=True):
        connection.execute(f"DELETE FROM {SCHEMA}.kb")
    assert ready.ledger.lag(KB).dirty == 0


def test_writes_of_undrift_are_not_captured_once_more(ready: ControlPlane, place: PostgresServer) -> None:
    """The bracket counts when it opens, and the worker that looks for work counts once what has ended."""
    before = sequence(place)
    ready.alias(KB).upsert([Document(id="d1", text="ours"), Document(id="new", text="ours")])
    ready.alias(KB).delete(["d2"])
    assert sequence(place) == before + 2

    carry(ready)
    assert sequence(place) == before + 3


def test_without_a_migration_nothing_is_marked(plane: ControlPlane, place: PostgresServer) -> None:
    before = sequence(place)
    sql(place, _INSERT % ("foreign", "a text of theirs"))

    assert (plane.ledger.lag(KB).dirty, sequence(place)) == (0, before)


def test_a_transaction_that_was_open_when_the_migration_began_is_captured_when_it_ends(
    plane: ControlPlane, place: PostgresServer
) -> None:
    with place.connect(DATABASE) as connection:
        with connection.transaction():
            connection.execute(f"DELETE FROM {SCHEMA}.kb WHERE id = 'd7'")
            connection.execute(_INSERT % ("early", "a text of theirs"))
            plane.register(KB, "new")
            plane.work(KB, lambda migration: migration.phase is Phase.READY)
        assert plane.ledger.lag(KB).dirty == 2

    carry(plane)
    route = plane.alias(KB).route()
    follower = held(plane, route.follower)
    assert follower == held(plane, route.serving)
    assert "d7" not in follower
    assert "early" in follower


def test_after_a_cutover_the_other_table_is_captured(ready: ControlPlane, place: PostgresServer) -> None:
    target = ready.alias(KB).route().follower
    assert target is not None
    ready.cutover(KB)
    sql(place, f"DELETE FROM {SCHEMA}.kb WHERE id = 'd1'")
    assert ready.ledger.lag(KB).dirty == 0, "what is written to the old field is not the truth"
    sql(place, f"DELETE FROM {SCHEMA}.\"{target.collection}\" WHERE id = 'd2'")
    carry(ready)

    assert "d2" not in held(ready, ready.alias(KB).route().follower)


def test_who_may_write_the_table_need_not_see_the_ledger(
    ready: ControlPlane, place: PostgresServer, tmp_path: Path
) -> None:
    sql(place, "CREATE ROLE stranger LOGIN PASSWORD 'stranger'")
    sql(place, f"GRANT USAGE ON SCHEMA {SCHEMA} TO stranger; GRANT SELECT, DELETE ON {SCHEMA}.kb TO stranger")
    try:
        url = f"postgresql://stranger:stranger@127.0.0.1:{place.port}/{DATABASE}"
        with psycopg.connect(url, autocommit=True) as stranger:
            stranger.execute("SET search_path = ''")
            stranger.execute(f"DELETE FROM {SCHEMA}.kb WHERE id = 'd1'")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                stranger.execute("SELECT 1 FROM undrift.alias")
        assert ready.ledger.lag(KB).dirty == 1
    finally:
        sql(place, "DROP OWNED BY stranger; DROP ROLE stranger")


def test_a_transaction_that_looks_at_an_older_moment_is_captured_or_refused(
    ready: ControlPlane, place: PostgresServer
) -> None:
    with place.connect(DATABASE) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with connection.transaction():
            connection.execute(f"DELETE FROM {SCHEMA}.kb WHERE id = 'd1'")
        assert ready.ledger.lag(KB).dirty == 1
        with pytest.raises(psycopg.errors.SerializationFailure), connection.transaction():
            connection.execute(f"DELETE FROM {SCHEMA}.kb WHERE id = 'd2'")
            ready.alias(KB).upsert([Document(id="d3", text="meanwhile")])
    assert "d2" in held(ready, ready.alias(KB).route().serving)


def test_others_are_never_stopped_for_a_write_of_undrift(ready: ControlPlane, place: PostgresServer) -> None:
    """Both write the same documents at the same time, and each holds what the other one waits for."""
    stop = threading.Event()
    kb = ready.alias(KB)

    def ours() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            kb.upsert([Document(id=f"d{number}", text=f"ours {turn}") for number in range(3)])

    def theirs() -> int:
        with place.connect(DATABASE) as connection:
            for turn in range(12):
                with connection.transaction():
                    for number in reversed(range(3)):
                        connection.execute(
                            f"UPDATE {SCHEMA}.kb SET metadata = '{{\"turn\": {turn}}}' WHERE id = 'd{number}'"
                        )
                        time.sleep(0.005)
        return 12

    with ThreadPoolExecutor(2) as pool:
        writing, stranger = pool.submit(ours), pool.submit(theirs)
        try:
            assert stranger.result() == 12
        finally:
            stop.set()
        writing.result()

    carry(ready)
    route = kb.route()
    assert held(ready, route.follower) == held(ready, route.serving)


def test_a_table_that_is_there_already_is_captured_from_the_first_use_on(
    plane: ControlPlane, place: PostgresServer
) -> None:
    sql(place, f"DROP TRIGGER undrift_capture ON {SCHEMA}.kb; DROP TRIGGER undrift_capture_all ON {SCHEMA}.kb")
    triggers = (
        "SELECT tgname::text FROM pg_trigger WHERE tgname LIKE 'undrift%' "
        f"AND tgrelid = '{SCHEMA}.kb'::regclass ORDER BY 1"
    )
    field = plane.alias(KB).route().serving
    for _ in range(2):
        fresh = PgVectorStore(store_url(place, DATABASE), capture="trigger")
        assert set(fresh.fetch(field, [DocumentId("d1")])) == {"d1"}
        fresh.close()
        assert sql(place, triggers) == [("undrift_capture",), ("undrift_capture_all",)]


def test_without_a_ledger_in_the_database_there_is_nothing_to_tell(place: PostgresServer) -> None:
    store = PgVectorStore(store_url(place, DATABASE), capture="trigger")
    field = VectorField(store="main", collection="alone", space=SpaceId("space"))

    with pytest.raises(BadConfig, match="no ledger in this database") as refused:
        store.create(field, dimensions=8, metric=Metric.COSINE)

    assert "leave `capture` out" in refused.value.hint
    assert sql(place, "SELECT count(*) FROM pg_tables WHERE tablename = 'alone'") == [(0,)]
    store.close()


def test_one_table_with_two_vectors_is_captured_whichever_of_them_serves(place: PostgresServer, tmp_path: Path) -> None:
    """What workers put beside a text is no write of somebody else's."""
    path = tmp_path / "undrift.toml"
    url = store_url(place, DATABASE)
    path.write_text(
        _CONFIG.format(ledger=place.url(DATABASE), store=url) + '[aliases.kb]\nstore = "main"\nmodel = "old"\n',
        encoding="utf-8",
    )
    with undrift.open(path) as plane:
        plane.alias("kb").upsert([Document(id=f"d{number}", text=f"text {number}") for number in range(4)])
        plane.register("kb", "new", layout=Layout.IN_PLACE)
        plane.work("kb", lambda migration: migration is not None and migration.phase is Phase.READY)
        assert plane.ledger.lag(KB).dirty == 0
        place.sql(f"UPDATE {SCHEMA}.kb SET metadata = '{{\"by\": \"them\"}}' WHERE id = 'd1'", DATABASE)
        assert plane.ledger.lag(KB).dirty == 1
        plane.work("kb", lambda _: not plane.ledger.lag(KB).dirty)
        plane.cutover("kb")
        place.sql(f"DELETE FROM {SCHEMA}.kb WHERE id = 'd2'", DATABASE)
        place.sql(f"UPDATE {SCHEMA}.kb SET text = 'another' WHERE id = 'd3'", DATABASE)
        assert plane.ledger.lag(KB).dirty == 2
        installed = place.sql("SELECT count(*) FROM pg_trigger WHERE tgname = 'undrift_capture'", DATABASE)
        assert installed == [(1,)]


def test_a_table_of_an_application_is_captured_by_its_own_key(place: PostgresServer, tmp_path: Path) -> None:
    place.sql(
        "CREATE EXTENSION IF NOT EXISTS vector; CREATE SCHEMA app; "
        "CREATE TABLE app.notes (key uuid PRIMARY KEY, body text, info jsonb, dense vector(32))",
        DATABASE,
    )
    path = tmp_path / "undrift.toml"
    url = store_url(place, DATABASE)
    collection = "app.notes?id=key&text=body&metadata=info&vector=dense"
    path.write_text(
        _CONFIG.format(ledger=place.url(DATABASE), store=url)
        + f'[aliases.kb]\nstore = "main"\nmodel = "old"\ncollection = "{collection}"\n',
        encoding="utf-8",
    )
    with undrift.open(path) as plane:
        ids = [f"00000000-0000-0000-0000-00000000000{number}" for number in range(3)]
        plane.alias("kb").upsert([Document(id=id, text=f"text of {id}") for id in ids])
        plane.register("kb", "new", layout=Layout.IN_PLACE)
        plane.work("kb", lambda migration: migration is not None and migration.phase is Phase.READY)
        place.sql(f"DELETE FROM app.notes WHERE key = '{ids[0]}'", DATABASE)
        place.sql(f"UPDATE app.notes SET body = 'new' WHERE key = '{ids[1]}'", DATABASE)

        state = plane.ledger.journal_state(KB, [DocumentId(id) for id in ids])
        assert {key for key, (dirty, _) in state.items() if dirty} == set(ids[:2])
        place.sql("TRUNCATE app.notes", DATABASE)
        plane.work("kb", lambda _: not plane.ledger.lag(KB).dirty)
        assert plane.verify("kb")["verdict"] == "pass"
