"""Tables that LangChain and LlamaIndex write are migrated, and the same software reads them back afterwards."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("psycopg")

import undrift
from tests.conformance.pgvector_door import store_url
from tests.conformance.postgres_server import PASSWORD, PostgresServer
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.adapters.stores.pgvector import PgVectorStore
from undrift.domain.migration import Phase
from undrift.domain.record import Document, DocumentId, Record, stamp
from undrift.domain.route import AliasName, VectorField
from undrift.domain.shape import with_vector
from undrift.domain.space import Metric
from undrift.errors import BadArgument, FieldInUse, StoreRejected
from undrift.ports.store import FieldDescription, Layout, Part

pytestmark = pytest.mark.servers

DATABASE = "frameworks"
OLD, NEW = HashingEmbedder(dimensions=16, seed="old"), HashingEmbedder(dimensions=24, seed="new")
TEXTS = ["a refund takes fourteen days", "parcels arrive on Monday", "the invoice comes by mail", "open a ticket"]
IDS = [str(uuid.UUID(int=number * 7919 + 1)) for number in range(len(TEXTS))]


@pytest.fixture(scope="module")
def place(server: PostgresServer) -> Iterator[PostgresServer]:
    server.sql(f"CREATE DATABASE {DATABASE}")
    server.sql("CREATE EXTENSION vector", DATABASE)
    yield server
    server.sql(f"DROP DATABASE {DATABASE} WITH (FORCE)")


@pytest.fixture
def store(place: PostgresServer) -> Iterator[PgVectorStore]:
    opened = PgVectorStore(store_url(place, DATABASE))
    yield opened
    opened.close()


def url_for(place: PostgresServer, driver: str) -> str:
    return f"postgresql+{driver}://undrift:{PASSWORD}@127.0.0.1:{place.port}/{DATABASE}"


def at(collection: str, model: HashingEmbedder = OLD) -> VectorField:
    return VectorField(store="main", collection=collection, space=model.space.id)


def made(documents: Sequence[Document], model: HashingEmbedder) -> list[Record]:
    vectors = np.asarray(model.embed_documents([one.text for one in documents]))
    return stamp(documents, vectors, space=model.space, sequences={})


def carried(store: PgVectorStore, source: VectorField, model: HashingEmbedder) -> list[Record]:
    """Return the records that a migration to a model makes of those of a field."""
    entries = store.scan(source, limit=100, parts=Part.TEXT)
    return made([Document(id=one.id, text=one.text or "", metadata=one.metadata) for one in entries], model)


class ForLangChain:
    """A model as LangChain calls it; made where that is installed."""

    def __new__(cls, model: HashingEmbedder) -> Any:
        from langchain_core.embeddings import Embeddings

        class Wrapped(Embeddings):
            def embed_documents(self, texts: list[str]) -> list[list[float]]:
                return [list(map(float, row)) for row in model.embed_documents(texts)]

            def embed_query(self, text: str) -> list[float]:
                return list(map(float, model.embed_query(text)))

        return Wrapped()


# LangChain


@pytest.fixture
def langchain(place: PostgresServer) -> Iterator[Any]:
    module = pytest.importorskip("langchain_postgres")
    engine = module.PGEngine.from_connection_string(url=url_for(place, "psycopg"))

    def open_table(name: str, model: HashingEmbedder, **more: Any) -> Any:
        return module.PGVectorStore.create_sync(
            engine=engine, table_name=name, embedding_service=ForLangChain(model), **more
        )

    open_table.engine = engine  # type: ignore[attr-defined]
    yield open_table
    engine._run_as_sync(engine.close())
    engine._loop.call_soon_threadsafe(engine._loop.stop)
    engine._thread.join()
    engine._loop.close()
    type(engine)._default_loop = type(engine)._default_thread = None


def ids_found(found: Any) -> list[str]:
    return [one.id for one in found]


def test_a_table_of_langchain_is_read_written_and_moved(
    place: PostgresServer, store: PgVectorStore, langchain: Any
) -> None:
    langchain.engine.init_vectorstore_table(table_name="docs", vector_size=16)
    theirs = langchain("docs", OLD)
    theirs.add_texts(TEXTS, metadatas=[{"n": number, "tags": ["a"]} for number in range(len(TEXTS))], ids=IDS)
    field = at("docs?as=langchain")

    assert store.describe(field) == FieldDescription(dimensions=16, metric=Metric.COSINE, count=4)
    assert store.ids(field, limit=9) == sorted(IDS)
    entries = store.entries(field, [DocumentId(id) for id in IDS])
    assert [entries[DocumentId(id)].text for id in IDS] == TEXTS
    assert dict(entries[DocumentId(IDS[2])].metadata) == {"n": 2, "tags": ["a"]}
    assert all(entry.tag is None for entry in entries.values())
    before = place.sql("SELECT count(*) FROM information_schema.columns WHERE table_name = 'docs'", DATABASE)
    assert before == [(4,)]

    # A write through undrift, of a new document and over one of theirs.
    new = str(uuid.UUID(int=5))
    store.upsert(
        field,
        made(
            [Document(id=new, text="we ship to Norway", metadata={"n": 9}), Document(id=IDS[1], text="now on Friday")],
            OLD,
        ),
    )
    store.merge_metadata(field, {DocumentId(IDS[0]): {"lang": "en"}}, sequence=3)
    assert ids_found(theirs.similarity_search("we ship to Norway", k=1)) == [new]
    (again,) = theirs.similarity_search("a refund takes fourteen days", k=1, filter={"n": 0})
    assert again.metadata == {"n": 0, "tags": ["a"], "lang": "en"}
    with pytest.raises(StoreRejected, match="its ids are of another kind"):
        store.upsert(field, made([Document(id="not a UUID", text="x")], OLD))

    # In the same table, and in one that undrift makes; both are read by LangChain with the new model.
    beside = at(with_vector(field.collection, "v2"), NEW)
    store.create(beside, dimensions=24, metric=Metric.COSINE)
    store.attach(beside, carried(store, field, NEW))
    apart = at("docs_new?as=langchain", NEW)
    store.create(apart, dimensions=24, metric=Metric.COSINE)
    store.upsert(apart, carried(store, field, NEW))
    for opened in (langchain("docs", NEW, embedding_column="v2"), langchain("docs_new", NEW)):
        for text, id in zip((TEXTS[0], "now on Friday", TEXTS[2], "we ship to Norway"), (*IDS[:3], new), strict=True):
            (hit,) = opened.similarity_search(text, k=1)
            assert (hit.page_content, str(hit.id)) == (text, id)
        opened.delete([IDS[3]])
    assert store.count(apart) == store.count(beside) == store.count(field) == 4

    # Afterwards: the old column goes, the table stays, and LangChain goes on writing.
    store.drop(field)
    assert store.describe(field) is None
    later = langchain("docs", NEW, embedding_column="v2")
    later.add_texts(["closed on Sunday"], ids=[IDS[3]])
    assert store.fetch(beside, [DocumentId(IDS[3])])[DocumentId(IDS[3])].text == "closed on Sunday"
    store.drop(beside)
    assert place.sql("SELECT to_regclass('public.docs') IS NULL", DATABASE) == [(True,)]


_CONFIG = """
ledger = "{ledger}"
[stores.main]
url = "{store}"
[models.old]
provider = "hashing"
dimensions = 16
seed = "old"
[models.new]
provider = "hashing"
dimensions = 24
seed = "new"
[timing]
poll_s = 0.05
"""


@pytest.mark.parametrize(
    ("layout", "tags"),
    [(Layout.IN_PLACE, "payload"), (Layout.COLLECTION, "payload"), (Layout.COLLECTION, "ledger")],
    ids=["in place", "collection", "tags in the ledger"],
)
def test_a_table_of_langchain_is_adopted_migrated_and_read_back(
    place: PostgresServer, langchain: Any, tmp_path: Path, layout: Layout, tags: str
) -> None:
    name = f"adopted_{layout.value}_{tags}"
    langchain.engine.init_vectorstore_table(table_name=name, vector_size=16)
    theirs = langchain(name, OLD)
    texts = [f"{text}, number {number}" for number in range(8) for text in TEXTS]
    ids = [str(uuid.UUID(int=number + 1)) for number in range(len(texts))]
    theirs.add_texts(texts, metadatas=[{"n": number} for number in range(len(texts))], ids=ids)
    path = tmp_path / "undrift.toml"
    path.write_text(_CONFIG.format(ledger="sqlite:///undrift.db", store=store_url(place, DATABASE)))
    with undrift.open(path) as plane:
        plane.adopt_collection("kb", store="main", collection=f"{name}?as=langchain", model="old", tags=tags)
        plane.register("kb", "new", layout=layout)
        plane.work("kb", lambda migration: migration is not None and migration.phase is Phase.READY)
        plane.cutover("kb")
        plane.alias("kb").upsert([Document(id=ids[0], text="written through undrift", metadata={"n": -1})])
        plane.alias("kb").delete([ids[1]])
        plane.work("kb", lambda _: not plane.ledger.lag(AliasName("kb")).dirty)
        assert plane.verify("kb")["verdict"] == "pass"
        plane.complete("kb")
        table, _, rest = plane.router.join(AliasName("kb")).serving.collection.partition("?")

    column = rest.partition("vector=")[2] or "embedding"
    moved = langchain(table, NEW, embedding_column=column)
    (hit,) = moved.similarity_search("written through undrift", k=1)
    assert (str(hit.id), hit.metadata) == (ids[0], {"n": -1})
    assert [one.page_content for one in moved.similarity_search(texts[9], k=1)] == [texts[9]]
    assert not moved.get_by_ids([ids[1]])
    moved.add_texts(["written by LangChain again"], ids=[ids[1]])
    assert str(moved.similarity_search("written by LangChain again", k=1)[0].id) == ids[1]


def test_tags_in_the_ledger_leave_a_table_as_it_is(place: PostgresServer, store: PgVectorStore, langchain: Any) -> None:
    langchain.engine.init_vectorstore_table(table_name="untouched", vector_size=16)
    field = at("untouched?as=langchain&tags=ledger")
    before = place.sql("SELECT column_name FROM information_schema.columns WHERE table_name = 'untouched'", DATABASE)

    store.upsert(field, made([Document(id=IDS[0], text=TEXTS[0])], OLD))
    store.merge_metadata(field, {DocumentId(IDS[0]): {"a": 1}}, sequence=2)

    assert store.entries(field, [DocumentId(IDS[0])])[DocumentId(IDS[0])].tag is None
    after = place.sql("SELECT column_name FROM information_schema.columns WHERE table_name = 'untouched'", DATABASE)
    assert after == before
    assert store.search(field, np.asarray(OLD.embed_query(TEXTS[0])), k=1)[0].tag is None


def test_one_of_several_collections_in_the_older_tables_of_langchain(
    place: PostgresServer, store: PgVectorStore
) -> None:
    module = pytest.importorskip("langchain_postgres")
    from sqlalchemy import create_engine

    engine = create_engine(url_for(place, "psycopg"))
    first, second = (
        module.PGVector(embeddings=ForLangChain(OLD), connection=engine, collection_name=name, use_jsonb=True)
        for name in ("support", "sales")
    )
    first.add_texts(TEXTS[:3], metadatas=[{"n": number} for number in range(3)], ids=["a", "b", "c"])
    second.add_texts(TEXTS[3:], ids=["z"])
    field = at("support?as=langchain")

    assert store.describe(field) == FieldDescription(dimensions=16, metric=Metric.COSINE, count=3)
    assert store.ids(field, limit=9) == ["a", "b", "c"]
    assert store.search(field, np.asarray(OLD.embed_query(TEXTS[1])), k=9)[0].id == "b"
    assert store.fetch(field, [DocumentId("z")]) == {}
    store.upsert(field, made([Document(id="d", text="we ship to Norway"), Document(id="a", text="another text")], OLD))
    store.delete(field, [DocumentId("b"), DocumentId("z")])
    assert [one.page_content for one in first.similarity_search("we ship to Norway", k=1)] == ["we ship to Norway"]
    assert [one.page_content for one in first.similarity_search("another text", k=1)] == ["another text"]
    with pytest.raises(StoreRejected, match="ids that other collections of the table have"):
        store.upsert(field, made([Document(id="z", text="mine")], OLD))
    assert [one.page_content for one in second.similarity_search("mine", k=9)] == [TEXTS[3]]
    with pytest.raises(BadArgument, match="several collections"):
        store.create(at("support?as=langchain&vector=v2"), dimensions=24, metric=Metric.COSINE)
    with pytest.raises(FieldInUse):
        store.create(field, dimensions=24, metric=Metric.COSINE)

    store.drop(field)
    assert store.describe(field) is None
    assert [one.page_content for one in second.similarity_search("mine", k=9)] == [TEXTS[3]]
    engine.dispose()


# LlamaIndex


def test_a_table_of_llama_index_is_read_written_and_moved(place: PostgresServer, store: PgVectorStore) -> None:
    module = pytest.importorskip("llama_index.vector_stores.postgres")
    from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
    from llama_index.core.vector_stores.types import VectorStoreQuery

    def opened(name: str, model: HashingEmbedder) -> Any:
        return module.PGVectorStore.from_params(
            database=DATABASE,
            host="127.0.0.1",
            port=str(place.port),
            user="undrift",
            password=PASSWORD,
            table_name=name,
            embed_dim=model.space.dimensions,
        )

    def found(theirs: Any, model: HashingEmbedder, text: str) -> Any:
        query = list(map(float, model.embed_query(text)))
        return theirs.query(VectorStoreQuery(query_embedding=query, similarity_top_k=1)).nodes[0]

    def nodes(texts: Sequence[str]) -> list[Any]:
        vectors = OLD.embed_documents(texts)
        return [
            TextNode(
                id_=f"node {number}",
                text=text,
                metadata={"n": number},
                embedding=list(map(float, vector)),
                relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"file {number}")},
            )
            for number, (text, vector) in enumerate(zip(texts, vectors, strict=True))
        ]

    theirs = opened("Notes", OLD)
    theirs.add(nodes(TEXTS))
    field = at("Notes?as=llama_index")
    assert store.describe(field) == FieldDescription(dimensions=16, metric=Metric.COSINE, count=4)
    entry = store.entries(field, [DocumentId("node 2")])[DocumentId("node 2")]
    assert (entry.text, entry.metadata["n"], entry.metadata["ref_doc_id"]) == (TEXTS[2], 2, "file 2")

    # It has written one twice: that is one document, the one written last.
    theirs.add([TextNode(id_="node 1", text="written again", embedding=list(map(float, OLD.embed_query("x"))))])
    assert store.count(field) == 4
    assert [entry.id for entry in store.scan(field, limit=9)] == [f"node {number}" for number in range(4)]
    assert store.fetch(field, [DocumentId("node 1")])[DocumentId("node 1")].text == "written again"
    hits = store.search(field, np.asarray(OLD.embed_query("x")), k=4)
    assert sorted(hit.id for hit in hits) == [f"node {number}" for number in range(4)]

    changed = store.entries(field, [DocumentId("node 0")])[DocumentId("node 0")]
    store.upsert(
        field,
        made(
            [
                Document(id="node 0", text="refunds take a week", metadata=changed.metadata),
                Document(id="node 9", text="we ship to Norway", metadata={"n": 9}),
            ],
            OLD,
        ),
    )
    node = found(theirs, OLD, "refunds take a week")
    assert (node.node_id, node.text, node.metadata, node.ref_doc_id) == (
        "node 0",
        "refunds take a week",
        {"n": 0},
        "file 0",
    )
    node = found(theirs, OLD, "we ship to Norway")
    assert (node.node_id, node.text, node.metadata["n"]) == ("node 9", "we ship to Norway", 9)

    target = at("notes_new?as=llama_index", NEW)
    store.create(target, dimensions=24, metric=Metric.COSINE)
    store.insert_absent(target, carried(store, field, NEW))
    store.insert_absent(target, carried(store, field, NEW))
    assert store.count(target) == 5
    moved = opened("notes_new", NEW)
    node = found(moved, NEW, TEXTS[2])
    assert (node.node_id, node.metadata, node.ref_doc_id) == ("node 2", {"n": 2}, "file 2")
    moved.delete("file 2")
    assert store.count(target) == 4
    for one in (theirs, moved):
        one._engine.dispose()
