"""Migrations: how one begins, who coordinates it, what it may spend, and how it changes what an alias means."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from undrift.domain.migration import MigrationId, Phase, RunStatus
from undrift.errors import BudgetExhausted, StaleRoute
from undrift.ports.ledger import Ledger
from undrift.testing.ledgers.bench import (
    ALIAS,
    LEASE_S,
    ME,
    MOMENT_S,
    TARGET,
    YOU,
    LedgerBench,
    a_migration,
    begin,
    enter,
    ids,
    lay_out,
    make_alias,
    migration_of,
    opened,
    present,
    states,
    write,
)


def _cancel(ledger: Ledger) -> None:
    enter(ledger, Phase.ABORTING)
    enter(ledger, Phase.ABORTED)


class MigrationRules:
    """What the coordinator and the operator may count on."""

    def test_a_migration_is_registered_on_an_empty_journal(self, bench: LedgerBench) -> None:
        """What the last one left behind would be taken for touched, and never be back-filled."""
        begin(bench.ledger)
        lay_out(bench.ledger, "f")
        write(bench.ledger, "a")
        bench.ledger.quarantine(ALIAS, dict.fromkeys(ids("b"), ("rejected", "")))
        bench.ledger.tune(ALIAS, {"rate": "5"})
        _cancel(bench.ledger)

        bench.other.register_migration(a_migration("m2"), who="kit")

        assert states(bench.ledger, "a") == {}
        assert bench.mark(ALIAS, "a") is None
        assert bench.ledger.quarantined_count(ALIAS) == 0
        assert bench.ledger.tuning(ALIAS) == {}
        assert bench.ledger.last_chunk(MigrationId("m2")) is None
        assert (migration_of(bench.ledger).id, migration_of(bench.ledger).phase) == ("m2", Phase.REGISTERED)

    def test_registering_changes_no_route(self, bench: LedgerBench) -> None:
        """Clients have nothing to do yet."""
        route = make_alias(bench.ledger)

        bench.ledger.register_migration(a_migration(), who="kit")

        assert bench.other.route(ALIAS) == route

    def test_one_migration_at_a_time(self, bench: LedgerBench) -> None:
        """A second one is refused until the first is over, and the first goes on."""
        begin(bench.ledger, Phase.REGISTERED)

        with pytest.raises(StaleRoute):
            bench.other.register_migration(a_migration("m2"), who="kit")

        assert migration_of(bench.ledger).id == "m1"

    def test_no_migration_begins_while_writes_of_the_last_one_are_open(self, bench: LedgerBench) -> None:
        """Their late close would mark documents of a journal that knows nothing of them."""
        begin(bench.ledger)
        operation = opened(bench.ledger, "a").operation
        _cancel(bench.ledger)

        with pytest.raises(StaleRoute):
            bench.other.register_migration(a_migration("m2"), who="kit")

        assert migration_of(bench.ledger).id == "m1"
        bench.ledger.close(ALIAS, operation, ids("a"))
        bench.other.register_migration(a_migration("m2"), who="kit")

    def test_a_migration_from_a_field_that_does_not_serve_is_refused(self, bench: LedgerBench) -> None:
        """It was decided before another process changed the alias."""
        make_alias(bench.ledger, serving=TARGET)

        with pytest.raises(StaleRoute):
            bench.ledger.register_migration(a_migration(), who="kit")
        assert present(bench.ledger.alias(ALIAS)).migration is None

    def test_one_process_coordinates(self, bench: LedgerBench) -> None:
        """It may prolong its lease; another takes it when it has ended or was given back."""
        id = begin(bench.ledger).id

        assert bench.ledger.coordinate(id, owner=ME, lease_s=LEASE_S)
        bench.clock.advance(LEASE_S - 1)
        assert bench.ledger.coordinate(id, owner=ME, lease_s=LEASE_S)
        bench.clock.advance(LEASE_S - MOMENT_S)
        assert not bench.other.coordinate(id, owner=YOU, lease_s=LEASE_S)
        bench.clock.advance(2 * MOMENT_S)
        assert bench.other.coordinate(id, owner=YOU, lease_s=LEASE_S)
        bench.ledger.yield_coordination(id, owner=ME)
        assert not bench.ledger.coordinate(id, owner=ME, lease_s=LEASE_S)
        bench.other.yield_coordination(id, owner=YOU)
        assert bench.ledger.coordinate(id, owner=ME, lease_s=LEASE_S)

    def test_a_phase_is_saved_from_the_phase_it_was_decided_in(self, bench: LedgerBench) -> None:
        """One that comes late changes nothing, not even the history."""
        begin(bench.ledger, Phase.BACKFILL)
        late = replace(migration_of(bench.ledger), phase=Phase.CATCHUP)
        enter(bench.other, Phase.CATCHUP)
        enter(bench.other, Phase.VERIFY)
        lines = bench.other.history(ALIAS)

        with pytest.raises(StaleRoute):
            bench.ledger.save_phase(late, was=Phase.BACKFILL, who="kit")

        assert migration_of(bench.ledger).phase is Phase.VERIFY
        assert bench.ledger.history(ALIAS) == lines

    def test_a_phase_may_come_with_a_word(self, bench: LedgerBench) -> None:
        """Which the history keeps."""
        was = begin(bench.ledger, Phase.JOURNALING)

        bench.ledger.save_phase(replace(was, phase=Phase.BACKFILL), was=was.phase, who="ada", detail="all are here")

        line = bench.other.history(ALIAS)[0]
        assert (line.who, line.action, line.detail) == ("ada", "backfill", "all are here")

    def test_the_run_status_is_another_axis(self, bench: LedgerBench) -> None:
        """The phase stays; the reason is kept; the history has one line for each change."""
        id = begin(bench.ledger).id
        lines = len(bench.ledger.history(ALIAS))

        for _ in range(2):
            bench.ledger.save_run_status(id, RunStatus.HALTED, reason="the model changed", who="ada")

        found = migration_of(bench.other)
        assert (found.phase, found.run_status, found.reason) == (Phase.BACKFILL, RunStatus.HALTED, "the model changed")
        line = bench.other.history(ALIAS)[0]
        assert (line.who, line.action, line.detail) == ("ada", "halted", "the model changed")
        assert len(bench.other.history(ALIAS)) == lines + 1

    def test_a_worker_overrules_no_operator(self, bench: LedgerBench) -> None:
        """What a worker notes is decided before it is written; a pause that came between must stay one."""
        begin(bench.ledger)
        id = migration_of(bench.ledger).id
        assert bench.ledger.save_run_status(id, RunStatus.PAUSED, reason="a sale", who="ann")
        lines = bench.ledger.history(ALIAS)

        noted = bench.other.save_run_status(id, RunStatus.RUNNING, reason="slow", who="worker", was=RunStatus.RUNNING)
        halted = bench.other.save_run_status(id, RunStatus.HALTED, reason="bad", who="worker", was=RunStatus.RUNNING)

        assert (noted, halted) == (False, False)
        found = migration_of(bench.ledger)
        assert (found.run_status, found.reason) == (RunStatus.PAUSED, "a sale")
        assert bench.ledger.history(ALIAS) == lines
        assert bench.other.save_run_status(id, RunStatus.RUNNING, reason="", who="ann", was=RunStatus.PAUSED)
        assert migration_of(bench.ledger).run_status is RunStatus.RUNNING

    def test_a_line_of_the_history_names_who_did_what(self, bench: LedgerBench) -> None:
        """Whoever asks later what happened finds the present epoch beside it."""
        route = make_alias(bench.ledger)

        bench.ledger.enter(ALIAS, who="ann", action="hook", detail="it said no: é")

        line = bench.other.history(ALIAS)[0]
        assert (line.who, line.action, line.detail, line.epoch) == ("ann", "hook", "it said no: é", route.epoch)

    def test_a_comparison_that_is_needed_is_remembered(self, bench: LedgerBench) -> None:
        """With the reason, until it was made; no number is given out twice."""
        begin(bench.ledger)
        given_out = opened(bench.ledger, "a").sequence

        bench.ledger.require_reconcile(ALIAS, "it was restored", sequence=given_out + 1000)

        assert present(bench.other.alias(ALIAS)).needs_reconcile == "it was restored"
        assert opened(bench.other, "b").sequence > given_out + 1000
        bench.ledger.require_reconcile(ALIAS, "again", sequence=0)
        assert opened(bench.other, "c").sequence > given_out + 1000
        bench.other.reconciled(ALIAS)
        assert present(bench.ledger.alias(ALIAS)).needs_reconcile == ""

    def test_tokens_are_counted_without_a_budget(self, bench: LedgerBench) -> None:
        """Any number; what was not billed is given back."""
        id = begin(bench.ledger).id
        bench.ledger.spend(id, 1_000_000)
        bench.other.spend(id, -400_000)

        assert migration_of(bench.ledger).tokens == 600_000

    def test_a_budget_is_never_overspent(self, bench: LedgerBench) -> None:
        """A request that would is refused before it is sent; the rest can still be spent, to the last token."""
        id = begin(bench.ledger, migration=a_migration(budget_tokens=100)).id
        bench.ledger.spend(id, 70)

        with pytest.raises(BudgetExhausted):
            bench.other.spend(id, 31)
        assert migration_of(bench.ledger).tokens == 70
        bench.other.spend(id, 30)
        with pytest.raises(BudgetExhausted):
            bench.ledger.spend(id, 1)
        bench.ledger.spend(id, -5)
        bench.ledger.spend(id, 5)
        assert migration_of(bench.ledger).tokens == 100

    def test_money_is_a_budget_too(self, bench: LedgerBench) -> None:
        """At the price the migration was registered with; the stricter of both holds."""
        id = begin(bench.ledger, migration=a_migration(budget_usd=1.0, price=10_000.0, budget_tokens=1000)).id
        bench.ledger.spend(id, 100)

        with pytest.raises(BudgetExhausted):
            bench.ledger.spend(id, 1)

    def test_a_budget_can_be_changed(self, bench: LedgerBench) -> None:
        """More, less than is spent, or none."""
        id = begin(bench.ledger, migration=a_migration(budget_tokens=10)).id
        bench.ledger.spend(id, 10)
        bench.other.set_budget(id, tokens=15, usd=None)
        bench.ledger.spend(id, 5)
        bench.other.set_budget(id, tokens=3, usd=None)
        with pytest.raises(BudgetExhausted):
            bench.ledger.spend(id, 1)
        bench.other.set_budget(id, tokens=None, usd=None)
        bench.ledger.spend(id, 1)

        assert migration_of(bench.other).tokens == 16
        assert migration_of(bench.other).budget_tokens is None

    def test_concurrent_spenders_never_exceed_the_budget(self, bench: LedgerBench) -> None:
        """Together they spend it exactly."""
        id = begin(bench.ledger, migration=a_migration(budget_tokens=60)).id

        def spend_all(_: int) -> int:
            handle, mine = bench.handle(), 0
            try:
                while True:
                    handle.spend(id, 1)
                    mine += 1
            except BudgetExhausted:
                return mine
            finally:
                handle.close_ledger()

        with ThreadPoolExecutor(4) as pool:
            spent = sum(pool.map(spend_all, range(4)))

        assert spent == migration_of(bench.ledger).tokens == 60
