"""Which layer of tests notices which missing rule: `python -m tests.simulation --mutants`."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from hypothesis import Phase, settings
from hypothesis.errors import HypothesisException
from hypothesis.stateful import run_state_machine_as_test

from tests.conformance.test_ledger_without_a_rule import KITS, first_fall, without
from tests.model.promises import search_the_end
from tests.model.rules import ALL
from tests.model.scenario import Sending
from tests.model.test_rules import NEEDS_A_LATE_REQUEST, SCENARIO
from tests.property.test_life_of_a_collection import LifeOfACollection, TestLifeOfACollection
from tests.simulation.mutants import MUTANTS, Mutant
from undrift.testing import rig
from undrift.testing.simulation import Hands

#: Programs that the state machine tries on a mutant.
_EXAMPLES = 50
_COLUMNS = ("model", "ledger kit", "simulation", "state machine")


def table() -> Iterator[str]:
    """Try every mutant on every layer; a line for each, with what noticed it."""
    hands = Hands()
    width = max(len(mutant.name) for mutant in MUTANTS) + 2
    yield f"{'without':{width}}" + "".join(f"{name:>15}" for name in _COLUMNS)
    for mutant in MUTANTS:
        found = mutant.search(hands)
        cells = (
            _of_model(mutant),
            _of_kit(mutant),
            "not" if found is None else f"seed {found[0]}",
            _of_machine(mutant),
        )
        yield f"{mutant.name:{width}}" + "".join(f"{cell:>15}" for cell in cells)
    hands.close()


def _of_model(mutant: Mutant) -> str:
    if mutant.rule is None:
        return "-"
    sending = Sending.LATE if mutant.rule is NEEDS_A_LATE_REQUEST else Sending.IN_TIME
    outcome = search_the_end(replace(SCENARIO, sending=sending, rules=ALL - {mutant.rule}))
    return f"{len(outcome.trace)} steps" if outcome.violation is not None else "not"


def _of_kit(mutant: Mutant) -> str:
    if mutant.planted is None:
        return "-"
    with tempfile.TemporaryDirectory(prefix="undrift-") as folder:
        return "yes" if first_fall(without(mutant.planted), Path(folder), *KITS[mutant.planted.module]) else "not"


def _of_machine(mutant: Mutant) -> str:
    """Run the state machine on a mutant; nothing of it is remembered, and nothing is made shorter."""
    tried = settings(
        TestLifeOfACollection.settings,
        max_examples=_EXAMPLES,
        database=None,
        phases=(Phase.generate,),
        derandomize=True,
    )
    with mutant.in_place() as ledger, patch.object(rig, "SqliteLedger", ledger), redirect_stdout(io.StringIO()):
        try:
            run_state_machine_as_test(LifeOfACollection, settings=tried)
        except (AssertionError, HypothesisException, ExceptionGroup):
            return "yes"
    return "not"
