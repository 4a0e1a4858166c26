"""A PostgreSQL that accepts everything and answers nothing is given up, in words, and found again when it answers."""

from __future__ import annotations

import logging
import select
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("psycopg")

from psycopg import Cursor

from tests.conformance.postgres_server import PostgresServer
from tests.torture.proxy import Proxy
from undrift.adapters.clock import SystemClock
from undrift.adapters.ledgers.postgres import PostgresLedger
from undrift.adapters.postgres import Owner, address_from, connections
from undrift.adapters.postgres.database import Database
from undrift.adapters.stores.pgvector import session
from undrift.adapters.stores.pgvector.store import PgVectorStore
from undrift.domain.record import DocumentId
from undrift.domain.route import VectorField
from undrift.domain.space import Metric, SpaceId
from undrift.errors import ControlUnavailable, StoreUnavailable
from undrift.ports.store import Part

pytestmark = pytest.mark.servers

PLACE = VectorField(store="main", collection="kb", space=SpaceId("hashing:a@1/16"))


@pytest.fixture
def way(server: PostgresServer) -> Iterator[Proxy]:
    server.sql("CREATE DATABASE deaf")
    with Proxy(server.port) as proxy:
        yield proxy
    server.sql("DROP DATABASE deaf WITH (FORCE)")


@pytest.fixture
def address(server: PostgresServer, way: Proxy) -> str:
    return server.url("deaf").replace(f":{server.port}/", f":{way.port}/")


def test_a_ledger_that_stays_deaf_is_given_up_and_found_again(
    way: Proxy, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = PostgresLedger(address, SystemClock())
    assert ledger.spaces() == []
    monkeypatch.setattr(connections, "PATIENCE_S", 0.3)
    way.half_open()

    with pytest.raises(ControlUnavailable, match="did not answer") as told:
        ledger.spaces()

    assert "has not answered for 0.3 s" in str(told.value)
    monkeypatch.undo()
    way.heal()
    assert ledger.spaces() == []
    ledger.close_ledger()


def read(store: PgVectorStore) -> None:
    store.entries(PLACE, [DocumentId("a")], Part.TEXT)


def write(store: PgVectorStore) -> None:
    store.delete(PLACE, [DocumentId("a")])


@pytest.mark.parametrize("ask", [read, write])
def test_a_store_that_stays_deaf_is_given_up_and_found_again(
    ask: Callable[[PgVectorStore], None],
    way: Proxy,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = PgVectorStore(Database(address_from(address.replace("postgresql", "pgvector", 1), Owner.STORE)))
    store.create(PLACE, dimensions=16, metric=Metric.COSINE)
    for name in ("_READ_S", "_WRITE_S"):
        monkeypatch.setattr(session, name, 1)
    monkeypatch.setattr(session, "_GRACE_S", -0.7)
    way.half_open()

    with pytest.raises(StoreUnavailable, match=r"has not answered for 0\.3 s"):
        ask(store)

    monkeypatch.undo()
    way.heal()
    ask(store)
    assert store.count(PLACE) == 0
    store.close()


def test_a_server_that_dies_in_the_middle_of_a_write_leaves_no_word_on_stderr(
    way: Proxy, address: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As in a program that configures no logging, where Python writes what has no handler to stderr."""
    store = PgVectorStore(Database(address_from(address.replace("postgresql", "pgvector", 1), Owner.STORE)))
    store.create(PLACE, dimensions=16, metric=Metric.COSINE)
    monkeypatch.setattr(logging.getLogger("psycopg"), "propagate", False)
    execute = Cursor.execute

    def dying(cursor: Any, sql: str, *values: Any, **how: Any) -> Any:
        if sql == "COMMIT":
            way.cut()
            cut = select.poll()
            cut.register(cursor.connection.fileno())
            cut.poll(30_000)
        return execute(cursor, sql, *values, **how)

    monkeypatch.setattr(Cursor, "execute", dying)

    with pytest.raises(StoreUnavailable):
        write(store)

    assert capfd.readouterr().err == ""
    store.close()
