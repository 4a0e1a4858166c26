"""The PostgreSQL ledger as the kit tries it: one database that every test begins empty, with a clock that it moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg

from tests.conformance.postgres_server import PostgresServer
from undrift.adapters.clock import SystemClock
from undrift.adapters.ledgers.postgres import PostgresLedger
from undrift.domain.route import AliasName, FieldKey
from undrift.ports.ledger import Ledger
from undrift.testing.clock import VirtualClock
from undrift.testing.ledgers import LedgerBench, Mark

DATABASE = "kit"
TEST_TIME = "SELECT seconds FROM public.test_clock"
REAL_TIME = "SELECT extract(epoch FROM pg_catalog.clock_timestamp())::float8"


def open_ledger(url: str) -> Ledger:
    return PostgresLedger(url, SystemClock())


def make_database(server: PostgresServer) -> None:
    """Make a ledger whose time a test can move."""
    server.sql(f"CREATE DATABASE {DATABASE}")
    ledger = open_ledger(server.url(DATABASE))
    assert ledger.aliases() == []
    ledger.close_ledger()
    server.sql("CREATE TABLE public.test_clock AS SELECT 0::float8 AS seconds", DATABASE)


class DatabaseClock(VirtualClock):
    """A virtual clock that the database goes by."""

    def __init__(self, sql: Callable[..., Any]) -> None:
        super().__init__()
        self._sql = sql
        self.advance(0.0)

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        self._sql("UPDATE public.test_clock SET seconds = %s", self.now().timestamp())


class PostgresLedgerBench(LedgerBench):
    """The ledger of one database; the side door reads it with a connection of its own."""

    def __init__(self, server: PostgresServer, *, url: Callable[[str], str] | None = None) -> None:
        """Empty the ledger.

        Args:
            server: where the database is.
            url: gives the address that the ledger is used through, if that is not the server's own.
        """
        self.server = server
        self.database = DATABASE
        self.url = (url or server.url)(self.database)
        self._side: Any = None
        tables = self.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'undrift' AND tablename <> 'ledger_meta'")
        self.sql("; ".join(f"DELETE FROM undrift.{table}" for (table,) in tables))
        self.set_time(TEST_TIME)
        self.clock = DatabaseClock(self.sql)
        self.ledger = self.handle()
        self.other = self.handle()

    def handle(self) -> Ledger:
        return PostgresLedger(self.url, SystemClock())

    def opener(self) -> Callable[[], Ledger]:
        self.set_time(REAL_TIME)
        return partial(open_ledger, self.url)

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        self.server.sql(f"ALTER DATABASE {self.database} ALLOW_CONNECTIONS false")
        self.server.sql(
            f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{self.database}'"
        )
        try:
            yield
        finally:
            self.server.sql(f"ALTER DATABASE {self.database} ALLOW_CONNECTIONS true")

    def mark(self, alias: AliasName, key: str) -> Mark | None:
        # What has ended is counted by whoever looks for work, and only then stands beside the document.
        self.sql("SELECT undrift.settle(%s) WHERE EXISTS (SELECT 1 FROM undrift.ended WHERE alias = %s)", alias, alias)
        found = self.sql("SELECT state, source, seq, open FROM undrift.dirty WHERE alias = %s AND key = %s", alias, key)
        for state, source, sequence, count in found:
            return Mark(dirty=state == 1, source=FieldKey(source), sequence=sequence, open=count)
        return None

    def operations(self, alias: AliasName) -> int:
        ((count,),) = self.sql("SELECT count(*) FROM undrift.op WHERE alias = %s", alias)
        return int(count)

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        try:
            return self._run(statement, *values)
        except psycopg.OperationalError:
            self._side.close()
            self._side = None
            return self._run(statement, *values)

    def close(self) -> None:
        super().close()
        if self._side is not None:
            self._side.close()

    def set_time(self, source: str) -> None:
        """Let the ledger take its time from a query."""
        self.sql(f"CREATE OR REPLACE FUNCTION undrift.now() RETURNS float8 LANGUAGE sql VOLATILE AS $${source}$$")

    def _run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        if self._side is None:
            self._side = self.server.connect(self.database)
        cursor = self._side.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []
