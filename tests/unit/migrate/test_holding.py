"""An operator's word holds every worker: what is still called, what is not, and how it goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.migrate.scene import Scene
from undrift import Document
from undrift.domain.migration import Phase, RunStatus, advance
from undrift.errors import EmbedderRejected, EmbedderUnavailable, IllegalTransition, StoreUnavailable
from undrift.migrate.admission import GuardedStore
from undrift.ports.embedder import BEFORE_RETRY
from undrift.ports.store import SupportsInsertAbsent, VectorStore
from undrift.testing.rig import ALIAS

HOLDS: dict[str, Callable[[Scene], object]] = {
    "paused": lambda scene: scene.operator.plane.pause(ALIAS),
    "stopped": lambda scene: scene.operator.plane.panic(ALIAS),
}


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def port_calls(scene: Scene) -> list[str]:
    return [call for call in scene.calls() if not call.startswith("ledger.")]


def look_for_work(scene: Scene, times: int = 20) -> list[str]:
    """Let the worker look for work, and return what it called of stores and models."""
    looked = 0

    def enough(_: object) -> bool:
        nonlocal looked
        looked += 1
        return looked > times

    before = len(port_calls(scene))
    scene.worker.worker().run(enough)
    return port_calls(scene)[before:]


@pytest.mark.parametrize("hold", sorted(HOLDS))
def test_a_held_worker_calls_no_store_and_no_model(scene: Scene, hold: str) -> None:
    scene.begin(Phase.BACKFILL)
    scene.write(Document(id="d03", text="written meanwhile"))
    HOLDS[hold](scene)

    assert look_for_work(scene, 50) == []
    assert scene.lag().dirty == 1


@pytest.mark.parametrize("hold", sorted(HOLDS))
@pytest.mark.parametrize("call", ["store.ids", "store.scan", "model.embed_documents"])
def test_nothing_follows_the_call_that_was_under_way(scene: Scene, hold: str, call: str) -> None:
    """In the middle of a piece, the next call is refused, on every host: the ledger is asked before each."""
    scene.begin(Phase.BACKFILL)
    scene.when(call, lambda: HOLDS[hold](scene))

    made = look_for_work(scene)

    assert made[-1] == call
    assert made.count(call) == 1
    assert scene.target() == {}


def test_a_piece_that_is_being_written_is_finished_before_a_pause(scene: Scene) -> None:
    scene.begin(Phase.BACKFILL)
    scene.when("store.insert_absent", lambda: scene.operator.plane.pause(ALIAS))

    look_for_work(scene)

    assert scene.ledger.chunk_progress(scene.migration.id)[1] == 1
    assert scene.ledger.in_flight(ALIAS, 5.0) == 0


def test_a_piece_that_is_being_written_is_left_when_all_are_stopped(scene: Scene) -> None:
    """Stopped between two writes of a piece: the rest is not written, and whoever goes on takes it over."""
    scene.begin(Phase.BACKFILL)
    scene.when("ledger.publish", lambda: scene.operator.plane.panic(ALIAS))

    look_for_work(scene)

    assert scene.target() == {}
    scene.operator.plane.resume(ALIAS)
    scene.worker.work_to(Phase.READY)
    assert scene.target() == scene.source()


@pytest.mark.parametrize("hold", sorted(HOLDS))
@pytest.mark.parametrize("call", ["store.scan", "model.embed_documents", "ledger.publish", "store.insert_absent"])
def test_a_held_migration_goes_on_where_it_was(scene: Scene, hold: str, call: str) -> None:
    scene.begin(Phase.BACKFILL)
    scene.when(call, lambda: HOLDS[hold](scene), nth=2)
    look_for_work(scene)

    resumed = scene.operator.plane.resume(ALIAS)
    scene.worker.work_to(Phase.READY)

    assert resumed["paused_by"] is None
    assert scene.target() == scene.source()


def test_a_piece_that_was_given_back_is_taken_at_once(scene: Scene) -> None:
    """Nobody waits for the lease of a piece of which nothing was written."""
    scene.begin(Phase.BACKFILL)
    scene.when("ledger.publish", lambda: scene.operator.plane.pause(ALIAS))
    look_for_work(scene)
    scene.operator.plane.resume(ALIAS)

    assert scene.ledger.lease_chunk(
        ALIAS, scene.migration.id, owner=scene.operator.plane.router.client, lease_s=1, settle_s=5
    )


def test_what_writers_wait_for_is_carried_over_during_a_pause_and_not_after_a_stop(scene: Scene) -> None:
    scene.begin(Phase.READY)
    scene.operator.plane.cutover(ALIAS)
    scene.write(Document(id="d02", text="dirty at the way back"))
    scene.operator.plane.panic(ALIAS)
    # The flip of a rollback `--now` leaves documents whose truth is in the other field; its process dies here.
    scene.operator.plane.ledger.flip(
        scene.rig.route(),
        migration=advance(scene.migration, Phase.ROLLED_BACK),
        was=Phase.REVERSING,
        who="test",
        max_dirty=None,
        max_quarantined=None,
    )

    assert look_for_work(scene) == []
    assert scene.lag().foreign == 1

    scene.operator.plane.resume(ALIAS)
    scene.operator.plane.pause(ALIAS)
    look_for_work(scene)
    assert scene.lag().foreign == 0


@pytest.mark.parametrize("hold", sorted(HOLDS))
def test_searches_and_writes_go_on(scene: Scene, hold: str) -> None:
    scene.begin(Phase.BACKFILL)
    HOLDS[hold](scene)

    scene.app.alias.upsert([Document(id="new", text="text of a new one")])

    assert [document.id for document in scene.app.alias.get(["new"])] == ["new"]
    assert scene.app.alias.search("text of a new one", k=1).hits[0].id == "new"


@pytest.mark.parametrize("hold", sorted(HOLDS))
def test_a_write_that_waits_for_the_other_field_carries_its_own_documents(tmp_path: Path, hold: str) -> None:
    """With `mirror = "inline"` the writer does it: it is no worker, and its acknowledgement means both fields."""
    scene = Scene(tmp_path, mirror="inline").begin(Phase.READY)
    HOLDS[hold](scene)

    scene.app.alias.upsert([Document(id="d05", text="in both")])

    assert scene.target()["d05"] == "in both"


def test_an_obstacle_of_a_worker_does_not_end_a_pause(scene: Scene) -> None:
    """It notes what it waits for; that must not overrule the operator who came between its look and its note."""
    scene.begin(Phase.BACKFILL)
    scene.worker.faults.fail("store.scan", lambda: StoreUnavailable("the store sleeps"))
    scene.when("store.scan", lambda: scene.operator.plane.pause(ALIAS))

    look_for_work(scene, 5)

    assert scene.migration.run_status is RunStatus.PAUSED
    assert scene.migration.reason == ""


def test_a_halt_does_not_end_a_stop(scene: Scene) -> None:
    scene.begin(Phase.BACKFILL)
    scene.worker.faults.fail("model.embed_documents", lambda: EmbedderRejected("a wrong key"), times=50)
    scene.when("model.embed_documents", lambda: scene.operator.plane.panic(ALIAS))

    look_for_work(scene, 5)

    assert scene.migration.run_status is RunStatus.STOPPED


def test_the_status_says_who_paused_it_and_why_and_how_to_go_on(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.begin(Phase.BACKFILL)
    monkeypatch.setattr(scene.operator.plane, "_who", lambda: "ann")

    status = scene.operator.plane.pause(ALIAS, reason="a sale\nuntil noon")

    assert status["waiting_for"] == "an operator: ann paused it, because a sale until noon: undrift resume kb"
    paused = status["paused_by"]
    assert (paused["who"], paused["reason"], paused["ends_by"]) == ("ann", "a sale until noon", "undrift resume kb")
    assert paused["at"] == scene.rig.clock.now().isoformat()


def test_the_worker_says_the_same_as_the_status(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.begin(Phase.BACKFILL)
    monkeypatch.setattr(scene.operator.plane, "_who", lambda: "ann")
    status = scene.operator.plane.panic(ALIAS, reason="fire")
    worker, heard = scene.worker.worker(), []
    worker.on_wait = heard.append

    worker.tick()

    assert (
        heard == [status["waiting_for"]] == ["an operator: ann stopped every worker, because fire: undrift resume kb"]
    )


def test_the_pause_file_holds_every_worker_of_its_configuration(tmp_path: Path) -> None:
    scene = Scene(tmp_path).begin(Phase.BACKFILL)
    plane = scene.worker.plane
    plane.config = type(plane.config)(
        plane.config.settings.model_copy(update={"pause_file": "stop.work"}), plane.config.path
    )
    (tmp_path / "stop.work").touch()

    held = look_for_work(scene)
    status = plane.status(ALIAS)
    (tmp_path / "stop.work").unlink()
    scene.worker.work_to(Phase.READY)

    assert held == []
    assert status["waiting_for"] == f"the pause file {tmp_path}/stop.work: rm {tmp_path}/stop.work"
    assert scene.target() == scene.source()


def test_the_pause_file_holds_a_worker_in_the_middle_of_a_piece(tmp_path: Path) -> None:
    scene = Scene(tmp_path).begin(Phase.BACKFILL)
    plane = scene.worker.plane
    plane.config = type(plane.config)(
        plane.config.settings.model_copy(update={"pause_file": "stop.work"}), plane.config.path
    )
    scene.when("model.embed_documents", (tmp_path / "stop.work").touch)

    made = look_for_work(scene)

    assert made[-1] == "model.embed_documents"


def test_a_request_that_its_adapter_repeats_is_not_repeated_after_a_stop(scene: Scene) -> None:
    """An adapter that waits for its provider asks before it sends again, and names what it waits for."""
    scene.begin(Phase.BACKFILL)
    worker, heard = scene.worker.worker(), []
    worker.on_wait = heard.append
    sent: list[str] = []

    def patient(_texts: object) -> None:
        sent.append("once")
        BEFORE_RETRY.get()("a provider that is busy; tried again in 9 s")
        scene.operator.plane.panic(ALIAS)
        BEFORE_RETRY.get()("")
        sent.append("twice")

    scene.worker.plane.plugins.embedder("new", None).embed_documents = patient  # type: ignore[arg-type,method-assign,assignment]
    looks = iter([False, False, True])
    worker.run(lambda _: next(looks))

    assert sent == ["once"]
    assert heard[0] == "a provider that is busy; tried again in 9 s"


def test_a_guarded_store_has_the_abilities_of_its_store(scene: Scene) -> None:
    store = scene.rig.store()
    guarded = GuardedStore(store, lambda: None)

    assert isinstance(guarded, SupportsInsertAbsent)
    assert guarded.capabilities == store.capabilities
    assert {name for name in vars(VectorStore) if not name.startswith("_")} <= set(dir(guarded)) | {"capabilities"}


def test_a_model_that_does_not_answer_is_named_while_it_is_awaited(scene: Scene) -> None:
    scene.begin(Phase.BACKFILL)
    scene.worker.faults.fail("model.embed_documents", lambda: EmbedderUnavailable("the model sleeps"))
    worker, heard = scene.worker.worker(), []
    worker.on_wait = heard.append

    while not heard:
        worker.tick()

    assert heard == ["the model sleeps; tried again in 0.5 s"]


def test_a_paused_migration_is_not_paused_again_when_it_is_stopped(scene: Scene) -> None:
    scene.begin(Phase.BACKFILL)
    scene.operator.plane.panic(ALIAS, reason="fire")

    with pytest.raises(IllegalTransition, match="stopped already"):
        scene.operator.plane.pause(ALIAS)

    assert scene.migration.reason == "fire"
