"""The recipes that people use today, as small machines of one document: each is tried against every interleaving.

They are given more than the protocol is: every store operation is atomic and lands at once, and no actor is slow.
Clients write inline to all that there is; one backfill reads the document, embeds it, and writes what the recipe says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeAlias

from tests.model.explorer import Outcome, explore
from tests.model.scenario import ABSENT, INITIAL, Write, clients

DIVERGED = "the stores differ at rest"
MISTAGGED = "a text stands beside the vector of another text"


class Client(NamedTuple):
    """A process of the application, which performs its writes one after the other."""

    turn: int = 0  #: which of its writes it is at
    wrote_first: bool = False  #: its present write has reached the old store only
    dead: bool = False


class State(NamedTuple):
    """One moment. A place holds INITIAL, ABSENT, or the number of the upsert whose text is there, or was embedded."""

    old: int  #: what the old store holds; in one collection with named vectors: the text
    new: int  #: what the new store holds; in one collection: the text of which the new vector was made
    clients: tuple[Client, ...]
    read: int | None = None  #: what the backfill has read
    filled: bool = False  #: the backfill is through
    crashes: int = 0  #: how many clients may still die


Move: TypeAlias = tuple[str, State]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How the backfill writes: from what the new place holds and what it has read, to what is there afterwards."""

    name: str
    fill: Callable[[State, int], int]


def _insert_if_absent(state: State, read: int) -> int:
    return read if state.new == ABSENT else state.new


def _if_newer(state: State, read: int) -> int:
    # A deleted document has no version to be older than: deletes leave nothing that could be compared.
    return read if state.new == ABSENT or state.new < read else state.new


def _blindly(_state: State, read: int) -> int:
    return read


def _only_the_vector(state: State, read: int) -> int:
    # An update does nothing to a document that is not there.
    return ABSENT if state.old == ABSENT else read


INSERT_IF_ABSENT = Recipe(name="insert if absent", fill=_insert_if_absent)
CONDITIONAL_ON_VERSION = Recipe(name="upsert if the version is newer", fill=_if_newer)
BLIND_UPSERT = Recipe(name="upsert", fill=_blindly)
UPDATE_VECTOR = Recipe(name="update of the new vector", fill=_only_the_vector)


def try_dual_write(writes: str, recipe: Recipe, *, crashes: int = 0) -> Outcome:
    """Write to the old store, then to the new one; fill the new one by the recipe."""
    script = clients(writes)
    start = State(INITIAL, ABSENT, tuple(Client() for _ in script), crashes=crashes)
    return explore(start, partial(_dual_write_moves, script, recipe), _diverged)


def try_named_vectors(writes: str) -> Outcome:
    """Keep both vectors in one collection: a write replaces text and new vector at once, the backfill adds vectors."""
    script = clients(writes)
    # Nobody has made a new vector of the initial text yet.
    start = State(INITIAL, ABSENT, tuple(Client() for _ in script))
    return explore(start, partial(_named_vectors_moves, script), _mistagged)


def _dual_write_moves(script: tuple[tuple[Write, ...], ...], recipe: Recipe, state: State) -> Iterator[Move]:
    for number, client, write in _writing(script, state):
        if not client.wrote_first:
            halfway = _with(state, number, client._replace(wrote_first=True))
            yield f"client {number} writes {write} to the old store", halfway._replace(old=write.value)
            continue
        yield (
            f"client {number} writes {write} to the new store",
            _with(state, number, Client(client.turn + 1))._replace(new=write.value),
        )
        if state.crashes:
            dead = _with(state, number, client._replace(dead=True))
            yield f"client {number} dies between the two", dead._replace(crashes=state.crashes - 1)
    yield from _backfill(recipe, state)


def _named_vectors_moves(script: tuple[tuple[Write, ...], ...], state: State) -> Iterator[Move]:
    for number, client, write in _writing(script, state):
        written = _with(state, number, Client(client.turn + 1))
        yield f"client {number} writes {write} with its new vector", written._replace(old=write.value, new=write.value)
    yield from _backfill(UPDATE_VECTOR, state)


def _backfill(recipe: Recipe, state: State) -> Iterator[Move]:
    if state.filled:
        return
    if state.read is None:
        yield "backfill reads the text", state._replace(read=state.old)
    elif state.read == ABSENT:
        yield "backfill has nothing to do", state._replace(filled=True, read=None)
    else:
        yield f"backfill: {recipe.name}", state._replace(filled=True, read=None, new=recipe.fill(state, state.read))


def _writing(script: tuple[tuple[Write, ...], ...], state: State) -> Iterator[tuple[int, Client, Write]]:
    for number, client in enumerate(state.clients):
        if not client.dead and client.turn < len(script[number]):
            yield number, client, script[number][client.turn]


def _with(state: State, number: int, client: Client) -> State:
    return state._replace(clients=(*state.clients[:number], client, *state.clients[number + 1 :]))


def _diverged(state: State, stuck: bool) -> str | None:
    return DIVERGED if stuck and state.old != state.new else None


def _mistagged(state: State, stuck: bool) -> str | None:
    return MISTAGGED if stuck and state.old not in {ABSENT, state.new} else None
