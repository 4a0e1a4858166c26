"""The report of conformance says what ran and what did not, and lets no skip pass without a declared capability."""

from __future__ import annotations

import re
from typing import Any

import pytest

from scripts import conformance
from scripts.conformance_plugin import declared, kit_tests
from undrift.plugins import STORES
from undrift.testing.stores import skip_for

CAPABILITIES: dict[str, Any] = {
    "name": "sqlite-vec",
    "layouts": ["collection"],
    "metrics": ["cosine"],
    "max_dimensions": 8192,
    "max_text_bytes": 65535,
    "settles_within_s": 10.0,
    "scans_lag_s": 2.5,
}


def run(**changes: Any) -> dict[str, Any]:
    tests = {name: {"passed": 1, "failed": 0, "skipped": {}} for name in kit_tests()}
    value: dict[str, Any] = {
        "label": "Sqlite Vec",
        "adapter": "sqlite-vec",
        "engine": "SQLite 3",
        "live": True,
        "exact": True,
        "capabilities": CAPABILITIES,
        "tests": tests,
        "reasons": {},
        "undeclared": [],
    }
    return {**value, **changes}


def report_of(*runs: dict[str, Any]) -> dict[str, Any]:
    return {"runs": list(runs), "left_out": {}}


def test_a_skip_names_a_capability_that_there_is() -> None:
    with pytest.raises(pytest.skip.Exception) as skipped:
        skip_for("metrics", "it has no dot")

    assert declared(str(skipped.value)) == ("metrics", "it has no dot")
    assert declared("capability exact: an index may overlook records") == ("exact", "an index may overlook records")
    for reason in ("capability patience: it has none", "not today", "capability metrics"):
        assert declared(reason) is None


def test_a_failure_and_a_skip_without_a_capability_are_faults() -> None:
    name = kit_tests()[0]
    failed = run(tests={name: {"passed": 2, "failed": 1, "skipped": {}}})

    assert conformance.faults(report_of(run())) == []
    assert conformance.faults(report_of(failed)) == [f"Sqlite Vec: {name} failed"]
    (fault,) = conformance.faults(report_of(run(undeclared=[f"{name}: not today"])))
    assert "without a declared capability" in fault
    absent = run(adapter="", undeclared=[f"{name}: no server is installed"], tests={})
    assert conformance.faults(report_of(absent)) == []
    assert "no server is installed" in conformance.report(report_of(absent))


def test_a_report_has_every_test_and_what_was_skipped_and_why() -> None:
    name = kit_tests()[3]
    skipped = run(
        label="Another",
        tests={**run()["tests"], name: {"passed": 0, "failed": 0, "skipped": {"metrics": 2}}},
        reasons={"metrics": "it has no dot"},
        engine="",
    )

    page = conformance.report(report_of(run(), skipped))

    assert "| Another | sqlite-vec | SQLite 3 | live |" in page
    assert "| Another | `metrics` | it has no dot | 2 |" in page
    assert len(re.findall(r"^\| .* \| 1 \| 1 \|$|^\| .* \| `metrics` \| 1 \|$", page, re.MULTILINE)) == len(kit_tests())
    assert "- `memory`" in page


def test_the_page_of_stores_has_the_limits_and_who_was_not_verified() -> None:
    page = conformance.support(report_of(run(), run(label="Part", tests={}), run(live=False, adapter="other")))

    (row,) = [line for line in page.splitlines() if line.startswith("| [sqlite-vec]")]
    assert "live: SQLite 3 | collection | cosine | 8,192 | exact | text 65,535 | 10 s | 2.5 s |" in row
    assert "double: SQLite 3" in page
    assert "| not verified here |" in page


@pytest.mark.parametrize("name", STORES)
def test_every_store_is_on_the_pages_as_they_are_written_now(name: str) -> None:
    """Failing? `make conformance` writes them."""
    page = conformance.SUPPORT.read_text(encoding="utf-8")
    assert f"| [{name}](" in page
    assert name in conformance.REPORT.read_text(encoding="utf-8")


def test_every_test_of_the_kit_is_on_the_report_as_it_is_written_now() -> None:
    """Failing? `make conformance` writes it."""
    page = conformance.REPORT.read_text(encoding="utf-8")
    words = [name.partition("::")[2].removeprefix("test_").replace("_", " ") for name in kit_tests()]
    assert [one for one in words if f"| {one} |" not in page] == []
    assert "failed**" not in page
