"""A migration to another store copies vectors, pays for nothing that nobody asked for, and says what will not fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.unit.migrate.scene import DOCUMENTS, TIMING
from tests.unit.migrate.test_carry import Paid
from undrift import Document
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.adapters.stores.memory import MemoryStore
from undrift.domain.gate import Verdict
from undrift.domain.migration import Phase, RunStatus
from undrift.domain.record import DocumentId, Record, content_hash, encode_metadata, tag_from_stored
from undrift.domain.route import VectorField
from undrift.domain.space import Metric
from undrift.errors import BadArgument, BadConfig, BudgetExhausted, FieldInUse, StaleRoute, StoreRejected, UsageError
from undrift.migrate.copies import compare_copies, likeness
from undrift.migrate.verify import verify
from undrift.ports.store import StoreCapabilities
from undrift.testing.rig import ALIAS, Process, Rig


class Limited(MemoryStore):
    """A store with limits of its own."""

    limits: StoreCapabilities = replace(MemoryStore().capabilities, name="limited")

    @property
    def capabilities(self) -> StoreCapabilities:
        return self.limits

    def upsert(self, field: VectorField, records: Sequence[Record]) -> None:
        most = self.limits.max_metadata_bytes
        for record in records:
            if most is not None and len(encode_metadata(record.id, record.metadata)) > most:
                raise StoreRejected(f"the metadata of {record.id} is larger than {most} bytes")
        super().upsert(field, records)

    insert_absent = None  # type: ignore[assignment]


class Scene:
    """A dozen documents in one store, and another store that is empty."""

    def __init__(self, folder: Path) -> None:
        self.model = Paid(dimensions=16, seed="old")
        models = {"old": self.model, "new": HashingEmbedder(dimensions=24, seed="new")}
        self.other = Limited()
        self.rig = Rig(
            folder=folder, models=models, second="memory:other", second_memory=self.other, timing=dict(TIMING)
        )
        self.app = self.rig.process("app")
        self.app.alias.upsert(DOCUMENTS)
        self.operator = self.rig.process("operator")
        self.worker = self.rig.process("worker")

    def limit(self, **limits: object) -> None:
        self.other.limits = replace(self.other.limits, **limits)  # type: ignore[arg-type]

    def ready(self) -> Scene:
        self.operator.plane.register(ALIAS, to_store="other")
        self.worker.work_to(Phase.READY)
        self.rig.clock.sleep(2)
        return self

    @property
    def source(self) -> VectorField:
        return self.rig.route().serving

    @property
    def target(self) -> VectorField:
        found = self.rig.migration()
        assert found is not None
        return found.target


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.rig.close()


def stranger_writes(scene: Scene, place: VectorField, id: str, **changes: object) -> None:
    record = scene.rig.records(place)[id]
    scene.rig.store(place).upsert(place, [replace(record, **changes)])  # type: ignore[arg-type]


def without_worker(process: Process) -> list[str]:
    return [call for call in process.faults.calls if call.startswith("model.")]


def test_a_plan_says_that_vectors_are_copied_and_nothing_is_paid(scene: Scene) -> None:
    found = scene.operator.plane.plan(ALIAS, to_store="other")

    assert found["vectors"] == "copied"
    assert (found["documents"], found["unique_texts"], found["tokens"]) == (12, 0, 0)
    assert found["target"]["field"].startswith("other/")
    assert found["target"]["space"] == found["source"]["space"]
    assert found["next_steps"] == ["undrift start kb --to-store other"]
    assert found["warnings"] == []


def test_a_plan_of_both_changes_names_both(scene: Scene) -> None:
    found = scene.operator.plane.plan(ALIAS, "new", to_store="other", collection="kb2")

    assert (found["vectors"], found["target"]["field"]) == ("embedded", "other/kb2")
    assert found["next_steps"] == ["undrift start kb --to new --to-store other --collection kb2"]


def test_no_model_is_asked_for_anything(scene: Scene) -> None:
    scene.ready()

    assert without_worker(scene.worker) == []
    assert scene.operator.plane.status(ALIAS)["cost"]["tokens"] == 0


def test_a_paid_model_needs_no_budget_and_gets_none(scene: Scene) -> None:
    """A text that somebody changed past its vector is embedded only when a budget allows it."""
    stranger_writes(scene, scene.source, "d03", text="changed past undrift")
    assert "1 text to be embedded again" in scene.operator.plane.plan(ALIAS, to_store="other")["warnings"][0]

    scene.operator.plane.register(ALIAS, to_store="other")
    with pytest.raises(BudgetExhausted):
        scene.worker.work_to(Phase.READY)
    assert scene.operator.plane.status(ALIAS)["run_status"] == RunStatus.HALTED.value

    scene.operator.plane.tune(ALIAS, {"budget_tokens": "500"})
    scene.operator.plane.resume(ALIAS)
    scene.worker.work_to(Phase.READY)

    (changed,) = [one for one in scene.rig.records(scene.target).values() if one.id == "d03"]
    assert changed.tag.content == content_hash("changed past undrift")
    assert np.allclose(changed.vector, scene.rig.vector(scene.source.space, "changed past undrift"))
    assert 0 < scene.operator.plane.status(ALIAS)["cost"]["tokens"] <= 500


def test_a_vector_that_is_none_is_not_copied(scene: Scene) -> None:
    scene.model.paid = False
    rows = scene.rig.memory.collections[scene.source.collection].rows
    key = DocumentId("d05")
    rows[key] = replace(rows[key], vector=np.full(16, np.nan, dtype=np.float32))

    scene.operator.plane.register(ALIAS, to_store="other")
    scene.worker.work_to(Phase.CATCHUP)

    assert not scene.rig.differences(scene.target, DOCUMENTS)


def test_a_vector_that_a_worker_has_not_copied_is_found_and_copied_again(scene: Scene) -> None:
    scene.ready()
    wrong = np.roll(scene.rig.records(scene.target)["d07"].vector, 3)
    stranger_writes(scene, scene.target, "d07", vector=wrong)

    report = verify(scene.worker.plane.workshop(ALIAS))

    assert report.verdict is Verdict.FAIL
    assert report.samples == ({"kind": "vector", "id": "d07"},)
    scene.worker.worker().tick()
    assert verify(scene.worker.plane.workshop(ALIAS)).verdict is Verdict.PASS
    assert scene.rig.differences(scene.target, DOCUMENTS) == []


def test_a_document_that_is_being_written_is_no_difference(scene: Scene) -> None:
    scene.ready()
    route = scene.rig.route()
    assert route.follower is not None
    scene.app.alias.upsert([Document(id="d02", text="written a moment ago")])

    keys = [DocumentId(document.id) for document in DOCUMENTS]
    alike, differing = compare_copies(scene.worker.plane.workshop(ALIAS), route, route.follower, keys)

    assert (len(alike), differing) == (11, [])


def test_what_the_other_store_does_not_keep_is_foretold_and_set_aside(scene: Scene) -> None:
    scene.app.alias.upsert(
        [
            Document(id="large", text="small text", metadata={"much": "x" * 1000}),
            Document(id="l" * 40, text="small text", metadata={}),
        ]
    )
    scene.limit(max_metadata_bytes=500, max_id_bytes=30, max_text_bytes=5)

    warnings = scene.operator.plane.plan(ALIAS, to_store="other")["warnings"]

    assert warnings == [
        "1 document with an id of more than 30 bytes, which store limited does not keep: to be set aside",
        "14 documents with a text of more than 5 bytes, which store limited does not keep: to be set aside",
        "1 document with metadata of more than 500 bytes, which store limited does not keep: to be set aside",
    ]
    scene.limit(max_id_bytes=None, max_text_bytes=None)
    scene.ready()
    (aside,) = scene.operator.plane.ledger.quarantined(ALIAS)
    assert (aside.key, aside.reason) == ("large", "rejected_by_store")
    assert "larger than the 500 bytes that store limited keeps" in aside.detail
    assert "large" not in scene.rig.records(scene.target)


def test_a_collection_of_which_nothing_fits_is_set_aside_whole(scene: Scene) -> None:
    """No store is broken that keeps none of them: each is known to be too large."""
    scene.limit(max_text_bytes=5)

    scene.ready()

    aside = scene.operator.plane.ledger.quarantined(ALIAS)
    assert [one.key for one in aside] == [document.id for document in DOCUMENTS]
    assert {one.reason for one in aside} == {"rejected_by_store"}
    assert scene.rig.records(scene.target) == {}


@pytest.mark.parametrize(
    ("limits", "complaint"),
    [({"max_dimensions": 15}, "at most 15 dimensions"), ({"metrics": frozenset({Metric.L2})}, "cosine")],
)
def test_a_store_that_cannot_hold_the_space_is_refused(scene: Scene, limits: dict[str, object], complaint: str) -> None:
    scene.limit(**limits)

    with pytest.raises(UsageError, match=complaint):
        scene.operator.plane.register(ALIAS, to_store="other")

    assert scene.rig.migration() is None


def test_the_fence_horizon_is_that_of_the_slower_store(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.rig.timing.pop("fence_horizon_s")  # type: ignore[attr-defined]
    scene.limit(settles_within_s=17.0, requests_die_with_process=False)
    worker = scene.rig.process("late worker")
    workshop = worker.plane.workshop(ALIAS)
    assert workshop.settle_s == 0.0

    scene.operator.plane.register(ALIAS, to_store="other")

    assert workshop.settle_s == 17.0
    scene.operator.plane.cancel(ALIAS)
    assert workshop.settle_s == 0.0
    scene.rig.close()


def test_the_same_call_goes_on_and_another_aim_is_refused(scene: Scene) -> None:
    plane = scene.operator.plane
    first = plane.register(ALIAS, to_store="other", collection="kb2")

    for again in (
        plane.register(ALIAS, to_store="other"),
        plane.register(ALIAS, "old", to_store="other"),
        plane.register(ALIAS, to_store="other", collection="kb2"),
    ):
        assert again.id == first.id
    assert plane.plan(ALIAS, to_store="other")["target"]["field"] == "other/kb2"
    for to, store, name in (("new", None, None), ("new", "other", None), (None, "other", "kb3")):
        with pytest.raises(StaleRoute, match="a migration to store other"):
            plane.register(ALIAS, to, to_store=store, collection=name)


def test_where_it_is_already_is_no_aim(scene: Scene) -> None:
    plane = scene.operator.plane
    for to, store in (("old", None), ("old", "main"), (None, "main"), (None, None)):
        with pytest.raises(BadArgument, match="already"):
            plane.register(ALIAS, to, to_store=store)
    with pytest.raises(BadConfig, match="elsewhere"):
        plane.register(ALIAS, to_store="elsewhere")


def test_a_collection_that_is_there_is_never_taken(scene: Scene) -> None:
    plane, space = scene.operator.plane, scene.source.space
    taken = VectorField(store="other", collection="taken", space=space)
    scene.other.create(taken, dimensions=16, metric=Metric.COSINE)
    with pytest.raises(FieldInUse, match="taken of store other is there already"):
        plane.register(ALIAS, to_store="other", collection="taken")

    plane.register(ALIAS, to_store="other", collection="given-up")
    plane.cancel(ALIAS, drop=True)
    scene.rig.clock.sleep(2)
    with pytest.raises(FieldInUse, match="target of the last migration"):
        plane.register(ALIAS, to_store="other", collection="given-up")


def test_what_a_store_rounds_is_alike_and_another_vector_is_not() -> None:
    original = np.array([3.0, 4.0], dtype=np.float32)
    assert likeness(original, original.copy(), Metric.DOT) == 1.0
    half = original.astype(np.float16).astype(np.float32) * np.float32(1.0003)
    assert 0.999 < likeness(original, half, Metric.L2) < 1.0
    assert likeness(original, original / 5, Metric.COSINE) == pytest.approx(1.0)
    assert likeness(original, original / 5, Metric.DOT) == pytest.approx(0.2)
    assert likeness(np.zeros(2, dtype=np.float32), original, Metric.DOT) == 0.0
    assert np.isnan(likeness(np.zeros(2, dtype=np.float32), original, Metric.COSINE))


def test_a_tag_of_another_space_is_not_believed(scene: Scene) -> None:
    scene.model.paid = False
    foreign = tag_from_stored("other-16-000000000000", content_hash(DOCUMENTS[1].text), 0)
    stranger_writes(scene, scene.source, "d01", tag=foreign, vector=np.ones(16, dtype=np.float32) / 4)

    scene.operator.plane.register(ALIAS, to_store="other")
    scene.worker.work_to(Phase.CATCHUP)

    assert scene.rig.differences(scene.target, DOCUMENTS) == []
