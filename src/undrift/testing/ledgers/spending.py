"""Budgets and the pace of accounts: what is put aside stays counted, and what is granted never exceeds the limit."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from undrift.domain.budget import PROOFS, Spending
from undrift.domain.client import ClientId
from undrift.domain.migration import MigrationId
from undrift.domain.pace import SeenLimits
from undrift.domain.pacing import FORGOTTEN_S, KEPT_S, SLICE_S, Ask, PaceLimits
from undrift.errors import BudgetExhausted
from undrift.ports.ledger import Ledger
from undrift.testing.ledgers.bench import (
    ALIAS,
    LEASE_S,
    ME,
    YOU,
    LedgerBench,
    a_migration,
    begin,
    enter,
    migration_of,
)

_ACCOUNT, _OTHER = "openai/small/a1", "openai/small/b2"
_LIMITS = PaceLimits(requests_per_min=600, tokens_per_min=60_000, reserved_for_queries=0.0)


def _alive(ledger: Ledger, *clients: ClientId) -> None:
    for client in clients:
        ledger.register_client(client, host="h", pid=1, role="worker", version="1", lease_s=LEASE_S)


def _ask(owner: str = "me", limits: PaceLimits = _LIMITS, *, tokens: int = 100, wanted: int = 100) -> Ask:
    return Ask(owner=owner, limits=limits, tokens=tokens, each=tokens, wanted=wanted)


def _limited(bench: LedgerBench, budget: int = 100) -> MigrationId:
    id = begin(bench.ledger, migration=a_migration(budget_tokens=budget)).id
    _alive(bench.ledger, ME, YOU)
    return id


class SpendingRules:
    """What is put aside for requests, whoever dies."""

    def test_what_is_put_aside_is_settled_at_what_was_billed(self, bench: LedgerBench) -> None:
        """Less or more; every process sees what is spent, put aside and left."""
        id = _limited(bench)

        assert bench.ledger.reserve(id, 40, owner=ME)
        assert bench.other.spending(id) == Spending(spent=0, reserved=40, left=60)
        assert migration_of(bench.other).tokens == 40
        bench.ledger.settle(id, reserved=40, billed=15, owner=ME)
        assert bench.other.spending(id) == Spending(spent=15, reserved=0, left=85)
        assert bench.other.reserve(id, 10, owner=YOU)
        bench.other.settle(id, reserved=10, billed=12, owner=YOU)

        assert bench.ledger.spending(id) == Spending(spent=27, reserved=0, left=73)

    def test_a_reservation_waits_for_requests_under_way_and_for_nothing_else(self, bench: LedgerBench) -> None:
        """They may cost less than was put aside; what is spent never comes back."""
        id = _limited(bench)
        assert bench.ledger.reserve(id, 90, owner=ME)

        assert not bench.other.reserve(id, 50, owner=YOU)
        with pytest.raises(BudgetExhausted):
            bench.other.reserve(id, 101, owner=YOU)
        assert bench.ledger.spending(id) == Spending(spent=0, reserved=90, left=10)
        bench.ledger.settle(id, reserved=90, billed=50, owner=ME)
        assert bench.other.reserve(id, 50, owner=YOU)
        bench.other.settle(id, reserved=50, billed=50, owner=YOU)
        with pytest.raises(BudgetExhausted):
            bench.ledger.reserve(id, 1, owner=ME)

    def test_what_a_dead_client_put_aside_counts_as_spent(self, bench: LedgerBench) -> None:
        """Nobody knows whether its request was answered, so nobody waits for it, and nobody spends it again."""
        id = _limited(bench)
        bench.ledger.reserve(id, 90, owner=ME)
        bench.clock.advance(LEASE_S + 1)
        _alive(bench.other, YOU)

        with pytest.raises(BudgetExhausted):
            bench.other.reserve(id, 50, owner=YOU)
        assert bench.other.spending(id) == Spending(spent=90, reserved=0, left=10)
        assert bench.other.reserve(id, 10, owner=YOU)
        bench.other.bury(ME)
        assert bench.other.spending(id) == Spending(spent=90, reserved=10, left=0)

    def test_what_proving_the_model_took_is_spent_and_told_apart(self, bench: LedgerBench) -> None:
        """It counts against the budget once."""
        id = _limited(bench)
        bench.ledger.reserve(id, 20, owner=ME)
        bench.ledger.settle(id, reserved=20, billed=15, owner=ME)
        bench.ledger.settle(id, reserved=-15, billed=-15, owner=PROOFS)

        assert bench.other.spending(id) == Spending(spent=15, reserved=0, left=85, proofs=15)

    def test_who_was_taken_for_dead_may_still_settle(self, bench: LedgerBench) -> None:
        """It was only slow; what it did not spend is there again."""
        id = _limited(bench)
        bench.ledger.reserve(id, 90, owner=ME)
        bench.ledger.bury(ME)

        bench.ledger.settle(id, reserved=90, billed=20, owner=ME)

        assert bench.other.spending(id) == Spending(spent=20, reserved=0, left=80)

    def test_without_a_budget_there_is_always_room(self, bench: LedgerBench) -> None:
        """It is counted all the same."""
        id = begin(bench.ledger).id

        assert bench.ledger.reserve(id, 10**12, owner=ME)

        assert bench.ledger.spending(id) == Spending(spent=10**12, reserved=0, left=None)

    def test_reservations_of_many_never_exceed_the_budget(self, bench: LedgerBench) -> None:
        """Whatever they are settled at; in the end no token is left that somebody still asked for."""
        id = _limited(bench, 300)
        most: list[int] = []

        def draw(number: int) -> int:
            handle, mine, chance = bench.handle(), 0, random.Random(number)
            try:
                while True:
                    if handle.reserve(id, 7, owner=ME):
                        most.append(migration_of(handle).tokens)
                        billed = chance.randint(1, 7)
                        handle.settle(id, reserved=7, billed=billed, owner=ME)
                        mine += billed
            except BudgetExhausted:
                return mine
            finally:
                handle.close_ledger()

        with ThreadPoolExecutor(3) as pool:
            billed = sum(pool.map(draw, range(3)))

        assert billed == migration_of(bench.ledger).tokens
        assert max(most) <= 300
        assert billed > 300 - 7

    def test_a_price_that_rises_leaves_less_for_the_rest(self, bench: LedgerBench) -> None:
        """What is spent was spent at the old price; a lower price, of whoever does not know yet, changes nothing."""
        id = begin(bench.ledger, migration=a_migration(budget_usd=1.0, price=10_000.0)).id
        _alive(bench.ledger, ME)
        bench.ledger.spend(id, 40)

        assert bench.ledger.raise_price(id, 20_000.0, who="ada")
        assert not bench.other.raise_price(id, 10_000.0, who="bob")

        found = migration_of(bench.other)
        assert found.usd == pytest.approx(0.4)
        assert (found.token_limit, found.usd_per_million_tokens) == (70, 20_000.0)
        line = bench.other.history(ALIAS)[0]
        assert (line.action, line.who) == ("price_rose", "ada")
        bench.other.reserve(id, 10, owner=ME)
        assert bench.ledger.raise_price(id, 40_000.0, who="ada")
        assert migration_of(bench.other).usd == pytest.approx(0.4 + 10 * 0.04)
        assert migration_of(bench.other).token_limit == 55

    def test_a_new_migration_begins_with_nothing_put_aside(self, bench: LedgerBench) -> None:
        """And at its own price."""
        id = begin(bench.ledger, migration=a_migration(budget_usd=1.0, price=1.0)).id
        _alive(bench.ledger, ME)
        bench.ledger.reserve(id, 5, owner=ME)
        bench.ledger.raise_price(id, 2.0, who="")
        for phase in ("ABORTING", "ABORTED"):
            enter(bench.ledger, type(migration_of(bench.ledger).phase)[phase])

        bench.ledger.register_migration(a_migration("m2", budget_tokens=9), who="kit")

        assert bench.other.spending(MigrationId("m2")) == Spending(spent=0, reserved=0, left=9)
        assert migration_of(bench.other).usd == 0


class PaceRules:
    """What is granted of an account's pace."""

    def test_slices_follow_each_other_at_the_limit(self, bench: LedgerBench) -> None:
        """Whoever asks; so many seconds of slices take so many seconds."""
        asked = 0
        for turn in range(40):
            handle = (bench.ledger, bench.other)[turn % 2]
            granted = handle.take_pace(_ACCOUNT, _ask(f"w{turn % 2}"))
            asked += granted.tokens
            bench.clock.advance(granted.wait_s)
            assert granted.tokens <= 60_000 / 60 * SLICE_S
        elapsed = bench.clock.monotonic() - 1000.0

        assert asked - 60_000 / 60 * SLICE_S <= (elapsed + KEPT_S) * 60_000 / 60 <= asked + 60_000 / 60 * SLICE_S

    def test_shares_are_equal(self, bench: LedgerBench) -> None:
        """A slice of one of two is half as long; who has not asked for a while does not count."""
        alone = bench.ledger.take_pace(_ACCOUNT, _ask("a"))
        together = bench.other.take_pace(_ACCOUNT, _ask("b"))
        bench.clock.advance(FORGOTTEN_S + 1)
        again = bench.other.take_pace(_ACCOUNT, _ask("b"))

        assert (alone.requests, together.requests, again.requests) == (10, 5, 10)

    def test_a_refusal_holds_everybody_back(self, bench: LedgerBench) -> None:
        """Until the time that the provider named, on every host."""
        bench.ledger.take_pace(_ACCOUNT, _ask("a"))
        bench.ledger.pace_refused(_ACCOUNT, SeenLimits(retry_after_s=7.5), _LIMITS)

        # The account is empty then, so a little is let be saved up first.
        assert 7.4 <= bench.other.take_pace(_ACCOUNT, _ask("b")).wait_s <= 7.5 + KEPT_S
        assert bench.other.take_pace(_OTHER, _ask("b")).wait_s == 0

    def test_what_one_process_reads_all_go_by(self, bench: LedgerBench) -> None:
        """The stricter of what is configured and what the provider says."""
        seen = Ask(
            owner="a", limits=PaceLimits(), tokens=1, seen=SeenLimits(requests_per_min=60, tokens_per_min=6_000_000)
        )
        bench.ledger.take_pace(_ACCOUNT, seen)

        granted = bench.other.take_pace(_ACCOUNT, _ask("a", tokens=10))

        assert granted.requests == 1
        bench.ledger.take_pace("openai/large/a1", _ask("a"))
        known = bench.other.paces("openai/small/")
        assert list(known) == [_ACCOUNT]
        assert known[_ACCOUNT].rates(_LIMITS) == (60.0, 60_000.0)
        assert bench.ledger.paces(_OTHER) == {}

    def test_slots_are_shared_and_come_back(self, bench: LedgerBench) -> None:
        """No more requests are under way than the account takes, and a dead process holds none for long."""
        limits = PaceLimits(concurrent_requests=4)

        first = bench.ledger.take_pace(_ACCOUNT, _ask("a", limits))
        second = bench.other.take_pace(_ACCOUNT, _ask("b", limits))
        assert (first.slots, second.requests) == (4, 0)
        smaller = bench.ledger.take_pace(_ACCOUNT, _ask("a", limits))
        second = bench.other.take_pace(_ACCOUNT, _ask("b", limits))
        assert (smaller.slots, second.slots) == (2, 2)
        bench.clock.advance(31)

        assert bench.other.take_pace(_ACCOUNT, _ask("b", limits)).slots == 4

    def test_concurrent_askers_get_slices_one_after_the_other(self, bench: LedgerBench) -> None:
        """None is given out twice: together they wait as long as all of it takes."""

        def ask(number: int) -> tuple[int, float]:
            handle = bench.handle()
            try:
                granted = [handle.take_pace(_ACCOUNT, _ask(f"w{number}")) for _ in range(10)]
                return sum(one.tokens for one in granted), max(one.wait_s for one in granted)
            finally:
                handle.close_ledger()

        with ThreadPoolExecutor(3) as pool:
            answers = list(pool.map(ask, range(3)))

        tokens, longest = sum(tokens for tokens, _ in answers), max(wait for _, wait in answers)
        assert longest + KEPT_S == pytest.approx(tokens / 1000, abs=SLICE_S + 0.1)
