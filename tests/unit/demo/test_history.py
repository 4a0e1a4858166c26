from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from math import inf
from pathlib import Path

import pytest

from undrift.demo.history import ACKNOWLEDGED_MARK, RESTING_MARK, Delete, History, Merge, Outcome, Put, read

EFFECTS = {
    "a": Put(text="text\nwith ünusual \udcff characters", metadata={"n": 1}),
    "b": Merge(changes={"m": [1]}),
    "c": Delete(),
}


def test_what_was_written_down_is_read_back(tmp_path: Path) -> None:
    with History(tmp_path / "writer.jsonl") as history:
        history.end(history.begin(EFFECTS), Outcome.ACKNOWLEDGED)

    (told,) = read(tmp_path).operations

    assert (told.actor, told.effects, told.outcome) == ("writer", EFFECTS, Outcome.ACKNOWLEDGED)
    assert told.began <= told.ended < inf


def test_a_search_is_read_back_with_its_answer(tmp_path: Path) -> None:
    with History(tmp_path / "searcher.jsonl") as history:
        number = history.begin_search("where?")
        history.end(
            number, Outcome.ACKNOWLEDGED, space="s", epoch=3, spaces=["s", None], dropped=1, nearest="here", score=0.5
        )

    (told,) = read(tmp_path).searches

    assert (told.question, told.space, told.epoch, told.dropped) == ("where?", "s", 3, 1)
    assert (list(told.spaces), told.nearest, told.score) == (["s", None], "here", 0.5)


def test_the_histories_of_all_actors_are_read(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with History(tmp_path / f"{name}.jsonl") as history:
            history.end(history.begin({"a": Delete()}), Outcome.FAILED, error="no")

    assert [told.actor for told in read(tmp_path).operations] == ["one", "two"]


def test_an_operation_without_an_end_has_an_unknown_outcome(tmp_path: Path) -> None:
    with History(tmp_path / "writer.jsonl") as history:
        history.begin({"a": Delete()})

    (told,) = read(tmp_path).operations

    assert (told.outcome, told.ended) == (Outcome.UNKNOWN, inf)


def test_a_search_without_an_end_was_not_answered(tmp_path: Path) -> None:
    with History(tmp_path / "searcher.jsonl") as history:
        history.begin_search("where?")

    assert read(tmp_path).searches[0].outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_a_torn_beginning_was_never_acted_upon(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "writer.jsonl"
    with History(path) as history:
        history.end(history.begin({"a": Delete()}), Outcome.ACKNOWLEDGED)
        whole = path.stat().st_size
        history.begin(EFFECTS)
    os.truncate(path, whole + int((path.stat().st_size - whole) * kept))

    (told,) = read(tmp_path).operations

    assert (dict(told.effects), told.outcome) == ({"a": Delete()}, Outcome.ACKNOWLEDGED)


def test_a_torn_end_leaves_the_outcome_open(tmp_path: Path) -> None:
    path = tmp_path / "writer.jsonl"
    with History(path) as history:
        history.end(history.begin({"a": Delete()}), Outcome.ACKNOWLEDGED)
    os.truncate(path, path.stat().st_size - 1)

    assert [told.outcome for told in read(tmp_path).operations] == [Outcome.UNKNOWN]


def test_a_text_cannot_look_like_a_mark(tmp_path: Path) -> None:
    text = f"{ACKNOWLEDGED_MARK.decode()} {RESTING_MARK.decode()}"
    path = tmp_path / "writer.jsonl"
    with History(path) as history:
        history.begin({text: Put(text=text, metadata={text: text})})
    data = path.read_bytes()

    assert ACKNOWLEDGED_MARK not in data
    assert RESTING_MARK not in data


def test_the_marks_are_those_of_the_lines(tmp_path: Path) -> None:
    path = tmp_path / "writer.jsonl"
    with History(path) as history:
        history.end(history.begin({"a": Delete()}), Outcome.UNKNOWN)
        assert ACKNOWLEDGED_MARK not in path.read_bytes()
        history.end(history.begin({"a": Delete()}), Outcome.ACKNOWLEDGED)
        history.rest()
    data = path.read_bytes()

    assert (data.count(ACKNOWLEDGED_MARK), data.count(RESTING_MARK)) == (1, 1)


BEGIN_AND_DIE = """
import os, signal, sys
from pathlib import Path
from undrift.demo.history import Delete, History
history = History(Path(sys.argv[1]))
history.begin({"a": Delete()})
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_beginning_outlives_the_kill_of_its_process(tmp_path: Path) -> None:
    path = tmp_path / "writer.jsonl"
    ended = subprocess.run([sys.executable, "-c", BEGIN_AND_DIE, str(path)], check=False)

    assert ended.returncode == -signal.SIGKILL
    assert [json.loads(line)["begin"] for line in path.read_text().splitlines()] == [1]
    assert [told.outcome for told in read(tmp_path).operations] == [Outcome.UNKNOWN]
