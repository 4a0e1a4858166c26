"""A cutover that has to wait: until a time, until a person lets it come, or until what is in the way has passed."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from tests.unit.migrate.scene import Scene
from undrift import Document
from undrift.domain.migration import Phase
from undrift.domain.record import DocumentId
from undrift.errors import GateFailed
from undrift.testing.rig import ALIAS


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    made = Scene(tmp_path).begin(Phase.READY)
    monkeypatch.setattr(made.operator.plane, "_who", lambda: "ann")
    return made


def test_a_postponed_cutover_names_who_and_why_and_what_ends_it(scene: Scene) -> None:
    plane = scene.operator.plane

    status = plane.postpone(ALIAS, reason="the auditors are here")

    told = "ann postponed the cutover, because the auditors are here"
    assert status["waiting_for"] == f"an operator: {told}: undrift unpostpone kb"
    assert status["next_steps"][0] == "undrift unpostpone kb"
    with pytest.raises(GateFailed) as refused:
        scene.worker.plane.cutover(ALIAS)
    assert refused.value.detail == f"postponed (fail): {told}"
    assert refused.value.hint == "undrift unpostpone kb"
    assert not plane.plan_cutover(ALIAS)["allowed"]

    assert plane.unpostpone(ALIAS)["waiting_for"] == "a decision: undrift cutover kb"
    assert plane.cutover(ALIAS)["phase"] == "reversing"
    lines = [(line.who, line.action) for line in scene.ledger.history(ALIAS)]
    assert [line for line in lines if "postponed" in line[1]] == [("ann", "unpostponed"), ("ann", "postponed")]


def test_a_cutover_that_is_postponed_after_its_gates_were_read_does_not_flip(scene: Scene) -> None:
    def postpone(name: str) -> None:
        if name == "ledger.flip":
            raise AssertionError("it flipped")
        if name == "store.delete":
            scene.operator.plane.postpone(ALIAS)

    scene.worker.faults.on_call = postpone

    with pytest.raises(GateFailed, match="cutover of kb is refused"):
        scene.worker.plane.cutover(ALIAS)

    assert scene.migration.phase is Phase.READY


def test_a_rollback_is_never_postponed(scene: Scene) -> None:
    plane = scene.operator.plane
    plane.cutover(ALIAS)
    scene.rig.clock.sleep(2)
    plane.postpone(ALIAS)

    assert plane.rollback(ALIAS)["phase"] == "rolled_back"


def test_a_new_migration_is_not_postponed(scene: Scene) -> None:
    plane = scene.operator.plane
    plane.postpone(ALIAS)
    plane.cancel(ALIAS)
    plane.register(ALIAS, "new")
    scene.worker.work_to(Phase.READY)
    scene.rig.clock.sleep(2)

    assert plane.cutover(ALIAS)["phase"] == "reversing"


def test_a_cutover_waits_for_its_time_and_says_so(scene: Scene) -> None:
    began = scene.rig.clock.now()
    heard: list[str] = []

    scene.operator.plane.cutover(ALIAS, at=began + timedelta(minutes=10), on_wait=heard.append)

    assert scene.rig.clock.now() - began >= timedelta(minutes=10)
    assert scene.migration.phase is Phase.REVERSING
    assert heard[0].endswith("the time that --at names, in 600 s: Ctrl-C ends the wait")


def test_a_postponed_cutover_is_refused_at_its_time(scene: Scene) -> None:
    scene.operator.plane.postpone(ALIAS)

    with pytest.raises(GateFailed, match="cutover of kb is refused"):
        scene.operator.plane.cutover(ALIAS, at=scene.rig.clock.now() + timedelta(seconds=5))


def stuck(scene: Scene, seconds: float) -> None:
    """Make a document dirty that a worker elsewhere holds for a while."""
    scene.write(Document(id="d01", text="newer"))
    owner = scene.operator.plane.router.client
    scene.ledger.claim(ALIAS, owner=owner, limit=1, lease_s=seconds, settle_s=5.0)
    scene.rig.clock.sleep(3)


def test_a_lag_that_passes_is_waited_out_with_the_attempts_in_sight(scene: Scene) -> None:
    stuck(scene, 100.0)
    heard: list[str] = []

    scene.worker.plane.cutover(ALIAS, max_wait_s=600.0, on_wait=heard.append)

    attempts = [reason for reason in heard if "attempt" in reason]
    assert scene.migration.phase is Phase.REVERSING
    assert len(attempts) > 2
    assert attempts[0].startswith("lag (fail): 1 document is dirty, the oldest for ")
    assert "attempt 1 was refused, tried again in 1 s, for " in attempts[0]
    assert "attempt 2 was refused, tried again in 2 s, for " in attempts[1]


def test_a_lag_that_stays_is_refused_in_the_end_with_the_number_of_attempts(scene: Scene) -> None:
    stuck(scene, 10_000.0)
    began = scene.rig.clock.monotonic()

    with pytest.raises(GateFailed) as refused:
        scene.worker.plane.cutover(ALIAS, max_wait_s=20.0)

    assert re.search(r"\ntried [2-9] times in 20 s$", refused.value.detail)
    assert scene.rig.clock.monotonic() - began < 100.0


def test_without_a_limit_a_cutover_is_tried_once(scene: Scene) -> None:
    stuck(scene, 10_000.0)
    heard: list[str] = []

    with pytest.raises(GateFailed) as refused:
        scene.worker.plane.cutover(ALIAS, on_wait=heard.append)

    assert "tried" not in refused.value.detail
    assert not any("attempt" in reason for reason in heard)


def test_what_does_not_pass_by_itself_is_refused_at_once(scene: Scene) -> None:
    scene.ledger.quarantine(ALIAS, {DocumentId("d01"): ("rejected", "")})
    began = scene.rig.clock.monotonic()

    with pytest.raises(GateFailed):
        scene.worker.plane.cutover(ALIAS, max_wait_s=600.0)

    assert scene.rig.clock.monotonic() - began < 5.0


def test_a_person_is_asked_once_however_often_it_is_tried(scene: Scene) -> None:
    stuck(scene, 100.0)
    asked: list[object] = []

    scene.worker.plane.cutover(ALIAS, max_wait_s=600.0, on_plan=asked.append)

    assert len(asked) == 1
