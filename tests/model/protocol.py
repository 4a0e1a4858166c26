"""The protocol that changes the embedding model under a live collection, as a state machine of one document key.

**The world.** Two stores, A (the old model) and B (the new one), each holding the document or nothing. They can only
overwrite and delete; they compare nothing. A write is a request on a network that may delay it as long as it likes. The
ledger is the only place where several things change at once: each of its transactions is one move. Clients and workers
may stop for ever between any two moves, and a slow client may be taken for dead.

**The idea.** One store *serves*: clients write only there. Before each write a client marks the key *dirty* in the
ledger (`open`), after it the client says so (`close`) and only then acknowledges. A *sync* worker makes the other store
equal to the serving one by reading the key again, never by replaying writes. A *backfill* copies the keys that nobody
has touched since the journal began. A cutover only swaps the roles of the stores; a rollback is the same swap again.

**Reading on.** `state.py` holds everything that exists at one moment. Here stands one function per actor, which yields
the moves that this actor may make. The guards that name a `Rule` are the protocol; `rules.py` says which race each
closes, `promises.py` what they buy together. The rest is the world, which does as it pleases.

One key is enough, because sequences, marks, claims and publications belong to one key. Only two actors ever wait for
more, and they hold nothing while they wait: a batch of writes for its keys, and a sync for the chunk of its key. Two
simplifications keep the machine finite and lose nothing: of a key's sequence only that is kept which is ever asked,
whether it moved since the claim; and "D has passed" is kept as what it guarantees, that nothing which the actor sent is
still on the network.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from tests.model.rules import Rule
from tests.model.scenario import ABSENT, INITIAL, Cutover, Deferral, Ending, Journaling, Scenario, Sending, Write
from tests.model.state import (
    BACKFILL,
    CHUNK_IN_PUBLICATION,
    NOBODY,
    SYNC,
    UNDER_WAY,
    A,
    B,
    Backfill,
    Client,
    Mode,
    Request,
    State,
    Step,
    Store,
    Sync,
)

#: What happened, in a few words, and what it led to.
Move: TypeAlias = tuple[str, State]


def moves(scenario: Scenario, state: State) -> Iterator[Move]:
    """All that may happen next, whoever does it."""
    yield from network(state)
    yield from clients(scenario, state)
    yield from reaper(scenario, state)
    yield from counter(scenario, state)
    yield from coordinator(scenario, state)
    if state.drained:
        yield from backfill(scenario, state)
        yield from sync(scenario, state)


def network(state: State) -> Iterator[Move]:
    """Deliver any request, in any order; its sender hears of it if it still waits."""
    for request in state.network:
        clients, backfill, sync = state.clients, state.backfill, state.sync
        if request.sender >= 0:
            client = clients[request.sender]
            if client.step is Step.SENT:
                clients = state.clients_with(request.sender, client._replace(step=Step.LANDED))
        elif request.sender == BACKFILL:
            backfill = Backfill(Step.LANDED)
        elif request.sender == SYNC:
            sync = sync._replace(step=Step.LANDED)
        yield (
            f"{_sender(request.sender)} lands in {_name(request.store)}: {_content(request.value)}",
            state._replace(
                contents=state.contents_with(request.store, request.value),
                network=state.network - {request},
                clients=clients,
                backfill=backfill,
                sync=sync,
            ),
        )


def clients(scenario: Scenario, state: State) -> Iterator[Move]:
    """Each client goes on with its present write, or dies in the middle of it."""
    for number, client in enumerate(state.clients):
        if client.step is Step.IDLE:
            write = scenario.clients[number][client.turn]
            if not client.journals:
                yield from _write_unjournaled(state, number, write)
            elif state.mode is Mode.JOURNAL and scenario.journaling is Journaling.ONE_TRANSACTION:
                yield from _open_write_close(scenario, state, number, write)
            elif state.mode is Mode.JOURNAL:
                yield from _open(scenario, state, number, write)
        elif client.step is Step.OPEN:
            yield from _send(scenario, state, number)
        elif client.step is Step.LANDED:
            yield from _close(scenario, state, number)
        if state.faults and client.step in UNDER_WAY:
            dead = Client(Step.DEAD, client.turn, client.journals)
            yield (
                f"client {number} dies",
                state._replace(clients=state.clients_with(number, dead), faults=state.faults - 1),
            )


def _write_unjournaled(state: State, number: int, write: Write) -> Iterator[Move]:
    """Write A at once while the old lease lasts, or learn that the journal is on.

    Between two writes nothing is under way, so to have learned it is to have acknowledged it.
    """
    client = state.clients[number]
    if state.mode is not Mode.PASSIVE:
        informed = state.clients_with(number, client._replace(journals=True))
        yield f"client {number} learns of the journal", state._replace(clients=informed)
    sent = state.on_its_way(number, client._replace(store=A, after=state.acknowledged), write)
    yield f"client {number} sends {write} to A, un-journaled", sent


def _open(scenario: Scenario, state: State, number: int, write: Write) -> Iterator[Move]:
    """The first transaction: read the route, mark the key, note the operation."""
    if _must_wait(scenario, state):
        return
    client = state.clients[number]._replace(step=Step.OPEN, store=state.serving, after=state.acknowledged)
    opened = state._replace(open_ops=state.open_ops | {write.number}, clients=state.clients_with(number, client))
    if Rule.MARK_BEFORE_WRITE in scenario.rules:
        opened = _journal(scenario, opened, state.serving)
    yield f"client {number} opens {write} in {_name(state.serving)}", opened


def _send(scenario: Scenario, state: State, number: int) -> Iterator[Move]:
    """Look at the clock, then send; past its deadline the operation may have been reaped, so the client gives up."""
    client = state.clients[number]
    write = scenario.clients[number][client.turn]
    if write.number not in state.open_ops:
        yield f"client {number} gives up {write}, past its deadline", state.next_write(scenario, number)
        if scenario.sending is Sending.IN_TIME:
            return
    late = "" if write.number in state.open_ops else ", too late"
    yield f"client {number} sends {write} to {_name(client.store)}{late}", state.on_its_way(number, client, write)


def _close(scenario: Scenario, state: State, number: int) -> Iterator[Move]:
    """The last transaction: acknowledge if the operation is still open, else mark the key again and admit doubt."""
    client = state.clients[number]
    write = scenario.clients[number][client.turn]
    over = state.next_write(scenario, number)
    if not client.journals:
        yield f"client {number} acknowledges {write}", over.acknowledge(write, client.after)
        return
    if Rule.MARK_BEFORE_WRITE not in scenario.rules:
        over = _journal(scenario, over, client.store)
    if write.number in state.open_ops:
        closed = over._replace(open_ops=state.open_ops - {write.number})
        if scenario.ending is Ending.LATER:
            closed = closed._replace(ended_ops=state.ended_ops | {write.number})
        elif Rule.CLOSE_BUMPS_SEQ in scenario.rules:
            closed = closed.bumped()
        yield f"client {number} closes and acknowledges {write}", closed.acknowledge(write, client.after)
    elif Rule.CLOSE_CHECKS_REAPED in scenario.rules:
        doubtful = over.marked(state.serving if state.source is None else state.source)
        yield f"client {number} finds {write} reaped: outcome unknown", doubtful
    else:
        yield f"client {number} acknowledges {write}, though reaped", over.acknowledge(write, client.after)


def _open_write_close(scenario: Scenario, state: State, number: int, write: Write) -> Iterator[Move]:
    """All three at once, where ledger and serving store are tables of one database."""
    if _must_wait(scenario, state):
        return
    written = _journal(scenario, state, state.serving)._replace(
        contents=state.contents_with(state.serving, write.value), possible=state.possible | {write.number}
    )
    yield (
        f"client {number} opens, writes, closes and acknowledges {write} in {_name(state.serving)}",
        written.next_write(scenario, number).acknowledge(write, state.acknowledged),
    )


def _must_wait(scenario: Scenario, state: State) -> bool:
    return state.waits_for_other_store and Rule.FOREIGN_SOURCE_WAITS in scenario.rules


def _journal(scenario: Scenario, state: State, store: Store) -> State:
    """Mark the key for the sync because that store is written: before the cutover always, after it by a rule."""
    if store == A or Rule.REVERSE_JOURNAL in scenario.rules:
        return state.marked(state.serving)
    return state


def reaper(scenario: Scenario, state: State) -> Iterator[Move]:
    """Close the operation of a client that is dead, or that is only slow, which counts as a fault."""
    for number, client in enumerate(state.clients):
        if client.step not in UNDER_WAY and client.step is not Step.DEAD:
            continue
        write = scenario.clients[number][client.turn]
        if write.number not in state.open_ops:
            continue
        if Rule.REAP_WAITS_D in scenario.rules and state.has_request(number):
            continue
        reaped = state._replace(open_ops=state.open_ops - {write.number}).bumped()
        if client.step is Step.DEAD:
            yield f"{write} of dead client {number} is reaped", reaped
        elif state.faults:
            yield f"{write} of slow client {number} is reaped", reaped._replace(faults=state.faults - 1)


def counter(scenario: Scenario, state: State) -> Iterator[Move]:
    """Count for the key what has ended; whoever looks for work does it, so it may happen at any moment."""
    if state.ended_ops:
        counted = state._replace(ended_ops=frozenset())
        yield "what has ended is counted", counted.bumped() if Rule.CLOSE_BUMPS_SEQ in scenario.rules else counted


def backfill(scenario: Scenario, state: State) -> Iterator[Move]:
    """Copy the key from A to B, unless somebody touched it; start again when the worker dies."""
    step, value = state.backfill
    if step is Step.IDLE:
        read = Backfill(Step.READ, state.contents[A])
        yield f"backfill reads A: {_content(read.value)}", state._replace(backfill=read)
    elif step is Step.READ:
        if value == ABSENT or (state.touched and Rule.PUBLISH_SKIPS_TOUCHED in scenario.rules):
            # The rest of the chunk is published all the same, which matters where a sync waits for chunks.
            rest = Step.ELSEWHERE if scenario.deferral is Deferral.CHUNK else Step.DONE
            yield "backfill drops the key from its chunk", state._replace(backfill=Backfill(rest))
        else:
            yield "backfill begins to publish", state._replace(backfill=Backfill(Step.PUBLISHING, value))
    elif step is Step.PUBLISHING:
        request = Request(BACKFILL, B, value)
        yield "backfill sends to B", state._replace(backfill=Backfill(Step.SENT), network=state.network | {request})
    elif step in {Step.LANDED, Step.ELSEWHERE}:
        yield "backfill has published its chunk", state._replace(backfill=Backfill(Step.DONE))
    if step in UNDER_WAY and state.faults and _may_be_taken_over(scenario, state, BACKFILL):
        yield "backfill dies and is taken over", state.abandoned(BACKFILL)._replace(backfill=Backfill())


def sync(scenario: Scenario, state: State) -> Iterator[Move]:
    """Claim a dirty key, read its source, write the other store, clear the mark if nothing has happened meanwhile."""
    worker = state.sync
    if worker.step is Step.IDLE:
        deferred = state.backfill.step in CHUNK_IN_PUBLICATION and Rule.SYNC_DEFERS_PUBLISH in scenario.rules
        if state.source is not None and not deferred:
            yield (
                f"sync claims the key from {_name(state.source)}",
                state._replace(sync=Sync(Step.CLAIMED, state.source)),
            )
    elif worker.step is Step.CLAIMED:
        read = worker._replace(step=Step.READ, value=state.contents[worker.source])
        yield f"sync reads {_name(worker.source)}: {_content(read.value)}", state._replace(sync=read)
    elif worker.step is Step.READ:
        request = Request(SYNC, B if worker.source == A else A, worker.value)
        sent = Sync(Step.SENT, seq_moved=worker.seq_moved)
        yield f"sync sends to {_name(request.store)}", state._replace(sync=sent, network=state.network | {request})
    elif worker.step is Step.LANDED:
        newer = worker.seq_moved and Rule.CLEAR_NEEDS_SAME_SEQ in scenario.rules
        written = bool(state.open_ops or state.ended_ops) and Rule.CLEAR_NEEDS_NO_OPEN in scenario.rules
        if newer or written:
            yield "sync leaves the key dirty", state._replace(sync=Sync())
        else:
            yield "sync clears the key", state._replace(sync=Sync(), source=None)
    if worker.step in UNDER_WAY and state.faults and _may_be_taken_over(scenario, state, SYNC):
        yield "sync dies and is taken over", state.abandoned(SYNC)._replace(sync=Sync())


def _may_be_taken_over(scenario: Scenario, state: State, worker: int) -> bool:
    return Rule.TAKEOVER_WAITS_D not in scenario.rules or not state.has_request(worker)


def coordinator(scenario: Scenario, state: State) -> Iterator[Move]:
    """Turn the journal on, let the workers start, flip: one transaction each, so its death leaves nothing to clean."""
    if state.mode is Mode.PASSIVE:
        yield "the journal is turned on", state._replace(mode=Mode.JOURNAL)
    elif not state.drained:
        if Rule.DRAIN_BEFORE_BACKFILL not in scenario.rules or _all_journal(state):
            yield "workers may start", state._replace(drained=True)
    elif state.mode is Mode.HOLD:
        if state.faults:
            yield "the hold expires", state._replace(mode=Mode.JOURNAL, faults=state.faults - 1)
        clean = state.source is None and state.sync.step is Step.IDLE
        if not state.open_ops and (clean or scenario.cutover is Cutover.FORCED):
            yield _flip(state)
    elif state.flips_left and state.backfill.step is Step.DONE:
        if scenario.cutover is Cutover.LIVE:
            yield _flip(state)
        else:
            yield "writes are held", state._replace(mode=Mode.HOLD)


def _all_journal(state: State) -> bool:
    """Whether no un-journaled write can be on its way any more, nor begin."""
    return all(
        client.journals or client.step is Step.DONE or (client.step is Step.DEAD and not state.has_request(number))
        for number, client in enumerate(state.clients)
    )


def _flip(state: State) -> Move:
    serving = B if state.serving == A else A
    flipped = state._replace(mode=Mode.JOURNAL, serving=serving, flips_left=state.flips_left - 1)
    return f"FLIP: {_name(serving)} serves", flipped


def _name(store: Store) -> str:
    return "AB"[store]


def _content(value: int) -> str:
    return {ABSENT: "nothing", INITIAL: "the initial document"}.get(value, f"upsert {value}")


def _sender(sender: int) -> str:
    names = {BACKFILL: "request of the backfill", SYNC: "request of the sync", NOBODY: "request of a dead worker"}
    return names.get(sender, f"request of client {sender}")
