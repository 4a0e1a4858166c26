"""What only the pgvector store has: SQL for filters, tables that people can read, and the falls of a server."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("psycopg")

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conformance.pgvector_door import SCHEMA, store_url
from tests.conformance.postgres_server import PASSWORD, PostgresServer
from tests.filters import filters, meeting, stored
from undrift.adapters.clock import SystemClock
from undrift.adapters.stores.pgvector import PgVectorStore, session
from undrift.adapters.stores.pgvector.conditions import where
from undrift.adapters.stores.pgvector.rows import metadata_text
from undrift.config import Config, Settings
from undrift.domain.filter import MAX_CONDITIONS, MAX_DEPTH, MAX_VALUES, matches, parse
from undrift.domain.record import DocumentId, decode_metadata
from undrift.domain.route import VectorField
from undrift.domain.space import Metric, SpaceId
from undrift.errors import (
    BadArgument,
    BadConfig,
    CollectionMissing,
    FieldInUse,
    StoreFull,
    StoreRejected,
    StoreUnavailable,
)
from undrift.plugins import Plugins
from undrift.testing.stores.samples import assert_same, assert_same_json, numbered, record, records, unit_vectors

pytestmark = pytest.mark.servers

DATABASE = "own"
FIELD = VectorField(store="main", collection="kb", space=SpaceId("space"))
D = 8


@pytest.fixture(scope="module")
def place(server: PostgresServer) -> Iterator[PostgresServer]:
    server.sql(f"CREATE DATABASE {DATABASE}")
    yield server
    server.sql(f"DROP DATABASE {DATABASE} WITH (FORCE)")


@pytest.fixture
def store(place: PostgresServer) -> Iterator[PgVectorStore]:
    store = PgVectorStore(store_url(place, DATABASE))
    store.create(FIELD, dimensions=D, metric=Metric.COSINE)
    yield store
    store.drop(FIELD)
    store.close()


def sql(place: PostgresServer, statement: str) -> list[tuple[Any, ...]]:
    return place.sql(statement, DATABASE)


def field(collection: str) -> VectorField:
    return VectorField(store="main", collection=collection, space=SpaceId("space"))


@contextmanager
def trigger(place: PostgresServer, event: str, body: str) -> Iterator[None]:
    """Something that happens within a statement of the store."""
    sql(place, "CREATE SEQUENCE public.turns")
    sql(
        place,
        f"CREATE FUNCTION public.act() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {body}; RETURN NULL; END$$; "
        f"CREATE TRIGGER act AFTER {event} ON {SCHEMA}.kb FOR EACH ROW EXECUTE FUNCTION public.act()",
    )
    try:
        yield
    finally:
        sql(place, f"DROP TRIGGER act ON {SCHEMA}.kb; DROP FUNCTION public.act; DROP SEQUENCE public.turns")


# Filters and metadata


@pytest.fixture(scope="module")
def connection(place: PostgresServer) -> Iterator[Any]:
    with place.connect(DATABASE) as opened:
        yield opened


def kept(metadata: dict[str, Any]) -> str | None:
    """Return metadata as they are written, or None when PostgreSQL cannot keep them."""
    try:
        return metadata_text("id", metadata)
    except StoreRejected:
        return None


def sql_matches(connection: Any, filter: dict[str, Any], text: str) -> object:
    condition, bound = where(parse(filter))
    cursor = connection.execute(f"SELECT {condition} FROM (SELECT %s::jsonb AS metadata) AS r", (*bound, text))
    ((answer,),) = cursor.fetchall()
    return answer


@settings(deadline=None)
@given(filter=filters, metadata=stored)
def test_sql_answers_what_the_language_says(connection: Any, filter: dict[str, Any], metadata: dict[str, Any]) -> None:
    text = kept(metadata)
    if text is not None:
        assert sql_matches(connection, filter, text) is matches(parse(filter), metadata)


@settings(deadline=None)
@given(data=st.data(), filter=filters.filter(bool))
def test_sql_answers_alike_about_what_was_asked_for(
    connection: Any, data: st.DataObject, filter: dict[str, Any]
) -> None:
    metadata = meeting(data, filter)
    text = kept(metadata)
    if text is not None:
        assert sql_matches(connection, filter, text) is matches(parse(filter), metadata)


@settings(deadline=None)
@given(metadata=stored)
def test_metadata_come_back_as_the_same_values_of_the_same_types(connection: Any, metadata: dict[str, Any]) -> None:
    text = kept(metadata)
    if text is not None:
        ((found,),) = connection.execute("SELECT %s::jsonb::text", (text,)).fetchall()
        back = decode_metadata(found)
        assert_same_json(back, metadata)
        assert_same_types(back, metadata)


def assert_same_types(found: Any, wanted: Any) -> None:
    assert type(found) is type(wanted)
    if isinstance(wanted, dict):
        for key, value in wanted.items():
            assert_same_types(found[key], value)
    elif isinstance(wanted, list):
        for one, other in zip(found, wanted, strict=True):
            assert_same_types(one, other)


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
def test_the_largest_filters_are_taken(filter: dict[str, Any], store: PgVectorStore) -> None:
    vector = unit_vectors(1, D)[0]
    store.upsert(FIELD, [record("in", vector, metadata={"k": 0}), record("out", vector, metadata={"k": -1})])

    assert [entry.id for entry in store.scan(FIELD, limit=5, filter=filter)] == ["in"]
    assert [hit.id for hit in store.search(FIELD, vector, k=5, filter=filter)] == ["in"]


def test_the_deepest_filter_is_taken(store: PgVectorStore) -> None:
    filter: dict[str, Any] = {"k": 0, "n": 0}
    for depth in range(MAX_DEPTH):
        filter = {"$not": filter} if depth % 2 else {"$or": [filter, {"k": 1, "n": 1}]}
    vector = unit_vectors(1, D)[0]
    store.upsert(FIELD, [record(str(k), vector, metadata={"k": k, "n": k}) for k in range(4)])

    wanted = [str(k) for k in range(4) if matches(parse(filter), {"k": k, "n": k})]
    assert [entry.id for entry in store.scan(FIELD, limit=5, filter=filter)] == wanted


def test_numbers_that_somebody_else_wrote_are_compared_too(place: PostgresServer, store: PgVectorStore) -> None:
    """They may be beyond what a float can have."""
    store.upsert(FIELD, [record("a", unit_vectors(1, D)[0])])
    sql(place, f'UPDATE {SCHEMA}.kb SET metadata = \'{{"big": 1e500, "low": -1e500, "tiny": 1e-500}}\'')

    assert store.count(FIELD, {"big": {"$gt": 1e300}, "low": {"$lt": -1e300}, "tiny": {"$lt": 1e300}}) == 1
    assert store.count(FIELD, {"tiny": {"$gt": 0}}) == 1
    assert store.count(FIELD, {"big": 1e300}) == 0


# What PostgreSQL cannot keep


@pytest.mark.parametrize(
    ("text", "metadata", "what"),
    [
        ("a\0b", {}, "the text of document 'bad' has a NUL"),
        ("a", {"k": ["\0"]}, "the metadata of document 'bad' has a NUL"),
        ("a", {"k": {"\0": 1}}, "the metadata of document 'bad' has a NUL"),
        ("a\ud800", {}, "does not take this write"),
    ],
    ids=["text", "value", "key", "surrogate"],
)
def test_what_postgresql_cannot_keep_is_refused(
    store: PgVectorStore, text: str, metadata: dict[str, Any], what: str
) -> None:
    vector = unit_vectors(1, D)[0]
    bad = record("good", vector, metadata=metadata)
    bad = type(bad)(id=DocumentId("bad"), text=text, metadata=metadata, vector=vector, tag=bad.tag)

    for write in (store.upsert, store.insert_absent):
        with pytest.raises(StoreRejected, match=what):
            write(FIELD, [record("good", vector), bad])

    assert store.count(FIELD) == 0


def test_what_only_looks_like_a_nul_is_kept(store: PgVectorStore) -> None:
    written = record("a", unit_vectors(1, D)[0], metadata={"k": "\\u0000", "\\u0000": "\\"})

    store.upsert(FIELD, [written])

    assert_same(store.fetch(FIELD, [written.id])[written.id], written)


def test_an_id_with_a_nul_is_never_there(store: PgVectorStore) -> None:
    there = records(["a", "b"], D)
    store.upsert(FIELD, there)
    nul = DocumentId("a\0b")

    assert store.fetch(FIELD, [nul]) == {}
    assert list(store.entries(FIELD, [nul, there[0].id])) == ["a"]
    store.delete(FIELD, [nul])
    store.merge_metadata(FIELD, {nul: {"x": 1}}, sequence=1)
    assert store.ids(FIELD, after=nul, limit=5) == ["b"]
    assert [entry.id for entry in store.scan(FIELD, until=nul, limit=5)] == ["a"]
    assert store.count(FIELD) == 2


def test_ids_that_are_no_unicode_cannot_be_asked_for(store: PgVectorStore) -> None:
    with pytest.raises(BadArgument, match="not valid Unicode"):
        store.fetch(FIELD, [DocumentId("\ud800")])


# Tables


@pytest.mark.parametrize("name", ["Kb", 'q"uo"te', "50%s", "a b; --", "\u4e2d\u6587" * 10, "select"])
def test_a_collection_may_have_any_name_that_a_table_can_have(store: PgVectorStore, name: str) -> None:
    (written,) = records(["a"], D)
    store.create(field(name), dimensions=D, metric=Metric.L2)
    try:
        store.upsert(field(name), [written])
        store.merge_metadata(field(name), {written.id: {"n": 0}}, sequence=0)
        assert_same(store.fetch(field(name), [written.id])[written.id], written)
        assert store.search(field(name), written.vector, k=1, filter={"n": 0})[0].id == "a"
        assert store.count(FIELD) == 0
        store.delete(field(name), [written.id])
        assert store.count(field(name)) == 0
    finally:
        store.drop(field(name))


@pytest.mark.parametrize("name", ["", "x" * 64, "\u4e2d" * 22, "a\0b"])
def test_a_name_that_no_table_can_have_is_refused(store: PgVectorStore, name: str) -> None:
    with pytest.raises(BadArgument, match="cannot be called"):
        store.create(field(name), dimensions=D, metric=Metric.L2)


def test_a_table_of_somebody_else_is_neither_taken_nor_dropped(place: PostgresServer, store: PgVectorStore) -> None:
    sql(place, f"CREATE TABLE {SCHEMA}.theirs AS SELECT 1 AS number")

    with pytest.raises(FieldInUse, match="theirs"):
        store.create(field("theirs"), dimensions=D, metric=Metric.L2)
    assert store.describe(field("theirs")) is None
    store.drop(field("theirs"))
    with pytest.raises(CollectionMissing):
        store.ids(field("theirs"), limit=1)

    assert sql(place, f"SELECT number FROM {SCHEMA}.theirs") == [(1,)]
    sql(place, f"DROP TABLE {SCHEMA}.theirs")


def test_a_collection_of_a_newer_version_is_refused(place: PostgresServer, store: PgVectorStore) -> None:
    comment = f"COMMENT ON TABLE {SCHEMA}.kb IS 'undrift collection, format %s, metric cosine'"
    sql(place, comment % 2)
    newcomer = PgVectorStore(store_url(place, DATABASE))
    with pytest.raises(StoreUnavailable, match="another version of undrift") as refused:
        newcomer.count(FIELD)
    newcomer.close()
    assert "its format is 2" in refused.value.detail
    sql(place, comment % 1)


def test_a_collection_that_was_made_anew_is_noticed_in_every_call(place: PostgresServer, store: PgVectorStore) -> None:
    """What is known of a table is never used for another one of the same name."""
    other = PgVectorStore(store_url(place, DATABASE))
    (old,) = records(["a"], D)
    store.upsert(FIELD, [old])
    other.drop(FIELD)
    other.create(FIELD, dimensions=D, metric=Metric.L2)
    far = record("far", np.asarray(10 * old.vector, np.float32))
    other.upsert(FIELD, [old, far])

    assert [hit.score for hit in store.search(FIELD, old.vector, k=2)] == pytest.approx([0, -9], abs=1e-4)

    other.drop(FIELD)
    other.create(FIELD, dimensions=D + 1, metric=Metric.L2)
    with pytest.raises(StoreRejected, match=r"not float32 of shape \(9,\)"):
        store.upsert(FIELD, [old])
    store.upsert(FIELD, records(["b"], D + 1))
    assert [hit.id for hit in store.search(FIELD, unit_vectors(1, D + 1)[0], k=2)] == ["b"]
    other.close()


def test_schema_and_extension_need_not_be_in_the_search_path(place: PostgresServer) -> None:
    place.sql("CREATE DATABASE hidden")
    place.sql('CREATE SCHEMA "Ext\'s"; CREATE EXTENSION vector SCHEMA "Ext\'s"', "hidden")
    place.sql("ALTER DATABASE hidden SET search_path = ''")
    store = PgVectorStore(store_url(place, "hidden"), schema='My "own" %s', index="hnsw")
    try:
        store.create(FIELD, dimensions=D, metric=Metric.DOT)
        there = records(numbered(9), D)
        store.upsert(FIELD, there)
        assert store.search(FIELD, there[3].vector, k=1)[0].id == there[3].id
        assert_same(store.fetch(FIELD, [there[3].id])[there[3].id], there[3])
    finally:
        store.close()
        place.sql("DROP DATABASE hidden WITH (FORCE)")


def test_a_user_without_rights_is_told_so(place: PostgresServer, store: PgVectorStore, tmp_path: Path) -> None:
    passfile = tmp_path / "passfile"
    passfile.write_text("*:*:*:reader:reader\n", encoding="utf-8")
    passfile.chmod(0o600)
    place.sql("CREATE DATABASE bare")
    sql(
        place,
        "CREATE ROLE reader LOGIN PASSWORD 'reader'; "
        f"GRANT USAGE ON SCHEMA {SCHEMA} TO reader; GRANT SELECT ON {SCHEMA}.kb TO reader",
    )
    url = f"pgvector://reader@127.0.0.1:{place.port}/%s?passfile={passfile}"
    try:
        reader = PgVectorStore(url % DATABASE)
        assert reader.count(FIELD) == 0
        for call in (
            lambda: reader.upsert(FIELD, records(["a"], D)),
            lambda: reader.create(field("new"), dimensions=D, metric=Metric.DOT),
        ):
            with pytest.raises(StoreRejected, match="does not let this user do that") as refused:
                call()
            assert "GRANT" in refused.value.hint
        reader.close()
        reader = PgVectorStore(url % "bare")
        with pytest.raises(StoreRejected, match="no extension vector") as refused:
            reader.create(FIELD, dimensions=D, metric=Metric.DOT)
        assert "CREATE EXTENSION vector" in refused.value.hint
        reader.close()
    finally:
        place.sql("DROP DATABASE bare WITH (FORCE)")
        sql(place, "DROP OWNED BY reader; DROP ROLE reader")


# Indexes


@pytest.mark.parametrize("dimensions", [2001, 4000])
def test_long_vectors_are_kept_whole_and_indexed_as_halves(place: PostgresServer, dimensions: int) -> None:
    store = PgVectorStore(store_url(place, DATABASE), index="hnsw")
    long = field("long")
    store.create(long, dimensions=dimensions, metric=Metric.COSINE)
    try:
        there = records(numbered(30), dimensions)
        store.upsert(long, there)
        assert_same(store.fetch(long, [there[7].id])[there[7].id], there[7])
        hit = store.search(long, there[7].vector, k=3)[0]
        assert (hit.id, hit.score) == (there[7].id, pytest.approx(1, abs=1e-5))
        ((definition,),) = sql(place, "SELECT indexdef FROM pg_indexes WHERE tablename = 'long' AND indexdef ~ 'hnsw'")
        assert f"halfvec({dimensions})" in definition
        with place.connect(DATABASE) as connection:
            connection.execute("SET enable_seqscan = off")
            plan = connection.execute(
                f"EXPLAIN SELECT id FROM {SCHEMA}.long ORDER BY embedding::halfvec({dimensions}) <=> "
                f"(SELECT embedding FROM {SCHEMA}.long LIMIT 1)::halfvec({dimensions}) LIMIT 3"
            ).fetchall()
            assert "Index Scan" in str(plan)
    finally:
        store.drop(long)
        store.close()


def test_vectors_that_no_index_takes_are_refused_with_the_reason(place: PostgresServer) -> None:
    indexed, plain = (PgVectorStore(store_url(place, DATABASE), index=kind) for kind in ("hnsw", "none"))

    with pytest.raises(BadArgument, match="cannot have 4001 dimensions") as refused:
        indexed.create(field("longer"), dimensions=4001, metric=Metric.COSINE)
    assert "1 to 4000 with an index, and up to 16000 without" in refused.value.detail
    plain.create(field("longer"), dimensions=16_000, metric=Metric.COSINE)
    plain.upsert(field("longer"), records(["a"], 16_000))
    assert plain.search(field("longer"), records(["a"], 16_000)[0].vector, k=1)[0].id == "a"
    plain.drop(field("longer"))
    for store in (indexed, plain):
        store.close()


def test_a_search_in_an_index_finds_all_that_match_however_few(place: PostgresServer) -> None:
    """An index gives up after so many that do not match; then everything is compared."""
    store = PgVectorStore(store_url(place, DATABASE), index="hnsw", hnsw_ef_search=1)
    rare = field("rare")
    store.create(rare, dimensions=D, metric=Metric.COSINE)
    sql(place, f"ALTER DATABASE {DATABASE} SET hnsw.max_scan_tuples = 20")
    store.close()
    try:
        there = records(numbered(2000), D)
        store.upsert(rare, there)
        query = -there[-1].vector
        found = store.search(rare, query, k=5, filter={"n": {"$gte": 1990}})
        wanted = sorted(there[1990:], key=lambda one: -float(one.vector @ query))[:5]
        assert [hit.id for hit in found] == [one.id for one in wanted]
    finally:
        sql(place, f"ALTER DATABASE {DATABASE} RESET ALL")
        store.drop(rare)
        store.close()


def test_a_search_without_an_index_of_ours_stays_exact_when_somebody_adds_one(
    place: PostgresServer, store: PgVectorStore
) -> None:
    there = records(numbered(400), D)
    store.upsert(FIELD, there)
    sql(place, f"CREATE INDEX ON {SCHEMA}.kb USING ivfflat (embedding vector_cosine_ops) WITH (lists = 50)")
    sql(place, f"ALTER DATABASE {DATABASE} SET enable_seqscan = off")
    store.close()
    try:
        query = unit_vectors(3, D, seed=5)[2]
        wanted = sorted(there, key=lambda one: -float(one.vector @ query))[:100]
        assert [hit.id for hit in store.search(FIELD, query, k=100)] == [one.id for one in wanted]
    finally:
        sql(place, f"ALTER DATABASE {DATABASE} RESET ALL")


# A server that goes away


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_a_store_goes_on_when_its_server_comes_back(
    place: PostgresServer, store: PgVectorStore, how: signal.Signals
) -> None:
    kept, late = records(["kept", "late"], D)
    store.upsert(FIELD, [kept])

    with place.down(how):
        with pytest.raises(StoreUnavailable, match="store pgvector:"):
            store.upsert(FIELD, [late])
        with pytest.raises(StoreUnavailable):
            store.fetch(FIELD, [kept.id])

    assert_same(store.fetch(FIELD, [kept.id])[kept.id], kept)
    assert store.ids(FIELD, limit=5) == ["kept"]
    store.upsert(FIELD, [late])
    assert store.count(FIELD) == 2


def test_a_connection_that_breaks_within_a_write_leaves_nothing_of_it(
    place: PostgresServer, store: PgVectorStore
) -> None:
    with (
        trigger(place, "INSERT", "PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(5)"),
        pytest.raises(StoreUnavailable),
    ):
        store.upsert(FIELD, records(["a", "b"], D))

    assert store.count(FIELD) == 0
    store.upsert(FIELD, records(["a", "b"], D))
    assert store.count(FIELD) == 2


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_what_the_server_undid_to_let_others_through_is_done_again(
    place: PostgresServer, store: PgVectorStore, state: str
) -> None:
    once = f"IF nextval('public.turns') < 3 THEN RAISE EXCEPTION 'make way' USING ERRCODE = '{state}'; END IF"

    with trigger(place, "INSERT", once):
        store.upsert(FIELD, records(["a"], D))

    assert store.count(FIELD) == 1


def test_a_write_that_waits_too_long_is_given_up_by_the_server(
    place: PostgresServer, store: PgVectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So nothing of it lands later than the store declares."""
    (old,), (new,) = records(["a"], D), records(["a"], D, seed=1)
    store.upsert(FIELD, [old])
    assert store.capabilities.settles_within_s > session._WRITE_S
    monkeypatch.setattr(session, "_WRITE_S", 1)

    with place.connect(DATABASE) as holder, holder.transaction():
        holder.execute(f"SELECT FROM {SCHEMA}.kb FOR UPDATE")
        with pytest.raises(StoreUnavailable, match="busy"):
            store.upsert(FIELD, [new])

    assert_same(store.fetch(FIELD, [old.id])[old.id], old)


def test_a_full_disk_refuses_the_write_as_one(place: PostgresServer, store: PgVectorStore) -> None:
    full = "RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'"
    with trigger(place, "INSERT", full), pytest.raises(StoreFull, match="disk is full") as refused:
        store.upsert(FIELD, records(["a"], D))

    assert "nothing of this call was written" in refused.value.detail
    assert store.count(FIELD) == 0


def test_a_database_with_other_habits_makes_no_difference(place: PostgresServer, store: PgVectorStore) -> None:
    habits = {
        "default_transaction_isolation": "'serializable'",
        "search_path": "''",
        "extra_float_digits": "-10",
        "bytea_output": "'escape'",
        "standard_conforming_strings": "on",
        "plan_cache_mode": "'force_generic_plan'",
    }
    for name, value in habits.items():
        sql(place, f"ALTER DATABASE {DATABASE} SET {name} = {value}")
    store.close()
    try:
        there = records(["it's \\ 100%", "\u00e9\U0001f600"], D)
        store.upsert(FIELD, there)
        store.merge_metadata(FIELD, {there[0].id: {"n": 0}}, sequence=0)
        for one in there:
            assert_same(store.fetch(FIELD, [one.id])[one.id], one)
        assert len(store.search(FIELD, there[0].vector, k=2, filter={"n": {"$gte": 0}})) == 2
    finally:
        sql(place, f"ALTER DATABASE {DATABASE} RESET ALL")


# Addresses and settings


def plugins(**stores: Any) -> Plugins:
    return Plugins(Config(Settings.model_validate({"stores": {"main": stores}}), Path("undrift.toml")), SystemClock())


@pytest.mark.parametrize(
    "url",
    [
        "pgvector://me:s3cret@host/db",
        "pgvector://host/db?password=s3cret",
        "pgvector://me:s3cret@host:port/db",
        "pgvector://host/db?pasword=s3cret",
    ],
)
def test_a_wrong_address_is_refused_and_never_shows_a_password(url: str) -> None:
    with pytest.raises(BadConfig, match="store pgvector://") as refused:
        plugins(url=url).store("main")

    assert "s3cret" not in str(refused.value) + str(refused.value.__cause__)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    assert "pgvector://USER@HOST:PORT/DATABASE" in refused.value.hint


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"indx": "hnsw"}, "store main has the unknown key indx"),
        ({"place": "x"}, "store main has the unknown key place"),
        ({"index": "ivfflat"}, "index is 'ivfflat'"),
        ({"hnsw_m": 1}, "hnsw_m is 1; it can be 2 to 100"),
        ({"hnsw_m": "many"}, "store main cannot be set up"),
        ({"schema": ""}, "schema ''"),
    ],
    ids=["key", "place", "index", "number", "type", "schema"],
)
def test_a_wrong_setting_is_named(options: dict[str, Any], what: str) -> None:
    with pytest.raises((BadConfig, BadArgument), match=what):
        plugins(url="pgvector://host/db", **options).store("main")


def test_a_store_is_made_of_its_settings(place: PostgresServer) -> None:
    made = plugins(url=store_url(place, DATABASE), schema="elsewhere", index="hnsw", hnsw_m=4)
    store = made.store("main")
    store.create(FIELD, dimensions=D, metric=Metric.L2)

    assert store.capabilities.max_dimensions == 4000
    ((definition,),) = sql(
        place, "SELECT indexdef FROM pg_indexes WHERE schemaname = 'elsewhere' AND indexdef ~ 'hnsw'"
    )
    assert "vector_l2_ops" in definition
    assert "m='4'" in definition
    store.drop(FIELD)
    made.close()


def test_a_server_that_cannot_be_used_is_named(place: PostgresServer, tmp_path: Path) -> None:
    wrong = tmp_path / "passfile"
    wrong.write_text(f"*:*:*:undrift:not {PASSWORD}\n", encoding="utf-8")
    wrong.chmod(0o600)
    for url, hint in (
        (f"pgvector://undrift@127.0.0.1:{place.port}/own?passfile={wrong}", "PGPASSWORD"),
        (store_url(place, "nowhere"), "create the database"),
        ("pgvector://host.invalid/kit", "pg_isready -h host.invalid"),
    ):
        with pytest.raises(StoreUnavailable, match="store pgvector://") as refused:
            PgVectorStore(url).describe(FIELD)
        assert hint in refused.value.hint
        assert PASSWORD not in str(refused.value)


def test_a_row_can_be_read_by_anybody(place: PostgresServer, store: PgVectorStore) -> None:
    written = record("a", unit_vectors(1, D)[0], text="hello", metadata={"lang": "en"}, sequence=7)
    store.upsert(FIELD, [written])

    rows = sql(
        place,
        "SELECT id, text, metadata, space, content, sequence, vector_dims(embedding) "
        f"FROM {SCHEMA}.kb WHERE metadata @> '{json.dumps({'lang': 'en'})}'",
    )
    assert rows == [("a", "hello", {"lang": "en"}, written.tag.space, written.tag.content, 7, D)]
