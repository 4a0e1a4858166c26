"""The pgvector store keeps every promise of a store, on a real PostgreSQL with two clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("psycopg")

from tests.conformance.pgvector_door import DATABASE, PgVectorSideDoor, store_url
from tests.conformance.postgres_server import PostgresServer
from undrift.adapters.stores.pgvector import PgVectorStore
from undrift.ports.store import VectorStore
from undrift.testing.stores import StoreBench, StoreConformance
from undrift.testing.stores.changes import ChangeTests
from undrift.testing.stores.filters import FilterTests
from undrift.testing.stores.in_place import InPlaceTests
from undrift.testing.stores.searches import SearchTests

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def database(server: PostgresServer) -> Iterator[str]:
    server.sql(f"CREATE DATABASE {DATABASE}")
    yield store_url(server)
    server.sql(f"DROP DATABASE {DATABASE} WITH (FORCE)")


class PgVectorBench(StoreBench):
    @pytest.fixture(autouse=True)
    def _server(self, server: PostgresServer) -> None:
        self.server = server

    def engine(self, store: VectorStore) -> str:
        ((version,),) = self.server.sql("SHOW server_version", DATABASE)
        ((extension,),) = self.server.sql("SELECT extversion FROM pg_extension WHERE extname = 'vector'", DATABASE)
        return f"PostgreSQL {str(version).partition(' ')[0]}, pgvector {extension}"

    @pytest.fixture
    def other(self, database: str) -> Iterator[PgVectorStore]:
        store = PgVectorStore(database)
        yield store
        store.close()

    @pytest.fixture
    def side_door(self, server: PostgresServer, store: PgVectorStore) -> Iterator[PgVectorSideDoor]:
        door = PgVectorSideDoor(server)
        yield door
        door.close()


class TestPgVectorStore(PgVectorBench, StoreConformance):
    @pytest.fixture
    def store(self, database: str) -> Iterator[PgVectorStore]:
        store = PgVectorStore(database)
        yield store
        store.close()


class TestPgVectorStoreWithIndex(PgVectorBench, SearchTests, FilterTests, ChangeTests, InPlaceTests):
    """What an index has a part in."""

    exact = False

    @pytest.fixture
    def store(self, database: str) -> Iterator[PgVectorStore]:
        store = PgVectorStore(database, index="hnsw")
        yield store
        store.close()
