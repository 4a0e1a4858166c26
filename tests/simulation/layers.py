"""Which layer of tests notices which missing rule: `python -m tests.simulation --mutants`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from tests.conformance.test_ledger_without_a_rule import KITS, first_fall, without
from tests.model.promises import search_the_end
from tests.model.rules import ALL
from tests.model.scenario import Sending
from tests.model.test_rules import NEEDS_A_LATE_REQUEST, SCENARIO
from tests.property.programs import PROGRAMS, perform
from tests.simulation.mutants import MUTANTS, Mutant
from undrift.testing import rig
from undrift.testing.simulation import Hands

COLUMNS = ("model", "ledger kit", "state machine", "simulation")
_WIDTH = max(len(mutant.name) for mutant in MUTANTS) + 2
NOT = "not"


def table() -> Iterator[str]:
    """Try every mutant on every layer; a line for each, with what noticed it."""
    hands = Hands()
    yield heading()
    for mutant in MUTANTS:
        found = mutant.search(hands)
        simulation = NOT if found is None else f"seed {found[0]}"
        yield line(mutant, _of_model(mutant), _of_kit(mutant), of_machine(mutant), simulation)
    hands.close()


def heading() -> str:
    """The first line of the table."""
    return f"{'without':{_WIDTH}}" + "".join(f"{name:>15}" for name in COLUMNS)


def line(mutant: Mutant, *cells: str) -> str:
    """A line of the table."""
    return f"{mutant.name:{_WIDTH}}" + "".join(f"{cell:>15}" for cell in cells)


def of_machine(mutant: Mutant) -> str:
    """How long the program is at which the state machine notices it."""
    program = PROGRAMS[mutant.name]
    with mutant.in_place() as ledger, patch.object(rig, "SqliteLedger", ledger):
        try:
            perform(program)
        except AssertionError:
            return f"{len(program)} calls"
    return NOT


def _of_model(mutant: Mutant) -> str:
    if mutant.rule is None:
        return "-"
    sending = Sending.LATE if mutant.rule is NEEDS_A_LATE_REQUEST else Sending.IN_TIME
    outcome = search_the_end(replace(SCENARIO, sending=sending, rules=ALL - {mutant.rule}))
    return f"{len(outcome.trace)} steps" if outcome.violation is not None else NOT


def _of_kit(mutant: Mutant) -> str:
    if mutant.planted is None:
        return "-"
    with tempfile.TemporaryDirectory(prefix="undrift-") as folder:
        return "yes" if first_fall(without(mutant.planted), Path(folder), *KITS[mutant.planted.module]) else NOT
