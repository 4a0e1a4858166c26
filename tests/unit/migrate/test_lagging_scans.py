"""Where a scan may miss what another process inserted a moment ago, nothing is overlooked because of that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.property.troubles import DisturbedStore
from tests.unit.migrate.scene import DOCUMENTS, Scene
from undrift import Document
from undrift.adapters.tokenizers.families import family
from undrift.domain.migration import Phase
from undrift.migrate.reconcile import reconcile
from undrift.migrate.survey import Counter, survey
from undrift.testing.rig import ALIAS, BeatingClock

LAG_S = 10.0


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    clock, store = BeatingClock(), DisturbedStore()
    made = Scene(tmp_path, memory=store, clock=clock)
    clock.sleep(60)
    store.lag_s, store.monotonic = LAG_S, clock.monotonic
    yield made
    made.rig.close()


def test_the_back_fill_begins_that_much_after_the_last_write_past_the_journal(scene: Scene) -> None:
    scene.write(Document(id="d03x", text="inserted a moment before"))
    scene.operator.plane.register(ALIAS, "new")
    told: list[str] = []
    worker = scene.worker.worker()
    worker.on_wait = told.append
    began = scene.rig.clock.monotonic()

    worker.run(lambda migration: migration is not None and migration.phase is Phase.CATCHUP)

    assert scene.rig.clock.monotonic() - began >= LAG_S
    assert any("scans of kb, which may miss for 10 s what another process wrote" in reason for reason in told)
    assert "d03x" in scene.worker.plane.workshop(ALIAS).store_of(scene.migration.target).fetch(
        scene.migration.target, [DOCUMENTS[3].id, Document(id="d03x", text="").id]
    )


def test_a_worker_that_goes_on_after_a_crash_waits_again(scene: Scene) -> None:
    scene.operator.plane.register(ALIAS, "new")
    waits = 0

    def crash(reason: str) -> None:
        nonlocal waits
        waits += reason.startswith("scans of")
        if waits == 20:
            scene.rig.kill(scene.worker)

    dying = scene.worker.worker()
    dying.on_wait = crash
    with pytest.raises(BaseException, match="dead process"):
        dying.run(lambda _: False)
    before = scene.rig.clock.monotonic()

    scene.operator.work_to(Phase.BACKFILL)

    assert scene.rig.clock.monotonic() - before >= LAG_S


def test_a_strangers_write_of_a_moment_ago_is_seen_by_a_scan(scene: Scene) -> None:
    scene.begin(Phase.READY)
    store = scene.rig.memory
    assert isinstance(store, DisturbedStore)
    store.bypass(scene.migration.source, "new", "a text of a stranger")

    assert reconcile(scene.workshop).kinds == {"missing": 1}


def test_a_plan_says_that_scans_lag(scene: Scene) -> None:
    place = scene.rig.route().serving
    facts = survey(scene.rig.store(), place, Counter(door=scene.workshop.door_of(place.space), family=family(None)))

    assert facts.warnings == (
        "scans of this store may miss for 10 s what another process wrote: the back-fill begins so much later",
    )
