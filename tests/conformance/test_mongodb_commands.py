"""Which commands exactly are sent to MongoDB, what its refusals mean, and what somebody else may do in between."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pymongo")

from tests.conformance.doubles.mongodb import Document, MongoDb, Refusal, serving
from undrift.adapters.stores.mongodb import MongoDbStore, session
from undrift.adapters.stores.mongodb.documents import binary
from undrift.domain.record import NO_TAG, DocumentId, Entry, tag_for
from undrift.domain.route import VectorField
from undrift.domain.space import Metric
from undrift.domain.terms import words
from undrift.errors import (
    BadArgument,
    BadConfig,
    CollectionMissing,
    FieldInUse,
    MissingExtra,
    StoreRejected,
    StoreUnavailable,
)
from undrift.testing.stores.samples import SPACE, numbered, record, records, unit_vectors

FIELD = VectorField(store="main", collection="docs", space=SPACE.id)
LARGE = replace(FIELD, collection="docs?vector=large")
ID = DocumentId("a")
VECTOR = np.array([0.6, 0.8], np.float32)
_AROUND = {"lsid", "$db", "$clusterTime", "maxTimeMS", "$readPreference"}


@dataclass(kw_only=True)
class Bench:
    double: MongoDb
    port: int
    stores: list[MongoDbStore] = field(default_factory=list)

    def store(self, **options: Any) -> MongoDbStore:
        """A store, which the bench closes if nobody else does."""
        self.stores.append(MongoDbStore(f"mongodb://127.0.0.1:{self.port}/vectors", **options))
        return self.stores[-1]

    def sent(self) -> list[Document]:
        """The commands since the last call, without what the client puts around them."""
        seen = [{key: value for key, value in one.items() if key not in _AROUND} for one in self.double.commands]
        self.double.commands.clear()
        return seen

    def document(self, id: str = "a", collection: str = "docs") -> Document:
        return self.double.collections[collection].documents[id]


@pytest.fixture
def bench() -> Iterator[Bench]:
    double = MongoDb()
    with serving(double) as port:
        bench = Bench(double=double, port=port)
        yield bench
        for store in bench.stores:
            store.close()


@pytest.fixture
def made(bench: Bench) -> Iterator[MongoDbStore]:
    store = bench.store()
    store.create(FIELD, dimensions=2, metric=Metric.COSINE)
    bench.sent()
    yield store
    store.close()


def test_a_collection_is_made_with_its_search_index_and_then_described(bench: Bench) -> None:
    store = bench.store()
    store.create(FIELD, dimensions=2, metric=Metric.L2)
    store.close()

    sent = {next(iter(one)): one for one in bench.sent()}
    (index,) = sent["createSearchIndexes"]["indexes"]
    (described,) = sent["insert"]["documents"]
    assert index == {
        "name": f"undrift_vector_{described['incarnation']}",
        "type": "vectorSearch",
        "definition": {
            "fields": [
                {"type": "vector", "path": "vector", "numDimensions": 2, "similarity": "euclidean"},
                {"type": "filter", "path": "filter_words"},
            ]
        },
    }
    assert sent["insert"]["insert"] == "undrift_fields"
    assert described.items() >= {"_id": "docs/vector", "dimensions": 2, "metric": "l2", "is_exact": True}.items()
    assert sent["create"]["writeConcern"] == {"w": "majority"}


def test_a_write_is_one_update_for_each_document(bench: Bench, made: MongoDbStore) -> None:
    written = record("a", VECTOR, text="t", metadata={"n": 1}, sequence=3)
    made.upsert(FIELD, [written])
    made.insert_absent(FIELD, [record("b", VECTOR, text="u")])

    first, second = (one for one in bench.sent() if "update" in one)
    assert first == {
        "update": "docs",
        "ordered": False,
        "writeConcern": {"w": "majority"},
        "updates": [
            {
                "q": {"_id": "a"},
                "u": {
                    "$set": {
                        "text": "t",
                        "metadata": '{"n":1}',
                        "filter_words": words({"n": 1}),
                        "vector": binary(VECTOR),
                        "tags.vector": {"space": SPACE.id, "content": written.tag.content, "sequence": 3},
                    }
                },
                "multi": False,
                "upsert": True,
            }
        ],
    }
    assert second["updates"][0]["u"].keys() == {"$setOnInsert"}


@pytest.mark.parametrize("made_by", ["the one that is late", "the one that is first"])
def test_who_is_late_to_make_a_field_leaves_the_winners_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, made_by: str
) -> None:
    """Also where the late one made the collection that the other described first."""
    late, first = bench.store(), bench.store()
    collections = late._collections
    collection = collections._made

    def made(*args: Any, **said: Any) -> Any:
        if made_by == "the one that is first":
            first.create(FIELD, dimensions=2, metric=Metric.COSINE)
            return first._collections._made(*args, **said)
        found = collection(*args, **said)
        first.create(FIELD, dimensions=2, metric=Metric.COSINE)
        return found

    monkeypatch.setattr(collections, "_made", made)

    with pytest.raises(FieldInUse):
        late.create(FIELD, dimensions=2, metric=Metric.COSINE)

    first.upsert(FIELD, [record("a", VECTOR)])
    assert [hit.id for hit in first.search(FIELD, VECTOR, k=1)] == ["a"]
    assert len(bench.double.collections["docs"].indexes) == 1


def test_a_write_without_a_tag_takes_the_old_one_away(bench: Bench, made: MongoDbStore) -> None:
    made.upsert(FIELD, [record("a", VECTOR)])
    made.upsert(FIELD, [replace(record("a", VECTOR), tag=NO_TAG)])

    assert bench.document()["tags"] == {}
    assert made.entries(FIELD, [ID])[ID].tag is None


def test_a_search_asks_the_index_exactly_and_for_what_it_can_filter(bench: Bench, made: MongoDbStore) -> None:
    made.upsert(
        FIELD, [record(id, vector, metadata={"n": 1}) for id, vector in zip("ab", unit_vectors(2, 2), strict=True)]
    )
    bench.sent()

    hits = made.search(FIELD, VECTOR, k=1, filter={"$and": [{"n": 1}, {"n": {"$lt": 5}}]})

    (asked,) = (one for one in bench.sent() if "aggregate" in one and "$vectorSearch" in one["pipeline"][0])
    search = asked["pipeline"][0]["$vectorSearch"]
    assert search == {
        "index": next(iter(bench.double.collections["docs"].indexes)),
        "path": "vector",
        "queryVector": [float(value) for value in VECTOR],
        "limit": 9,
        "exact": True,
        "filter": {"$and": [{"filter_words": {"$eq": words({"n": 1})[-1]}}]},
    }
    assert "readConcern" not in asked or not asked["readConcern"]
    assert len(hits) == 1


def test_an_index_that_may_overlook_is_asked_for_candidates(bench: Bench) -> None:
    store = bench.store(index="hnsw", hnsw_ef_search=50)
    store.create(FIELD, dimensions=2, metric=Metric.COSINE)
    store.upsert(FIELD, [record(id, vector) for id, vector in zip(numbered(30), unit_vectors(30, 2), strict=True)])
    bench.sent()
    assert len(store.search(FIELD, VECTOR, k=3)) == 3
    (asked,) = (one for one in bench.sent() if "aggregate" in one and "$vectorSearch" in one["pipeline"][0])
    assert asked["pipeline"][0]["$vectorSearch"]["numCandidates"] == 50
    store.close()


@pytest.mark.parametrize("state", ["not built yet", "behind", "none"])
def test_where_the_index_has_less_than_there_is_every_vector_is_compared(bench: Bench, state: str) -> None:
    store = bench.store(index="none" if state == "none" else "exact")
    bench.double.is_built = state != "not built yet"
    store.create(FIELD, dimensions=8, metric=Metric.COSINE)
    given = records(numbered(20), 8)
    store.upsert(FIELD, given)
    if state == "behind":
        # The index of a collection that was written a moment ago names nothing.
        bench.double.is_built = True
        assert store.search(FIELD, given[0].vector, k=1)
        bench.double.is_built = False

    hits = store.search(FIELD, given[7].vector, k=5, filter={"n": {"$gte": 4}})

    near = sorted(given[4:], key=lambda one: -float(np.dot(one.vector, given[7].vector)))
    assert [hit.id for hit in hits] == [one.id for one in near[:5]]
    store.close()


def test_a_filter_of_mongodb_s_own_goes_to_the_index(bench: Bench, made: MongoDbStore) -> None:
    made.upsert(FIELD, [record("a", VECTOR, metadata={"n": 1}), record("b", VECTOR, metadata={"n": 2})])
    own = {"filter_words": {"$in": words({"n": 2})[-1:]}}

    assert [hit.id for hit in made.search(FIELD, VECTOR, k=2, filter={"$native": own})] == ["b"]

    with pytest.raises(StoreRejected, match="needs to be indexed as filter"):
        made.search(FIELD, VECTOR, k=2, filter={"$native": {"text": "x"}})
    without = bench.store(index="none")
    without.create(replace(FIELD, collection="plain"), dimensions=2, metric=Metric.COSINE)
    with pytest.raises(BadArgument, match="no index"):
        without.search(replace(FIELD, collection="plain"), VECTOR, k=1, filter={"$native": own})
    without.close()


def test_a_change_of_metadata_is_made_again_when_somebody_was_faster(bench: Bench, made: MongoDbStore) -> None:
    made.upsert(FIELD, [record("a", VECTOR, metadata={"x": 1}), record("b", VECTOR, metadata={"x": 1})])
    other = bench.store()
    bench.double.meanwhile["update"] = lambda: other.upsert(FIELD, [record("a", VECTOR, text="t", metadata={"z": 3})])
    bench.sent()

    made.merge_metadata(FIELD, {ID: {"y": 2}, DocumentId("b"): {"y": 2}}, sequence=9)

    found = made.fetch(FIELD, [ID, DocumentId("b")])
    assert (found[ID].text, found[ID].metadata, found[ID].tag.sequence) == ("t", {"z": 3, "y": 2}, 9)
    assert found[DocumentId("b")].metadata == {"x": 1, "y": 2}
    first = next(one for one in bench.sent() if "update" in one and not one["updates"][0]["upsert"])
    assert first["updates"][0]["q"] == {"_id": "a", "metadata": '{"x":1}', "vector": {"$exists": True}}
    other.close()


def test_a_tag_and_a_second_vector_ask_for_the_text_as_they_write(bench: Bench, made: MongoDbStore) -> None:
    made.upsert(FIELD, [replace(record("a", VECTOR, text="old"), tag=NO_TAG)])
    made.create(LARGE, dimensions=3, metric=Metric.COSINE)
    other = bench.store()
    entry = Entry(id=ID, text="old", metadata={}, tag=tag_for("old", SPACE.id))
    newer = replace(record("a", VECTOR, text="new"), tag=NO_TAG)
    for call in (
        lambda: made.tag(FIELD, [entry]),
        lambda: made.attach(LARGE, [record("a", unit_vectors(1, 3)[0], text="old")]),
    ):
        other.upsert(FIELD, [replace(record("a", VECTOR, text="old"), tag=NO_TAG)])
        bench.double.meanwhile["update"] = lambda: other.upsert(FIELD, [newer])
        assert not call()

    assert bench.document()["text"] == "new"
    assert "large" not in bench.document()
    assert not bench.document().get("tags")
    other.close()


def test_a_document_that_two_make_at_once_is_written_by_both(bench: Bench, made: MongoDbStore) -> None:
    """A server refuses the insertion of an update that comes second; that is not a refusal of the document."""
    refused = {"index": 0, "code": 11000, "errmsg": "E11000 duplicate key error"}
    work = bench.double.answer
    planted = [{"n": 0, "nModified": 0, "ok": 1.0, "writeErrors": [refused]}]
    bench.double.answer = lambda command: (  # type: ignore[method-assign] - a server that says so once
        planted.pop() if "update" in command and planted else work(command)
    )

    made.upsert(FIELD, [record("a", VECTOR, text="mine")])

    assert made.fetch(FIELD, [ID])[ID].text == "mine"


def test_a_delete_by_what_only_undrift_can_say_spares_what_was_changed(bench: Bench, made: MongoDbStore) -> None:
    long = "x" * 300
    made.upsert(FIELD, [record(id, VECTOR, metadata={"s": long}) for id in ("a", "b", "c")])
    other = bench.store()
    bench.double.meanwhile["delete"] = lambda: other.upsert(FIELD, [record("a", VECTOR, metadata={"s": "changed"})])

    made.delete(FIELD, [ID, DocumentId("b")], filter={"s": long})

    assert made.ids(FIELD, limit=9) == ["a", "c"]
    other.close()


def test_a_drop_that_was_killed_is_finished_by_the_next(bench: Bench, made: MongoDbStore) -> None:
    made.create(LARGE, dimensions=3, metric=Metric.COSINE)
    made.upsert(FIELD, [record("a", VECTOR)])
    made.attach(LARGE, [record("a", unit_vectors(1, 3)[0])])
    bench.double.planted["dropSearchIndex"] = Refusal(6, "HostUnreachable", "the member is away")
    with pytest.raises(StoreUnavailable):
        made.drop(LARGE)
    bench.double.planted.clear()
    assert made.describe(LARGE) is None
    with pytest.raises(CollectionMissing):
        made.upsert(LARGE, [record("a", unit_vectors(1, 3)[0])])

    made.create(LARGE, dimensions=4, metric=Metric.COSINE)

    described = made.describe(LARGE)
    assert described is not None
    assert (described.dimensions, described.count) == (4, 0)
    assert "large" not in bench.document()
    assert made.count(FIELD) == 1


def test_a_collection_of_somebody_else_is_left_alone(bench: Bench, made: MongoDbStore) -> None:
    theirs = replace(FIELD, collection="theirs")
    bench.double.stored("theirs").documents[1] = {"_id": 1, "text": "x"}

    with pytest.raises(FieldInUse):
        made.create(theirs, dimensions=2, metric=Metric.COSINE)
    assert made.describe(theirs) is None
    made.drop(theirs)
    assert bench.document(1, "theirs")  # type: ignore[arg-type] - an id that is a number
    with pytest.raises(StoreRejected, match="has no vectors in embedding"):
        made.count(replace(FIELD, collection="theirs?as=langchain"))


def test_a_collection_that_was_dropped_by_hand_is_missing_and_can_be_made_again(
    bench: Bench, made: MongoDbStore
) -> None:
    made.upsert(FIELD, [record("a", VECTOR)])
    del bench.double.collections["docs"]

    assert made.describe(FIELD) is None
    made.create(FIELD, dimensions=3, metric=Metric.COSINE)
    described = made.describe(FIELD)
    assert described is not None
    assert (described.dimensions, described.count) == (3, 0)


@pytest.mark.parametrize(
    ("refusal", "error", "words"),
    [
        (Refusal(18, "AuthenticationFailed", "Authentication failed."), StoreUnavailable, "does not know who asks"),
        (Refusal(13, "Unauthorized", "not authorized on vectors"), StoreRejected, "does not allow that"),
        (Refusal(10334, "BSONObjectTooLarge", "BSONObj size is invalid"), StoreRejected, "of that size"),
        (Refusal(50, "MaxTimeMSExpired", "operation exceeded time limit"), StoreUnavailable, "did not answer"),
        (Refusal(11602, "InterruptedDueToReplStateChange", "stepped down"), StoreUnavailable, "did not answer"),
        (Refusal(2, "BadValue", "no such thing"), StoreRejected, "does not take this"),
    ],
    ids=lambda one: one.name if isinstance(one, Refusal) else "",
)
def test_a_refusal_is_said_in_undrift_s_words(
    bench: Bench,
    made: MongoDbStore,
    refusal: Refusal,
    error: type[Exception],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A read is sent once more where another member may answer it.
    monkeypatch.setattr(session, "TIMEOUT_S", 0.5)
    store = bench.store()
    store.describe(FIELD)
    bench.double.planted["find"] = refusal

    with pytest.raises(error, match=words):
        store.fetch(FIELD, [ID])
    store.close()


def test_a_deployment_without_search_is_refused_with_what_works(bench: Bench) -> None:
    bench.double.searches = False
    store = bench.store()

    with pytest.raises(StoreRejected, match="has no vector search") as refused:
        store.create(FIELD, dimensions=2, metric=Metric.COSINE)

    assert 'index = "none"' in refused.value.hint
    assert "docs" not in bench.double.collections
    plain = bench.store(index="none")
    plain.create(FIELD, dimensions=2, metric=Metric.COSINE)
    plain.upsert(FIELD, [record("a", VECTOR)])
    assert [hit.id for hit in plain.search(FIELD, VECTOR, k=1)] == ["a"]
    for one in (store, plain):
        one.close()


def test_the_inner_product_is_refused_by_name(made: MongoDbStore) -> None:
    with pytest.raises(BadArgument, match="cannot be searched by dot"):
        made.create(replace(FIELD, collection="by_dot"), dimensions=2, metric=Metric.DOT)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "cannot be called"),
        ("undrift_fields", "cannot be called"),
        ("a$b", "cannot be called"),
        ("docs?vector=metadata", "a vector of store mongodb"),
        ("docs?vector=a.b", "a vector of store mongodb"),
    ],
)
def test_a_name_that_mongodb_does_not_take_is_refused(made: MongoDbStore, name: str, words: str) -> None:
    with pytest.raises((BadArgument, BadConfig), match=words):
        made.create(replace(FIELD, collection=name), dimensions=2, metric=Metric.COSINE)


@pytest.mark.parametrize(
    ("address", "options", "words"),
    [
        ("mongodb://me:secret@host/db", {}, "user or a password"),
        ("mongodb://host", {}, "names a database"),
        ("mongodb://host/db?retryWrites=true", {}, "no address"),
        ("mongodb://host/db", {"user": "me"}, "no password"),
    ],
)
def test_an_address_says_where_and_nothing_else(address: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(BadConfig) as refused:
        MongoDbStore(address, **options)

    assert words in f"{refused.value.message} {refused.value.detail}"
    assert "secret" not in str(refused.value)


def test_a_server_that_is_away_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "TIMEOUT_S", 0.3)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        store = MongoDbStore(f"mongodb://127.0.0.1:{free.getsockname()[1]}/vectors")
        with pytest.raises(StoreUnavailable, match="did not answer"):
            store.count(FIELD)
        store.close()


def test_a_missing_extra_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymongo", None)

    with pytest.raises(MissingExtra) as missing:
        MongoDbStore("mongodb://127.0.0.1/vectors").count(FIELD)

    assert missing.value.hint == "pip install 'undrift[mongodb]'"
