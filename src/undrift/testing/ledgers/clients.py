"""Processes, their leases, and what they have acknowledged."""

from __future__ import annotations

from undrift.domain.client import ClientId
from undrift.domain.migration import Phase
from undrift.domain.route import AliasName
from undrift.testing.ledgers.bench import (
    ALIAS,
    LEASE_S,
    ME,
    MOMENT_S,
    SETTLE_S,
    YOU,
    LedgerBench,
    begin,
    claim,
    enter,
    ids,
    lay_out,
    lease,
    make_alias,
    migration_of,
    opened,
    present,
    publish,
    route_of,
    write,
)
from undrift.ports.ledger import Ledger

_ANOTHER = AliasName("another")


def _register(ledger: Ledger, client: ClientId = ME) -> None:
    ledger.register_client(
        client, host="h", pid=7, role="app", version="1", lease_s=LEASE_S, process=f"process of {client}"
    )


def _begin_to_use(ledger: Ledger, client: ClientId = ME, alias: AliasName = ALIAS) -> None:
    _register(ledger, client)
    ledger.join(client, alias)


def _awaited(ledger: Ledger, epoch: int = 2, *, alias: AliasName = ALIAS, settle_s: float = SETTLE_S) -> list[str]:
    return [client.id for client in ledger.unacknowledged(alias, epoch, settle_s)]


class ClientRules:
    """DRAIN BEFORE BACKFILL: a migration waits for every client that may still write past the journal."""

    def test_a_client_that_joins_has_acknowledged_what_it_was_told(self, bench: LedgerBench) -> None:
        """The epoch it got is the one it acts on."""
        make_alias(bench.ledger)
        _register(bench.ledger)

        route = present(bench.ledger.join(ME, ALIAS))

        assert route == route_of(bench.other)
        assert _awaited(bench.other, route.epoch) == []
        assert _awaited(bench.other, route.epoch + 1) == [ME]

    def test_joining_again_acknowledges_nothing(self, bench: LedgerBench) -> None:
        """What the client began under the older route may still be going on; it says so when that is over."""
        begin(bench.ledger, Phase.REGISTERED)
        _begin_to_use(bench.ledger)
        enter(bench.ledger, Phase.JOURNALING)

        route = present(bench.ledger.join(ME, ALIAS))

        assert route.epoch == 2
        assert _awaited(bench.other, 2) == [ME]

    def test_nobody_joins_an_alias_that_is_not_there(self, bench: LedgerBench) -> None:
        """And nobody is awaited for it."""
        _register(bench.ledger)

        assert bench.ledger.join(ME, ALIAS) is None
        assert bench.ledger.clients(ALIAS) == []

    def test_the_clients_of_an_alias_are_listed_with_what_is_left_of_their_leases(self, bench: LedgerBench) -> None:
        """For those who wonder who is awaited."""
        make_alias(bench.ledger)
        make_alias(bench.ledger, _ANOTHER)
        _begin_to_use(bench.ledger)
        _begin_to_use(bench.ledger, YOU, _ANOTHER)
        bench.clock.advance(1.5)

        (info,) = bench.other.clients(ALIAS)

        assert (info.id, info.host, info.pid, info.role, info.version) == (ME, "h", 7, "app", "1")
        assert (info.acknowledged_epoch, info.process) == (1, "process of me")
        assert abs(info.lease_left_s - (LEASE_S - 1.5)) < MOMENT_S

    def test_a_client_that_has_not_acknowledged_is_awaited(self, bench: LedgerBench) -> None:
        """Until it does."""
        make_alias(bench.ledger)
        _begin_to_use(bench.ledger)
        assert _awaited(bench.other) == [ME]

        assert bench.ledger.renew(ME, {ALIAS: 2}, LEASE_S)

        assert _awaited(bench.other) == []

    def test_a_client_is_awaited_until_its_lease_and_the_horizon_are_over(self, bench: LedgerBench) -> None:
        """A request it sent at the very end of its lease may land until then, and no longer."""
        make_alias(bench.ledger)
        _begin_to_use(bench.ledger)

        bench.clock.advance(LEASE_S + SETTLE_S - MOMENT_S)
        assert _awaited(bench.other) == [ME]
        bench.clock.advance(2 * MOMENT_S)
        assert _awaited(bench.other) == []

    def test_a_client_that_is_not_awaited_any_more_has_to_begin_again(self, bench: LedgerBench) -> None:
        """Otherwise it would wake up and go on writing past the journal."""
        make_alias(bench.ledger)
        _begin_to_use(bench.ledger)
        bench.clock.advance(LEASE_S + SETTLE_S + MOMENT_S)
        assert _awaited(bench.other) == []

        assert not bench.ledger.renew(ME, {ALIAS: 1}, LEASE_S)
        assert bench.other.clients(ALIAS) == []
        _begin_to_use(bench.ledger)
        assert bench.ledger.renew(ME, {ALIAS: 1}, LEASE_S)
        assert _awaited(bench.other) == [ME]

    def test_a_lease_that_ended_but_was_not_given_up_can_be_renewed(self, bench: LedgerBench) -> None:
        """Nobody has acted on its end yet."""
        make_alias(bench.ledger)
        _begin_to_use(bench.ledger)
        bench.clock.advance(LEASE_S + 1)

        assert bench.ledger.renew(ME, {ALIAS: 1}, LEASE_S)
        assert _awaited(bench.other) == [ME]

    def test_a_client_is_forgotten_for_the_alias_only_that_waited_long_enough(self, bench: LedgerBench) -> None:
        """Another alias, in a store that settles more slowly, still has to wait for it."""
        make_alias(bench.ledger)
        make_alias(bench.ledger, _ANOTHER)
        _begin_to_use(bench.ledger)
        bench.ledger.join(ME, _ANOTHER)
        bench.clock.advance(LEASE_S + MOMENT_S)

        assert _awaited(bench.other, alias=_ANOTHER, settle_s=0.0) == []

        assert _awaited(bench.other) == [ME]
        assert not bench.ledger.renew(ME, {ALIAS: 1, _ANOTHER: 1}, LEASE_S)

    def test_a_renewal_prolongs_the_lease(self, bench: LedgerBench) -> None:
        """From the moment it is asked for."""
        make_alias(bench.ledger)
        _begin_to_use(bench.ledger)
        bench.clock.advance(LEASE_S - 1)
        bench.ledger.renew(ME, {}, LEASE_S)

        bench.clock.advance(LEASE_S + SETTLE_S - MOMENT_S)

        assert _awaited(bench.other) == [ME]

    def test_an_acknowledgement_is_never_taken_back(self, bench: LedgerBench) -> None:
        """A renewal that was under way for long does not undo a later one."""
        make_alias(bench.ledger)
        _begin_to_use(bench.ledger)
        bench.ledger.renew(ME, {ALIAS: 3}, LEASE_S)

        bench.ledger.renew(ME, {ALIAS: 2}, LEASE_S)

        assert _awaited(bench.other, 3) == []

    def test_a_client_that_was_never_registered_cannot_renew(self, bench: LedgerBench) -> None:
        """It has to begin."""
        make_alias(bench.ledger)

        assert not bench.ledger.renew(ME, {}, LEASE_S)

    def test_registering_again_renews(self, bench: LedgerBench) -> None:
        """And keeps what was acknowledged."""
        make_alias(bench.ledger)
        _begin_to_use(bench.ledger)
        bench.clock.advance(LEASE_S - 1)
        _register(bench.ledger)
        bench.clock.advance(LEASE_S - 1)

        (info,) = bench.ledger.clients(ALIAS)

        assert info.lease_left_s > 0
        assert info.acknowledged_epoch == 1

    def test_a_client_that_left_is_not_awaited(self, bench: LedgerBench) -> None:
        """Leaving is the promise that nothing of it is going on any more."""
        make_alias(bench.ledger)
        _begin_to_use(bench.ledger)
        _begin_to_use(bench.ledger, YOU)

        bench.ledger.leave(ME)

        assert _awaited(bench.other) == [YOU]
        assert not bench.ledger.renew(ME, {}, LEASE_S)

    def test_a_client_that_comes_later_is_told_the_epoch_of_then(self, bench: LedgerBench) -> None:
        """So nobody has to wait for it."""
        begin(bench.ledger, Phase.JOURNALING)

        _begin_to_use(bench.ledger)

        assert route_of(bench.ledger).epoch == 2
        assert _awaited(bench.other) == []

    def test_of_a_client_that_was_buried_nothing_is_waited_for(self, bench: LedgerBench) -> None:
        """It is dead for certain: its lease, operations, claims, pieces and coordination are over at once."""
        begin(bench.ledger)
        _begin_to_use(bench.ledger)
        lay_out(bench.ledger, "b", "d")
        publish(bench.ledger, present(lease(bench.ledger)), "a")
        lease(bench.ledger)
        write(bench.ledger, "x")
        claim(bench.ledger)
        opened(bench.ledger, "y")
        bench.ledger.coordinate(migration_of(bench.ledger).id, owner=ME, lease_s=LEASE_S)

        bench.other.bury(ME)

        assert _awaited(bench.other, 99) == []
        assert bench.other.in_flight(ALIAS, SETTLE_S) == 0
        assert bench.other.reap(ALIAS, SETTLE_S) == 1
        assert {one.key for one in claim(bench.other, owner=YOU)} == {"x", "y"}
        assert [present(lease(bench.other, owner=YOU)).number for _ in range(2)] == [0, 1]
        assert bench.other.coordinate(migration_of(bench.other).id, owner=YOU, lease_s=LEASE_S)
        assert not bench.ledger.renew(ME, {}, LEASE_S)

    def test_a_burial_leaves_the_living_alone(self, bench: LedgerBench) -> None:
        """Theirs is theirs."""
        begin(bench.ledger)
        _begin_to_use(bench.ledger)
        _begin_to_use(bench.ledger, YOU)
        lay_out(bench.ledger, "b")
        publish(bench.ledger, present(lease(bench.ledger)))
        write(bench.ledger, "x")
        claim(bench.ledger)
        operation = opened(bench.ledger, "y").operation

        bench.other.bury(YOU)

        assert _awaited(bench.other, 99) == [ME]
        assert bench.other.in_flight(ALIAS, SETTLE_S) == 2
        assert bench.other.reap(ALIAS, SETTLE_S) == 0
        assert bench.ledger.close(ALIAS, operation, ids("y"))
