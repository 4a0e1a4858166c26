"""The protocol as it is keeps every promise, in every history of every scenario."""

from __future__ import annotations

from tests.model.promises import search
from tests.model.searched import FORCED, FREEZE, LATE, LIVE, Searched, each


@each(LIVE)
def test_a_cutover_under_live_writes_keeps_every_promise(searched: Searched) -> None:
    """With crashes and false suspicions, with a rollback, and with a second cutover after it."""
    outcome = search(searched.scenario)
    assert (outcome.violation, outcome.complete, outcome.states) == (None, True, searched.states), str(outcome)


@each(FREEZE)
def test_a_cutover_that_freezes_writes_keeps_every_promise(searched: Searched) -> None:
    """And no search is excused: no key is dirty when the roles are swapped."""
    outcome = search(searched.scenario)
    assert (outcome.violation, outcome.complete, outcome.states) == (None, True, searched.states), str(outcome)


@each(FORCED)
def test_a_forced_flip_with_dirty_keys_keeps_every_promise(searched: Searched) -> None:
    """The keys go over as they are; each must be caught up before it can be written again."""
    outcome = search(searched.scenario)
    assert (outcome.violation, outcome.complete, outcome.states) == (None, True, searched.states), str(outcome)


@each(LATE)
def test_a_request_that_leaves_too_late_breaks_no_promise(searched: Searched) -> None:
    """Its client finds the operation reaped, marks the key again and admits that it does not know the outcome."""
    outcome = search(searched.scenario)
    assert (outcome.violation, outcome.complete, outcome.states) == (None, True, searched.states), str(outcome)
