"""Pause and panic with a worker of its own process: what it calls is written down by the model itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import undrift
from tests.unit.cli.running import write_lines

pytestmark = pytest.mark.acceptance

CONFIG = """
ledger = "sqlite:///undrift.db"
[stores.main]
url = "sqlite-vec:./vectors.db"
[models.old]
provider = "hashing"
dimensions = 16
[models.watched]
provider = "callable"
function = "watched:embed"
name = "watched"
dimensions = 4
batch_size = 32
[aliases.kb]
store = "main"
model = "old"
[timing]
poll_s = 0.05
"""
#: Writes down each call of a worker; as long as the file `wait` is there, no call for a piece goes on.
MODEL = """
import os
import time
from pathlib import Path
import numpy as np

HERE = Path(__file__).parent

def embed(texts):
    with (HERE / "calls").open("a") as file:
        file.write(f"{os.getpid()} {len(texts)}\\n")
    while len(texts) == 32 and (HERE / "wait").exists():
        time.sleep(0.01)
    return np.array([[len(text), *(text.count(letter) + 1 for letter in "aei")] for text in texts], dtype=np.float32)
"""


class Site:
    """A collection of 600 documents, and the command in processes of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.begun: list[subprocess.Popen[str]] = []
        own = {name: value for name, value in os.environ.items() if not name.startswith("UNDRIFT_")}
        self.options: dict[str, Any] = {
            "cwd": folder,
            "env": {**own, "PYTHONPATH": str(Path(undrift.__file__).parents[1])},
            "text": True,
        }
        (folder / "undrift.toml").write_text(CONFIG)
        (folder / "watched.py").write_text(MODEL)
        documents = [{"id": f"d{number:03}", "text": f"text of number {number}"} for number in range(600)]
        write_lines(folder / "documents.jsonl", documents)

    def __call__(self, *words: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "undrift", *words, "--json"], capture_output=True, check=False, **self.options
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def worker(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "undrift", "worker", "kb"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            **self.options,
        )
        self.begun.append(process)
        return process

    def calls(self, worker: subprocess.Popen[str]) -> list[str]:
        """The calls of a worker for a piece; to prove a model, less texts are embedded."""
        lines = (self.folder / "calls").read_text().splitlines()
        return [line for line in lines if line == f"{worker.pid} 32"]

    def begin(self) -> subprocess.Popen[str]:
        """Start a worker, and wait until it is in the middle of a piece: its model has been called and not answered."""
        self("put", "kb", "documents.jsonl")
        self("start", "kb", "--to", "watched", "--detach")
        (self.folder / "wait").touch()
        worker = self.worker()
        while not self.calls(worker):
            assert worker.poll() is None
            time.sleep(0.02)
        return worker

    def let_go(self) -> None:
        (self.folder / "wait").unlink()


def hear(process: subprocess.Popen[str], words: str) -> str:
    assert process.stderr is not None
    heard = []
    for line in process.stderr:
        heard.append(line)
        if words in line:
            return line
    pytest.fail(f"it never said {words!r}: {''.join(heard)}")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    pytest.importorskip("sqlite_vec")
    made = Site(tmp_path)
    yield made
    for process in made.begun:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("hold", "deed"),
    [
        pytest.param("pause", "paused it", id="pause", marks=pytest.mark.long),
        pytest.param("panic", "stopped every worker", id="panic", marks=pytest.mark.long),
    ],
)
def test_a_worker_process_stops_in_the_middle_of_a_piece_and_goes_on(site: Site, hold: str, deed: str) -> None:
    worker = site.begin()
    site(hold, "kb", "--reason", "a sale")
    site.let_go()

    line = hear(worker, deed)
    assert f"{deed}, because a sale: undrift resume kb" in line
    # Searches and writes go on meanwhile; nothing is embedded, and nothing is in the new field.
    site("delete", "kb", "d000")
    assert site("search", "kb", "text of number 7", "-k", "1")["hits"]
    held = site("status", "kb")
    assert len(site.calls(worker)) == 1
    assert held["progress"]["done"] == 0
    assert held["dirty"] == 1
    shown = site("alias", "show", "kb")
    assert shown["follower"]["documents"] == 0

    assert site("resume", "kb")["run_status"] == "running"
    hear(worker, "kb: ready")
    assert site("verify", "kb")["compared"] == 599
