"""What a search is given: who writes what, how often the roles are swapped, how much may go wrong."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from typing import NamedTuple

from tests.model.rules import ALL, Rule

#: The content of a store that does not hold the document.
ABSENT = -1
#: The document as it was before anybody wrote; every other content is the number of the write that made it.
INITIAL = 0


class Write(NamedTuple):
    """One upsert or delete of the document by a client."""

    number: int
    deletes: bool

    @property
    def value(self) -> int:
        """What a store holds once the write has landed. A delete leaves no trace of itself."""
        return ABSENT if self.deletes else self.number

    def __str__(self) -> str:
        return f"{'delete' if self.deletes else 'upsert'} {self.number}"


class Cutover(StrEnum):
    """How the roles of the stores are swapped."""

    LIVE = "live"  #: at any moment, while writers go on; dirty keys and open operations go over as they are
    FREEZE = "freeze"  #: hold writes until no operation is open and no key dirty, so that no search misses a write
    FORCED = "forced"  #: hold writes until no operation is open; dirty keys go over as they are


class Sending(StrEnum):
    """What happens when a client is suspended between its look at the clock and its request."""

    IN_TIME = "in time"  #: it never is: no request leaves after the deadline
    LATE = "late"  #: the request leaves all the same, after the operation was reaped


class Deferral(StrEnum):
    """For what a sync waits while the backfill publishes."""

    KEY = "key"  #: for the publication of this key; the ledger notes each key that is being published
    CHUNK = "chunk"  #: for the publication of the chunk in whose range the key lies, whether or not it contains the key


class Journaling(StrEnum):
    """What a journaled write consists of."""

    THREE_STEPS = "three steps"  #: open, the request to the store, close; anything may happen in between
    ONE_TRANSACTION = "one transaction"  #: ledger and store share a database file, so all three happen at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """The bounds of one exhaustive search."""

    clients: tuple[tuple[Write, ...], ...]  #: the writes of each client, in its order
    flips: int  #: 1: cutover; 2: and rollback; 3: and cutover again
    faults: int  #: how many crashes, false suspicions and missed deadlines may happen
    cutover: Cutover = Cutover.LIVE
    sending: Sending = Sending.IN_TIME
    deferral: Deferral = Deferral.KEY
    journaling: Journaling = Journaling.THREE_STEPS
    rules: frozenset[Rule] = ALL

    @property
    def deletes(self) -> frozenset[int]:
        """The numbers of the writes that delete."""
        return frozenset(write.number for writes in self.clients for write in writes if write.deletes)


def clients(text: str) -> tuple[tuple[Write, ...], ...]:
    """Read the notation of the tests: `U;D || U` is a client that upserts and then deletes, beside one that upserts."""
    number = count(INITIAL + 1)
    return tuple(
        tuple(Write(next(number), deletes=kind.strip() == "D") for kind in client.split(";"))
        for client in text.split("||")
    )
