"""Every rule is needed: with any one switched off there is a history that leaves damage, and this is the shortest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.model.promises import Broken, search, search_the_end
from tests.model.rules import ALL, Rule
from tests.model.scenario import Cutover, Scenario, Sending, clients

#: One client upserts while another deletes, one cutover, one fault.
SCENARIO = Scenario(clients=clients("U||D"), flips=1, faults=1)

#: How many moves it takes at least until damage stays. In a case that needs a late request, it is allowed.
SHORTEST = {
    Rule.DRAIN_BEFORE_BACKFILL: 11,
    Rule.MARK_BEFORE_WRITE: 14,
    Rule.FOREIGN_SOURCE_WAITS: 19,
    Rule.REVERSE_JOURNAL: 13,
    Rule.CLOSE_BUMPS_SEQ: 18,
    Rule.CLOSE_CHECKS_REAPED: 19,
    Rule.REAP_WAITS_D: 19,
    Rule.CLEAR_NEEDS_NO_OPEN: 18,
    Rule.CLEAR_NEEDS_SAME_SEQ: 18,
    Rule.PUBLISH_SKIPS_TOUCHED: 21,
    Rule.SYNC_DEFERS_PUBLISH: 21,
    Rule.TAKEOVER_WAITS_D: 23,
}
NEEDS_A_LATE_REQUEST = Rule.CLOSE_CHECKS_REAPED


@pytest.mark.parametrize("rule", Rule, ids=str)
def test_without_this_rule_damage_stays(rule: Rule) -> None:
    sending = Sending.LATE if rule is NEEDS_A_LATE_REQUEST else Sending.IN_TIME
    outcome = search_the_end(replace(SCENARIO, sending=sending, rules=ALL - {rule}))
    # Only where authority moves too early is the last copy overwritten; otherwise one store still has it.
    expected = Broken.LOST if rule is Rule.FOREIGN_SOURCE_WAITS else Broken.DIVERGED
    assert (outcome.violation, len(outcome.trace)) == (expected, SHORTEST[rule]), str(outcome)


def test_a_client_never_finds_its_operation_reaped_unless_its_request_leaves_too_late() -> None:
    """Then looking for it is not needed; with late requests it is, see above."""
    outcome = search(replace(SCENARIO, rules=ALL - {NEEDS_A_LATE_REQUEST}))
    assert outcome.violation is None, str(outcome)
    assert outcome.complete


def test_a_cutover_that_freezes_writes_leaves_no_key_that_would_have_to_wait() -> None:
    """Waiting for the other store is the price of a cutover without a pause, and of a forced one."""
    frozen = replace(SCENARIO, cutover=Cutover.FREEZE)
    outcome = search(replace(frozen, rules=ALL - {Rule.FOREIGN_SOURCE_WAITS}))
    assert outcome.violation is None, str(outcome)
    assert outcome.states == search(frozen).states


def test_a_forced_flip_without_waiting_for_the_other_store_loses_a_write() -> None:
    forced = Scenario(clients=clients("U;D||U"), cutover=Cutover.FORCED, rules=ALL - {Rule.FOREIGN_SOURCE_WAITS})
    outcome = search_the_end(forced)
    assert (outcome.violation, len(outcome.trace)) == (Broken.LOST, 20), str(outcome)


def test_a_frozen_cutover_does_not_make_up_for_an_acknowledgement_after_the_reaper() -> None:
    late = Scenario(clients=clients("U;D"), flips=2, cutover=Cutover.FREEZE, sending=Sending.LATE)
    outcome = search(replace(late, rules=ALL - {Rule.CLOSE_CHECKS_REAPED}))
    assert (outcome.violation, len(outcome.trace)) == (Broken.STALE, 17), str(outcome)
