"""The bracket around a write of a program that calls us: the same transactions as around a write of our own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from undrift.domain.client import ClientId
from undrift.domain.operation import Foreign, Held, Opened, OpenResult, OperationId, Passive
from undrift.domain.record import DocumentId
from undrift.domain.route import AliasName, Route, VectorField
from undrift.domain.timing import LEASE_SAFETY
from undrift.errors import BadArgument, ControlUnavailable, UnknownAlias
from undrift.ports.ledger import Ledger
from undrift.ports.runtime import Clock
from undrift.release import VERSION


class Bracket:
    """Opens and closes writes in the name of programs that keep no lease: each call is one."""

    def __init__(self, ledger: Ledger, clock: Clock, *, longest_s: float) -> None:
        """Use a ledger.

        Args:
            ledger: where operations and leases are kept.
            clock: measures how long a lease took to get.
            longest_s: the longest deadline that a write may ask for.
        """
        self._ledger = ledger
        self._clock = clock
        self._longest_s = longest_s

    def open(
        self, alias: AliasName, keys: Sequence[DocumentId], *, caller: str, host: str, deadline_s: float | None
    ) -> dict[str, Any]:
        """Begin a write.

        Args:
            alias: what is written to.
            keys: the documents, each once.
            caller: the program's name for itself.
            host: where it is, for those who look at the list of clients.
            deadline_s: how long after its call the program may still send to the store; the longest by default.

        Returns:
            What `undrift.open_write` of a PostgreSQL ledger answers, by the same names.

        Raises:
            BadArgument: the deadline is longer than a write may take.
            UnknownAlias: the ledger does not know the alias.
        """
        deadline_s = self._longest_s if deadline_s is None else deadline_s
        if deadline_s > self._longest_s:
            raise BadArgument(
                f"a deadline of {deadline_s:g} s is longer than a write may take",
                f"at most {self._longest_s:g} s are allowed",
                "write fewer documents in one call, or set timing.deadline_s for all processes",
            )
        outcome = self._ledger.open(alias, keys, client=ClientId(caller), deadline_s=deadline_s)
        if isinstance(outcome, Passive):
            outcome = self._under_lease(outcome.route, keys, caller=caller, host=host, deadline_s=deadline_s)
        return _answer(outcome)

    def close(self, alias: AliasName, operation: int | None, keys: Sequence[DocumentId]) -> bool:
        """End a write; only True may be acknowledged. Without an operation, where no journal was wanted, it is True."""
        return operation is None or self._ledger.close(alias, OperationId(operation), keys)

    def route(self, alias: AliasName) -> dict[str, Any]:
        """Return what an alias means now.

        Raises:
            UnknownAlias: the ledger does not know it.
        """
        found = self._ledger.route(alias)
        if found is None:
            raise UnknownAlias(f"the ledger knows no alias {alias}", hint="undrift alias list")
        return {"alias": alias, **_route(found)}

    def look(self) -> None:
        """Pass when the ledger answers."""
        self._ledger.aliases()

    def _under_lease(
        self, seen: Route, keys: Sequence[DocumentId], *, caller: str, host: str, deadline_s: float
    ) -> OpenResult:
        """Let a migration wait for a write that is not journaled, and look once more whether it may begin so."""
        # A lease for each epoch: who writes all the time would otherwise prolong for ever what the next change waits
        # for. It never becomes shorter, because every call asks for the longest one.
        client = ClientId(f"{caller}@{seen.epoch}")
        started = self._clock.monotonic()
        self._ledger.register_client(
            client, host=host, pid=0, role="http", version=VERSION, lease_s=self._longest_s, process=""
        )
        self._ledger.join(client, seen.alias)
        outcome = self._ledger.open(seen.alias, keys, client=ClientId(caller), deadline_s=deadline_s)
        late = self._clock.monotonic() - started > self._longest_s * (1 - LEASE_SAFETY)
        if isinstance(outcome, Passive) and late:
            raise ControlUnavailable(
                "the ledger took too long to count on this write", "nothing was begun", "call again"
            )
        return outcome


def _answer(outcome: OpenResult) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "outcome": "",
        "operation": None,
        "sequence": None,
        **_route(outcome.route),
        "waiting": [],
    }
    match outcome:
        case Opened():
            return {
                **answer,
                "outcome": "opened",
                "operation": outcome.operation,
                "sequence": outcome.sequence,
            }
        case Passive():
            return {**answer, "outcome": "passive"}
        case Held():
            return {**answer, "outcome": "held"}
        case Foreign():
            return {**answer, "outcome": "foreign", "waiting": list(outcome.keys)}


def _route(route: Route) -> dict[str, Any]:
    return {
        "epoch": route.epoch,
        "mode": route.mode.value,
        "serving": _field(route.serving),
        "follower": _field(route.follower) if route.follower else None,
    }


def _field(field: VectorField) -> dict[str, str]:
    return {"store": field.store, "collection": field.collection, "space": field.space}
