"""A worker waits out what passes, stops for what does not, and says which it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.migrate.scene import DOCUMENTS, Scene, texts_of
from undrift.adapters.embedders.callable import CallableEmbedder
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.domain.migration import BEFORE_CUTOVER, Migration, Phase, RunStatus
from undrift.domain.record import DocumentId, Vectors
from undrift.errors import (
    BudgetExhausted,
    ControlUnavailable,
    EmbedderRejected,
    EmbedderUnavailable,
    LeaseLost,
    MalformedVectors,
    ModelChanged,
    StoreUnavailable,
    UndriftError,
)
from undrift.flow.probe import PROBE_QUERIES, PROBE_TEXTS
from undrift.migrate.engine import Tick
from undrift.migrate.sync import BATCH
from undrift.ports.embedder import EmbedderLimits
from undrift.testing.rig import ALIAS


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.rig.close()


def registered(scene: Scene, **budget: Any) -> None:
    scene.operator.plane.register(ALIAS, "new", **budget)


def is_ready(migration: Migration | None) -> bool:
    return migration is not None and migration.phase is Phase.READY


# What passes


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("store.scan", StoreUnavailable),
        ("ledger.lease_chunk", ControlUnavailable),
        ("ledger.alias", ControlUnavailable),
        ("model.embed_documents", EmbedderUnavailable),
    ],
)
def test_an_outage_is_waited_out_and_named_meanwhile(scene: Scene, call: str, error: type[UndriftError]) -> None:
    """The status says what is waited for; when it is over, it says so too."""
    scene.begin()
    times = 8 if call.startswith("model") else 2
    scene.worker.faults.fail(call, lambda: error("it is down for a while"), skip=3, times=times)
    waits: list[str] = []
    worker = scene.worker.worker()
    worker.on_wait = waits.append

    worker.run(is_ready)

    assert any("it is down for a while; tried again in" in reason for reason in waits)
    assert scene.migration.run_status is RunStatus.RUNNING
    assert scene.migration.reason == ""
    assert scene.target() == texts_of(DOCUMENTS)


def test_the_waits_grow_to_half_a_minute(scene: Scene) -> None:
    scene.begin()
    scene.worker.faults.fail("ledger.reap", lambda: StoreUnavailable("down"), times=8)
    moments: list[float] = []
    scene.worker.faults.on_call = lambda call: (
        moments.append(scene.rig.clock.monotonic()) if call == "ledger.reap" else None
    )

    scene.worker.worker().run(lambda _: len(moments) > 8)

    waits = [round(later - earlier, 1) for earlier, later in pairwise(moments)]
    assert waits[:8] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_what_another_process_did_first_is_no_failure(scene: Scene) -> None:
    scene.begin()
    scene.worker.faults.fail("ledger.lease_chunk", lambda: LeaseLost("it is another's"), times=3)

    scene.worker.worker().run(is_ready)

    assert scene.migration.reason == ""


def test_a_migration_that_is_cancelled_meanwhile_is_no_failure(scene: Scene) -> None:
    """The worker had a piece in hand; it looks again, and finds that there is nothing more to do."""
    scene.begin()
    scene.when("store.scan", lambda: scene.operator.plane.cancel(ALIAS))

    scene.worker.worker().run(lambda migration: migration is not None and migration.is_final)

    assert scene.migration.phase is Phase.ABORTED
    assert scene.migration.run_status is RunStatus.RUNNING


def test_a_migration_that_ends_while_documents_are_carried_is_no_failure(scene: Scene) -> None:
    scene.begin(Phase.REVERSING)
    scene.write(replace(DOCUMENTS[0], text="newer"))
    scene.when("ledger.claim", lambda: scene.operator.plane.complete(ALIAS))

    scene.worker.worker().run(lambda migration: migration is not None and migration.is_final)

    assert scene.migration.phase is Phase.DONE


# What does not pass


@pytest.mark.parametrize("error", [EmbedderRejected, MalformedVectors])
def test_what_a_person_has_to_mend_halts_the_migration_with_the_reason(scene: Scene, error: type[UndriftError]) -> None:
    scene.begin()
    scene.worker.faults.fail("model.embed_documents", lambda: error("the key is wrong", "so it said"), times=100)

    with pytest.raises(error):
        scene.worker.worker().run(is_ready)

    assert scene.migration.run_status is RunStatus.HALTED
    assert "the key is wrong" in scene.migration.reason
    assert "\n" not in scene.migration.reason
    assert "the key is wrong" in scene.operator.plane.status(ALIAS)["waiting_for"]


def test_a_halted_migration_is_left_alone_until_it_is_resumed(scene: Scene) -> None:
    scene.begin()
    scene.ledger.save_run_status(scene.migration.id, RunStatus.HALTED, reason="no", who="test")
    assert scene.worker.worker().tick() is Tick.IDLE

    scene.operator.plane.resume(ALIAS)

    scene.worker.work_to(Phase.READY)
    assert scene.migration.reason == ""


def test_a_pause_stops_the_back_fill_and_lets_it_go_on(scene: Scene) -> None:
    scene.begin()
    worker = scene.worker.worker()
    worker.tick()
    worker.tick()
    scene.operator.plane.pause(ALIAS)
    done = scene.target()

    assert [worker.tick() for _ in range(3)] == [Tick.IDLE] * 3
    assert scene.target() == done
    scene.operator.plane.resume(ALIAS)
    worker.run(is_ready)
    assert scene.target() == texts_of(DOCUMENTS)


def test_documents_come_before_the_back_fill(scene: Scene) -> None:
    """Writers may wait for them."""
    scene.begin()
    worker = scene.worker.worker()
    worker.tick()
    scene.write(replace(DOCUMENTS[11], text="newer"))

    worker.tick()

    assert scene.target() == {"d11": "newer"}


@pytest.mark.parametrize("written", [1, BATCH])
def test_who_writes_without_a_pause_does_not_keep_the_migration_from_its_end(scene: Scene, written: int) -> None:
    """Some documents are dirty at every look of the worker, few of them or whole batches."""
    scene.begin()
    turns = 0

    def write_and_look(migration: Migration | None) -> bool:
        nonlocal turns
        turns += 1
        assert turns < 600, migration
        documents = [replace(DOCUMENTS[0], id=f"hot-{number}", text=f"{turns}") for number in range(written)]
        scene.write(*documents)
        return is_ready(migration)

    scene.worker.worker().run(write_and_look)

    assert set(texts_of(DOCUMENTS)) <= set(scene.target())


def test_without_a_migration_there_is_nothing_to_do(scene: Scene) -> None:
    assert scene.worker.worker().tick() is Tick.IDLE


def test_a_wait_for_dirty_documents_is_named(scene: Scene) -> None:
    scene.begin(Phase.CATCHUP)
    scene.ledger.open(ALIAS, [DocumentId("d00")], client=scene.operator.plane.router.client, deadline_s=1000.0)
    scene.rig.clock.advance(3.0)
    waits: list[str] = []
    worker = scene.worker.worker()
    worker.on_wait = waits.append

    assert worker.tick() is Tick.IDLE
    who = scene.operator.plane.router.client
    what = "1 dirty document to be carried over, the oldest for 3 s: undrift worker kb helps"
    assert waits == [f"{what}; 1 write is open, of {who} for at most 997 s"]
    assert scene.migration.phase is Phase.CATCHUP


def test_a_verification_that_finds_differences_leads_back_to_the_catch_up(scene: Scene) -> None:
    scene.begin(Phase.VERIFY)
    scene.rig.memory.delete(scene.migration.target, [DocumentId("d00")])
    worker = scene.worker.worker()
    phases: list[Phase] = []

    def until(migration: Migration | None) -> bool:
        assert migration is not None
        phases.append(migration.phase)
        return migration.phase is Phase.READY

    worker.run(until)

    assert list(dict.fromkeys(phases)) == [Phase.VERIFY, Phase.CATCHUP, Phase.READY]
    assert scene.target() == texts_of(DOCUMENTS)


# The model changes behind its name (R23)


class Drifting:
    """A function whose weights are exchanged after so many texts of documents."""

    def __init__(self, after: int) -> None:
        self.left = after
        self.models = [HashingEmbedder(dimensions=24, seed="new"), HashingEmbedder(dimensions=24, seed="drifted")]

    def __call__(self, texts: Sequence[str]) -> Vectors:
        model = self.models[0 if self.left > 0 else 1]
        self.left -= sum(text not in (*PROBE_TEXTS, *PROBE_QUERIES) for text in texts)
        return np.asarray(model.embed_documents(texts))


class DriftingScene(Scene):
    """A migration to a function that changes."""

    def __init__(self, folder: Path, after: int) -> None:
        self.function = Drifting(after)
        model = CallableEmbedder(function=self.function, dimensions=24, name="drifting", normalized=True, batch_size=2)
        super().__init__(folder, models={"old": HashingEmbedder(dimensions=16, seed="old"), "new": model})


def drifting(tmp_path: Path, after: int, proof_s: float = 300.0) -> DriftingScene:
    scene = DriftingScene(tmp_path, after)
    registered(scene)
    scene.worker.plane.timing = replace(scene.worker.plane.timing, proof_s=proof_s)
    return scene


def test_a_worker_whose_model_has_changed_before_it_began_writes_nothing(tmp_path: Path) -> None:
    """The space was recorded with what the function gave then."""
    scene = drifting(tmp_path, after=1000)
    scene.function.models.reverse()

    with pytest.raises(ModelChanged):
        scene.worker.work_to(Phase.READY)

    assert scene.rig.store().describe(scene.migration.target) is None
    assert scene.migration.run_status is RunStatus.HALTED
    scene.rig.close()


@pytest.mark.parametrize("after", [3, 6, 10])
def test_a_model_that_changes_while_a_worker_uses_it_halts_the_migration(tmp_path: Path, after: int) -> None:
    """Proven again every so often; here before every piece."""
    scene = drifting(tmp_path, after=after, proof_s=0.0)

    with pytest.raises(ModelChanged):
        scene.worker.work_to(Phase.READY)

    assert scene.migration.run_status is RunStatus.HALTED
    assert scene.migration.reason.startswith("model new no longer gives the vectors")
    assert scene.migration.phase in BEFORE_CUTOVER
    for record in scene.rig.records(scene.migration.target).values():
        assert record.tag.space == scene.migration.target.space
    scene.rig.close()


def test_a_change_between_two_proofs_is_found_by_the_comparison(tmp_path: Path) -> None:
    """Vectors of the changed model may be in the target by then; they never come to serve."""
    scene = drifting(tmp_path, after=6)

    with pytest.raises(ModelChanged, match="are not what model new gives"):
        scene.worker.work_to(Phase.READY)

    assert scene.migration.run_status is RunStatus.HALTED
    assert scene.migration.phase is Phase.VERIFY
    with pytest.raises(UndriftError):
        scene.operator.plane.cutover(ALIAS)
    assert scene.rig.route().serving == scene.migration.source
    scene.rig.close()


# The budget


class Paid(HashingEmbedder):
    @property
    def limits(self) -> EmbedderLimits:
        return replace(super().limits, paid=True, batch_size=2, worth_keeping=True)


#: What it takes to prove that model.
PROOF = HashingEmbedder(dimensions=24).count_tokens([*PROBE_TEXTS, *PROBE_QUERIES]).tokens


def test_no_text_is_paid_for_twice_whatever_is_begun_again(tmp_path: Path) -> None:
    """Not by another document of the same text in another piece, nor by a migration that is begun once more."""
    models = {"old": HashingEmbedder(dimensions=16, seed="old"), "new": Paid(dimensions=24, seed="new")}
    scene = Scene(tmp_path, models=models)
    scene.write(*(replace(document, text=f"text {place % 3}") for place, document in enumerate(DOCUMENTS)))
    registered(scene, budget_tokens=5000)
    scene.worker.work_to(Phase.READY, sample=0)
    once = scene.migration.tokens - PROOF

    scene.operator.plane.cancel(ALIAS, drop=True)
    registered(scene, budget_tokens=5000)
    scene.worker.work_to(Phase.READY, sample=0)

    assert once == Paid(dimensions=24, seed="new").count_tokens([f"text {place}" for place in range(3)]).tokens
    found = scene.ledger.spending(scene.migration.id)
    assert found.spent == found.proofs
    assert set(scene.target().values()) == {"text 0", "text 1", "text 2"}
    scene.rig.close()


def test_a_budget_halts_the_migration_exactly_and_more_lets_it_go_on(tmp_path: Path) -> None:
    """Twelve documents of four tokens each; a request has two, and the last that can be paid for has one.

    The model is proven first, which is paid for as well.
    """
    models = {"old": HashingEmbedder(dimensions=16, seed="old"), "new": Paid(dimensions=24, seed="new")}
    scene = Scene(tmp_path, models=models)
    registered(scene, budget_tokens=PROOF + 22)

    with pytest.raises(BudgetExhausted):
        scene.worker.work_to(Phase.READY, sample=0)
    assert (scene.migration.tokens, scene.migration.run_status) == (PROOF + 20, RunStatus.HALTED)

    scene.operator.plane.tune(ALIAS, {"budget_tokens": str(PROOF + 48)})
    scene.operator.plane.resume(ALIAS)
    scene.worker.work_to(Phase.READY, sample=0)

    assert scene.migration.tokens == PROOF + 48
    assert scene.target() == texts_of(DOCUMENTS)
    scene.rig.close()
