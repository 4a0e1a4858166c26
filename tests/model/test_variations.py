"""Three ways of building the protocol that are simpler or quicker than the general one keep the same promises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest

from tests.model.explorer import explore
from tests.model.promises import search, search_the_end
from tests.model.protocol import moves
from tests.model.rules import ALL, Rule
from tests.model.scenario import ABSENT, INITIAL, Deferral, Ending, Journaling, Scenario, Sending, clients
from tests.model.searched import CHUNK, ENDING_LATER, ONE_TRANSACTION, Searched, each
from tests.model.state import Backfill, State, Step, initial

#: What is left of the protocol where a write and its journal entry are one transaction: nothing is ever open, so there
#: is nothing to reap, and nothing lands between a mark and its close.
NEEDED_IN_ONE_TRANSACTION = frozenset(
    {
        Rule.DRAIN_BEFORE_BACKFILL,
        Rule.FOREIGN_SOURCE_WAITS,
        Rule.REVERSE_JOURNAL,
        Rule.CLEAR_NEEDS_SAME_SEQ,
        Rule.PUBLISH_SKIPS_TOUCHED,
        Rule.SYNC_DEFERS_PUBLISH,
        Rule.TAKEOVER_WAITS_D,
    }
)


@each(CHUNK)
def test_a_sync_that_waits_for_whole_chunks_keeps_every_promise(searched: Searched) -> None:
    """The ledger need not note which keys are being published, only which chunks; and nobody waits for ever."""
    outcome = search(searched.scenario)
    assert (outcome.violation, outcome.complete, outcome.states) == (None, True, searched.states), str(outcome)


@pytest.mark.parametrize(("writes", "flips", "faults"), [("U||D", 1, 1), ("U;D", 2, 2), ("U;D", 3, 1)])
def test_every_moment_with_waits_per_chunk_is_a_moment_with_waits_per_key(writes: str, flips: int, faults: int) -> None:
    """Why waiting for chunks is safe wherever waiting for keys is, for any number of keys and writes.

    A chunk in publication contains at least the keys that are being published, so who waits for it waits for them. New
    is only the worker that publishes its chunk *without* this key. To everybody else it looks like a worker that has
    read the key and still embeds, and that drops the key at the moment at which the chunk is in truth published. Such a
    drop is allowed at any time: a touched key stays touched, and what was read stays read. So every history is one of
    the protocol with waits per key, in which some syncs begin later than they could have. They do begin, because a
    publication ends by itself or by the takeover of its worker: that is why the searches above find no deadlock.
    """
    per_key = Scenario(clients=clients(writes), flips=flips, faults=faults)
    per_chunk = replace(per_key, deferral=Deferral.CHUNK)
    known = _reachable(per_key)
    found = _reachable(per_chunk)
    elsewhere = {state for state in found if state.backfill.step is Step.ELSEWHERE}
    assert elsewhere
    assert found - elsewhere <= known
    assert all(any(seen in known for seen in _as_it_looks(state, per_key)) for state in elsewhere)


def test_with_waits_per_chunk_no_sync_begins_while_the_chunk_is_published_without_the_key() -> None:
    scenario = Scenario(clients=clients("U||D"), deferral=Deferral.CHUNK)
    waiting = [
        state
        for state in _reachable(scenario)
        if (state.backfill.step, state.sync.step) == (Step.ELSEWHERE, Step.IDLE) and state.source is not None
    ]
    assert waiting
    assert not [move for state in waiting for move, _ in moves(scenario, state) if move.startswith("sync")]


@pytest.mark.parametrize("rule", Rule, ids=str)
def test_with_waits_per_chunk_every_rule_is_still_needed(rule: Rule) -> None:
    # Only a request that leaves too late meets an operation that is already reaped.
    sending = Sending.LATE if rule is Rule.CLOSE_CHECKS_REAPED else Sending.IN_TIME
    scenario = Scenario(clients=clients("U;D"), flips=2, deferral=Deferral.CHUNK, sending=sending, rules=ALL - {rule})
    assert search_the_end(scenario).violation is not None


@each(ENDING_LATER)
def test_ends_that_are_counted_later_keep_every_promise(searched: Searched) -> None:
    """A close need not touch the documents of a write, which waits for it; the ledger on PostgreSQL is built so."""
    outcome = search(searched.scenario)
    assert (outcome.violation, outcome.complete, outcome.states) == (None, True, searched.states), str(outcome)


@pytest.mark.parametrize("rule", Rule, ids=str)
def test_with_ends_that_are_counted_later_every_rule_is_still_needed(rule: Rule) -> None:
    sending = Sending.LATE if rule is Rule.CLOSE_CHECKS_REAPED else Sending.IN_TIME
    scenario = Scenario(clients=clients("U;D"), flips=2, ending=Ending.LATER, sending=sending, rules=ALL - {rule})
    assert search_the_end(scenario).violation is not None


@each(ONE_TRANSACTION)
def test_open_write_and_close_in_one_transaction_keep_every_promise(searched: Searched) -> None:
    """Where ledger and store share a database file; also together with waits per chunk, as the product does it."""
    outcome = search(searched.scenario)
    assert (outcome.violation, outcome.complete, outcome.states) == (None, True, searched.states), str(outcome)


@pytest.mark.parametrize("rule", sorted(NEEDED_IN_ONE_TRANSACTION), ids=str)
def test_in_one_transaction_this_rule_is_still_needed(rule: Rule) -> None:
    assert search(_in_one_transaction(ALL - {rule})).violation is not None


def test_in_one_transaction_the_other_rules_have_nothing_to_do() -> None:
    outcome = search(_in_one_transaction(NEEDED_IN_ONE_TRANSACTION))
    assert outcome.violation is None, str(outcome)
    assert outcome.complete
    assert outcome.states == search(_in_one_transaction(ALL)).states


def _in_one_transaction(rules: frozenset[Rule]) -> Scenario:
    return Scenario(
        clients=clients("U||D"),
        flips=2,
        faults=2,
        journaling=Journaling.ONE_TRANSACTION,
        sending=Sending.LATE,
        rules=rules,
    )


def _reachable(scenario: Scenario) -> set[State]:
    found: set[State] = set()

    def note(state: State, _stuck: bool) -> None:
        found.add(state)

    assert explore(initial(scenario), partial(moves, scenario), note).complete
    return found


def _as_it_looks(state: State, scenario: Scenario) -> Iterator[State]:
    """A worker that still embeds; nobody but itself knows what it has read."""
    contents = (ABSENT, INITIAL, *(write.number for writes in scenario.clients for write in writes))
    return (state._replace(backfill=Backfill(Step.READ, value)) for value in contents)
