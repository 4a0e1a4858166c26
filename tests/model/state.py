"""The nouns of the protocol: everything that exists at one moment, and the small changes that several actors make."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, Self, TypeAlias

from tests.model.scenario import ABSENT, INITIAL, Scenario, Write

Store: TypeAlias = int
A, B = 0, 1

#: Who sent a request, where it was not a client (those count from zero).
BACKFILL, SYNC, NOBODY = -1, -2, -3


class Mode(StrEnum):
    """What the ledger tells clients to do."""

    PASSIVE = "passive"  #: write the serving store without telling the ledger
    JOURNAL = "journal"  #: open, write, close, acknowledge
    HOLD = "hold"  #: wait; only in a cutover that holds writes


class Step(StrEnum):
    """How far an actor has come with the key; each kind of actor takes some of these steps."""

    IDLE = "idle"  #: nothing under way
    OPEN = "open"  #: (client) the operation is open in the ledger, its request not sent
    CLAIMED = "claimed"  #: (sync) the key is claimed, its source not read
    READ = "read"  #: (worker) the source is read and, however long that takes, embedded
    PUBLISHING = "publishing"  #: (backfill) the ledger knows that this key is being published, the request is not sent
    ELSEWHERE = "elsewhere"  #: (backfill) the chunk is being published without this key
    SENT = "sent"  #: the request is on the network
    LANDED = "landed"  #: the store has answered
    DONE = "done"  #: nothing left to do
    DEAD = "dead"  #: (client) it will never do anything again


UNDER_WAY = frozenset({Step.OPEN, Step.CLAIMED, Step.READ, Step.PUBLISHING, Step.ELSEWHERE, Step.SENT, Step.LANDED})
CHUNK_IN_PUBLICATION = frozenset({Step.PUBLISHING, Step.ELSEWHERE, Step.SENT, Step.LANDED})


class Request(NamedTuple):
    """A write on its way to a store, which knows no more than what to hold from then on."""

    sender: int
    store: Store
    value: int


class Client(NamedTuple):
    """A process of the application, which performs its writes one after the other."""

    step: Step = Step.IDLE
    turn: int = 0  #: which of its writes it is at
    journals: bool = False  #: whether it has acknowledged that the journal is on
    store: Store = A  #: where its present write goes
    after: frozenset[int] = frozenset()  #: (for the judge) what was acknowledged before its present write began


class Backfill(NamedTuple):
    """The worker that copies the chunk in which the key lies."""

    step: Step = Step.IDLE
    value: int = ABSENT  #: what it read, until it has sent or dropped it


class Sync(NamedTuple):
    """The worker that makes the other store equal to the source of a dirty key."""

    step: Step = Step.IDLE
    source: Store = A
    value: int = ABSENT  #: what it read, until it has sent it
    seq_moved: bool = False  #: whether the key's sequence grew after the claim


class State(NamedTuple):
    """One moment. Named tuples rather than dataclasses, because millions of them are hashed and compared."""

    contents: tuple[int, int]  #: what A and B hold: INITIAL, ABSENT, or the number of an upsert
    network: frozenset[Request]
    # The ledger: its collection row, its dirty row of the key, its open operations.
    mode: Mode
    serving: Store
    drained: bool  #: workers may start
    flips_left: int  #: cutovers and rollbacks still to come
    touched: bool  #: the dirty row exists; it outlives the mark
    source: Store | None  #: the mark: which store holds the truth of a dirty key; None when the key is clean
    open_ops: frozenset[int]
    ended_ops: frozenset[int]  #: closed, and not yet counted for the key; only where ends are counted later
    # The actors.
    clients: tuple[Client, ...]
    backfill: Backfill
    sync: Sync
    faults: int  #: crashes, false suspicions and missed deadlines that may still happen
    # What only the judge knows.
    possible: frozenset[int]  #: what was sent and not yet overruled by a later acknowledged write
    acknowledged: frozenset[int]  #: the acknowledged ones among them

    @property
    def waits_for_other_store(self) -> bool:
        """Whether the truth of the key still lies in the store that does not serve."""
        return self.source is not None and self.source != self.serving

    def has_request(self, sender: int) -> bool:
        """Whether something that this actor sent has not landed yet, so that D cannot have passed."""
        return any(request.sender == sender for request in self.network)

    def contents_with(self, store: Store, value: int) -> tuple[int, int]:
        """What the stores hold once this one holds something else."""
        return (value, self.contents[B]) if store == A else (self.contents[A], value)

    def clients_with(self, number: int, client: Client) -> tuple[Client, ...]:
        """All clients once this one has come further."""
        return (*self.clients[:number], client, *self.clients[number + 1 :])

    def bumped(self) -> Self:
        """The key's sequence has grown, which only a worker that holds a claim can notice."""
        if self.sync.step is Step.IDLE or self.sync.seq_moved:
            return self
        return self._replace(sync=self.sync._replace(seq_moved=True))

    def marked(self, source: Store) -> Self:
        """The key is dirty, and that store holds its truth."""
        return self._replace(touched=True, source=source).bumped()

    def abandoned(self, sender: int) -> Self:
        """A worker has died: what it had sent stays on the network, and answers nobody."""
        network = frozenset(
            request._replace(sender=NOBODY) if request.sender == sender else request for request in self.network
        )
        return self._replace(network=network, faults=self.faults - 1)

    def on_its_way(self, number: int, client: Client, write: Write) -> Self:
        """A client has sent its write; from now on its content may be found."""
        request = Request(number, client.store, write.value)
        return self._replace(
            network=self.network | {request},
            clients=self.clients_with(number, client._replace(step=Step.SENT)),
            possible=self.possible | {write.number},
        )

    def acknowledge(self, write: Write, after: frozenset[int]) -> Self:
        """The caller was told that the write is done, which overrules all that was acknowledged before it began."""
        return self._replace(possible=self.possible - after, acknowledged=(self.acknowledged | {write.number}) - after)

    def next_write(self, scenario: Scenario, number: int) -> Self:
        """A client is through with its present write, one way or the other."""
        turn = self.clients[number].turn + 1
        if turn == len(scenario.clients[number]):
            over = Client(Step.DONE, turn)
        else:
            over = Client(Step.IDLE, turn, self.clients[number].journals)
        return self._replace(clients=self.clients_with(number, over))


def initial(scenario: Scenario) -> State:
    """The document lies in A, B is empty, nobody has heard of a migration."""
    return State(
        contents=(INITIAL, ABSENT),
        network=frozenset(),
        mode=Mode.PASSIVE,
        serving=A,
        drained=False,
        flips_left=scenario.flips,
        touched=False,
        source=None,
        open_ops=frozenset(),
        ended_ops=frozenset(),
        clients=tuple(Client() for _ in scenario.clients),
        backfill=Backfill(),
        sync=Sync(),
        faults=scenario.faults,
        possible=frozenset({INITIAL}),
        acknowledged=frozenset({INITIAL}),
    )
