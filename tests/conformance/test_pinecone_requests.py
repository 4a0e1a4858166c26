"""Which requests exactly are sent to Pinecone, when a write is acknowledged, and what refusals mean."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from tests.conformance.doubles.http import Request, Response, Server, serving
from tests.conformance.doubles.pinecone import Pinecone
from undrift.adapters.stores.pinecone import PineconeStore
from undrift.domain.record import DocumentId
from undrift.domain.route import VectorField
from undrift.domain.space import Metric
from undrift.errors import (
    BadArgument,
    BadConfig,
    CollectionMissing,
    FieldInUse,
    MissingExtra,
    StoreRejected,
    StoreUnavailable,
)
from undrift.testing.stores.samples import SPACE, numbered, record, records

pytest.importorskip("pinecone")

FIELD = VectorField(store="main", collection="docs", space=SPACE.id)
ID = DocumentId("a")
VECTOR = np.array([0.6, 0.8], np.float32)
PLACE = "aws/us-east-1"


@dataclass(kw_only=True)
class Bench:
    double: Pinecone
    server: Server
    stores: list[PineconeStore] = field(default_factory=list)

    def store(self, **options: Any) -> PineconeStore:
        controller = f"http://127.0.0.1:{self.server.port}"
        store = PineconeStore(PLACE, **{"api_key": "key", "controller": controller, "listing_s": 0, **options})
        self.stores.append(store)
        return store

    def close(self) -> None:
        for store in self.stores:
            store.close()

    def asked(self) -> list[str]:
        """Method and end of the path of what was asked since the last call, each run of equal ones once."""
        seen: list[str] = []
        for request in self.server.requests:
            said = f"{request.method} {request.path.rpartition('/')[2]}"
            if seen[-1:] != [said]:
                seen.append(said)
        self.server.requests.clear()
        return seen

    def sent(self, end: str) -> list[Request]:
        return [request for request in self.server.requests if request.path.endswith(end)]


@pytest.fixture
def bench() -> Iterator[Bench]:
    double = Pinecone()
    with serving(double.answer) as server:
        double.port = server.port
        bench = Bench(double=double, server=server)
        yield bench
        bench.close()


@pytest.fixture
def made(bench: Bench) -> PineconeStore:
    store = bench.store()
    store.create(FIELD, dimensions=2, metric=Metric.COSINE)
    store.count(FIELD)
    bench.asked()
    return store


def test_an_index_is_made_and_waited_for(bench: Bench) -> None:
    bench.double.slow = 2
    store = bench.store()
    store.create(FIELD, dimensions=2, metric=Metric.DOT)

    (made,) = bench.sent("/indexes")
    assert made.json["name"] == "docs"
    assert made.json["schema"] == {
        "fields": {"_values": {"type": "dense_vector", "dimension": 2, "metric": "dotproduct"}}
    }
    assert made.json["deployment"] == {"deployment_type": "managed", "cloud": "aws", "region": "us-east-1"}
    assert made.json["tags"].keys() == {"undrift-format", "undrift-name"}
    assert len(bench.sent("/indexes/docs")) == 3


def test_a_write_is_acknowledged_when_a_query_and_a_fetch_have_seen_it(bench: Bench, made: PineconeStore) -> None:
    bench.double.query_lag, bench.double.fetch_lag = 3, 2

    made.upsert(FIELD, [record("a", VECTOR, text="t", metadata={"n": 1}, sequence=3)])

    queries, fetches = bench.sent("/query"), bench.sent("/fetch")
    assert (len(queries), len(fetches)) == (4, 3)
    (sent,) = bench.sent("/upsert")
    (row,) = sent.json["vectors"]
    assert row["id"] == "a"
    assert row["values"] == VECTOR.astype(np.float64).tolist()
    kept = row["metadata"]
    assert (kept["doc_id"], kept["text"], kept["metadata"], kept["sequence"]) == ("a", "t", '{"n":1}', 3)
    assert len(kept["words"]) == 2
    assert bench.asked() == ["POST upsert", "POST query", "GET fetch"]


@pytest.mark.parametrize("way", ["query_lag", "fetch_lag"])
def test_a_write_that_nobody_sees_is_not_acknowledged(bench: Bench, made: PineconeStore, way: str) -> None:
    setattr(bench.double, way, 10_000)
    impatient = bench.store(confirm_s=0.1)

    with pytest.raises(StoreUnavailable, match=r"does not show it after 0\.1 s") as caught:
        impatient.upsert(FIELD, [record("a", VECTOR)])
    assert "confirm_s" in caught.value.hint


def test_a_write_without_its_number_is_not_acknowledged(bench: Bench, made: PineconeStore) -> None:
    bench.double.says_numbers = False

    with pytest.raises(StoreUnavailable, match="does not say where in its log"):
        made.upsert(FIELD, [record("a", VECTOR)])
    with pytest.raises(StoreUnavailable, match="does not say where in its log"):
        made.delete(FIELD, [ID])


def test_a_deletion_is_waited_for_as_well(bench: Bench, made: PineconeStore) -> None:
    made.upsert(FIELD, records(["a", "b"], 2))
    bench.asked()

    made.delete(FIELD, [ID, DocumentId("never")])

    (sent,) = bench.sent("/delete")
    assert sent.json["ids"] == ["a", "never"]
    assert bench.asked() == ["POST delete", "POST query", "GET fetch"]
    assert made.ids(FIELD, limit=5) == ["b"]


def test_a_change_of_metadata_touches_these_keys_only(bench: Bench, made: PineconeStore) -> None:
    made.upsert(FIELD, [record("a", VECTOR, metadata={"x": 1})])
    bench.asked()

    made.merge_metadata(FIELD, {ID: {"y": 2}, DocumentId("never"): {"y": 2}}, sequence=9)

    (sent,) = bench.sent("/update")
    assert sent.json["id"] == "a"
    assert sent.json["setMetadata"].keys() == {"metadata", "words", "sequence"}
    assert sent.json["setMetadata"]["metadata"] == '{"x":1,"y":2}'


def test_many_records_go_in_requests_of_two_megabytes_at_most(bench: Bench, made: PineconeStore) -> None:
    made.upsert(FIELD, [record(id, VECTOR, text="x" * 10_000) for id in numbered(400)])

    sizes = [len(request.body) for request in bench.sent("/upsert")]
    assert len(sizes) == 3
    assert max(sizes) < 2 * 2**20
    assert made.count(FIELD) == 400


def test_a_search_asks_for_one_more_and_reads_their_vectors(bench: Bench, made: PineconeStore) -> None:
    made.upsert(FIELD, records(numbered(9), 2))
    bench.server.requests.clear()

    made.search(FIELD, VECTOR, k=3, filter={"$or": [{"n": 1}, {"n": {"$in": [2, 3, 4, 5]}}]})

    first, *_ = bench.sent("/query")
    assert first.json["topK"] == 4
    one, several = first.json["filter"]["$or"]
    assert (len(one["words"]["$in"]), len(several["words"]["$in"])) == (1, 4)
    bench.server.requests.clear()

    made.search(FIELD, VECTOR, k=3, filter={"n": {"$ne": 1}})

    assert all("filter" not in request.json for request in bench.sent("/query"))


def test_a_filter_of_pinecones_own_goes_to_it_as_it_is(bench: Bench, made: PineconeStore) -> None:
    made.upsert(FIELD, records(numbered(9), 2))
    bench.server.requests.clear()

    hits = made.search(FIELD, VECTOR, k=5, filter={"$native": {"doc_id": {"$in": [*numbered(9)[2:4]]}}})

    assert {hit.id for hit in hits} == {*numbered(9)[2:4]}
    with pytest.raises(StoreRejected) as caught:
        made.search(FIELD, VECTOR, k=5, filter={"$native": {"$like": [{"a": 1}]}})
    assert "not a supported operator" in caught.value.detail


def test_ids_that_pinecone_does_not_take_are_called_by_their_hash(bench: Bench, made: PineconeStore) -> None:
    made.upsert(FIELD, [record("\u4e2d", VECTOR), record("plain/id 1", -VECTOR), record("~x", VECTOR)])

    (sent,) = bench.sent("/upsert")
    assert [row["id"][:1] for row in sent.json["vectors"]] == ["~", "p", "~"]
    assert made.ids(FIELD, limit=5) == ["plain/id 1", "~x", "\u4e2d"]
    assert [hit.id for hit in made.search(FIELD, VECTOR, k=5)] == ["~x", "\u4e2d", "plain/id 1"]


def test_a_record_that_is_too_large_altogether_is_refused_by_name(bench: Bench, made: PineconeStore) -> None:
    large = record("large", VECTOR, text='"' * 15_000, metadata={f"k{number}": 1 for number in range(900)})

    with pytest.raises(StoreRejected, match="'large' has text and metadata together"):
        made.upsert(FIELD, [record("a", VECTOR), large])

    assert bench.sent("/upsert") == []


def test_zeros_are_refused_for_every_metric(bench: Bench) -> None:
    store = bench.store()
    store.create(FIELD, dimensions=2, metric=Metric.L2)

    with pytest.raises(StoreRejected, match="only zeros"):
        store.upsert(FIELD, [record("a", np.zeros(2, np.float32))])


def test_a_namespace_keeps_its_records_apart(bench: Bench, made: PineconeStore) -> None:
    tenant = bench.store(namespace="tenant")
    tenant.upsert(FIELD, [record("b", VECTOR)])
    made.upsert(FIELD, [record("a", VECTOR)])

    assert (tenant.ids(FIELD, limit=5), tenant.count(FIELD)) == (["b"], 1)
    assert (made.ids(FIELD, limit=5), made.count(FIELD)) == (["a"], 1)
    assert [hit.id for hit in tenant.search(FIELD, VECTOR, k=5)] == ["b"]


def test_an_index_of_somebody_else_is_neither_used_nor_dropped(bench: Bench, made: PineconeStore) -> None:
    definition = bench.double.indexes["docs"].definition
    definition["tags"] = {}

    for call in (made.describe, made.drop):
        with pytest.raises(FieldInUse, match="docs"):
            call(FIELD)
    with pytest.raises(FieldInUse, match="docs"):
        made.create(FIELD, dimensions=2, metric=Metric.COSINE)
    assert "docs" in bench.double.indexes


@pytest.mark.parametrize("name", ["my docs", "Docs", "kb_v2", "d\u00f6cs", "x" * 300, "-a"])
def test_any_name_can_be_had(bench: Bench, name: str) -> None:
    store, named = bench.store(), VectorField(store="main", collection=name, space=SPACE.id)
    store.create(named, dimensions=2, metric=Metric.COSINE)
    store.upsert(named, [record("a", VECTOR)])

    assert list(store.fetch(named, [ID])) == ["a"]
    store.drop(named)
    assert bench.double.indexes == {}
    assert store.describe(named) is None


def test_an_index_that_is_not_ready_in_time_is_said_not_to_be(bench: Bench) -> None:
    bench.double.slow = 10_000

    with pytest.raises(StoreUnavailable, match=r"was not ready after 0\.05 s"):
        bench.store(ready_s=0.05).create(FIELD, dimensions=2, metric=Metric.COSINE)


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (Response(status=400, body={"code": "3", "message": "bad", "details": []}), StoreRejected),
        (Response(status=402, body={"code": "9", "message": "past due", "details": []}), StoreRejected),
        (Response(status=403, body={"code": "7", "message": "Forbidden", "details": []}), StoreRejected),
        (Response(status=413, body={"code": "11", "message": "too large", "details": []}), StoreRejected),
    ],
)
def test_a_refusal_says_what_it_means(
    bench: Bench, made: PineconeStore, answer: Response, wanted: type[Exception]
) -> None:
    bench.double.planted["/vectors/upsert"] = answer

    with pytest.raises(wanted):
        made.upsert(FIELD, [record("a", VECTOR)])
    assert made.fetch(FIELD, [ID]) == {}


def test_an_index_that_was_made_anew_is_found_again(bench: Bench, made: PineconeStore) -> None:
    other = bench.store()
    other.drop(FIELD)
    other.create(FIELD, dimensions=3, metric=Metric.COSINE)

    made.upsert(FIELD, records(["a"], 3))

    assert made.fetch(FIELD, [ID])["a"].vector.shape == (3,)
    other.drop(FIELD)
    with pytest.raises(CollectionMissing, match="docs"):
        made.upsert(FIELD, records(["a"], 3))


@pytest.mark.parametrize("key", [None, "wrong"])
def test_a_key_that_is_wrong_is_said_to_be(bench: Bench, key: str | None) -> None:
    with pytest.raises(StoreRejected, match=r"wants to know who asks|does not let this key") as caught:
        bench.store(api_key=key).describe(FIELD)
    assert "api_key_env" in caught.value.hint or "PINECONE_API_KEY" in caught.value.hint


def test_a_controller_that_is_away_is_said_to_be() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

        with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{port} did not answer"):
            PineconeStore(PLACE, api_key="key", controller=f"http://127.0.0.1:{port}").describe(FIELD)


def test_a_client_that_is_not_installed_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pinecone", None)

    with pytest.raises(MissingExtra) as caught:
        PineconeStore(PLACE, api_key="key").describe(FIELD)
    assert caught.value.hint == "pip install 'undrift[pinecone]'"


@pytest.mark.parametrize(
    ("place", "options"),
    [
        ("", {}),
        ("us-east-1", {}),
        ("ibm/eu", {}),
        ("//host", {}),
        (PLACE, {"controller": "api.pinecone.io"}),
        (PLACE, {"controller": "https://user:geheim@host"}),
    ],
)
def test_an_address_that_is_none_is_refused(place: str, options: dict[str, Any]) -> None:
    with pytest.raises(BadConfig) as caught:
        PineconeStore(place, **options)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("option", [{"confirm_s": -1}, {"ready_s": 4000}, {"listing_s": -1}])
def test_a_setting_that_cannot_be_is_refused(option: dict[str, Any]) -> None:
    with pytest.raises(BadArgument, match=next(iter(option))):
        PineconeStore(PLACE, **option)


def test_what_it_does_not_promise_is_declared(bench: Bench) -> None:
    assert not bench.store().capabilities.strong_reads
