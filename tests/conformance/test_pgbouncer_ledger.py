"""The PostgreSQL ledger keeps every rule through PgBouncer, where the next transaction may be on another connection."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("psycopg")

from tests.conformance.postgres_ledger import PostgresLedgerBench, open_ledger
from tests.conformance.postgres_server import (
    AS_NOBODY,
    PASSWORD,
    START_S,
    USER,
    PostgresServer,
    free_port,
    server_folder,
)
from undrift.domain.migration import Phase
from undrift.errors import ControlUnavailable
from undrift.testing.ledgers import LedgerConformance
from undrift.testing.ledgers.bench import ALIAS, ME, begin, claim, flip, write

pytestmark = pytest.mark.servers

#: Debian puts it where only the administrator's path leads.
BOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


class Bouncer:
    """A pooler in transaction mode with two connections to the server, so that transactions change places."""

    def __init__(self, program: str, server: PostgresServer, folder: Path, mode: str = "transaction") -> None:
        self.program, self.folder, self.port = program, folder, free_port()
        (folder / "users").write_text(f'"{USER}" "{PASSWORD}"\n', encoding="utf-8")
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "plain",
            "auth_file": folder / "users",
            "pool_mode": mode,
            "default_pool_size": 2,
            "server_round_robin": 1,
            "max_client_conn": 200,
        }
        lines = ["[databases]", f"* = host=127.0.0.1 port={server.port}", "[pgbouncer]"]
        lines += [f"{key} = {value}" for key, value in settings.items()]
        (folder / "pgbouncer.ini").write_text("\n".join([*lines, ""]), encoding="utf-8")
        self.start()

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.program, self.folder / "pgbouncer.ini"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **AS_NOBODY,
            )
        end = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                assert self._process.poll() is None, (self.folder / "log").read_text(encoding="utf-8")
                assert time.monotonic() < end
                time.sleep(0.02)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module")
def bouncer(server: PostgresServer) -> Iterator[Bouncer]:
    if BOUNCER is None:
        pytest.skip("PgBouncer is not installed")
    with server_folder() as folder:
        bouncer = Bouncer(BOUNCER, server, folder)
        try:
            yield bouncer
        finally:
            bouncer.stop()


class BouncedLedgerBench(PostgresLedgerBench):
    """A ledger behind a pooler; it is out of reach when the pooler is not there."""

    def __init__(self, server: PostgresServer, bouncer: Bouncer) -> None:
        self.bouncer = bouncer
        place = f"{USER}@127.0.0.1:{bouncer.port}"
        super().__init__(server, url=lambda database: f"postgresql://{place}/{database}?passfile={server.passfile}")

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        self.bouncer.stop()
        try:
            yield
        finally:
            self.bouncer.start()


@pytest.fixture
def bench(server: PostgresServer, bouncer: Bouncer) -> Iterator[BouncedLedgerBench]:
    bench = BouncedLedgerBench(server, bouncer)
    yield bench
    bench.close()


class TestThroughPgBouncer(LedgerConformance):
    pass


def test_nothing_of_a_session_is_left_behind(bench: PostgresLedgerBench) -> None:
    """Neither a lock, nor a prepared statement, nor a setting, whichever connection the pooler chooses."""
    begin(bench.ledger, Phase.READY)
    write(bench.ledger, "a")
    bench.ledger.clear(ALIAS, claim(bench.other), owner=ME)
    flip(bench.other)

    assert bench.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]
    for _ in range(4):
        assert bench.ledger._read("SELECT count(*) FROM pg_prepared_statements") == [(0,)]
        settings = "SELECT current_setting('lock_timeout'), current_setting('synchronous_commit')"
        assert bench.ledger._read(settings) == [("0", "on")]
    # While one transaction has a connection, another one is given the second.
    bench.ledger._transact(lambda _: bench.other.aliases(), durable=False)
    backends = {bench.ledger._read("SELECT pg_backend_pid()")[0][0] for _ in range(6)}
    assert len(backends) == 2


def test_a_pooler_is_seen_and_one_that_cuts_transactions_is_refused(bench: BouncedLedgerBench) -> None:
    assert bench.ledger.aliases() == []
    found = {one.check: one for one in bench.ledger.inspect()}
    assert (found["ledger transactions"].ok, found["ledger transactions"].detail) == (
        True,
        "READ COMMITTED, through a pooler",
    )

    with server_folder() as folder:
        cutting = Bouncer(bench.bouncer.program, bench.server, folder, "statement")
        try:
            url = f"postgresql://{USER}@127.0.0.1:{cutting.port}/{bench.database}?passfile={bench.server.passfile}"
            with pytest.raises(ControlUnavailable) as refused:
                begin(open_ledger(url))
        finally:
            cutting.stop()
    assert "pool_mode = transaction" in refused.value.hint
