"""Migrations: how one begins, who coordinates it, what it may spend, and how it changes what an alias means."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from undrift.domain.migration import MigrationId, Phase, RunStatus
from undrift.domain.operation import Held
from undrift.domain.route import Mode
from undrift.errors import BudgetExhausted, GateFailed, StaleRoute
from undrift.ports.ledger import Ledger
from undrift.testing.ledgers.bench import (
    ALIAS,
    DEADLINE_S,
    LEASE_S,
    ME,
    MOMENT_S,
    SETTLE_S,
    SOURCE,
    TARGET,
    YOU,
    LedgerBench,
    a_migration,
    begin,
    enter,
    flip,
    ids,
    lay_out,
    make_alias,
    migration_of,
    opened,
    present,
    route_of,
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


class RouteRules:
    """One compare-and-swap for each change of what an alias means."""

    def test_writers_are_told_to_journal(self, bench: LedgerBench) -> None:
        """The target follows, the epoch grows by one, the phase comes with it."""
        begin(bench.ledger, Phase.REGISTERED)
        before = route_of(bench.ledger)

        enter(bench.ledger, Phase.JOURNALING)

        after = route_of(bench.other)
        assert (after.mode, after.serving, after.follower) == (Mode.JOURNAL, SOURCE, TARGET)
        assert after.epoch == before.epoch + 1
        assert migration_of(bench.other).phase is Phase.JOURNALING

    def test_writers_are_told_to_stop(self, bench: LedgerBench) -> None:
        """The serving field is left alone, with another epoch."""
        begin(bench.ledger, Phase.REVERSING)
        before = route_of(bench.ledger)

        enter(bench.ledger, Phase.RETIRING)

        after = route_of(bench.other)
        assert (after.mode, after.serving, after.follower) == (Mode.PASSIVE, TARGET, None)
        assert after.epoch == before.epoch + 1

    @pytest.mark.parametrize("late", ["epoch", "phase"])
    def test_a_change_that_was_decided_too_long_ago_is_refused(self, bench: LedgerBench, late: str) -> None:
        """By another epoch or another phase; neither the route nor the phase nor the history changes."""
        begin(bench.ledger, Phase.BACKFILL)
        route, was = route_of(bench.ledger), migration_of(bench.ledger)
        known = replace(route, epoch=route.epoch - 1) if late == "epoch" else route
        believed = was.phase if late == "epoch" else Phase.CATCHUP
        lines = bench.ledger.history(ALIAS)

        with pytest.raises(StaleRoute):
            bench.ledger.change_mode(
                known, Mode.PASSIVE, migration=replace(was, phase=Phase.ABORTING), was=believed, who="kit"
            )

        assert route_of(bench.other) == route
        assert migration_of(bench.other).phase is was.phase
        assert bench.other.history(ALIAS) == lines

    def test_a_flip_swaps_the_fields(self, bench: LedgerBench) -> None:
        """And back: the journal goes on in both directions."""
        begin(bench.ledger, Phase.READY)
        first = route_of(bench.ledger)

        second = flip(bench.ledger)
        third = flip(bench.other, Phase.ROLLED_BACK)

        assert (second.serving, second.follower, second.mode) == (TARGET, SOURCE, Mode.JOURNAL)
        assert (third.serving, third.follower, third.mode) == (SOURCE, TARGET, Mode.JOURNAL)
        assert [first.epoch, second.epoch, third.epoch] == [first.epoch, first.epoch + 1, first.epoch + 2]
        assert route_of(bench.ledger) == third
        assert migration_of(bench.ledger).phase is Phase.ROLLED_BACK

    def test_a_flip_that_was_decided_too_long_ago_is_refused(self, bench: LedgerBench) -> None:
        """Two operators cut over at once: one of them."""
        begin(bench.ledger, Phase.READY)
        route, was = route_of(bench.ledger), migration_of(bench.ledger)
        flip(bench.other)

        with pytest.raises(StaleRoute):
            bench.ledger.flip(
                route,
                migration=replace(was, phase=Phase.REVERSING),
                was=was.phase,
                who="kit",
                max_dirty=None,
                max_quarantined=None,
            )
        assert route_of(bench.ledger).serving == TARGET

    def test_without_a_second_field_there_is_nothing_to_flip_to(self, bench: LedgerBench) -> None:
        """The alias stays as it is."""
        begin(bench.ledger, Phase.REGISTERED)

        with pytest.raises(StaleRoute):
            flip(bench.ledger)
        assert route_of(bench.ledger).serving == SOURCE

    @pytest.mark.parametrize(
        ("dirty", "aside", "max_dirty", "max_aside"), [(2, 0, 1, None), (0, 2, None, 1), (1, 0, 0, 0)]
    )
    def test_what_has_grown_since_the_gates_were_read_refuses_the_flip(
        self, bench: LedgerBench, dirty: int, aside: int, max_dirty: int | None, max_aside: int | None
    ) -> None:
        """Looked at in the same transaction; nothing has changed."""
        begin(bench.ledger, Phase.READY)
        for number in range(dirty):
            write(bench.ledger, f"d{number}")
        bench.ledger.quarantine(ALIAS, dict.fromkeys(ids(*(f"q{n}" for n in range(aside))), ("rejected", "")))
        route, lines = route_of(bench.ledger), bench.ledger.history(ALIAS)

        with pytest.raises(GateFailed):
            flip(bench.other, max_dirty=max_dirty, max_quarantined=max_aside)

        assert route_of(bench.ledger) == route
        assert migration_of(bench.ledger).phase is Phase.READY
        assert bench.ledger.history(ALIAS) == lines

    def test_as_much_as_is_allowed_does_not_refuse_the_flip(self, bench: LedgerBench) -> None:
        """Exactly the limit, or any number without one."""
        begin(bench.ledger, Phase.READY)
        write(bench.ledger, "a")
        bench.ledger.quarantine(ALIAS, dict.fromkeys(ids("q"), ("rejected", "")))

        flip(bench.ledger, max_dirty=1, max_quarantined=1)
        flip(bench.ledger, Phase.ROLLED_BACK)

        assert route_of(bench.other).serving == SOURCE

    def test_a_hold_ends_by_itself(self, bench: LedgerBench) -> None:
        """Whatever became of the process that asked for it."""
        begin(bench.ledger, Phase.READY)
        route = route_of(bench.ledger)
        bench.ledger.hold(route, 2.0)

        bench.clock.advance(2.0 - MOMENT_S)
        assert route_of(bench.other).mode is Mode.HOLD
        assert isinstance(bench.other.open(ALIAS, ids("a"), client=ME, deadline_s=DEADLINE_S), Held)
        bench.clock.advance(2 * MOMENT_S)
        assert route_of(bench.other) == route
        opened(bench.other, "a")

    def test_a_hold_can_be_ended(self, bench: LedgerBench) -> None:
        """By zero seconds; what was open may be closed all the while."""
        begin(bench.ledger, Phase.READY)
        operation = opened(bench.ledger, "a").operation
        bench.ledger.hold(route_of(bench.ledger), 60.0)
        assert bench.other.close(ALIAS, operation, ids("a"))

        bench.other.hold(route_of(bench.other), 0)

        assert route_of(bench.ledger).mode is Mode.JOURNAL

    def test_a_flip_ends_a_hold(self, bench: LedgerBench) -> None:
        """Writers go on at once, in the new field."""
        begin(bench.ledger, Phase.READY)
        bench.ledger.hold(route_of(bench.ledger), 60.0)

        flip(bench.ledger)

        assert opened(bench.other, "a").route.serving == TARGET

    def test_a_hold_of_a_route_that_is_gone_is_refused(self, bench: LedgerBench) -> None:
        """Nobody is made to wait for a cutover that has happened."""
        begin(bench.ledger, Phase.READY)
        route = route_of(bench.ledger)
        flip(bench.other)

        with pytest.raises(StaleRoute):
            bench.ledger.hold(route, 60.0)
        assert route_of(bench.ledger).mode is Mode.JOURNAL

    def test_an_open_write_keeps_its_source_through_a_flip(self, bench: LedgerBench) -> None:
        """Its documents are foreign from then on, until it has ended and they are carried over."""
        begin(bench.ledger, Phase.READY)
        operation = opened(bench.ledger, "a").operation

        flip(bench.other)

        assert bench.other.lag(ALIAS).foreign == 1
        assert bench.ledger.close(ALIAS, operation, ids("a"))
        assert present(bench.mark(ALIAS, "a")).source == SOURCE.key
        bench.other.reap(ALIAS, SETTLE_S)
        assert bench.other.lag(ALIAS).foreign == 1
