"""reconcile, adopt, selftest, and what verify tells of how far it has come."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.stranger import Stranger
from tests.unit.cli.running import Undrift, plane_of, write_lines
from tests.unit.cli.shapes import missing_keys
from undrift.domain.route import AliasName


@pytest.fixture
def few(undrift: Undrift, tmp_path: Path) -> Undrift:
    """The command with a migration of a dozen documents that is ready."""
    documents = [{"id": f"d{number:02}", "text": f"document {number}"} for number in range(12)]
    write_lines(tmp_path / "documents.jsonl", documents)
    assert undrift("put", "kb", "documents.jsonl").code == 0
    assert undrift("start", "kb", "--to", "new").code == 0
    return undrift


def stranger(folder: Path, *, follower: bool = False) -> Stranger:
    with plane_of(folder) as plane:
        route = plane.ledger.route(AliasName("kb"))
    assert route is not None
    place = route.follower if follower else route.serving
    assert place is not None
    return Stranger(folder / "vectors.db", place.collection)


def test_reconcile_tells_what_was_written_past_undrift_and_then_that_it_is_settled(
    few: Undrift, tmp_path: Path
) -> None:
    stranger(tmp_path).change_text("d03", "another text")
    stranger(tmp_path).delete("d07")

    first, second = few("reconcile", "kb", "--scans", "1"), few("reconcile", "kb", "--json")

    assert first.code == 3
    assert first.out.startswith("kb is not reconciled: two scans in a row are needed")
    assert "scan 1  12 documents  2 foreign  between " in first.out
    assert [line.split()[-2:] for line in first.out.splitlines() if "d0" in line] == [
        ["extra", "d07"],
        ["stale_text", "d03"],
    ]
    assert "Next:  undrift reconcile kb" in first.out
    assert second.code == 0
    assert missing_keys("reconcile", second.json) == []
    assert (second.json["settled"], second.json["verdict"], len(second.json["scans"])) == (True, "pass", 1)


def test_an_alarm_in_a_schedule_is_an_exit_code_and_one_document(few: Undrift, tmp_path: Path) -> None:
    stranger(tmp_path).insert("new", "a text of a stranger")

    found = few("reconcile", "kb", "--scans", "1", "--rate", "100000", "--json")

    assert found.code == 3
    assert missing_keys("reconcile", found.json) == []
    assert found.json["scans"][0]["kinds"] == {"missing": 1}
    assert found.json["scans"][0]["samples"] == [{"kind": "missing", "id": "new"}]
    assert "such as new (missing)" in found.json["needs_reconcile"]
    assert few("status", "kb", "--json").json["reconciliation"]["foreign"] == 1
    assert "foreign     1 found, a reconcile scan found" in few("status", "kb").out


def test_a_scan_without_a_second_field_is_refused(undrift: Undrift, tmp_path: Path) -> None:
    write_lines(tmp_path / "documents.jsonl", [{"id": "a", "text": "one"}])
    assert undrift("put", "kb", "documents.jsonl").code == 0

    refused = undrift("reconcile", "kb", "--json")

    assert (refused.code, refused.error["kind"]) == (2, "NoMigration")


def test_adopt_takes_over_what_was_set_aside(few: Undrift, tmp_path: Path) -> None:
    assert few("cutover", "kb", "--yes").code == 0
    stranger(tmp_path, follower=True).insert("new", "a text of a stranger")
    stranger(tmp_path, follower=True).change_text("d05", "changed in the old field")
    found = few("reconcile", "kb")
    assert found.code == 3
    assert "Set aside: 2 documents in the old field" in found.out
    assert "quarantine  2" in few("status", "kb").out

    one, rest = few("adopt", "kb", "d05"), few("adopt", "kb", "--all", "--json")

    assert (one.code, one.out.splitlines()[0]) == (0, "adopted 1 document of kb from the old field")
    assert (rest.code, missing_keys("adopt", rest.json)) == (0, [])
    assert (rest.json["adopted"], rest.json["left"]) == (["new"], [])
    texts = {one["id"]: one["text"] for one in few("get", "kb", "d05", "new", "--json").json["documents"]}
    assert texts == {"d05": "changed in the old field", "new": "a text of a stranger"}
    assert few("reconcile", "kb", "--scans", "3").code == 0


@pytest.mark.parametrize("words", [["adopt", "kb"], ["adopt", "kb", "d01", "--all"]], ids=" ".join)
def test_adopt_takes_ids_or_all_of_them(undrift: Undrift, words: list[str]) -> None:
    assert undrift(*words, "--json").error["message"] == "adopt takes the ids of documents, or --all"


def test_a_selftest_tells_that_nothing_differs(undrift: Undrift, tmp_path: Path) -> None:
    write_lines(tmp_path / "documents.jsonl", [{"id": f"d{n}", "text": f"text {n}"} for n in range(5)])
    assert undrift("put", "kb", "documents.jsonl").code == 0

    told, value = undrift("selftest", "kb"), undrift("selftest", "kb", "--json", "--sample", "2")

    assert (told.code, value.code) == (0, 0)
    assert told.out.startswith("Selftest of kb: no difference. The scratch field main/kb__selftest__")
    assert missing_keys("selftest", value.json) == []
    assert (value.json["compared"], value.json["differing"]) == (5, 0)


def test_a_selftest_that_finds_something_exits_with_3(undrift: Undrift, tmp_path: Path) -> None:
    write_lines(tmp_path / "documents.jsonl", [{"id": f"d{n}", "text": f"text {n}"} for n in range(5)])
    assert undrift("put", "kb", "documents.jsonl").code == 0
    Stranger(tmp_path / "vectors.db", "kb").overwrite_vector("d3")

    told = undrift("selftest", "kb")

    assert told.code == 3
    assert told.out.startswith("Selftest of kb: 1 difference. The scratch field ")
    assert "For example:  vector  d3" in told.out


def test_verify_reads_no_faster_than_it_may_and_says_how_old_it_is(few: Undrift) -> None:
    value = few("verify", "kb", "--rate", "100000", "--json")

    assert value.code == 0
    assert missing_keys("verify", value.json) == []
    shown = few("status", "kb", "--json").json["verification"]
    assert (shown["verdict"], shown["stale"], shown["touched"], shown["running"]) == ("pass", False, 0, None)
    assert few("verify", "kb", "--rate", "0", "--json").error["message"].endswith("'0' is not a number above 0")
