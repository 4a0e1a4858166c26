from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from undrift.control.plane import ControlPlane
from undrift.demo import stage as staging
from undrift.demo.history import read
from undrift.demo.scene import ALIAS, settings_in
from undrift.demo.script import Role, Script
from undrift.demo.stage import Stage
from undrift.errors import BackendError

pytest.importorskip("sqlite_vec")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with ControlPlane(settings_in(tmp_path)) as plane:
        plane.alias(ALIAS)
    return tmp_path


@pytest.fixture
def stage(folder: Path) -> Iterator[Stage]:
    with Stage(folder) as stage:
        yield stage


def script(folder: Path, name: str, role: Role) -> Script:
    return Script(name=name, role=role, folder=folder, own={"a": "a text"}, questions=["where?"], pause_s=0.01)


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or waits to be buried by whoever inherited it."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return not shown.strip() or shown.startswith("Z")


def pids(stage: Stage) -> list[int]:
    return [player.process.pid for player in stage._players.values()]


def test_traffic_is_awaited_of_every_actor(folder: Path, stage: Stage) -> None:
    stage.start(script(folder, "searcher", Role.SEARCHER))
    stage.start(script(folder, "writer", Role.WRITER))

    stage.traffic(5)
    stage.stop(Role)

    told = read(stage.histories)
    assert len(told.searches) >= 5
    assert len(told.operations) >= 5


def test_an_actor_that_rests_does_nothing_until_it_is_told_to_go_on(folder: Path, stage: Stage) -> None:
    stage.start(script(folder, "writer", Role.WRITER))
    stage.traffic(3)

    stage.rest([Role.WRITER])
    resting = (stage.histories / "writer.jsonl").read_bytes()
    stage.start(script(folder, "searcher", Role.SEARCHER))
    stage.wait((stage.histories / "searcher.jsonl").exists, "the searcher")
    still = (stage.histories / "writer.jsonl").read_bytes()
    stage.go_on([Role.WRITER])
    stage.traffic(3)

    assert still == resting
    assert json.loads(resting.splitlines()[-1]).keys() == {"resting", "at"}


def test_an_actor_that_stops_ends_what_it_is_at(folder: Path, stage: Stage) -> None:
    stage.start(script(folder, "writer", Role.WRITER))
    stage.traffic(3)

    stage.stop([Role.WRITER])

    assert {operation.ended < float("inf") for operation in read(stage.histories).operations} == {True}
    with ControlPlane(settings_in(folder)) as plane:
        assert plane.show_alias(ALIAS)["clients"] == []


def test_a_process_that_ends_by_itself_is_told_with_its_last_words(folder: Path, stage: Stage) -> None:
    (folder / "undrift.db").write_bytes(b"this is no database " * 500)
    stage.start(script(folder, "writer", Role.WRITER))

    with pytest.raises(BackendError, match="writer of the demo ended by itself with exit code 1") as told:
        stage.traffic(1)

    assert "LedgerUnusable" in told.value.detail


def test_a_process_that_somebody_else_kills_is_told(folder: Path, stage: Stage) -> None:
    stage.start(script(folder, "writer", Role.WRITER))
    stage.traffic(1)
    os.kill(pids(stage)[0], signal.SIGKILL)

    with pytest.raises(BackendError, match="exit code -9"):
        stage.traffic(10_000)


def test_an_actor_that_stands_still_is_told(folder: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.start(script(folder, "writer", Role.WRITER))
    stage.traffic(1)
    os.kill(pids(stage)[0], signal.SIGSTOP)
    monkeypatch.setattr(staging, "PATIENCE_S", 0.2)

    with pytest.raises(BackendError, match="waited 0 s for live traffic, in vain"):
        stage.traffic(10_000)


def test_patience_begins_anew_as_long_as_something_moves(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    times = count(0.0, 50.0)
    monkeypatch.setattr(staging, "time", SimpleNamespace(monotonic=lambda: next(times), sleep=lambda _: None))
    looks, places = count(), count()

    stage.wait(lambda: next(looks) == 40, "something", moving=places.__next__)

    assert next(times) > staging.PATIENCE_S
    with pytest.raises(BackendError, match="in vain"):
        stage.wait(lambda: False, "something", moving=lambda: "here")


def test_a_killed_process_is_gone_and_counted(folder: Path, stage: Stage) -> None:
    stage.start(script(folder, "worker", Role.WORKER))
    (pid,) = pids(stage)

    stage.kill("worker")
    stage.watch()

    assert has_ended(pid)
    assert stage.kills == 1


def test_nobody_outlives_the_stage(folder: Path) -> None:
    started: list[int] = []

    def interrupted() -> None:
        with Stage(folder) as stage:
            for name, role in (("writer", Role.WRITER), ("worker", Role.WORKER), ("searcher", Role.SEARCHER)):
                stage.start(script(folder, name, role))
            started.extend(pids(stage))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert len(started) == 3
    assert all(has_ended(pid) for pid in started)


START_AND_DIE = """
import os, signal, sys
from pathlib import Path
from undrift.demo.script import Role, Script
from undrift.demo.stage import Stage
folder = Path(sys.argv[1])
stage = Stage(folder)
for role in (Role.WRITER, Role.WORKER):
    stage.start(Script(name=role.value, role=role, folder=folder, pause_s=0.01))
stage.traffic(2)
print(*(player.process.pid for player in stage._players.values()), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_nobody_outlives_a_demo_that_is_killed(folder: Path, stage: Stage) -> None:
    parent = folder / "parent"
    parent.mkdir()
    with ControlPlane(settings_in(parent)) as plane:
        plane.alias(ALIAS)
    killed = subprocess.run(
        [sys.executable, "-c", START_AND_DIE, str(parent)], capture_output=True, text=True, check=False
    )
    orphans = [int(pid) for pid in killed.stdout.split()]

    assert len(orphans) == 2, killed.stderr
    stage.wait(lambda: all(has_ended(pid) for pid in orphans), "the orphans to end")
