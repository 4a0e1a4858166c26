"""What one transaction may not miss of another, with the first of them halted just before it commits.

Each race is run with the locks and once more without them: one that did no harm without the lock would prove nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

pytest.importorskip("psycopg")

from tests.conformance.postgres_ledger import PostgresLedgerBench
from undrift.domain.migration import Phase
from undrift.domain.operation import Opened, Passive
from undrift.domain.route import Mode
from undrift.errors import GateFailed
from undrift.testing.ledgers.bench import (
    ALIAS,
    DEADLINE_S,
    ME,
    SETTLE_S,
    TARGET,
    YOU,
    begin,
    claim,
    enter,
    flip,
    ids,
    lay_out,
    lease,
    opened,
    present,
    publish,
    route_of,
    write,
)

pytestmark = pytest.mark.servers

#: Halts the first transaction that reaches its commit, until another one waits for it or the test lets it go on.
_HALT = """
CREATE SEQUENCE public.halts;
CREATE TABLE public.go_on (now boolean);
CREATE FUNCTION public.halt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('public.halts') = 1 THEN
        FOR turn IN 1..1000 LOOP
            EXIT WHEN EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted) OR EXISTS (SELECT 1 FROM public.go_on);
            PERFORM pg_sleep(0.02);
        END LOOP;
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER halt AFTER INSERT OR UPDATE ON undrift.{table} DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION public.halt();
"""
_END = (
    "DROP TRIGGER halt ON undrift.{table}; DROP FUNCTION public.halt; DROP TABLE public.go_on; "
    "DROP SEQUENCE public.halts"
)


@pytest.fixture
def bench(postgres_bench: PostgresLedgerBench) -> PostgresLedgerBench:
    return postgres_bench


@contextmanager
def without_lock(bench: PostgresLedgerBench, place: int) -> Iterator[None]:
    """Let the ledger's function take every lock but one."""
    ((whole,),) = bench.sql("SELECT pg_get_functiondef('undrift.lock'::regproc)")
    bench.sql(whole.replace("IF p_exclusive THEN", f"IF p_place = {place} THEN RETURN; END IF; IF p_exclusive THEN"))
    try:
        yield
    finally:
        bench.sql(whole)


def overlap(bench: PostgresLedgerBench, table: str, first: Callable[[], Any], *then: Callable[[], Any]) -> list[Any]:
    """Run acts while the first one stands at its commit, having changed a table; return or raise what they gave."""
    bench.sql(_HALT.format(table=table))
    try:
        with ThreadPoolExecutor(2) as pool:
            halted = pool.submit(first)
            _until(lambda: bench.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'") or halted.done())
            assert not halted.done(), halted.result()
            others = pool.submit(lambda: [act() for act in then])
            _until(lambda: others.done() or halted.done())
            bench.sql("INSERT INTO public.go_on VALUES (true)")
            return [halted.result(), *others.result()]
    finally:
        bench.sql(_END.format(table=table))


def _until(true: Callable[[], Any]) -> None:
    pause = threading.Event()
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        pause.wait(0.01)


def publish_while_written_and_claimed(bench: PostgresLedgerBench) -> list[Any]:
    begin(bench.ledger)
    lay_out(bench.ledger, "m")
    chunk = present(lease(bench.ledger))
    published, _, claims = overlap(
        bench,
        "chunk",
        lambda: publish(bench.ledger, chunk, "a"),
        lambda: write(bench.other, "a"),
        lambda: claim(bench.other, owner=YOU),
    )
    return [published, [one.key for one in claims]]


def test_publish_and_claim_do_not_miss_each_other(bench: PostgresLedgerBench) -> None:
    """A document that is in a piece being written is not carried by anybody else."""
    assert publish_while_written_and_claimed(bench) == [["a"], []]


def test_publish_and_claim_miss_each_other_without_their_lock(bench: PostgresLedgerBench) -> None:
    with without_lock(bench, 2):
        assert publish_while_written_and_claimed(bench) == [["a"], ["a"]]


def test_a_flip_waits_for_an_open_and_counts_what_it_marks(bench: PostgresLedgerBench) -> None:
    begin(bench.ledger, Phase.READY)
    gate = []

    def try_to_flip() -> None:
        with pytest.raises(GateFailed) as refused:
            flip(bench.other, max_dirty=0)
        gate.append(refused.value)

    answer, _ = overlap(bench, "op", lambda: opened(bench.ledger, "a"), try_to_flip)

    assert len(gate) == 1
    assert route_of(bench.ledger) == answer.route


def test_an_open_waits_for_a_flip_and_goes_to_the_field_that_serves_then(bench: PostgresLedgerBench) -> None:
    """Which the row of the alias would see to as well, for both change it."""
    begin(bench.ledger, Phase.READY)

    changed, answer = overlap(bench, "alias", lambda: flip(bench.ledger), lambda: opened(bench.other, "a"))

    assert answer.route == changed
    assert answer.route.serving == TARGET
    assert present(bench.mark(ALIAS, "a")).source == TARGET.key


def open_while_the_journal_begins(bench: PostgresLedgerBench) -> Any:
    begin(bench.ledger, Phase.REGISTERED)
    act = lambda: bench.other.open(ALIAS, ids("a"), client=ME, deadline_s=DEADLINE_S)  # noqa: E731
    return overlap(bench, "migration", lambda: enter(bench.ledger, Phase.JOURNALING), act)[1]


def test_an_open_waits_for_the_beginning_of_the_journal(bench: PostgresLedgerBench) -> None:
    assert isinstance(open_while_the_journal_begins(bench), Opened)


def test_an_open_misses_the_beginning_of_the_journal_without_its_lock(bench: PostgresLedgerBench) -> None:
    with without_lock(bench, 1):
        assert isinstance(open_while_the_journal_begins(bench), Passive)


def join_while_the_journal_begins(bench: PostgresLedgerBench) -> tuple[Any, list[str]]:
    begin(bench.ledger, Phase.REGISTERED)
    bench.other.register_client(YOU, host="h", pid=1, role="app", version="1", lease_s=60)
    joined = overlap(
        bench, "migration", lambda: enter(bench.ledger, Phase.JOURNALING), lambda: bench.other.join(YOU, ALIAS)
    )[1]
    return joined, [one.id for one in bench.ledger.unacknowledged(ALIAS, route_of(bench.ledger).epoch, SETTLE_S)]


def test_who_joins_while_the_journal_begins_knows_of_it(bench: PostgresLedgerBench) -> None:
    """Whoever waits for the clients just after the change may not have seen this one."""
    route, awaited = join_while_the_journal_begins(bench)

    assert route.mode is Mode.JOURNAL
    assert awaited == []


def test_who_joins_while_the_journal_begins_misses_it_without_the_lock(bench: PostgresLedgerBench) -> None:
    with without_lock(bench, 1):
        route, _ = join_while_the_journal_begins(bench)

    assert route.mode is Mode.PASSIVE


def abort_while_published(bench: PostgresLedgerBench) -> Any:
    begin(bench.ledger)
    lay_out(bench.ledger, "m")
    chunk = present(lease(bench.ledger))
    return overlap(
        bench,
        "chunk",
        lambda: publish(bench.ledger, chunk, "a"),
        lambda: enter(bench.other, Phase.ABORTING),
        lambda: bench.other.in_flight(ALIAS, SETTLE_S),
    )[2]


def test_after_an_abort_every_piece_that_is_being_written_is_counted(bench: PostgresLedgerBench) -> None:
    """The follower may be dropped when nothing is in flight any more."""
    assert abort_while_published(bench) == 1


def test_an_abort_misses_a_piece_that_is_being_written_without_the_lock(bench: PostgresLedgerBench) -> None:
    with without_lock(bench, 2):
        assert abort_while_published(bench) == 0


def test_writers_workers_and_reapers_at_once_keep_the_order_of_locks(bench: PostgresLedgerBench) -> None:
    """PostgreSQL ends a transaction of each circle of waiters, and counts it."""
    begin(bench.ledger)
    names = [f"k{number}" for number in range(12)]

    def work(worker: int) -> None:
        mine = bench.handle()
        for turn in range(25):
            keys = [names[(worker * 5 + turn * step) % 12] for step in (1, 3, 7)]
            keys = list(dict.fromkeys(keys if worker % 2 else reversed(keys)))
            write(mine, *keys)
            claims = claim(mine, owner=YOU if worker % 2 else ME, limit=4)
            mine.clear(ALIAS, claims[::2], owner=YOU if worker % 2 else ME)
            mine.postpone(ALIAS, claims[1::2], owner=YOU if worker % 2 else ME, delay_s=0.0, error="")
            mine.mark(ALIAS, ids(*reversed(keys)))
            mine.reap(ALIAS, SETTLE_S)
        mine.close_ledger()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))

    assert bench.sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == [(0,)]
    assert bench.operations(ALIAS) == 0
    marks = [present(bench.mark(ALIAS, name)) for name in names]
    assert all(mark.open == 0 for mark in marks)
