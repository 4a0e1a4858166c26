from __future__ import annotations

from typing import Any

import pytest

from undrift.cli import reports
from undrift.cli.following import between

WORKER = {"client": "w", "host": "one", "pid": 7, "role": "worker", "documents": 1500, "pieces_in_hand": 1}
PACE = {
    "account": "openai/small/api.openai.com/0123456789ab",
    "requests_per_min": 3000.0,
    "tokens_per_min": None,
    "guessed": False,
    "processes": 1,
}


def status(**changes: Any) -> dict[str, Any]:
    return {
        "alias": "kb",
        "phase": "backfill",
        "run_status": "running",
        "waiting_for": None,
        "progress": {
            "total": 9000,
            "done": 3000,
            "rate_per_s": 10.0,
            "eta_s": 600.0,
            "eta_least_s": 480.0,
            "eta_most_s": 900.0,
        },
        "dirty": 0,
        "oldest_dirty_s": None,
        "cost": {
            "tokens": 10,
            "usd": 0.0,
            "reserved_tokens": 0,
            "budget_usd": None,
            "budget_tokens": None,
            "left_tokens": None,
            "left_usd": None,
            "forecast": None,
        },
        "workers": [],
        "tuning": {},
        "serving": {"field": "main/kb", "space": "old"},
        "follower": None,
        "epoch": 2,
        "quarantined": 0,
        "gates": [],
        "pace": [],
        "batches": [],
        "order": None,
        "rollback_ready": False,
        "next_steps": [],
        **changes,
    }


def test_the_time_left_is_told_with_its_interval() -> None:
    told = reports.status(status())

    assert "10 a second, about 10 min left (8 min to 15 min)" in told
    assert between({"eta_least_s": 480.0, "eta_most_s": None}) == " (at least 8 min)"
    assert between({"eta_least_s": None, "eta_most_s": None}) == ""


def test_several_workers_are_told_apart_and_one_needs_no_table() -> None:
    two = [{**WORKER, "rate_per_s": 12.0}, {**WORKER, "host": "two", "documents": 0, "pieces_in_hand": 2}]

    lines = reports.status(status(workers=two)).splitlines()

    assert ["one", "7", "worker", "1,500", "12", "1", "piece"] in [line.split() for line in lines]
    assert ["two", "7", "worker", "0", "2", "pieces"] in [line.split() for line in lines]
    assert "WORKER" not in reports.status(status(workers=[WORKER]))


@pytest.mark.parametrize(
    ("pace", "told"),
    [
        (PACE, "at most 3,000 requests a minute"),
        (
            {**PACE, "tokens_per_min": 1_000_000.0, "processes": 3},
            "at most 3,000 requests and 1,000,000 tokens a minute, shared by 3 processes",
        ),
        ({**PACE, "guessed": True}, "at most 3,000 requests a minute, as far as refusals tell"),
    ],
)
def test_the_pace_of_an_account_is_told(pace: dict[str, Any], told: str) -> None:
    assert told in reports.status(status(pace=[pace]))


def test_a_pace_that_nobody_knows_is_not_told() -> None:
    assert "pace" not in reports.status(status(pace=[{**PACE, "requests_per_min": None}]))
