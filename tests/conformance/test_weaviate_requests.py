"""Which requests exactly are sent to Weaviate, and what its refusals mean."""

from __future__ import annotations

import socket
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from tests.conformance.doubles.http import Response
from undrift.domain.record import DocumentId
from undrift.domain.route import VectorField
from undrift.domain.space import Metric
from undrift.errors import (
    BadArgument,
    BadConfig,
    BadFilter,
    CollectionMissing,
    FieldInUse,
    MissingExtra,
    StoreRejected,
    StoreUnavailable,
)
from undrift.testing.stores.samples import SPACE, numbered, record, records, unit_vectors

pytest.importorskip("weaviate")

import grpc
from weaviate.proto.v1 import base_pb2, batch_pb2

from tests.conformance.doubles.weaviate import Call, Running, Weaviate, serving
from undrift.adapters.stores.weaviate import WeaviateStore
from undrift.adapters.stores.weaviate.rows import key_of

FIELD = VectorField(store="main", collection="docs", space=SPACE.id)
ID = DocumentId("a")
VECTOR = np.array([0.6, 0.8], np.float32)
ALL = base_pb2.CONSISTENCY_LEVEL_ALL
ANY = base_pb2.Filters.OPERATOR_CONTAINS_ANY


@dataclass(kw_only=True)
class Bench:
    double: Weaviate
    running: Running
    stores: list[WeaviateStore] = field(default_factory=list)

    def store(self, **options: Any) -> WeaviateStore:
        said = {"grpc_port": self.running.grpc_port, "listing_s": 0, **options}
        self.stores.append(WeaviateStore(self.running.url, **said))
        return self.stores[-1]

    def close(self) -> None:
        for store in self.stores:
            store.close()

    def asked(self) -> list[str]:
        """What REST was asked since the last call."""
        return self.running.http.asked()

    def called(self) -> list[Call]:
        """What gRPC was asked since the last call."""
        seen = list(self.double.calls)
        self.double.calls.clear()
        return seen


def _bench(**options: Any) -> Iterator[Bench]:
    double = Weaviate(**options)
    with serving(double) as running:
        bench = Bench(double=double, running=running)
        yield bench
        bench.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    yield from _bench()


@pytest.fixture
def made(bench: Bench) -> WeaviateStore:
    store = bench.store()
    store.create(FIELD, dimensions=2, metric=Metric.COSINE)
    bench.asked()
    return store


def test_a_collection_is_made_with_its_note_its_vector_and_no_quantisation(bench: Bench) -> None:
    store = bench.store(index="hnsw", hnsw_m=48, hnsw_ef_construction=200, hnsw_ef_search=90, replicas=3, shards=2)
    store.create(FIELD, dimensions=2, metric=Metric.L2)

    sent = next(one for one in bench.running.http.requests if one.method == "POST")
    said = sent.json
    assert (sent.path, said["class"]) == ("/v1/schema", "Docs")
    assert said["description"].endswith('{"format":1,"name":"docs","dimensions":2}')
    assert said["vectorConfig"] == {
        "embedding": {
            "vectorizer": {"none": {}},
            "vectorIndexType": "hnsw",
            "vectorIndexConfig": {
                "distance": "l2-squared",
                "skipDefaultQuantization": True,
                "maxConnections": 48,
                "efConstruction": 200,
                "ef": 90,
            },
        }
    }
    assert said["replicationConfig"] == {"deletionStrategy": "TimeBasedResolution", "factor": 3}
    assert said["shardingConfig"] == {"desiredCount": 2}
    filterable = {one["name"] for one in said["properties"] if one["indexFilterable"]}
    assert filterable == {"doc_id", "filter_words", "space"}


def test_a_write_looks_whether_the_collection_is_there_and_wants_all_replicas(
    bench: Bench, made: WeaviateStore
) -> None:
    made.upsert(FIELD, [record("a", VECTOR, text="t", metadata={"n": 1}, sequence=3), record("b", VECTOR)])

    assert bench.asked() == ["GET /v1/schema/Docs"]
    (call,) = bench.called()
    assert (call.method, call.request.consistency_level) == ("BatchObjects", ALL)
    first, second = call.request.objects
    assert first.collection == "Docs"
    assert first.uuid == str(uuid.uuid5(uuid.NAMESPACE_DNS, "a"))
    kept = dict(first.properties.non_ref_properties.items())
    assert (kept["doc_id"], kept["text"], kept["metadata"], kept["sequence"]) == ("a", "t", '{"n":1}', 3)
    assert kept["space"] == SPACE.id
    ((words, values),) = [(one.prop_name, one.values) for one in first.properties.text_array_properties]
    assert (words, len(values)) == ("filter_words", 2)
    assert list(second.properties.empty_list_props) == ["filter_words"]
    ((name, vector),) = [(one.name, one.vector_bytes) for one in first.vectors]
    assert (name, vector) == ("embedding", VECTOR.astype("<f4").tobytes())


def test_many_records_go_in_several_requests(bench: Bench, made: WeaviateStore) -> None:
    made.upsert(FIELD, [record(id, VECTOR, text="x" * 50_000) for id in numbered(200)])

    sizes = [len(call.request.objects) for call in bench.called()]
    assert sum(sizes) == 200
    assert len(sizes) == 3
    assert made.count(FIELD) == 200


def test_a_change_of_metadata_touches_these_properties_only(bench: Bench, made: WeaviateStore) -> None:
    made.upsert(FIELD, [record("a", VECTOR, metadata={"x": 1})])
    bench.asked()

    made.merge_metadata(FIELD, {ID: {"y": 2}, DocumentId("never"): {"y": 2}}, sequence=9)

    path = f"/v1/objects/Docs/{key_of('a')}"
    assert bench.asked() == ["GET /v1/schema/Docs", f"PATCH {path}"]
    assert made.fetch(FIELD, [ID])["a"].metadata == {"x": 1, "y": 2}


def test_the_change_asks_for_all_replicas(bench: Bench, made: WeaviateStore) -> None:
    made.upsert(FIELD, [record("a", VECTOR)])
    made.merge_metadata(FIELD, {ID: {"y": 2}}, sequence=9)

    (sent,) = (one for one in bench.running.http.requests if one.method == "PATCH")
    assert sent.params == {"consistency_level": "ALL"}
    assert sent.json["properties"].keys() == {"metadata", "filter_words", "sequence"}


def test_a_deletion_names_the_ids_and_what_they_must_match(bench: Bench, made: WeaviateStore) -> None:
    made.upsert(FIELD, [record("a", VECTOR, metadata={"n": 1}), record("b", VECTOR, metadata={"n": 2})])
    bench.called()

    made.delete(FIELD, [ID, DocumentId("b")], filter={"n": 1})

    (call,) = bench.called()
    assert (call.method, call.request.consistency_level) == ("BatchDelete", ALL)
    ids, words = call.request.filters.filters
    assert (ids.target.property, list(ids.value_text_array.values)) == ("_id", [key_of("a"), key_of("b")])
    assert (words.target.property, words.operator) == ("filter_words", ANY)
    assert made.ids(FIELD, limit=5) == ["b"]


def test_a_deletion_by_an_order_deletes_what_was_read(bench: Bench, made: WeaviateStore) -> None:
    made.upsert(FIELD, records(numbered(6), 2))
    bench.called()

    made.delete(FIELD, numbered(6), filter={"n": {"$gt": 3}})

    read, gone = bench.called()
    assert (read.method, gone.method) == ("Search", "BatchDelete")
    assert list(gone.request.filters.value_text_array.values) == [key_of(id) for id in numbered(6)[4:]]


def test_a_search_asks_for_one_more_than_is_wanted(bench: Bench, made: WeaviateStore) -> None:
    made.upsert(FIELD, [record(id, vector) for id, vector in zip(numbered(9), unit_vectors(9, 2), strict=True)])
    bench.asked()
    bench.called()

    made.search(FIELD, VECTOR, k=3, filter={"$not": {"n": 1}})

    assert bench.asked() == []
    (call,) = bench.called()
    assert (call.method, call.request.collection, call.request.limit) == ("Search", "Docs", 4)
    assert list(call.request.near_vector.targets.target_vectors) == ["embedding"]
    assert call.request.near_vector.vectors[0].vector_bytes == VECTOR.astype("<f4").tobytes()
    assert call.request.filters.operator == base_pb2.Filters.OPERATOR_NOT
    assert list(call.request.properties.non_ref_properties)[-1] == "text"


def test_an_older_server_is_asked_for_more_instead_of_the_contrary() -> None:
    for bench in _bench(version="1.32.4"):
        store = bench.store()
        store.create(FIELD, dimensions=2, metric=Metric.COSINE)
        store.upsert(FIELD, records(numbered(40), 2))
        bench.called()

        assert len(store.search(FIELD, VECTOR, k=3, filter={"n": {"$ne": 1}})) == 3
        assert store.count(FIELD, {"n": {"$ne": 1}}) == 39

        assert not any(call.request.HasField("filters") for call in bench.called())


def test_a_filter_of_the_clients_own_goes_to_the_server_as_it_is(bench: Bench, made: WeaviateStore) -> None:
    from weaviate.classes.query import Filter

    made.upsert(FIELD, records(numbered(9), 2))
    bench.called()

    theirs = Filter.by_property("doc_id").contains_any([*numbered(9)[2:4]])
    assert {hit.id for hit in made.search(FIELD, VECTOR, k=5, filter={"$native": theirs})} == {*numbered(9)[2:4]}

    (call,) = bench.called()
    assert (call.request.filters.target.property, call.request.limit) == ("doc_id", 5)
    with pytest.raises(BadFilter, match=r"query\.Filter"):
        made.search(FIELD, VECTOR, k=5, filter={"$native": "doc_id = 1"})
    with pytest.raises(StoreRejected, match="does not do this") as caught:
        made.search(FIELD, VECTOR, k=5, filter={"$native": Filter.by_property("other").equal("x")})
    assert "no such prop with name 'other'" in caught.value.detail


def test_more_than_one_answer_can_have_are_compared_one_by_one(
    bench: Bench, made: WeaviateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("undrift.adapters.stores.weaviate.reading._MOST", 20)
    there = [record(id, VECTOR) for id in numbered(50)]
    made.upsert(FIELD, there)

    assert [hit.id for hit in made.search(FIELD, VECTOR, k=30)] == numbered(30)
    assert [hit.id for hit in made.search(FIELD, VECTOR, k=3)] == numbered(3)


def test_all_ids_are_listed_page_by_page_behind_the_last_uuid(
    bench: Bench, made: WeaviateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("undrift.adapters.stores.weaviate.reading._PAGE", 4)
    made.upsert(FIELD, records(numbered(10), 2))
    bench.called()

    assert made.ids(FIELD, limit=100) == numbered(10)

    pages = [call.request for call in bench.called() if not call.request.HasField("filters")]
    keys = sorted(key_of(id) for id in numbered(10))
    assert [page.after for page in pages] == ["", keys[3], keys[7]]
    assert {tuple(page.properties.non_ref_properties) for page in pages} == {
        ("doc_id", "metadata", "space", "content", "sequence")
    }


def test_an_answer_that_is_too_long_is_asked_for_in_parts() -> None:
    for bench in _bench(message_bytes=100_000):
        store = bench.store()
        store.create(FIELD, dimensions=2, metric=Metric.COSINE)
        for id in numbered(9):
            store.upsert(FIELD, [record(id, VECTOR, text="x" * 30_000)])

        assert sorted(store.fetch(FIELD, numbered(9))) == numbered(9)


@pytest.fixture
def replicated(bench: Bench) -> WeaviateStore:
    store = bench.store(replicas=3)
    store.create(FIELD, dimensions=2, metric=Metric.COSINE)
    store.upsert(FIELD, records(["a", "b", "c"], 2))
    bench.asked()
    bench.called()
    return store


def test_what_the_asked_replica_does_not_have_is_asked_of_all(bench: Bench, replicated: WeaviateStore) -> None:
    bench.double.lagging.add(key_of("b"))
    bench.double.doubtful.add(key_of("c"))

    found = replicated.fetch(FIELD, [DocumentId(id) for id in ("a", "b", "c", "never")])

    assert sorted(found) == ["a", "b", "c"]
    searches = bench.called()
    assert [len(call.request.filters.value_text_array.values) for call in searches] == [4, 2]
    assert {call.request.consistency_level for call in searches} == {ALL}
    heads = [one for one in bench.running.http.requests if one.method == "HEAD"]
    assert [one.path.rpartition("/")[2] for one in heads] == [key_of(id) for id in ("b", "c", "never")]
    assert {one.params["consistency_level"] for one in heads} == {"ALL"}


def test_replicas_that_do_not_agree_are_no_answer(bench: Bench, replicated: WeaviateStore) -> None:
    bench.double.lagging.add(key_of("b"))
    bench.double.repairs = False

    with pytest.raises(StoreUnavailable, match="do not agree about document 'b'"):
        replicated.entries(FIELD, [ID, DocumentId("b")])

    assert list(replicated.entries(FIELD, [ID])) == ["a"]


def test_a_single_replica_is_asked_once(bench: Bench, made: WeaviateStore) -> None:
    made.fetch(FIELD, [ID])
    bench.asked()
    bench.called()

    assert made.fetch(FIELD, [ID]) == {}

    assert bench.asked() == []
    (call,) = bench.called()
    assert not call.request.HasField("consistency_level")


def test_a_write_to_a_dropped_collection_makes_none(bench: Bench, made: WeaviateStore) -> None:
    bench.double.kept.clear()

    with pytest.raises(CollectionMissing, match="docs"):
        made.upsert(FIELD, [record("a", VECTOR)])

    assert bench.double.kept == {}
    assert bench.called() == []


def test_what_the_server_makes_by_itself_is_not_taken_for_undrifts(bench: Bench, made: WeaviateStore) -> None:
    (sent,) = (record("a", VECTOR),)
    made.upsert(FIELD, [sent])
    request = bench.called()[0].request
    bench.double.kept.clear()
    bench.double.batch_objects(request)

    with pytest.raises(FieldInUse, match="not one of undrift's"):
        made.upsert(FIELD, [sent])
    with pytest.raises(FieldInUse, match="Docs"):
        made.drop(FIELD)
    assert "Docs" in bench.double.kept


def test_names_that_differ_in_a_capital_only_are_not_mixed_up(bench: Bench, made: WeaviateStore) -> None:
    capital = VectorField(store="main", collection="Docs", space=SPACE.id)

    with pytest.raises(FieldInUse, match="Docs"):
        made.create(capital, dimensions=2, metric=Metric.COSINE)
    with pytest.raises(FieldInUse, match="not collection Docs"):
        made.describe(capital)


@pytest.mark.parametrize("name", ["my docs", "1st", "docs-v2", "d\u00f6cs", "x" * 300])
def test_any_name_can_be_had(bench: Bench, name: str) -> None:
    store, named = bench.store(), VectorField(store="main", collection=name, space=SPACE.id)
    store.create(named, dimensions=2, metric=Metric.DOT)
    store.upsert(named, [record("a", VECTOR)])

    assert list(store.fetch(named, [ID])) == ["a"]
    (kept,) = bench.double.kept
    assert kept.startswith("C_")
    store.drop(named)
    assert bench.double.kept == {}


@pytest.mark.parametrize(
    ("code", "said", "wanted", "match"),
    [
        (grpc.StatusCode.UNAVAILABLE, "failed to connect", StoreUnavailable, "did not answer"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", StoreUnavailable, "does not do this"),
        (grpc.StatusCode.UNKNOWN, "batch objects: cannot reach enough replicas", StoreUnavailable, "does not do"),
        (grpc.StatusCode.UNKNOWN, "could not find class Docs in schema", CollectionMissing, "docs"),
        (grpc.StatusCode.UNKNOWN, "extract auth: unauthorized: invalid api key", StoreRejected, "who asks"),
        (grpc.StatusCode.PERMISSION_DENIED, "forbidden", StoreRejected, "does not let"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "limit reached", StoreUnavailable, "does not do"),
    ],
)
def test_a_refusal_says_what_it_means_and_is_not_sent_again(
    bench: Bench, made: WeaviateStore, code: Any, said: str, wanted: type[Exception], match: str
) -> None:
    bench.double.planted["BatchObjects"] = (code, said)

    with pytest.raises(wanted, match=match):
        made.upsert(FIELD, [record("a", VECTOR)])

    assert [call.method for call in bench.called()] == ["BatchObjects"]


@pytest.mark.parametrize(
    ("errors", "wanted"),
    [
        ({0: "invalid text property 'text'", 1: "invalid text property 'text'"}, StoreRejected),
        ({1: "invalid text property 'text'"}, StoreUnavailable),
        ({0: "cannot reach enough replicas", 1: "cannot reach enough replicas"}, StoreUnavailable),
    ],
)
def test_a_write_of_which_a_part_was_refused_is_never_said_to_have_changed_nothing(
    bench: Bench, made: WeaviateStore, errors: dict[int, str], wanted: type[Exception]
) -> None:
    reply = batch_pb2.BatchObjectsReply()
    for index, error in errors.items():
        reply.errors.add(index=index, error=error)
    bench.double.planted["BatchObjects"] = reply

    with pytest.raises(wanted) as caught:
        made.upsert(FIELD, records(["a", "b"], 2))

    assert caught.type is wanted


def test_a_deletion_that_failed_in_part_is_said_to_have(bench: Bench, made: WeaviateStore) -> None:
    from weaviate.proto.v1 import batch_delete_pb2

    bench.double.planted["BatchDelete"] = batch_delete_pb2.BatchDeleteReply(matches=3, successful=1, failed=2)

    with pytest.raises(StoreUnavailable, match="in part") as caught:
        made.delete(FIELD, [ID])
    assert "2 of 3" in caught.value.detail


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (Response(status=500, body={"error": [{"message": "repo.merge"}]}), StoreUnavailable),
        (Response(status=503), StoreUnavailable),
        (Response(status=422, body={"error": [{"message": "invalid object"}]}), StoreRejected),
        (Response(status=403, body={"error": [{"message": "forbidden"}]}), StoreRejected),
        (None, StoreUnavailable),
    ],
)
def test_a_change_that_is_refused_or_lost_says_so(
    bench: Bench, made: WeaviateStore, answer: Response | None, wanted: type[Exception]
) -> None:
    made.upsert(FIELD, [record("a", VECTOR)])
    bench.double.planted_rest["PATCH", key_of("a")] = answer

    with pytest.raises(wanted):
        made.merge_metadata(FIELD, {ID: {"n": 1}}, sequence=1)


@pytest.mark.parametrize("key", [None, "wrong"])
def test_a_key_that_is_wrong_is_said_to_be(key: str | None) -> None:
    for bench in _bench(key="geheim"):
        with pytest.raises(StoreRejected, match="does not let this user") as caught:
            bench.store(api_key=key).describe(FIELD)
        assert "api_key_env" in caught.value.hint
        store = bench.store(api_key="geheim")
        store.create(FIELD, dimensions=2, metric=Metric.COSINE)
        assert store.count(FIELD) == 0
        bench.double.key = "another by now"
        with pytest.raises(StoreRejected, match="let this user do that"):
            store.search(FIELD, VECTOR, k=1)


def test_a_server_that_is_away_is_said_to_be() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

        with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{port} did not answer"):
            WeaviateStore(f"weaviate://127.0.0.1:{port}").describe(FIELD)


def test_a_port_where_grpc_is_not_is_named(bench: Bench, made: WeaviateStore) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        store = bench.store(grpc_port=port)

        with pytest.raises(StoreUnavailable, match="did not answer") as caught:
            store.count(FIELD)
        assert f"127.0.0.1:{port}" in caught.value.hint


def test_a_server_that_is_too_old_is_named() -> None:
    for bench in _bench(version="1.28.2"):
        with pytest.raises(StoreRejected, match=r"Weaviate 1\.28\.2"):
            bench.store().describe(FIELD)


def test_a_client_that_is_not_installed_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "weaviate", None)

    with pytest.raises(MissingExtra) as caught:
        WeaviateStore("weaviate://host").describe(FIELD)
    assert caught.value.hint == "pip install 'undrift[weaviate]'"


@pytest.mark.parametrize(
    ("place", "options"),
    [
        ("weaviate://user:geheim@host", {}),
        ("weaviate://host:port", {}),
        ("weaviate:", {}),
        ("weaviate://host/path", {}),
        ("weaviate://host:8080", {"grpc_port": 8080}),
        ("weaviates://host", {"grpc_port": 443}),
    ],
)
def test_an_address_that_is_none_is_refused(place: str, options: dict[str, Any]) -> None:
    with pytest.raises(BadConfig) as caught:
        WeaviateStore(place, **options)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    "option", [{"index": "none"}, {"hnsw_m": 1}, {"hnsw_ef_search": -2}, {"replicas": 0}, {"listing_s": -1}]
)
def test_a_setting_that_cannot_be_is_refused(option: dict[str, Any]) -> None:
    with pytest.raises(BadArgument, match=next(iter(option))):
        WeaviateStore("weaviate://host", **option)


def test_an_alias_of_the_server_follows_what_serves(bench: Bench) -> None:
    store = bench.store(follow_alias=True)
    other = VectorField(store="main", collection="docs2", space=SPACE.id)
    for one in (FIELD, other):
        store.create(one, dimensions=2, metric=Metric.COSINE)

    store.point("kb", FIELD)
    store.point("kb", FIELD)
    assert bench.double.aliases == {"Kb": "Docs"}
    store.point("kb", other)
    assert bench.double.aliases == {"Kb": "Docs2"}

    changes = [one for one in bench.asked() if "aliases" in one and not one.startswith("GET")]
    assert changes == ["POST /v1/aliases", "PUT /v1/aliases/Kb"]
    # What is called so is no collection of its own.
    with pytest.raises(FieldInUse, match="an alias of Docs2"):
        store.drop(VectorField(store="main", collection="kb", space=SPACE.id))
    assert "Docs2" in bench.double.kept


def test_an_alias_cannot_be_called_like_a_collection(bench: Bench) -> None:
    store = bench.store(follow_alias=True)
    store.create(FIELD, dimensions=2, metric=Metric.COSINE)

    with pytest.raises(StoreRejected) as caught:
        store.point("docs", FIELD)
    assert "already exists" in caught.value.detail


def test_a_server_without_aliases_says_so() -> None:
    for bench in _bench(version="1.31.0"):
        store = bench.store(follow_alias=True)
        store.create(FIELD, dimensions=2, metric=Metric.COSINE)

        with pytest.raises(StoreRejected, match=r"1\.32"):
            store.point("kb", FIELD)


def test_without_the_setting_no_alias_is_touched(bench: Bench, made: WeaviateStore) -> None:
    made.point("kb", FIELD)

    assert bench.asked() == []


def test_a_collection_in_another_shape_is_refused(made: WeaviateStore) -> None:
    with pytest.raises(BadConfig, match="another shape"):
        made.count(VectorField(store="main", collection="docs?as=langchain", space=SPACE.id))
