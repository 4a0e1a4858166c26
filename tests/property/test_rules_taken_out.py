"""Without any one rule the state machine sees a promise broken; with it, the same program keeps every promise."""

from __future__ import annotations

from unittest.mock import patch

import pytest

from tests.conformance.test_ledger_without_a_rule import MISSING
from tests.conftest import ROOT
from tests.model.test_rules import SHORTEST
from tests.property.programs import PROGRAMS, STRANGE, perform
from tests.simulation.layers import heading, line
from tests.simulation.mutants import MUTANTS, NO_REVERSE_JOURNAL, Mutant
from undrift.migrate import reconcile
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


@pytest.mark.parametrize("where", STRANGE)
def test_what_strangers_write_is_found_and_never_gone_in_silence(where: str) -> None:
    perform(STRANGE[where])


@pytest.mark.parametrize("where", STRANGE)
def test_a_scan_that_sees_no_strangers_is_noticed(where: str) -> None:
    with patch.object(reconcile._Scan, "page", lambda *_: None), pytest.raises(AssertionError):
        perform(STRANGE[where])


def test_a_scan_that_replaces_what_a_stranger_wrote_to_the_old_field_is_noticed() -> None:
    with (
        patch.object(reconcile, "may_replace", lambda *_: True),
        pytest.raises(AssertionError, match="is gone in silence"),
    ):
        perform(STRANGE["to what served before"])


def test_there_is_a_program_for_each_rule() -> None:
    assert list(PROGRAMS) == [mutant.name for mutant in MUTANTS]


def test_the_table_of_the_page_has_each_rule_with_the_layers_that_notice_it() -> None:
    """Its figures are what is tried here, in `tests/model/test_rules.py` and in `tests/simulation/test_mutants.py`."""
    page = (ROOT / "docs" / "explanation" / "how-it-is-proven.md").read_text(encoding="utf-8")
    expected = [heading()]
    for mutant in MUTANTS:
        model = "-" if mutant.rule is None else f"{SHORTEST[mutant.rule]} steps"
        kit = "yes" if mutant.planted in (*MISSING, NO_REVERSE_JOURNAL) else "-"
        expected.append(line(mutant, model, kit, f"{len(PROGRAMS[mutant.name])} calls", f"seed {mutant.seed}"))

    table = page[page.index("```text\nwithout") :].split("\n", 1)[1].partition("\n```")[0]
    assert table.splitlines() == expected
