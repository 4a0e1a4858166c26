"""A pool carries the pieces for a worker, and whatever becomes of the pool, nothing is lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.unit.cli.running import CONFIG
from tests.unit.migrate.scene import DOCUMENTS, Scene, texts_of
from undrift import Document
from undrift.config import load, parse
from undrift.control import ControlPlane
from undrift.control.pooling import open_hand, refuse_unreachable
from undrift.domain.client import ClientId
from undrift.domain.migration import Migration, Phase, RunStatus
from undrift.domain.route import AliasName
from undrift.errors import BadConfig, PoolUnavailable
from undrift.migrate.engine import Worker
from undrift.migrate.fleet import Fleet, has_moved_on, is_enough
from undrift.ports.pool import Errand, Hand, Job, Outcome
from undrift.release import VERSION
from undrift.testing.rig import ALIAS, Process


@dataclass
class FakeJob:
    """Carries a piece whenever it is looked at, in another process of the rig."""

    pool: FakePool
    errand: Errand
    pieces: int

    def told(self) -> Sequence[Outcome]:
        if self.pool.troubles:
            trouble = self.pool.troubles.popleft()
            if isinstance(trouble, Exception):
                self.pieces = 0
                raise trouble
            return [trouble]
        if not self.pieces:
            return []
        self.pieces -= 1
        worker = self.pool.hand
        before = worker.carried
        worker.run(lambda migration: worker.carried > before or has_moved_on(migration, self.errand))
        return [Outcome(documents=worker.carried - before, host="elsewhere", pid=7)]

    @property
    def is_over(self) -> bool:
        return not self.pieces

    def close(self, patience_s: float) -> None:
        assert patience_s > 0
        self.pool.on_close(self.errand)
        self.pieces = 0


@dataclass
class FakePool:
    process: Process
    others: Sequence[str] = ()
    troubles: deque[Exception | Outcome] = field(default_factory=deque)
    begun: list[int] = field(default_factory=list)
    on_close: Callable[[Errand], None] = lambda _: None

    def __post_init__(self) -> None:
        self.hand = self.process.worker()

    def hosts(self) -> Sequence[str]:
        return self.others

    def begin(self, errand: Errand, opener: Callable[[Errand], Hand], pieces: int) -> Job:
        self.begun.append(pieces)
        return FakeJob(self, errand, pieces)

    def close(self) -> None:
        pass


@dataclass
class NoPool:
    """Has hosts, and no process."""

    others: Sequence[str] = ()

    def hosts(self) -> Sequence[str]:
        return self.others

    def begin(self, errand: Errand, opener: Callable[[Errand], Hand], pieces: int) -> Job:
        raise AssertionError("nobody is sent out here")

    def close(self) -> None:
        pass


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.rig.close()


@pytest.fixture
def pool(scene: Scene) -> FakePool:
    return FakePool(scene.rig.process("pool"))


def driver(scene: Scene, pool: FakePool) -> Worker:
    shop = scene.workshop

    def errand(migration: Migration) -> Errand:
        return Errand(configuration="", alias=ALIAS, migration=migration.id, caller=shop.me, version=VERSION)

    worker = scene.worker.worker()
    worker.fleet = Fleet(workshop=shop, pool=pool, opener=open_hand, errand_of=errand)
    return worker


def is_ready(migration: Migration | None) -> bool:
    return migration is not None and migration.phase is Phase.READY


def test_the_pool_carries_every_piece_and_the_worker_what_writers_touch(scene: Scene, pool: FakePool) -> None:
    scene.operator.plane.register(ALIAS, "new")
    worker = driver(scene, pool)
    worker.run(lambda migration: migration is not None and migration.phase is Phase.BACKFILL)
    scene.write(Document(id="d00", text="another text", metadata={}))

    worker.run(is_ready)

    assert (worker.carried, pool.hand.carried) == (0, len(DOCUMENTS))
    assert pool.begun == [3]
    assert scene.target() == {**texts_of(DOCUMENTS), "d00": "another text"}
    assert scene.rig.mistakes(scene.migration.target) == []


def test_a_pool_that_is_lost_is_sent_out_again_for_the_rest(scene: Scene, pool: FakePool) -> None:
    scene.operator.plane.register(ALIAS, "new")
    worker = driver(scene, pool)
    waits: list[str] = []
    worker.on_wait = waits.append
    worker.run(lambda _: pool.hand.carried > 0)
    pool.troubles.append(PoolUnavailable("the cluster is gone"))

    worker.run(is_ready)

    assert pool.begun == [3, 2, 2]
    assert any("the cluster is gone; tried again in" in reason for reason in waits)
    assert scene.target() == texts_of(DOCUMENTS)


def test_a_process_of_the_pool_that_cannot_do_the_work_is_named(scene: Scene, pool: FakePool) -> None:
    scene.operator.plane.register(ALIAS, "new")
    pool.troubles.append(Outcome(documents=0, host="gpu-3", pid=7, unfit="'models:embed' cannot be imported"))

    with pytest.raises(BadConfig, match="gpu-3 cannot work on kb") as caught:
        driver(scene, pool).run(is_ready)

    assert "'models:embed' cannot be imported" in caught.value.detail
    assert scene.migration.run_status is RunStatus.RUNNING, "other workers go on"


def test_a_pool_that_comes_back_with_nothing_is_not_sent_out_again_at_once(scene: Scene, pool: FakePool) -> None:
    scene.begin()
    worker = driver(scene, pool)
    fleet = worker.fleet
    assert fleet is not None
    while not pool.begun:
        worker.tick()
    nothing = Outcome(documents=0, host="elsewhere", pid=7)
    began = scene.rig.clock.monotonic()
    for _ in range(4):
        pool.troubles.append(nothing)
        assert fleet.tend(scene.migration) is False
        fleet._job.pieces = 0  # type: ignore[union-attr]
        fleet.tend(scene.migration)
        sent = len(pool.begun)
        while len(pool.begun) == sent:
            fleet.tend(scene.migration)
            scene.rig.clock.sleep(0.5)

    assert scene.rig.clock.monotonic() - began >= 1 + 2 + 4 + 8


def test_a_worker_that_is_told_to_stop_tells_its_pool(scene: Scene, pool: FakePool) -> None:
    scene.operator.plane.register(ALIAS, "new")
    worker = driver(scene, pool)
    heard = []
    pool.on_close = lambda errand: heard.append(is_enough(scene.ledger.tuning(ALIAS), errand.caller))

    worker.run(lambda _: pool.hand.carried > 0)

    assert heard == [True]
    assert not is_enough(scene.ledger.tuning(ALIAS), worker.workshop.me)


@pytest.mark.parametrize("act", ["pause", "cancel"])
def test_an_operator_s_word_reaches_the_processes_of_the_pool(scene: Scene, pool: FakePool, act: str) -> None:
    scene.operator.plane.register(ALIAS, "new")
    worker = driver(scene, pool)
    worker.run(lambda _: pool.hand.carried > 0)
    before = pool.hand.carried
    getattr(scene.operator.plane, act)(ALIAS)
    errand = replace(worker.fleet.errand_of(scene.migration), caller=ClientId("x"))  # type: ignore[union-attr]

    assert FakeJob(pool, errand, 1).told()[0].documents == 0
    assert pool.hand.carried == before


# What works in a process of the pool


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    (tmp_path / "undrift.toml").write_text(CONFIG)
    with ControlPlane(load(tmp_path / "undrift.toml")) as plane:
        plane._pool = NoPool()
        plane.alias("kb").upsert([Document(id=f"d{n:03d}", text=f"text {n}", metadata={}) for n in range(300)])
        plane.register("kb", "new")
        plane.work("kb", lambda migration: migration is not None and migration.planned)
        yield plane


def errand(plane: ControlPlane, **changes: object) -> Errand:
    workshop = plane.workshop(AliasName("kb"))
    return replace(plane._errand(workshop, workshop.migration()), **changes)  # type: ignore[arg-type]


def test_a_hand_carries_piece_after_piece_until_there_is_none_left(plane: ControlPlane) -> None:
    hand = open_hand(errand(plane))

    told = [hand.carry() for _ in range(3)]
    hand.close()

    assert [outcome.documents for outcome in told] == [256, 44, 0]
    assert not any(outcome.unfit for outcome in told)
    assert plane.workshop(AliasName("kb")).migration().phase is not Phase.BACKFILL or told[-1].documents == 0


def test_a_hand_takes_no_further_piece_once_its_caller_has_enough(plane: ControlPlane) -> None:
    asked = errand(plane)
    plane.ledger.tune(asked.alias, {f"@pool.{asked.caller}": "over"})

    assert open_hand(asked).carry().documents == 0
    assert plane.ledger.chunk_progress(asked.migration)[1] == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"version": "0.0.1"}, "and 0.0.1 asks"),
        ({"migration": "another"}, "knows nothing of this migration of kb"),
        ({"configuration": "nowhere/undrift.toml"}, "nowhere/undrift.toml"),
    ],
    ids=["version", "ledger", "configuration"],
)
def test_a_hand_that_cannot_do_the_work_says_why(plane: ControlPlane, change: dict[str, str], told: str) -> None:
    outcome = open_hand(errand(plane, **change)).carry()

    assert outcome.documents == 0
    assert told in outcome.unfit


def test_a_model_that_cannot_be_imported_there_is_told_before_a_piece_is_taken(
    plane: ControlPlane, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "undrift-elsewhere.toml"
    text = CONFIG.replace(
        'provider = "hashing"\ndimensions = 32\nseed = "new"', 'provider = "callable"\nfunction = "no_such:f"'
    )
    elsewhere.write_text(text)

    outcome = open_hand(errand(plane, configuration=str(elsewhere))).carry()

    assert "no_such" in outcome.unfit
    assert plane.ledger.chunk_progress(errand(plane).migration)[1] == 0


# What is refused


def test_files_of_this_host_are_refused_to_a_cluster_of_others(plane: ControlPlane) -> None:
    workshop = plane.workshop(AliasName("kb"))

    with pytest.raises(BadConfig, match="the engine ray cannot work on kb") as caught:
        refuse_unreachable(plane.config, workshop, NoPool(others=["another-host"]))

    assert "the ledger sqlite:///undrift.db is a file of this host" in caught.value.detail
    assert "store main is in files of this host, which another-host cannot use" in caught.value.detail


def test_a_store_in_memory_is_refused_on_one_host_too(plane: ControlPlane, tmp_path: Path) -> None:
    values = {"stores": {"main": {"url": "memory:x"}}}

    with pytest.raises(BadConfig) as caught:
        refuse_unreachable(parse(values, tmp_path / "none.toml"), plane.workshop(AliasName("kb")), NoPool())

    assert "store main is in the memory of this process" in caught.value.detail
    assert "the configuration is in no file" in caught.value.detail
