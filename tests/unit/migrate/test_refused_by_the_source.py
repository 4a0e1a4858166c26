"""What was written after a cutover, and the source does not take, is never lost: a rollback says so first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest

from tests.unit.migrate.scene import DOCUMENTS, Scene
from undrift import Document
from undrift.domain.gate import Verdict
from undrift.domain.migration import Phase
from undrift.domain.record import DocumentId, Record
from undrift.domain.route import VectorField
from undrift.errors import GateFailed, StoreRejected
from undrift.migrate.gates import cancellation_gates, rollback_ready
from undrift.migrate.reconcile import reconcile
from undrift.migrate.verify import verify
from undrift.testing.rig import ALIAS

NEW = Document(id="new", text="a telephone")
CHANGED = replace(DOCUMENTS[0], text="another telephone")


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """After a cutover, two documents were written that the source takes neither of."""
    scene = Scene(tmp_path).begin(Phase.REVERSING)
    inner, source = scene.rig.memory.upsert, scene.migration.source

    def rejecting(field: VectorField, records: Sequence[Record]) -> None:
        if field == source and any("telephone" in record.text for record in records):
            raise StoreRejected("nothing about telephones")
        inner(field, records)

    with patch.object(scene.rig.memory, "upsert", rejecting):
        scene.write(CHANGED)
        scene.carry()
        scene.write(NEW)
        scene.carry()
        yield scene
    scene.rig.close()


def rolled_back_at_once(scene: Scene) -> Scene:
    scene.operator.plane.rollback(ALIAS, now=True)
    scene.rig.clock.sleep(2)
    return scene


def test_a_rollback_that_would_take_them_away_is_refused_by_name(scene: Scene) -> None:
    assert not rollback_ready(scene.workshop, scene.migration)
    with pytest.raises(
        GateFailed, match=r"quarantine .*d00 \(rejected_by_store\), new \(rejected_by_store\)"
    ) as refused:
        scene.operator.plane.rollback(ALIAS)
    assert "undrift rollback kb --now" in refused.value.hint
    assert scene.migration.phase is Phase.REVERSING

    scene.app.alias.delete([NEW.id])
    scene.write(replace(CHANGED, text="mended"))
    scene.carry()
    assert rollback_ready(scene.workshop, scene.migration)
    assert scene.operator.plane.rollback(ALIAS)["phase"] == "rolled_back"
    scene.rig.clock.sleep(2)
    assert [document.text for document in scene.app.alias.get([CHANGED.id, NEW.id])] == ["mended"]


def test_after_a_rollback_at_once_no_comparison_deletes_them(scene: Scene) -> None:
    rolled_back_at_once(scene)

    report = verify(scene.workshop)
    assert (report.extra, report.explained) == (0, 2)
    assert [reconcile(scene.workshop).foreign for _ in range(2)] == [0, 0]
    scene.carry()
    assert {scene.target()[id] for id in (CHANGED.id, NEW.id)} == {CHANGED.text, NEW.text}

    scene.operator.plane.cutover(ALIAS, accept_quarantine=True)
    scene.rig.clock.sleep(2)
    assert scene.app.alias.get([CHANGED.id, NEW.id]) == [CHANGED, NEW]


@pytest.mark.parametrize("drop", [True, False], ids=["dropped", "kept"])
def test_a_cancellation_that_would_lose_them_is_refused(scene: Scene, drop: bool) -> None:
    rolled_back_at_once(scene)

    with pytest.raises(GateFailed, match=r"cancellation of kb is refused"):
        scene.operator.plane.cancel(ALIAS, drop=drop)
    assert scene.migration.phase is Phase.ROLLED_BACK

    scene.app.alias.delete([CHANGED.id, NEW.id])
    scene.carry()
    assert scene.ledger.quarantined(ALIAS, only=[DocumentId(NEW.id)]) == []
    assert scene.operator.plane.cancel(ALIAS, drop=drop)["phase"] == "aborted"


def test_a_cancellation_waits_for_what_may_yet_be_refused(scene: Scene) -> None:
    rolled_back_at_once(scene)
    scene.app.alias.delete([CHANGED.id, NEW.id])
    scene.carry()
    assert not [gate for gate in cancellation_gates(scene.workshop) if gate.verdict is not Verdict.PASS]

    scene.ledger.mark(scene.workshop.alias, [DocumentId("d01")], source=scene.migration.target.key)
    (closed,) = (gate for gate in cancellation_gates(scene.workshop) if gate.verdict is not Verdict.PASS)
    assert (closed.name, closed.detail) == ("settled", "1 document with the truth in the target")


def test_what_was_not_all_looked_at_is_not_taken_for_carried_back(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    rolled_back_at_once(scene)
    for id in (CHANGED.id, NEW.id):
        scene.rig.memory.delete(scene.migration.target, [DocumentId(id)])
    assert cancellation_gates(scene.workshop)[-1].verdict is Verdict.PASS

    monkeypatch.setattr("undrift.migrate.gates._HELD_AT_MOST", 2)
    assert "not all were looked at" in cancellation_gates(scene.workshop)[-1].detail
