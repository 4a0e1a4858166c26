"""Every wait names what it is and what ends it, for whoever looks at the status from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.migrate.scene import Scene
from undrift import Document
from undrift.domain.client import ClientId
from undrift.domain.migration import Phase
from undrift.domain.record import DocumentId
from undrift.errors import BudgetExhausted, EmbedderUnavailable
from undrift.testing.rig import ALIAS


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.rig.close()


def waiting_for(scene: Scene) -> str:
    return str(scene.operator.plane.status(ALIAS)["waiting_for"])


def look(scene: Scene, times: int = 5) -> None:
    worker = scene.worker.worker()
    for _ in range(times):
        worker.tick()
        scene.rig.clock.sleep(0.6)


def acknowledgement(scene: Scene) -> str:
    scene.operator.plane.register(ALIAS, "new")
    scene.app.paused = True
    seen: list[str] = []
    worker = scene.worker.worker()
    worker.on_wait = lambda _: seen.append(waiting_for(scene))
    worker.tick()
    return seen[-1]


def held(scene: Scene) -> str:
    scene.begin(Phase.READY)
    scene.ledger.hold(scene.rig.route(), 5.0)
    return waiting_for(scene)


def foreign(scene: Scene) -> str:
    scene.begin(Phase.REVERSING)
    scene.write(Document(id="d01", text="newer"))
    scene.worker.faults.fail("store.upsert", lambda: EmbedderUnavailable("down"), times=1000)
    # A rollback at once, whose process cannot carry the document back.
    scene.operator.faults.fail("store.", lambda: EmbedderUnavailable("down"), times=10**6)
    seen: list[str] = []
    app = scene.rig.process("viewer")

    def stop(_: str) -> None:
        seen.append(str(app.plane.status(ALIAS)["waiting_for"]))
        raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, EmbedderUnavailable)):
        scene.operator.plane.rollback(ALIAS, now=True, on_wait=stop)
    return seen[-1]


def foreign_and_open(scene: Scene) -> str:
    scene.begin(Phase.READY)
    scene.ledger.open(ALIAS, [DocumentId("d01")], client=ClientId("billing-7"), deadline_s=600.0)
    seen: list[str] = []

    def stop(told: str) -> None:
        seen.append(told)
        if "in the other field" in told:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scene.operator.plane.cutover(ALIAS, on_wait=stop)
    return seen[-1]


def another_holds_a_piece(scene: Scene) -> str:
    scene.begin(Phase.BACKFILL)
    look(scene, 1)
    owner = scene.operator.plane.router.client
    while scene.ledger.lease_chunk(ALIAS, scene.migration.id, owner=owner, lease_s=600.0, settle_s=5.0):
        pass
    look(scene)
    return waiting_for(scene)


def another_compares(scene: Scene) -> str:
    scene.begin(Phase.VERIFY)
    scene.ledger.coordinate(scene.migration.id, owner=scene.operator.plane.router.client, lease_s=600.0)
    look(scene)
    return waiting_for(scene)


def lag(scene: Scene) -> str:
    scene.begin(Phase.CATCHUP)
    scene.write(Document(id="d01", text="newer"))
    scene.ledger.claim(ALIAS, owner=scene.operator.plane.router.client, limit=9, lease_s=600.0, settle_s=5.0)
    scene.rig.clock.sleep(3)
    look(scene)
    return waiting_for(scene)


def model_down(scene: Scene) -> str:
    scene.begin(Phase.BACKFILL)
    scene.worker.faults.fail("model.", lambda: EmbedderUnavailable("model new does not answer"), times=10**6)
    seen: list[str] = []

    def ended(_: object) -> bool:
        seen.append(waiting_for(scene))
        return len(seen) > 4

    scene.worker.worker().run(ended)
    return seen[-1]


def budget(scene: Scene) -> str:
    scene.operator.plane.register(ALIAS, "new", budget_tokens=1)
    with pytest.raises(BudgetExhausted):
        scene.worker.work_to(Phase.READY)
    return waiting_for(scene)


def nobody(scene: Scene) -> str:
    scene.operator.plane.register(ALIAS, "new")
    return waiting_for(scene)


#: What is waited for, what the status has to name of it, and what ends it.
WAITS: list[tuple[Callable[[Scene], str], str, str]] = [
    (acknowledgement, "1 client to acknowledge, such as app pid ", "or until that process ends"),
    (held, "a cutover that makes writers wait", "it ends by itself"),
    (foreign, "1 document with the truth still in the other field", "undrift worker kb"),
    (
        foreign_and_open,
        "1 document with the truth still in the other field",
        "1 write is open, of billing-7 for at most ",
    ),
    (another_holds_a_piece, "3 pieces that other workers hold", "it is taken over within 35 s"),
    (another_compares, "another worker, which compares both fields", ""),
    (lag, "1 dirty document to be carried over", "undrift worker kb"),
    (model_down, "model new does not answer", "tried again in "),
    (budget, "would spend more than its budget", ", then undrift resume kb"),
    (nobody, "a worker", "undrift worker"),
]


@pytest.mark.parametrize(("wait", "named", "ends"), WAITS, ids=[wait.__name__ for wait, _, _ in WAITS])
def test_a_wait_is_named_with_what_ends_it(scene: Scene, wait: Callable[[Scene], str], named: str, ends: str) -> None:
    told = wait(scene)

    assert named in told
    assert ends in told


def test_what_stands_still_promises_no_end(scene: Scene) -> None:
    scene.begin(Phase.BACKFILL)
    look(scene, 2)
    going = scene.operator.plane.status(ALIAS)["progress"]
    scene.operator.plane.pause(ALIAS)

    standing = scene.operator.plane.status(ALIAS)["progress"]

    assert going["rate_per_s"] > 0
    assert (standing["rate_per_s"], standing["eta_s"], standing["eta_least_s"]) == (None, None, None)
    assert standing["done"] == going["done"] < standing["total"]
