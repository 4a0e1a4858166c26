"""A gate lets traffic move when it passes; a stale pass or none is no pass."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from undrift.domain.gate import MIN_COSINE, Gate, Verdict, VerificationReport, require
from undrift.errors import GateFailed

REPORT = VerificationReport(
    compared=10,
    missing=0,
    extra=0,
    mismatched=0,
    requeued=3,
    explained=2,
    unverifiable=1,
    sampled=5,
    sample_min_cosine=0.9999,
    samples=({"kind": "missing", "id": "a"},),
    max_sequence=8,
    epoch=4,
    finished=datetime(2026, 1, 2, tzinfo=UTC),
)


def gates(*verdicts: Verdict) -> list[Gate]:
    return [
        Gate(name=f"gate {number}", verdict=verdict, detail=f"fact {number}", hint=f"command {number}")
        for number, verdict in enumerate(verdicts)
    ]


def test_when_all_pass_nothing_is_said() -> None:
    require(gates(Verdict.PASS, Verdict.PASS), verb="cutover", alias="kb")
    require([], verb="cutover", alias="kb")


@pytest.mark.parametrize("verdict", [Verdict.FAIL, Verdict.STALE, Verdict.UNKNOWN])
def test_anything_but_a_pass_refuses(verdict: Verdict) -> None:
    with pytest.raises(GateFailed, match="cutover of kb is refused: 1 of 2 gates") as refused:
        require(gates(Verdict.PASS, verdict), verb="cutover", alias="kb")

    assert refused.value.detail == f"gate 1 ({verdict.value}): fact 1"
    assert refused.value.hint == "command 1"


def test_all_that_do_not_hold_are_listed() -> None:
    with pytest.raises(GateFailed) as refused:
        require(gates(Verdict.FAIL, Verdict.PASS, Verdict.STALE), verb="cutover", alias="kb")

    assert refused.value.detail.splitlines() == ["gate 0 (fail): fact 0", "gate 2 (stale): fact 2"]


def test_without_a_hint_of_its_own_the_status_is_the_hint() -> None:
    with pytest.raises(GateFailed) as refused:
        require([Gate(name="lag", verdict=Verdict.FAIL, detail="")], verb="cutover", alias="kb")

    assert refused.value.hint == "undrift status kb"


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, Verdict.PASS),
        ({"missing": 1}, Verdict.FAIL),
        ({"extra": 1}, Verdict.FAIL),
        ({"mismatched": 1}, Verdict.FAIL),
        ({"sample_min_cosine": MIN_COSINE}, Verdict.PASS),
        ({"sample_min_cosine": MIN_COSINE - 1e-6}, Verdict.FAIL),
        ({"sample_min_cosine": None, "sampled": 0}, Verdict.PASS),
        ({"sample_min_cosine": float("nan")}, Verdict.FAIL),
    ],
)
def test_a_comparison_passes_when_fields_are_equal_and_vectors_faithful(
    changes: dict[str, float | None], verdict: Verdict
) -> None:
    assert replace(REPORT, **changes).verdict is verdict  # type: ignore[arg-type]


def test_a_report_has_a_json_form() -> None:
    shown = json.loads(json.dumps(REPORT.as_dict()))

    assert shown["verdict"] == "pass"
    assert shown["finished"] == "2026-01-02T00:00:00+00:00"
    assert shown["samples"] == [{"kind": "missing", "id": "a"}]
    assert {"compared", "missing", "extra", "mismatched", "requeued", "sampled", "sample_min_cosine"} <= set(shown)
