"""verify, cutover, rollback, complete, cancel."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.running import Undrift, plane_of, write_lines
from tests.unit.cli.shapes import missing_keys
from undrift.domain.record import DocumentId
from undrift.domain.route import AliasName, VectorField
from undrift.domain.space import SpaceId


def phase_of(undrift: Undrift) -> str:
    phase: str = undrift("status", "kb", "--json").json["phase"]
    return phase


def test_verify_finds_both_fields_equal(ready: Undrift) -> None:
    told, value = ready("verify", "kb"), ready("verify", "kb", "--json", "--sample", "7")

    assert told.code == value.code == 0
    assert told.out.startswith("300 documents of kb compared: both fields are equal.\n")
    assert missing_keys("verify", value.json) == []
    assert (value.json["compared"], value.json["sampled"], value.json["verdict"]) == (300, 7, "pass")


def test_verify_exits_with_3_when_documents_are_missing(ready: Undrift, tmp_path: Path) -> None:
    with plane_of(tmp_path) as plane:
        follower = plane.router.join(AliasName("kb")).follower
        assert follower is not None
        plane.store_of(follower).delete(follower, [DocumentId("d007")])

    differs = ready("verify", "kb", "--json")

    assert differs.code == 3
    assert (differs.json["missing"], differs.json["verdict"]) == (1, "fail")
    assert ready("verify", "kb").code == 0, "what differed was carried over again"


def test_what_verify_found_is_shown(ready: Undrift, tmp_path: Path) -> None:
    with plane_of(tmp_path) as plane:
        follower = plane.router.join(AliasName("kb")).follower
        assert follower is not None
        plane.store_of(follower).delete(follower, [DocumentId("d007")])

    told = ready("verify", "kb")

    assert told.code == 3
    assert "both fields are not equal" in told.out
    assert "For example:" in told.out
    assert "d007" in told.out


def test_a_dry_run_shows_gates_and_steps_and_changes_nothing(ready: Undrift) -> None:
    told, value = (
        ready("cutover", "kb", "--dry-run"),
        ready("cutover", "kb", "--dry-run", "--freeze-writes", "2s", "--json"),
    )

    assert told.code == value.code == 0
    assert "It is allowed now." in told.out
    assert "  1.  carry dirty documents over" in told.out
    assert missing_keys("cutover --dry-run", value.json) == []
    assert value.json["steps"][0].startswith("make writers wait for at most 2 s")
    assert phase_of(ready) == "ready"


def test_a_dry_run_of_what_is_refused_exits_with_3(filled: Undrift) -> None:
    filled("start", "kb", "--to", "new", "--detach")

    told, value = filled("cutover", "kb", "--dry-run"), filled("cutover", "kb", "--dry-run", "--json")

    assert told.code == value.code == 3
    assert value.json["allowed"] is False
    assert "It is refused now" in told.out
    assert "→ undrift start kb --to new" in told.out


def test_a_gate_that_does_not_hold_is_told_before_anybody_is_asked(filled: Undrift) -> None:
    filled("start", "kb", "--to", "new", "--detach")

    refused = filled("cutover", "kb", "--json", typed="y\n")

    assert (refused.code, refused.error["kind"]) == (3, "GateFailed")
    assert "complete (fail)" in refused.error["detail"]
    assert "verified (unknown)" in refused.error["detail"]


def test_traffic_does_not_move_without_a_yes(ready: Undrift) -> None:
    refused = ready("cutover", "kb", "--json")
    assert (refused.code, refused.error["kind"]) == (3, "NotConfirmed")
    assert "make main/kb__" in refused.error["detail"]
    assert refused.error["hint"] == "undrift cutover kb --yes"
    assert ready("cutover", "kb", typed="no\n").code == 3
    assert phase_of(ready) == "ready"

    asked = ready("cutover", "kb", typed="y\n")
    assert asked.code == 0
    assert "Go on? [y/N]" in asked.err
    assert asked.out.startswith("kb · reversing\n")

    for words in (["rollback", "kb"], ["rollback", "kb", "--now"], ["complete", "kb"]):
        refused = ready(*words, "--json")
        assert (refused.code, refused.error["kind"]) == (3, "NotConfirmed")
        assert refused.error["hint"] == f"undrift {' '.join(words)} --yes"
    assert phase_of(ready) == "reversing"


def test_the_whole_way_there_and_back_and_there(ready: Undrift, tmp_path: Path) -> None:
    over = ready("cutover", "kb", "--yes", "--freeze-writes", "500ms", "--json")
    assert missing_keys("cutover", over.json) == []
    assert (over.code, over.json["phase"], over.json["rollback_ready"]) == (0, "reversing", True)
    again = ready("cutover", "kb", "--json")
    assert (again.code, again.json["phase"]) == (0, "reversing"), "nothing is left to ask about"

    write_lines(tmp_path / "later.jsonl", [{"id": "later", "text": "written after the cutover"}])
    ready("put", "kb", "later.jsonl")
    ready("delete", "kb", "d001")
    back = ready("rollback", "kb", "--now", "--yes", "--json")
    assert missing_keys("rollback", back.json) == []
    assert (back.code, back.json["phase"]) == (0, "rolled_back")
    found = ready("get", "kb", "later", "d001", "--json").json
    assert ([one["id"] for one in found["documents"]], found["missing"]) == (["later"], ["d001"])

    assert ready("cutover", "kb", "--yes").code == 0
    done = ready("complete", "kb", "--yes", "--json")
    assert missing_keys("complete", done.json) == []
    assert (done.code, done.json["phase"], done.json["follower"]) == (0, "done", None)
    found = ready("get", "kb", "later", "d001", "--json").json
    assert ([one["id"] for one in found["documents"]], found["missing"]) == (["later"], ["d001"])
    assert ready("model", "show", "new", "--json").json["serves"] == ["kb"]


def test_every_step_is_told_beside_the_result(ready: Undrift) -> None:
    over = ready("cutover", "kb", "--yes", "--json")

    assert over.json["phase"] == "reversing"
    assert over.err.splitlines()[0] == "kb: carry dirty documents over until at most 100 are left"


@pytest.mark.parametrize(
    ("words", "phase", "message"),
    [
        (["rollback", "kb", "--yes"], "ready", "too early to roll back"),
        (["complete", "kb", "--yes"], "ready", "too early to complete"),
        (["cancel", "kb", "--yes"], "reversing", "too late to cancel"),
    ],
)
def test_a_verb_in_a_wrong_phase_is_refused(ready: Undrift, words: list[str], phase: str, message: str) -> None:
    if phase == "reversing":
        ready("cutover", "kb", "--yes")

    refused = ready(*words, "--json")

    assert refused.code == 3
    assert refused.error["kind"] == "IllegalTransition"
    assert message in refused.error["message"]
    assert phase_of(ready) == phase


def test_cancelling_keeps_the_new_field_and_asks_before_it_is_dropped(ready: Undrift, tmp_path: Path) -> None:
    follower = ready("alias", "show", "kb", "--json").json["follower"]
    refused = ready("cancel", "kb", "--drop", "--json")
    assert (refused.code, refused.error["kind"]) == (3, "NotConfirmed")
    assert f"drop main/{follower['collection']}" in refused.error["detail"]

    cancelled = ready("cancel", "kb", "--json")
    assert missing_keys("cancel", cancelled.json) == []
    assert (cancelled.code, cancelled.json["phase"]) == (0, "aborted")
    assert count_in(tmp_path, follower) == 300

    assert ready("start", "kb", "--to", "new").code == 0
    second = ready("alias", "show", "kb", "--json").json["follower"]
    assert ready("cancel", "kb", "--drop", "--yes").code == 0
    assert count_in(tmp_path, second) is None
    assert count_in(tmp_path, follower) == 300


def count_in(folder: Path, shown: dict[str, str]) -> int | None:
    """How many records a field has, None when it is gone."""
    field = VectorField(store=shown["store"], collection=shown["collection"], space=SpaceId(shown["space"]))
    with plane_of(folder) as plane:
        there = plane.store_of(field).describe(field)
        return None if there is None else there.count


def test_a_cutover_is_postponed_and_let_come(ready: Undrift) -> None:
    postponed = ready("postpone", "kb", "--reason", "a sale", "--json").json
    assert missing_keys("postpone", postponed) == []
    assert postponed["waiting_for"].endswith(" postponed the cutover, because a sale: undrift unpostpone kb")
    assert ready("cutover", "kb", "--yes").code == 3
    assert "no  postponed" in ready("cutover", "kb", "--dry-run").out

    assert ready("unpostpone", "kb", "--json").json["waiting_for"] == "a decision: undrift cutover kb"
    assert ready("cutover", "kb", "--max-wait", "10s", "--yes", "--json").json["phase"] == "reversing"


def test_a_cutover_at_a_time_wants_to_be_confirmed_before(ready: Undrift) -> None:
    refused = ready("cutover", "kb", "--at", "22:00", "--json")

    assert (refused.code, refused.error["hint"]) == (2, "undrift cutover kb --at TIME --yes")


@pytest.mark.parametrize("at", ["tonight", "25:00", "2026-13-01 10:00"])
def test_a_time_that_is_none_is_named(ready: Undrift, at: str) -> None:
    refused = ready("cutover", "kb", "--at", at, "--yes", "--json")

    assert refused.code == 2
    assert f"'{at}' is not a time such as 22:00" in refused.error["message"]


def test_a_time_that_has_passed_is_no_wait(ready: Undrift) -> None:
    assert ready("cutover", "kb", "--at", "2020-01-01 00:00", "--yes", "--json").json["phase"] == "reversing"
