"""A seed is one history: the same in every process, and as it was told when it failed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation import seeds as told
from tests.simulation.__main__ import main
from undrift.testing.simulation import Hands, simulate
from undrift.testing.simulation.run import Report
from undrift.testing.simulation.world import Violation

ROOT = Path(__file__).resolve().parents[2]
#: With restarts, two threads in a client, outages, and several migrations among them.
SEEDS = range(8)


def printed(seed: int, hash_seed: str) -> str:
    environment = {
        **os.environ,
        "PYTHONHASHSEED": hash_seed,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
    }
    command = [sys.executable, "-m", "tests.simulation", str(seed), "--trace"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout


def test_a_seed_is_told_the_same_byte_for_byte_in_every_process() -> None:
    assert printed(3, "1") == printed(3, "2")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_is_the_same_whatever_ran_before(seed: int, hands: Hands) -> None:
    simulate(seed + 1, hands=hands)

    assert simulate(seed, hands=hands, trace=True).trace == simulate(seed, trace=True).trace


def test_seeds_differ(hands: Hands) -> None:
    assert len({simulate(seed, hands=hands, trace=True).trace for seed in SEEDS}) == len(SEEDS)


def test_a_broken_promise_is_told_with_the_options_and_the_last_events(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(seed: int, *, trace: bool = False, hands: Hands | None = None) -> Report:
        found = simulate(seed, trace=trace, hands=hands)
        return Report(
            options=found.options,
            violation=Violation(promise="I1", what="k0 lost #3", at=1.5),
            counts=found.counts,
            virtual_s=found.virtual_s,
            trace=found.trace,
        )

    monkeypatch.setattr(told, "simulate", broken)
    text = told.story(5)

    assert "seed 5: I1 broken at 1.500: k0 lost #3" in text
    assert "latency_s = " in text
    assert "python -m tests.simulation 5 --trace" in text
    assert len(text.splitlines()) > 40


def test_many_seeds_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "0:5"]) == 0

    said = capsys.readouterr().out
    assert said.startswith("5 seeds, ")
    assert "promises broken by 0 seeds" in said
