"""What the Milvus store refuses, what it does without a server, and its life with processes that are killed."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("pymilvus")
pytest.importorskip("milvus_lite")

from tests.conformance.killed_writers import live_and_be_killed
from tests.conformance.milvus_server import running_server
from undrift.adapters.stores.milvus import MilvusStore
from undrift.adapters.stores.milvus.conditions import superset
from undrift.domain.filter import parse
from undrift.domain.record import DocumentId
from undrift.domain.route import VectorField
from undrift.domain.space import Metric
from undrift.errors import BadArgument, BadConfig, MissingExtra, StoreRejected, StoreUnavailable
from undrift.testing.stores.samples import SPACE, numbered, record, records, unit_vectors

FIELD = VectorField(store="main", collection="kb", space=SPACE.id)


@pytest.mark.parametrize("place", ["", "//", "folder", "//me:secret@host:19530"])
def test_an_address_that_is_none_or_has_a_password_is_refused_without_saying_it(place: str) -> None:
    with pytest.raises(BadConfig) as caught:
        MilvusStore(place)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "options", [{"index": "ivf"}, {"hnsw_m": 1}, {"hnsw_ef_construction": 0}, {"hnsw_ef_search": 0}, {"listing_s": -1}]
)
def test_a_setting_that_cannot_be_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(BadArgument, match=next(iter(options))):
        MilvusStore("//localhost:1", **options)  # type: ignore[arg-type]


def test_a_shape_that_nobody_knows_is_refused_by_name(tmp_path: Path) -> None:
    store = MilvusStore(str(tmp_path / "vectors.db"))
    field = VectorField(store="main", collection="docs?as=haystack", space=SPACE.id)
    with pytest.raises(BadConfig, match="docs"):
        store.describe(field)
    with pytest.raises(BadConfig, match="docs"):
        store.create(field, dimensions=8, metric=Metric.L2)
    store.close()


def test_a_missing_extra_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("undrift.adapters.stores.milvus.session.find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as caught:
        MilvusStore("//localhost:1").describe(FIELD)
    assert caught.value.hint == "pip install 'undrift[milvus]'"


def test_a_server_that_is_not_there_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("undrift.adapters.stores.milvus.session.TIMEOUT_S", 1.0)
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:9"):
        MilvusStore("//127.0.0.1:9").count(FIELD)


@pytest.mark.parametrize(
    ("filter", "said"),
    [
        ({"team": 'a" or id != "'}, 'metadata["team"] == "a\\" or id != \\""'),
        ({"team": "\\"}, 'metadata["team"] == "\\\\"'),
        ({'a"] == 1 or true or metadata["b': 1}, ""),
        ({"year": {"$gte": 2020}, "lang": {"$ne": "en"}}, '(metadata["year"] >= 2020)'),
        ({"$or": [{"a": 1}, {"b": {"$exists": True}}]}, ""),
        ({"a": {"$in": ["x", "y"]}}, '(metadata["a"] == "x") or (metadata["a"] == "y")'),
        ({"a": {"$in": ["x", None]}}, ""),
    ],
)
def test_nothing_of_a_filter_can_become_part_of_the_expression(filter: dict[str, object], said: str) -> None:
    assert superset(parse(filter)) == said


@pytest.mark.servers
def test_one_file_is_a_store_for_one_process(tmp_path: Path) -> None:
    store = MilvusStore(str(tmp_path / "vectors.db"))
    assert store.capabilities.requests_die_with_process
    store.create(FIELD, dimensions=8, metric=Metric.COSINE)
    store.upsert(FIELD, records(numbered(20), 8))
    (vector,) = unit_vectors(1, 8)
    with pytest.raises(StoreRejected, match="'long'"):
        store.upsert(FIELD, [record("long", vector, metadata={"a": "x" * 70_000})])
    with pytest.raises(StoreRejected, match="'big'"):
        store.upsert(FIELD, [record("big", vector, metadata={"a": 2**64})])
    assert store.ids(FIELD, limit=100) == numbered(20)
    store.upsert(FIELD, [record("doc-00003a", vector)])
    store.delete(FIELD, [DocumentId("doc-00005")])
    assert store.ids(FIELD, after="doc-00002", limit=4) == ["doc-00003", "doc-00003a", "doc-00004", "doc-00006"]
    store.close()
    assert store.count(FIELD) == 20
    store.close()


@pytest.mark.servers
def test_no_acknowledged_write_is_lost_whoever_is_killed(tmp_path: Path) -> None:
    # One writer: Milvus Lite itself advises against several on one collection.
    with running_server(tmp_path / "data") as port:
        live_and_be_killed(tmp_path, f"milvus://127.0.0.1:{port}", options="listing_s = 0.5", writers=1)
