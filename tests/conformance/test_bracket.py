"""The bracket that a server keeps for programs that call it obeys the rules of the protocol, on every ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.sqlite_ledger import SqliteLedgerBench
from undrift.domain.migration import Phase
from undrift.domain.route import AliasName
from undrift.errors import BadArgument, ControlUnavailable, UnknownAlias
from undrift.server.bracket import Bracket
from undrift.testing.faults import Faults, FaultyLedger
from undrift.testing.ledgers import LedgerBench
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
    present,
    route_of,
    states,
    write,
)

LONGEST_S = 30.0


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.servers)])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LedgerBench]:
    if request.param == "postgres":
        yield request.getfixturevalue("postgres_bench")
        return
    made = SqliteLedgerBench(tmp_path / "ledger.db")
    yield made
    made.close()


@pytest.fixture
def bracket(bench: LedgerBench) -> Bracket:
    return Bracket(bench.ledger, bench.clock, longest_s=LONGEST_S)


def open_write(bracket: Bracket, *keys: str, caller: str = "web", deadline_s: float | None = None) -> dict[str, Any]:
    return bracket.open(ALIAS, ids(*keys), caller=caller, host="h", deadline_s=deadline_s)


def awaited(bench: LedgerBench) -> list[str]:
    return [one.id for one in bench.ledger.unacknowledged(ALIAS, route_of(bench.ledger).epoch, SETTLE_S)]


def test_a_write_is_marked_before_it_and_closed_after_it(bench: LedgerBench, bracket: Bracket) -> None:
    begin(bench.ledger)

    answer = open_write(bracket, "a", "b")

    assert answer["outcome"] == "opened"
    assert (answer["epoch"], answer["sequence"], answer["mode"]) == (2, 1, "journal")
    assert answer["serving"] == {"store": SOURCE.store, "collection": SOURCE.collection, "space": SOURCE.space}
    assert answer["follower"]["collection"] == TARGET.collection
    assert present(bench.mark(ALIAS, "a")).open == 1
    assert bracket.close(ALIAS, answer["operation"], ids("a", "b"))
    assert present(bench.mark(ALIAS, "b")).open == 0
    assert bench.operations(ALIAS) == 0


def test_an_operation_is_closed_once(bench: LedgerBench, bracket: Bracket) -> None:
    """Who lost the answer does it again; that is safe, and an acknowledgement of nothing would not be."""
    begin(bench.ledger)
    operation = open_write(bracket, "a")["operation"]

    assert bracket.close(ALIAS, operation, ids("a"))
    assert not bracket.close(ALIAS, operation, ids("a"))


def test_a_write_that_was_reaped_may_not_be_acknowledged(bench: LedgerBench, bracket: Bracket) -> None:
    begin(bench.ledger)
    operation = open_write(bracket, "a", deadline_s=2)["operation"]
    bench.clock.advance(2 + SETTLE_S - MOMENT_S)
    assert bench.ledger.reap(ALIAS, SETTLE_S) == 0
    bench.clock.advance(2 * MOMENT_S)
    assert bench.ledger.reap(ALIAS, SETTLE_S) == 1
    bench.ledger.clear(ALIAS, claim(bench.ledger), owner=ME)
    assert states(bench.ledger, "a") == {"a": False}

    assert not bracket.close(ALIAS, operation, ids("a"))
    assert states(bench.ledger, "a") == {"a": True}


def test_writers_are_held_while_a_cutover_drains(bench: LedgerBench, bracket: Bracket) -> None:
    begin(bench.ledger)
    bench.ledger.hold(route_of(bench.ledger), 5.0)

    answer = open_write(bracket, "a")

    assert (answer["outcome"], answer["operation"], answer["mode"]) == ("held", None, "hold")
    bench.clock.advance(5.0 + MOMENT_S)
    assert open_write(bracket, "a")["outcome"] == "opened"


def test_a_document_whose_truth_is_in_the_other_field_waits(bench: LedgerBench, bracket: Bracket) -> None:
    begin(bench.ledger, Phase.READY)
    write(bench.ledger, "a")
    flip(bench.ledger)

    answer = open_write(bracket, "a", "b")

    assert (answer["outcome"], answer["operation"], answer["waiting"]) == ("foreign", None, ["a"])
    assert answer["serving"]["collection"] == TARGET.collection
    assert bench.operations(ALIAS) == 0


def test_a_migration_waits_for_a_write_that_began_without_a_journal(bench: LedgerBench, bracket: Bracket) -> None:
    """As long as a write may take, and not as long as this one asked for: others may have begun under that lease."""
    make_alias(bench.ledger)
    answer = open_write(bracket, "a", deadline_s=5)
    assert (answer["outcome"], answer["operation"], answer["sequence"]) == ("passive", None, None)
    assert bracket.close(ALIAS, None, ids("a"))
    assert bench.mark(ALIAS, "a") is None

    bench.ledger.register_migration(a_migration(), who="")
    enter(bench.ledger, Phase.JOURNALING)
    assert awaited(bench) == ["web@1"]
    bench.clock.advance(10)
    assert open_write(bracket, "a")["outcome"] == "opened"
    bench.clock.advance(LONGEST_S + SETTLE_S - 10 - MOMENT_S)
    assert awaited(bench) == ["web@1"]
    bench.clock.advance(2 * MOMENT_S)
    assert awaited(bench) == []


def test_who_calls_again_keeps_one_lease_that_never_becomes_shorter(bench: LedgerBench, bracket: Bracket) -> None:
    make_alias(bench.ledger)
    open_write(bracket, "a", deadline_s=30)
    bench.clock.advance(1)
    open_write(bracket, "a", deadline_s=1)
    open_write(bracket, "b", caller="other")

    clients = {one.id: one for one in bench.ledger.clients(ALIAS)}
    assert sorted(clients) == ["other@1", "web@1"]
    assert clients["web@1"].lease_left_s > 29
    assert (clients["web@1"].role, clients["web@1"].host) == ("http", "h")


def test_who_writes_all_the_time_does_not_hold_up_a_cancellation(bench: LedgerBench, bracket: Bracket) -> None:
    make_alias(bench.ledger)
    open_write(bracket, "a")
    bench.ledger.register_migration(a_migration(), who="")
    enter(bench.ledger, Phase.JOURNALING)
    enter(bench.ledger, Phase.ABORTING)

    for _ in range(4):
        assert open_write(bracket, "a")["outcome"] == "passive"
        assert awaited(bench) == ["web@1"]
        bench.clock.advance((LONGEST_S + SETTLE_S) / 4)
    bench.clock.advance(MOMENT_S)

    assert awaited(bench) == []
    assert "web@3" in {one.id for one in bench.ledger.clients(ALIAS)}


def test_a_write_that_was_counted_on_too_late_does_not_begin(bench: LedgerBench) -> None:
    """The ledger answered so late that its lease may be over before the write is."""
    make_alias(bench.ledger)
    faults = Faults()
    bracket = Bracket(FaultyLedger(bench.ledger, faults), bench.clock, longest_s=LONGEST_S)
    faults.on_call = lambda call: bench.clock.advance(LONGEST_S) if call == "ledger.join" else None

    with pytest.raises(ControlUnavailable, match="too long"):
        open_write(bracket, "a")


def test_a_migration_that_begins_in_between_is_seen(bench: LedgerBench) -> None:
    make_alias(bench.ledger)
    faults = Faults()
    bracket = Bracket(FaultyLedger(bench.ledger, faults), bench.clock, longest_s=LONGEST_S)

    def begin_one(call: str) -> None:
        if call == "ledger.join":
            bench.other.register_migration(a_migration(), who="")
            enter(bench.other, Phase.JOURNALING)

    faults.on_call = begin_one
    assert open_write(bracket, "a")["outcome"] == "opened"


def test_a_deadline_that_is_too_long_is_refused(bench: LedgerBench, bracket: Bracket) -> None:
    begin(bench.ledger)

    with pytest.raises(BadArgument, match="31 s") as refused:
        open_write(bracket, "a", deadline_s=31)

    assert "30 s" in refused.value.detail
    assert bench.operations(ALIAS) == 0


def test_an_alias_that_is_not_there_is_named(bench: LedgerBench, bracket: Bracket) -> None:
    nowhere = AliasName("nowhere")
    with pytest.raises(UnknownAlias, match="nowhere"):
        bracket.route(nowhere)
    with pytest.raises(UnknownAlias, match="nowhere"):
        bracket.open(nowhere, ids("a"), caller="web", host="", deadline_s=None)
    with pytest.raises(UnknownAlias, match="nowhere"):
        bracket.close(nowhere, 1, ids("a"))
