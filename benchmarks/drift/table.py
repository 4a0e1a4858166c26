"""Every method on the same pairs of windows, and the table that comes of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.drift.rivals import ONE_THREAD, RIVALS, NotAvailable, Outcome, run
from benchmarks.drift.windows import SCENARIOS, Texts, Vectors, pair, read
from undrift.quality.drift import REFERENCE, WINDOW, compare, learn

#: Scenario of a pair of two full windows, of which only the time counts.
_TIMED = "1,000 + 1,000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured.

    Attributes:
        draws: pairs of windows of each scenario.
        timed: pairs of two windows of 1,000 vectors each.
        references: references for the false alarms of the product's own rule.
        looks: looks with each of them.
        rivals: whether the other libraries are measured too.
    """

    draws: int
    timed: int
    references: int
    looks: int
    rivals: bool = True


FULL = Size(draws=60, timed=5, references=40, looks=50)
QUICK = Size(draws=4, timed=1, references=2, looks=5)
LONG = Size(draws=200, timed=10, references=200, looks=100)
_EARLIER, _LATER = 1000, 250
_OURS = "undrift"


def measure(folder: Path, size: Size) -> str:
    """Let every method judge the same pairs of windows, and return the tables.

    Args:
        folder: where files may be made.
        size: how much.
    """
    texts = read()
    if texts is None:
        return "data drift: not here; its data set is not beside this checkout"
    cells = [(scenario, seed) for scenario in SCENARIOS for seed in range(size.draws)]
    cells += [(_TIMED, seed) for seed in range(size.timed)]
    windows = folder / "windows.npz"
    np.savez(windows, **dict(_windows(texts, cells)))
    outcomes = {f"{_OURS}, {name}": one for name, one in _ours(windows).items()}
    absent = {}
    for rival in RIVALS if size.rivals else ():
        print(f"\n  {rival} …", end=" ", file=sys.stderr, flush=True)
        try:
            outcomes |= {f"{rival}, {name}": one for name, one in run(rival, windows).items()}
        except NotAvailable as error:
            absent[rival] = str(error)
    head = (
        f"share of {size.draws} pairs of windows flagged at 5 %, {_EARLIER:,} earlier and {_LATER} later vectors; "
        "one standard error is at most "
        f"{0.5 / size.draws**0.5:.2f}. Seconds of one core: the median pair"
    )
    return f"{head}\n{rendered(outcomes, cells, absent)}\n\n{false_alarms(texts, size)}"


def rendered(outcomes: Mapping[str, Outcome], cells: Sequence[tuple[str, int]], absent: Mapping[str, str]) -> str:
    """Return a row for each method: the share it flags of each scenario, and how long it takes."""
    lines = [("", *SCENARIOS, f"s, {_EARLIER:,} + {_LATER}", f"s, {_TIMED}", "times")]
    own = 0.0
    for name, outcome in outcomes.items():
        by_cell: dict[str, list[tuple[int, float]]] = {}
        for (scenario, _), *one in zip(cells, outcome.flagged, outcome.seconds, strict=True):
            by_cell.setdefault(scenario, []).append((one[0], one[1]))
        shares = [f"{np.mean([flag for flag, _ in by_cell[scenario]]):.2f}" for scenario in SCENARIOS]
        small = median(seconds for scenario in SCENARIOS for _, seconds in by_cell[scenario])
        large = median(seconds for _, seconds in by_cell[_TIMED])
        own = own or large
        lines.append((name, *shares, f"{small:.3f}", f"{large:.3f}", f"{large / own:.0f}"))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    texts = [
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        ).rstrip()
        for line in lines
    ]
    return "\n".join([*texts, *(f"{rival}: not available here: {why}" for rival, why in absent.items())])


def false_alarms(texts: Texts, size: Size) -> str:
    """Say how often the product's own rule is wrong where nothing changes, over many looks with one reference."""
    every = texts.any()
    chances: list[float] = []
    remarkable = confirmed = 0
    for number in range(size.references):
        rng = np.random.default_rng(number)
        order = rng.permutation(len(every))
        reference = learn(every[order[:REFERENCE]])
        rest = order[REFERENCE:]
        found = [compare(reference, every[rng.choice(rest, WINDOW, replace=False)]) for _ in range(size.looks)]
        chances += [one.chance for one in found]
        remarkable += sum(one.is_remarkable for one in found)
        confirmed += sum(one.is_remarkable and other.is_remarkable for one, other in pairwise(found))
    looks = size.references * size.looks
    shares = ", ".join(f"{np.mean(np.array(chances) <= level):.4f} at p <= {level:g}" for level in (0.05, 0.01, 0.001))
    return (
        f"nothing changes, {REFERENCE:,} earlier and {WINDOW:,} later vectors of all domains, {looks:,} looks: "
        f"{shares}; with the floor of the effect as well: {remarkable} of {looks:,}; twice running, which is the "
        f"alarm: {confirmed}"
    )


def _windows(texts: Texts, cells: Sequence[tuple[str, int]]) -> Iterator[tuple[str, Vectors]]:
    for number, (scenario, seed) in enumerate(cells):
        is_timed = scenario == _TIMED
        found = pair(
            texts, "nothing" if is_timed else scenario, seed, earlier=_EARLIER, later=_EARLIER if is_timed else _LATER
        )
        yield f"earlier{number}", found.earlier
        yield f"later{number}", found.later


def _ours(windows: Path) -> dict[str, Outcome]:
    """Let the product judge in a process like those of the others."""
    command = [sys.executable, "-m", "benchmarks.drift.run_undrift", str(windows)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **ONE_THREAD}).stdout
    return {name: Outcome(one["flagged"], one["seconds"]) for name, one in json.loads(said).items()}
