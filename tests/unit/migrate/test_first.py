"""The documents that matter most are carried first, and nothing else of a back-fill changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.migrate.scene import Scene, texts_of
from undrift import Document
from undrift.config import parse
from undrift.domain.migration import Phase, RunStatus
from undrift.domain.order import Order, in_order, named_first, recent_note, searched_note
from undrift.errors import BadConfig
from undrift.migrate.engine import Worker
from undrift.testing.faults import Killed
from undrift.testing.rig import ALIAS, documents

#: More than a worker carries in one go, so that the first of them can be told from the rest.
MANY = documents(*(f"text of number {number}" for number in range(40)))
LAST = ("d37", "d38", "d39")


def collection(folder: Path, *order: str) -> Scene:
    scene = Scene(folder, order=order)
    scene.write(*MANY)
    return scene


@pytest.fixture
def searched(tmp_path: Path) -> Iterator[Scene]:
    """A collection whose last documents are those that searches return."""
    scene = collection(tmp_path, "searched")
    for number in (39, 38, 37):
        for _ in range(number - 30):
            assert scene.app.alias.search(f"text of number {number}", k=1).hits[0].id == f"d{number}"
    yield scene
    scene.rig.close()


def carried_first(scene: Scene, worker: Worker, most: int) -> list[str]:
    """Let a worker begin, and return what is in the target as soon as there is anything."""
    for _ in range(20):
        worker.tick()
        scene.rig.clock.sleep(1.1)
        migration = scene.migration
        if migration.phase is Phase.BACKFILL and (found := sorted(scene.target())):
            assert len(found) <= most
            return found
    raise AssertionError("nothing was carried")


def ready(scene: Scene) -> None:
    scene.worker.work_to(Phase.READY)
    assert scene.target() == texts_of(MANY)
    assert scene.rig.mistakes(scene.migration.target) == []


def test_what_searches_return_most_is_carried_before_the_rest(searched: Scene) -> None:
    searched.operator.plane.register(ALIAS, "new")

    found = carried_first(searched, searched.worker.worker(), 3)

    assert found == sorted(LAST)
    ready(searched)
    assert named_first(searched.ledger.tuning(ALIAS)) == {}


def test_without_an_order_the_pieces_come_by_their_ids_and_no_search_is_counted(tmp_path: Path) -> None:
    scene = collection(tmp_path)
    scene.app.alias.search("text of number 39", k=3)
    scene.operator.plane.register(ALIAS, "new")

    found = carried_first(scene, scene.worker.worker(), 4)

    assert found == ["d00", "d01", "d02", "d03"]
    assert scene.lag().dirty == 0
    assert scene.ledger.journal_state(ALIAS, [document.id for document in MANY]) == {}  # type: ignore[misc]
    ready(scene)
    scene.rig.close()


def test_the_newest_by_a_key_of_the_metadata_are_carried_before_the_rest(tmp_path: Path) -> None:
    scene = collection(tmp_path, "recent:day")
    days = {"d05": "2026-03-01", "d17": "2026-11-02", "d30": "2025-12-31"}
    scene.write(
        *(Document(id=id, text=f"text of number {int(id[1:])}", metadata={"day": day}) for id, day in days.items())
    )
    scene.write(Document(id="d20", text="text of number 20", metadata={"day": True}))
    scene.operator.plane.register(ALIAS, "new")

    found = carried_first(scene, scene.worker.worker(), 3)

    assert found == sorted(days)
    ready(scene)
    scene.rig.close()


def test_a_write_while_they_are_carried_is_not_lost(searched: Scene) -> None:
    """What a writer does to one of them between its reading and its writing wins."""
    searched.operator.plane.register(ALIAS, "new")
    searched.when("store.upsert", lambda: searched.write(Document(id="d39", text="another text", metadata={})))

    carried_first(searched, searched.worker.worker(), 3)
    searched.worker.work_to(Phase.READY)

    assert searched.target() == {**texts_of(MANY), "d39": "another text"}
    assert searched.rig.mistakes(searched.migration.target) == []


def test_one_that_is_deleted_meanwhile_is_not_brought_back(searched: Scene) -> None:
    searched.operator.plane.register(ALIAS, "new")
    searched.when("ledger.mark", lambda: searched.app.alias.delete(["d38"]))

    carried_first(searched, searched.worker.worker(), 3)
    searched.worker.work_to(Phase.READY)

    assert searched.target() == {id: text for id, text in texts_of(MANY).items() if id != "d38"}


def test_a_worker_that_dies_leaves_them_to_the_next(searched: Scene) -> None:
    searched.operator.plane.register(ALIAS, "new")
    searched.when("store.upsert", lambda: searched.rig.kill(searched.worker))
    with pytest.raises(Killed):
        searched.worker.work_to(Phase.CATCHUP)
    assert searched.lag().dirty == 3
    searched.rig.clock.sleep(60)
    searched.worker = searched.rig.process("worker")

    ready(searched)


def test_a_pause_stops_them_too(searched: Scene) -> None:
    searched.operator.plane.register(ALIAS, "new")
    worker = searched.worker.worker()
    while searched.migration.phase is not Phase.BACKFILL:
        worker.tick()
    searched.operator.plane.pause(ALIAS)

    for _ in range(5):
        worker.tick()
        searched.rig.clock.sleep(1.1)

    assert searched.migration.run_status is RunStatus.PAUSED
    assert searched.target() == {}
    searched.operator.plane.resume(ALIAS)
    assert carried_first(searched, worker, 3) == sorted(LAST)


def test_the_plan_and_the_status_say_what_comes_first(searched: Scene) -> None:
    order = {"first": ["searched"], "documents": 1000}
    assert searched.operator.plane.plan(ALIAS, "new")["order"] == order
    searched.operator.plane.register(ALIAS, "new")
    worker = searched.worker.worker()
    while searched.migration.phase is not Phase.BACKFILL:
        worker.tick()
        searched.rig.clock.sleep(1.1)

    assert searched.operator.plane.status(ALIAS)["order"] == {**order, "left": 3}
    carried_first(searched, worker, 3)
    assert searched.operator.plane.status(ALIAS)["order"] == {**order, "left": 0}


def test_what_several_processes_told_is_added_up_and_the_order_of_the_kinds_is_kept() -> None:
    notes = {
        **searched_note("one", {"a": 3, "b": 2}),
        **searched_note("two", {"b": 2}),
        **recent_note("day", ["c", "a"]),
    }

    assert in_order(notes.items(), Order(first=("searched", "recent:day"))) == ["b", "a", "c"]
    assert in_order(notes.items(), Order(first=("recent:day", "searched"))) == ["c", "a", "b"]
    assert in_order(notes.items(), Order(first=("searched", "recent:day"), documents=1)) == ["b", "c"]


@pytest.mark.parametrize("word", ["popular", "recent:", "recent"])
def test_an_order_that_is_none_is_refused(tmp_path: Path, word: str) -> None:
    values = {"aliases": {"kb": {"store": "main", "model": "old", "order": [word]}}}

    with pytest.raises(BadConfig, match="order"):
        parse(values, tmp_path / "undrift.toml")
