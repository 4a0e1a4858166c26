"""What is written down survives whoever wrote it, and is read for what it says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from tests.torture.audit import Report, examine
from tests.torture.histories import FAIL, OK, UNKNOWN, Call, History, read
from tests.torture.rounds import Outcome
from tests.torture.tally import Tally

BEFORE = {"state": {"a": ["old", {}]}, "epoch": 1}


def call(kind: str, began: float, ended: float, *, outcome: str = OK, told: Any = None, **asked: Any) -> Call:
    return Call(actor="x.1", kind=kind, began=began, ended=ended, outcome=outcome, asked=asked, told=told or {})


def put(text: str, began: float, ended: float) -> Call:
    told = {"epoch": 1, "space": "s"}
    return call("put", began, ended, told=told, puts={"a": text}, metadata={})


def get(text: str, began: float, ended: float, *, epoch: int) -> Call:
    return call("get", began, ended, told={"found": {"a": [text, {}]}, "epoch": epoch}, keys=["a"], epoch=epoch)


def settled(epoch: int, at: float) -> Call:
    return call("settled", at, at, told={"settled": epoch, "space": f"s{epoch}"})


def judged(calls: list[Call], after: str) -> Report:
    report = Report()
    examine(sorted(calls, key=lambda call: call.began), before=BEFORE, after={"a": [after, {}]}, report=report)
    return report


def test_a_call_that_nobody_saw_the_end_of_is_unknown_for_ever(tmp_path: Path) -> None:
    history = History(tmp_path / "writer-0.1.jsonl")
    history.end(history.invoke("put", puts={"a": "x"}), OK, epoch=1)
    history.end(history.invoke("put", puts={"b": "x"}), FAIL)
    history.invoke("put", puts={"c": "x"})
    (part,) = tmp_path.iterdir()
    with part.open("a", encoding="utf-8") as torn:
        torn.write('{"at": 1, "end": 3, "outc')

    calls = read(tmp_path)

    assert [call.outcome for call in calls] == [OK, FAIL, UNKNOWN]
    assert calls[2].ended == float("inf")


def test_a_long_life_is_written_in_short_files_and_read_whole(tmp_path: Path) -> None:
    history = History(tmp_path / "writer-0.1.jsonl")
    for number in range(1500):
        history.end(history.invoke("put", puts={f"k{number}": "a text of some length"}), OK, epoch=1)

    assert max(path.stat().st_size for path in tmp_path.iterdir()) < 40_000
    assert len(read(tmp_path)) == 1500
    assert {call.outcome for call in read(tmp_path)} == {OK}


def test_a_read_after_the_route_has_settled_must_be_fresh() -> None:
    story = [put("new", 1, 2), call("verb", 3, 4, verb="cutover"), settled(3, 5)]

    fresh = judged([*story, get("new", 6, 7, epoch=3)], "new")
    late = judged([*story, get("old", 6, 7, epoch=3)], "new")

    assert fresh.violations == []
    assert fresh.figures["reads that had to be fresh"] == 1
    assert ["was read as it cannot have been" in violation for violation in late.violations] == [True]


def test_a_read_while_the_route_moves_or_on_an_older_one_may_be_late_but_not_invented() -> None:
    story = [put("new", 1, 2), call("verb", 3, 4, verb="cutover"), settled(3, 8)]

    moving = judged([*story, get("old", 6, 7, epoch=2)], "new")
    behind = judged([*story, get("old", 9, 10, epoch=2)], "new")
    invented = judged([*story, get("nobody's", 6, 7, epoch=2)], "new")

    assert moving.violations == []
    assert behind.violations == []
    assert moving.figures["reads while the route moved"] == 1
    assert ["which nobody had put" in violation for violation in invented.violations] == [True]


def test_an_epoch_that_means_two_spaces_is_a_violation() -> None:
    told = {"epoch": 1, "space": "s", "spaces": ["s"], "dropped": 0, "found": {}}
    search = call("search", 1, 2, told=told, question="q", epoch=1)
    other = call("search", 3, 4, told={**told, "space": "t", "spaces": ["t"]}, question="q", epoch=1)
    mixed = call("search", 1, 2, told={**told, "spaces": ["s", "t"]}, question="q", epoch=1)

    assert judged([search], "old").violations == []
    assert len(judged([search, other], "old").violations) == 1
    assert len(judged([mixed], "old").violations) == 1


def test_a_torture_that_was_killed_goes_on_counting(tmp_path: Path) -> None:
    path = tmp_path / "tally.json"
    first = Tally.at(path, 7)
    assert first.next_round() == 1
    first.add("sqlite", Outcome(seed=5, figures=Counter(kills=40, rounds=1), violations=["a document is lost"]))

    again = Tally.at(path, 8)

    assert (again.seed, again.kills, again.violations) == (7, 40, ["sqlite, seed 5: a document is lost"])
    assert again.next_round() == 2
    again.add("postgres", Outcome(seed=6, figures=Counter(kills=2)))
    assert Tally.at(path, 7).kills == 42
    assert "40" in again.table()
    assert "42 kills" in again.line()
