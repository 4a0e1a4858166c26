"""Without any one rule, the simulation sees a promise broken; with it, the same seeds keep every promise."""

from __future__ import annotations

import pytest

from tests.model.rules import Rule
from tests.simulation.mutants import MUTANTS, Mutant
from undrift.testing.simulation import Hands, simulate


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "_"))
def test_without_a_rule_a_promise_is_broken(mutant: Mutant, hands: Hands) -> None:
    found = mutant.search(hands)

    assert found is not None, f"nothing notices within {mutant.budget} seeds that {mutant.name!r} is missing"
    seed, report = found
    assert report.violation is not None
    assert report.violation.promise.startswith("I")
    # What is broken without the rule is kept with it, by the very same seeds up to there.
    for kept in range(max(0, seed - 1), seed + 1):
        assert simulate(mutant.options(kept), hands=hands).violation is None


def test_every_rule_of_the_protocol_is_taken_out() -> None:
    assert {mutant.rule for mutant in MUTANTS} - {None} == set(Rule)
