"""What an operator holds is not waited for: a verb that needs the work says at once who has to let it go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.migrate.scene import DOCUMENTS, Scene
from undrift.control import ControlPlane
from undrift.domain.migration import Phase
from undrift.domain.route import Mode
from undrift.errors import GateFailed
from undrift.testing.rig import ALIAS

HOLD: list[Callable[[ControlPlane], object]] = [lambda plane: plane.pause(ALIAS), lambda plane: plane.panic(ALIAS)]
#: Far less than a write may wait, in seconds.
SOON_S = 1.0


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.rig.close()


@pytest.mark.parametrize("hold", HOLD, ids=["paused", "stopped"])
def test_a_cutover_of_held_work_is_refused_at_once_with_what_lets_it_go_on(
    scene: Scene, hold: Callable[[ControlPlane], object]
) -> None:
    plane = scene.begin(Phase.READY).operator.plane
    hold(plane)
    scene.write(replace(DOCUMENTS[0], text="newer"))
    scene.rig.clock.sleep(3)
    began = scene.rig.clock.monotonic()

    with pytest.raises(GateFailed, match=r"lag .*; the work is (paused|stopped)") as refused:
        plane.cutover(ALIAS)

    assert refused.value.hint == "undrift resume kb"
    assert scene.rig.clock.monotonic() - began < SOON_S


def test_writers_are_not_made_to_wait_for_work_that_is_held(scene: Scene) -> None:
    plane = scene.begin(Phase.READY).operator.plane
    plane.pause(ALIAS)
    scene.write(replace(DOCUMENTS[0], text="newer"))

    with pytest.raises(GateFailed, match="nobody would carry the dirty documents over") as refused:
        plane.cutover(ALIAS, freeze_s=2.0)

    assert refused.value.hint == "undrift resume kb"
    assert scene.rig.route().mode is Mode.JOURNAL
    plane.resume(ALIAS)
    assert plane.cutover(ALIAS, freeze_s=2.0)["phase"] == "reversing"


def test_with_nothing_to_adopt_nothing_is_waited_for(scene: Scene) -> None:
    plane = scene.begin(Phase.REVERSING).operator.plane
    plane.pause(ALIAS)
    scene.write(replace(DOCUMENTS[0], text="newer"))
    scene.rig.clock.sleep(3)
    began = scene.rig.clock.monotonic()

    assert plane.adopt(ALIAS)["adopted"] == []
    assert scene.rig.clock.monotonic() - began < SOON_S


@pytest.mark.parametrize(
    ("phase", "end"),
    [(Phase.READY, "cancel"), (Phase.REVERSING, "rollback"), (Phase.ROLLED_BACK, "cancel")],
    ids=lambda value: getattr(value, "value", value),
)
def test_of_held_work_only_what_is_allowed_is_proposed(scene: Scene, phase: Phase, end: str) -> None:
    plane = scene.begin(phase).operator.plane
    assert plane.pause(ALIAS)["next_steps"] == ["undrift resume kb", f"undrift {end} kb"]
