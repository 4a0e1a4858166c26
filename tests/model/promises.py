"""What the protocol promises, and the judge who looks for a state in which a promise is broken."""

from __future__ import annotations

from enum import StrEnum
from functools import partial

from tests.model.explorer import LIMIT, Outcome, explore
from tests.model.protocol import moves
from tests.model.scenario import ABSENT, Scenario
from tests.model.state import A, B, State, Step, initial


class Broken(StrEnum):
    """How a promise can be broken."""

    #: Work is left, and nobody can move.
    STUCK = "deadlock"
    #: All is quiet, nothing is marked dirty, and the stores hold different things.
    DIVERGED = "the stores differ at rest"
    #: All is quiet, and what the stores hold was overruled by a write that was acknowledged later.
    LOST = "an acknowledged write is lost, or a deleted document is back"
    #: A search in the serving store finds what was overruled, though the key is not waiting for the other store.
    STALE = "the serving store shows what was overruled"


def at_the_end(scenario: Scenario, state: State, stuck: bool) -> Broken | None:
    """Judge only states in which nothing can happen any more: what remains of a migration when all has calmed down."""
    if not stuck:
        return None
    if not _finished(state):
        return Broken.STUCK
    if state.contents[A] != state.contents[B]:
        return Broken.DIVERGED
    if not _is_legal(scenario, state, state.contents[A]):
        return Broken.LOST
    return None


def always(scenario: Scenario, state: State, stuck: bool) -> Broken | None:
    """Judge every state: searches go on during the whole migration, and each shows what a search would find.

    A key may be stale in the serving store only while it is dirty *from the other store*: after a cutover that did not
    wait for it, and until its sync. A cutover that freezes writes waits for every key, so there nothing is excused.
    """
    if not state.waits_for_other_store and not _is_legal(scenario, state, state.contents[state.serving]):
        return Broken.STALE
    return at_the_end(scenario, state, stuck)


def search(scenario: Scenario, *, limit: int = LIMIT) -> Outcome:
    """Look through every state of a scenario for a broken promise of any kind."""
    return explore(initial(scenario), partial(moves, scenario), partial(always, scenario), limit=limit)


def search_the_end(scenario: Scenario, *, limit: int = LIMIT) -> Outcome:
    """Look only for damage that stays: what remains broken when all has calmed down."""
    return explore(initial(scenario), partial(moves, scenario), partial(at_the_end, scenario), limit=limit)


def _finished(state: State) -> bool:
    return (
        not state.network
        and not state.open_ops
        and state.source is None
        and state.sync.step is Step.IDLE
        and state.backfill.step is Step.DONE
        and not state.flips_left
        and all(client.step in {Step.DONE, Step.DEAD} for client in state.clients)
    )


def _is_legal(scenario: Scenario, state: State, value: int) -> bool:
    """Whether a value is that of a write which no acknowledged later write has overruled."""
    if value == ABSENT:
        return not state.possible.isdisjoint(scenario.deletes)
    return value in state.possible
