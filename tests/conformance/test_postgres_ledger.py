"""The PostgreSQL ledger keeps every rule of the port, whatever happens to its server."""

from __future__ import annotations

import pytest

pytest.importorskip("psycopg")

from tests.conformance.postgres_ledger import PostgresLedgerBench
from undrift.testing.ledgers import LedgerConformance

pytestmark = pytest.mark.servers


@pytest.fixture
def bench(postgres_bench: PostgresLedgerBench) -> PostgresLedgerBench:
    return postgres_bench


class TestPostgresLedger(LedgerConformance):
    pass
