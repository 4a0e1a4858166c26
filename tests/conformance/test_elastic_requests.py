"""What exactly is sent to Elasticsearch and OpenSearch, and what their refusals mean."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tests.conformance.doubles.elastic import Elastic
from tests.conformance.doubles.http import Request, Response, Server, serving
from undrift.adapters.stores.elastic import ElasticsearchStore, OpenSearchStore
from undrift.domain.record import DocumentId
from undrift.domain.route import VectorField
from undrift.domain.space import Metric
from undrift.errors import BadArgument, BadConfig, CollectionMissing, FieldInUse, StoreRejected, StoreUnavailable
from undrift.testing.stores.samples import SPACE, record, records, unit_vectors

FIELD = VectorField(store="main", collection="docs", space=SPACE.id)
ID = DocumentId("a")
ADAPTERS: dict[str, Any] = {"elasticsearch": ElasticsearchStore, "opensearch": OpenSearchStore}
VECTOR = np.array([0.6, 0.8], np.float32)


@dataclass(frozen=True, kw_only=True)
class Bench:
    vendor: str
    double: Elastic
    server: Server

    def store(self, **options: Any) -> Any:
        return ADAPTERS[self.vendor](f"//127.0.0.1:{self.server.port}", **options)

    def last(self, end: str) -> Request:
        """The last request whose path ends so."""
        return [request for request in self.server.requests if request.path.endswith(end)][-1]


@pytest.fixture(params=["elasticsearch", "opensearch"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    vendor = request.param
    pytest.importorskip({"elasticsearch": "elasticsearch", "opensearch": "opensearchpy"}[vendor])
    double = Elastic(vendor=vendor, version={"elasticsearch": "9.2.1", "opensearch": "3.1.0"}[vendor])
    with serving(double.answer) as server:
        yield Bench(vendor=vendor, double=double, server=server)


VECTORS = {
    "elasticsearch": {
        "type": "dense_vector",
        "dims": 2,
        "index": True,
        "similarity": "max_inner_product",
        "index_options": {"type": "hnsw", "m": 32, "ef_construction": 200},
    },
    "opensearch": {
        "type": "knn_vector",
        "dimension": 2,
        "method": {
            "name": "hnsw",
            "engine": "lucene",
            "space_type": "innerproduct",
            "parameters": {"m": 32, "ef_construction": 200},
        },
    },
}
SETTINGS = {
    "elasticsearch": {"index.mapping.exclude_source_vectors": False},
    "opensearch": {"index.knn": True, "index.knn.derived_source.enabled": False},
}


def test_an_index_is_made_with_the_mapping_its_alias_and_the_settings(bench: Bench) -> None:
    bench.store(hnsw_m=32, hnsw_ef_construction=200, shards=3, replicas=1).create(
        FIELD, dimensions=2, metric=Metric.DOT
    )

    sent = bench.last("/docs")
    assert (sent.method, sent.params) == ("PUT", {"wait_for_active_shards": "1"})
    assert sent.json == {
        "aliases": {"docs.undrift-writes": {}},
        "mappings": {
            "_meta": {"undrift": {"format": 1, "metric": "max_inner_product"}},
            "dynamic": False,
            "properties": {
                "id": {"type": "keyword"},
                "text": {"type": "text"},
                "filter_words": {"type": "keyword"},
                "space": {"type": "keyword"},
                "sequence": {"type": "long"},
                "embedding": VECTORS[bench.vendor],
            },
        },
        "settings": {
            **SETTINGS[bench.vendor],
            "index.number_of_shards": 3,
            "index.number_of_replicas": 1,
        },
    }


@pytest.mark.parametrize(
    ("vendor", "version"), [("elasticsearch", "8.15.0"), ("elasticsearch", "9.1.5"), ("opensearch", "2.19.1")]
)
def test_settings_that_an_older_version_does_not_know_are_not_sent(vendor: str, version: str) -> None:
    pytest.importorskip({"elasticsearch": "elasticsearch", "opensearch": "opensearchpy"}[vendor])
    double = Elastic(vendor=vendor, version=version)
    with serving(double.answer) as server:
        bench = Bench(vendor=vendor, double=double, server=server)

        bench.store().create(FIELD, dimensions=2, metric=Metric.COSINE)

        assert bench.last("/docs").json["settings"] == ({"index.knn": True} if vendor == "opensearch" else {})


def test_a_write_is_one_bulk_request_that_can_make_no_index(bench: Bench) -> None:
    store = bench.store()
    store.create(FIELD, dimensions=2, metric=Metric.COSINE)
    written = [
        record("b", np.array([1 / 3, -0.0], np.float32), metadata={"n": 2}, sequence=4),
        record("a", VECTOR, text="t"),
    ]
    store.get = store.describe(FIELD)
    bench.server.asked()

    store.upsert(FIELD, written)

    (sent,) = bench.server.requests
    assert (sent.method, sent.path) == ("POST", "/docs.undrift-writes/_bulk")
    assert sent.params == {"require_alias": "true", "timeout": "10s"}
    assert "x-ndjson" in sent.headers["content-type"]
    first, second, third, fourth = (json.loads(line) for line in sent.body.splitlines())
    assert (first, third) == ({"index": {"_id": "b"}}, {"index": {"_id": "a"}})
    assert second == {
        "id": "b",
        "text": "text of b",
        "metadata": '{"n":2}',
        "filter_words": ["n\x1f!", "n\x1fnc0000000000000008000"],
        "space": SPACE.id,
        "content": written[0].tag.content,
        "sequence": 4,
        "embedding": [0.333333343, 0.0],
    }
    assert b"[0.333333343,-0.0]" in sent.body
    assert fourth["embedding"] == [0.600000024, 0.800000012]


def test_what_is_inserted_if_absent_is_created(bench: Bench) -> None:
    store = bench.store()
    store.create(FIELD, dimensions=2, metric=Metric.COSINE)

    store.insert_absent(FIELD, [record("a", VECTOR)])

    assert json.loads(bench.last("_bulk").body.splitlines()[0]) == {"create": {"_id": "a"}}


def test_a_change_of_metadata_names_the_version_that_was_read(bench: Bench) -> None:
    store = bench.store()
    store.create(FIELD, dimensions=2, metric=Metric.COSINE)
    store.upsert(FIELD, [record("z", VECTOR), record("a", VECTOR, metadata={"x": 1})])
    bench.server.asked()

    store.merge_metadata(FIELD, {ID: {"y": 2}}, sequence=7)

    read, sent = bench.server.requests
    assert read.path == "/docs/_mget"
    assert read.json == {"ids": ["a"]}
    assert read.params == {"_source_includes": "metadata", "realtime": "true"}
    action, change = (json.loads(line) for line in sent.body.splitlines())
    assert action == {"update": {"_id": "a", "if_seq_no": 1, "if_primary_term": 1}}
    assert change["doc"]["metadata"] == '{"x":1,"y":2}'
    assert change["doc"]["sequence"] == 7
    assert set(change["doc"]) == {"metadata", "filter_words", "sequence"}


def test_a_deletion_with_a_filter_names_the_version_that_was_read(bench: Bench) -> None:
    store = bench.store()
    store.create(FIELD, dimensions=2, metric=Metric.COSINE)
    store.upsert(FIELD, [record("a", VECTOR, metadata={"x": 1}), record("b", VECTOR, metadata={"x": 2})])

    store.delete(FIELD, [ID, DocumentId("b")], filter={"x": 1})

    assert json.loads(bench.last("_bulk").body) == {"delete": {"_id": "a", "if_seq_no": 0, "if_primary_term": 1}}


def test_a_page_is_read_after_a_refresh_and_by_the_order_of_the_ids(bench: Bench) -> None:
    store = bench.store()
    store.create(FIELD, dimensions=2, metric=Metric.COSINE)
    store.upsert(FIELD, [record("a", VECTOR)])
    bench.server.asked()

    store.scan(FIELD, after="A", until="b", limit=5, filter={"n": {"$exists": True}})

    refresh, page = bench.server.requests
    assert (refresh.method, refresh.path) == ("POST", "/docs/_refresh")
    assert page.path == "/docs/_search"
    assert page.params == ({"preference": "_primary"} if bench.vendor == "opensearch" else {})
    assert page.json == {
        "query": {
            "bool": {"filter": [{"range": {"id": {"gt": "A", "lte": "b"}}}, {"term": {"filter_words": "n\x1f!"}}]}
        },
        "sort": [{"id": "asc"}],
        "size": 5,
        "_source": ["id", "metadata", "space", "content", "sequence"],
        "track_total_hits": False,
    }


BY_INDEX = {
    "elasticsearch": {
        "knn": {
            "field": "embedding",
            "query_vector": VECTOR.tolist(),
            "k": 2,
            "num_candidates": 50,
            "filter": {"term": {"filter_words": "n\x1fnc0000000000000008000"}},
        }
    },
    "opensearch": {
        "query": {
            "knn": {
                "embedding": {
                    "vector": VECTOR.tolist(),
                    "k": 50,
                    "filter": {"term": {"filter_words": "n\x1fnc0000000000000008000"}},
                }
            }
        }
    },
}


def test_a_search_asks_the_index_and_compares_with_all_when_that_gives_too_few(bench: Bench) -> None:
    store = bench.store(hnsw_ef_search=50)
    store.create(FIELD, dimensions=2, metric=Metric.COSINE)
    store.upsert(FIELD, [record("a", VECTOR, metadata={"n": 2}), record("b", -VECTOR, metadata={"n": 3})])
    bench.server.asked()

    hits = store.search(FIELD, VECTOR, k=2, filter={"n": 2})

    _, by_index, exactly = bench.server.requests
    common = {
        "size": 2,
        "_source": ["id", "metadata", "space", "content", "sequence", "text"],
        "track_total_hits": False,
    }
    assert by_index.json == {**BY_INDEX[bench.vendor], **common}
    assert "script_score" in exactly.json["query"]
    assert [(hit.id, hit.score) for hit in hits] == [("a", pytest.approx(1.0, abs=1e-6))]


@pytest.mark.parametrize("metric", list(Metric))
def test_the_index_and_the_comparison_with_all_score_alike(bench: Bench, metric: Metric) -> None:
    by_index, exactly = bench.store(), bench.store(index="none")
    by_index.create(FIELD, dimensions=8, metric=metric)
    by_index.upsert(FIELD, records([f"doc-{number}" for number in range(20)], 8))

    for query in unit_vectors(5, 8, seed=3):
        found = by_index.search(FIELD, query, k=10)
        wanted = exactly.search(FIELD, query, k=10)
        assert [hit.id for hit in found] == [hit.id for hit in wanted]
        assert [hit.score for hit in found] == pytest.approx([hit.score for hit in wanted], abs=1e-5)
    assert "knn" not in bench.last("_search").json


def test_a_search_may_leave_out_the_refresh(bench: Bench) -> None:
    store = bench.store(refresh="scan")
    store.create(FIELD, dimensions=2, metric=Metric.COSINE)
    store.upsert(FIELD, [record("a", VECTOR)])
    bench.server.asked()

    assert store.search(FIELD, VECTOR, k=1) == []
    assert "POST /docs/_refresh" not in bench.server.asked()
    assert store.count(FIELD) == 1
    assert "POST /docs/_refresh" in bench.server.asked()


def test_a_filter_of_the_engine_goes_to_it_as_it_is(bench: Bench) -> None:
    store = bench.store()
    store.create(FIELD, dimensions=2, metric=Metric.COSINE)
    store.upsert(FIELD, [record("a", VECTOR), record("b", VECTOR)])

    hits = store.search(FIELD, VECTOR, k=5, filter={"$native": {"range": {"id": {"gte": "b"}}}})

    assert [hit.id for hit in hits] == ["b"]
    sent = bench.last("_search").json["query"]["script_score"]["query"]["bool"]["filter"]
    assert sent[1] == {"range": {"id": {"gte": "b"}}}


def test_a_filter_deeper_than_the_engine_takes_is_looked_at_once_more(bench: Bench) -> None:
    store = bench.store()
    store.create(FIELD, dimensions=2, metric=Metric.COSINE)
    store.upsert(FIELD, [record(name, VECTOR, metadata={"n": name}) for name in "abc"])
    deep: dict[str, Any] = {"n": "b"}
    for _ in range(15):
        deep = {"$and": [{"$or": [deep, {"n": "a"}]}, {"n": {"$ne": "c"}}]}

    assert [entry.id for entry in store.scan(FIELD, limit=5, filter=deep)] == ["a", "b"]
    assert store.count(FIELD, deep) == 2
    assert [hit.id for hit in store.search(FIELD, VECTOR, k=5, filter=deep)] == ["a", "b"]


def test_a_string_longer_than_its_word_is_compared_whole(bench: Bench) -> None:
    store = bench.store()
    store.create(FIELD, dimensions=2, metric=Metric.COSINE)
    long = "x" * 300
    store.upsert(
        FIELD, [record("a", VECTOR, metadata={"n": long + "1"}), record("b", VECTOR, metadata={"n": long + "2"})]
    )

    assert [entry.id for entry in store.scan(FIELD, limit=5, filter={"n": long + "2"})] == ["b"]
    assert store.count(FIELD, {"n": {"$lt": long + "2"}}) == 1


def test_an_index_of_somebody_else_is_neither_used_nor_dropped(bench: Bench) -> None:
    store = bench.store()
    bench.double._create("docs", {})

    for call in (
        lambda: store.drop(FIELD),
        lambda: store.describe(FIELD),
        lambda: store.upsert(FIELD, [record("a", VECTOR)]),
    ):
        with pytest.raises(FieldInUse, match="docs"):
            call()
    with pytest.raises(FieldInUse, match="docs"):
        store.create(FIELD, dimensions=2, metric=Metric.COSINE)

    assert list(bench.double.indexes) == ["docs"]


@pytest.mark.parametrize("name", ["", "Docs", "_docs", "a b", "a/b", "x" * 250, "a#b"])
def test_a_name_that_no_index_can_have_is_refused_before_anything_is_sent(bench: Bench, name: str) -> None:
    field = VectorField(store="main", collection=name, space=SPACE.id)

    with pytest.raises(BadArgument, match="cannot be called"):
        bench.store().create(field, dimensions=2, metric=Metric.COSINE)

    assert bench.store().describe(field) is None
    assert bench.server.requests == []


def error(kind: str, reason: str, status: int) -> Response:
    said = {"type": kind, "reason": reason}
    return Response(status=status, body={"error": {"root_cause": [said], **said}, "status": status})


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (error("es_rejected_execution_exception", "rejected execution of primary operation", 429), StoreUnavailable),
        (error("security_exception", "missing authentication credentials", 401), StoreUnavailable),
        (error("security_exception", "action is unauthorized for user [reader]", 403), StoreRejected),
        (error("cluster_block_exception", "index [docs] blocked by: [FORBIDDEN/12/read-only]", 403), StoreRejected),
        (error("master_not_discovered_exception", "", 503), StoreUnavailable),
        (error("index_not_found_exception", "no such index [docs]", 404), CollectionMissing),
        (Response(status=413, body="Request Entity Too Large"), StoreRejected),
        (Response(status=502, body="Bad Gateway"), StoreUnavailable),
        (None, StoreUnavailable),
    ],
    ids=["busy", "no-key", "no-right", "blocked", "no-master", "no-index", "too-large", "proxy", "hung-up"],
)
def test_a_refused_write_says_what_it_means(bench: Bench, answer: Response | None, wanted: type[Exception]) -> None:
    store = bench.store()
    store.create(FIELD, dimensions=2, metric=Metric.COSINE)
    store.describe(FIELD)
    bench.double.planted["/_bulk"] = answer
    bench.server.asked()

    with pytest.raises(wanted):
        store.upsert(FIELD, [record("a", VECTOR)])

    # It is never sent again by itself.
    assert bench.server.asked() == ["POST /docs.undrift-writes/_bulk"]


def items(*statuses: int) -> Response:
    answers: list[dict[str, Any]] = []
    for number, status in enumerate(statuses):
        said: dict[str, Any] = {"_index": "docs", "_id": "ab"[number], "status": status}
        if status >= 300:
            kind = {400: "document_parsing_exception", 429: "es_rejected_execution_exception"}.get(status, "other")
            said["error"] = {"type": kind, "reason": "failed to parse"}
        answers.append({"index": said})
    return Response(body={"took": 1, "errors": True, "items": answers})


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (items(400, 400), StoreRejected),
        (items(201, 400), StoreUnavailable),
        (items(400, 201), StoreUnavailable),
        (items(201, 429), StoreUnavailable),
        (items(429, 503), StoreUnavailable),
    ],
    ids=["none", "first", "second", "busy", "all-busy"],
)
def test_a_write_of_which_a_part_was_refused_is_never_said_to_have_changed_nothing(
    bench: Bench, answer: Response, wanted: type[Exception]
) -> None:
    store = bench.store()
    store.create(FIELD, dimensions=2, metric=Metric.COSINE)
    bench.double.planted["/_bulk"] = answer

    with pytest.raises(wanted, match="failed to parse"):
        store.upsert(FIELD, [record("a", VECTOR), record("b", VECTOR)])


def test_an_answer_of_some_shards_is_no_answer(bench: Bench) -> None:
    store = bench.store()
    store.create(FIELD, dimensions=2, metric=Metric.COSINE)
    failed = {"total": 2, "successful": 1, "failed": 1, "failures": [{"reason": {"reason": "all copies are away"}}]}
    bench.double.planted["/_search"] = Response(body={"_shards": failed, "hits": {"hits": []}})
    bench.double.planted["/_count"] = Response(body={"_shards": failed, "count": 3})

    for call in (
        lambda: store.search(FIELD, VECTOR, k=1),
        lambda: store.ids(FIELD, limit=1),
        lambda: store.count(FIELD),
    ):
        with pytest.raises(StoreUnavailable, match="a part of what it has"):
            call()


def test_a_cluster_that_is_away_is_said_to_be(bench: Bench) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        store = ADAPTERS[bench.vendor](f"//127.0.0.1:{port}")

        with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{port} did not answer"):
            store.describe(FIELD)


def test_an_opensearch_is_not_taken_for_an_elasticsearch() -> None:
    pytest.importorskip("elasticsearch")
    double = Elastic(vendor="opensearch", version="3.1.0")
    with serving(double.answer) as server, pytest.raises(StoreUnavailable, match="no Elasticsearch") as caught:
        ElasticsearchStore(f"//127.0.0.1:{server.port}").create(FIELD, dimensions=2, metric=Metric.COSINE)
    assert "opensearch://" in caught.value.hint


def test_a_user_or_a_key_is_shown_to_the_cluster_and_nobody_else(bench: Bench) -> None:
    bench.store(user="undrift", api_key="geheim").describe(FIELD)
    assert bench.last("/docs").headers["authorization"] == "Basic dW5kcmlmdDpnZWhlaW0="

    keyed = bench.store(api_key="a2V5")
    keyed.describe(FIELD)
    assert bench.last("/docs").headers["authorization"] == "ApiKey a2V5"
    bench.double.planted["/docs"] = error("security_exception", "no", 401)
    with pytest.raises(StoreUnavailable) as caught:
        keyed.describe(FIELD)
    assert "a2V5" not in f"{caught.value}{caught.value.__cause__}{keyed._wire.place!r}"


@pytest.mark.parametrize("vendor", list(ADAPTERS))
@pytest.mark.parametrize(
    ("rest", "options", "said"),
    [
        ("//user:geheim@host", {}, "password"),
        ("//host:port", {}, "not an address"),
        ("//", {}, "no address"),
        ("//host?x=1", {}, "no address"),
        ("//host", {"user": "u"}, "no password"),
    ],
)
def test_an_address_that_is_none_is_refused(vendor: str, rest: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(BadConfig, match=said) as caught:
        ADAPTERS[vendor](rest, **options)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("vendor", list(ADAPTERS))
@pytest.mark.parametrize(
    "option", [{"index": "ivf"}, {"refresh": "never"}, {"hnsw_m": 1}, {"hnsw_ef_search": 10_001}, {"shards": 0}]
)
def test_a_setting_that_cannot_be_is_refused(vendor: str, option: dict[str, Any]) -> None:
    with pytest.raises(BadArgument, match=next(iter(option))):
        ADAPTERS[vendor]("//host", **option)


def test_an_alias_of_the_engine_follows_what_serves(bench: Bench) -> None:
    store = bench.store(follow_alias=True)
    other = VectorField(store="main", collection="docs-2", space=SPACE.id)
    for field in (FIELD, other):
        store.create(field, dimensions=2, metric=Metric.COSINE)

    store.point("kb", FIELD)
    assert bench.last("/_aliases").json == {"actions": [{"add": {"index": "docs", "alias": "kb"}}]}
    store.point("kb", other)
    assert bench.last("/_aliases").json == {
        "actions": [{"remove": {"index": "docs", "alias": "kb"}}, {"add": {"index": "docs-2", "alias": "kb"}}]
    }
    bench.server.asked()
    store.point("kb", other)
    assert "POST /_aliases" not in bench.server.asked()

    store.upsert(VectorField(store="main", collection="kb", space=SPACE.id), [record("a", VECTOR)])
    assert store.ids(other, limit=5) == ["a"]


def test_an_alias_that_stands_for_something_else_is_left_alone(bench: Bench) -> None:
    store = bench.store(follow_alias=True)
    store.create(FIELD, dimensions=2, metric=Metric.COSINE)
    for name in ("one", "two"):
        bench.double._create(name, {"aliases": {"kb": {}}})
    bench.double._create("index", {})

    with pytest.raises(StoreRejected, match="stands for 2 indexes"):
        store.point("kb", FIELD)
    with pytest.raises(StoreRejected, match="index exists"):
        store.point("index", FIELD)
    with pytest.raises(BadArgument, match="cannot be called"):
        store.point("KB", FIELD)


def test_without_the_setting_no_alias_is_touched(bench: Bench) -> None:
    store = bench.store()
    store.create(FIELD, dimensions=2, metric=Metric.COSINE)
    bench.server.asked()

    store.point("kb", FIELD)

    assert bench.server.asked() == []
