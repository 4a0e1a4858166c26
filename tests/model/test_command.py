"""The command that searches by hand tells what it has found, and the example of the README is what it prints."""

from __future__ import annotations

import shlex
import textwrap
from pathlib import Path

import pytest

from tests.model.__main__ import report

README = Path(__file__).with_name("README.md")
PROMPT = "    $ python -m tests.model "


def test_the_readme_shows_what_the_command_prints() -> None:
    _, example = README.read_text(encoding="utf-8").split(PROMPT)
    command, _, rest = example.partition("\n")
    printed = rest.split("\n\n", 1)[0]
    assert textwrap.dedent(printed) + "\n" == report(shlex.split(command))


def test_a_search_that_gives_up_is_not_taken_for_a_proof() -> None:
    assert report(["U", "--limit", "10"]) == "U, AB, 1 fault, live\nno violation in 10 states, TRUNCATED\n"


def test_every_variation_can_be_searched() -> None:
    variations = [
        "--cutover",
        "forced",
        "--late-sends",
        "--per-chunk",
        "--one-transaction",
        "--without",
        "reap_waits_D",
    ]
    scenario, outcome = report(["U;D", "--flips", "2", "--faults", "0", *variations]).splitlines()
    assert scenario == "U;D, ABA, 0 faults, forced, late sends, waits per chunk, one transaction, without reap_waits_D"
    assert outcome.endswith("completely explored")


def test_a_rule_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        report(["U", "--without", "luck"])
    assert "invalid choice" in capsys.readouterr().err
