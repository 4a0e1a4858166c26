"""Two vectors in one point of Qdrant: they never part from their tags, whoever writes at the same time or dies."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("qdrant_client")
pytest.importorskip("qdrant_edge")

from tests.conformance.killed_writers import live_and_be_killed
from tests.conformance.qdrant_server import wire_server
from tests.lifecycle.test_lifecycle import CASES, models
from undrift.adapters.stores.qdrant import QdrantEdgeStore, QdrantStore
from undrift.adapters.stores.qdrant.engine import Step, VectorPut
from undrift.domain.record import DocumentId, Entry, Record, is_tagged, tag_for
from undrift.domain.route import VectorField
from undrift.domain.space import Metric
from undrift.errors import BadArgument, StoreRejected, StoreUnavailable
from undrift.ports.store import Layout
from undrift.testing.lifecycle import LifecycleCase, run_lifecycle
from undrift.testing.rig import Rig
from undrift.testing.stores.samples import SPACE, assert_same, numbered, record, records, unit_vectors

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

D = 6
FIELD = VectorField(store="main", collection="kb", space=SPACE.id)
LARGE = replace(FIELD, collection="kb?vector=large")
_CHOSEN = {"texts that the new model does not take", "a rollback in a hurry, with dirty documents"}
A = DocumentId("a")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[QdrantEdgeStore]:
    opened = QdrantEdgeStore(tmp_path)
    opened.create(FIELD, dimensions=D, metric=Metric.COSINE)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name in _CHOSEN], ids=lambda case: case.name.replace(" ", "_")
)
def test_both_vectors_stay_true_through_the_whole_life(tmp_path: Path, case: LifecycleCase) -> None:
    rig = Rig(folder=tmp_path, models=models(), mirror=case.mirror, store_url="qdrant-edge:shards")
    run_lifecycle(case, rig, Layout.IN_PLACE)


def test_no_acknowledged_write_is_lost_in_place_whoever_is_killed(tmp_path: Path) -> None:
    with wire_server(tmp_path) as server:
        live_and_be_killed(tmp_path, server.url, options="timeout_s = 2\nlisting_s = 1\n", layout=Layout.IN_PLACE)


def test_a_vector_and_the_text_it_is_of_never_part_whoever_writes_at_the_same_time(store: QdrantEdgeStore) -> None:
    """Many attach, detach and write through both fields: a tag never names a text that its vector was not made of."""
    store.create(LARGE, dimensions=D, metric=Metric.COSINE)
    ids = numbered(4)
    versions = [[_version(one, turn) for one in records(ids, D, seed=turn)] for turn in range(3)]
    store.upsert(FIELD, versions[0])
    failures: list[BaseException] = []

    def repeat(call: Any, *made: Any) -> None:
        try:
            for _ in range(12):
                call(*made)
        except BaseException as error:
            failures.append(error)

    threads = [
        threading.Thread(target=repeat, args=(store.attach, LARGE, versions[0])),
        threading.Thread(target=repeat, args=(store.attach, LARGE, list(reversed(versions[1])))),
        threading.Thread(target=repeat, args=(store.attach, FIELD, versions[2])),
        threading.Thread(target=repeat, args=(store.detach, LARGE, ids[:2])),
        threading.Thread(target=repeat, args=(store.upsert, FIELD, versions[1])),
        threading.Thread(target=repeat, args=(store.upsert, LARGE, versions[2])),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    found = [one for field in (FIELD, LARGE) for one in store.fetch(field, ids).values()]
    assert len(store.fetch(FIELD, ids)) == len(ids)
    for one in found:
        if is_tagged(one.tag):
            (wanted,) = (version for made in versions for version in made if version.tag == one.tag)
            assert one.vector.tobytes() == wanted.vector.tobytes()


def _version(one: Record, turn: int) -> Record:
    text = f"{one.id} {turn}"
    return replace(one, text=text, tag=replace(tag_for(text, SPACE.id), sequence=turn))


@pytest.mark.parametrize("done", [0, 1, 2, 3, 4])
def test_a_death_between_two_steps_leaves_a_vector_without_a_tag_and_is_healed_by_doing_it_again(
    store: QdrantEdgeStore, monkeypatch: pytest.MonkeyPatch, done: int
) -> None:
    store.create(LARGE, dimensions=D, metric=Metric.COSINE)
    first, second = records([A, "b"], D)
    store.upsert(FIELD, [first, second])
    old, new = (record(A, vector, sequence=turn) for turn, vector in enumerate(unit_vectors(2, D, seed=5)))
    store.attach(LARGE, [old])
    change = store._engine.change

    def dies(collection: str, steps: Sequence[Step]) -> bool:
        change(collection, list(steps)[:done])
        raise StoreUnavailable("the process is gone")

    with monkeypatch.context() as dying:
        dying.setattr(store._engine, "change", dies)
        with pytest.raises(StoreUnavailable):
            store.attach(LARGE, [new, record("b", new.vector)])

    left = store.fetch(LARGE, [A])[A]
    allowed = [one.vector.tobytes() for one in (old, new) if not is_tagged(left.tag) or left.tag == one.tag]
    assert left.vector.tobytes() in allowed
    assert is_tagged(left.tag) == (done in (0, 3, 4))
    assert_same(store.fetch(FIELD, [A])[A], first)
    store.attach(LARGE, [new])
    assert_same(store.fetch(LARGE, [A])[A], replace(new, metadata=first.metadata))


@pytest.mark.parametrize("after", [1, 2])
def test_a_text_that_comes_back_between_two_steps_does_not_make_a_tag_of_another_s_vector(
    store: QdrantEdgeStore, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """The text is the same again, and the vector beside it is not: the condition on the text alone would pass."""
    store.create(LARGE, dimensions=D, metric=Metric.COSINE)
    first, second = (record(A, vector, text=text) for text, vector in zip("xy", unit_vectors(2, D), strict=True))
    mine, theirs = (record(A, vector, text=text) for text, vector in zip("xy", unit_vectors(2, D, seed=5), strict=True))
    store.upsert(FIELD, [first])
    update, seen = store._engine._update, []

    def with_others(*words: Any) -> None:
        update(*words)
        seen.append(words)
        if len(seen) == after:
            store.upsert(FIELD, [second])
            store.attach(LARGE, [theirs])
            store.upsert(FIELD, [first])
            states.append(store.fetch(LARGE, [A])[A])
        elif states:
            states.append(store.fetch(LARGE, [A])[A])

    states: list[Record] = []
    monkeypatch.setattr(store._engine, "_update", with_others)
    store.attach(LARGE, [mine])

    vectors = {one.tag.content: one.vector.tobytes() for one in (mine, theirs) if is_tagged(one.tag)}
    assert len(states) > 3
    for state in states:
        assert not is_tagged(state.tag) or vectors[state.tag.content] == state.vector.tobytes()
    assert states[-1].tag == mine.tag


def test_what_is_deleted_while_it_gets_a_vector_stays_deleted_and_holds_nobody_up(
    store: QdrantEdgeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create(LARGE, dimensions=D, metric=Metric.COSINE)
    store.upsert(FIELD, records([A, "b"], D))
    change, turns = store._engine.change, []

    def meanwhile(collection: str, steps: Sequence[Step]) -> bool:
        if not turns and isinstance(steps[1], VectorPut):
            turns.append(store.delete(FIELD, [A]))
        return change(collection, steps)

    monkeypatch.setattr(store._engine, "change", meanwhile)
    store.attach(LARGE, records([A, "b"], D))

    assert store.ids(LARGE, limit=9) == store.ids(FIELD, limit=9) == ["b"]
    assert is_tagged(store.entries(LARGE, [DocumentId("b")])[DocumentId("b")].tag)


@pytest.mark.parametrize("other", ["metadata", "vector", "delete", "record", "anew"])
def test_a_write_between_reading_and_writing_is_never_undone(
    store: QdrantEdgeStore, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    """An upsert writes what it has read of other vectors: not if somebody else was there in between."""
    store.create(LARGE, dimensions=D, metric=Metric.COSINE)
    before, written = record(A, unit_vectors(1, D)[0]), record(A, unit_vectors(2, D)[1], text="mine")
    store.upsert(FIELD, [before])
    (given,) = records([A], D, seed=4)
    theirs = record(A, unit_vectors(3, D)[2], text="theirs")
    calls: dict[str, Any] = {
        "metadata": lambda: store.merge_metadata(LARGE, {A: {"late": 1}}, sequence=9),
        "vector": lambda: store.attach(LARGE, [given]),
        "delete": lambda: store.delete(FIELD, [A]),
        "record": lambda: store.upsert(FIELD, [theirs]),
        "anew": lambda: (store.delete(FIELD, [A]), store.insert_absent(FIELD, [theirs])),
    }
    store.attach(LARGE, [given])
    change, turns = store._engine.change, []

    def meanwhile(collection: str, steps: Sequence[Step]) -> bool:
        if not turns:
            turns.append(other)
            calls[other]()
        return change(collection, steps)

    monkeypatch.setattr(store._engine, "change", meanwhile)
    store.upsert(FIELD, [written])

    found, beside = store.fetch(FIELD, [A]), store.fetch(LARGE, [A])
    if other in {"record", "anew"}:
        # Theirs, or mine: the two were under way at the same time.
        assert found[A].text in {"mine", "theirs"}
        assert found[A].vector.tobytes() == {"mine": written, "theirs": theirs}[found[A].text].vector.tobytes()
    elif other == "delete":
        # It came after the write, as far as anybody can tell: nothing of the record comes back.
        assert found == beside == {}
    else:
        assert_same(found.get(A), written)
    if other == "anew":
        assert beside == {}, "the vector of a record that was deleted has come back"
    elif other != "delete":
        assert beside[A].vector.tobytes() == given.vector.tobytes()
        assert beside[A].tag.sequence == (9 if other == "metadata" else 0)


def test_an_old_server_says_what_it_cannot_do_and_what_helps(tmp_path: Path) -> None:
    with wire_server(tmp_path, "1.17.1") as server:
        store, client = QdrantStore(server.url), server.client()
        store.create(FIELD, dimensions=D, metric=Metric.COSINE)

        # So that a migration in place is refused when it is asked for.
        assert store.capabilities.layouts == {Layout.COLLECTION}
        with pytest.raises(StoreRejected, match=r"1\.18") as refused:
            store.create(LARGE, dimensions=D, metric=Metric.COSINE)
        assert "--layout" in refused.value.hint

        from qdrant_client import models

        params = models.VectorParams(size=D, distance=models.Distance.COSINE)
        client.create_collection("two", {"one": params, "other": params})
        with pytest.raises(StoreRejected, match=r"(?s)two has other vectors.*1\.18") as refused:
            store.upsert(replace(FIELD, collection="two?vector=one"), records([A], D))
        assert "a collection of its own" in refused.value.hint
        client.close()
        store.close()


def test_a_vector_without_a_name_is_not_joined_by_another_where_it_could_never_leave(tmp_path: Path) -> None:
    foreign, beside = (replace(FIELD, collection=f"docs?as=langchain{more}") for more in ("", "&vector=large"))
    (tmp_path / "server").mkdir()
    with wire_server(tmp_path / "server") as server:
        store = QdrantStore(server.url)
        store.create(foreign, dimensions=D, metric=Metric.COSINE)
        with pytest.raises(StoreRejected, match="without a name") as refused:
            store.create(beside, dimensions=D, metric=Metric.COSINE)
        assert "--layout" in refused.value.hint
        store.close()
    edge = QdrantEdgeStore(tmp_path / "edge")
    edge.create(foreign, dimensions=D, metric=Metric.COSINE)
    edge.upsert(foreign, records([A], D))
    edge.create(beside, dimensions=D, metric=Metric.COSINE)
    edge.attach(beside, records([A], D))
    edge.drop(foreign)
    assert (edge.describe(foreign), edge.count(beside)) == (None, 1)
    edge.close()


def test_a_vector_s_name_that_qdrant_cannot_keep_is_refused(store: QdrantEdgeStore) -> None:
    for name in ("a/b", "v" * 201):
        with pytest.raises(BadArgument, match="cannot be called"):
            store.create(replace(FIELD, collection=f"kb?vector={name}"), dimensions=D, metric=Metric.COSINE)


@pytest.mark.parametrize("shape", ["", "?as=langchain", "?as=llama_index", "?text=body&metadata=*"])
def test_a_tag_is_put_beside_a_vector_only_if_the_text_is_still_the_same(tmp_path: Path, shape: str) -> None:
    store, field = QdrantEdgeStore(tmp_path), replace(FIELD, collection=f"docs{shape}")
    store.create(field, dimensions=D, metric=Metric.COSINE)
    there = [record(id, vector, text=text) for id, vector, text in zip("abc", unit_vectors(3, D), _TEXTS, strict=True)]
    store.upsert(field, there)
    told = [Entry(id=one.id, text=one.text, metadata={}, tag=tag_for(one.text, LARGE.space)) for one in there]
    told[1] = replace(told[1], text=_TEXTS[1] + " ")

    assert store.tag(field, [*told, replace(told[0], id=DocumentId("nobody"))]) == {"a", "c"}

    found = store.fetch(field, [one.id for one in there])
    assert [found[one.id].tag.space for one in there] == [LARGE.space if n != 1 else SPACE.id for n in range(3)]
    for one in there:
        assert_same(replace(found[one.id], tag=one.tag), one)
    store.close()


_TEXTS = ("", 'Äpfel \n"quoted" \\ 中', "long " * 40_000)
