"""The pgvector store keeps its promises through PgBouncer, where the next transaction may be on another connection."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("psycopg")

import psycopg

from tests.conformance.pgvector_door import PgVectorSideDoor
from tests.conformance.postgres_server import PostgresServer, server_folder
from tests.conformance.test_pgbouncer_ledger import BOUNCER, Bouncer
from undrift.adapters.stores.pgvector import PgVectorStore
from undrift.domain.route import VectorField
from undrift.testing.stores.races import RaceTests
from undrift.testing.stores.samples import numbered, records
from undrift.testing.stores.searches import SearchTests

pytestmark = pytest.mark.servers

DATABASE = "pooled"


@pytest.fixture(scope="module")
def pooled(server: PostgresServer) -> Iterator[str]:
    if BOUNCER is None:
        pytest.skip("pgbouncer is not installed")
    server.sql(f"CREATE DATABASE {DATABASE}")
    with server_folder() as folder:
        bouncer = Bouncer(BOUNCER, server, folder)
        url = server.url(DATABASE).replace("postgresql:", "pgvector:", 1)
        yield url.replace(f":{server.port}/", f":{bouncer.port}/")
        bouncer.stop()
    server.sql(f"DROP DATABASE {DATABASE} WITH (FORCE)")


class TestPgVectorStoreThroughAPooler(RaceTests, SearchTests):
    exact = False

    @pytest.fixture
    def store(self, pooled: str) -> Iterator[PgVectorStore]:
        # The settings of a search in an index are those that must not stay with a connection.
        store = PgVectorStore(pooled, index="hnsw")
        yield store
        store.close()

    @pytest.fixture
    def other(self, pooled: str) -> Iterator[PgVectorStore]:
        store = PgVectorStore(pooled)
        yield store
        store.close()

    @pytest.fixture
    def side_door(self, server: PostgresServer, store: PgVectorStore) -> Iterator[PgVectorSideDoor]:
        door = PgVectorSideDoor(server, DATABASE)
        yield door
        door.close()

    def test_what_is_set_for_a_call_does_not_stay_with_the_connection(
        self, store: PgVectorStore, field: VectorField, pooled: str
    ) -> None:
        store.upsert(field, records(numbered(20), self.dimensions))
        for number in range(6):
            store.search(field, records(["q"], self.dimensions, seed=number)[0].vector, k=3)

        url = pooled.replace("pgvector:", "postgresql:", 1)
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as other:
            for _ in range(6):
                settings = other.execute(
                    "SELECT current_setting('statement_timeout'), current_setting('jit'), "
                    "current_setting('undrift.bracketed', true), current_setting('hnsw.ef_search', true)"
                ).fetchone()
                assert settings is not None
                assert settings[0] == "0"
                assert settings[1] == "on"
                assert settings[2] in {None, ""}
                assert settings[3] in {None, "", "40"}
