"""What people read about batch jobs in the status."""

from __future__ import annotations

from typing import Any

from undrift.cli import reports


def job(**changes: Any) -> dict[str, Any]:
    return {
        "id": "j1",
        "state": "running",
        "provider_status": "in_progress",
        "batch": "batch_7",
        "items": 50_000,
        "completed": 1234,
        "failed": 0,
        "tokens": 0,
        "usd": 0.0,
        "created": "2026-11-23T01:00:00+00:00",
        "expires": "2026-11-24T01:00:00+00:00",
        "unused": None,
        "reason": None,
        **changes,
    }


def test_a_job_that_runs_says_how_far_it_is_and_when_it_ends() -> None:
    assert reports.batches([job()]) == [
        ("batches", "batch_7: in progress, 1,234 of 50,000 texts, over by 2026-11-24 01:00 UTC at the latest")
    ]


def test_jobs_that_are_done_are_told_together_with_what_was_paid_in_vain() -> None:
    done = job(state="done", provider_status="completed", completed=10, unused=2)

    rows = reports.batches([done, done, job(state="uploaded", batch=None, expires=None, completed=0, items=5)])

    assert rows == [
        ("batches", "j1: uploaded, 0 of 5 texts"),
        ("", "2 jobs done: 20 texts, 4 of them for texts that changed meanwhile"),
    ]


def test_without_jobs_nothing_is_said() -> None:
    assert reports.batches([]) == []
