"""What the LanceDB store refuses, and what it does with what others leave."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("lancedb")
pytest.importorskip("lance")

from undrift.adapters.stores.lancedb import LanceDbStore
from undrift.domain.record import DocumentId
from undrift.domain.route import VectorField
from undrift.domain.space import Metric
from undrift.errors import BadArgument, BadConfig, CollectionMissing, MissingExtra, StoreRejected, UndriftError
from undrift.testing.stores.samples import SPACE, numbered, record, records, unit_vectors

FIELD = VectorField(store="main", collection="kb", space=SPACE.id)


@pytest.mark.parametrize("place", ["", "db://my-project"])
def test_an_address_that_is_no_folder_and_no_bucket_is_refused(place: str) -> None:
    with pytest.raises(BadConfig, match="lancedb"):
        LanceDbStore(place)


@pytest.mark.parametrize(
    "options", [{"index": "ivf"}, {"index_from": 10}, {"ef_search": 0}, {"compact_after": -1}, {"keep_versions_s": 5}]
)
def test_a_setting_that_cannot_be_is_refused(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(BadArgument, match=next(iter(options))):
        LanceDbStore(str(tmp_path), **options)  # type: ignore[arg-type]


def test_a_shape_that_nobody_knows_is_refused_by_name(tmp_path: Path) -> None:
    store = LanceDbStore(str(tmp_path))
    field = VectorField(store="main", collection="docs?as=haystack", space=SPACE.id)
    with pytest.raises(BadConfig, match="docs"):
        store.describe(field)
    with pytest.raises(BadConfig, match="docs"):
        store.create(field, dimensions=8, metric=Metric.L2)
    store.close()


def test_a_missing_extra_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(MissingExtra) as caught:
        LanceDbStore(str(tmp_path)).describe(FIELD)
    assert caught.value.hint == "pip install 'undrift[lancedb]'"


@pytest.mark.parametrize("name", ["a@b", "a/b", "", "x" * 300])
def test_a_name_that_the_engine_does_not_take_is_refused(tmp_path: Path, name: str) -> None:
    field = VectorField(store="main", collection=name, space=SPACE.id)
    with pytest.raises(BadArgument, match="called"):
        LanceDbStore(str(tmp_path)).create(field, dimensions=8, metric=Metric.L2)


def test_an_integer_that_would_change_is_refused_by_the_name_of_its_document(tmp_path: Path) -> None:
    store = LanceDbStore(str(tmp_path))
    store.create(FIELD, dimensions=8, metric=Metric.COSINE)
    (vector,) = unit_vectors(1, 8)

    with pytest.raises(StoreRejected, match="'big'"):
        store.upsert(FIELD, [record("big", vector, metadata={"a": [{"b": 2**64}]})])
    store.upsert(FIELD, [record("kept", vector, metadata={"a": 2**64 - 1, "b": -(2**63), "c": "1" * 40})])

    with pytest.raises(StoreRejected, match="'kept'"):
        store.merge_metadata(FIELD, {DocumentId("kept"): {"a": 10**30}}, sequence=1)
    assert dict(store.fetch(FIELD, [DocumentId("kept")])[DocumentId("kept")].metadata) == {
        "a": 2**64 - 1,
        "b": -(2**63),
        "c": "1" * 40,
    }
    store.close()


def test_a_table_of_somebody_else_is_neither_read_nor_dropped(tmp_path: Path) -> None:
    import lancedb

    database = lancedb.connect(str(tmp_path))
    database.create_table("kb", [{"id": "theirs", "vector": [1.0, 2.0]}])
    store = LanceDbStore(str(tmp_path))

    assert store.describe(FIELD) is None
    with pytest.raises(CollectionMissing, match="not undrift's"):
        store.count(FIELD)
    with pytest.raises(UndriftError, match="kb is in"):
        store.create(FIELD, dimensions=8, metric=Metric.COSINE)
    store.drop(FIELD)
    assert database.open_table("kb").count_rows() == 1
    store.close()


def test_a_row_that_another_program_wrote_without_a_revision_can_be_changed(tmp_path: Path) -> None:
    import lancedb

    store = LanceDbStore(str(tmp_path))
    store.create(FIELD, dimensions=8, metric=Metric.COSINE)
    store.upsert(FIELD, records(numbered(3), 8))
    lancedb.connect(str(tmp_path)).open_table("kb").update(values_sql={"revision": "CAST(NULL AS BIGINT)"})

    store.merge_metadata(FIELD, {id: {"put": "in"} for id in numbered(2)}, sequence=4)

    found = store.entries(FIELD, numbered(3))
    assert ["put" in found[id].metadata for id in numbered(3)] == [True, True, False]
    store.close()


def test_a_filter_deeper_than_the_engine_reads_finds_and_deletes_the_same(tmp_path: Path) -> None:
    store = LanceDbStore(str(tmp_path))
    store.create(FIELD, dimensions=8, metric=Metric.COSINE)
    store.upsert(FIELD, records(numbered(40), 8))
    deep: dict[str, object] = {"n": {"$gte": 37}}
    for level in range(24):
        deep = {"$or": [{"n": -1}, deep]} if level % 2 else {"$and": [{"seed": 0}, deep]}

    assert store.count(FIELD, deep) == 3
    assert [entry.id for entry in store.scan(FIELD, limit=2, filter=deep)] == numbered(40)[37:39]
    assert len(store.search(FIELD, unit_vectors(1, 8)[0], k=10, filter=deep)) == 3
    store.delete(FIELD, numbered(39), filter=deep)
    assert store.ids(FIELD, limit=100) == [*numbered(37), numbered(40)[39]]
    store.close()


@pytest.mark.parametrize("metric", list(Metric))
def test_an_index_finds_what_comparing_finds_and_what_came_after_it(tmp_path: Path, metric: Metric) -> None:
    from undrift.adapters.stores.lancedb.housekeeping import Housekeeper
    from undrift.adapters.stores.lancedb.session import Session

    store, exact = LanceDbStore(str(tmp_path), index="hnsw", index_from=256), LanceDbStore(str(tmp_path))
    store.create(FIELD, dimensions=8, metric=metric)
    store.upsert(FIELD, records(numbered(600), 8))
    session = Session(str(tmp_path))
    assert Housekeeper(session, every=1, keep_s=600, index_from=256).look_after("kb")
    session.close()
    import lancedb

    assert [index.columns for index in lancedb.connect(str(tmp_path)).open_table("kb").list_indices()] == [["vector"]]
    later = records(["later"], 8, seed=99)
    store.upsert(FIELD, later)

    found = [hit.id for hit in store.search(FIELD, later[0].vector, k=10)]
    wanted = [hit.id for hit in exact.search(FIELD, later[0].vector, k=10)]
    assert found[0] == "later"
    assert len(set(found) & set(wanted)) >= 9
    rare = store.search(FIELD, later[0].vector, k=10, filter={"n": {"$lt": 5}})
    assert len(rare) == 6
    store.close()
    exact.close()
