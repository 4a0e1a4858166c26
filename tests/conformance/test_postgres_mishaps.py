"""What may happen to a PostgreSQL ledger during a migration is refused or survived, and nothing is lost."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

pytest.importorskip("psycopg")
pytest.importorskip("sqlite_vec")

import undrift
from tests.conformance.postgres_server import PostgresServer
from undrift import Document
from undrift.adapters.clock import SystemClock
from undrift.config import load
from undrift.control import ControlPlane, open_plane
from undrift.domain.migration import Migration, Phase
from undrift.domain.route import AliasName
from undrift.errors import (
    ControlUnavailable,
    GateFailed,
    LedgerUnusable,
    OutcomeUnknown,
    StaleRoute,
    UndriftError,
)

pytestmark = pytest.mark.servers

KB = AliasName("kb")
COUNT = 60
LEASE_S = 30.0
#: A horizon that has passed at once, for operations whose deadline has not.
PASSED_S = -3600.0
CONFIG = """
ledger = "{ledger}"
[stores.main]
url = "sqlite-vec:./vectors.db"
[models.old]
provider = "hashing"
dimensions = 16
[models.new]
provider = "hashing"
dimensions = 24
[aliases.kb]
store = "main"
model = "old"
[timing]
lease_s = 30
poll_s = 0.05
retry_s = 0.02
"""


@pytest.fixture
def config(server: PostgresServer, tmp_path: Path) -> Iterator[Path]:
    server.sql("CREATE DATABASE mishaps")
    path = tmp_path / "undrift.toml"
    path.write_text(CONFIG.format(ledger=server.url("mishaps")), encoding="utf-8")
    with undrift.open(path) as plane:
        plane.alias("kb").upsert([Document(id=f"d{n:02d}", text=f"text {n}") for n in range(COUNT)])
    yield path
    server.sql("DROP DATABASE mishaps WITH (FORCE)")


def to_ready(config: Path) -> None:
    with open_plane(config, role="start") as plane:
        plane.register("kb", "new")
        plane.work("kb", is_ready)


def is_ready(migration: Migration | None) -> bool:
    return migration is not None and migration.phase is Phase.READY


def lease_of(plane: ControlPlane) -> float:
    (client,) = [one for one in plane.ledger.clients(KB) if one.id == plane.router.client]
    return client.lease_left_s


# The server goes away and comes back


def test_a_worker_waits_for_its_ledger_and_goes_on(server: PostgresServer, config: Path) -> None:
    """Writes are refused meanwhile, and searches go on."""
    waits: list[str] = []
    with undrift.open(config) as app, open_plane(config, role="worker") as operator:
        kb = app.alias("kb")
        operator.register("kb", "new")
        fallen: list[Phase] = []

        def until(migration: Migration | None) -> bool:
            if migration is not None and migration.phase is Phase.BACKFILL and not fallen:
                kb.upsert([Document(id="d00", text="before the fall")])
                fallen.append(migration.phase)
                server.stop(signal.SIGQUIT)
            return is_ready(migration)

        def waited(reason: str) -> None:
            if "tried again" not in reason:
                # The fall took back the end of the write before it. Nobody waits here for its deadline.
                operator.ledger.reap(KB, PASSED_S)
                return
            waits.append(reason)
            if len(waits) == 2:
                with pytest.raises(ControlUnavailable, match="ledger postgresql:"):
                    kb.upsert([Document(id="d01", text="past the journal")])
                assert {hit.text for hit in kb.search("before the fall", k=1)} == {"before the fall"}
                server.start()

        try:
            operator.work("kb", until, on_wait=waited)
        finally:
            if len(waits) < 2:
                server.start()

        assert "cannot be reached" in waits[0]
        assert operator.verify("kb")["verdict"] == "pass"
        kb.upsert([Document(id="d02", text="after it")])
        texts = {document.id: document.text for document in kb.scan()}
        assert len(texts) == COUNT
        assert (texts["d00"], texts["d01"], texts["d02"]) == ("before the fall", "text 1", "after it")
        assert operator.cutover("kb")["phase"] == "reversing"


def test_a_write_whose_ledger_went_away_before_its_end_is_not_known_and_can_be_repeated(
    server: PostgresServer, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_ready(config)
    with undrift.open(config) as app, open_plane(config, role="worker") as operator:
        kb = app.alias("kb")
        with monkeypatch.context() as patched:

            def close(*_: Any) -> bool:
                with server.down(signal.SIGQUIT):
                    return type(app.ledger).close(app.ledger, *_)

            patched.setattr(app.ledger, "close", close)
            with pytest.raises(OutcomeUnknown) as unknown:
                kb.upsert([Document(id="d03", text="perhaps")])
        assert unknown.value.retryable
        assert operator.ledger.lag(KB).open == 1

        kb.upsert([Document(id="d03", text="for certain")])
        assert operator.ledger.reap(KB, PASSED_S) == 1
        operator.work("kb", lambda _: operator.ledger.lag(KB).dirty == 0)
        assert operator.verify("kb")["verdict"] == "pass"
        assert [document.text for document in kb.get(["d03"])] == ["for certain"]


# The server is restored


@contextmanager
def restored(server: PostgresServer) -> Iterator[None]:
    """What happens within is not in the backup that the ledger is restored from afterwards."""
    server.sql("ALTER DATABASE mishaps ALLOW_CONNECTIONS false")
    server.sql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = 'mishaps'")
    server.sql("CREATE DATABASE mishaps_backup TEMPLATE mishaps")
    server.sql("ALTER DATABASE mishaps ALLOW_CONNECTIONS true")
    yield
    server.sql("DROP DATABASE mishaps WITH (FORCE)")
    server.sql("ALTER DATABASE mishaps_backup RENAME TO mishaps")


def test_marks_that_a_restore_took_away_are_found_again_before_a_cutover(server: PostgresServer, config: Path) -> None:
    """The backup has a fresh verification, and no document is dirty in it; nobody has looked at a record since."""
    to_ready(config)
    with restored(server), undrift.open(config) as plane:
        plane.alias("kb").upsert([Document(id=f"d{n:02d}", text=f"later {n}") for n in range(10)])
        plane.alias("kb").delete(["d20"])

    with undrift.open(config) as plane:
        with pytest.raises(GateFailed, match=r"reconciled .*restored from a backup.*undrift export kb ") as refused:
            plane.cutover("kb")
        assert "undrift reconcile kb" in refused.value.hint
        assert [entry.action for entry in plane.ledger.history(KB)].count("ledger_restored") == 1

        found = plane.reconcile("kb")
        kinds = {"stale_text": 10, "extra": 1}
        assert [(scan["foreign"], scan["kinds"]) for scan in found["scans"]] == [(11, kinds), (0, {})]
        assert (found["verdict"], found["needs_reconcile"]) == ("pass", "")
        assert plane.verify("kb")["verdict"] == "pass"
        assert plane.cutover("kb")["phase"] == "reversing"
        texts = [document.text for document in plane.alias("kb").get(["d03", "d20", "d30"])]
        assert texts == ["later 3", "text 30"]


def test_a_restored_ledger_refuses_a_rollback_that_would_lose_writes(server: PostgresServer, config: Path) -> None:
    to_ready(config)
    with open_plane(config, role="cli") as plane:
        plane.cutover("kb")
    with restored(server), undrift.open(config) as plane:
        plane.alias("kb").upsert([Document(id="d03", text="later")])

    with undrift.open(config) as plane:
        with pytest.raises(GateFailed, match="restored from a backup"):
            plane.rollback("kb")
        plane.reconcile("kb")
        assert plane.rollback("kb")["phase"] == "rolled_back"
        assert [document.text for document in plane.alias("kb").get(["d03"])] == ["later"]


def test_a_ledger_that_stays_where_it_is_wants_no_comparison(server: PostgresServer, config: Path) -> None:
    """Neither a crash of the server nor another user's connection moves its tables."""
    to_ready(config)
    with server.down(signal.SIGQUIT):
        pass
    with undrift.open(config) as plane:
        assert plane.cutover("kb")["phase"] == "reversing"


def test_who_lives_through_a_restore_follows_the_ledger(server: PostgresServer, config: Path) -> None:
    """The backup is of before the cutover: the field that this process knows does not serve any more."""
    with undrift.open(config) as app:
        kb = app.alias("kb")
        to_ready(config)
        kb.upsert([Document(id="d01", text="before the backup")])
        with restored(server), open_plane(config, role="cli") as plane:
            plane.cutover("kb")
            assert kb.count() == COUNT
            assert app.router.refresh(KB).epoch == 3

        assert kb.upsert([Document(id="d02", text="after it")]).epoch == 2
        assert kb.route().serving.key == "main/kb"
        assert {hit.text for hit in kb.search("after it", k=1)} == {"after it"}


# Two versions


def test_an_older_undrift_goes_on_beside_a_newer_one_until_the_tables_are_not_its_own(
    server: PostgresServer, config: Path
) -> None:
    to_ready(config)
    server.sql("ALTER TABLE undrift.alias ADD COLUMN later text NOT NULL DEFAULT ''", "mishaps")
    server.sql("UPDATE undrift.ledger_meta SET value = value::int + 1 WHERE key = 'minor'", "mishaps")
    with undrift.open(config) as older:
        older.alias("kb").upsert([Document(id="d04", text="by the older one")])
        assert older.cutover("kb")["phase"] == "reversing"

    server.sql("UPDATE undrift.ledger_meta SET value = value::int + 1 WHERE key = 'major'", "mishaps")
    with undrift.open(config) as older:
        with pytest.raises(LedgerUnusable, match="newer undrift") as refused:
            older.alias("kb").upsert([Document(id="d04", text="too late")])
        assert refused.value.hint == "pip install --upgrade undrift"


# Two operators


def test_of_two_cutovers_at_the_same_moment_one_wins(config: Path) -> None:
    to_ready(config)
    together = Barrier(2, timeout=60)
    with open_plane(config, role="cli") as one, open_plane(config, role="cli") as other:

        def cut_over(plane: ControlPlane) -> str | UndriftError:
            flip = plane.ledger.flip

            def at_once(*values: Any, **named: Any) -> Any:
                together.wait()
                return flip(*values, **named)

            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(plane.ledger, "flip", at_once)
                try:
                    return str(plane.cutover("kb")["phase"])
                except UndriftError as error:
                    return error

        with ThreadPoolExecutor(2) as pool:
            ended = list(pool.map(cut_over, (one, other)))

        (refused,) = [end for end in ended if isinstance(end, UndriftError)]
        assert isinstance(refused, StaleRoute)
        assert refused.exit_code == 5
        assert [end for end in ended if end is not refused] == ["reversing"]
        assert [entry.action for entry in one.ledger.history(KB)].count("reversing") == 1
        assert one.ledger.route(KB).epoch == 3


# Clocks


class ChangedClock(SystemClock):
    """A machine's clock that somebody changes, or that was suspended."""

    def __init__(self) -> None:
        super().__init__()
        self.wall = timedelta()
        self.slept = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.slept

    def now(self) -> datetime:
        return datetime.now(UTC) + self.wall


def test_the_clock_of_a_client_may_be_changed(config: Path) -> None:
    """Its lease is counted by the server, and its own end of it by a clock that nobody changes."""
    clock = ChangedClock()
    with open_plane(config, clock=clock) as app, undrift.open(config) as witness:
        kb = app.alias("kb")
        kb.count()
        left = lease_of(app)
        for wall in (timedelta(days=-400), timedelta(days=900)):
            clock.wall = wall
            assert app.router.may_write()
            kb.upsert([Document(id="d05", text=f"at {wall.days}")])
            assert witness.ledger.unacknowledged(KB, 2, 0.0)[0].id == app.router.client
        assert lease_of(app) > left - LEASE_S
        assert witness.ledger.reap(KB, 0.0) == 0


def test_a_client_that_was_suspended_stops_before_the_server_gives_it_up(config: Path) -> None:
    """It asks before it writes, though its lease is not over."""
    clock = ChangedClock()
    with ControlPlane(load(config), role="app", clock=clock, heartbeat=False) as app:
        kb = app.alias("kb")
        kb.count()
        renew = app.ledger.renew
        left: list[float] = []

        def asked(*values: Any) -> bool:
            left.append(lease_of(app))
            return renew(*values)

        clock.slept = LEASE_S * 0.95
        assert not app.router.may_write()
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(app.ledger, "renew", asked)
            kb.upsert([Document(id="d06", text="after a suspension")])

        assert left
        assert left[0] > 0
        assert app.router.may_write()
