"""A dirty document is carried to the other field by reading the one that holds its truth, whatever was written when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.migrate.scene import DOCUMENTS, TIMING, Scene, texts_of
from undrift import Document
from undrift.domain.migration import Phase
from undrift.domain.record import DocumentId, stamp
from undrift.errors import (
    EmbedderUnavailable,
    LeaseLost,
    MirrorTimeout,
    StoreRejected,
    StoreUnavailable,
    UndriftError,
)
from undrift.migrate.sync import MAX_DOUBLINGS, carry_dirty, settle
from undrift.testing.rig import ALIAS


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


def embedded(scene: Scene) -> int:
    return scene.calls().count("model.embed_documents")


def test_what_was_written_and_deleted_is_carried(scene: Scene) -> None:
    scene.write(Document(id="new", text="a new one"), replace(DOCUMENTS[1], text="another text"))
    scene.app.alias.delete(["d02", "never there"])

    assert carry_dirty(scene.workshop) == 4

    assert scene.target() == scene.source()
    assert scene.target()["d01"] == "another text"
    assert not scene.rig.mistakes(scene.migration.target)
    assert scene.lag().dirty == 0
    assert carry_dirty(scene.workshop) == 0


def test_after_a_cutover_it_is_carried_the_other_way(cut_over: Scene) -> None:
    cut_over.write(Document(id="new", text="a new one"))
    cut_over.app.alias.delete(["d02"])

    carry_dirty(cut_over.workshop)

    assert cut_over.source() == cut_over.target()
    assert not cut_over.rig.mistakes(cut_over.migration.source)


def test_a_change_of_metadata_costs_no_embedding(scene: Scene) -> None:
    scene.app.alias.update_metadata("d01", {"lang": "en"})
    carry_dirty(scene.workshop)
    before = embedded(scene)

    scene.app.alias.update_metadata("d02", {"lang": "en"})
    carry_dirty(scene.workshop)

    assert embedded(scene) == before
    assert scene.rig.records(scene.migration.target)["d02"].metadata == {"number": 2, "lang": "en"}


def test_the_number_of_the_write_is_carried_along(scene: Scene) -> None:
    """A ledger that was restored from a backup is noticed by it."""
    scene.write(replace(DOCUMENTS[1], text="another text"))

    carry_dirty(scene.workshop)

    tags = [scene.rig.records(place)["d01"].tag for place in (scene.migration.source, scene.migration.target)]
    assert tags[0].sequence == tags[1].sequence > 0


def test_no_more_is_carried_at_a_time_than_asked_for(scene: Scene) -> None:
    scene.write(*(replace(document, text="newer") for document in DOCUMENTS))

    assert carry_dirty(scene.workshop, limit=5) == 5
    assert carry_dirty(scene.workshop, only=[DocumentId("d11")]) == 1
    assert scene.lag().dirty == 6


def test_a_document_that_is_written_while_it_is_carried_stays_dirty(scene: Scene) -> None:
    scene.write(replace(DOCUMENTS[1], text="newer"))
    scene.when("store.upsert", lambda: scene.write(replace(DOCUMENTS[1], text="newest")))

    carry_dirty(scene.workshop)

    assert scene.target()["d01"] == "newer"
    assert scene.lag().dirty == 1
    carry_dirty(scene.workshop)
    assert scene.target()["d01"] == "newest"


def test_a_document_that_is_deleted_while_it_is_carried_is_deleted_there_too(scene: Scene) -> None:
    scene.write(replace(DOCUMENTS[1], text="newer"))
    scene.when("store.upsert", lambda: scene.app.alias.delete(["d01"]))

    carry_dirty(scene.workshop)
    carry_dirty(scene.workshop)

    assert "d01" not in scene.target()
    assert scene.lag().dirty == 0


# Failures


def test_what_could_not_be_carried_is_tried_again_later_and_later(scene: Scene) -> None:
    scene.write(replace(DOCUMENTS[1], text="newer"))
    waits = []
    for _ in range(MAX_DOUBLINGS + 2):
        scene.worker.faults.fail("store.entries", lambda: StoreUnavailable("it does not answer"))
        with pytest.raises(StoreUnavailable):
            carry_dirty(scene.workshop)
        began = scene.rig.clock.monotonic()
        while not scene.ledger.claim(ALIAS, owner=scene.workshop.me, limit=1, lease_s=-1000.0, settle_s=0.0):
            scene.rig.clock.advance(0.5)
        waits.append(round(scene.rig.clock.monotonic() - began, 3))

    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 64.0]


@pytest.mark.parametrize("call", ["store.entries", "store.fetch", "store.upsert", "model.embed_documents"])
def test_an_outage_leaves_a_document_dirty_and_unclaimed(scene: Scene, call: str) -> None:
    scene.write(replace(DOCUMENTS[1], text="newer"))
    kind: type[UndriftError] = EmbedderUnavailable if call.startswith("model") else StoreUnavailable
    scene.worker.faults.fail(call, lambda: kind("it does not answer"), times=4 if call.startswith("model") else 1)

    with pytest.raises(kind):
        carry_dirty(scene.workshop)

    assert scene.lag().dirty == 1
    assert scene.ledger.in_flight(ALIAS, TIMING["fence_horizon_s"]) == 0
    scene.rig.clock.advance(2.0)
    assert carry_dirty(scene.workshop) == 1
    assert scene.target() == scene.source()


def test_what_keeps_the_others_back_does_not_keep_those_that_writers_wait_for(tmp_path: Path) -> None:
    """A hasty rollback, because the new model is down: carrying back needs the old one only."""
    scene = Scene(tmp_path).begin(Phase.REVERSING)
    scene.write(replace(DOCUMENTS[1], text="written to the target"))
    scene.operator.faults.fail("store.upsert", lambda: StoreUnavailable("it does not answer"))
    with pytest.raises(StoreUnavailable):
        scene.operator.plane.rollback(ALIAS, now=True)
    scene.rig.clock.sleep(2)
    scene.write(replace(DOCUMENTS[2], text="written to the source"))
    new = scene.rig.models["new"].space.id
    calls = iter(range(100))
    door_of = scene.workshop.door_of

    def without_the_new_model(space: object) -> object:
        if space == new:
            raise EmbedderUnavailable(f"it does not answer ({next(calls)})")
        return door_of(space)  # type: ignore[arg-type]

    workshop = replace(scene.workshop, door_of=without_the_new_model)  # type: ignore[arg-type]
    with pytest.raises(EmbedderUnavailable):
        carry_dirty(workshop)

    assert scene.source()["d01"] == "written to the target"
    assert (scene.lag().foreign, scene.lag().dirty) == (0, 1)
    scene.rig.close()


def test_a_document_that_took_longer_than_its_lease_is_not_written(scene: Scene) -> None:
    scene.write(replace(DOCUMENTS[1], text="newer"))
    scene.when("model.embed_documents", lambda: scene.rig.clock.advance(TIMING["work_lease_s"]))

    with pytest.raises(LeaseLost):
        carry_dirty(scene.workshop)

    assert scene.target()["d01"] == DOCUMENTS[1].text
    assert scene.lag().dirty == 1


def test_no_request_is_sent_after_the_lease(scene: Scene) -> None:
    """Neither while rejected documents are singled out nor to delete what cannot be carried."""
    scene.write(*(replace(document, text="newer") for document in DOCUMENTS[:4]))
    scene.app.alias.delete(["d05"])
    sent: list[float] = []
    began = scene.rig.clock.monotonic()

    def on_call(call: str) -> None:
        if call in ("store.upsert", "store.delete"):
            sent.append(scene.rig.clock.monotonic() - began)
            scene.rig.clock.advance(20.0)

    scene.worker.faults.on_call = on_call
    scene.worker.faults.fail("store.upsert", lambda: StoreRejected("not this one"))

    with pytest.raises(LeaseLost):
        carry_dirty(scene.workshop)

    assert max(sent) <= TIMING["work_lease_s"]
    assert "d05" in scene.target()


# What cannot be carried


def test_a_document_that_cannot_be_carried_is_set_aside_and_not_left_there_with_an_older_text(scene: Scene) -> None:
    source, model = scene.migration.source, scene.rig.models["old"]
    blank = stamp(
        [Document(id="d01", text=" ")], scene.rig.vector(source.space, " ")[None, :], space=model.space, sequences={}
    )
    with scene.app.alias.journal(["d01"]):
        scene.rig.memory.upsert(source, blank)

    carry_dirty(scene.workshop)

    assert scene.quarantined() == {"d01": "blank_text"}
    assert "d01" not in scene.target()
    assert scene.lag().dirty == 0


@pytest.mark.parametrize("mended", ["rewritten", "deleted"])
def test_a_document_leaves_quarantine_when_it_is_carried_or_gone(scene: Scene, mended: str) -> None:
    scene.ledger.quarantine(ALIAS, {DocumentId("d01"): ("blank_text", "")})
    if mended == "rewritten":
        scene.write(replace(DOCUMENTS[1], text="mended"))
    else:
        scene.app.alias.delete(["d01"])

    carry_dirty(scene.workshop)

    assert scene.quarantined() == {}


def test_after_the_end_of_a_migration_nothing_is_carried(scene: Scene) -> None:
    """Whoever claimed just before finds that the other field is nobody's any more."""
    scene.write(replace(DOCUMENTS[1], text="newer"))
    scene.worker.faults.on_call = lambda call: (
        scene.operator.plane.cancel(ALIAS) if call == "ledger.alias" and "ledger.claim" in scene.calls()[-2:] else None
    )
    scene.calls().clear()
    target = scene.target()

    with pytest.raises(LeaseLost, match="is over"):
        carry_dirty(scene.workshop)

    assert scene.texts(scene.migration.target) == target


# Waiting for one's own


def test_settling_waits_for_nobody_when_all_is_clean(scene: Scene) -> None:
    before = scene.rig.clock.monotonic()

    settle(scene.workshop, [DocumentId("d01")], 10.0)

    assert scene.rig.clock.monotonic() == before


def test_settling_waits_for_another_worker_that_carries_the_document(scene: Scene) -> None:
    scene.write(replace(DOCUMENTS[1], text="newer"))
    claims = scene.ledger.claim(ALIAS, owner=scene.operator.plane.router.client, limit=1, lease_s=30.0, settle_s=5.0)

    def later() -> None:
        if scene.rig.clock.monotonic() > began + 2.0 and scene.lag().dirty:
            scene.ledger.clear(ALIAS, claims, owner=scene.operator.plane.router.client)

    began = scene.rig.clock.monotonic()
    scene.rig.clock.beats.append(later)

    settle(scene.workshop, [DocumentId("d01")], 10.0)

    assert scene.lag().dirty == 0


def test_settling_gives_up_in_time(scene: Scene) -> None:
    scene.write(replace(DOCUMENTS[1], text="newer"))
    scene.ledger.claim(ALIAS, owner=scene.operator.plane.router.client, limit=1, lease_s=1000.0, settle_s=5.0)
    began = scene.rig.clock.monotonic()

    with pytest.raises(MirrorTimeout, match="1 document of kb is stored"):
        settle(scene.workshop, [DocumentId("d01")], 10.0)

    assert 10.0 <= scene.rig.clock.monotonic() - began < 11.0


def test_everything_reaches_the_other_field_in_the_end(scene: Scene) -> None:
    scene.write(*(replace(document, text=f"newer {document.id}") for document in DOCUMENTS[::2]))
    scene.app.alias.delete(["d03", "d04"])
    scene.write(Document(id="d04", text="once more"))

    scene.carry()

    truth = texts_of(DOCUMENTS) | {one.id: f"newer {one.id}" for one in DOCUMENTS[::2]} | {"d04": "once more"}
    del truth["d03"]
    assert scene.source() == scene.target() == truth


def test_a_write_that_stays_open_does_not_keep_a_worker_busy(scene: Scene) -> None:
    """Its application died; until it is reaped, the document cannot become clean however often it is carried."""
    scene.ledger.open(ALIAS, [DocumentId("d01")], client=scene.operator.plane.router.client, deadline_s=30.0)
    scene.rig.clock.advance(6.0)

    assert carry_dirty(scene.workshop) == 1
    assert carry_dirty(scene.workshop) == 0
    assert scene.lag().dirty == 1
