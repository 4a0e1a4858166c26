"""A user's own programs at the moments of a migration: which, when, by whom, and what their answer does."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.migrate.scene import Scene
from undrift import Document
from undrift.adapters.hooks.command import CommandHook
from undrift.adapters.hooks.function import FunctionHook
from undrift.config import parse
from undrift.domain.hook import NOTE, Moment
from undrift.domain.migration import Phase, RunStatus
from undrift.errors import BadConfig, EmbedderRejected, GateFailed
from undrift.migrate.engine import Worker
from undrift.testing.faults import Killed
from undrift.testing.rig import ALIAS

#: Writes down what it is told, and answers as the file `answer` says: an exit code, and words for standard error.
PROGRAM = """
import json, os, pathlib, sys
told = json.load(sys.stdin)
with open("told", "a") as file:
    file.write(json.dumps({**told, "name": os.environ["UNDRIFT_HOOK_EVENT"]}) + "\\n")
answer = pathlib.Path("answer")
if answer.exists():
    code, words = answer.read_text().split(" ", 1)
    print(words, file=sys.stderr)
    sys.exit(int(code))
"""
WORDS = [sys.executable, "program.py"]


class Hooked:
    """A scene whose processes have the program at every moment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "program.py").write_text(PROGRAM)
        self.scene = Scene(folder)
        for process in (self.scene.operator, self.scene.worker):
            self.configure(process.plane)

    def configure(self, plane: Any, **more: Any) -> None:
        values = plane.config.settings.model_dump()
        values["aliases"][ALIAS]["hooks"] = {**{moment.value: [WORDS] for moment in Moment}, **more}
        plane.config = parse(values, plane.config.path)
        plane.plugins.reconfigure(plane.config)

    def told(self) -> list[dict[str, Any]]:
        path = self.folder / "told"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def moments(self) -> list[str]:
        return [one["event"] for one in self.told()]

    def answer(self, code: int, words: str) -> None:
        (self.folder / "answer").write_text(f"{code} {words}")


@pytest.fixture
def hooked(tmp_path: Path) -> Hooked:
    return Hooked(tmp_path)


def test_every_moment_of_a_life_is_told_once_and_in_order(hooked: Hooked) -> None:
    scene = hooked.scene.begin(Phase.READY)
    worker = scene.worker.worker()
    worker.tick()
    scene.operator.plane.cutover(ALIAS)
    scene.rig.clock.sleep(2)
    worker.tick()
    scene.operator.plane.rollback(ALIAS)
    scene.rig.clock.sleep(2)
    scene.operator.plane.cutover(ALIAS)
    scene.rig.clock.sleep(2)
    scene.operator.plane.complete(ALIAS)

    assert hooked.moments() == [
        *("on_validated", "on_start", "on_backfill_complete", "on_ready", "before_cutover", "after_cutover"),
        *("on_rollback", "before_cutover", "after_cutover", "on_success"),
    ]
    told = hooked.told()
    assert [one["name"] for one in told] == hooked.moments()
    ready = told[3]
    assert (ready["alias"], ready["phase"], ready["documents"], ready["dry_run"]) == ("kb", "ready", 12, False)
    assert ready["target"]["model"] == "new"


def test_what_a_hook_says_stands_in_the_history(hooked: Hooked) -> None:
    hooked.answer(4, "the pager is off")
    hooked.scene.begin(Phase.BACKFILL)
    for _ in range(3):
        hooked.scene.worker.worker().tick()

    lines = [(line.action, line.detail) for line in hooked.scene.ledger.history(ALIAS)]

    assert ("on_validated", f"{sys.executable}: failed: the pager is off") in lines
    assert hooked.moments() == ["on_validated", "on_start"], "its answer changes nothing, and it is asked once"


def test_a_hook_refuses_a_cutover_with_its_words(hooked: Hooked) -> None:
    scene = hooked.scene.begin(Phase.READY)
    hooked.answer(7, "not during\nthe sale")

    with pytest.raises(GateFailed) as refused:
        scene.operator.plane.cutover(ALIAS)

    assert refused.value.detail == f"before_cutover (fail): {sys.executable}: not during the sale"
    assert scene.migration.phase is Phase.READY
    assert hooked.moments().count("before_cutover") == 1


def test_a_dry_run_asks_once_and_says_that_it_is_one(hooked: Hooked) -> None:
    scene = hooked.scene.begin(Phase.READY)

    plan = scene.operator.plane.plan_cutover(ALIAS)

    assert plan["allowed"]
    assert plan["gates"][-1]["name"] == "before_cutover"
    asked = [one for one in hooked.told() if one["event"] == "before_cutover"]
    assert [one["dry_run"] for one in asked] == [True]


def test_nobody_is_asked_while_another_gate_is_closed(hooked: Hooked) -> None:
    scene = hooked.scene.begin(Phase.READY)
    scene.ledger.require_reconcile(ALIAS, "a test", sequence=0)

    plan = scene.operator.plane.plan_cutover(ALIAS)
    with pytest.raises(GateFailed):
        scene.operator.plane.cutover(ALIAS)

    assert plan["gates"][-1]["verdict"] == "unknown"
    assert "before_cutover" not in hooked.moments()


def test_killed_between_the_flip_and_its_hook_the_next_process_calls_it(hooked: Hooked) -> None:
    scene = hooked.scene.begin(Phase.READY)

    def kill(name: str) -> None:
        if name == "ledger.flip":
            scene.operator.faults.kill_at(1)

    scene.operator.faults.on_call = kill
    with pytest.raises(Killed):
        scene.operator.plane.cutover(ALIAS)
    scene.rig.kill(scene.operator)
    assert "after_cutover" not in hooked.moments()

    scene.rig.clock.sleep(200)
    scene.worker.worker().tick()

    assert hooked.moments()[-1] == "after_cutover"
    assert scene.migration.phase is Phase.REVERSING


def test_killed_before_it_is_noted_a_hook_is_called_again(hooked: Hooked) -> None:
    """At least once: nobody knows whether a process that died had called it."""
    scene = hooked.scene
    scene.operator.plane.register(ALIAS, "new")
    seen = hooked.moments()
    scene.ledger.tune(ALIAS, {NOTE + "on_validated": ""})

    scene.worker.worker().tick()

    assert seen == ["on_validated"]
    assert hooked.moments()[:2] == ["on_validated", "on_validated"]


def test_two_processes_do_not_call_the_same_hook(hooked: Hooked) -> None:
    scene = hooked.scene.begin(Phase.BACKFILL)
    other = scene.rig.process("worker")
    hooked.configure(other.plane)

    for _ in range(3):
        other.worker().tick()
        scene.worker.worker().tick()

    assert hooked.moments().count("on_start") == 1


def test_a_halt_is_a_failure_each_time(hooked: Hooked) -> None:
    scene = hooked.scene.begin(Phase.BACKFILL)
    for _ in range(2):
        scene.worker.faults.fail("model.embed_documents", lambda: EmbedderRejected("a wrong key"), times=50)
        with pytest.raises(EmbedderRejected):
            scene.worker.work_to(Phase.READY)
        assert scene.migration.run_status is RunStatus.HALTED
        scene.worker.faults.heal()
        scene.operator.plane.resume(ALIAS)
        scene.worker.worker().tick()

    assert hooked.moments().count("on_failure") == 2
    assert "a wrong key" in hooked.told()[-1]["reason"] or "a wrong key" in str(hooked.told())


def test_documents_that_are_set_aside_are_told_when_they_become_more(hooked: Hooked) -> None:
    scene = hooked.scene.begin(Phase.READY)
    worker = scene.worker.worker()
    for keys in ({"d01"}, {"d01"}, {"d01", "d02"}):
        scene.ledger.quarantine(ALIAS, dict.fromkeys(keys, ("rejected", "")))  # type: ignore[arg-type]
        worker.tick()

    told = [one["quarantined"] for one in hooked.told() if one["event"] == "on_quarantine"]
    assert told == [1, 2]


def test_without_hooks_nothing_is_looked_at(tmp_path: Path) -> None:
    scene = Scene(tmp_path).begin(Phase.READY)
    before = len(scene.calls())

    scene.worker.worker().tick()

    assert "ledger.quarantined_count" not in scene.calls()[before:]


def test_applications_never_notice_a_hook(hooked: Hooked) -> None:
    scene = hooked.scene.begin(Phase.READY)
    before = hooked.moments()

    scene.app.alias.upsert([Document(id="d01", text="newer")])

    assert hooked.moments() == before


# Programs and functions


def hook(folder: Path, code: str, *, timeout_s: float = 30.0) -> CommandHook:
    return CommandHook([sys.executable, "-c", code], folder=folder, environment={"LANG": "C"}, timeout_s=timeout_s)


def test_a_program_is_called_without_a_shell_in_its_folder(tmp_path: Path) -> None:
    code = "import os, sys; print(os.getcwd(), sys.argv[1], os.environ['UNDRIFT_HOOK_ALIAS'], os.environ.get('HOME'))"
    words = [sys.executable, "-c", code, "$HOME; ls"]

    outcome = CommandHook(words, folder=tmp_path, environment={}, timeout_s=30.0).call({"alias": "kb", "x": None})

    assert (outcome.agreed, outcome.said) == (True, f"{tmp_path} $HOME; ls kb None")


def test_a_program_that_is_not_there_does_not_agree(tmp_path: Path) -> None:
    outcome = CommandHook(["./gone.sh"], folder=tmp_path, environment={}, timeout_s=1.0).call({})

    assert outcome.agreed is False
    assert outcome.said.startswith("it cannot be run: ")


def test_a_program_that_does_not_end_is_killed_with_what_it_began(tmp_path: Path) -> None:
    code = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'input()'], stdin=-1).wait()"

    outcome = hook(tmp_path, code, timeout_s=0.5).call({})

    assert outcome.said == "it did not end within 0.5 s, and was killed"


def test_a_program_that_says_nothing_is_named_by_its_exit_code(tmp_path: Path) -> None:
    assert hook(tmp_path, "raise SystemExit(9)").call({}).said == "exit code 9"
    assert hook(tmp_path, "import os; os.kill(os.getpid(), 9)").call({}).said == "killed by signal 9"


def test_of_a_talkative_program_the_end_is_kept(tmp_path: Path) -> None:
    said = hook(tmp_path, "print('x' * 1000000 + 'end')").call({}).said

    assert len(said) == 2000
    assert said.endswith("end")


def test_a_function_refuses_by_raising(tmp_path: Path) -> None:
    def refuse(context: dict[str, Any]) -> None:
        raise RuntimeError(f"not {context['alias']}")

    outcome = FunctionHook(refuse, name="f", timeout_s=5.0).call({"alias": "kb"})

    assert (outcome.agreed, outcome.said) == (False, "not kb")
    assert FunctionHook(lambda _: "fine", name="f", timeout_s=5.0).call({}).said == "fine"
    assert FunctionHook(lambda _: 42, name="f", timeout_s=5.0).call({}).agreed


def test_a_function_that_does_not_end_is_not_waited_for() -> None:
    import threading

    over = threading.Event()
    outcome = FunctionHook(lambda _: over.wait(), name="f", timeout_s=0.05).call({})
    over.set()

    assert outcome.said == "it did not end within 0.05 s"


@pytest.mark.parametrize(
    "hooks", [{"on_start": ["notify"]}, {"on_start": [[]]}, {"on_lunch": []}], ids=["word", "empty", "unknown"]
)
def test_a_hook_that_cannot_be_is_named_when_the_configuration_is_read(hooked: Hooked, hooks: dict[str, Any]) -> None:
    plane = hooked.scene.operator.plane
    values = plane.config.settings.model_dump()
    values["aliases"][ALIAS]["hooks"] = hooks

    with pytest.raises(BadConfig) as refused:
        parse(values, plane.config.path)

    assert f"aliases.kb.hooks.{next(iter(hooks))}" in refused.value.detail


def test_a_hook_may_call_undrift_itself(hooked: Hooked, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it is told in its environment is no setting."""
    monkeypatch.setenv("UNDRIFT_HOOK_ALIAS", "kb")
    plane = hooked.scene.operator.plane

    assert parse(plane.config.settings.model_dump(), plane.config.path).settings == plane.config.settings


def test_a_worker_is_a_worker_without_hooks_of_its_own(hooked: Hooked) -> None:
    """One whose configuration has no hooks leaves them to those that have."""
    scene = hooked.scene
    scene.operator.plane.register(ALIAS, "new")
    stranger = scene.rig.process("worker")
    Worker(workshop=stranger.plane.workshop(ALIAS), who="stranger", chunk_size=4).run(
        lambda migration: migration is not None and migration.phase is Phase.BACKFILL
    )
    assert hooked.moments() == ["on_validated"]

    scene.worker.worker().tick()
    assert hooked.moments() == ["on_validated", "on_start"]
