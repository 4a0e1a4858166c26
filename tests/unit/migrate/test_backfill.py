"""A piece of the back-fill reaches the target whole, and never on top of what was written meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest

from tests.unit.migrate.scene import DOCUMENTS, TIMING, Scene, texts_of
from undrift import Document
from undrift.domain.migration import Phase
from undrift.domain.record import Record, content_hash, stamp
from undrift.domain.route import VectorField
from undrift.errors import (
    ControlUnavailable,
    EmbedderUnavailable,
    LeaseLost,
    StoreFull,
    StoreRejected,
    StoreUnavailable,
    UndriftError,
)
from undrift.migrate import backfill
from undrift.migrate.backfill import carry_chunk, lay_out
from undrift.migrate.keeping import HANGS_S
from undrift.testing.faults import When
from undrift.testing.rig import ALIAS


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path).begin()
    yield scene
    scene.rig.close()


def laid_out(scene: Scene, size: int = 4) -> None:
    while not lay_out(scene.workshop, scene.migration, size):
        pass


def carried(scene: Scene) -> int:
    count = 0
    while (done := carry_chunk(scene.workshop, scene.migration)) is not None:
        count += done
    return count


# Laying out


@pytest.mark.parametrize(("size", "bounds"), [(5, ["d04", "d09", "d11"]), (4, ["d03", "d07", "d11"]), (100, ["d11"])])
def test_pieces_follow_one_another_to_the_end_of_the_ids(scene: Scene, size: int, bounds: list[str]) -> None:
    laid_out(scene, size)

    found = []
    while (
        piece := scene.ledger.lease_chunk(ALIAS, scene.migration.id, owner=scene.workshop.me, lease_s=10, settle_s=1)
    ) is not None:
        found.append((piece.lo, piece.hi, piece.count))
    assert [hi for _, hi, _ in found] == bounds
    assert [lo for lo, _, _ in found] == ["", *bounds[:-1]]
    assert (scene.migration.total, scene.migration.planned) == (12, True)


def test_a_long_layout_takes_several_transactions(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "_CHUNKS_AT_ONCE", 2)

    assert not lay_out(scene.workshop, scene.migration, 3)
    assert not scene.migration.planned
    assert not lay_out(scene.workshop, scene.migration, 3)
    assert lay_out(scene.workshop, scene.migration, 3)

    assert (scene.migration.total, scene.migration.planned) == (12, True)
    assert scene.ledger.chunk_progress(scene.migration.id) == (0, 0, 4)


def test_an_empty_source_is_laid_out_at_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.app.alias.delete([document.id for document in DOCUMENTS])
    scene.begin()

    assert lay_out(scene.workshop, scene.migration)
    assert carry_chunk(scene.workshop, scene.migration) is None
    assert (scene.migration.total, scene.migration.planned) == (0, True)
    scene.rig.close()


# Carrying


def test_every_piece_is_carried_once(scene: Scene) -> None:
    laid_out(scene)

    assert carried(scene) == 12
    assert scene.target() == texts_of(DOCUMENTS)
    assert not scene.rig.mistakes(scene.migration.target)
    assert scene.ledger.chunk_progress(scene.migration.id) == (12, 3, 3)
    assert carry_chunk(scene.workshop, scene.migration) is None


def test_documents_that_were_touched_before_are_not_even_embedded(scene: Scene) -> None:
    laid_out(scene)
    scene.write(*(replace(document, text="newer") for document in DOCUMENTS[:4]))
    before = scene.calls().count("model.embed_documents")

    carry_chunk(scene.workshop, scene.migration)

    assert scene.calls().count("model.embed_documents") == before
    assert scene.target() == {}


def test_a_document_that_is_written_while_its_piece_is_embedded_is_not_overwritten(scene: Scene) -> None:
    """Read, then written and carried over by others, then published: the older text would win."""
    laid_out(scene)

    def meanwhile() -> None:
        scene.write(replace(DOCUMENTS[1], text="newer"))
        scene.carry()

    scene.when("model.embed_documents", meanwhile)
    carry_chunk(scene.workshop, scene.migration)

    assert scene.target() == texts_of(DOCUMENTS[:4]) | {"d01": "newer"}


def test_a_document_that_is_deleted_while_its_piece_is_embedded_does_not_come_back(scene: Scene) -> None:
    laid_out(scene)

    def meanwhile() -> None:
        scene.app.alias.delete(["d01"])
        scene.carry()

    scene.when("model.embed_documents", meanwhile)
    carry_chunk(scene.workshop, scene.migration)

    assert sorted(scene.target()) == ["d00", "d02", "d03"]


def test_a_document_that_is_written_while_its_piece_is_published_is_carried_over_afterwards(scene: Scene) -> None:
    laid_out(scene)

    def meanwhile() -> None:
        scene.write(replace(DOCUMENTS[1], text="newer"))
        scene.operator.worker().tick()
        assert scene.lag().dirty == 1, "nobody may carry it while the piece is under way"

    scene.when("store.insert_absent", meanwhile)
    carry_chunk(scene.workshop, scene.migration)
    assert scene.target()["d01"] == DOCUMENTS[1].text
    scene.carry()

    assert scene.target()["d01"] == "newer"


# Takeover


def test_a_piece_that_somebody_may_have_written_is_replaced_and_its_vectors_are_used(scene: Scene) -> None:
    """What it wrote is paid for."""
    laid_out(scene)
    place = scene.migration.target
    scene.worker.faults.fail("ledger.published", lambda: ControlUnavailable("it does not answer"))
    with pytest.raises(ControlUnavailable):
        carry_chunk(scene.workshop, scene.migration)
    model = scene.rig.models["new"]
    stale = stamp(
        [replace(DOCUMENTS[0], metadata={"stale": True})],
        scene.rig.vector(place.space, DOCUMENTS[0].text)[None, :],
        space=model.space,
        sequences={},
    )
    scene.rig.memory.upsert(place, stale)
    scene.rig.clock.advance(TIMING["work_lease_s"] + TIMING["fence_horizon_s"] + 1)
    scene.calls().clear()

    assert carry_chunk(scene.workshop, scene.migration) == 4

    assert "model.embed_documents" not in scene.calls()
    assert "store.upsert" in scene.calls()
    assert scene.rig.records(place)["d00"].metadata == {"number": 0}


def test_a_piece_that_took_longer_than_its_lease_to_embed_is_not_written(scene: Scene) -> None:
    laid_out(scene)
    scene.when("model.embed_documents", lambda: scene.rig.clock.advance(TIMING["work_lease_s"]))

    with pytest.raises(LeaseLost):
        carry_chunk(scene.workshop, scene.migration)

    assert scene.target() == {}
    assert carried(scene) == 12


def slowly(scene: Scene, seconds: float) -> list[int]:
    """Let the model take so long for the piece, while hearts beat and another worker looks for work."""
    taken: list[int] = []

    def answer_late() -> None:
        for _ in range(int(seconds / 5)):
            scene.rig.clock.sleep(5.0)
            other = scene.operator.plane.workshop(ALIAS)
            if carry_chunk(other, scene.migration) is not None:
                taken.append(round(scene.rig.clock.monotonic()))

    scene.when("model.embed_documents", answer_late)
    return taken


def test_a_piece_is_kept_as_long_as_its_model_takes(scene: Scene) -> None:
    """Ten times the lease, in one request: nobody else takes the piece, which would pay for it twice."""
    laid_out(scene, 100)
    taken = slowly(scene, 10 * TIMING["work_lease_s"])
    scene.operator.faults.calls.clear()

    assert carry_chunk(scene.workshop, scene.migration) == 12

    assert taken == []
    assert scene.target() == texts_of(DOCUMENTS)
    assert scene.operator.faults.calls.count("model.embed_documents") == 0


def test_a_piece_whose_model_never_answers_is_left_to_others(scene: Scene) -> None:
    """A heart that beats is not enough: what hangs shows no sign of life."""
    laid_out(scene, 100)
    hanging_s = HANGS_S + 2 * TIMING["work_lease_s"]
    taken = slowly(scene, hanging_s)

    with pytest.raises(LeaseLost):
        carry_chunk(scene.workshop, scene.migration)

    assert len(taken) == 1
    assert scene.target() == texts_of(DOCUMENTS)


def test_a_process_that_was_stopped_keeps_nothing_and_sends_no_more_texts(scene: Scene) -> None:
    """Its heart stands still as well; the texts that it has not sent yet are the other worker's."""
    laid_out(scene, 100)
    other = scene.operator.plane.workshop(ALIAS)

    def stopped() -> None:
        scene.rig.clock.advance(TIMING["work_lease_s"] + 1)
        assert carry_chunk(other, scene.migration) == 12

    scene.when("model.embed_documents", stopped)
    scene.calls().clear()
    with pytest.raises(LeaseLost):
        carry_chunk(scene.workshop, scene.migration, at_once=4)

    assert scene.calls().count("model.embed_documents") == 1
    assert scene.calls().count("store.insert_absent") == 0
    assert scene.target() == texts_of(DOCUMENTS)


def test_a_worker_that_wakes_after_its_piece_was_taken_is_told_by_its_heart(scene: Scene) -> None:
    """Also when its clock stood still while it slept, so that its lease seems to last."""
    laid_out(scene, 100)
    workshop = scene.workshop
    piece = scene.ledger.lease_chunk(ALIAS, scene.migration.id, owner=workshop.me, lease_s=10, settle_s=1)
    assert piece is not None
    with workshop.keeper.holding(workshop.alias, piece, workshop.me) as grip:
        grip.require()
        scene.rig.clock.advance(11)
        assert scene.ledger.lease_chunk(
            ALIAS, scene.migration.id, owner=scene.app.plane.router.client, lease_s=60, settle_s=1
        )
        workshop.keeper.beat()
        with pytest.raises(LeaseLost):
            grip.require()


def test_a_piece_that_was_published_too_late_is_not_written(scene: Scene) -> None:
    """The process was stopped between the ledger's answer and the first request."""
    laid_out(scene)
    scene.worker.faults.on_call = lambda call: (
        scene.rig.clock.advance(TIMING["work_lease_s"]) if call == "ledger.publish" else None
    )

    with pytest.raises(LeaseLost):
        carry_chunk(scene.workshop, scene.migration)

    assert scene.target() == {}


def test_no_request_of_a_piece_is_sent_after_its_lease(scene: Scene) -> None:
    """Also not while documents that the store rejects are singled out, one request after another."""
    laid_out(scene)
    sent: list[float] = []
    began = scene.rig.clock.monotonic()

    def on_call(call: str) -> None:
        if call == "store.insert_absent":
            sent.append(scene.rig.clock.monotonic() - began)
            scene.rig.clock.advance(20.0)

    scene.worker.faults.on_call = on_call
    scene.worker.faults.fail("store.insert_absent", lambda: StoreRejected("not this one"))

    with pytest.raises(LeaseLost):
        carry_chunk(scene.workshop, scene.migration)

    assert max(sent) <= TIMING["work_lease_s"]
    assert scene.quarantined() == {}


def test_a_piece_of_which_nothing_was_written_is_given_back(scene: Scene) -> None:
    laid_out(scene)
    scene.worker.faults.fail("model.embed_documents", lambda: EmbedderUnavailable("it does not answer"), times=4)
    with pytest.raises(EmbedderUnavailable):
        carry_chunk(scene.workshop, scene.migration)

    assert carry_chunk(scene.workshop, scene.migration) == 4


@pytest.mark.parametrize("error", [KeyboardInterrupt, EmbedderUnavailable])
def test_that_a_piece_cannot_be_given_back_does_not_hide_why(scene: Scene, error: type[BaseException]) -> None:
    """Ctrl-C has to end the process, not to look like a lost lease."""
    laid_out(scene)
    scene.worker.faults.fail("store.scan", lambda: error("stop"))
    scene.worker.faults.fail("ledger.release_chunk", lambda: LeaseLost("it is not this worker's any more"))

    with pytest.raises(error):
        carry_chunk(scene.workshop, scene.migration)


# What cannot be carried


def test_documents_that_cannot_be_carried_are_set_aside_and_the_others_are_not(scene: Scene) -> None:
    source = scene.migration.source
    model = scene.rig.models["old"]
    blank = stamp(
        [Document(id="d01", text=" ")], scene.rig.vector(source.space, " ")[None, :], space=model.space, sequences={}
    )
    other = stamp(
        [Document(id="d02", text="one text")],
        scene.rig.vector(source.space, "x")[None, :],
        space=model.space,
        sequences={},
    )
    scene.rig.memory.upsert(source, [*blank, replace(other[0], text="another text")])
    laid_out(scene)

    assert carry_chunk(scene.workshop, scene.migration) == 4

    assert scene.quarantined() == {"d01": "blank_text"}
    assert sorted(scene.target()) == ["d00", "d02", "d03"]


def test_a_text_that_was_changed_past_the_tag_is_carried_and_closes_the_gate(scene: Scene) -> None:
    """The text is the truth; that somebody writes past undrift is what has to be looked into."""
    source = scene.migration.source
    record = scene.rig.records(source)["d02"]
    scene.rig.memory.upsert(source, [replace(record, text="another text")])
    laid_out(scene)

    carry_chunk(scene.workshop, scene.migration)

    carried = scene.rig.records(scene.migration.target)["d02"]
    assert (carried.text, carried.tag.content) == ("another text", content_hash("another text"))
    assert (carried.vector == scene.rig.vector(carried.tag.space, "another text")).all()
    assert "such as d02, as the back-fill saw" in scene.workshop.state().needs_reconcile


@contextmanager
def taking_all_but(scene: Scene, id: str, error: StoreRejected) -> Iterator[None]:
    """Let the store refuse to insert whatever has a document in it."""
    inner = scene.rig.memory.insert_absent

    def refusing(field: VectorField, records: Sequence[Record]) -> None:
        if any(record.id == id for record in records):
            raise error
        inner(field, records)

    with patch.object(scene.rig.memory, "insert_absent", refusing):
        yield


def test_a_store_that_has_no_room_sets_nothing_aside(scene: Scene) -> None:
    """Half of a piece found room; the rest is no document's fault, and all of it is there when there is room again."""
    laid_out(scene)
    with taking_all_but(scene, "d02", StoreFull("the disk is full")), pytest.raises(StoreFull):
        carry_chunk(scene.workshop, scene.migration)
    assert scene.quarantined() == {}

    scene.rig.clock.advance(600)
    scene.worker.work_to(Phase.READY)
    assert scene.target() == scene.source()
    assert scene.quarantined() == {}


def test_a_document_that_the_store_rejects_is_singled_out(scene: Scene) -> None:
    laid_out(scene)

    with taking_all_but(scene, "d02", StoreRejected("not this one")):
        assert carry_chunk(scene.workshop, scene.migration) == 4

    assert scene.quarantined() == {"d02": "rejected_by_store"}
    assert sorted(scene.target()) == ["d00", "d01", "d03"]


def test_a_store_that_takes_nothing_is_not_the_documents_fault(scene: Scene) -> None:
    laid_out(scene)
    scene.worker.faults.fail("store.insert_absent", lambda: StoreRejected("it is full"), times=100)

    with pytest.raises(StoreRejected, match="takes no document at all"):
        carry_chunk(scene.workshop, scene.migration)

    assert scene.quarantined() == {}


@pytest.mark.parametrize("mended", ["rewritten", "deleted"])
def test_a_document_that_was_mended_while_its_piece_was_embedded_is_not_set_aside(scene: Scene, mended: str) -> None:
    """It is carried over already; a quarantine for what it was would close the cutover's gate for nothing."""
    source, model = scene.migration.source, scene.rig.models["old"]
    blank = stamp(
        [Document(id="d01", text=" ")], scene.rig.vector(source.space, " ")[None, :], space=model.space, sequences={}
    )
    scene.rig.memory.upsert(source, blank)
    laid_out(scene)

    def meanwhile() -> None:
        if mended == "rewritten":
            scene.write(Document(id="d01", text="mended"))
        else:
            scene.app.alias.delete(["d01"])
        scene.carry()

    scene.when("model.embed_documents", meanwhile)
    carry_chunk(scene.workshop, scene.migration)

    assert scene.quarantined() == {}
    assert scene.target().get("d01") == ("mended" if mended == "rewritten" else None)


@pytest.mark.parametrize("call", ["store.scan", "store.insert_absent", "ledger.publish", "ledger.published"])
@pytest.mark.parametrize("when", When, ids=lambda when: when.value)
def test_a_piece_is_carried_after_an_outage_at_any_point(scene: Scene, call: str, when: When) -> None:
    laid_out(scene, 100)
    kind: type[UndriftError] = StoreUnavailable if call.startswith("store") else ControlUnavailable
    scene.worker.faults.fail(call, lambda: kind("it does not answer"), when=when)
    with pytest.raises(kind):
        carry_chunk(scene.workshop, scene.migration)
    scene.rig.clock.advance(TIMING["work_lease_s"] + TIMING["fence_horizon_s"] + 1)

    carry_chunk(scene.workshop, scene.migration)

    assert scene.target() == texts_of(DOCUMENTS)
    assert scene.ledger.chunk_progress(scene.migration.id)[1:] == (1, 1)


def test_the_phase_before_the_back_fill_hands_out_nothing(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.operator.plane.register(ALIAS, "new")
    migration = scene.migration
    assert migration.phase is Phase.REGISTERED

    lay_out(scene.workshop, migration)

    assert carry_chunk(scene.workshop, migration) is None
    scene.rig.close()
