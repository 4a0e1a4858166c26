"""A comparison finds every difference there is, none that is not, and heals what nobody asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.unit.migrate.scene import DOCUMENTS, Scene
from undrift import Document
from undrift.domain.gate import Verdict
from undrift.domain.migration import Phase
from undrift.domain.record import DocumentId, Record
from undrift.domain.route import VectorField
from undrift.errors import NoMigration
from undrift.migrate import compare
from undrift.migrate.sync import carry_dirty
from undrift.migrate.verify import verify
from undrift.testing.rig import ALIAS


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path).begin(Phase.READY)
    yield scene
    scene.rig.close()


def tamper(scene: Scene, place: VectorField, id: str, **changes: object) -> None:
    """Change a record in the store past everybody."""
    record = scene.rig.records(place)[id]
    scene.rig.memory.upsert(place, [replace(record, **changes)])  # type: ignore[arg-type]


def remove(scene: Scene, place: VectorField, *ids: str) -> None:
    scene.rig.memory.delete(place, [DocumentId(id) for id in ids])


def record_of(scene: Scene, place: VectorField, id: str) -> Record:
    return scene.rig.records(place)[id]


def dirty(scene: Scene) -> set[str]:
    state = scene.ledger.journal_state(ALIAS, [DocumentId(document.id) for document in DOCUMENTS])
    return {key for key, (is_dirty, _) in state.items() if is_dirty}


def test_equal_fields_are_equal(scene: Scene) -> None:
    report = verify(scene.workshop)

    assert report.verdict is Verdict.PASS
    assert (report.compared, report.missing, report.extra, report.mismatched, report.requeued) == (12, 0, 0, 0, 0)
    assert report.sampled == 12
    assert report.sample_min_cosine == pytest.approx(1.0)
    assert report.epoch == scene.rig.route().epoch
    assert scene.ledger.verification(ALIAS) == report
    assert scene.lag().dirty == 0


def test_every_kind_of_difference_is_found_and_heals(scene: Scene) -> None:
    source, target = scene.migration.source, scene.migration.target
    remove(scene, target, "d00")
    remove(scene, source, "d01")
    tamper(scene, target, "d02", tag=record_of(scene, target, "d03").tag)
    tamper(scene, target, "d04", metadata={"number": "four"})
    tamper(scene, target, "d05", tag=record_of(scene, source, "d05").tag)

    report = verify(scene.workshop)

    assert report.verdict is Verdict.FAIL
    assert (report.missing, report.extra, report.mismatched) == (1, 1, 3)
    assert {(one["kind"], one["id"]) for one in report.samples} == {
        ("missing", "d00"),
        ("extra", "d01"),
        ("stale_text", "d02"),
        ("stale_metadata", "d04"),
        ("wrong_space", "d05"),
    }
    assert dirty(scene) == {"d00", "d01", "d02", "d04", "d05"}
    scene.carry()
    assert verify(scene.workshop).verdict is Verdict.PASS
    assert scene.source() == scene.target()
    assert not scene.rig.mistakes(target)


def test_at_most_ten_of_each_kind_are_shown(scene: Scene) -> None:
    remove(scene, scene.migration.target, *(document.id for document in DOCUMENTS))

    report = verify(scene.workshop)

    assert report.missing == 12
    assert len(report.samples) == 10


def test_fields_are_compared_page_by_page(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "PAGE", 5)
    remove(scene, scene.migration.target, "d04", "d05", "d11")
    remove(scene, scene.migration.source, "d00")
    seen: list[int] = []

    report = verify(scene.workshop, on_progress=lambda progress: seen.append(progress.done))

    assert (report.compared, report.missing, report.extra) == (12, 3, 1)
    assert seen == [6, 11, 12]


def test_what_is_written_meanwhile_is_looked_at_again_after_it_was_carried(scene: Scene) -> None:
    """A writer at work is no difference."""
    scene.when("store.scan", lambda: scene.write(replace(DOCUMENTS[3], text="newer")))

    report = verify(scene.workshop, carry=lambda: carry_dirty(scene.workshop))

    assert report.verdict is Verdict.PASS
    assert report.requeued == 1


def test_what_is_written_meanwhile_and_never_carried_is_told(scene: Scene) -> None:
    scene.when("store.scan", lambda: scene.write(replace(DOCUMENTS[3], text="newer")))

    report = verify(scene.workshop)

    assert (report.verdict, report.mismatched) == (Verdict.FAIL, 1)


def test_what_is_written_all_the_time_is_left_to_the_journal(scene: Scene) -> None:
    """Nothing is wrong with it: the document is dirty, and will be carried. Otherwise no verification would pass."""
    scene.when("store.scan", lambda: scene.write(replace(DOCUMENTS[3], text="newer")))
    written = 0

    def write_again() -> int:
        nonlocal written
        written += 1
        carry_dirty(scene.workshop)
        scene.write(replace(DOCUMENTS[3], text=f"newer by {written}"))
        return 0

    report = verify(scene.workshop, carry=write_again)

    assert written > 5
    assert (report.verdict, report.requeued, dirty(scene)) == (Verdict.PASS, 1, {"d03"})


def test_documents_in_quarantine_are_missing_for_a_reason(scene: Scene) -> None:
    remove(scene, scene.migration.target, "d00", "d01")
    scene.ledger.quarantine(ALIAS, {DocumentId("d00"): ("blank_text", "")})

    report = verify(scene.workshop)

    assert (report.missing, report.explained) == (1, 1)
    assert dirty(scene) == {"d01"}


def test_after_a_cutover_a_document_that_only_the_source_has_is_never_deleted_from_it(tmp_path: Path) -> None:
    """It may be the only copy: nobody journaled its deletion."""
    scene = Scene(tmp_path).begin(Phase.REVERSING)
    remove(scene, scene.migration.target, "d00")

    report = verify(scene.workshop)
    scene.carry()

    assert (report.verdict, report.extra) == (Verdict.FAIL, 1)
    assert dirty(scene) == set()
    assert "d00" in scene.source()
    scene.rig.close()


def test_after_a_cutover_documents_in_quarantine_are_in_the_source_for_a_reason(tmp_path: Path) -> None:
    """They were accepted as missing in the target."""
    scene = Scene(tmp_path).begin(Phase.REVERSING)
    remove(scene, scene.migration.target, "d00")
    scene.ledger.quarantine(ALIAS, {DocumentId("d00"): ("blank_text", "")})

    report = verify(scene.workshop)

    assert (report.verdict, report.extra, report.explained) == (Verdict.PASS, 0, 1)
    scene.rig.close()


def test_after_a_rollback_an_extra_document_is_deleted_from_the_target(tmp_path: Path) -> None:
    scene = Scene(tmp_path).begin(Phase.ROLLED_BACK)
    remove(scene, scene.migration.source, "d00")

    verify(scene.workshop)
    scene.carry()

    assert "d00" not in scene.target()
    scene.rig.close()


def test_vectors_that_are_not_what_the_model_gives_are_noticed(scene: Scene) -> None:
    """Tags and hashes say nothing about a vector that was made by another model."""
    place = scene.migration.target
    other = record_of(scene, place, "d07").vector
    tamper(scene, place, "d03", vector=other)

    report = verify(scene.workshop)

    assert not report.is_faithful
    assert report.verdict is Verdict.FAIL
    assert report.sample_min_cosine == pytest.approx(
        float(np.dot(other, scene.rig.vector(place.space, DOCUMENTS[3].text))), abs=1e-5
    )


def test_a_sample_is_chosen_evenly_and_the_same_again(scene: Scene) -> None:
    many = [Document(id=f"m{number:03d}", text=f"many {number}") for number in range(60)]
    scene.write(*many)
    scene.carry()
    scene.calls().clear()

    reports = [verify(scene.workshop, sample=5) for _ in range(2)]

    assert [report.sampled for report in reports] == [5, 5]
    assert verify(scene.workshop, sample=0).sampled == 0
    assert verify(scene.workshop, sample=0).verdict is Verdict.PASS


def test_without_a_follower_there_is_nothing_to_compare(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    with pytest.raises(NoMigration):
        verify(scene.workshop)
    scene.rig.close()


def test_empty_fields_are_equal(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.app.alias.delete([document.id for document in DOCUMENTS])
    scene.begin(Phase.READY)

    report = verify(scene.workshop)

    assert (report.verdict, report.compared, report.sample_min_cosine) == (Verdict.PASS, 0, None)
    scene.rig.close()
