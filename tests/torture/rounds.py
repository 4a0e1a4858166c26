"""One round: a story under the nemesis, a comparison while two fields are alive, its end, and another comparison."""

from __future__ import annotations

import json
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.torture.actors import KEYS
from tests.torture.nemesis import Nemesis, Wrath
from tests.torture.nursery import Nursery
from tests.torture.stage import Stage
from tests.torture.story import Story, story
from tests.torture.worlds import MODELS, World

#: How long a story may take after the nemesis, in seconds; far more than it does on a machine with nothing else to do.
CALM_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """How many act at a time, beside the operators."""

    writers: int = 4
    searchers: int = 2
    workers: int = 2


WHOLE_CAST = Cast()


@dataclass(kw_only=True)
class Outcome:
    """What came of a round.

    Attributes:
        seed: what chose everything.
        figures: how many of what.
        violations: a sentence for each promise that was broken.
        stories: the goals of the coordinators.
    """

    seed: int
    figures: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    stories: list[tuple[str, ...]] = field(default_factory=list)


def play_round(
    world: World,
    nursery: Nursery,
    seed: int,
    wrath: Wrath | None = None,
    *,
    told: Story | None = None,
    cast: Cast = WHOLE_CAST,
    before_comparison: Callable[[Path], None] = lambda _: None,
) -> Outcome:
    """Play one round in a world; the first one begins with the documents.

    Args:
        world: the collection and what is around it.
        nursery: who starts processes.
        seed: chooses everything that is chosen.
        wrath: how hard it is.
        told: the story; by default the seed chooses it.
        cast: how many act.
        before_comparison: called with the folder of the histories when everybody is at rest.
    """
    chance = random.Random(seed)
    wrath = wrath or Wrath()
    outcome = Outcome(seed=seed)
    if world.rounds == 0:
        _load(world, nursery, chance, outcome)
    told = told or story(chance, MODELS[(MODELS.index(_serving(world)) + 1) % len(MODELS)])
    for goals in (told.way, told.end):
        if outcome.violations:
            break
        outcome.stories.append(goals)
        _section(world, nursery, chance, goals, wrath, outcome, cast, before_comparison)
    world.rounds += 1
    outcome.figures["rounds"] += 1
    return outcome


def _load(world: World, nursery: Nursery, chance: random.Random, outcome: Outcome) -> None:
    stage = Stage(world, nursery, chance)
    (world.folder / "before").write_text(json.dumps({"state": {}, "epoch": 0, "space": "", "model": MODELS[0]}))
    histories = _histories(world)
    stage.start("loader", calm=True, role="loader", histories=str(histories))
    if not stage.wait(lambda: "loader" not in stage.living, CALM_S, respawn=False):
        stage.violations.append(f"the documents could not be loaded in {CALM_S:.0f} s")
    _audit(world, stage, histories, outcome, examined=False)
    outcome.violations += stage.violations


def _section(
    world: World,
    nursery: Nursery,
    chance: random.Random,
    goals: Sequence[str],
    wrath: Wrath,
    outcome: Outcome,
    cast: Cast,
    before_comparison: Callable[[Path], None],
) -> None:
    """Let everybody act until the goals are reached, with the nemesis among them; then compare."""
    stage = Stage(world, nursery, chance, failpoints=wrath.failpoints)
    histories = _histories(world)
    section = histories.name
    for number in range(cast.writers):
        share = KEYS // cast.writers
        stage.start(
            f"writer-{number}",
            role="writer",
            histories=str(histories),
            first=number * share,
            share=2 * share,
            pause_s=0.01,
        )
    for number in range(cast.searchers):
        stage.start(f"searcher-{number}", role="searcher", histories=str(histories), pause_s=0.02)
    for number in range(cast.workers):
        stage.start(f"worker-{number}", role="worker", histories=str(histories))
    operators = [f"coordinator-{number}" for number in range(2 if chance.random() < 0.15 else 1)]
    for name in operators:
        stage.start(name, role="coordinator", histories=str(histories), goals=list(goals), section=section)
    nemesis = Nemesis(stage, chance, wrath)
    end = time.monotonic() + wrath.seconds

    def told() -> bool:
        return all(name in stage.finished for name in operators)

    while (not told() or stage.figures["kills"] < wrath.kills) and time.monotonic() < end:
        nemesis.act()
        stage.attend()
        time.sleep(0.01)
    nemesis.rest()
    stage.failpoints = 0.0
    if not told():
        outcome.figures["stories that ended after the nemesis"] += 1
        if not stage.wait(told, CALM_S, respawn=True):
            stage.violations.append(f"the story {list(goals)} does not come to its end: {_errors(histories)}")
    stage.end([name for name in stage.cast if not name.startswith("worker")])
    stage.end([name for name in stage.cast if name.startswith("worker")])
    time.sleep(world.kind.rest_s)
    before_comparison(histories)
    stage.start("steward", calm=True, role="worker", histories=str(histories))
    _audit(world, stage, histories, outcome, examined=True)
    stage.end(["steward"])
    _collect_halts(histories, outcome)
    outcome.figures.update(stage.figures)
    outcome.violations += stage.violations
    if not outcome.violations:
        shutil.rmtree(histories)


def _audit(world: World, stage: Stage, histories: Path, outcome: Outcome, *, examined: bool) -> None:
    report_path, before = world.folder / "report", world.folder / "before"
    report_path.unlink(missing_ok=True)
    stage.start(
        "auditor",
        calm=True,
        role="auditor",
        histories=str(histories),
        before=str(before),
        report=str(report_path),
        examined=examined,
    )
    stage.wait(lambda: "auditor" not in stage.living, 2 * CALM_S, respawn=False)
    stage.cast.pop("auditor", None)
    if not report_path.exists():
        stage.violations.append("the comparison did not come to its end")
        return
    report = json.loads(report_path.read_text(encoding="utf-8"))
    outcome.figures.update(report["figures"])
    outcome.violations += report["violations"]
    before.write_text(json.dumps({key: report[key] for key in ("state", "epoch", "space", "model")}), encoding="utf-8")


def _serving(world: World) -> str:
    return str(json.loads((world.folder / "before").read_text(encoding="utf-8"))["model"])


def _histories(world: World) -> Path:
    folder = world.folder / f"histories-{world.next_section()}"
    folder.mkdir()
    return folder


def _lines(histories: Path) -> list[dict[str, Any]]:
    found = []
    for path in histories.glob("*.jsonl"):
        found += [
            json.loads(line)
            for line in path.read_text(encoding="utf-8").splitlines(keepends=True)
            if line.endswith("\n")
        ]
    return sorted(found, key=lambda line: float(line["at"]))


def _collect_halts(histories: Path, outcome: Outcome) -> None:
    """A migration that halts wants a person, and nothing here needs one."""
    lines = _lines(histories)
    outcome.violations += [f"halted: {line['message']}" for line in lines if "halted" in line]
    outcome.figures["cutovers that wanted a scan for foreign writes"] += sum("suspected" in line for line in lines)


def _errors(histories: Path) -> list[str]:
    return [line["message"] for line in _lines(histories) if "error" in line and "message" in line][-3:]


def show(outcome: Outcome) -> None:
    """Print what a round was and what came of it."""
    sys.stdout.write(f"seed {outcome.seed}: {outcome.stories}\n")
    for name, count in sorted(outcome.figures.items()):
        sys.stdout.write(f"  {count:8,} {name}\n")
    for violation in outcome.violations:
        sys.stdout.write(f"VIOLATION {violation}\n")
