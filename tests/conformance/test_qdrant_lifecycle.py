"""Collections in Qdrant move to another model and back under writers and kills; on the engine, and over the wire."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("qdrant_client")
pytest.importorskip("qdrant_edge")

import undrift
from tests.conformance.killed_writers import live_and_be_killed
from tests.conformance.qdrant_server import wire_server
from tests.lifecycle.test_lifecycle import CASES
from undrift.config import Config, StoreSettings
from undrift.testing.lifecycle import LifecycleCase, run_lifecycle
from undrift.testing.rig import Layout, Rig

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

_CONFIG = """
ledger = "sqlite:///undrift.db"
[stores.main]
url = "qdrant-edge:shards"
[models.old]
provider = "hashing"
dimensions = 32
[models.new]
provider = "hashing"
dimensions = 48
[aliases.kb]
store = "main"
model = "old"
[timing]
deadline_s = 2
fence_horizon_s = 2
lease_s = 4
work_lease_s = 4
"""
#: The only process: it writes in two threads, and takes the migration to where it is told. It may be killed anywhere.
_PROCESS = """
import sys, threading, time
import undrift
from undrift import Document
from undrift.domain.migration import Phase
from undrift.errors import UndriftError
until, life = sys.argv[1:]
plane = undrift.open("undrift.toml")
kb = plane.alias("kb")
stop, said = threading.Event(), threading.Lock()
def say(*words):
    with said:
        print(*words, flush=True)
def write(name):
    turn = 0
    while not stop.is_set():
        turn += 1
        id, text = f"{name}-{turn % 9}", f"text {turn} of {name} in life {life}"
        say("try", id, "gone" if turn % 5 == 0 else text)
        try:
            if turn % 5 == 0:
                kb.delete([id])
            else:
                kb.upsert([Document(id=id, text=text)])
        except UndriftError as error:
            if not error.retryable:
                raise
            continue
        say("did", id, "gone" if turn % 5 == 0 else text)
        time.sleep(0.02)
threads = [threading.Thread(target=write, args=(name,)) for name in ("w0", "w1")]
for thread in threads:
    thread.start()
try:
    if life == "0":
        plane.register("kb", "new")
    if until == "half":
        plane.work("kb", lambda migration: migration.phase is Phase.BACKFILL)
        say("half")
        time.sleep(60)
    if until == "over":
        plane.work("kb", lambda migration: migration.phase is Phase.READY)
        assert plane.cutover("kb", max_wait_s=30)["phase"] == "reversing"
        say("over")
        time.sleep(60)
    assert plane.rollback("kb", now=True)["phase"] == "rolled_back"
finally:
    stop.set()
    for thread in threads:
        thread.join()
alias = kb.route().alias
plane.work("kb", lambda _: plane.ledger.lag(alias).dirty == 0 and plane.ledger.lag(alias).open == 0)
assert plane.verify("kb")["verdict"] == "pass"
assert plane.cutover("kb", max_wait_s=30)["phase"] == "reversing"
assert plane.complete("kb")["phase"] == "done"
plane.close()
say("end")
"""


class EdgeRig(Rig):
    """A rig whose vectors are in Qdrant Edge."""

    def _config(self) -> Config:
        config = super()._config()
        stores = {"main": StoreSettings(url="qdrant-edge:shards")}
        return Config(config.settings.model_copy(update={"stores": stores}), config.path)


@pytest.mark.parametrize(
    # One case needs a model of its own; it is tried on the other stores.
    "case",
    [case for case in CASES if not case.foreign],
    ids=lambda case: case.name.replace(" ", "_"),
)
def test_both_fields_in_the_engine_stay_true_through_the_whole_life(tmp_path: Path, case: LifecycleCase) -> None:
    run_lifecycle(case, EdgeRig(folder=tmp_path, layout=Layout.TWO_FILES, mirror=case.mirror))


def test_no_acknowledged_write_is_lost_whoever_is_killed_over_the_wire(tmp_path: Path) -> None:
    with wire_server(tmp_path) as server:
        live_and_be_killed(tmp_path, server.url, options="timeout_s = 2\nlisting_s = 1")


def test_no_acknowledged_write_is_lost_when_the_only_process_is_killed(tmp_path: Path) -> None:
    (tmp_path / "undrift.toml").write_text(_CONFIG, encoding="utf-8")
    plane = undrift.open(tmp_path / "undrift.toml")
    fixed = [undrift.Document(id=f"d{number:03}", text=f"document number {number}") for number in range(120)]
    plane.alias("kb").upsert(fixed)
    plane.close()
    possible: dict[str, set[str]] = {}

    ends = [lived(tmp_path, until, life, possible) for life, until in enumerate(("half", "over", "end"))]

    assert ends == [-9, -9, 0]
    plane = undrift.open(tmp_path / "undrift.toml")
    kb = plane.alias("kb")
    texts = {document.id: document.text for document in kb.get([*possible, *(one.id for one in fixed)])}
    wrong = {id: (texts.get(id), allowed) for id, allowed in possible.items() if texts.get(id, "gone") not in allowed}
    assert wrong == {}
    assert {one.id for one in fixed} <= texts.keys()
    assert kb.count() == len(texts)
    plane.close()


def lived(folder: Path, until: str, life: int, possible: dict[str, set[str]]) -> int:
    """Run the process, kill it where it says it is, and return how it ended; notes which texts a document may have."""
    with subprocess.Popen(
        [sys.executable, "-c", _PROCESS, until, str(life)], cwd=folder, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        written, is_there = 0, False
        for line in process.stdout:
            word, *rest = line.rstrip("\n").split(" ", 2)
            if not line.endswith("\n"):
                break
            if word == "try":
                possible.setdefault(rest[0], {"gone"}).add(rest[1])
            elif word == "did":
                possible[rest[0]] = {rest[1]}
                written += 1
            elif word == until != "end":
                is_there = True
            if is_there and written > 10:
                process.kill()
        assert written > 5 or until == "end"
        return process.wait(60)


def test_a_second_process_is_told_that_the_engine_is_for_one(tmp_path: Path) -> None:
    (tmp_path / "undrift.toml").write_text(_CONFIG, encoding="utf-8")
    plane = undrift.open(tmp_path / "undrift.toml")
    plane.alias("kb").upsert([undrift.Document(id="a", text="some text")])

    def read() -> Any:
        return subprocess.run(
            [sys.executable, "-m", "undrift", "get", "kb", "a", "--json"],
            cwd=tmp_path,
            text=True,
            capture_output=True,
            check=False,
        )

    refused = read()
    plane.close()
    taken = read()

    assert refused.returncode == 4
    assert "open in another process" in refused.stdout + refused.stderr
    assert [one["text"] for one in json.loads(taken.stdout)["documents"]] == ["some text"]
