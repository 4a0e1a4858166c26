"""The promises of a store, kept on tables in the shape of other software and in any other shape."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

pytest.importorskip("psycopg")

from tests.conformance.pgvector_door import store_url
from tests.conformance.postgres_server import PostgresServer
from undrift.adapters.stores.pgvector import PgVectorStore
from undrift.domain.record import DocumentId, Record
from undrift.domain.route import VectorField
from undrift.domain.space import Metric
from undrift.errors import BadConfig, CollectionMissing, FieldInUse, StoreRejected
from undrift.ports.store import FieldDescription
from undrift.testing.stores import StoreBench
from undrift.testing.stores.bench import MakeField
from undrift.testing.stores.changes import ChangeTests
from undrift.testing.stores.in_place import InPlaceTests
from undrift.testing.stores.reads import ReadTests
from undrift.testing.stores.samples import SPACE, assert_same, record, records, unit_vectors

pytestmark = pytest.mark.servers

DATABASE = "shapes"
D = 8


@pytest.fixture(scope="module")
def database(server: PostgresServer) -> Iterator[str]:
    server.sql(f"CREATE DATABASE {DATABASE}")
    server.sql("CREATE EXTENSION vector", DATABASE)
    yield store_url(server, DATABASE)
    server.sql(f"DROP DATABASE {DATABASE} WITH (FORCE)")


@pytest.fixture
def store(database: str) -> Iterator[PgVectorStore]:
    opened = PgVectorStore(database)
    yield opened
    opened.close()


def at(collection: str) -> VectorField:
    return VectorField(store="main", collection=collection, space=SPACE.id)


class ShapeBench(StoreBench):
    """Collections in a shape, and a second store in place of a side door."""

    shape: ClassVar[str]

    @pytest.fixture
    def store(self, database: str) -> Iterator[PgVectorStore]:
        opened = PgVectorStore(database)
        yield opened
        opened.close()

    @pytest.fixture
    def other(self, database: str) -> Iterator[PgVectorStore]:
        opened = PgVectorStore(database)
        yield opened
        opened.close()

    @pytest.fixture
    def make_field(self, store: Any) -> Iterator[MakeField]:
        made: list[VectorField] = []

        def make(dimensions: int, metric: Metric) -> VectorField:
            made.append(at(f"kit_{uuid.uuid4().hex[:16]}{self.shape}"))
            store.create(made[-1], dimensions=dimensions, metric=metric)
            return made[-1]

        yield make
        for field in made:
            store.drop(field)

    @pytest.fixture
    def missing(self, store: Any) -> Iterator[VectorField]:
        field = at(f"kit_{uuid.uuid4().hex[:16]}{self.shape}")
        yield field
        store.drop(field)

    @pytest.fixture
    def side_door(self, other: Any) -> OtherStore:
        return OtherStore(other)


class OtherStore:
    """Looks at the tables through a store of its own; other software looks at them in another module."""

    def __init__(self, store: PgVectorStore) -> None:
        self._store = store

    def read(self, field: VectorField, id: DocumentId) -> Record | None:
        return self._store.fetch(field, [id]).get(id)

    def write(self, field: VectorField, record: Record) -> None:
        self._store.upsert(field, [record])

    def delete(self, field: VectorField, id: DocumentId) -> None:
        self._store.delete(field, [id])


class TestShapeOfLangChain(ShapeBench, InPlaceTests):
    shape = "?as=langchain"


class TestShapeOfLlamaIndex(ShapeBench, ReadTests):
    """Where no index keeps an id from being there twice."""

    shape = "?as=llama_index"


class TestAnyShape(ShapeBench, ChangeTests):
    shape = "?id=key&text=body&metadata=about&vector=dense"


# Tables of an application


@pytest.fixture
def table(server: PostgresServer, database: str) -> Iterator[Any]:
    """Makes tables in the schema `app`, as an application has them, with rows of its own."""
    del database

    def make(columns: str, *rows: str) -> None:
        server.sql(f"CREATE SCHEMA IF NOT EXISTS app; CREATE TABLE app.notes ({columns})", DATABASE)
        for row in rows:
            server.sql(f"INSERT INTO app.notes VALUES ({row})", DATABASE)

    yield make
    server.sql("DROP TABLE IF EXISTS app.notes", DATABASE)


def app(server: PostgresServer, columns: str = "*") -> list[tuple[Any, ...]]:
    return server.sql(f"SELECT {columns} FROM app.notes ORDER BY 1", DATABASE)


VECTOR = "'[1,0,0]'"


def three(id: str, text: str, **metadata: Any) -> Record:
    return record(id, unit_vectors(1, 3)[0], text=text, metadata=metadata)


def test_numbers_are_ids_in_the_order_of_their_texts(server: PostgresServer, store: PgVectorStore, table: Any) -> None:
    numbers = [0, 1, 2, 9, 10, 11, 19, 100, 101, -1, -10, 9_223_372_036_854_775_807]
    table(
        "id bigint PRIMARY KEY, body text, embedding vector(3), extra int DEFAULT 7",
        *(f"{number}, 'text {number}', {VECTOR}" for number in numbers),
    )
    field = at("app.notes?text=body&metadata=*")

    assert store.ids(field, limit=99) == sorted(map(str, numbers))
    pages, after = [], ""
    while page := store.ids(field, after=after, limit=5):
        pages += page
        after = page[-1]
    assert pages == sorted(map(str, numbers))
    assert [one.id for one in store.scan(field, after="1", until="2", limit=99)] == [
        "10",
        "100",
        "101",
        "11",
        "19",
        "2",
    ]
    assert store.fetch(field, [DocumentId("007"), DocumentId("x"), DocumentId("10")]).keys() == {"10"}
    store.upsert(field, [three("12", "twelve", extra=5), three("10", "ten", extra=None)])
    store.delete(field, [DocumentId("9"), DocumentId("undrift:rollback-probe")])
    rows = {id: (body, extra) for id, body, extra in app(server, "id, body, extra")}
    assert (rows[12], rows[10], rows[1]) == (("twelve", 5), ("ten", None), ("text 1", 7))
    assert 9 not in rows
    for id in ("+1", "1.0", str(2**63)):
        with pytest.raises(StoreRejected, match="its ids are of another kind"):
            store.upsert(field, [three(id, "x")])


def test_uuids_are_ids_in_their_usual_form_only(store: PgVectorStore, table: Any) -> None:
    ids = sorted(str(uuid.UUID(int=number * 2**100 + number)) for number in range(30))
    table(
        "id uuid PRIMARY KEY, text text, metadata jsonb, embedding vector(3)",
        *(f"'{id}', 'text', '{{}}', {VECTOR}" for id in ids),
    )
    field = at("app.notes?id=id")

    assert store.ids(field, limit=99) == ids
    assert store.ids(field, after=ids[3], limit=3) == ids[4:7]
    assert store.ids(field, after="8", limit=99) == [id for id in ids if id > "8"]
    assert [one.id for one in store.scan(field, after=ids[1], until=ids[2][:9] + "zzz", limit=9)] == [ids[2]]
    assert store.fetch(field, [DocumentId(ids[11].upper())]) == {}


@pytest.mark.parametrize("kind", ["json", "jsonb"])
def test_columns_that_are_no_part_of_a_record_stay_as_they_are(
    server: PostgresServer, store: PgVectorStore, table: Any, kind: str
) -> None:
    table(
        f"key varchar(20) PRIMARY KEY, owner text DEFAULT 'them', body text NOT NULL, info {kind}, title vector(2), "
        "dense vector(3), words tsvector GENERATED ALWAYS AS (to_tsvector('simple', body)) STORED",
        f"'a', 'us', 'old text', '{{\"n\": 1}}', '[1,2]', {VECTOR}",
    )
    field = at("app.notes?id=key&text=body&metadata=info&vector=dense")

    store.upsert(field, [three("a", "new text", n=2), three("b", "another")])
    store.merge_metadata(field, {DocumentId("a"): {"lang": "en"}}, sequence=4)

    assert app(server, "key, owner, body, info, title::text, words::text") == [
        ("a", "us", "new text", {"n": 2, "lang": "en"}, "[1,2]", "'new':1 'text':2"),
        ("b", "them", "another", {}, None, "'another':1"),
    ]
    tag = store.entries(field, [DocumentId("a")])[DocumentId("a")].tag
    assert tag is not None
    assert tag.sequence == 4
    # The vectors of the title are none of ours: the table stays for them.
    store.drop(field)
    assert app(server, "key, title::text") == [("a", "[1,2]"), ("b", None)]


def test_all_other_columns_can_be_the_metadata(server: PostgresServer, store: PgVectorStore, table: Any) -> None:
    table(
        "id text PRIMARY KEY, text text, embedding vector(3), year int, seen timestamptz, labels jsonb",
        f"'a', 'one', {VECTOR}, 2020, '2026-01-02T03:04:05Z', '[\"x\"]'",
        f"'b', 'two', {VECTOR}, NULL, NULL, NULL",
    )
    field = at("app.notes?metadata=*")

    found = store.fetch(field, [DocumentId("a")])[DocumentId("a")]
    assert (found.metadata["year"], found.metadata["labels"]) == (2020, ["x"])
    assert store.count(field, {"year": {"$gte": 2000}}) == 1
    store.upsert(field, [three("c", "three", **{**found.metadata, "year": 2021})])
    store.merge_metadata(field, {DocumentId("b"): {"year": 1999}}, sequence=1)
    assert app(server, "id, year, labels, seen IS NULL") == [
        ("a", 2020, ["x"], False),
        ("b", 1999, None, True),
        ("c", 2021, ["x"], False),
    ]
    with pytest.raises(StoreRejected, match=r"have the key 'colour', and table .* no such column"):
        store.upsert(field, [three("d", "four", colour="red")])
    with pytest.raises(StoreRejected, match="'colour'"):
        store.merge_metadata(field, {DocumentId("a"): {"colour": "red"}}, sequence=1)
    with pytest.raises(BadConfig, match="no table can be made") as refused:
        store.create(at("app.more?id=id&metadata=*"), dimensions=3, metric=Metric.COSINE)
    assert "in-place" in refused.value.hint


def test_a_text_may_be_elsewhere(store: PgVectorStore, table: Any) -> None:
    table("id int PRIMARY KEY, embedding vector(3)", f"1, {VECTOR}", "2, NULL")
    field = at("app.notes?text=-")

    entry = store.scan(field, limit=9)[0]
    assert (entry.id, entry.text, dict(entry.metadata), entry.tag) == ("1", None, {}, None)
    assert store.count(field) == 1
    beside = at("app.notes?text=-&vector=v2")
    store.create(beside, dimensions=4, metric=Metric.COSINE)
    store.attach(beside, [record("1", unit_vectors(1, 4)[0], text="from elsewhere")])
    assert store.ids(beside, limit=9) == ["1"]


@pytest.mark.parametrize(
    ("columns", "address", "why"),
    [
        (
            "a int, b int, text text, embedding vector(3), PRIMARY KEY (a, b)",
            "?metadata=*",
            "primary key has 2 columns",
        ),
        ("a int, b int, text text, embedding vector(3), PRIMARY KEY (a, b)", "?id=a", "only a part of the key"),
        ("a int, text text, embedding vector(3)", "?metadata=*", "no primary key"),
        ("a int, text text, embedding vector(3)", "?id=a", "two rows of it may have the same a"),
        ("a numeric PRIMARY KEY, text text, embedding vector(3)", "?metadata=*", "is of the type numeric"),
        ("a int PRIMARY KEY, body text, embedding vector(3)", "?metadata=*", "no column text for the text"),
        ("a int PRIMARY KEY, text text, embedding vector(3)", "?metadata=info", "no column info for the metadata"),
        ("a int PRIMARY KEY, text text, embedding vector(3)", "?metadata=text", "is of the type text, and metadata"),
        ("a int PRIMARY KEY, text text, v vector(3), w vector(3)", "?id=a", "they are v, w"),
        ("a int PRIMARY KEY, text text", "?id=a", "its columns are a, text"),
    ],
)
def test_a_table_that_cannot_be_a_collection_is_refused_with_the_reason(
    store: PgVectorStore, table: Any, columns: str, address: str, why: str
) -> None:
    table(columns)

    with pytest.raises(BadConfig, match=r"table .*app.*notes") as refused:
        store.describe(at(f"app.notes{address}"))
    assert why in refused.value.detail
    assert "COLUMN" in refused.value.hint


def test_what_is_not_there_is_missing_in_any_shape(store: PgVectorStore, table: Any) -> None:
    table("id int PRIMARY KEY, text text, embedding vector(3)")

    for address in ("app.nothing?id=id", "app.notes?id=id&vector=other", "nowhere.notes?as=langchain"):
        assert store.describe(at(address)) is None
        with pytest.raises(CollectionMissing):
            store.count(at(address))
    with pytest.raises(FieldInUse):
        store.create(at("app.notes?id=id&text=text"), dimensions=3, metric=Metric.COSINE)
    with pytest.raises(BadConfig, match="the shape 'haystack'"):
        store.describe(at("docs?as=haystack"))


def test_vectors_in_half_precision_and_of_no_said_length_are_read_and_written(
    server: PostgresServer, store: PgVectorStore, table: Any
) -> None:
    table("id text PRIMARY KEY, text text, half halfvec(3), free vector", f"'a', 'one', {VECTOR}, '[1,2,3,4]'")
    half, free = at("app.notes?vector=half&metadata=*"), at("app.notes?vector=free&metadata=*")
    server.sql("CREATE INDEX ON app.notes USING hnsw (half halfvec_l2_ops)", DATABASE)

    assert store.describe(half) == FieldDescription(dimensions=3, metric=Metric.L2, count=1)
    assert store.describe(free) == FieldDescription(dimensions=4, metric=Metric.COSINE, count=1)
    store.upsert(half, [three("b", "two")])
    store.upsert(free, [record("c", unit_vectors(1, 4)[0])])
    found = store.fetch(half, [DocumentId("b")])[DocumentId("b")]
    assert abs(found.vector - unit_vectors(1, 3)[0]).max() < 1e-3
    assert_same(store.fetch(free, [DocumentId("c")])[DocumentId("c")], record("c", unit_vectors(1, 4)[0]))
    assert [hit.id for hit in store.search(half, unit_vectors(1, 3)[0], k=9)] == ["b", "a"]
    assert [hit.id for hit in store.search(free, unit_vectors(1, 4)[0], k=1)] == ["c"]


def test_a_table_can_be_made_with_ids_of_another_type(server: PostgresServer, store: PgVectorStore) -> None:
    field = at("app_made?id=key::uuid&text=body")
    store.create(field, dimensions=8, metric=Metric.DOT)
    try:
        (one,) = records([str(uuid.UUID(int=3))], 8)
        store.upsert(field, [one])
        assert_same(store.fetch(field, [one.id])[one.id], one)
        described = store.describe(field)
        assert described is not None
        assert described.metric is Metric.DOT
        types = server.sql(
            "SELECT data_type FROM information_schema.columns WHERE table_name = 'app_made' AND column_name = 'key'",
            DATABASE,
        )
        assert types == [("uuid",)]
    finally:
        store.drop(field)
