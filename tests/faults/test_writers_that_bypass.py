"""Whoever writes past undrift is found, nothing of it is lost in silence, and no traffic moves before it is settled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlite_vec")

from tests.faults.stranger import Stranger
from tests.unit.migrate.scene import DOCUMENTS, Scene
from undrift import Document
from undrift.config import AliasSettings
from undrift.domain.gate import Gate, Verdict
from undrift.domain.migration import Phase
from undrift.domain.reconcile import FOREIGN_WRITE
from undrift.domain.record import DocumentId
from undrift.domain.route import VectorField
from undrift.errors import BadArgument, GateFailed, IllegalTransition
from undrift.migrate import compare
from undrift.migrate.gates import standing_gates
from undrift.migrate.reconcile import reconcile, record_of
from undrift.testing.faults import Killed
from undrift.testing.rig import ALIAS, Layout

#: What a stranger can do to a document, and the kind as which a scan reports it.
CHANGES: dict[str, tuple[Callable[[Stranger], None], str]] = {
    "inserted": (lambda stranger: stranger.insert("new", "a text of a stranger"), "missing"),
    "deleted": (lambda stranger: stranger.delete("d03"), "extra"),
    "text changed": (lambda stranger: stranger.change_text("d03", "another text"), "stale_text"),
    "metadata changed": (lambda stranger: stranger.change_metadata("d03", {"number": 99}), "stale_metadata"),
    "tag stripped": (lambda stranger: stranger.strip_tag("d03"), "untagged"),
}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path, layout=Layout.TWO_FILES)
    yield made
    made.rig.close()


def stranger_of(scene: Scene, place: VectorField) -> Stranger:
    return Stranger(scene.rig.store().database.path, place.collection)  # type: ignore[attr-defined]


def dirty(scene: Scene) -> set[str]:
    ids = [DocumentId(id) for id in (*(document.id for document in DOCUMENTS), "new", "n1", "n2")]
    return {key for key, (is_dirty, _) in scene.ledger.journal_state(ALIAS, ids).items() if is_dirty}


def gate(scene: Scene) -> Gate:
    return next(one for one in standing_gates(scene.workshop) if one.name == "reconciled")


def both(scene: Scene) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what each field has: texts and metadata by id."""
    source, target = (
        {id: (record.text, dict(record.metadata)) for id, record in scene.rig.records(place).items()}
        for place in (scene.migration.source, scene.migration.target)
    )
    return source, target


# Before the cutover


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_stranger_did_to_the_serving_field_is_marked_carried_and_told(scene: Scene, change: str) -> None:
    """The scan itself writes nothing; the second one finds nothing more, and opens the gate."""
    scene.begin(Phase.READY)
    act, kind = CHANGES[change]
    act(stranger_of(scene, scene.migration.source))
    before = both(scene)

    report = reconcile(scene.workshop)

    assert (report.foreign, report.kinds, report.held) == (1, {kind: 1}, 0)
    assert both(scene) == before
    assert dirty(scene) == {report.samples[0]["id"]}
    assert gate(scene).verdict is Verdict.FAIL
    scene.carry()
    assert both(scene)[0] == both(scene)[1] == before[0]
    assert scene.rig.mistakes(scene.migration.target) == []
    assert reconcile(scene.workshop).foreign == 0
    assert gate(scene).verdict is Verdict.PASS
    assert scene.operator.plane.verify(ALIAS)["verdict"] == "pass"
    assert scene.operator.plane.cutover(ALIAS)["phase"] == "reversing"


@pytest.mark.parametrize("change", ["inserted", "text changed", "tag stripped"])
def test_a_scan_embeds_nothing_and_what_it_marks_only_if_its_text_is_new(scene: Scene, change: str) -> None:
    scene.begin(Phase.READY)
    CHANGES[change][0](stranger_of(scene, scene.migration.source))
    scene.operator.plane.workshop(ALIAS).door_of(scene.migration.target.space)
    scene.operator.faults.calls.clear()

    scene.operator.plane.reconcile(ALIAS)

    assert scene.operator.faults.calls.count("model.embed_documents") == (change != "tag stripped")


@pytest.mark.parametrize("change", ["deleted", "text changed", "metadata changed", "tag stripped", "inserted"])
def test_what_a_stranger_did_to_the_follower_before_the_cutover_is_undone(scene: Scene, change: str) -> None:
    """The serving field is the authority, and nobody reads the other one yet."""
    scene.begin(Phase.READY)
    before = both(scene)[0]
    CHANGES[change][0](stranger_of(scene, scene.migration.target))

    assert scene.operator.plane.reconcile(ALIAS)["verdict"] == "pass"

    assert both(scene) == (before, before)
    assert scene.rig.mistakes(scene.migration.target) == []


def test_an_overwritten_vector_is_found_by_the_sample_of_a_verification(scene: Scene) -> None:
    """A scan reads texts and tags; of vectors only the model can tell."""
    scene.begin(Phase.READY)
    stranger_of(scene, scene.migration.target).overwrite_vector("d03")

    assert reconcile(scene.workshop).is_clean
    found = scene.operator.plane.verify(ALIAS)

    assert (found["verdict"], found["mismatched"]) == ("fail", 0)
    assert found["sample_min_cosine"] < 0.999


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_stranger_does_during_the_back_fill_is_found_before_a_cutover(scene: Scene, change: str) -> None:
    """In a part that is carried over already, so that only a comparison can find it."""
    scene.begin(Phase.BACKFILL)
    worker = scene.worker.worker()
    while "d03" not in scene.target():
        worker.tick()
    CHANGES[change][0](stranger_of(scene, scene.migration.source))
    truth = both(scene)[0]
    scene.worker.work_to(Phase.READY)

    assert scene.operator.plane.reconcile(ALIAS)["verdict"] == "pass"

    assert both(scene) == (truth, truth)
    assert scene.operator.plane.verify(ALIAS)["verdict"] == "pass"
    assert scene.operator.plane.cutover(ALIAS)["phase"] == "reversing"


def test_records_that_are_read_anyway_close_the_gate(scene: Scene) -> None:
    """The back-fill sees that a text is not the one of its tag."""
    scene.begin(Phase.BACKFILL)
    stranger_of(scene, scene.migration.source).change_text("d09", "another text")

    scene.worker.work_to(Phase.READY)

    assert "such as d09, as the back-fill saw" in gate(scene).detail
    with pytest.raises(GateFailed, match="cutover of kb is refused") as refused:
        scene.operator.plane.cutover(ALIAS)
    assert refused.value.hint == "undrift reconcile kb"
    assert scene.rig.records(scene.migration.target)["d09"].text == "another text"


def test_a_verification_that_meets_a_strangers_record_closes_the_gate(scene: Scene) -> None:
    scene.begin(Phase.READY)
    stranger_of(scene, scene.migration.source).strip_tag("d05")

    found = scene.operator.plane.verify(ALIAS)

    assert (found["verdict"], found["bypassed"]) == ("pass", 1)
    assert "such as d05, as a verification saw" in gate(scene).detail


def test_a_worker_that_carries_a_strangers_record_closes_the_gate(scene: Scene) -> None:
    scene.begin(Phase.READY)
    stranger_of(scene, scene.migration.source).change_text("d05", "another text")
    scene.app.alias.update_metadata("d05", {"lang": "en"})

    scene.carry()

    assert "such as d05, as a worker saw" in gate(scene).detail
    assert both(scene)[0]["d05"] == both(scene)[1]["d05"]


def test_a_closed_gate_names_counts_samples_and_the_time(scene: Scene) -> None:
    scene.begin(Phase.READY)
    began = scene.migration.started
    stranger = stranger_of(scene, scene.migration.source)
    for document in DOCUMENTS:
        stranger.change_text(document.id, f"another {document.id}")
    scene.rig.clock.sleep(120)

    report = scene.operator.plane.reconcile(ALIAS, scans=1)["scans"][0]

    assert (report["foreign"], len(report["samples"]), report["verdict"]) == (12, 10, "fail")
    assert report["window"]["from"] == began.isoformat()
    assert report["window"]["per_minute"] == pytest.approx(
        12 * 60 / (scene.rig.clock.now() - began).total_seconds(), 0.1
    )
    detail = gate(scene).detail
    assert "12 foreign changes (12 stale_text)" in detail
    assert f"between {began:%Y-%m-%d %H:%M:%S} and " in detail
    assert detail.count("d0") >= 10


def test_a_stranger_at_work_keeps_the_gate_closed(scene: Scene) -> None:
    scene.begin(Phase.READY)
    stranger = stranger_of(scene, scene.migration.source)
    for number in range(3):
        stranger.change_text("d03", f"text {number} of a stranger")
        found = scene.operator.plane.reconcile(ALIAS, scans=1)
        assert (found["verdict"], found["scans"][0]["foreign"]) == ("fail", 1)

    assert scene.operator.plane.reconcile(ALIAS)["verdict"] == "pass"


def test_two_scans_are_needed_and_may_be_demanded_always(scene: Scene) -> None:
    scene.begin(Phase.READY)
    assert gate(scene).verdict is Verdict.PASS
    workshop = replace(scene.workshop, always_reconcile=True)
    closed = [next(one for one in standing_gates(workshop) if one.name == "reconciled").verdict]
    for _ in range(2):
        reconcile(workshop)
        closed.append(next(one for one in standing_gates(workshop) if one.name == "reconciled").verdict)
    scene.rig.clock.advance(25 * 3600)
    closed.append(next(one for one in standing_gates(workshop) if one.name == "reconciled").verdict)

    assert closed == [Verdict.FAIL, Verdict.FAIL, Verdict.PASS, Verdict.STALE]


def test_the_demand_is_read_from_the_configuration(scene: Scene) -> None:
    plane = scene.operator.plane
    settings = plane.config.settings
    assert AliasSettings(store="main", model="old").reconcile == "suspected"
    always = settings.aliases[ALIAS].model_copy(update={"reconcile": "always"})
    object.__setattr__(plane.config, "settings", settings.model_copy(update={"aliases": {ALIAS: always}}))

    assert plane.workshop(ALIAS).always_reconcile


def test_a_suspicion_between_two_scans_wants_two_more(scene: Scene) -> None:
    """The first of them came before whatever happened."""
    scene.begin(Phase.READY)
    reconcile(scene.workshop)
    scene.ledger.require_reconcile(ALIAS, "it was restored from a backup", sequence=0)

    reconcile(scene.workshop)
    assert gate(scene).verdict is Verdict.FAIL
    reconcile(scene.workshop)
    assert gate(scene).verdict is Verdict.PASS


def test_documents_that_are_being_written_are_no_foreign_ones(scene: Scene) -> None:
    scene.begin(Phase.READY)
    scene.when("store.scan", lambda: scene.write(replace(DOCUMENTS[3], text="newer"), Document(id="n1", text="new")))

    report = reconcile(scene.workshop)

    assert (report.foreign, report.requeued) == (0, 2)


def test_a_scan_is_refused_before_everything_is_carried_over(scene: Scene) -> None:
    """It would take everything for deleted."""
    scene.begin(Phase.BACKFILL)

    with pytest.raises(IllegalTransition, match="too early to reconcile"):
        scene.operator.plane.reconcile(ALIAS)
    assert scene.lag().dirty == 0


# An interruption, the load, the memory


def test_a_scan_that_is_killed_goes_on_where_it_stopped(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the first part found is kept; of the fields no more than a page is read twice."""
    monkeypatch.setattr(compare, "PAGE", 3)
    scene.begin(Phase.READY)
    stranger = stranger_of(scene, scene.migration.source)
    stranger.change_text("d01", "another text")
    stranger.change_text("d10", "another text")
    scene.when("store.scan", scene.worker.faults.kill, nth=5)
    with pytest.raises(Killed):
        reconcile(scene.workshop)
    other = scene.operator.plane.workshop(ALIAS)
    scene.operator.faults.calls.clear()

    report = reconcile(other)

    assert (report.compared, report.foreign, report.resumed) == (12, 2, 1)
    assert [sample["id"] for sample in report.samples] == ["d01", "d10"]
    # Two pages were done: two are left, and the end, each read of both fields.
    assert scene.operator.faults.calls.count("store.scan") == 6


def test_a_scan_of_another_route_begins_anew(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "PAGE", 3)
    scene.begin(Phase.READY)
    scene.when("store.scan", scene.worker.faults.kill, nth=5)
    with pytest.raises(Killed):
        reconcile(scene.workshop)
    scene.rig.kill(scene.worker)
    scene.operator.plane.cutover(ALIAS)

    report = reconcile(scene.operator.plane.workshop(ALIAS))

    assert (report.compared, report.resumed) == (12, 0)


def test_a_scan_reads_no_more_in_a_second_than_it_may(scene: Scene) -> None:
    """And forecasts by the pace that it really has."""
    scene.begin(Phase.READY)
    began = scene.rig.clock.monotonic()
    seen: list[tuple[int, int, float | None]] = []

    reconcile(scene.workshop, rate=2, on_progress=lambda one: seen.append((one.done, one.total, one.eta_s)))

    assert scene.rig.clock.monotonic() - began >= 12 / 2
    assert [(done, total) for done, total, _ in seen[:6]] == [(2 * n, 12) for n in range(1, 7)]
    assert [eta for _, _, eta in seen[:6]] == pytest.approx([5, 4, 3, 2, 1, 0])


def test_however_much_differs_it_is_marked_page_by_page(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that grows with the collection is kept until the end."""
    monkeypatch.setattr(compare, "PAGE", 3)
    scene.begin(Phase.READY)
    stranger = stranger_of(scene, scene.migration.source)
    for document in DOCUMENTS:
        stranger.change_text(document.id, f"another {document.id}")
    scene.calls().clear()

    report = reconcile(scene.workshop)

    assert report.foreign == 12
    assert scene.calls().count("ledger.mark") == 4
    assert len(report.samples) == 10


# After the cutover


@pytest.fixture
def reversing(scene: Scene) -> Scene:
    return scene.begin(Phase.REVERSING)


@pytest.mark.parametrize("change", CHANGES)
def test_after_a_cutover_the_serving_field_is_still_the_authority(reversing: Scene, change: str) -> None:
    """What a stranger writes to the field that serves now flows to the old one, except where the old one has more."""
    before = both(reversing)[0]
    CHANGES[change][0](stranger_of(reversing, reversing.migration.target))
    truth = both(reversing)[1]

    found = reversing.operator.plane.reconcile(ALIAS)

    assert both(reversing)[1] == truth
    if change in ("deleted", "metadata changed"):
        # In which of the two fields a stranger was at work cannot be seen, so the old one keeps what it has.
        assert (found["held"], both(reversing)[0]) == (1, before)
        assert reversing.quarantined() == {"d03": FOREIGN_WRITE}
    else:
        assert (found["held"], both(reversing)[0]) == (0, truth)


@pytest.mark.parametrize("change", ["inserted", "text changed", "metadata changed"])
def test_a_write_to_the_old_field_is_set_aside_told_and_left_as_it_is(reversing: Scene, change: str) -> None:
    CHANGES[change][0](stranger_of(reversing, reversing.migration.source))
    before = both(reversing)
    id = "new" if change == "inserted" else "d03"

    found = reversing.operator.plane.reconcile(ALIAS)
    verified = reversing.operator.plane.verify(ALIAS)
    reversing.carry()

    assert (found["verdict"], found["held"]) == ("fail", 1)
    assert both(reversing) == before
    assert reversing.quarantined() == {id: FOREIGN_WRITE}
    assert dirty(reversing) == set()
    assert verified["compared"] == len({*before[0], *before[1]})
    assert found["next_steps"] == ["undrift adopt kb --all", "undrift delete kb ID"]
    # The alarm stands, and the only copy is not dropped.
    assert reversing.operator.plane.reconcile(ALIAS)["verdict"] == "fail"
    with pytest.raises(GateFailed, match="completion"):
        reversing.operator.plane.complete(ALIAS)


@pytest.mark.parametrize("change", ["inserted", "text changed", "metadata changed"])
def test_adopted_documents_flow_to_the_serving_field(reversing: Scene, change: str) -> None:
    CHANGES[change][0](stranger_of(reversing, reversing.migration.source))
    truth = both(reversing)[0]
    reversing.operator.plane.reconcile(ALIAS)
    id = "new" if change == "inserted" else "d03"

    adopted = reversing.operator.plane.adopt(ALIAS, [id])

    assert (adopted["adopted"], adopted["left"]) == ([id], [])
    assert both(reversing)[1] == truth
    assert reversing.rig.mistakes(reversing.migration.target) == []
    assert reversing.operator.plane.reconcile(ALIAS, scans=3)["verdict"] == "pass"
    assert both(reversing) == (truth, truth)
    assert reversing.quarantined() == {}
    assert reversing.operator.plane.complete(ALIAS)["phase"] == "done"


def test_whoever_was_at_work_before_the_cutover_is_looked_for_before_the_old_field_is_dropped(scene: Scene) -> None:
    """Scans of before the flip say nothing about what came after it."""
    scene.begin(Phase.READY)
    stranger_of(scene, scene.migration.source).change_text("d03", "another text")
    assert scene.operator.plane.reconcile(ALIAS)["verdict"] == "pass"
    scene.operator.plane.cutover(ALIAS)
    scene.rig.clock.sleep(2)

    with pytest.raises(GateFailed, match="completion") as refused:
        scene.operator.plane.complete(ALIAS)

    assert (refused.value.hint, "reconciled (fail)" in refused.value.detail) == ("undrift reconcile kb", True)
    assert scene.operator.plane.reconcile(ALIAS, scans=3)["verdict"] == "pass"
    assert scene.operator.plane.complete(ALIAS)["phase"] == "done"


def test_a_deletion_in_the_old_field_is_no_loss_and_is_undone(reversing: Scene) -> None:
    truth = both(reversing)[1]
    stranger_of(reversing, reversing.migration.source).delete("d03")

    assert reversing.operator.plane.reconcile(ALIAS)["verdict"] == "pass"
    assert both(reversing) == (truth, truth)


def test_a_write_through_undrift_decides_about_what_was_set_aside(reversing: Scene) -> None:
    """It is the latest word on that document."""
    stranger = stranger_of(reversing, reversing.migration.source)
    stranger.insert("new", "only here")
    stranger.change_text("d03", "changed here")
    reversing.operator.plane.reconcile(ALIAS)
    assert set(reversing.quarantined()) == {"new", "d03"}

    reversing.app.alias.delete(["new"])
    reversing.write(replace(DOCUMENTS[3], text="decided"))
    reversing.carry()

    assert reversing.quarantined() == {}
    assert both(reversing)[0] == both(reversing)[1]
    assert both(reversing)[0]["d03"][0] == "decided"
    assert "new" not in both(reversing)[0]


def test_a_write_to_the_old_field_is_not_replaced_in_silence(reversing: Scene) -> None:
    """A later write through undrift wins, and it is told that there was another."""
    stranger_of(reversing, reversing.migration.source).change_text("d03", "changed here")

    reversing.write(replace(DOCUMENTS[3], text="later"))
    reversing.carry()

    assert both(reversing)[0]["d03"][0] == "later"
    status = reversing.operator.plane.status(ALIAS)
    assert "such as that of d03" in status["reconciliation"]["needed"]
    with pytest.raises(GateFailed, match="completion"):
        reversing.operator.plane.complete(ALIAS)


def test_a_stranger_who_takes_it_back_ends_the_quarantine(reversing: Scene) -> None:
    stranger = stranger_of(reversing, reversing.migration.source)
    stranger.insert("new", "only here")
    reversing.operator.plane.reconcile(ALIAS)
    stranger.delete("new")

    found = reversing.operator.plane.reconcile(ALIAS)

    assert (found["verdict"], reversing.quarantined()) == ("pass", {})


def test_after_a_rollback_what_was_set_aside_is_carried_like_everything_else(reversing: Scene) -> None:
    """The old field serves again, so what it has is the truth."""
    stranger_of(reversing, reversing.migration.source).insert("new", "only here")
    reversing.operator.plane.reconcile(ALIAS)
    reversing.operator.plane.rollback(ALIAS)
    truth = both(reversing)[0]

    assert reversing.operator.plane.reconcile(ALIAS, scans=3)["verdict"] == "pass"

    assert both(reversing) == (truth, truth)
    assert "new" in truth
    assert reversing.quarantined() == {}


def test_only_what_was_set_aside_for_it_can_be_adopted(reversing: Scene) -> None:
    reversing.ledger.quarantine(ALIAS, {DocumentId("d01"): ("blank_text", "")})

    for id in ("d01", "d02"):
        with pytest.raises(BadArgument, match=f"document {id} of kb is not set aside"):
            reversing.operator.plane.adopt(ALIAS, [id])
    assert reversing.operator.plane.adopt(ALIAS)["adopted"] == []


def test_before_a_cutover_there_is_nothing_to_adopt(scene: Scene) -> None:
    scene.begin(Phase.READY)

    with pytest.raises(IllegalTransition, match="only after a cutover"):
        scene.operator.plane.adopt(ALIAS, ["d03"])


def test_what_is_known_of_strangers_is_shown_in_the_status(scene: Scene) -> None:
    scene.begin(Phase.READY)
    assert scene.operator.plane.status(ALIAS)["reconciliation"] == {
        "needed": "",
        "foreign": 0,
        "held": 0,
        "settled": False,
        "last_scan": None,
    }
    stranger_of(scene, scene.migration.source).delete("d03")
    scene.operator.plane.reconcile(ALIAS)

    shown = scene.operator.plane.status(ALIAS)["reconciliation"]

    assert (shown["needed"], shown["foreign"], shown["settled"]) == ("", 1, True)
    assert shown["last_scan"] == record_of(scene.workshop).reports[-1].finished.isoformat()


def test_killed_after_marking_a_scan_that_goes_on_counts_a_document_again_at_most(scene: Scene) -> None:
    """Marks come before the bookmark: what is marked twice is carried once more, and nothing is missed."""
    scene.begin(Phase.READY)
    stranger_of(scene, scene.migration.source).change_text("d03", "another text")
    scene.when("ledger.save_bookmark", scene.worker.faults.kill, nth=2)
    with pytest.raises(Killed):
        reconcile(scene.workshop)
    assert dirty(scene) == {"d03"}
    gates = standing_gates(scene.operator.plane.workshop(ALIAS))
    assert next(one for one in gates if one.name == "reconciled").verdict is Verdict.FAIL

    found = scene.operator.plane.reconcile(ALIAS)

    assert found["verdict"] == "pass"
    assert both(scene)[0] == both(scene)[1]


def test_a_program_that_keeps_no_tags_but_journals_is_no_stranger(scene: Scene) -> None:
    """Its writes are known, so nothing is suspected by a worker, a verification or a scan."""
    scene.begin(Phase.READY)
    client = stranger_of(scene, scene.migration.source)
    with scene.app.alias.journal(["n1", "d03"]):
        client.insert("n1", "without a tag")
        client.change_text("d03", "without a tag")
        client.strip_tag("d03")
    scene.carry()

    assert scene.operator.plane.verify(ALIAS)["verdict"] == "pass"
    assert reconcile(scene.workshop).is_clean
    assert gate(scene).verdict is Verdict.PASS
    assert both(scene)[0] == both(scene)[1]
