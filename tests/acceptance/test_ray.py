"""A Ray cluster carries the pieces of a back-fill, whoever of it is killed; the end is that of the local engine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import undrift
from tests.unit.cli.running import write_lines

pytest.importorskip("ray")
pytestmark = [pytest.mark.acceptance, pytest.mark.servers, pytest.mark.timeout(900)]

COMMAND = [sys.executable, "-m", "undrift"]
DOCUMENTS = 1_000
#: How long one of its processes may take to come; Ray gives itself 30 s for the first of them.
PATIENCE_S = 120.0

CONFIGURATION = """
ledger = "sqlite:///undrift.db"
ray_processes = 1
[stores.main]
url = "sqlite-vec:vectors.db"
[models.old]
provider = "hashing"
dimensions = 16
[models.new]
provider = "callable"
function = "held:embed"
name = "held"
revision = "1"
dimensions = 7
[aliases.kb]
store = "main"
model = "old"
"""
MODEL = '''
import os
import pathlib
import time
import numpy as np

HERE = pathlib.Path(__file__).parent

def embed(texts):
    """Tell who embeds documents, and answer none of them as long as there is a file called hold."""
    if any("of number" in text for text in texts):
        (HERE / f"at-work-{os.getpid()}").touch()
        while (HERE / "hold").exists():
            time.sleep(0.01)
    return np.array([[len(text), *(text.count(letter) + 1 for letter in "aeioun")] for text in texts], dtype=np.float32)
'''


class Place:
    """A folder with a collection, and commands that are given there."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        (folder / "undrift.toml").write_text(CONFIGURATION)
        (folder / "held.py").write_text(MODEL)
        write_lines(
            folder / "documents.jsonl",
            [{"id": f"d{n:05d}", "text": f"text of number {n}", "metadata": {"n": n}} for n in range(DOCUMENTS)],
        )
        self.run("put", "kb", "documents.jsonl")

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("UNDRIFT_")}
        environment = {**own, "PYTHONPATH": str(Path(undrift.__file__).parents[1])}
        said = (self.folder / f"{words[0]}.log").open("ab")
        with said:
            return subprocess.Popen(
                [*COMMAND, *words],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )

    def run(self, *words: str) -> None:
        process = self.begin(*words)
        code = process.wait(timeout=2 * PATIENCE_S)
        assert code == 0, (self.folder / f"{words[0]}.log").read_text()

    def at_work(self) -> set[int]:
        """The processes that embed documents, or did."""
        return {int(file.name.removeprefix("at-work-")) for file in self.folder.glob("at-work-*")}

    def state(self) -> tuple[str, dict[str, tuple[object, ...]]]:
        """The phase, and everything that is in the target, vectors as bytes."""
        with undrift.open(self.folder / "undrift.toml") as plane:
            found = plane.ledger.alias(only_alias(plane))
            assert found is not None
            assert found.migration is not None
            target = found.migration.target
            store = plane.store_of(target)
            records = store.fetch(target, store.ids(target, after="", limit=2 * DOCUMENTS))
            return found.migration.phase.value, {
                str(id): (record.text, dict(record.metadata), record.tag, record.vector.tobytes())
                for id, record in records.items()
            }


def only_alias(plane: Any) -> Any:
    (name,) = plane.ledger.aliases()
    return name


def waited_for(what: Callable[[], set[int]]) -> int:
    """One of what comes in time."""
    until = time.monotonic() + PATIENCE_S
    while not (found := what()):
        assert time.monotonic() < until, "nobody came"
        time.sleep(0.05)
    return min(found)


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_cluster_whose_actor_and_whose_driver_are_killed_ends_where_the_local_engine_does(tmp_path: Path) -> None:
    local, ray = Place(tmp_path / "local"), Place(tmp_path / "ray")
    local.run("start", "kb", "--to", "new")

    hold = ray.folder / "hold"
    hold.touch()
    driver = ray.begin("start", "kb", "--to", "new", "--engine", "ray")
    try:
        first = waited_for(ray.at_work)
        os.kill(first, signal.SIGKILL)
        second = waited_for(lambda: ray.at_work() - {first})
    finally:
        driver.kill()
        driver.wait()
        hold.unlink()
    waited_for(lambda: set() if is_there(second) else {second})
    ray.run("start", "kb", "--to", "new", "--engine", "ray")

    assert first != driver.pid
    assert second != driver.pid
    assert ray.at_work() > {first, second}, "the second run had nothing left to do"
    assert ray.state()[0] == "ready"
    assert len(ray.state()[1]) == DOCUMENTS
    assert ray.state() == local.state()
