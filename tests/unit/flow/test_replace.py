"""Documents that belong together are replaced together: what is interrupted leaves a union, and never less."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from undrift import Document
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.domain.migration import Phase
from undrift.domain.record import Vectors
from undrift.errors import BadArgument, BadDocument, OutcomeUnknown, StoreRejected
from undrift.flow.alias import WRITE_BATCH
from undrift.testing.faults import Killed, When
from undrift.testing.rig import ALIAS, Layout, Process, Rig

SOURCE: dict[str, Any] = {"source": "guide.pdf"}


class Counted(HashingEmbedder):
    """Remembers what it was asked for."""

    def __init__(self, seed: str, dimensions: int) -> None:
        super().__init__(seed=seed, dimensions=dimensions)
        self.asked: list[str] = []

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        self.asked += texts
        return super().embed_documents(texts)


def chunks(source: str, *texts: str) -> list[Document]:
    return [
        Document(id=f"{source}#{number}", text=text, metadata={"source": source, "chunk": number})
        for number, text in enumerate(texts)
    ]


OLD = chunks("guide.pdf", "the beginning", "the middle", "the end", "an appendix")
NEW = chunks("guide.pdf", "the beginning", "another middle")
OTHERS = chunks("other.pdf", "something else", "and more")


class Scene:
    """Two sources in a collection."""

    def __init__(self, folder: Path, layout: Layout = Layout.MEMORY) -> None:
        self.models = {"old": Counted("old", 16), "new": Counted("new", 24)}
        timing = {"deadline_s": 10.0, "lease_s": 10.0, "fence_horizon_s": 5.0, "write_timeout_s": 60.0}
        self.rig = Rig(folder=folder, layout=layout, models=self.models, timing=timing)
        self.app = self.rig.process("app")
        self.app.alias.upsert([*OLD, *OTHERS])
        self.operator = self.rig.process("operator")

    def migrate(self, phase: Phase) -> Scene:
        self.operator.plane.register(ALIAS, "new")
        self.operator.work_to(Phase.READY if phase is Phase.REVERSING else phase)
        if phase is Phase.REVERSING:
            self.operator.plane.cutover(ALIAS)
        self.rig.clock.sleep(2)
        self.app.alias.count()
        return self

    def texts(self) -> dict[str, str]:
        return {id: record.text for id, record in self.rig.records(self.rig.route().serving).items()}

    def settle(self) -> None:
        """Let a worker carry over what is dirty, also when somebody died in the middle."""
        self.rig.bury_the_killed()
        worker = self.operator.worker()
        for _ in range(1000):
            lag = self.operator.plane.ledger.lag(ALIAS)
            if not lag.dirty and not lag.open:
                return
            worker.tick()
            self.rig.clock.sleep(0.5)
        pytest.fail("documents stay dirty")


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.rig.close()


def texts_of(*documents: Document) -> dict[str, str]:
    return {document.id: document.text for document in documents}


def test_what_is_not_among_the_new_chunks_is_gone_and_other_sources_stay(scene: Scene) -> None:
    receipt = scene.app.alias.replace(NEW, filter=SOURCE)

    assert scene.texts() == texts_of(*NEW, *OTHERS)
    assert receipt.ids == ("guide.pdf#0", "guide.pdf#1", "guide.pdf#2", "guide.pdf#3")
    assert scene.rig.differences(scene.rig.route().serving, [*NEW, *OTHERS]) == []


def test_a_chunk_whose_text_stays_is_not_embedded_again(scene: Scene) -> None:
    scene.models["old"].asked.clear()

    scene.app.alias.replace(NEW, filter=SOURCE)

    assert scene.models["old"].asked == ["another middle"]


def test_with_no_documents_the_group_is_deleted_and_another_call_changes_nothing(scene: Scene) -> None:
    for _ in range(2):
        scene.app.alias.replace([], filter=SOURCE)
        assert scene.texts() == texts_of(*OTHERS)


def test_a_group_of_many_chunks_is_one_bracket(scene: Scene) -> None:
    scene.migrate(Phase.READY)
    many = chunks("guide.pdf", *(f"chunk {number}" for number in range(2 * WRITE_BATCH + 1)))
    scene.app.faults.calls.clear()

    scene.app.alias.replace(many, filter=SOURCE)

    calls = [call for call in scene.app.faults.calls if call in ("ledger.open", "ledger.close", "store.upsert")]
    assert calls == ["ledger.open", *["store.upsert"] * 3, "ledger.close"]
    scene.settle()
    follower = scene.rig.route().follower
    assert follower is not None
    assert scene.rig.differences(follower, [*many, *OTHERS]) == []


@pytest.mark.parametrize(
    ("documents", "filter", "error", "complaint"),
    [
        (NEW, {}, BadArgument, "needs a filter"),
        ([*NEW, *OTHERS], SOURCE, BadDocument, r"'other\.pdf#0' does not match"),
        ([*NEW, NEW[0]], SOURCE, BadDocument, "comes twice"),
        ([Document(id="x", text=" ", metadata=SOURCE)], SOURCE, BadDocument, "blank"),
    ],
)
def test_a_replacement_that_would_leave_something_behind_is_refused(
    scene: Scene, documents: list[Document], filter: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        scene.app.alias.replace(documents, filter=filter)

    assert scene.texts() == texts_of(*OLD, *OTHERS)


def test_what_moved_to_another_group_meanwhile_is_spared(scene: Scene) -> None:
    """The ids are looked up first; what is deleted still has to match then."""
    other = scene.rig.process("other")

    def move(call: str) -> None:
        if call == "store.delete":
            other.alias.update_metadata("guide.pdf#3", {"source": "kept.pdf"})

    scene.app.faults.on_call = move
    scene.app.alias.replace(NEW, filter=SOURCE)

    assert scene.texts().keys() == {"guide.pdf#0", "guide.pdf#1", "guide.pdf#3", *texts_of(*OTHERS)}


@pytest.mark.parametrize("phase", [None, Phase.READY, Phase.REVERSING], ids=["passive", "ready", "reversing"])
@pytest.mark.parametrize("layout", [Layout.TWO_FILES, Layout.ONE_FILE], ids=lambda layout: layout.value)
def test_killed_at_any_call_it_leaves_a_union_that_a_migration_keeps_right(
    tmp_path: Path, layout: Layout, phase: Phase | None
) -> None:
    died = 0
    for number in range(40):
        folder = tmp_path / str(number)
        folder.mkdir()
        scene = Scene(folder, layout)
        if phase is not None:
            scene.migrate(phase)
        scene.app.faults.kill_at(number, When.BEFORE if number % 2 else When.AFTER)
        try:
            scene.app.alias.replace(NEW, filter=SOURCE)
        except Killed:
            died += 1
        finished = not scene.app.faults.dead
        found = scene.texts()
        assert texts_of(*OTHERS).items() <= found.items()
        groups = found.keys() - texts_of(*OTHERS).keys()
        assert groups <= texts_of(*OLD).keys()
        assert groups >= texts_of(*NEW).keys()
        assert groups == texts_of(*OLD).keys() or found == texts_of(*NEW, *OTHERS)
        assert found["guide.pdf#1"] in ("the middle", "another middle")
        if phase is not None:
            scene.settle()
            follower = scene.rig.route().follower
            assert follower is not None
            truth = scene.rig.records(scene.rig.route().serving)
            documents = [Document(id=id, text=one.text, metadata=one.metadata) for id, one in truth.items()]
            assert scene.rig.differences(follower, documents) == []
        again = scene.rig.process("again")
        again.alias.replace(NEW, filter=SOURCE)
        assert scene.texts() == texts_of(*NEW, *OTHERS)
        scene.rig.close()
        if finished:
            break
    assert finished
    assert died >= 2


def slow_after(process: Process, rig: Rig, call: str, seconds: float) -> None:
    """Let time pass after the first call of a name: its process stands still then."""
    seen: list[str] = []

    def stand_still(name: str) -> None:
        if name == call and not seen:
            seen.append(name)
            process.paused = True
            rig.clock.advance(seconds)

    process.faults.on_call = stand_still


@pytest.mark.parametrize("phase", [None, Phase.READY], ids=["passive", "journaled"])
def test_nothing_more_is_sent_when_the_time_is_over(scene: Scene, phase: Phase | None) -> None:
    """Others count on nothing of a write landing after its deadline, or after its process's lease."""
    if phase is not None:
        scene.migrate(phase)
    slow_after(scene.app, scene.rig, "store.upsert", 60)

    with pytest.raises(OutcomeUnknown, match="guide"):
        scene.app.alias.replace(NEW, filter=SOURCE)

    assert scene.app.faults.calls.count("store.delete") == 0
    assert scene.texts().keys() == texts_of(*OLD, *OTHERS).keys()
    scene.app.paused = False
    scene.app.faults.on_call = lambda _: None
    scene.app.plane.router.beat()
    scene.app.alias.replace(NEW, filter=SOURCE)
    assert scene.texts() == texts_of(*NEW, *OTHERS)


def test_a_store_that_refuses_a_part_loses_nothing(scene: Scene) -> None:
    scene.migrate(Phase.READY)
    many = chunks("guide.pdf", *(f"chunk {number}" for number in range(WRITE_BATCH + 3)))
    scene.app.faults.fail("store.upsert", lambda: StoreRejected("it will not take it"), skip=1)

    with pytest.raises(StoreRejected):
        scene.app.alias.replace(many, filter=SOURCE)

    assert texts_of(*many[:WRITE_BATCH], *OTHERS).items() <= scene.texts().items()
    scene.settle()
    assert scene.operator.plane.verify(ALIAS)["verdict"] == "pass"


def by_source(scene: Scene) -> None:
    scene.app.alias.replace(NEW, filter=SOURCE)


def by_range(scene: Scene) -> None:
    scene.app.alias.replace(
        [Document(id="merged", text="the end", metadata={"source": "guide.pdf", "chunk": 2})],
        filter={"source": "guide.pdf", "chunk": {"$gte": 1}},
    )


@pytest.mark.parametrize(
    ("act", "left"),
    [
        (by_source, {"guide.pdf#0", "guide.pdf#1", "other.pdf#0", "other.pdf#1"}),
        (by_range, {"guide.pdf#0", "merged", "other.pdf#0", "other.pdf#1"}),
    ],
)
def test_any_filter_names_a_group(scene: Scene, act: Callable[[Scene], None], left: set[str]) -> None:
    act(scene)

    assert scene.texts().keys() == left


def test_a_tenant_is_deleted_and_another_replaced_while_the_collection_migrates(scene: Scene) -> None:
    """Many tenants share a collection; what is done for one is not seen by the others, in both fields."""
    tenants = [
        Document(id=f"{tenant}-{number}", text=f"text {number} of {tenant}", metadata={"tenant": tenant, "n": number})
        for tenant in ("acme", "beta", "core")
        for number in range(30)
    ]
    scene.app.alias.upsert(tenants)
    scene.migrate(Phase.BACKFILL)
    scene.app.alias.delete(filter={"tenant": "acme"})
    fresh = [Document(id=f"beta-{number}", text=f"new {number}", metadata={"tenant": "beta"}) for number in range(3)]
    scene.app.alias.replace(fresh, filter={"tenant": "beta"})
    scene.operator.work_to(Phase.READY)
    scene.operator.plane.cutover(ALIAS)
    scene.rig.clock.sleep(2)
    scene.app.alias.delete(filter={"tenant": "core", "n": {"$lt": 10}})
    scene.settle()

    left = [*fresh, *(one for one in tenants if one.metadata["tenant"] == "core" and one.metadata["n"] >= 10)]
    route = scene.rig.route()
    for place in (route.serving, route.follower):
        assert place is not None
        assert scene.rig.differences(place, [*OLD, *OTHERS, *left]) == []
    hits = scene.app.alias.search("text 3", k=50, filter={"tenant": "core"})
    assert {hit.metadata["tenant"] for hit in hits} == {"core"}
    assert len(hits) == scene.app.alias.count({"tenant": "core"}) == 20
