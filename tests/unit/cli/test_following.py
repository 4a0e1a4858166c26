"""Following a migration: an honest pace, and what is waited for."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from undrift.cli.following import PACE_WINDOW_S, Lookout, Pace, Waits, reading, regularly, spent
from undrift.cli.render import Reading
from undrift.errors import ControlUnavailable


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


COST = {
    "tokens": 0,
    "usd": 0.0,
    "reserved_tokens": 0,
    "budget_usd": None,
    "budget_tokens": None,
    "left_tokens": None,
    "left_usd": None,
}


def glance(**changes: Any) -> dict[str, Any]:
    return {
        "alias": "kb",
        "phase": "backfill",
        "run_status": "running",
        "waiting_for": None,
        "progress": {"total": 1000, "done": 100, "rate_per_s": 5.0, "eta_s": 180.0},
        "dirty": 0,
        "oldest_dirty_s": None,
        "cost": COST,
        **changes,
    }


def progress(total: int, done: int, rate: float | None = 1.0) -> dict[str, Any]:
    return {"total": total, "done": done, "rate_per_s": rate, "eta_s": None}


def test_a_pace_needs_two_samples_and_progress_between_them() -> None:
    pace = Pace()

    assert pace.add(0, 100) is None
    assert pace.add(0, 200) is None, "no time has passed"
    assert pace.add(10, 200) == 10
    standing = Pace()
    standing.add(0, 100)
    assert standing.add(10, 100) is None


def test_a_pace_is_that_of_the_recent_past() -> None:
    """A migration that was paused for an hour does not take hours more."""
    pace = Pace()
    pace.add(0, 0)
    pace.add(3600, 0)

    pace.add(3610, 1000)
    assert pace.add(3600 + PACE_WINDOW_S, 3000) == 100


def test_a_pace_begins_anew_when_less_is_done() -> None:
    pace = Pace()
    pace.add(0, 1000)
    pace.add(10, 2000)

    assert pace.add(20, 0) is None, "another migration"
    assert pace.add(30, 50) == 5


def test_the_time_that_is_left_is_told_by_the_present_pace() -> None:
    shown = reading(glance(), 100.0)

    assert shown == Reading(label="kb: backfill", done=100, total=1000, speed="100 a second, about 9.0 s left")


@pytest.mark.parametrize(
    ("known", "pace"),
    [
        (progress(1000, 9), 100.0),
        (progress(1000, 100, rate=None), 100.0),
        (progress(1000, 1000), 100.0),
        (progress(1000, 100), None),
    ],
    ids=["before-1-percent", "while-the-total-grows", "when-all-is-done", "without-a-pace"],
)
def test_the_time_that_is_left_is_not_guessed(known: dict[str, Any], pace: float | None) -> None:
    assert "left" not in reading(glance(progress=known), pace).speed


def test_the_pace_is_told_of_a_back_fill_only() -> None:
    assert reading(glance(phase="verify"), 100.0).speed == ""


def test_a_reading_names_everything_that_stands_in_the_way() -> None:
    cost = {**COST, "tokens": 1500, "usd": 0.75, "budget_usd": 2.0}
    shown = reading(
        glance(phase="rolled_back", run_status="paused", dirty=12, cost=cost, waiting_for="an operator"), None
    )

    assert shown.label == "kb: rolled back (paused)"
    assert shown.facts == "12 dirty, 1,500 tokens, $0.7500 of $2.00"
    assert shown.waiting == "an operator"
    assert reading(glance(waiting_for="an operator"), None, "a lease").waiting == "a lease"


def test_costs_are_told_with_their_budgets() -> None:
    cost = {**COST, "tokens": 10}

    assert spent(cost) == "10 tokens"
    assert spent({**cost, "budget_tokens": 2000}) == "10 tokens of 2,000"
    assert spent({**cost, "budget_usd": 5.0}) == "10 tokens, $0.00 of $5.00"
    assert spent({**cost, "usd": 3.0}) == "10 tokens, $3.00"
    limited = {**cost, "budget_tokens": 2000, "left_tokens": 1990}
    assert spent(limited) == "10 tokens of 2,000, 1,990 tokens left"
    assert spent({**limited, "reserved_tokens": 4}) == (
        "10 tokens of 2,000 (4 tokens of them put aside for requests under way), 1,990 tokens left"
    )


class Shown:
    def __init__(self) -> None:
        self.readings: list[Reading] = []

    def show(self, reading: Reading) -> None:
        self.readings.append(reading)


def test_what_a_worker_waits_for_is_told_while_it_says_so() -> None:
    time, shown = Time(), Shown()
    lookout = Lookout(lambda: glance(waiting_for="what the ledger names"), shown, time)

    lookout.waits("a client")
    lookout.show()
    time.now += 5
    lookout.show()

    assert [one.waiting for one in shown.readings] == ["a client", "what the ledger names"]


def test_a_ledger_that_does_not_answer_does_not_end_the_work() -> None:
    def look() -> dict[str, Any]:
        raise ControlUnavailable("the ledger is busy")

    shown = Shown()
    Lookout(look, shown, Time()).show()

    assert shown.readings == []


def test_looks_are_taken_while_others_work_and_once_at_the_end() -> None:
    looked = threading.Event()
    looks: list[str] = []

    def show() -> None:
        looks.append(threading.current_thread().name)
        looked.set()

    with regularly(show, every_s=0.001):
        assert looked.wait(30)
    assert looks[0] == "undrift-show"
    assert looks[-1] == threading.current_thread().name


def test_no_more_looks_are_taken_after_a_failure() -> None:
    def fail() -> None:
        with regularly(lambda: None, every_s=0.001):
            raise ControlUnavailable("the ledger is gone")

    with pytest.raises(ControlUnavailable):
        fail()
    assert "undrift-show" not in [thread.name for thread in threading.enumerate()]


def test_a_short_wait_is_not_worth_a_word_and_a_long_one_is_told_now_and_then() -> None:
    time, said = Time(), list[str]()
    waits = Waits(said.append, "kb", time)

    for _ in range(9):
        waits("3 dirty documents")
        time.now += 0.1
    assert said == []
    for _ in range(100):
        waits("3 dirty documents")
        time.now += 0.1
    assert said == ["kb: waiting for 3 dirty documents"] * 2
    waits.over()
    waits("the next thing")
    assert len(said) == 2
