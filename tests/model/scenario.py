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

    IN_TIME = "sends in time"  #: it never is: no request leaves after the deadline
    LATE = "late sends"  #: the request leaves all the same, after the operation was reaped


class Deferral(StrEnum):
    """For what a sync waits while the backfill publishes."""

    KEY = "waits per key"  #: for the publication of this key; the ledger notes every key that is being published
    CHUNK = "waits per chunk"  #: for every chunk in publication in whose range the key lies, even if it was dropped


class Journaling(StrEnum):
    """What a journaled write consists of."""

    THREE_STEPS = "three steps"  #: open, the request to the store, close; anything may happen in between
    ONE_TRANSACTION = "one transaction"  #: ledger and store share a database file, so all three happen at once


class Ending(StrEnum):
    """When the ledger counts, for the key, that an operation has ended."""

    AT_ONCE = "counts ends at once"  #: in the transaction that closes it
    LATER = "counts ends later"  #: at any moment after it; until then the key looks as if it were being written


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """The bounds of one exhaustive search."""

    clients: tuple[tuple[Write, ...], ...] = ()  #: the writes of each client, in its order
    flips: int = 1  #: 1: cutover; 2: and rollback; 3: and cutover again
    faults: int = 1  #: how many crashes, false suspicions and missed deadlines may happen
    cutover: Cutover = Cutover.LIVE
    sending: Sending = Sending.IN_TIME
    deferral: Deferral = Deferral.KEY
    journaling: Journaling = Journaling.THREE_STEPS
    ending: Ending = Ending.AT_ONCE
    rules: frozenset[Rule] = ALL

    @property
    def deletes(self) -> frozenset[int]:
        """The numbers of the writes that delete."""
        return frozenset(write.number for writes in self.clients for write in writes if write.deletes)

    def __str__(self) -> str:
        writes = "||".join(";".join("D" if write.deletes else "U" for write in client) for client in self.clients)
        course = "".join("AB"[number % 2] for number in range(self.flips + 1))
        usual = {Sending.IN_TIME, Deferral.KEY, Journaling.THREE_STEPS, Ending.AT_ONCE}
        chosen = (self.sending, self.deferral, self.journaling, self.ending)
        variations = [kind for kind in chosen if kind not in usual]
        without = [f"without {rule}" for rule in sorted(ALL - self.rules)]
        faults = "1 fault" if self.faults == 1 else f"{self.faults} faults"
        return ", ".join((writes, course, faults, self.cutover, *variations, *without))


def clients(text: str) -> tuple[tuple[Write, ...], ...]:
    """Read the notation of the tests: `U;D||U` is a client that upserts and then deletes, beside one that upserts."""
    number = count(INITIAL + 1)
    return tuple(
        tuple(Write(next(number), deletes=kind == "D") for kind in client.split(";")) for client in text.split("||")
    )
