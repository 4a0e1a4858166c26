"""Traffic moves when every condition holds; each is looked at, and all that do not hold are told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.unit.migrate.scene import DOCUMENTS, Scene
from undrift.domain.gate import Gate, Verdict
from undrift.domain.migration import Phase
from undrift.domain.plan import MAX_DIRTY_AT_CUTOVER
from undrift.domain.record import DocumentId
from undrift.errors import EmbedderUnavailable, GateFailed, StoreRejected, StoreUnavailable
from undrift.migrate.gates import (
    MAX_LAG_S,
    PROBE_ID,
    VERIFICATION_VALID,
    completion_gates,
    cutover_gates,
    rollback_gates,
    rollback_ready,
    standing_gates,
)
from undrift.migrate.reconcile import reconcile
from undrift.migrate.verify import verify
from undrift.testing.rig import ALIAS, documents


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path).begin(Phase.READY)
    yield scene
    scene.rig.close()


@pytest.fixture
def cut_over(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path).begin(Phase.REVERSING)
    yield scene
    scene.rig.close()


def closed(gates: list[Gate]) -> dict[str, Verdict]:
    return {gate.name: gate.verdict for gate in gates if gate.verdict is not Verdict.PASS}


def gate(gates: list[Gate], name: str) -> Gate:
    (found,) = (gate for gate in gates if gate.name == name)
    return found


def test_when_all_is_well_every_gate_of_a_cutover_is_open(scene: Scene) -> None:
    gates = cutover_gates(scene.workshop)

    assert closed(gates) == {}
    assert [one.name for one in gates] == [
        *("complete", "lag", "verified", "quarantine", "acknowledged", "reconciled", "rollback")
    ]
    assert all(one.detail for one in gates)


@pytest.mark.parametrize("phase", [Phase.BACKFILL, Phase.CATCHUP])
def test_a_migration_that_is_not_ready_is_not_complete(tmp_path: Path, phase: Phase) -> None:
    scene = Scene(tmp_path).begin(phase)

    assert closed(standing_gates(scene.workshop)) == {"complete": Verdict.FAIL, "verified": Verdict.UNKNOWN}
    scene.rig.close()


def test_too_many_dirty_documents_close_the_gate(scene: Scene) -> None:
    scene.write(*documents(*(f"text {n}" for n in range(MAX_DIRTY_AT_CUTOVER)), prefix="m"))
    assert closed(standing_gates(scene.workshop)) == {}

    scene.write(*documents("one more", prefix="n"))

    assert closed(standing_gates(scene.workshop)) == {"lag": Verdict.FAIL}
    assert f"{MAX_DIRTY_AT_CUTOVER + 1} documents are dirty" in gate(standing_gates(scene.workshop), "lag").detail


def test_a_document_that_is_dirty_for_long_closes_the_gate(scene: Scene) -> None:
    scene.write(DOCUMENTS[0])
    scene.rig.clock.advance(MAX_LAG_S)
    assert closed(standing_gates(scene.workshop)) == {}
    scene.rig.clock.advance(0.1)

    assert closed(standing_gates(scene.workshop)) == {"lag": Verdict.FAIL}


def test_a_comparison_that_found_differences_closes_the_gate(scene: Scene) -> None:
    scene.rig.memory.delete(scene.migration.target, [DocumentId("d00")])
    verify(scene.workshop)
    scene.carry()

    assert closed(standing_gates(scene.workshop)) == {"verified": Verdict.FAIL}
    assert "1 missing" in gate(standing_gates(scene.workshop), "verified").detail


def test_a_comparison_grows_stale(scene: Scene) -> None:
    scene.rig.clock.advance(VERIFICATION_VALID.total_seconds() - 60)
    scene.rig.clock.sleep(1)
    assert closed(standing_gates(scene.workshop)) == {}
    scene.rig.clock.advance(3600)
    scene.rig.clock.sleep(1)

    found = gate(standing_gates(scene.workshop), "verified")

    assert found.verdict is Verdict.STALE
    assert "25 h old, at most 24 h is allowed" in found.detail
    assert found.hint == "undrift verify kb"


def test_a_comparison_that_is_dated_in_the_future_says_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine that compared has another clock, or this one's was set back; it would be valid for days."""
    now = scene.rig.clock.now
    monkeypatch.setattr(scene.rig.clock, "now", lambda: now() - timedelta(hours=72))

    found = gate(standing_gates(scene.workshop), "verified")

    assert found.verdict is Verdict.STALE
    assert "72.0 h ahead of this machine's clock" in found.detail
    assert found.hint == "undrift verify kb"


def test_documents_in_quarantine_close_the_gate_unless_they_are_accepted(scene: Scene) -> None:
    scene.ledger.quarantine(ALIAS, {DocumentId("d00"): ("blank_text", "")})

    assert closed(cutover_gates(scene.workshop)) == {"quarantine": Verdict.FAIL}
    assert "d00 (blank_text)" in gate(cutover_gates(scene.workshop), "quarantine").detail
    assert closed(cutover_gates(scene.workshop, accept_quarantine=True)) == {}


def test_a_document_that_is_set_aside_after_the_gates_were_read_stops_the_flip(scene: Scene) -> None:
    scene.operator.faults.on_call = lambda call: (
        scene.worker.plane.ledger.quarantine(ALIAS, {DocumentId("d00"): ("blank_text", "")})
        if call == "ledger.flip"
        else None
    )

    with pytest.raises(GateFailed, match="quarantine"):
        scene.operator.plane.cutover(ALIAS)

    assert scene.migration.phase is Phase.READY
    scene.operator.faults.on_call = lambda _: None
    assert scene.operator.plane.cutover(ALIAS, accept_quarantine=True)["phase"] == "reversing"


def test_a_client_that_has_not_acknowledged_closes_the_gate(tmp_path: Path) -> None:
    scene = Scene(tmp_path).begin(Phase.REVERSING)
    scene.app.paused = True
    scene.operator.plane.rollback(ALIAS)

    found = gate(standing_gates(scene.workshop), "acknowledged")

    assert found.verdict is Verdict.FAIL
    assert "app" in found.detail
    scene.app.paused = False
    scene.rig.clock.sleep(1)
    assert gate(standing_gates(scene.workshop), "acknowledged").verdict is Verdict.PASS
    scene.rig.close()


def test_a_reconciliation_that_is_needed_closes_the_gate_until_two_scans_were_made(scene: Scene) -> None:
    scene.ledger.require_reconcile(ALIAS, "it was restored from a backup", sequence=0)
    assert closed(standing_gates(scene.workshop)) == {"reconciled": Verdict.FAIL}

    verify(scene.workshop)
    reconcile(scene.workshop)
    assert closed(standing_gates(scene.workshop)) == {"reconciled": Verdict.FAIL}
    reconcile(scene.workshop)

    assert closed(standing_gates(scene.workshop)) == {}


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("model.embed_documents", EmbedderUnavailable),
        ("store.delete", StoreUnavailable),
        ("store.delete", StoreRejected),
    ],
)
def test_without_a_way_back_the_gate_is_closed(scene: Scene, call: str, error: type[StoreRejected]) -> None:
    workshop = scene.workshop
    workshop.door_of(scene.migration.source.space)
    scene.worker.faults.fail(call, lambda: error("it is read-only", hint="look at it"), times=8)

    gates = cutover_gates(workshop)

    assert closed(gates) == {"rollback": Verdict.FAIL}
    assert gate(gates, "rollback").detail == "it is read-only"
    assert closed(standing_gates(workshop)) == {}


def test_the_way_back_is_proven_without_leaving_anything_behind(scene: Scene) -> None:
    before = scene.source()

    cutover_gates(scene.workshop)

    assert scene.source() == before
    assert PROBE_ID not in before


def test_all_gates_that_do_not_hold_are_told_at_once(scene: Scene) -> None:
    scene.ledger.quarantine(ALIAS, {DocumentId("d00"): ("blank_text", "")})
    scene.rig.clock.advance(VERIFICATION_VALID.total_seconds() + 3600)
    scene.rig.clock.sleep(1)

    with pytest.raises(GateFailed, match="cutover of kb is refused: 2 of 7 gates do not hold") as refused:
        scene.operator.plane.cutover(ALIAS)

    assert [line.split(" ")[0] for line in refused.value.detail.splitlines()] == ["verified", "quarantine"]
    assert refused.value.hint == "undrift verify kb"
    assert scene.migration.phase is Phase.READY


def test_a_rollback_wants_the_documents_back_and_the_source_at_hand(cut_over: Scene) -> None:
    assert closed(rollback_gates(cut_over.workshop)) == {}
    cut_over.write(replace(DOCUMENTS[0], text="newer"))
    cut_over.rig.clock.advance(MAX_LAG_S + 1)
    cut_over.worker.faults.fail("store.delete", lambda: StoreUnavailable("it does not answer"))

    assert closed(rollback_gates(cut_over.workshop)) == {"lag": Verdict.FAIL, "source": Verdict.FAIL}


def test_whether_a_rollback_could_begin_is_known(cut_over: Scene) -> None:
    assert rollback_ready(cut_over.workshop, cut_over.migration)

    cut_over.write(replace(DOCUMENTS[0], text="newer"))
    cut_over.rig.clock.advance(MAX_LAG_S + 1)
    assert not rollback_ready(cut_over.workshop, cut_over.migration)
    cut_over.carry()
    assert rollback_ready(cut_over.workshop, cut_over.migration)
    assert not rollback_ready(cut_over.workshop, replace(cut_over.migration, phase=Phase.READY))
    cut_over.rig.memory.drop(cut_over.migration.source)
    assert not rollback_ready(cut_over.workshop, cut_over.migration)


def test_a_completion_waits_for_documents_whose_truth_is_in_the_source(scene: Scene) -> None:
    """Dropping it would lose them."""
    scene.write(replace(DOCUMENTS[0], text="written to the source"))
    scene.ledger.flip(
        scene.rig.route(),
        migration=replace(scene.migration, phase=Phase.REVERSING),
        was=Phase.READY,
        who="test",
        max_dirty=None,
        max_quarantined=None,
    )
    scene.rig.clock.sleep(1)

    gates = completion_gates(scene.workshop)
    assert closed(gates) == {"settled": Verdict.FAIL}, gates
    scene.carry()
    assert closed(completion_gates(scene.workshop)) == {}


def test_a_completion_is_not_kept_from_happening_by_writers_at_work(cut_over: Scene) -> None:
    cut_over.write(replace(DOCUMENTS[0], text="newer"))
    cut_over.worker.plane.ledger.open(ALIAS, [DocumentId("d01")], client=cut_over.workshop.me, deadline_s=10.0)

    assert closed(completion_gates(cut_over.workshop)) == {}


def test_a_completion_wants_documents_in_quarantine_mended(cut_over: Scene) -> None:
    """The source is all that has them."""
    cut_over.ledger.quarantine(ALIAS, {DocumentId("d00"): ("blank_text", "")})

    gates = completion_gates(cut_over.workshop)

    assert closed(gates) == {"quarantine": Verdict.FAIL}
    assert "--field follower" in gate(gates, "quarantine").hint
