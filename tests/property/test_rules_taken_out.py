"""Without any one rule the state machine sees a promise broken; with it, the same program keeps every promise."""

from __future__ import annotations

from unittest.mock import patch

import pytest

from tests.property.programs import PROGRAMS, perform
from tests.simulation.mutants import MUTANTS, Mutant
from undrift.testing import rig

by_name = pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "_"))


@by_name
def test_without_a_rule_a_short_program_breaks_a_promise(mutant: Mutant) -> None:
    with (
        mutant.in_place() as ledger,
        patch.object(rig, "SqliteLedger", ledger),
        pytest.raises(AssertionError),
    ):
        perform(PROGRAMS[mutant.name])


@by_name
def test_with_every_rule_the_same_program_keeps_every_promise(mutant: Mutant) -> None:
    perform(PROGRAMS[mutant.name])


def test_there_is_a_program_for_each_rule() -> None:
    assert list(PROGRAMS) == [mutant.name for mutant in MUTANTS]
