"""A program in another language brackets its writes with two SQL functions, and is as safe as one that uses undrift."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("psycopg")

import psycopg

from tests.conformance.postgres_ledger import PostgresLedgerBench
from undrift.domain.migration import Phase
from undrift.errors import StaleRoute
from undrift.testing.ledgers.bench import (
    ALIAS,
    ME,
    MOMENT_S,
    SETTLE_S,
    SOURCE,
    TARGET,
    a_migration,
    begin,
    claim,
    enter,
    flip,
    ids,
    make_alias,
    opened,
    present,
    route_of,
    states,
    write,
)

pytestmark = pytest.mark.servers

OPEN = (
    "SELECT outcome, operation, epoch, serving::json->>'collection', waiting "
    "FROM undrift.open_write('kb', {}, 'php', 30)"
)


@pytest.fixture
def bench(postgres_bench: PostgresLedgerBench) -> PostgresLedgerBench:
    return postgres_bench


def open_write(bench: PostgresLedgerBench, *keys: str) -> tuple[Any, ...]:
    listed = "ARRAY[" + ", ".join(f"'{key}'" for key in keys) + "]"
    (row,) = bench.sql(OPEN.format(listed))
    return row


def close_write(bench: PostgresLedgerBench, operation: int | None, key: str) -> bool:
    ((closed,),) = bench.sql("SELECT undrift.close_write('kb', %s, ARRAY[%s])", operation, key)
    return bool(closed)


def test_a_write_is_marked_before_it_and_closed_after_it(bench: PostgresLedgerBench) -> None:
    begin(bench.ledger)

    outcome, operation, epoch, collection, waiting = open_write(bench, "a", "b", "a")

    assert (outcome, epoch, collection, waiting) == ("opened", route_of(bench.ledger).epoch, SOURCE.collection, [])
    mark = present(bench.mark(ALIAS, "a"))
    assert (mark.dirty, mark.source, mark.open) == (True, SOURCE.key, 1)
    assert bench.operations(ALIAS) == 1
    assert close_write(bench, operation, "a")
    assert present(bench.mark(ALIAS, "a")).open == 0
    assert bench.operations(ALIAS) == 0


def test_a_write_that_was_reaped_may_not_be_acknowledged(bench: PostgresLedgerBench) -> None:
    begin(bench.ledger)
    _, operation, *_ = open_write(bench, "a")
    bench.clock.advance(30 + SETTLE_S + MOMENT_S)
    assert bench.ledger.reap(ALIAS, SETTLE_S) == 1
    bench.ledger.clear(ALIAS, claim(bench.ledger), owner=ME)

    assert not close_write(bench, operation, "a")
    assert states(bench.ledger, "a") == {"a": True}


def test_a_document_whose_truth_is_in_the_other_field_waits(bench: PostgresLedgerBench) -> None:
    begin(bench.ledger, Phase.READY)
    write(bench.ledger, "a")
    flip(bench.ledger)

    outcome, operation, _, collection, waiting = open_write(bench, "a", "b")

    assert (outcome, operation, collection, waiting) == ("foreign", None, TARGET.collection, ["a"])
    assert bench.operations(ALIAS) == 0


def test_writers_are_held_while_a_cutover_drains(bench: PostgresLedgerBench) -> None:
    begin(bench.ledger)
    bench.ledger.hold(route_of(bench.ledger), 5.0)

    assert open_write(bench, "a")[:2] == ("held", None)


def test_a_migration_waits_for_a_write_that_began_without_a_journal(bench: PostgresLedgerBench) -> None:
    """Such a program keeps no lease: the call is one."""
    make_alias(bench.ledger)
    outcome, operation, *_ = open_write(bench, "a")
    bench.ledger.register_migration(a_migration(), who="")
    enter(bench.ledger, Phase.JOURNALING)
    epoch = route_of(bench.ledger).epoch

    assert (outcome, operation) == ("passive", None)
    assert close_write(bench, None, "a")
    assert [one.id for one in bench.ledger.unacknowledged(ALIAS, epoch, SETTLE_S)] == ["php@1"]
    bench.clock.advance(10)
    assert open_write(bench, "b")[0] == "opened"
    assert [one.id for one in bench.ledger.unacknowledged(ALIAS, epoch, SETTLE_S)] == ["php@1"]
    bench.clock.advance(20 + SETTLE_S + MOMENT_S)
    assert bench.ledger.unacknowledged(ALIAS, epoch, SETTLE_S) == []


def test_a_program_that_writes_all_the_time_does_not_hold_up_a_cancellation(bench: PostgresLedgerBench) -> None:
    """What it began before is over some time, though it goes on."""
    make_alias(bench.ledger)
    open_write(bench, "a")
    bench.ledger.register_migration(a_migration(), who="")
    enter(bench.ledger, Phase.JOURNALING)
    enter(bench.ledger, Phase.ABORTING)
    epoch = route_of(bench.ledger).epoch

    for _ in range(4):
        assert open_write(bench, "a")[0] == "passive"
        assert [one.id for one in bench.ledger.unacknowledged(ALIAS, epoch, SETTLE_S)] == ["php@1"]
        bench.clock.advance(30 / 4 + SETTLE_S / 4)
    bench.clock.advance(MOMENT_S)

    assert bench.ledger.unacknowledged(ALIAS, epoch, SETTLE_S) == []
    assert "php@3" in {one.id for one in bench.ledger.clients(ALIAS)}


def test_a_write_and_its_vector_in_the_same_database_are_one_transaction(bench: PostgresLedgerBench) -> None:
    begin(bench.ledger)
    bench.sql("CREATE TABLE public.vectors (id text PRIMARY KEY)")
    try:
        with bench.server.connect(bench.database) as connection:
            connection.execute("BEGIN")
            connection.execute("SELECT * FROM undrift.open_write('kb', ARRAY['a'], 'php', 30)")
            connection.execute("INSERT INTO public.vectors VALUES ('a')")
            connection.execute("ROLLBACK")
            assert bench.mark(ALIAS, "a") is None
            with connection.transaction():
                row = connection.execute(OPEN.format("ARRAY['a']")).fetchone()
                connection.execute("INSERT INTO public.vectors VALUES ('a')")
                connection.execute("SELECT undrift.close_write('kb', %s, ARRAY['a'])", (row[1],))
        assert present(bench.mark(ALIAS, "a")).dirty
        assert bench.operations(ALIAS) == 0
    finally:
        bench.sql("DROP TABLE public.vectors")


def test_both_kinds_of_writers_keep_out_of_each_others_way(bench: PostgresLedgerBench) -> None:
    begin(bench.ledger)
    _, first, *_ = open_write(bench, "a")
    second = opened(bench.ledger, "a").operation

    assert close_write(bench, first, "a")
    assert present(bench.mark(ALIAS, "a")).open == 1
    assert bench.ledger.close(ALIAS, second, ids("a"))
    with pytest.raises(StaleRoute):
        bench.ledger.register_migration(a_migration("m2"), who="")


@pytest.mark.parametrize(
    ("call", "state"),
    [
        ("undrift.open_write('none', ARRAY['a'], 'php', 30)", "UD001"),
        ("undrift.open_write('kb', ARRAY[]::text[], 'php', 30)", "22023"),
        ("undrift.open_write('kb', ARRAY['a', NULL], 'php', 30)", "22023"),
        ("undrift.open_write('kb', NULL, 'php', 30)", "22023"),
        ("undrift.open_write('kb', ARRAY['a'], NULL, 30)", "22023"),
        ("undrift.open_write('kb', ARRAY['a'], 'php', 'NaN')", "22023"),
        ("undrift.open_write('kb', ARRAY['a'], 'php', 0)", "22023"),
        ("undrift.close_write('none', 1, ARRAY['a'])", "UD001"),
        ("undrift.close_write('kb', 1, NULL)", "22023"),
    ],
)
def test_a_wrong_call_is_refused_by_its_code(bench: PostgresLedgerBench, call: str, state: str) -> None:
    begin(bench.ledger)

    with pytest.raises(psycopg.Error) as refused:
        bench.sql(f"SELECT {call}")

    assert refused.value.sqlstate == state
    assert bench.operations(ALIAS) == 0


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_call_that_could_not_see_what_it_waited_for_is_refused(bench: PostgresLedgerBench, level: str) -> None:
    begin(bench.ledger)

    with bench.server.connect(bench.database) as connection:
        connection.execute(f"BEGIN ISOLATION LEVEL {level}")
        with pytest.raises(psycopg.Error, match="READ COMMITTED") as refused:
            connection.execute("SELECT * FROM undrift.open_write('kb', ARRAY['a'], 'php', 30)")
        connection.execute("ROLLBACK")

    assert refused.value.sqlstate == "UD002"
