"""The installed command as a person and their scripts use it: processes of its own, signals, pipes and exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import undrift
from tests.unit.cli.running import write_lines
from tests.unit.cli.shapes import missing_keys

pytestmark = pytest.mark.acceptance

COMMAND = [sys.executable, "-m", "undrift"]
Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]

HELD_MODEL = '''
import pathlib
import time
import numpy as np

def embed(texts):
    """Answer no document as long as there is a file called hold."""
    while pathlib.Path("hold").exists() and any("and number" in text for text in texts):
        time.sleep(0.01)
    return np.array([[len(text), *(text.count(letter) + 1 for letter in "aeioun")] for text in texts], dtype=np.float32)
'''


@pytest.fixture
def environment() -> dict[str, str]:
    """That of the tests, without settings of the person who runs them; the command is of the same undrift as they."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("UNDRIFT_")}
    return {**own, "PYTHONPATH": str(Path(undrift.__file__).parents[1])}


@pytest.fixture
def run(tmp_path: Path, environment: dict[str, str]) -> Run:
    def run(*words: str, code: int = 0, **options: Any) -> Done:
        done = subprocess.run(
            [*COMMAND, *words],
            cwd=tmp_path,
            env=environment,
            text=True,
            capture_output=True,
            check=False,
            **{"input": "", **options},
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def begin(tmp_path: Path, environment: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a verb and go on; whatever still runs in the end is killed."""
    begun: list[subprocess.Popen[str]] = []

    def begin(*words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*COMMAND, *words],
            cwd=tmp_path,
            env=environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def wait_for(process: subprocess.Popen[str], words: str) -> None:
    """Read what a process says until it says something."""
    assert process.stderr is not None
    heard = []
    for line in process.stderr:
        heard.append(line)
        if words in line:
            return
    pytest.fail(f"it never said {words!r}: {''.join(heard)}")


@pytest.fixture
def made(run: Run) -> Run:
    """The command in a folder where `init` was run."""
    pytest.importorskip("sqlite_vec")
    pytest.importorskip("wordllama")
    run("init")
    return run


@pytest.fixture
def started(made: Run, tmp_path: Path) -> Run:
    """The same with 2,000 documents put in."""
    topics = [("cats", "dogs", "ships", "trees")[number % 4] for number in range(2000)]
    documents = [
        {"id": f"d{number:04}", "text": f"{topic} and number {number}", "metadata": {"topic": topic}}
        for number, topic in enumerate(topics)
    ]
    write_lines(tmp_path / "documents.jsonl", documents)
    made("put", "kb", "documents.jsonl")
    return made


def add_held_model(folder: Path) -> None:
    (folder / "held_model.py").write_text(HELD_MODEL)
    with (folder / "undrift.toml").open("a") as file:
        file.write(
            '\n[models.held]\nprovider = "callable"\nfunction = "held_model:embed"\nname = "held"\ndimensions = 7\n'
        )


def as_json(run: Run, verb: str, *words: str, code: int = 0, **options: Any) -> Any:
    """Run a verb for its JSON, which has every documented key and is all there is on standard output."""
    value = json.loads(run(*words, "--json", code=code, **options).stdout)
    assert missing_keys(verb, value) == []
    return value


def error_of(done: Done) -> dict[str, str]:
    assert done.stdout == ""
    error: dict[str, str] = json.loads(done.stderr.splitlines()[-1])["error"]
    assert set(error) == {"kind", "message", "detail", "hint"}
    return error


def test_a_stranger_migrates_a_collection_and_goes_back(started: Run, tmp_path: Path) -> None:
    run = started
    assert as_json(run, "doctor", "doctor")["verdict"] == "ok"
    assert as_json(run, "search", "search", "kb", "ships", "-k", "3", "--filter", '{"topic": "ships"}')["hits"]
    assert as_json(run, "plan", "plan", "kb", "--to", "new")["documents"] == 2000

    ready = as_json(run, "start", "start", "kb", "--to", "new")
    assert (ready["phase"], ready["progress"]["done"]) == ("ready", 2000)
    assert as_json(run, "verify", "verify", "kb")["verdict"] == "pass"
    assert as_json(run, "cutover --dry-run", "cutover", "kb", "--dry-run")["allowed"] is True
    assert error_of(run("cutover", "kb", "--json", code=3))["kind"] == "NotConfirmed"
    assert as_json(run, "cutover", "cutover", "kb", "--yes")["phase"] == "reversing"

    run("put", "kb", "-", input='{"id": "later", "text": "written after the cutover"}\n')
    run("delete", "kb", "d0001")
    assert as_json(run, "rollback", "rollback", "kb", "--now", "--yes")["phase"] == "rolled_back"
    found = as_json(run, "get", "get", "kb", "later", "d0001")
    assert ([one["id"] for one in found["documents"]], found["missing"]) == (["later"], ["d0001"])

    run("cutover", "kb", "--yes")
    assert as_json(run, "complete", "complete", "kb", "--yes")["phase"] == "done"
    exported = run("export", "kb").stdout.splitlines()
    assert len(exported) == 2000
    assert {json.loads(line)["space"] for line in exported} == {ready["follower"]["space"]}
    assert as_json(run, "alias list", "alias", "list")[0]["serving"]["documents"] == 2000


def test_an_interrupted_start_is_taken_up_by_the_same_command(
    started: Run, begin: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    add_held_model(tmp_path)
    (tmp_path / "hold").touch()
    process = begin("start", "kb", "--to", "held")
    wait_for(process, "kb: backfill")

    process.send_signal(signal.SIGINT)
    (tmp_path / "hold").unlink()
    out, err = process.communicate(timeout=120)

    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert "the same command goes on" in err
    assert as_json(started, "alias show", "alias", "show", "kb")["clients"] == [], "its lease was ended"
    assert as_json(started, "start", "start", "kb", "--to", "held")["phase"] == "ready"


def test_a_worker_waits_for_work_and_ends_by_sigterm(
    started: Run, begin: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    add_held_model(tmp_path)
    process = begin("worker", "--json")
    wait_for(process, "working on every alias")

    assert as_json(started, "start", "start", "kb", "--to", "held", "--detach")["next_steps"][0] == "undrift worker kb"
    wait_for(process, "kb: ready")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)

    assert process.returncode == 0
    assert json.loads(out) == {"worked_on": [{"alias": "kb", "phase": "ready"}]}
    assert "Traceback" not in err
    assert as_json(started, "alias show", "alias", "show", "kb")["clients"] == []


def test_a_reader_that_leaves_is_no_reason_for_a_traceback(
    started: Run, begin: Callable[..., subprocess.Popen[str]]
) -> None:
    process = begin("export", "kb", "--vectors")
    assert process.stdout is not None
    assert process.stderr is not None

    assert json.loads(process.stdout.readline())["id"] == "d0000"
    process.stdout.close()

    assert process.stderr.read() == ""
    assert process.wait(timeout=120) == 1


def test_an_error_leaves_standard_output_empty_and_says_what_to_do(run: Run, tmp_path: Path) -> None:
    told = run("search", "kb", "ships", code=2)
    assert told.stdout == ""
    assert told.stderr == "there is no configuration undrift.toml\nHint: undrift init\n"

    assert error_of(run("search", "kb", "ships", "--json", code=2))["kind"] == "BadConfig"
    assert error_of(run("serch", "--json", code=2))["kind"] == "BadArgument"
    assert error_of(run("search", "kb", "ships", "-k", "0", "--json", code=2))["kind"] == "BadArgument"


def test_a_store_that_cannot_be_opened_is_a_failed_back_end(made: Run, tmp_path: Path) -> None:
    text = (tmp_path / "undrift.toml").read_text()
    (tmp_path / "undrift.toml").write_text(text.replace("./vectors.db", "./gone/vectors.db"))

    refused = error_of(made("search", "kb", "ships", "--json", code=4))

    assert refused["kind"] == "StoreUnavailable"
    assert "gone/vectors.db" in refused["message"]


def test_a_ledger_that_is_none_is_refused(made: Run, tmp_path: Path) -> None:
    (tmp_path / "undrift.db").write_bytes(b"this is not a database, and never was one\n" * 100)

    assert error_of(made("status", "--json", code=3))["kind"] == "LedgerUnusable"


def test_a_store_that_is_none_is_refused_by_its_own_name(made: Run, tmp_path: Path) -> None:
    (tmp_path / "vectors.db").write_bytes(b"this is not a database, and never was one\n" * 100)

    refused = error_of(made("search", "kb", "ships", "--json", code=3))

    assert refused["kind"] == "StoreUnusable"
    assert refused["message"].startswith("store ")
    assert "vectors.db" in refused["message"]


LIGHT = """
import sys
from undrift.cli.main import main
try:
    main({words!r})
except SystemExit as end:
    assert end.code == 0, end.code
heavy = [name for name in {heavy!r} if name in sys.modules]
assert not heavy, heavy
"""


@pytest.mark.parametrize("words", [["--help"], ["start", "--help"], ["--version"]], ids=" ".join)
def test_help_imports_nothing_that_takes_time(environment: dict[str, str], words: list[str]) -> None:
    heavy = [
        "apsw",
        "httpx2",
        "psycopg",
        "pydantic",
        "rich",
        "sqlite_vec",
        "tenacity",
        "tomlkit",
        "undrift.config",
        "undrift.control",
    ]

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LIGHT.format(words=words, heavy=heavy)],
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_the_installed_script_is_the_module(environment: dict[str, str]) -> None:
    script = Path(sysconfig.get_path("scripts")) / "undrift"
    if not script.exists():
        pytest.skip("undrift is not installed here, but run from its sources")

    said = [
        subprocess.run([*command, "--help"], env=environment, text=True, capture_output=True, check=True).stdout
        for command in ([str(script)], COMMAND)
    ]

    assert said[0] == said[1]
