"""What only the embedded store has: SQL for filters, places in a file, joint transactions, and a file's misfortunes."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.filters import filters, meeting, stored
from undrift.adapters.sqlite import Database
from undrift.adapters.stores.memory import MemoryStore
from undrift.adapters.stores.sqlite_vec import SqliteVecStore, collections
from undrift.adapters.stores.sqlite_vec.conditions import where
from undrift.domain.filter import MAX_CONDITIONS, MAX_DEPTH, MAX_VALUES, matches, parse
from undrift.domain.record import DocumentId, Record
from undrift.domain.route import VectorField
from undrift.domain.space import Metric, SpaceId
from undrift.errors import (
    BadArgument,
    CollectionMissing,
    FieldInUse,
    MissingExtra,
    StoreRejected,
    StoreUnavailable,
    StoreUnusable,
)
from undrift.testing.stores.samples import assert_same, ids_of, numbered, record, records, unit_vectors

FIELD = VectorField(store="file", collection="kb", space=SpaceId("space"))
D = 8


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vectors.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteVecStore]:
    store = SqliteVecStore(Database(path))
    store.create(FIELD, dimensions=D, metric=Metric.COSINE)
    yield store
    store.close()


def table(name: str) -> str:
    return f"undrift_{name}_1"


def chunks(store: SqliteVecStore) -> int:
    ((count,),) = store.database.read(f"SELECT count(*) FROM {table('vectors')}_chunks")
    return int(count)


def assert_consistent(store: SqliteVecStore, ids: list[DocumentId]) -> None:
    """Every row has its vector and every vector its row, and the file is sound."""
    rows = store.database.read(f"SELECT number FROM {table('rows')} ORDER BY number")
    vectors = store.database.read(f"SELECT rowid FROM {table('vectors')} ORDER BY rowid")
    assert rows == vectors
    assert store.ids(FIELD, limit=10**6) == ids
    assert store.database.read("PRAGMA integrity_check") == [("ok",)]


# filters

_SQLITE = apsw.Connection(":memory:")


def sql_matches(filter: dict[str, Any], metadata: dict[str, Any]) -> object:
    sql, bound = where(parse(filter))
    text = json.dumps(metadata, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    ((answer,),) = _SQLITE.execute(f"SELECT {sql} FROM (SELECT ? AS metadata) r", (*bound, text)).fetchall()
    return answer


@given(filters, stored)
def test_sql_answers_what_the_language_says(filter: dict[str, Any], metadata: dict[str, Any]) -> None:
    assert sql_matches(filter, metadata) == matches(parse(filter), metadata)


@given(st.data(), filters.filter(bool))
def test_sql_answers_alike_about_what_was_asked_for(data: st.DataObject, filter: dict[str, Any]) -> None:
    metadata = meeting(data, filter)
    assert sql_matches(filter, metadata) == matches(parse(filter), metadata)


@pytest.mark.parametrize(
    "filter",
    [
        {"$or": [{"k": number} for number in range(MAX_CONDITIONS)]},
        {"$and": [{"k": {"$ne": number}} for number in range(1, MAX_CONDITIONS)] + [{"k": 0}]},
        {"k": {"$in": list(range(MAX_VALUES))}},
        {"k": {"$in": [*map(str, range(MAX_VALUES - 3)), None, True, 0]}},
    ],
    ids=["or", "and", "numbers", "mixed"],
)
def test_the_largest_filters_are_taken(filter: dict[str, Any], store: SqliteVecStore) -> None:
    vector = unit_vectors(1, D)[0]
    store.upsert(FIELD, [record("in", vector, metadata={"k": 0}), record("out", vector, metadata={"k": -1})])

    assert [entry.id for entry in store.scan(FIELD, limit=5, filter=filter)] == ["in"]
    assert [hit.id for hit in store.search(FIELD, vector, k=5, filter=filter)] == ["in"]


def test_the_deepest_filter_is_taken(store: SqliteVecStore) -> None:
    filter: dict[str, Any] = {"k": 0, "n": 0}
    for depth in range(MAX_DEPTH):
        filter = {"$not": filter} if depth % 2 else {"$or": [filter, {"k": 1, "n": 1}]}
    vector = unit_vectors(1, D)[0]
    store.upsert(FIELD, [record(str(k), vector, metadata={"k": k, "n": k}) for k in range(4)])

    wanted = [str(k) for k in range(4) if matches(parse(filter), {"k": k, "n": k})]
    assert [entry.id for entry in store.scan(FIELD, limit=5, filter=filter)] == wanted


# names, texts and limits


def test_a_collection_may_have_any_name(path: Path) -> None:
    store = SqliteVecStore(Database(path))
    names = [
        "kb",
        "KB",
        "",
        " ",
        "a b",
        'x"; DROP TABLE undrift_collections; --',
        "x'y",
        "\u4e2d\U0001f600",
        "n" * 1000,
    ]
    fields = [VectorField(store="file", collection=name, space=SpaceId("space")) for name in names]
    for number, field in enumerate(fields):
        store.create(field, dimensions=number + 1, metric=Metric.L2)
        store.upsert(field, records([f"only in {number}"], number + 1))

    for number, field in enumerate(fields):
        described = store.describe(field)
        assert described is not None
        assert described.dimensions == number + 1
        assert store.ids(field, limit=5) == [f"only in {number}"]
    tables = [name for (name,) in store.database.read("SELECT name FROM sqlite_schema WHERE name LIKE 'undrift%'")]
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_") for name in tables)
    store.close()


def test_nul_characters_are_kept_and_told_apart(store: SqliteVecStore) -> None:
    first, second = unit_vectors(2, D)
    written = [
        record("a", first, text="te\x00xt", metadata={"k": "a\x00b", "a\x00": 1}),
        record("b", second, text="te", metadata={"k": "a"}),
    ]
    store.upsert(FIELD, written)

    found = store.fetch(FIELD, ids_of(written))
    for one in written:
        assert_same(found[one.id], one)
    assert [entry.id for entry in store.scan(FIELD, limit=5, filter={"k": "a"})] == ["b"]
    assert [entry.id for entry in store.scan(FIELD, limit=5, filter={"k": "a\x00b"})] == ["a"]
    assert [entry.id for entry in store.scan(FIELD, limit=5, filter={"a\x00": {"$exists": True}})] == ["a"]
    assert store.count(FIELD, {"a": {"$exists": True}}) == 0


def test_more_ids_than_sqlite_takes_parameters(store: SqliteVecStore) -> None:
    written = records(numbered(50), D)
    store.upsert(FIELD, written)
    asked = [*(DocumentId(f"never-{number}") for number in range(40_000)), *ids_of(written)]

    assert sorted(store.fetch(FIELD, asked)) == ids_of(written)
    assert sorted(store.entries(FIELD, asked)) == ids_of(written)
    store.merge_metadata(FIELD, {id: {"put": "in"} for id in asked}, sequence=1)
    assert store.count(FIELD, {"put": "in"}) == 50
    store.delete(FIELD, asked)
    assert_consistent(store, [])


def test_two_records_of_one_id_in_a_call_are_refused(store: SqliteVecStore) -> None:
    with pytest.raises(StoreRejected, match="two records of the same id"):
        store.upsert(FIELD, [*records(["a"], D), *records(["a"], D, seed=1)])

    assert_consistent(store, [])


@pytest.mark.parametrize(
    ("metadata", "text", "sequence"),
    [({}, "\ud800", 1), ({}, "text", 2**63), ({"k": None}, "text", 1)],
    ids=["a text that is no Unicode", "a sequence of 65 bits", "metadata too deep"],
)
def test_what_sqlite_cannot_keep_is_refused(
    store: SqliteVecStore, metadata: dict[str, Any], text: str, sequence: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if metadata.get("k", 1) is None:
        # Not every Python can write JSON as deep as this one is.
        deep = '{"k":' + "[" * 1001 + "]" * 1001 + "}"
        monkeypatch.setattr("undrift.adapters.stores.sqlite_vec.rows.encode_metadata", lambda *_: deep)
    first, second = unit_vectors(2, D)
    call = [record("good", first), record("bad", second, metadata=metadata, text=text, sequence=sequence)]

    with pytest.raises(StoreRejected, match="does not take this write"):
        store.upsert(FIELD, call)

    assert_consistent(store, [])
    assert store.search(FIELD, first, k=1, filter={"k": 1}) == []


def test_ids_that_are_no_unicode_cannot_be_asked_for(store: SqliteVecStore) -> None:
    with pytest.raises(BadArgument, match="not valid Unicode"):
        store.fetch(FIELD, [DocumentId("\ud800")])
    with pytest.raises(BadArgument, match="not valid Unicode"):
        store.ids(FIELD, after="\ud800", limit=1)


def test_what_it_can_do_is_declared(store: SqliteVecStore) -> None:
    can = store.capabilities

    assert can.name == "sqlite-vec"
    assert can.metrics == {Metric.COSINE, Metric.L2}
    assert can.shares_file_with_ledger
    longest = VectorField(store="file", collection="longest", space=SpaceId("space"))
    store.create(longest, dimensions=can.max_dimensions, metric=Metric.L2)
    (written,) = records(["a"], can.max_dimensions)
    store.upsert(longest, [written])
    assert_same(store.fetch(longest, [written.id])[written.id], written)


def test_the_inner_product_is_refused_with_a_way_out(path: Path) -> None:
    store = SqliteVecStore(Database(path))

    with pytest.raises(BadArgument, match="dot") as refused:
        store.create(FIELD, dimensions=D, metric=Metric.DOT)

    assert "cosine" in refused.value.hint
    assert not path.exists()


def test_a_missing_extension_names_the_extra(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlite_vec", None)

    with pytest.raises(MissingExtra, match="sqlite-vec") as refused:
        SqliteVecStore(Database(path))

    assert refused.value.hint == "pip install 'undrift[embedded]'"


def test_no_other_extension_can_be_loaded(store: SqliteVecStore) -> None:
    with pytest.raises(apsw.SQLError, match="not authorized"):
        store.database.read("SELECT load_extension('anything')")


def test_a_collection_of_a_newer_version_is_refused(store: SqliteVecStore) -> None:
    store.upsert(FIELD, records(["a"], D))
    with store.database.transaction() as connection:
        connection.execute("UPDATE undrift_collections SET format = 99")

    with pytest.raises(StoreUnavailable, match="another version") as refused:
        store.fetch(FIELD, [DocumentId("a")])
    with pytest.raises(StoreUnavailable):
        store.upsert(FIELD, records(["a"], D))
    assert "upgrade" in refused.value.hint
    with pytest.raises(FieldInUse):
        store.create(FIELD, dimensions=D, metric=Metric.L2)


# search


def test_a_search_may_ask_for_more_than_the_extension_gives(store: SqliteVecStore) -> None:
    oracle = MemoryStore()
    oracle.create(FIELD, dimensions=D, metric=Metric.COSINE)
    written = records(numbered(4200), D)
    for one in (store, oracle):
        one.upsert(FIELD, written)
    query = unit_vectors(1, D, seed=5)[0]

    for k in (4094, 4095, 4096, 4097, 4200, 10_000):
        found, wanted = store.search(FIELD, query, k=k), oracle.search(FIELD, query, k=k)
        assert [hit.score for hit in found] == pytest.approx([hit.score for hit in wanted], abs=1e-6)
        assert len({hit.id for hit in found}) == len(wanted) == min(k, 4200)
        filtered = store.search(FIELD, query, k=k, filter={"n": {"$lt": 4150}})
        assert [hit.id for hit in filtered] == [hit.id for hit in found if hit.metadata["n"] < 4150][:k] or k < 4150
        assert len(filtered) == min(k, 4150)


def test_ties_are_broken_by_id_however_many_there_are(store: SqliteVecStore) -> None:
    near, query = unit_vectors(2, D)
    ids = numbered(4300)
    shuffled = [ids[(number * 1013) % len(ids)] for number in range(len(ids))]
    store.upsert(FIELD, [record(id, near) for id in shuffled])

    for k in (1, 10, 1500, 4095, 4096, 4299, 4300):
        assert [hit.id for hit in store.search(FIELD, query, k=k)] == ids[:k]


# places in the file


@pytest.mark.parametrize("dimensions", [D, 2 * D])
def test_a_search_finds_a_collection_that_another_process_has_made_anew(
    store: SqliteVecStore, path: Path, dimensions: int
) -> None:
    """A search does not look up anew what it has seen; a number that is gone tells that it has to."""
    store.upsert(FIELD, records(numbered(3), D))
    query = unit_vectors(1, D)[0]
    assert len(store.search(FIELD, query, k=5)) == 3
    elsewhere = SqliteVecStore(Database(path))

    elsewhere.drop(FIELD)
    with pytest.raises(CollectionMissing):
        store.search(FIELD, query, k=5)
    elsewhere.create(FIELD, dimensions=D, metric=Metric.COSINE)
    assert store.search(FIELD, query, k=5) == []
    elsewhere.drop(FIELD)
    elsewhere.create(FIELD, dimensions=dimensions, metric=Metric.COSINE)
    elsewhere.upsert(FIELD, records(["new"], dimensions))

    assert [hit.id for hit in store.search(FIELD, unit_vectors(1, dimensions)[0], k=5)] == ["new"]
    elsewhere.close()


def test_a_search_remembers_nothing_of_a_transaction_that_failed(store: SqliteVecStore) -> None:
    """The number of a collection that was rolled back is given to the next one."""
    mine, theirs = (VectorField(store="file", collection=name, space=SpaceId("space")) for name in ("mine", "theirs"))
    query = unit_vectors(1, D)[0]
    with pytest.raises(ZeroDivisionError), store.database.transaction():
        store.create(mine, dimensions=D, metric=Metric.COSINE)
        assert store.search(mine, query, k=1) == []
        raise ZeroDivisionError

    store.create(theirs, dimensions=D, metric=Metric.COSINE)
    store.upsert(theirs, records(["a"], D))

    with pytest.raises(CollectionMissing):
        store.search(mine, query, k=1)


def test_what_is_written_again_stays_in_its_place(store: SqliteVecStore) -> None:
    def places() -> list[tuple[Any, ...]]:
        return store.database.read(
            f"SELECT r.id, r.number, p.chunk_id, p.chunk_offset FROM {table('rows')} r "
            f"JOIN {table('vectors')}_rowids p ON p.rowid = r.number ORDER BY r.id"
        )

    store.upsert(FIELD, records(numbered(100), D))
    before = places()

    store.upsert(FIELD, records(numbered(100)[::2], D, seed=1, sequence=1))

    assert places() == before
    assert_consistent(store, numbered(100))


def written_to_vectors(store: SqliteVecStore) -> list[str]:
    """Let every statement from now on that writes a vector be noted."""
    noted: list[str] = []

    def trace(_: apsw.Cursor, sql: str, __: object) -> bool:
        if table("vectors") in sql and not sql.startswith("SELECT"):
            noted.append(sql)
        return True

    store.database.connection().exec_trace = trace
    return noted


def test_a_vector_that_has_not_changed_is_not_written(store: SqliteVecStore) -> None:
    first, second = unit_vectors(2, D)
    store.upsert(FIELD, [record("a", first), record("b", first)])
    noted = written_to_vectors(store)

    store.upsert(FIELD, [record("a", first, metadata={"new": 1}, sequence=3), record("b", first)])
    assert noted == []
    store.upsert(FIELD, [record("a", second, metadata={"new": 1}), record("b", first)])
    assert len(noted) == 1
    store.upsert(FIELD, [record("a", first, text="another"), record("b", first, text="another")])
    assert len(noted) == 3

    assert_same(store.fetch(FIELD, [DocumentId("a")])[DocumentId("a")], record("a", first, text="another"))


def test_a_change_of_metadata_does_not_touch_vectors(store: SqliteVecStore) -> None:
    store.upsert(FIELD, records(["a", "b"], D))
    noted = written_to_vectors(store)

    store.merge_metadata(FIELD, {DocumentId("a"): {"x": 1}, DocumentId("b"): {"x": 2}}, sequence=2)

    assert noted == []
    assert store.count(FIELD, {"x": {"$exists": True}}) == 2


def test_the_file_stays_dense_where_documents_come_and_go(store: SqliteVecStore) -> None:
    oracle = MemoryStore()
    oracle.create(FIELD, dimensions=D, metric=Metric.COSINE)
    many, rows = 4000, collections.chunk_rows(D)
    generator = np.random.default_rng(0)
    alive = [*range(many)]
    for one in (store, oracle):
        one.upsert(FIELD, records(numbered(many), D))
    dense, next_number = chunks(store), many
    for round in range(30):
        generator.shuffle(alive)
        gone = [DocumentId(f"doc-{number:05d}") for number in alive[:400]]
        came = [f"doc-{number:05d}" for number in range(next_number, next_number + 400)]
        alive = [*alive[400:], *range(next_number, next_number + 400)]
        next_number += 400
        for one in (store, oracle):
            one.delete(FIELD, gone)
            one.upsert(FIELD, records(came, D, seed=round + 1))

    assert dense == math.ceil(many / rows)
    assert chunks(store) <= 2 * dense + 1
    assert_consistent(store, oracle.ids(FIELD, limit=10**6))
    for query in unit_vectors(3, D, seed=99):
        found, wanted = store.search(FIELD, query, k=50), oracle.search(FIELD, query, k=50)
        assert [hit.score for hit in found] == pytest.approx([hit.score for hit in wanted], abs=1e-6)
    ids = store.ids(FIELD, limit=10**6)
    mine, theirs = store.fetch(FIELD, ids), oracle.fetch(FIELD, ids)
    for id in ids:
        assert_same(mine[id], theirs[id])

    store.delete(FIELD, ids)
    assert chunks(store) == 0
    store.upsert(FIELD, records(["new"], D))
    assert_consistent(store, [DocumentId("new")])


@pytest.mark.parametrize("dimensions", [1, 7, 32, 128, 256, 384, 768, 1536, 3072, 8192])
def test_a_chunk_is_a_multiple_of_eight_vectors(dimensions: int) -> None:
    rows = collections.chunk_rows(dimensions)

    assert rows % 8 == 0
    assert 8 <= rows <= 512
    assert rows in (8, 512) or rows * 4 * dimensions <= collections.CHUNK_BYTES


def test_a_number_is_never_used_again(store: SqliteVecStore) -> None:
    store.drop(FIELD)
    store.create(FIELD, dimensions=D, metric=Metric.COSINE)

    assert store.database.read("SELECT number FROM undrift_collections") == [(2,)]


def test_room_of_a_dropped_collection_is_used_again(store: SqliteVecStore) -> None:
    def fill() -> int:
        store.upsert(FIELD, records(numbered(2000), D))
        return int(store.database.read("PRAGMA page_count")[0][0])

    before = fill()
    for _ in range(4):
        store.drop(FIELD)
        store.create(FIELD, dimensions=D, metric=Metric.COSINE)
        assert fill() <= before * 1.1


# joint transactions


def test_a_ledger_in_the_same_file_commits_together_or_not_at_all(store: SqliteVecStore) -> None:
    with store.database.transaction() as connection:
        connection.execute("CREATE TABLE ledger (note)")
    stranger = SqliteVecStore(Database(store.database.path))

    def fail() -> None:
        with store.database.transaction() as connection:
            connection.execute("INSERT INTO ledger VALUES ('never')")
            store.upsert(FIELD, records(["a"], D))
            assert store.ids(FIELD, limit=5) == ["a"]
            assert stranger.ids(FIELD, limit=5) == []
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert_consistent(store, [])

    with store.database.transaction() as connection:
        connection.execute("INSERT INTO ledger VALUES ('done')")
        store.upsert(FIELD, records(["a", "b"], D))
        store.delete(FIELD, [DocumentId("a")])
        assert stranger.ids(FIELD, limit=5) == []
    assert stranger.ids(FIELD, limit=5) == ["b"]
    assert store.database.read("SELECT note FROM ledger") == [("done",)]
    assert_consistent(store, [DocumentId("b")])
    stranger.close()


def test_a_refused_write_undoes_itself_only(store: SqliteVecStore) -> None:
    missing = VectorField(store="file", collection="missing", space=SpaceId("space"))
    with store.database.transaction():
        store.upsert(FIELD, records(["a"], D))
        with pytest.raises(StoreRejected):
            store.upsert(FIELD, [*records(["b"], D), record("bad", np.zeros(D, np.float32))])
        with pytest.raises(CollectionMissing):
            store.upsert(missing, records(["b"], D))
        with pytest.raises(FieldInUse):
            store.create(FIELD, dimensions=D, metric=Metric.L2)
        store.upsert(FIELD, records(["c"], D))

    assert_consistent(store, [DocumentId("a"), DocumentId("c")])


def test_collections_come_and_go_with_the_transaction(store: SqliteVecStore) -> None:
    other = VectorField(store="file", collection="other", space=SpaceId("space"))
    store.upsert(FIELD, records(["a"], D))

    def fail() -> None:
        with store.database.transaction():
            store.create(other, dimensions=D, metric=Metric.L2)
            store.upsert(other, records(["b"], D))
            store.drop(FIELD)
            assert store.describe(FIELD) is None
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    assert store.describe(other) is None
    assert_consistent(store, [DocumentId("a")])
    store.create(other, dimensions=D + 1, metric=Metric.COSINE)
    store.upsert(other, records(["b"], D + 1))
    assert store.ids(other, limit=5) == ["b"]


# misfortunes


def test_a_full_file_refuses_the_write_and_keeps_what_it_has(store: SqliteVecStore) -> None:
    kept = records(numbered(10), D)
    store.upsert(FIELD, kept)
    wide = VectorField(store="file", collection="wide", space=SpaceId("space"))
    store.create(wide, dimensions=1024, metric=Metric.COSINE)
    pages = int(store.database.read("PRAGMA page_count")[0][0])
    most = pages
    too_much = [record(id, vector) for id, vector in zip(numbered(64), unit_vectors(64, 1024), strict=True)]

    def limit(connection: apsw.Connection) -> None:
        connection.execute(f"PRAGMA max_page_count={most}")

    # With few pages left, now the row and now the chunk of vectors is what does not fit; `vec0` hides the reason.
    for room in range(40):
        most = pages + room
        store.database.also_prepare(limit)
        with pytest.raises(StoreRejected, match="disk is full"):
            store.upsert(wide, too_much)
        assert store.ids(wide, limit=5) == []
        assert_consistent(store, ids_of(kept))
    most = 2**32 - 2
    store.database.also_prepare(limit)
    store.upsert(wide, too_much)
    assert store.count(wide) == 64


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte, where the test may mount one."""
    disk, mount, umount = tmp_path / "disk", shutil.which("mount"), shutil.which("umount")
    disk.mkdir()
    if os.geteuid() != 0 or mount is None or umount is None:
        pytest.skip("only root can mount a small disk")
    command = [mount, "-t", "tmpfs", "-o", "size=1m", "none", str(disk)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield disk
    subprocess.run([umount, "--lazy", str(disk)], check=True)


def test_a_full_disk_refuses_the_write_and_keeps_what_it_has(small_disk: Path) -> None:
    store = SqliteVecStore(Database(small_disk / "vectors.db"))
    store.create(FIELD, dimensions=D, metric=Metric.COSINE)
    acknowledged: list[DocumentId] = []

    def fill() -> None:
        for start in range(0, 100_000, 50):
            ids = [DocumentId(f"doc-{number:06d}") for number in range(start, start + 50)]
            store.upsert(FIELD, records(ids, D))
            acknowledged.extend(ids)

    with pytest.raises(StoreRejected, match="disk is full") as refused:
        fill()

    assert acknowledged
    assert refused.value.hint == f"df -h {small_disk}"
    assert_consistent(store, acknowledged)
    store.close()
    assert_consistent(store, acknowledged)
    store.close()


def test_a_large_write_on_a_full_disk_is_refused_as_one(small_disk: Path) -> None:
    store = SqliteVecStore(Database(small_disk / "vectors.db"))
    store.create(FIELD, dimensions=D, metric=Metric.COSINE)
    store.upsert(FIELD, records(["kept"], D))

    def small_cache(connection: apsw.Connection) -> None:
        connection.execute("PRAGMA cache_size=10")

    store.database.also_prepare(small_cache)
    with pytest.raises(StoreRejected, match="disk is full"):
        store.upsert(FIELD, records([f"doc-{number:06d}" for number in range(20_000)], D))

    assert_consistent(store, [DocumentId("kept")])
    store.close()


def test_a_deleted_file_is_not_written_any_more(store: SqliteVecStore, path: Path) -> None:
    store.upsert(FIELD, records(["a"], D))
    path.unlink()

    for act in (
        lambda: store.upsert(FIELD, records(["b"], D)),
        lambda: store.fetch(FIELD, [DocumentId("a")]),
        lambda: store.search(FIELD, unit_vectors(1, D)[0], k=1),
        lambda: store.create(FIELD, dimensions=D, metric=Metric.L2),
        lambda: store.drop(FIELD),
    ):
        with pytest.raises(StoreUnavailable, match="deleted or replaced"):
            act()
    assert not path.exists()


def test_a_damaged_file_is_named(store: SqliteVecStore, path: Path) -> None:
    store.upsert(FIELD, records(numbered(500), D))
    store.close()
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))

    with pytest.raises(StoreUnusable, match=r"^store .*vectors\.db is damaged") as refused:
        store.scan(FIELD, limit=1000)
    assert refused.value.hint.startswith("move it away and restore a backup: mv ")
    with pytest.raises(StoreUnusable):
        store.upsert(FIELD, records(["a"], D))


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    store = SqliteVecStore(Database(tmp_path / "missing" / "vectors.db"))

    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        store.describe(FIELD)


def test_a_file_without_collections_has_none(path: Path) -> None:
    store = SqliteVecStore(Database(path))

    assert store.describe(FIELD) is None
    with pytest.raises(CollectionMissing):
        store.count(FIELD)
    store.drop(FIELD)
    store.close()


# processes

SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from undrift.adapters.sqlite import Database
from undrift.adapters.stores.sqlite_vec import SqliteVecStore
from undrift.domain.route import VectorField
from undrift.domain.space import Metric, SpaceId
from undrift.errors import FieldInUse
from undrift.testing.stores.samples import records
store = SqliteVecStore(Database(Path(sys.argv[1]), busy_s=60))
field = VectorField(store="file", collection="kb", space=SpaceId("space"))
me = int(sys.argv[2])
sys.stdin.readline()
"""


def started(script: str, path: Path, number: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", SCRIPT + script, str(path), str(number)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run_together(script: str, path: Path, count: int) -> list[str]:
    """Run a script in several processes at once, and return what they said."""
    processes = [started(script, path, number) for number in range(count)]
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * count
    return said


def test_one_of_several_processes_makes_a_collection(path: Path) -> None:
    script = """
try:
    store.create(field, dimensions=8 + me, metric=Metric.COSINE)
    print("made", 8 + me)
except FieldInUse:
    print("in use")
"""
    said = sorted(run_together(script, path, 3))

    assert said[:2] == ["in use\n"] * 2
    store = SqliteVecStore(Database(path))
    described = store.describe(FIELD)
    assert described is not None
    assert said[2] == f"made {described.dimensions}\n"
    store.close()


def test_processes_lose_and_double_nothing(store: SqliteVecStore) -> None:
    # Every process writes its own records and, all over one another, the same ones; one record in three goes again.
    script = """
for round in range(6):
    mine = [f"own-{me}-{round}-{number}" for number in range(20)]
    store.upsert(field, records(mine, 8))
    store.upsert(field, records([f"all-{number}" for number in range(20)], 8, seed=me, sequence=me))
    store.merge_metadata(field, {id: {"late": me} for id in mine}, sequence=100 + me)
    store.delete(field, mine[::3])
"""
    run_together(script, store.database.path, 3)

    own = [f"own-{me}-{round}-{number}" for me in range(3) for round in range(6) for number in range(20) if number % 3]
    shared = [f"all-{number}" for number in range(20)]
    assert_consistent(store, [DocumentId(id) for id in sorted([*own, *shared])])
    found = store.fetch(FIELD, [DocumentId(id) for id in (*own, *shared)])
    for me in range(3):
        for round in range(6):
            ids = [f"own-{me}-{round}-{number}" for number in range(20)]
            for one in records(ids, D):
                if one.id in found:
                    assert found[one.id].vector.tobytes() == one.vector.tobytes()
                    assert found[one.id].metadata == {**one.metadata, "late": me}
    versions = [records(shared, D, seed=me, sequence=me) for me in range(3)]
    for at, id in enumerate(shared):
        one: Record = found[DocumentId(id)]
        assert_same(one, versions[one.tag.sequence][at])


def test_a_process_that_is_killed_leaves_nothing_half_written(store: SqliteVecStore) -> None:
    script = """
with store.database.transaction():
    store.upsert(field, records([f"never-{number}" for number in range(200)], 8))
    store.delete(field, ["kept"])
    print("written", flush=True)
    sys.stdin.readline()
"""
    (kept,) = records(["kept"], D)
    store.upsert(FIELD, [kept])
    process = started(script, store.database.path, 0)
    assert process.stdin
    assert process.stdout
    process.stdin.write("go\n")
    process.stdin.flush()
    assert process.stdout.readline() == "written\n"
    process.kill()
    process.communicate()

    store.upsert(FIELD, records(["next"], D))

    assert_consistent(store, [DocumentId("kept"), DocumentId("next")])
    assert_same(store.fetch(FIELD, [kept.id])[kept.id], kept)


def test_a_collection_is_found_that_another_process_makes_while_it_is_looked_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first look finds no table at all, and the next one finds what has been made since."""
    looking, making = SqliteVecStore(Database(path)), SqliteVecStore(Database(path))
    looks = collections._has_registry

    def meanwhile(connection: apsw.Connection) -> bool:
        monkeypatch.undo()
        making.create(FIELD, dimensions=D, metric=Metric.COSINE)
        return looks(connection)

    monkeypatch.setattr(collections, "_has_registry", meanwhile)

    assert looking.describe(FIELD) is not None
    looking.close()
    making.close()
