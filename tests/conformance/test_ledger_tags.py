"""A store whose tags are in the ledger keeps the promises of a store, whoever dies between the two."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conformance.test_memory import MemorySideDoor
from undrift.adapters.ledgers.sqlite import SqliteLedger
from undrift.adapters.sqlite import Database
from undrift.adapters.stores.ledger_tags import LedgerTaggedStore, tag_field
from undrift.adapters.stores.memory import MemoryStore
from undrift.domain.record import NO_TAG, DocumentId, Record, content_hash, is_tagged, tag_from_stored
from undrift.domain.route import VectorField
from undrift.domain.space import Metric
from undrift.errors import ControlUnavailable
from undrift.ports.store import (
    Layout,
    Part,
    StoreCapabilities,
    SupportsInPlace,
    SupportsInsertAbsent,
    SupportsNames,
)
from undrift.testing.clock import VirtualClock
from undrift.testing.faults import Faults, Killed, When
from undrift.testing.stores.changes import ChangeTests
from undrift.testing.stores.fields import FieldTests
from undrift.testing.stores.filters import FilterTests
from undrift.testing.stores.reads import ReadTests
from undrift.testing.stores.samples import SPACE, assert_same, record, unit_vectors
from undrift.testing.stores.writes import WriteTests

HORIZON_S = 100.0
FIELD = VectorField(store="main", collection="docs?tags=ledger", space=SPACE.id)
A = DocumentId("a")
V1, V2, V3 = unit_vectors(3, 8)


class TaggedSideDoor(MemorySideDoor):
    """The dictionary, and the ledger's rows beside it, put together as they should be."""

    def __init__(self, store: MemoryStore, ledger: SqliteLedger) -> None:
        super().__init__(store)
        self._ledger = ledger

    def read(self, field: VectorField, id: DocumentId) -> Record | None:
        found = super().read(field, id)
        if found is None:
            return None
        assert not is_tagged(found.tag), "a tag was written into the record"
        tags = self._ledger.tags_of(tag_field(field), [id]).get(id, [])
        return replace(found, tag=next((one for one in tags if one.content == content_hash(found.text)), NO_TAG))

    def write(self, field: VectorField, record: Record) -> None:
        super().write(field, replace(record, tag=NO_TAG))
        self._ledger.put_tags(tag_field(field), {record.id: record.tag})


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def ledger(tmp_path: Path, clock: VirtualClock) -> Iterator[SqliteLedger]:
    ledger = SqliteLedger(Database(tmp_path / "ledger.db"), clock, boot_id="one")
    yield ledger
    ledger.close_ledger()


@pytest.fixture
def inner() -> MemoryStore:
    return MemoryStore()


class TestTagsInTheLedger(FieldTests, WriteTests, ChangeTests, ReadTests, FilterTests):
    """All promises but those of a search's hits, which have no tags."""

    @pytest.fixture
    def store(self, inner: MemoryStore, ledger: SqliteLedger) -> LedgerTaggedStore:
        return LedgerTaggedStore(inner, ledger, horizon_s=HORIZON_S)

    @pytest.fixture
    def side_door(self, inner: MemoryStore, ledger: SqliteLedger) -> TaggedSideDoor:
        return TaggedSideDoor(inner, ledger)


class Scene:
    """One collection with tags in the ledger, and processes that use it."""

    def __init__(self, inner: MemoryStore, ledger: SqliteLedger, clock: VirtualClock) -> None:
        self.inner, self.ledger, self.clock = inner, ledger, clock
        self.ours = LedgerTaggedStore(inner, ledger, horizon_s=HORIZON_S)
        self.ours.create(FIELD, dimensions=8, metric=Metric.COSINE)

    def process(self) -> tuple[LedgerTaggedStore, Faults]:
        faults = Faults()
        return LedgerTaggedStore(faults.store(self.inner), faults.ledger(self.ledger), horizon_s=HORIZON_S), faults

    def rows(self) -> list[str]:
        return [tag.content for tag in self.ledger.tags_of(tag_field(FIELD), [A]).get(A, [])]


@pytest.fixture
def scene(inner: MemoryStore, ledger: SqliteLedger, clock: VirtualClock) -> Scene:
    return Scene(inner, ledger, clock)


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("when", [When.BEFORE, When.AFTER], ids=["before", "after"])
def test_wherever_a_writer_dies_the_record_has_the_tag_of_its_own_text(scene: Scene, number: int, when: When) -> None:
    old, new = record("a", V1, text="old"), record("a", V2, text="new", sequence=4)
    scene.ours.upsert(FIELD, [old])
    scene.clock.advance(2 * HORIZON_S)
    dying, faults = scene.process()
    faults.kill_at(number, when)

    killed = True
    try:
        dying.upsert(FIELD, [new])
        killed = False
    except Killed:
        pass

    assert killed is (number < 3)
    found = scene.ours.fetch(FIELD, [A])[A]
    assert found.text in ("old", "new")
    assert_same(found, new if found.text == "new" else old)
    assert_same(replace(found, tag=scene.ours.scan(FIELD, limit=1)[0].tag or NO_TAG), found)


@pytest.mark.parametrize("last", ["first", "second"])
def test_two_writers_at_once_leave_the_tag_of_whoever_came_last(scene: Scene, last: str) -> None:
    first, second = record("a", V1, text="first", sequence=1), record("a", V2, text="second", sequence=2)
    slow, faults = scene.process()
    by_whom = {"first": second, "second": first}

    def meanwhile(call: str) -> None:
        if call == ("store.upsert" if last == "first" else "ledger.settle_tags"):
            faults.on_call = lambda _: None
            scene.ours.upsert(FIELD, [by_whom[last]] if last == "first" else [second])

    scene.ours.upsert(FIELD, [record("a", V3, text="before")])
    faults.on_call = meanwhile

    slow.upsert(FIELD, [first])

    assert_same(scene.ours.fetch(FIELD, [A])[A], first if last == "first" else second)


def test_a_text_that_a_stranger_wrote_has_no_tag_and_gets_it_back_with_the_text(scene: Scene) -> None:
    scene.ours.upsert(FIELD, [record("a", V1, text="ours")])

    scene.inner.upsert(FIELD, [replace(record("a", V2, text="theirs"), tag=NO_TAG)])
    assert scene.ours.entries(FIELD, [A])[A].tag is None
    assert scene.ours.entries(FIELD, [A], Part.NONE)[A].tag is None
    assert not is_tagged(scene.ours.fetch(FIELD, [A])[A].tag)

    scene.inner.upsert(FIELD, [replace(record("a", V1, text="ours"), tag=NO_TAG)])
    assert is_tagged(scene.ours.fetch(FIELD, [A])[A].tag)


def test_a_tag_whose_write_never_came_is_not_used_and_forgotten_after_the_horizon(scene: Scene) -> None:
    scene.ours.upsert(FIELD, [record("a", V1, text="old")])
    dying, faults = scene.process()
    faults.kill_at(1)
    with pytest.raises(Killed):
        dying.upsert(FIELD, [record("a", V2, text="never")])
    assert len(scene.rows()) == 2

    scene.clock.advance(2 * HORIZON_S)
    scene.ours.upsert(FIELD, [record("a", V3, text="newer")])

    assert scene.rows() == [content_hash("newer")]


def test_a_write_without_the_ledger_fails_before_anything_is_written(scene: Scene) -> None:
    cut_off, faults = scene.process()
    faults.fail("ledger.", lambda: ControlUnavailable("the ledger is away"), times=10)

    with pytest.raises(ControlUnavailable):
        cut_off.upsert(FIELD, [record("a", V1)])
    with pytest.raises(ControlUnavailable):
        cut_off.merge_metadata(FIELD, {A: {"k": 1}}, sequence=1)

    assert scene.inner.count(FIELD) == 0
    assert cut_off.search(FIELD, V1, k=3) == []


def test_a_search_goes_on_without_the_ledger_and_its_hits_have_no_tags(scene: Scene) -> None:
    scene.ours.upsert(FIELD, [record("a", V1)])
    cut_off, faults = scene.process()
    faults.fail("ledger.", lambda: ControlUnavailable("the ledger is away"), times=10)

    (hit,) = cut_off.search(FIELD, V1, k=3)

    assert (hit.id, hit.tag) == ("a", None)


def test_a_collection_that_is_made_anew_has_no_tags_of_the_one_before(scene: Scene) -> None:
    scene.ours.upsert(FIELD, [record("a", V1)])
    scene.inner.drop(FIELD)

    scene.ours.create(FIELD, dimensions=8, metric=Metric.COSINE)
    scene.inner.upsert(FIELD, [replace(record("a", V2), tag=NO_TAG)])

    assert scene.ours.entries(FIELD, [A])[A].tag is None


def test_an_address_may_be_written_in_any_order(scene: Scene) -> None:
    one = VectorField(store="main", collection="docs?tags=ledger&text=body", space=SPACE.id)
    other = VectorField(store="main", collection="docs?text=body&tags=ledger", space=SPACE.id)

    assert tag_field(one) == tag_field(other) != tag_field(FIELD)


def test_where_texts_are_elsewhere_the_tag_that_was_put_last_counts(ledger: SqliteLedger, clock: VirtualClock) -> None:
    field = VectorField(store="main", collection="docs?text=-&tags=ledger", space=SPACE.id)

    class Textless(MemoryStore):
        def entries(self, field: VectorField, ids: object, parts: Part = Part.TEXT) -> dict[DocumentId, object]:  # type: ignore[override]
            bare = replace(FIELD, collection="docs")
            return {id: replace(entry, text=None) for id, entry in super().entries(bare, [A], parts).items()}

    inner = Textless()
    inner.create(replace(field, collection="docs"), dimensions=8, metric=Metric.COSINE)
    inner.upsert(replace(field, collection="docs"), [replace(record("a", V1, text="-"), tag=NO_TAG)])
    ledger.put_tags(tag_field(field), {A: tag_from_stored(SPACE.id, "c1", 1)})
    clock.advance(1)
    ledger.put_tags(tag_field(field), {A: tag_from_stored(SPACE.id, "c2", 2)})

    found = LedgerTaggedStore(inner, ledger, horizon_s=HORIZON_S).entries(field, [A])

    assert found[A].tag == tag_from_stored(SPACE.id, "c2", 2)


def test_it_has_of_the_stores_abilities_only_those_that_leave_tags_alone(scene: Scene) -> None:
    class Able(MemoryStore):
        @property
        def capabilities(self) -> StoreCapabilities:
            return replace(super().capabilities, layouts=frozenset(Layout))

        def point(self, name: str, field: VectorField) -> None:
            self.pointed = (name, field)

    inner = Able()
    ours = LedgerTaggedStore(inner, scene.ledger, horizon_s=HORIZON_S)

    assert not isinstance(ours, SupportsInsertAbsent | SupportsInPlace)
    assert ours.capabilities.layouts == {Layout.COLLECTION}
    assert isinstance(ours, SupportsNames)
    ours.point("kb", FIELD)
    assert inner.pointed == ("kb", FIELD)
    scene.ours.point("kb", FIELD)
    assert not hasattr(scene.inner, "pointed"), "a store without names is left alone"
