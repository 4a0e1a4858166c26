"""Comparisons before a migration, and promotions that need them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.unit.control.trained import TOPICS, golden, head, world
from undrift import Document
from undrift.control import ControlPlane
from undrift.control.ancestry import Training
from undrift.control.promoting import COMPARISON_VALID
from undrift.domain.migration import Phase
from undrift.errors import BadArgument, GateFailed
from undrift.testing.clock import VirtualClock

pytest.importorskip("sqlite_vec")
pytest.importorskip("pytrec_eval")


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def plane(tmp_path: Path, clock: VirtualClock) -> Iterator[ControlPlane]:
    made = world(tmp_path, clock)
    for name, strength in (("better", 5.0), ("worse", -5.0)):
        made.register_model(name, str(head(made, tmp_path, name, strength)), Training())
    yield made
    made.close()


def gates(plane: ControlPlane, model: str, **chosen: Any) -> dict[str, str]:
    value = plane.promote_model(model, "kb", reason="because", dry_run=True, **chosen)
    assert value["migration"] is None
    assert value["allowed"] == all(gate["verdict"] == "pass" for gate in value["gates"])
    return {gate["name"]: gate["verdict"] for gate in value["gates"]}


def test_a_model_is_compared_before_any_migration_with_what_serves(plane: ControlPlane) -> None:
    value = plane.compare_golden("topics", "kb", "better")

    assert (value["against"], value["documents"], value["of"]) == ("old", TOPICS, TOPICS)
    assert value["after"]["ndcg_at_10"] == 1.0
    assert value["before"]["ndcg_at_10"] < 0.6
    gain = value["gains"]["ndcg_at_10"]
    assert gain["mean"] == pytest.approx(1.0 - value["before"]["ndcg_at_10"])
    assert gain["ci95"][0] > 0
    assert gain["p_no_better"] < 0.025
    assert value["verdict"] == "better"
    assert plane.alias("kb").route().follower is None


def test_the_serving_side_is_what_a_search_of_the_alias_finds(plane: ControlPlane) -> None:
    value = plane.compare_golden("topics", "kb", "better")
    searched = plane.run_golden("topics", "kb")
    assert value["before"]["recall_at_10"] == pytest.approx(searched["recall_at_10"], abs=0.17)


def test_a_worse_model_is_found_to_be_worse_and_the_queries_are_named(plane: ControlPlane) -> None:
    value = plane.compare_golden("topics", "kb", "worse")
    assert value["verdict"] in ("worse", "not told apart")
    assert value["fell_most"]
    assert gates(plane, "worse")["compared by topics"] == "fail"


def test_a_comparison_goes_into_the_lineage(plane: ControlPlane) -> None:
    value = plane.compare_golden("topics", "kb", "better", k=5)
    (found,) = plane.lineage("better")["models"][0]["evaluations"]
    assert (found["golden"], found["metric"], found["against"]) == ("topics", "ndcg_at_5", "old")
    assert found["gain"] == value["gains"]["ndcg_at_5"]["mean"]


def test_a_model_is_not_compared_with_itself(plane: ControlPlane) -> None:
    with pytest.raises(BadArgument, match="the very vectors that serve kb"):
        plane.compare_golden("topics", "kb", "old")


def test_a_golden_set_about_other_documents_compares_nothing(plane: ControlPlane) -> None:
    plane.alias("kb").delete([f"doc{number:02}" for number in range(TOPICS)])
    plane.alias("kb").upsert([Document(id="other", text="d1")])
    with pytest.raises(BadArgument, match="no document that golden set topics judges"):
        plane.compare_golden("topics", "kb", "better")


def test_of_a_large_collection_the_judged_documents_and_some_others_are_taken(plane: ControlPlane) -> None:
    plane.alias("kb").upsert([Document(id=f"z{number:03}", text="noise") for number in range(100)])
    value = plane.compare_golden("topics", "kb", "better", documents=30)
    assert (value["documents"], value["of"]) == (30, TOPICS + 100)
    assert value["after"]["recall_at_10"] == 1.0


def test_a_document_that_the_new_model_refuses_counts_against_it(plane: ControlPlane, tmp_path: Path) -> None:
    (tmp_path / "picky.py").write_text(
        "import topics_of\n\n\n"
        "def embed(texts):\n"
        "    if 'd0' in texts:\n"
        "        raise ValueError('not this one')\n"
        "    return topics_of.embed(texts)\n"
    )
    options = {"function": "picky:embed", "name": "picky", "dimensions": 2 * TOPICS + 1}
    plane.add_model("picky", "callable", options)
    value = plane.compare_golden("topics", "kb", "picky")
    assert (value["documents"], value["refused"]) == (TOPICS, 1)
    # The old model finds that document first, of all that it cannot tell apart.
    assert value["fell_most"][0] == {"query": "q0", "before": 1.0, "after": 0.0}


def test_a_model_that_was_never_compared_is_not_promoted(plane: ControlPlane) -> None:
    assert gates(plane, "better") == {
        "recorded": "pass",
        "proven": "pass",
        "another space": "pass",
        "compared": "unknown",
        "no other migration": "pass",
    }
    with pytest.raises(GateFailed, match="promotion of better for kb is refused: 1 of 5 gates") as caught:
        plane.promote_model("better", "kb", reason="because")
    assert caught.value.hint == "undrift golden compare topics kb --model better"
    state = plane.ledger.alias(plane.alias("kb").name)
    assert state is not None
    assert state.migration is None


def test_every_gate_that_does_not_hold_is_listed(plane: ControlPlane) -> None:
    with pytest.raises(GateFailed) as caught:
        plane.promote_model("old", "kb", reason="because")
    detail = caught.value.detail
    for gate in ("recorded (unknown)", "proven (fail)", "another space (fail)", "compared (unknown)"):
        assert gate in detail


def test_a_better_model_is_promoted_and_who_and_why_are_kept(plane: ControlPlane) -> None:
    plane.compare_golden("topics", "kb", "better")
    planned = plane.promote_model("better", "kb", reason="people ask otherwise", author="ada", dry_run=True)

    value = plane.promote_model("better", "kb", reason="people ask otherwise", author="ada")

    assert planned.keys() == value.keys()
    assert value["replaces"] == "old"
    (told,) = plane.lineage("better")["models"][0]["promotions"]
    assert (told["author"], told["reason"], told["replaced"]) == ("ada", "people ask otherwise", "old")
    assert told["migration"] == value["migration"]
    state = plane.ledger.alias(plane.alias("kb").name)
    assert state is not None
    assert state.migration is not None
    assert (state.migration.id, state.migration.phase) == (value["migration"], Phase.REGISTERED)


def test_the_same_promotion_again_changes_nothing(plane: ControlPlane) -> None:
    plane.compare_golden("topics", "kb", "better")
    first = plane.promote_model("better", "kb", reason="because")
    assert plane.promote_model("better", "kb", reason="because")["migration"] == first["migration"]
    assert len(plane.lineage("better")["models"][0]["promotions"]) == 1


def test_nothing_is_promoted_past_a_migration_that_runs(plane: ControlPlane) -> None:
    plane.compare_golden("topics", "kb", "better")
    plane.register("kb", "worse")
    assert gates(plane, "better")["no other migration"] == "fail"


def test_a_set_on_which_any_model_was_compared_counts_for_every_model(plane: ControlPlane, tmp_path: Path) -> None:
    golden(plane, tmp_path, "hard", queries=10)
    plane.compare_golden("hard", "kb", "worse")
    plane.compare_golden("topics", "kb", "better")
    found = gates(plane, "better")
    assert (found["compared by hard"], found["compared by topics"]) == ("unknown", "pass")


def test_a_margin_has_to_be_asked_for(plane: ControlPlane, tmp_path: Path) -> None:
    # The same turn, by another number: another space with the same rankings.
    plane.register_model("same", str(head(plane, tmp_path, "same", 0.0)), Training())
    plane.compare_golden("topics", "kb", "same")
    assert gates(plane, "same")["compared by topics"] == "fail"
    assert gates(plane, "same", margin=0.01)["compared by topics"] == "pass"


def test_few_queries_show_nothing(plane: ControlPlane, tmp_path: Path) -> None:
    golden(plane, tmp_path, "topics", queries=5)
    plane.compare_golden("topics", "kb", "better")
    assert gates(plane, "better")["compared by topics"] == "fail"


def too_old(plane: ControlPlane, folder: Path, clock: VirtualClock) -> None:
    clock.advance((COMPARISON_VALID + timedelta(days=1)).total_seconds())


def judged_again(plane: ControlPlane, folder: Path, clock: VirtualClock) -> None:
    golden(plane, folder, "topics", queries=11)


def many_new_documents(plane: ControlPlane, folder: Path, clock: VirtualClock) -> None:
    plane.alias("kb").upsert([Document(id=f"new{number}", text="d3") for number in range(3)])


def another_model_serves(plane: ControlPlane, folder: Path, clock: VirtualClock) -> None:
    plane.register_model("other", str(head(plane, folder, "other", 1.0)), Training())
    plane.register("kb", "other")
    plane.work("kb", lambda migration: migration is not None and migration.phase is Phase.READY)
    plane.cutover("kb")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (too_old, "8 days old"),
        (judged_again, "golden set topics has changed since"),
        (many_new_documents, "there were 12 documents then, and there are 15"),
        (another_model_serves, "another model has served since"),
    ],
)
def test_a_comparison_of_another_state_is_stale(
    plane: ControlPlane, tmp_path: Path, clock: VirtualClock, change: Any, why: str
) -> None:
    plane.compare_golden("topics", "kb", "better")
    assert gates(plane, "better")["compared by topics"] == "pass"

    change(plane, tmp_path, clock)

    value = plane.promote_model("better", "kb", reason="because", dry_run=True)
    (gate,) = [one for one in value["gates"] if one["name"] == "compared by topics"]
    assert gate["verdict"] == "stale"
    assert why in gate["detail"]
    assert gate["hint"] == "undrift golden compare topics kb --model better"


def test_a_retired_model_is_not_promoted(plane: ControlPlane) -> None:
    plane.compare_golden("topics", "kb", "better")
    plane.retire_model("better", reason="a mistake")
    assert gates(plane, "better")["recorded"] == "fail"


@pytest.mark.parametrize(
    ("chosen", "message"),
    [({"reason": "  "}, "needs a reason"), ({"reason": "x", "margin": 1.0}, "not within 0 and 1")],
)
def test_a_promotion_says_why_and_a_margin_is_a_share(
    plane: ControlPlane, chosen: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadArgument, match=message):
        plane.promote_model("better", "kb", **chosen)
