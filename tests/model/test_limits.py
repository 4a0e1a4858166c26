"""What the protocol cannot promise, on stores that take whatever arrives whenever it arrives."""

from __future__ import annotations

import pytest

from tests.model.promises import Broken, search
from tests.model.scenario import Cutover, Journaling, Scenario, Sending, clients


@pytest.mark.parametrize(("cutover", "flips", "moves"), [(Cutover.LIVE, 1, 19), (Cutover.FREEZE, 2, 22)], ids=str)
def test_a_request_that_leaves_too_late_from_a_client_that_then_dies_makes_the_stores_differ(
    cutover: Cutover, flips: int, moves: int
) -> None:
    """The known limit, and it takes two faults at once.

    The client is suspended after its last look at the clock for longer than its deadline and D; its operation is
    reaped; it wakes, sends, and dies before it can find out and mark the key again. Its request may land after a sync
    has read, and nothing in the ledger tells of it. The write was never acknowledged, so none is lost; but the stores
    differ until the key is written again or the verification finds it. A store that checks a fence itself closes it.
    """
    late = Scenario(clients=clients("U||D"), flips=flips, faults=2, cutover=cutover, sending=Sending.LATE)
    outcome = search(late)
    assert (outcome.violation, len(outcome.trace)) == (Broken.DIVERGED, moves), str(outcome)
    too_late = next(number for number, move in enumerate(outcome.trace) if move.endswith("too late"))
    assert any(move.endswith("dies") for move in outcome.trace[too_late:])


def test_the_limit_does_not_exist_where_a_write_and_its_journal_entry_are_one_transaction() -> None:
    late = Scenario(
        clients=clients("U||D"), flips=2, faults=2, sending=Sending.LATE, journaling=Journaling.ONE_TRANSACTION
    )
    outcome = search(late)
    assert outcome.violation is None, str(outcome)
    assert outcome.complete
