"""Searches and reads go to the field that serves, in its own space, also while it becomes another one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from undrift import Document
from undrift.domain.migration import Phase
from undrift.domain.record import stamp
from undrift.errors import BadArgument, BadDocument, CollectionMissing, SpaceMismatch
from undrift.flow import reader
from undrift.telemetry import Metric, counted
from undrift.testing.rig import ALIAS, Process, Rig, documents

DOCUMENTS = documents("a rope in the harbour", "a lamp in the fog", "the tide in the harbour", "an old map")


class Scene:
    def __init__(self, folder: Path) -> None:
        self.rig = Rig(folder=folder)
        self.app = self.rig.process("app")
        self.app.alias.upsert(DOCUMENTS)
        self.alias = self.app.alias

    def migrate(self, phase: Phase) -> Process:
        operator = self.rig.process("operator")
        operator.plane.register(ALIAS, "new")
        operator.work_to(Phase.READY)
        if phase is not Phase.READY:
            operator.plane.cutover(ALIAS)
        if phase is Phase.DONE:
            operator.plane.complete(ALIAS)
        return operator


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.rig.close()


def test_a_search_finds_the_nearest_first_and_says_where(scene: Scene) -> None:
    hits = scene.alias.search("rope harbour", k=2)

    assert [hit.id for hit in hits] == ["d00", "d02"]
    assert hits[0].score > hits[1].score
    assert (hits[0].text, hits[0].metadata) == (DOCUMENTS[0].text, {"number": 0})
    assert (hits.space, hits.epoch) == (scene.rig.route().serving.space, 1)
    assert len(hits[:1]) == 1


def test_a_search_takes_a_filter(scene: Scene) -> None:
    assert [hit.id for hit in scene.alias.search("rope harbour", filter={"number": 2})] == ["d02"]


@pytest.mark.parametrize("k", [0, -1])
def test_a_search_for_nothing_is_refused(scene: Scene, k: int) -> None:
    with pytest.raises(BadArgument):
        scene.alias.search("rope", k=k)


def test_a_blank_query_is_refused(scene: Scene) -> None:
    with pytest.raises(BadArgument):
        scene.alias.search(" \n ")


def test_a_vector_of_another_space_never_meets_the_field(scene: Scene) -> None:
    """The store is not asked."""
    new = scene.rig.models["new"].space.id
    scene.app.faults.calls.clear()

    with pytest.raises(SpaceMismatch, match="cannot be used with alias kb"):
        scene.alias.search_vector(scene.rig.vector(new, "rope"), space=new)

    assert "store.search" not in scene.app.faults.calls


def test_a_vector_of_the_serving_space_is_searched_with(scene: Scene) -> None:
    old = scene.rig.route().serving.space

    hits = scene.alias.search_vector(scene.rig.vector(old, DOCUMENTS[3].text), space=old, k=1)

    assert hits[0].id == "d03"
    assert np.isclose(hits[0].score, 1.0)


def test_after_a_cutover_searches_are_in_the_new_space(scene: Scene) -> None:
    scene.migrate(Phase.REVERSING)
    scene.app.plane.router.beat()

    hits = scene.alias.search("rope harbour", k=1)

    assert hits.space == scene.rig.models["new"].space.id
    assert hits.epoch == scene.rig.route().epoch
    assert hits[0].tag is not None
    assert hits[0].tag.space == hits.space


def test_a_hit_of_a_foreign_space_is_left_out_and_counted(scene: Scene) -> None:
    """Somebody wrote past undrift, with another model; a wrong answer is worse than none."""
    place, new = scene.rig.route().serving, scene.rig.models["new"].space
    vector = scene.rig.vector(place.space, "rope harbour")
    tags = stamp(
        [Document(id="z", text="rope harbour")], np.ones((1, new.dimensions), np.float32), space=new, sequences={}
    )
    foreign = type(tags[0])(id=tags[0].id, text="rope harbour", metadata={}, vector=vector, tag=tags[0].tag)
    scene.rig.memory.upsert(place, [foreign])
    before = counted(Metric.MIS_TAGGED_HITS)

    hits = scene.alias.search("rope harbour", k=3)

    assert "z" not in [hit.id for hit in hits]
    assert counted(Metric.MIS_TAGGED_HITS) == before + 1


def test_documents_are_read_in_the_order_asked_for(scene: Scene) -> None:
    found = scene.alias.get(["d02", "nobody", "d00", "d02"])

    assert [document.id for document in found] == ["d02", "d00"]
    assert found[0] == DOCUMENTS[2]
    assert scene.alias.get([]) == []


def test_an_id_that_can_be_nobodys_is_refused(scene: Scene) -> None:
    with pytest.raises(BadDocument):
        scene.alias.get([""])


def test_documents_are_counted(scene: Scene) -> None:
    assert scene.alias.count() == 4
    assert scene.alias.count({"number": {"$gte": 2}}) == 2


def test_a_scan_yields_every_document_once_over_all_pages(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_PAGE", 2)

    assert list(scene.alias.scan()) == DOCUMENTS
    assert [document.id for document in scene.alias.scan({"number": {"$gte": 1}})] == ["d01", "d02", "d03"]


def test_a_scan_goes_on_through_a_cutover(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_PAGE", 1)
    scan = scene.alias.scan()
    first = next(scan)

    scene.migrate(Phase.REVERSING)
    scene.app.plane.router.beat()

    assert [first, *scan] == DOCUMENTS


@pytest.mark.parametrize("learned", ["by the search", "while it failed"])
def test_a_process_that_slept_through_a_completion_finds_the_new_field(scene: Scene, learned: str) -> None:
    """Its old one is dropped; nobody's search may fail for that, whoever learns of it first."""
    scene.app.paused = True
    scene.migrate(Phase.DONE)
    if learned == "while it failed":
        scene.app.faults.on_call = lambda call: scene.app.plane.router.beat() if call == "store.search" else None

    assert scene.alias.search("rope harbour", k=1)[0].id == "d00"
    assert scene.alias.count() == 4


def test_a_collection_that_is_gone_for_good_is_said_to_be(scene: Scene) -> None:
    scene.rig.memory.drop(scene.rig.route().serving)

    with pytest.raises(CollectionMissing):
        scene.alias.search("rope")


def test_a_search_under_way_does_not_keep_an_epoch_from_being_acknowledged_for_ever(scene: Scene) -> None:
    operator = scene.migrate(Phase.READY)
    awaited: list[bool] = []

    def look(call: str) -> None:
        if call == "store.search" and not awaited:
            operator.plane.cutover(ALIAS)
            scene.app.plane.router.beat()
            waiting = operator.plane.ledger.unacknowledged(ALIAS, scene.rig.route().epoch, 5.0)
            awaited.append(scene.app.plane.router.client in {client.id for client in waiting})

    scene.app.faults.on_call = look
    scene.alias.search("rope")
    scene.app.plane.router.beat()

    after = operator.plane.ledger.unacknowledged(ALIAS, scene.rig.route().epoch, 5.0)
    assert awaited == [True]
    assert scene.app.plane.router.client not in {client.id for client in after}
