"""The search finds what is there, says when it has not looked everywhere, and the judge notices each kind of damage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from functools import partial

import pytest

from tests.model.explorer import explore
from tests.model.promises import Broken, always, at_the_end
from tests.model.protocol import Move, moves
from tests.model.scenario import ABSENT, INITIAL, Scenario, clients
from tests.model.state import A, B, Backfill, Client, Request, State, Step, initial


def hops(number: int) -> Iterator[tuple[str, int]]:
    """One and two steps up to ten: many ways lead to each number."""
    for width in (1, 2):
        if number + width <= 10:
            yield f"+{width}", number + width


def test_every_state_is_looked_at_once() -> None:
    seen: list[int] = []
    outcome = explore(0, hops, lambda number, _stuck: seen.append(number))
    assert sorted(seen) == list(range(11))
    assert (outcome.violation, outcome.states, outcome.complete) == (None, 11, True)


def test_the_trace_to_a_violation_is_a_shortest_one() -> None:
    outcome = explore(0, hops, lambda number, _stuck: "seven" if number == 7 else None)
    assert outcome.violation == "seven"
    assert sorted(outcome.trace) == ["+1", "+2", "+2", "+2"]
    assert not outcome.complete


def test_a_state_from_which_nothing_happens_is_told_apart() -> None:
    outcome = explore(0, hops, lambda _number, stuck: "stuck" if stuck else None)
    assert (outcome.violation, len(outcome.trace)) == ("stuck", 5)


def test_a_search_that_gave_up_says_so() -> None:
    outcome = explore(0, hops, lambda _number, _stuck: None, limit=10)
    assert (outcome.violation, outcome.states, outcome.complete) == (None, 10, False)
    assert "TRUNCATED" in str(outcome)
    assert explore(0, hops, lambda _number, _stuck: None, limit=11).complete


def test_a_counterexample_reads_as_a_numbered_list() -> None:
    outcome = explore(7, hops, lambda number, _stuck: "ten" if number == 10 else None)
    assert str(outcome) == "ten, after 2 moves:\n   1  +1\n   2  +2"


def test_the_collector_works_again_after_a_search_that_failed() -> None:
    def breaks(_number: int, _stuck: bool) -> None:
        assert not gc.isenabled()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        explore(0, hops, breaks)
    assert gc.isenabled()


def test_a_worker_that_never_comes_is_a_deadlock() -> None:
    scenario = Scenario(clients=clients("U"), faults=0)

    def without_sync(state: State) -> Iterator[Move]:
        return (move for move in moves(scenario, state) if not move[0].startswith("sync"))

    outcome = explore(initial(scenario), without_sync, partial(always, scenario))
    assert outcome.violation is Broken.STUCK


#: The end of a migration in which nobody has written.
FINISHED = initial(Scenario())._replace(contents=(INITIAL, INITIAL), flips_left=0, backfill=Backfill(Step.DONE))


@pytest.mark.parametrize(
    ("state", "verdict"),
    [
        (FINISHED, None),
        (FINISHED._replace(contents=(INITIAL, ABSENT)), Broken.DIVERGED),
        (FINISHED._replace(contents=(ABSENT, ABSENT)), Broken.LOST),
        (FINISHED._replace(contents=(1, 1)), Broken.LOST),
        (FINISHED._replace(contents=(1, 1), possible=frozenset({1})), None),
        (FINISHED._replace(contents=(ABSENT, ABSENT), possible=frozenset({1})), Broken.LOST),
        (FINISHED._replace(contents=(ABSENT, ABSENT), possible=frozenset({2})), None),
        (FINISHED._replace(flips_left=1), Broken.STUCK),
        (FINISHED._replace(source=A), Broken.STUCK),
        (FINISHED._replace(open_ops=frozenset({1})), Broken.STUCK),
        (FINISHED._replace(network=frozenset({Request(0, A, 1)})), Broken.STUCK),
        (FINISHED._replace(clients=(Client(),)), Broken.STUCK),
    ],
)
def test_the_judge_looks_at_what_remains_when_nothing_can_happen_any_more(state: State, verdict: Broken | None) -> None:
    scenario = Scenario(clients=clients("U;D"))
    assert at_the_end(scenario, state, True) is verdict
    assert at_the_end(scenario, state, False) is None


def test_the_judge_looks_at_what_a_search_would_show() -> None:
    scenario = Scenario(clients=clients("U"))
    overruled = FINISHED._replace(possible=frozenset({1}))
    assert always(scenario, overruled, False) is Broken.STALE
    assert always(scenario, overruled._replace(source=A), False) is Broken.STALE
    assert always(scenario, overruled._replace(source=B), False) is None
