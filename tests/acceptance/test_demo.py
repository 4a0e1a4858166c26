"""`undrift demo` as a person runs it: to its end, on documents of one's own, interrupted, or when a process dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlite_vec")
pytest.importorskip("pytrec_eval")

pytestmark = pytest.mark.acceptance

#: What `product.md` promises to other programs.
DOCUMENTED = {
    *(
        "documents",
        "searches",
        "failed_searches",
        "writes",
        "deletes",
        "kills",
        "lost",
        "resurrected",
        "stale",
        "mixed",
    ),
    *("wrong_space_answers", "ndcg_at_10", "tokens", "seconds"),
}
FAULTS = ("failed_searches", "lost", "resurrected", "stale", "mixed", "wrong_space_answers")
#: Long enough for the slowest machine; nothing is asserted about time.
PATIENCE_S = 120.0


def start(temporary: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start a demo whose temporary files lie in a folder of the test."""
    return subprocess.Popen(
        [sys.executable, "-m", "undrift", "demo", *arguments],
        env={**os.environ, "TMPDIR": str(temporary), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def processes(of: Path) -> dict[int, str]:
    """The processes that were told to play in a folder: number and arguments."""
    shown = subprocess.run(["ps", "-eww", "-o", "pid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    found = [line.split(maxsplit=2) for line in shown.splitlines() if str(of) in line]
    return {int(pid): arguments for pid, state, arguments in found if not state.startswith("Z")}


def wait(until: Callable[[], object], demo: subprocess.Popen[str]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not until():
        assert demo.poll() is None, demo.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    lines = [
        {"id": f"d{n:04}", "title": f"Entry {n}", "text": f"what is known about number {n} and {n % 7}", "part": n % 3}
        for n in range(1500)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def faults(result: dict[str, Any]) -> dict[str, int]:
    return {fault: result[fault] for fault in FAULTS if result[fault]}


def test_the_demo_migrates_the_library_and_loses_nothing(temporary: Path) -> None:
    demo = start(temporary, "--json")
    output, told = demo.communicate()

    assert demo.returncode == 0, told
    result = json.loads(output)
    assert result.keys() >= DOCUMENTED
    assert faults(result) == {}, result["examples"]
    assert result["kills"] == 1
    assert result["documents"] > 5000
    assert min(result["searches"], result["writes"], result["deletes"]) > 100
    assert result["tokens"] > 100_000
    assert result["ndcg_at_10"]["before"] > 0
    assert result["ndcg_at_10"]["after"] > result["ndcg_at_10"]["before"]
    assert list(temporary.iterdir()) == []
    assert processes(temporary) == {}


@pytest.mark.long
def test_the_demo_migrates_documents_of_ones_own_and_keeps_what_it_is_asked_to_keep(
    temporary: Path, tmp_path: Path, corpus: Path
) -> None:
    kept, elsewhere = tmp_path / "kept", tmp_path / "elsewhere.db"
    before = corpus.read_bytes()
    demo = start(
        temporary, "--json", "--corpus", str(corpus), "--keep", str(kept), UNDRIFT_LEDGER=f"sqlite:////{elsewhere}"
    )
    output, told = demo.communicate()

    assert demo.returncode == 0, told
    result = json.loads(output)
    assert faults(result) == {}, result["examples"]
    assert (result["loaded"], result["kills"]) == (1500, 1)
    assert result["ndcg_at_10"] == {"before": None, "after": None}
    assert {"undrift.toml", "undrift.db", "vectors.db", "histories"} <= {path.name for path in kept.iterdir()}
    assert corpus.read_bytes() == before
    assert not elsewhere.exists(), "a ledger that the environment names was used"
    assert processes(kept) == {}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=lambda how: how.name)
def test_an_interrupted_demo_leaves_nothing_behind(temporary: Path, corpus: Path, how: signal.Signals) -> None:
    demo = start(temporary, "--corpus", str(corpus))
    wait(lambda: list(temporary.glob("*/histories/writer-1.jsonl")), demo)
    started = processes(temporary)

    demo.send_signal(how)
    demo.communicate()

    assert len(started) >= 5
    assert demo.returncode != 0
    assert processes(temporary) == {}
    assert list(temporary.iterdir()) == []


def test_a_demo_of_which_a_process_dies_tells_why_and_counts_nothing(temporary: Path, corpus: Path) -> None:
    demo = start(temporary, "--corpus", str(corpus), "--json")
    wait(lambda: list(temporary.glob("*/histories/writer-1.jsonl")), demo)
    (victim,) = [pid for pid, arguments in processes(temporary).items() if arguments.endswith("/writer-1.json")]
    os.kill(victim, signal.SIGKILL)
    output, told = demo.communicate()

    assert (demo.returncode, output) == (4, "")
    error = json.loads(told.splitlines()[-1])["error"]
    assert error["message"] == "writer-1 of the demo ended by itself with exit code -9"
    assert processes(temporary) == {}
    assert list(temporary.iterdir()) == []
