"""Routes: how what an alias means is changed, and how it is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from undrift.domain.migration import Phase
from undrift.domain.operation import Held
from undrift.domain.route import Mode
from undrift.errors import GateFailed, StaleRoute
from undrift.testing.ledgers.bench import (
    ALIAS,
    DEADLINE_S,
    ME,
    MOMENT_S,
    SETTLE_S,
    SOURCE,
    TARGET,
    LedgerBench,
    begin,
    enter,
    flip,
    ids,
    migration_of,
    opened,
    present,
    route_of,
    write,
)


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
