"""Both fields in the same records: what a worker may write there, and what a writer past undrift leads to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.migrate.scene import DOCUMENTS, Scene
from undrift import Document
from undrift.domain.migration import Phase
from undrift.domain.reconcile import FOREIGN_WRITE
from undrift.domain.record import DocumentId, Record, content_hash, tag_from_stored
from undrift.domain.route import AliasName, VectorField
from undrift.errors import BadArgument, BadConfig, FieldInUse, StaleRoute
from undrift.migrate.placing import placing
from undrift.ports.store import Layout
from undrift.testing.rig import ALIAS
from undrift.testing.rig import Layout as Files

_ID = DocumentId("d03")


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path, where=Layout.IN_PLACE)
    yield made
    made.rig.close()


def change_text(scene: Scene, text: str) -> None:
    """Write as a program that knows one vector only, and no tags: the text, and the old vector of it."""
    source = scene.migration.source
    record = scene.rig.store().fetch(source, [_ID])[_ID]
    vector = scene.rig.vector(source.space, text)
    scene.rig.store().upsert(source, [replace(record, text=text, vector=vector)])


def faults(scene: Scene, truth: dict[str, Document]) -> list[str]:
    migration = scene.migration
    return [
        f"{place.key}: {fault}"
        for place in (migration.source, migration.target)
        for fault in scene.rig.differences(place, truth.values())
    ]


def truth_with(text: str) -> dict[str, Document]:
    there = {document.id: document for document in DOCUMENTS}
    return {**there, _ID: replace(there[_ID], text=text)}


def test_what_is_written_after_a_worker_has_read_gets_no_vector_of_the_older_text(scene: Scene) -> None:
    """R21: the vector of the first text must not stand beside the second one under a tag that says otherwise."""
    scene.begin()
    scene.when("store.attach", lambda: scene.write(Document(id=_ID, text="written meanwhile")))
    scene.worker.work_to(Phase.CATCHUP)

    target = scene.rig.records(scene.migration.target)
    assert all(record.tag.content == content_hash(record.text) for record in target.values())
    scene.worker.work_to(Phase.READY)
    there = truth_with("written meanwhile")
    there[_ID] = replace(there[_ID], metadata={})
    assert not faults(scene, there)


def test_workers_write_nothing_but_vectors_into_shared_records(scene: Scene) -> None:
    scene.begin(Phase.READY)
    scene.write(Document(id="new", text="a new one"), replace(DOCUMENTS[5], text="another text"))
    scene.app.alias.delete(["d01"])
    scene.carry()

    called = set(scene.worker.faults.calls) | set(scene.operator.faults.calls)
    assert "store.attach" in called
    assert not called & {"store.upsert", "store.insert_absent"}


def test_a_stranger_who_writes_text_and_old_vector_before_the_cutover_is_followed(scene: Scene) -> None:
    scene.begin(Phase.READY)
    change_text(scene, "a text of a stranger")

    found = scene.operator.plane.reconcile(ALIAS)

    assert found["verdict"] == "pass"
    assert found["scans"][0]["kinds"] == {"stale_text": 1}
    target = scene.rig.store().fetch(scene.migration.target, [_ID])[_ID]
    assert target.tag.content == content_hash("a text of a stranger")
    assert scene.operator.plane.cutover(ALIAS)["phase"] == "reversing"


def test_what_a_stranger_deletes_is_gone_from_both_at_once(scene: Scene) -> None:
    scene.begin(Phase.READY)
    scene.rig.store().delete(scene.migration.source, [_ID])

    assert scene.operator.plane.reconcile(ALIAS, scans=1)["scans"][0]["kinds"] == {}
    there = truth_with("")
    del there[_ID]
    assert not faults(scene, there)


def test_after_the_cutover_the_serving_vector_of_a_changed_text_is_not_taken_for_the_truth(scene: Scene) -> None:
    """The stranger knows the old vector only, so that the serving one is of a text that is not there any more."""
    scene.begin(Phase.REVERSING)
    change_text(scene, "a text of a stranger")

    found = scene.operator.plane.reconcile(ALIAS)
    assert (found["held"], found["verdict"]) == (1, "fail")
    assert [one.reason for one in scene.ledger.quarantined(ALIAS)] == [FOREIGN_WRITE]

    assert scene.operator.plane.adopt(ALIAS, [_ID])["adopted"] == [_ID]
    serving = scene.rig.store().fetch(scene.migration.target, [_ID])[_ID]
    assert scene.rig.vector(serving.tag.space, "a text of a stranger") @ serving.vector > 0.9999
    scene.operator.plane.reconcile(ALIAS, scans=3)
    assert scene.operator.plane.verify(ALIAS)["verdict"] == "pass"
    assert not faults(scene, truth_with("a text of a stranger"))


def test_nor_is_it_when_the_write_was_captured_and_carried_to_the_old_field(scene: Scene) -> None:
    """A trigger journals the stranger's write; that the old vector is made anew says nothing about the serving one."""
    scene.begin(Phase.REVERSING)
    scene.operator.plane.reconcile(ALIAS, scans=2)
    change_text(scene, "a text of a stranger")
    scene.ledger.mark(ALIAS, [_ID])
    scene.carry()

    assert scene.operator.plane.reconcile(ALIAS)["held"] == 1
    assert scene.operator.plane.adopt(ALIAS, [_ID])["adopted"] == [_ID]
    scene.operator.plane.reconcile(ALIAS, scans=3)
    assert not faults(scene, truth_with("a text of a stranger"))


def test_a_write_through_undrift_after_the_cutover_is_no_loss_of_a_stranger_s(scene: Scene) -> None:
    """Both fields have the same text: that the old vector is behind is no trace of anybody."""
    scene.begin(Phase.REVERSING)
    scene.write(Document(id=_ID, text="of our own"))
    scene.when("store.fetch", lambda: scene.write(Document(id=_ID, text="and once more")))
    worker = scene.worker.worker()
    while scene.lag().dirty:
        worker.tick()
        scene.rig.clock.sleep(0.1)

    assert scene.workshop.state().needs_reconcile == ""
    assert scene.source() == scene.target()


def test_a_verification_does_not_embed_a_text_whose_vector_is_still_to_follow(scene: Scene) -> None:
    """Between the comparison and the sample, writers go on."""
    scene.begin(Phase.READY)
    scene.write(Document(id=_ID, text="its vector follows"))
    source = scene.migration.source
    record = scene.rig.store().fetch(source, [_ID])[_ID]

    def written_past_the_walk() -> None:
        text = "and it is another one by now"
        tag = tag_from_stored(source.space, content_hash(text), record.tag.sequence)
        scene.rig.store().upsert(source, [replace(record, text=text, tag=tag)])

    scene.carry()
    scene.operator.faults.on_call = lambda call: written_past_the_walk() if call == "store.fetch" else None
    found = scene.operator.plane.verify(ALIAS)

    assert found["sampled"] == len(DOCUMENTS) - 1
    assert found["sample_min_cosine"] > 0.999


def test_a_rollback_after_documents_that_the_old_model_did_not_take_keeps_their_records(scene: Scene) -> None:
    """They leave the old field, not the record: what only one model can embed is still there for the other."""
    scene.begin(Phase.REVERSING)
    target, store = scene.migration.target, scene.rig.store()
    scene.write(Document(id="odd", text="only new"))
    place = placing(store, scene.migration.source, of=target)
    place.remove(scene.migration.source, [DocumentId("odd"), _ID])

    assert store.entries(target, [DocumentId("odd"), _ID]).keys() == {"odd", _ID}
    assert store.entries(scene.migration.source, [DocumentId("odd"), _ID]) == {}


# What is asked for


def test_the_layout_has_to_be_one_of_the_store(tmp_path: Path) -> None:
    scene = Scene(tmp_path, layout=Files.TWO_FILES)
    for ask in (scene.operator.plane.plan, scene.operator.plane.register):
        with pytest.raises(BadArgument, match=r"store sqlite-vec cannot have .* in the layout in-place") as refused:
            ask(ALIAS, "new", layout=Layout.IN_PLACE)
        assert refused.value.hint == "--layout collection"
    assert scene.rig.migration() is None
    scene.rig.close()


def test_a_migration_that_runs_keeps_its_layout(scene: Scene) -> None:
    scene.begin()
    plane = scene.operator.plane

    assert plane.register(ALIAS, "new").target == plane.register(ALIAS, "new", layout=Layout.IN_PLACE).target
    for ask in (plane.plan, plane.register):
        with pytest.raises(StaleRoute, match="already, in the layout in-place"):
            ask(ALIAS, "new", layout=Layout.COLLECTION)


def test_a_plan_counts_no_texts_that_are_there_already(scene: Scene) -> None:
    beside, apart = (scene.operator.plane.plan(ALIAS, "new", layout=layout) for layout in reversed(Layout))

    assert beside["layout"] == "in-place"
    assert apart["layout"] == "collection"
    assert beside["storage_bytes"] == len(DOCUMENTS) * 24 * 4 < apart["storage_bytes"]
    assert beside["next_steps"] == ["undrift start kb --to new --layout in-place"]
    assert beside["target"]["field"].startswith("main/kb?vector=v1_")


def test_no_other_alias_gets_a_vector_of_the_same_records(scene: Scene) -> None:
    twin = VectorField(store="main", collection="kb?vector=twin", space=scene.rig.route().serving.space)

    with pytest.raises(FieldInUse, match="belongs to alias kb"):
        scene.operator.plane._refuse_shared(twin, AliasName("twin"))


def test_an_address_in_the_same_records_of_a_store_that_cannot_is_refused(tmp_path: Path) -> None:
    scene = Scene(tmp_path, layout=Files.TWO_FILES)
    here = VectorField(store="main", collection="kb", space=scene.rig.route().serving.space)

    with pytest.raises(BadConfig, match=r"cannot keep the vectors of main/kb\?vector=x beside"):
        placing(scene.rig.store(), replace(here, collection="kb?vector=x"), of=here)
    scene.rig.close()


def test_a_completion_says_that_the_records_stay(scene: Scene) -> None:
    scene.begin(Phase.REVERSING)
    told: list[object] = []
    scene.operator.plane.complete(ALIAS, on_plan=told.extend)

    assert any(getattr(step, "records_stay", False) for step in told)
    assert scene.rig.store().describe(scene.migration.source) is None
    assert scene.target() == {document.id: document.text for document in DOCUMENTS}
    migrated_again: Record = scene.rig.records(scene.rig.route().serving)["d00"]
    assert migrated_again.tag.space == scene.migration.target.space
