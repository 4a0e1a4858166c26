from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.adapters.stores.memory import MemoryStore
from undrift.demo.check import Findings, judge, read_field
from undrift.demo.expected import Expectation, state_of
from undrift.demo.history import Delete, Effect, Merge, Operation, Outcome, Put
from undrift.domain.record import Document, DocumentId, content_hash, stamp, tag_from_stored
from undrift.domain.route import VectorField
from undrift.flow.embed import EmbeddingDoor
from undrift.testing.clock import VirtualClock

#: Two spaces of the same dimensions: only identity tells their vectors apart.
OLD = EmbeddingDoor(HashingEmbedder(dimensions=32), clock=VirtualClock())
NEW = EmbeddingDoor(HashingEmbedder(dimensions=32, seed="another"), clock=VirtualClock())
DOORS = {OLD.space.id: OLD, NEW.space.id: NEW}
SERVING = VectorField(store="main", collection="serving", space=NEW.space.id)
FOLLOWER = VectorField(store="main", collection="follower", space=OLD.space.id)
BOTH = (SERVING, FOLLOWER)

#: What every document is in the end; "deleted" was deleted.
LOADED = {f"d{number}": f"document number {number}" for number in range(10)}
WRITTEN: dict[str, Effect] = {
    "d1": Put(text="a new text", metadata={"revision": 1}),
    "d2": Merge(changes={"seen": 7}),
    "inserted": Put(text="an inserted text", metadata={}),
}
ENDS = {
    **{key: (text, {}) for key, text in LOADED.items()},
    "d1": ("a new text", {"revision": 1}),
    "d2": (LOADED["d2"], {"seen": 7}),
    "inserted": ("an inserted text", {}),
}

Plant = Callable[[MemoryStore], None]


def put(store: MemoryStore, place: VectorField, id: str, text: str, metadata: dict[str, object]) -> None:
    door = DOORS[place.space]
    store.upsert(
        place,
        stamp([Document(id=id, text=text, metadata=metadata)], door.fresh([text]), space=door.space, sequences={}),
    )


def right() -> MemoryStore:
    """Both fields as they must be."""
    store = MemoryStore()
    for place in BOTH:
        store.create(place, dimensions=32, metric=DOORS[place.space].space.metric)
        for id, (text, metadata) in ENDS.items():
            put(store, place, id, text, dict(metadata))
    return store


def expected() -> Expectation:
    initial = {key: state_of(text, {}) for key, text in {**LOADED, "deleted": "to be deleted"}.items()}
    return Expectation(
        initial,
        [
            Operation(actor="one", effects=WRITTEN, began=1, ended=2, outcome=Outcome.ACKNOWLEDGED),
            Operation(actor="one", effects={"deleted": Delete()}, began=3, ended=4, outcome=Outcome.ACKNOWLEDGED),
        ],
    )


def check(store: MemoryStore) -> Findings:
    serving, follower = (read_field(store, place, DOORS[place.space].fresh) for place in BOTH)
    return judge(expected(), serving, follower)


def found(findings: Findings) -> dict[str, set[str]]:
    kinds = ("lost", "resurrected", "stale", "mixed")
    return {kind: set(getattr(findings, kind)) for kind in kinds if getattr(findings, kind)}


def in_both(act: Callable[[MemoryStore, VectorField], None]) -> Plant:
    def plant(store: MemoryStore) -> None:
        for place in BOTH:
            act(store, place)

    return plant


def in_one(place: VectorField, act: Callable[[MemoryStore, VectorField], None]) -> Plant:
    return lambda store: act(store, place)


def remove(id: str) -> Callable[[MemoryStore, VectorField], None]:
    return lambda store, place: store.delete(place, [DocumentId(id)])


def keep(id: str, text: str, **metadata: object) -> Callable[[MemoryStore, VectorField], None]:
    return lambda store, place: put(store, place, id, text, metadata)


def with_vector_of(door: EmbeddingDoor, text: str) -> Callable[[MemoryStore, VectorField], None]:
    """Put a vector under the tag of another."""

    def act(store: MemoryStore, place: VectorField) -> None:
        rows = store.collections[place.collection].rows
        rows[DocumentId("d3")] = replace(rows[DocumentId("d3")], vector=door.fresh([text])[0])

    return act


def with_values(value: float) -> Callable[[MemoryStore, VectorField], None]:
    def act(store: MemoryStore, place: VectorField) -> None:
        rows = store.collections[place.collection].rows
        rows[DocumentId("d3")] = replace(rows[DocumentId("d3")], vector=np.full(32, value, dtype=np.float32))

    return act


def with_tag(space: str, text: str) -> Callable[[MemoryStore, VectorField], None]:
    def act(store: MemoryStore, place: VectorField) -> None:
        rows = store.collections[place.collection].rows
        tag = tag_from_stored(space, content_hash(text), 0)
        rows[DocumentId("d3")] = replace(rows[DocumentId("d3")], tag=tag)

    return act


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    findings = check(right())

    assert found(findings) == {}
    assert findings.checked == len(ENDS) + 1


PLANTED = [
    pytest.param(in_both(remove("inserted")), {"lost": {"inserted"}}, id="a new document is missing"),
    pytest.param(in_both(remove("d5")), {"lost": {"d5"}}, id="a document that nobody touched is missing"),
    pytest.param(in_both(keep("d1", LOADED["d1"])), {"lost": {"d1"}}, id="an older text stands"),
    pytest.param(in_both(keep("d1", "a new text")), {"lost": {"d1"}}, id="the metadata of a write is missing"),
    pytest.param(in_both(keep("d2", LOADED["d2"])), {"lost": {"d2"}}, id="a metadata update is missing"),
    pytest.param(in_both(keep("d4", "nobody wrote this")), {"lost": {"d4"}}, id="a text that nobody wrote"),
    pytest.param(
        in_both(keep("deleted", "to be deleted")), {"resurrected": {"deleted"}}, id="a deleted document is back"
    ),
    pytest.param(in_both(keep("ghost", "boo")), {"resurrected": {"ghost"}}, id="a document that nobody ever wrote"),
    pytest.param(in_one(FOLLOWER, remove("d6")), {"stale": {"d6"}}, id="the follower lacks a document"),
    pytest.param(in_one(FOLLOWER, keep("d1", LOADED["d1"])), {"stale": {"d1"}}, id="the follower has an older text"),
    pytest.param(in_one(FOLLOWER, keep("d2", LOADED["d2"])), {"stale": {"d2"}}, id="the follower has older metadata"),
    pytest.param(
        in_one(FOLLOWER, keep("deleted", "to be deleted")),
        {"stale": {"deleted"}},
        id="the follower has a deleted document",
    ),
    pytest.param(
        in_one(SERVING, remove("d6")),
        {"lost": {"d6"}, "stale": {"d6"}},
        id="the serving field lacks what the follower has",
    ),
    pytest.param(
        in_one(SERVING, keep("deleted", "x")),
        {"resurrected": {"deleted"}, "stale": {"deleted"}},
        id="a deleted document is back in the serving field",
    ),
    pytest.param(
        in_one(SERVING, with_vector_of(OLD, LOADED["d3"])), {"mixed": {"d3"}}, id="a vector of the old model serves"
    ),
    pytest.param(
        in_one(FOLLOWER, with_vector_of(NEW, LOADED["d3"])), {"mixed": {"d3"}}, id="a vector of the new model follows"
    ),
    pytest.param(
        in_one(SERVING, with_vector_of(NEW, "another text")), {"mixed": {"d3"}}, id="a vector of another text"
    ),
    pytest.param(in_one(SERVING, with_values(0.0)), {"mixed": {"d3"}}, id="a vector without a direction"),
    pytest.param(in_one(SERVING, with_values(np.nan)), {"mixed": {"d3"}}, id="a vector that is no number"),
    pytest.param(in_one(SERVING, with_tag(OLD.space.id, LOADED["d3"])), {"mixed": {"d3"}}, id="a tag of another space"),
    pytest.param(in_one(SERVING, with_tag(NEW.space.id, "another")), {"mixed": {"d3"}}, id="a tag of another text"),
]


@pytest.mark.parametrize(("plant", "faults"), PLANTED)
def test_a_planted_fault_is_found_and_named(plant: Plant, faults: dict[str, set[str]]) -> None:
    store = right()
    plant(store)

    assert found(check(store)) == faults


def test_faults_of_every_kind_are_counted_together() -> None:
    store = right()
    for plant in (
        in_both(remove("d5")),
        in_both(keep("deleted", "x")),
        in_one(FOLLOWER, remove("d6")),
        in_one(SERVING, with_values(0.0)),
    ):
        plant(store)

    assert found(check(store)) == {"lost": {"d5"}, "resurrected": {"deleted"}, "stale": {"d6"}, "mixed": {"d3"}}


def test_one_field_alone_is_compared_with_what_is_expected() -> None:
    store = right()
    remove("d5")(store, SERVING)
    remove("d6")(store, FOLLOWER)

    assert found(judge(expected(), read_field(store, SERVING, NEW.fresh), None)) == {"lost": {"d5"}}


def test_an_uncertain_write_excuses_both_of_its_ends_and_no_third() -> None:
    maybe = Operation(
        actor="one", effects={"a": Put(text="maybe", metadata={})}, began=1, ended=float("inf"), outcome=Outcome.UNKNOWN
    )
    told = Expectation({"a": state_of("old", {})}, [maybe])

    faults = {}
    for text in ("old", "maybe", "neither"):
        store = MemoryStore()
        store.create(SERVING, dimensions=32, metric=NEW.space.metric)
        put(store, SERVING, "a", text, {})
        faults[text] = found(judge(told, read_field(store, SERVING, NEW.fresh), None))

    assert faults == {"old": {}, "maybe": {}, "neither": {"lost": {"a"}}}


def test_two_findings_together_count_a_document_once() -> None:
    one = Findings(checked=3, lost=frozenset("ab"), mixed=frozenset("c"))
    two = Findings(checked=5, lost=frozenset("b"), stale=frozenset("d"))

    assert one | two == Findings(checked=5, lost=frozenset("ab"), stale=frozenset("d"), mixed=frozenset("c"))


def test_a_field_larger_than_a_page_is_read_whole() -> None:
    store = MemoryStore()
    store.create(SERVING, dimensions=32, metric=NEW.space.metric)
    texts = [f"document {number}" for number in range(1203)]
    documents = [Document(id=f"{number:05}", text=text) for number, text in enumerate(texts)]
    store.upsert(SERVING, stamp(documents, NEW.fresh(texts), space=NEW.space, sequences={}))
    told: list[int] = []

    seen = read_field(store, SERVING, NEW.fresh, on_progress=told.append)

    assert seen.keys() == {document.id for document in documents}
    assert all(one.is_sound for one in seen.values())
    assert told == [500, 1000, 1203]
