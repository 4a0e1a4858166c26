"""Which commands exactly are sent to Redis, and what its refusals mean."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from tests.conformance.doubles.redis import HANG_UP, Redis, Words, serving
from undrift.adapters.stores.redis import RedisStore
from undrift.domain.record import NO_TAG, DocumentId
from undrift.domain.route import VectorField
from undrift.domain.space import Metric
from undrift.errors import BadArgument, BadConfig, CollectionMissing, StoreRejected, StoreUnavailable, UndriftError
from undrift.testing.stores.samples import SPACE, numbered, record, unit_vectors

pytest.importorskip("redis")

FIELD = VectorField(store="main", collection="docs", space=SPACE.id)
ID = DocumentId("a")
VECTOR = np.array([0.6, 0.8], np.float32)


@dataclass(kw_only=True)
class Bench:
    double: Redis
    port: int

    def store(self, **options: Any) -> RedisStore:
        return RedisStore(f"//127.0.0.1:{self.port}", **options)

    def sent(self) -> list[Words]:
        """The commands since the last call, without the greetings of new connections."""
        seen = [words for words in self.double.commands if words[0] not in {b"HELLO", b"CLIENT", b"AUTH", b"SELECT"}]
        self.double.commands.clear()
        return seen

    @property
    def incarnation(self) -> bytes:
        return self.double.keys[b"undrift:{docs}"][b"incarnation"]


@pytest.fixture
def bench() -> Iterator[Bench]:
    double = Redis()
    with serving(double) as port:
        yield Bench(double=double, port=port)


@pytest.fixture
def made(bench: Bench) -> RedisStore:
    store = bench.store()
    store.create(FIELD, dimensions=2, metric=Metric.COSINE)
    bench.sent()
    return store


def test_an_index_is_made_over_the_documents_of_the_collection(bench: Bench) -> None:
    bench.store(index="hnsw", hnsw_m=32, hnsw_ef_construction=300).create(FIELD, dimensions=2, metric=Metric.DOT)

    made, *described = bench.sent()
    base = b"undrift:{docs}:" + bench.incarnation
    assert made == [
        *(b"FT.CREATE", base + b":index", b"ON", b"HASH", b"PREFIX", b"1", base + b":doc:", b"STOPWORDS", b"0"),
        *(b"SCHEMA", b"words", b"TAG", b"SEPARATOR", b",", b"vector", b"VECTOR", b"HNSW", b"10"),
        *(b"TYPE", b"FLOAT32", b"DIM", b"2", b"DISTANCE_METRIC", b"IP", b"M", b"32", b"EF_CONSTRUCTION", b"300"),
    ]
    assert [words[0] for words in described] == [b"WATCH", b"EXISTS", b"MULTI", b"HSET", b"EXEC"]
    assert described[3][2:] == [
        *(
            b"format",
            b"1",
            b"incarnation",
            bench.incarnation,
            b"dimensions",
            b"2",
            b"metric",
            b"dot",
            b"method",
            b"hnsw",
        )
    ]


def test_a_write_is_one_transaction_that_needs_the_collection(bench: Bench, made: RedisStore) -> None:
    made.upsert(FIELD, [record("a", VECTOR, text="t", metadata={"n": 1}, sequence=3)])

    sent = [words for words in bench.sent() if words[0] != b"HGETALL"]
    base = b"undrift:{docs}:" + bench.incarnation
    assert [words[:2] for words in sent] == [
        [b"WATCH", b"undrift:{docs}"],
        [b"HGET", b"undrift:{docs}"],
        [b"MULTI"],
        [b"DEL", base + b":doc:a"],
        [b"HSET", base + b":doc:a"],
        [b"ZADD", base + b":ids"],
        [b"EXEC"],
    ]
    kept = dict(zip(sent[4][2::2], sent[4][3::2], strict=True))
    assert kept[b"text"] == b"t"
    assert kept[b"metadata"] == b'{"n":1}'
    assert kept[b"sequence"] == b"3"
    assert kept[b"vector"] == VECTOR.astype("<f4").tobytes()
    assert len(kept[b"words"].split(b",")) == 2
    assert sent[5][2:] == [b"0", b"a"]


def test_a_change_of_metadata_watches_the_document_that_it_reads(bench: Bench, made: RedisStore) -> None:
    made.upsert(FIELD, [record("a", VECTOR, metadata={"x": 1})])
    bench.sent()

    made.merge_metadata(FIELD, {ID: {"y": 2}}, sequence=9)

    sent = bench.sent()
    key = b"undrift:{docs}:" + bench.incarnation + b":doc:a"
    assert sent[0] == [b"WATCH", b"undrift:{docs}", key]
    (put,) = (words for words in sent if words[0] == b"HSET")
    assert put[:4] == [b"HSET", key, b"metadata", b'{"x":1,"y":2}']
    assert put[6:] == [b"sequence", b"9"]


def test_a_search_asks_for_one_more_than_is_wanted(bench: Bench, made: RedisStore) -> None:
    made.upsert(FIELD, [record(id, vector) for id, vector in zip(numbered(9), unit_vectors(9, 2), strict=True)])
    bench.sent()

    made.search(FIELD, VECTOR, k=3, filter={"$not": {"n": 1}})

    (asked,) = (words for words in bench.sent() if words[0] == b"FT.SEARCH")
    assert asked[2].startswith(b"((-(@words:{")
    assert asked[2].endswith(b"})))=>[KNN $k @vector $vector AS distance]")
    assert asked[3:9] == [b"NOCONTENT", b"SORTBY", b"distance", b"ASC", b"LIMIT", b"0"]
    assert asked[9:] == [
        *(b"4", b"TIMEOUT", b"10000", b"PARAMS", b"4", b"k", b"4", b"vector", VECTOR.astype("<f4").tobytes()),
        *(b"DIALECT", b"2"),
    ]


def test_an_index_is_asked_to_look_at_enough_candidates(bench: Bench) -> None:
    store = bench.store(index="hnsw", hnsw_ef_search=40)
    store.create(FIELD, dimensions=2, metric=Metric.COSINE)
    store.upsert(FIELD, [record("a", VECTOR)])

    assert [hit.id for hit in store.search(FIELD, VECTOR, k=3)] == ["a"]

    (asked,) = (words for words in bench.sent() if words[0] == b"FT.SEARCH")
    assert asked[2].endswith(b"EF_RUNTIME $ef AS distance]")
    assert asked[asked.index(b"ef") + 1] == b"40"


def test_a_filter_of_the_engine_goes_to_it_as_it_is(bench: Bench, made: RedisStore) -> None:
    made.upsert(FIELD, [record("a", VECTOR)])

    assert made.search(FIELD, VECTOR, k=1, filter={"$native": "@words:{abc}"}) == []

    assert [words[2] for words in bench.sent() if words[0] == b"FT.SEARCH"] == [
        b"(@words:{abc})=>[KNN $k @vector $vector AS distance]"
    ]


def test_a_collection_made_anew_has_nothing_of_the_old_one(bench: Bench, made: RedisStore) -> None:
    other = bench.store()
    made.upsert(FIELD, [record("a", VECTOR)])
    other.drop(FIELD)
    other.create(FIELD, dimensions=2, metric=Metric.COSINE)

    with pytest.raises(CollectionMissing):
        made.upsert(FIELD, [record("b", VECTOR)])
    made.upsert(FIELD, [record("c", VECTOR)])

    assert other.ids(FIELD, limit=5) == ["c"]
    assert len(bench.double.indexes) == 1
    assert [key for key in bench.double.keys if b":doc:" in key] == [b"undrift:{docs}:" + bench.incarnation + b":doc:c"]


def test_who_is_second_to_create_leaves_no_index_behind(bench: Bench, made: RedisStore) -> None:
    with pytest.raises(UndriftError, match="already"):
        bench.store().create(FIELD, dimensions=3, metric=Metric.L2)

    assert len(bench.double.indexes) == 1


@pytest.mark.parametrize(
    ("said", "wanted", "hint"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", StoreRejected, "maxmemory"),
        ("NOPERM User undrift has no permissions to run the 'hget' command", StoreRejected, "ACL"),
        ("READONLY You can't write against a read only replica.", StoreRejected, "ACL"),
        ("LOADING Redis is loading the dataset in memory", StoreUnavailable, "log"),
        ("MISCONF Redis is configured to save RDB snapshots", StoreUnavailable, "log"),
        ("WRONGTYPE Operation against a key", StoreRejected, ""),
        (HANG_UP, StoreUnavailable, "runs"),
    ],
    ids=["full", "no-right", "replica", "loading", "cannot-save", "other", "hung-up"],
)
def test_a_refusal_says_what_it_means(
    bench: Bench, made: RedisStore, said: Any, wanted: type[UndriftError], hint: str
) -> None:
    made.count(FIELD)
    bench.double.planted["EXEC" if said is HANG_UP else "HGET"] = said
    bench.sent()

    with pytest.raises(wanted) as caught:
        made.upsert(FIELD, [record("a", VECTOR)])

    assert hint in caught.value.hint
    # It is never sent again by itself.
    assert [words[0] for words in bench.sent()].count(b"EXEC") <= 1
    bench.double.planted.clear()
    assert made.count(FIELD) == 0


def test_a_search_that_was_cut_short_is_no_answer(bench: Bench, made: RedisStore) -> None:
    made.upsert(FIELD, [record("a", VECTOR)])
    bench.double.planted["FT.SEARCH"] = {"results": [], "total_results": 0, "warning": [b"Timeout limit was reached"]}

    with pytest.raises(StoreUnavailable, match="a part of what it has"):
        made.search(FIELD, VECTOR, k=1)


def test_a_server_without_the_query_engine_is_said_to_be_one(bench: Bench) -> None:
    bench.double.searches = False

    with pytest.raises(StoreRejected, match="no query engine") as caught:
        bench.store().create(FIELD, dimensions=2, metric=Metric.COSINE)

    assert "Redis 8" in caught.value.hint
    assert bench.store().describe(FIELD) is None


@pytest.mark.parametrize("password", [None, "wrong"])
def test_a_password_that_is_wrong_is_said_to_be(password: str | None) -> None:
    double = Redis(password="geheim")
    with serving(double) as port:
        with pytest.raises(StoreUnavailable, match="does not know who asks") as caught:
            RedisStore(f"//127.0.0.1:{port}", api_key=password).describe(FIELD)
        assert "api_key_env" in caught.value.hint
        assert RedisStore(f"//127.0.0.1:{port}", api_key="geheim").describe(FIELD) is None
        assert RedisStore(f"//127.0.0.1:{port}/0", user="undrift", api_key="geheim").describe(FIELD) is None


def test_a_server_that_is_away_is_said_to_be() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

        with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{port} did not answer"):
            RedisStore(f"//127.0.0.1:{port}").describe(FIELD)


@pytest.mark.parametrize("rest", ["//user:geheim@host", "//host:port", "//", "//host/db"])
def test_an_address_that_is_none_is_refused(rest: str) -> None:
    with pytest.raises(BadConfig) as caught:
        RedisStore(rest)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("option", [{"index": "none"}, {"hnsw_m": 1}, {"hnsw_ef_search": 0}])
def test_a_setting_that_cannot_be_is_refused(option: dict[str, Any]) -> None:
    with pytest.raises(BadArgument, match=next(iter(option))):
        RedisStore("//host", **option)


@pytest.mark.parametrize("name", ["", "{docs}", "x" * 201])
def test_a_name_that_keys_cannot_have_is_refused(bench: Bench, name: str) -> None:
    field = VectorField(store="main", collection=name, space=SPACE.id)

    with pytest.raises(BadArgument, match="cannot be called"):
        bench.store().create(field, dimensions=2, metric=Metric.COSINE)

    assert bench.sent() == []


def test_an_address_may_say_that_tags_are_in_the_ledger_and_nothing_else(bench: Bench, made: RedisStore) -> None:
    tagged = VectorField(store="main", collection="docs?tags=ledger", space=SPACE.id)
    shaped = VectorField(store="main", collection="docs?as=langchain", space=SPACE.id)

    made.upsert(tagged, [replace(record("a", VECTOR), tag=NO_TAG)])

    assert made.fetch(tagged, [ID])["a"].tag == NO_TAG
    assert made.entries(FIELD, [ID])["a"].tag is None
    with pytest.raises(BadConfig, match="another shape"):
        made.count(shaped)
