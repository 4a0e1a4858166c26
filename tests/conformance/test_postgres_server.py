"""A PostgreSQL ledger outlives what happens to its server."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

pytest.importorskip("psycopg")

from tests.conformance.postgres_ledger import REAL_TIME, PostgresLedgerBench, open_ledger
from tests.conformance.postgres_server import PostgresServer
from undrift.adapters.ledgers.postgres import PostgresLedger, schema
from undrift.domain.migration import Phase
from undrift.domain.route import AliasName
from undrift.errors import ControlUnavailable, LedgerUnusable
from undrift.testing.ledgers.bench import (
    ALIAS,
    DEADLINE_S,
    LEASE_S,
    ME,
    MOMENT_S,
    SETTLE_S,
    begin,
    claim,
    enter,
    flip,
    ids,
    lay_out,
    make_alias,
    migration_of,
    opened,
    present,
    states,
    write,
)

pytestmark = pytest.mark.servers


@pytest.fixture
def bench(postgres_bench: PostgresLedgerBench) -> PostgresLedgerBench:
    return postgres_bench


@contextmanager
def database(server: PostgresServer, name: str, options: str = "") -> Iterator[str]:
    """A database of its own, with no ledger in it."""
    server.sql(f"CREATE DATABASE {name} {options}")
    try:
        yield server.url(name)
    finally:
        server.sql(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def trigger(bench: PostgresLedgerBench, table: str, event: str, body: str) -> Iterator[None]:
    """Something that happens within a transaction of the ledger."""
    bench.sql("CREATE SEQUENCE public.turns")
    bench.sql("CREATE TABLE public.seen (setting text)")
    bench.sql(
        f"CREATE FUNCTION public.act() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {body}; RETURN NULL; END$$; "
        f"CREATE TRIGGER act AFTER {event} ON undrift.{table} FOR EACH ROW EXECUTE FUNCTION public.act()"
    )
    try:
        yield
    finally:
        bench.sql(f"DROP TRIGGER act ON undrift.{table}; DROP FUNCTION public.act")
        bench.sql("DROP TABLE public.seen; DROP SEQUENCE public.turns")


# A server that goes away


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_a_ledger_goes_on_when_its_server_comes_back(bench: PostgresLedgerBench, how: signal.Signals) -> None:
    begin(bench.ledger)
    operation = opened(bench.ledger, "a").operation

    with bench.server.down(how):
        with pytest.raises(ControlUnavailable, match="ledger postgresql:"):
            bench.ledger.open(ALIAS, ids("b"), client=ME, deadline_s=DEADLINE_S)
        with pytest.raises(ControlUnavailable):
            bench.ledger.close(ALIAS, operation, ids("a"))
        with pytest.raises(ControlUnavailable):
            bench.other.route(ALIAS)

    assert bench.mark(ALIAS, "b") is None
    assert bench.ledger.close(ALIAS, operation, ids("a"))
    write(bench.other, "b")
    assert states(bench.ledger, ("a", "b")) == {"a": True, "b": True}


def test_connections_that_the_server_ended_while_they_rested_are_noticed(bench: PostgresLedgerBench) -> None:
    """No call fails for it."""
    begin(bench.ledger)
    bench.server.sql(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND datname IS NOT NULL"
    )

    write(bench.ledger, "a")

    assert states(bench.other, "a") == {"a": True}


def test_a_connection_that_breaks_within_a_transaction_leaves_nothing_of_it(bench: PostgresLedgerBench) -> None:
    begin(bench.ledger)

    with (
        trigger(bench, "dirty", "INSERT", "PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(5)"),
        pytest.raises(ControlUnavailable),
    ):
        bench.ledger.open(ALIAS, ids("a", "b"), client=ME, deadline_s=DEADLINE_S)

    assert bench.operations(ALIAS) == 0
    assert bench.mark(ALIAS, "a") is None
    write(bench.ledger, "a")


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_what_the_server_undid_to_let_others_through_is_done_again(bench: PostgresLedgerBench, state: str) -> None:
    begin(bench.ledger)
    once = f"IF nextval('public.turns') < 3 THEN RAISE EXCEPTION 'make way' USING ERRCODE = '{state}'; END IF"

    with trigger(bench, "dirty", "INSERT", once):
        write(bench.ledger, "a")
    with trigger(bench, "migration", "UPDATE", once):
        enter(bench.ledger, Phase.CATCHUP)

    assert bench.operations(ALIAS) == 0
    assert present(bench.mark(ALIAS, "a")).open == 0
    assert [line.action for line in bench.ledger.history(ALIAS, limit=2)] == ["catchup", "backfill"]


def test_what_the_server_undoes_every_time_is_given_up(bench: PostgresLedgerBench) -> None:
    begin(bench.ledger)
    with (
        trigger(bench, "dirty", "INSERT", "RAISE EXCEPTION 'make way' USING ERRCODE = '40P01'"),
        pytest.raises(ControlUnavailable, match="make way"),
    ):
        write(bench.ledger, "a")


def test_what_must_survive_a_power_loss_is_committed_so(bench: PostgresLedgerBench) -> None:
    begin(bench.ledger, Phase.READY)
    bench.server.sql(f"ALTER DATABASE {bench.database} SET synchronous_commit = off")
    bench.ledger.close_ledger()
    try:
        note = "INSERT INTO public.seen VALUES (current_setting('synchronous_commit'))"
        with trigger(bench, "alias", "UPDATE", note):
            answer = opened(bench.ledger, "a")
            assert bench.sql("SELECT setting FROM public.seen") == [("on",)]
        with trigger(bench, "op", "DELETE", note):
            bench.ledger.close(ALIAS, answer.operation, ids("a"))
            assert bench.sql("SELECT setting FROM public.seen") == [("off",)]
        with trigger(bench, "alias", "UPDATE", note):
            flip(bench.ledger)
            assert bench.sql("SELECT setting FROM public.seen") == [("on",)]
    finally:
        bench.server.sql(f"ALTER DATABASE {bench.database} RESET synchronous_commit")


# Statements that the server keeps


def test_the_server_reads_what_every_write_asks_only_once_for_each_connection(bench: PostgresLedgerBench) -> None:
    begin(bench.ledger)
    for _ in range(3):
        write(bench.ledger, "a")

    assert bench.ledger._read("SELECT count(*), count(DISTINCT name) FROM pg_prepared_statements") == [(2, 2)]


def test_a_write_goes_on_where_the_server_has_forgotten_what_it_kept(bench: PostgresLedgerBench) -> None:
    """As behind a pooler that does not show itself."""
    begin(bench.ledger)
    write(bench.ledger, "a")
    bench.ledger._run(("DEALLOCATE ALL", ()))

    write(bench.ledger, "a", "b")

    assert bench.operations(ALIAS) == 0
    assert bench.ledger._read("SELECT count(*) FROM pg_prepared_statements") == [(0,)]


# What has ended is counted later


def counts(bench: PostgresLedgerBench, key: str) -> list[tuple[int]]:
    """How many operations the row of a document takes for open, as it stands."""
    return bench.sql("SELECT open FROM undrift.dirty WHERE alias = %s AND key = %s", ALIAS, key)


def uncounted(bench: PostgresLedgerBench) -> int:
    ((count,),) = bench.sql("SELECT count(*) FROM undrift.ended")
    return int(count)


def test_a_worker_that_knows_nothing_of_it_counts_what_has_ended_by_the_lock_that_it_takes(
    bench: PostgresLedgerBench,
) -> None:
    begin(bench.ledger)
    write(bench.ledger, "a", "b")
    assert (uncounted(bench), counts(bench, "a")) == (1, [(1,)])

    bench.sql("SELECT undrift.lock(%s, 2, false)", ALIAS)

    assert (uncounted(bench), counts(bench, "a"), counts(bench, "b")) == (0, [(0,)], [(0,)])


def test_what_ended_in_an_older_migration_says_nothing_of_a_write_of_this_one(bench: PostgresLedgerBench) -> None:
    begin(bench.ledger)
    opened(bench.ledger, "a")
    bench.sql("INSERT INTO undrift.ended (alias, migration, keys) VALUES (%s, 'older', '{a}')", ALIAS)

    bench.sql("SELECT undrift.settle(%s)", ALIAS)

    assert (uncounted(bench), counts(bench, "a")) == (0, [(1,)])


def test_what_waits_to_be_counted_does_not_grow_for_ever_where_nobody_works(bench: PostgresLedgerBench) -> None:
    begin(bench.ledger)
    for _ in range(130):
        write(bench.ledger, "a")

    assert 0 < uncounted(bench) <= 64


def test_nothing_is_counted_in_a_transaction_that_holds_documents_already(bench: PostgresLedgerBench) -> None:
    begin(bench.ledger)
    write(bench.ledger, "a")
    bench.sql("ALTER TABLE undrift.op ALTER COLUMN id RESTART WITH 640")

    bench.sql(
        "SELECT undrift.close_journaled(%s, o.operation, '{b}') "
        "FROM undrift.open_journaled(%s, '{b}', 'somebody', 30) AS o",
        ALIAS,
        ALIAS,
    )

    assert uncounted(bench) == 2


def test_a_server_with_other_habits_makes_no_difference(bench: PostgresLedgerBench) -> None:
    """Neither its isolation level, nor its time zone, nor its search path."""
    habits = {
        "default_transaction_isolation": "'serializable'",
        "timezone": "'Asia/Kathmandu'",
        "search_path": "''",
        "datestyle": "'SQL, DMY'",
        "standard_conforming_strings": "on",
        "bytea_output": "'escape'",
    }
    for name, value in habits.items():
        bench.server.sql(f"ALTER DATABASE {bench.database} SET {name} = {value}")
    bench.ledger.close_ledger()
    try:
        begin(bench.ledger, Phase.READY)
        write(bench.ledger, "it's \\ 100%", "é😀")
        assert bench.ledger.history(ALIAS)[0].at == bench.clock.now()
        assert migration_of(bench.ledger).started.utcoffset() == bench.clock.now().utcoffset()
        assert bench.ledger.clear(ALIAS, claim(bench.ledger), owner=ME) == 2
        flip(bench.ledger, max_dirty=0)
    finally:
        bench.server.sql(f"ALTER DATABASE {bench.database} RESET ALL")


# Processes


def _write_in_a_child(ledger: Any, key: str) -> None:
    write(ledger, key)


def test_a_forked_process_uses_connections_of_its_own(bench: PostgresLedgerBench) -> None:
    begin(bench.ledger)
    context = multiprocessing.get_context("fork")

    child = context.Process(target=_write_in_a_child, args=(bench.ledger, "child"))
    child.start()
    write(bench.ledger, "parent")
    child.join()

    assert child.exitcode == 0
    write(bench.ledger, "again")
    assert set(states(bench.ledger, ("child", "parent", "again"))) == {"child", "parent", "again"}


def test_threads_share_a_few_connections(bench: PostgresLedgerBench) -> None:
    begin(bench.ledger)
    with ThreadPoolExecutor(24) as pool:
        list(pool.map(lambda number: write(bench.ledger, f"k{number % 7}"), range(120)))

    assert bench.ledger.lag(ALIAS).open == 0
    ((count,),) = bench.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'undrift'")
    assert 0 < count <= 8


def test_processes_that_begin_a_ledger_at_once_begin_the_same(server: PostgresServer) -> None:
    def work(url: str, number: int) -> None:
        ledger = open_ledger(url)
        make_alias(ledger, AliasName(f"alias {number}"))
        ledger.close_ledger()

    with database(server, "begun") as url:
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda number: work(url, number), range(12)))
        ledger = open_ledger(url)
        assert len(ledger.aliases()) == 12
        ledger.close_ledger()


# Versions


def test_a_ledger_of_a_newer_major_version_is_refused_and_left_alone(bench: PostgresLedgerBench) -> None:
    make_alias(bench.ledger)
    bench.ledger.close_ledger()
    major = schema.STEPS[-1].version[0]
    bench.sql("UPDATE undrift.ledger_meta SET value = %s WHERE key = 'major'", str(major + 1))
    try:
        with pytest.raises(LedgerUnusable, match="newer undrift") as refused:
            make_alias(bench.ledger, AliasName("more"))
    finally:
        bench.sql("UPDATE undrift.ledger_meta SET value = %s WHERE key = 'major'", str(major))

    assert "upgrade" in refused.value.hint
    assert bench.ledger.aliases() == [ALIAS]


def test_half_of_the_hosts_may_be_upgraded(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newer one adds to the tables; the older one goes on, also when it begins anew."""
    with database(server, "halves") as url:
        older = open_ledger(url)
        begin(older)
        major, minor = schema.STEPS[-1].version
        added = schema.Step(
            version=(major, minor + 1), sql="ALTER TABLE undrift.alias ADD COLUMN note text NOT NULL DEFAULT ''"
        )
        with monkeypatch.context() as upgraded:
            upgraded.setattr(schema, "STEPS", (*schema.STEPS, added))
            newer = open_ledger(url)
            write(newer, "a")
        write(older, "b")
        older.close_ledger()
        write(older, "c")

        assert set(states(newer, "abc")) == {"a", "b", "c"}
        meta = server.sql("SELECT value FROM undrift.ledger_meta WHERE key <> 'home' ORDER BY key", "halves")
        assert meta == [(str(major),), (str(minor + 1),)]
        newer.close_ledger()
        older.close_ledger()


def test_a_change_that_older_processes_do_not_know_waits_for_them(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database(server, "majors") as url:
        older = open_ledger(url)
        begin(older)
        older.register_client(ME, host="h", pid=1, role="app", version="1", lease_s=LEASE_S)
        broken = schema.Step(version=(2, 0), sql="ALTER TABLE undrift.alias RENAME COLUMN mirror TO mirrored")
        monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, broken))
        newer = open_ledger(url)

        with pytest.raises(LedgerUnusable, match="older undrift") as refused:
            newer.spaces()
        assert "1 processes" in refused.value.detail
        older.leave(ME)
        assert newer.spaces() == []
        monkeypatch.undo()
        older.close_ledger()
        with pytest.raises(LedgerUnusable, match="newer undrift"):
            older.spaces()
        newer.close_ledger()


def test_an_upgrade_that_fails_leaves_the_ledger_as_it_was(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database(server, "failing") as url:
        monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, schema.Step(version=(1, 1), sql="SELECT 1 / 0")))
        with pytest.raises(LedgerUnusable, match="division by zero"):
            open_ledger(url).aliases()

        assert server.sql("SELECT to_regclass('undrift.alias')", "failing") == [(None,)]


def test_a_database_that_does_not_keep_every_text_is_refused(server: PostgresServer) -> None:
    with (
        database(server, "latin", "ENCODING 'LATIN1' TEMPLATE template0") as url,
        pytest.raises(LedgerUnusable, match="LATIN1") as refused,
    ):
        open_ledger(url).aliases()

    assert "UTF8" in refused.value.hint


# Time


def test_what_expires_is_measured_by_the_database(bench: PostgresLedgerBench) -> None:
    """Whatever the clocks of the hosts say."""
    bench.set_time(REAL_TIME)
    ledger = PostgresLedger(bench.url, bench.clock)
    begin(ledger)
    opened(ledger, "a")
    lay_out(ledger, "m")
    bench.clock.advance(DEADLINE_S + SETTLE_S + MOMENT_S)

    assert ledger.reap(ALIAS, SETTLE_S) == 0
    bench.sql("UPDATE undrift.op SET deadline = deadline - %s", DEADLINE_S + SETTLE_S)
    assert ledger.reap(ALIAS, SETTLE_S) == 1
    ledger.close_ledger()
