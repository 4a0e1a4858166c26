"""Two vectors in one row of PostgreSQL: a migration goes through its whole life in one table."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("psycopg")

import undrift
from tests.conformance.pgvector_door import SCHEMA, store_url
from tests.conformance.postgres_server import PostgresServer
from tests.lifecycle.test_lifecycle import CASES, models
from undrift import Document
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.adapters.stores.pgvector import PgVectorStore, making
from undrift.domain.migration import Phase
from undrift.domain.reconcile import FOREIGN_WRITE
from undrift.domain.route import AliasName, VectorField
from undrift.domain.space import Metric
from undrift.errors import BadArgument, FieldInUse, StoreUnavailable
from undrift.ports.store import Layout
from undrift.testing.lifecycle import LifecycleCase, run_lifecycle
from undrift.testing.rig import Rig
from undrift.testing.stores.samples import SPACE, numbered, records

pytestmark = pytest.mark.servers

DATABASE = "in_place"
D = 6
FIELD = VectorField(store="main", collection="kb", space=SPACE.id)
LARGE = replace(FIELD, collection="kb?vector=large")
_CHOSEN = {"texts that the new model does not take", "a rollback in a hurry, with dirty documents"}


@pytest.fixture
def place(server: PostgresServer) -> Iterator[PostgresServer]:
    server.sql(f"CREATE DATABASE {DATABASE}")
    yield server
    server.sql(f"DROP DATABASE {DATABASE} WITH (FORCE)")


@pytest.fixture
def store(place: PostgresServer) -> Iterator[PgVectorStore]:
    opened = PgVectorStore(store_url(place, DATABASE))
    opened.create(FIELD, dimensions=D, metric=Metric.COSINE)
    yield opened
    opened.close()


def columns(place: PostgresServer, table: str = "kb", schema: str = SCHEMA) -> list[str]:
    rows = place.sql(
        "SELECT column_name FROM information_schema.columns "
        f"WHERE table_name = '{table}' AND table_schema = '{schema}' ORDER BY ordinal_position",
        DATABASE,
    )
    return [name for (name,) in rows]


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name in _CHOSEN], ids=lambda case: case.name.replace(" ", "_")
)
def test_both_vectors_stay_true_through_the_whole_life(
    place: PostgresServer, tmp_path: Path, case: LifecycleCase
) -> None:
    rig = Rig(folder=tmp_path, models=models(), mirror=case.mirror, store_url=store_url(place, DATABASE))
    run_lifecycle(case, rig, Layout.IN_PLACE)

    # A second column of the first attempt, which was cancelled without a word about dropping it.
    assert [name for name in columns(place) if name.startswith("v")] == [
        name for name in columns(place) if name not in {"id", "text", "metadata"}
    ]


def test_a_table_that_was_migrated_is_migrated_again(place: PostgresServer, tmp_path: Path) -> None:
    (tmp_path / "undrift.toml").write_text(
        f'ledger = "{place.url(DATABASE)}"\n[stores.main]\nurl = "{store_url(place, DATABASE)}"\n'
        '[models.old]\nprovider = "hashing"\ndimensions = 16\n[models.new]\nprovider = "hashing"\ndimensions = 24\n'
        '[aliases.kb]\nstore = "main"\nmodel = "old"\n[timing]\npoll_s = 0.05\n',
        encoding="utf-8",
    )
    with undrift.open(tmp_path / "undrift.toml") as plane:
        kb = plane.alias("kb")
        kb.upsert([Document(id=f"d{number}", text=f"text {number}") for number in range(9)])
        for turn, (to, layout) in enumerate(
            (("new", Layout.IN_PLACE), ("old", Layout.IN_PLACE), ("new", Layout.COLLECTION))
        ):
            plane.register("kb", to, layout=layout)
            plane.work("kb", lambda migration: migration is not None and migration.phase is Phase.READY)
            plane.cutover("kb")
            kb.upsert([Document(id=f"later {turn}", text=f"written after {to} began to serve")])
            plane.work("kb", lambda _: not plane.ledger.lag(AliasName("kb")).dirty)
            plane.complete("kb")
            assert kb.count() == 10 + turn
            assert len(kb.search("text 4", k=20)) == 10 + turn
            assert kb.search("text 4", k=1)[0].id == "d4"
    # The last one went to a table of its own, and took the first one away.
    assert columns(place) == []


def test_the_table_of_a_program_needs_no_name_for_its_vector(place: PostgresServer, tmp_path: Path) -> None:
    """It is the one that undrift has not put there, from the adoption to the end of a migration in place."""
    old = HashingEmbedder(dimensions=16, seed="old")
    texts = [f"note {number} about {word}" for number, word in enumerate(["roots", "leaves", "bark", "stems"] * 8)]
    place.sql("CREATE EXTENSION vector", DATABASE)
    place.sql("CREATE TABLE notes (id bigint PRIMARY KEY, body text, page int, written vector(16))", DATABASE)
    for number, (text, vector) in enumerate(zip(texts, old.embed_documents(texts), strict=True)):
        place.sql(f"INSERT INTO notes VALUES ({number}, '{text}', {number}, '{vector.tolist()}')", DATABASE)
    (tmp_path / "undrift.toml").write_text(
        f'ledger = "{place.url(DATABASE)}"\n[stores.main]\nurl = "{store_url(place, DATABASE)}"\n'
        '[models.old]\nprovider = "hashing"\ndimensions = 16\nseed = "old"\n'
        '[models.new]\nprovider = "hashing"\ndimensions = 24\nseed = "new"\n[timing]\npoll_s = 0.05\n',
        encoding="utf-8",
    )
    with undrift.open(tmp_path / "undrift.toml") as plane:
        plane.adopt_collection("kb", store="main", collection="notes?text=body", model="old")
        kb = plane.alias("kb")
        for to in ("new", "old"):
            plane.register("kb", to, layout=Layout.IN_PLACE)
            plane.work("kb", lambda migration: migration is not None and migration.phase is Phase.READY)
            assert kb.search(texts[7], k=1)[0].id == "7"
            plane.cutover("kb")
            kb.upsert([Document(id="7", text=f"written for {to}", metadata={"page": 70})])
            plane.rollback("kb")
            assert kb.search(f"written for {to}", k=1)[0].metadata == {"page": 70}
            plane.cutover("kb")
            plane.work("kb", lambda _: not plane.ledger.lag(AliasName("kb")).dirty)
            plane.complete("kb")
            kb.upsert([Document(id="7", text=texts[7], metadata={"page": 7})])
        assert kb.count() == len(texts)
    left = columns(place, "notes", "public")
    assert left[:3] == ["id", "body", "page"]
    assert not [name for name in left[3:] if name.startswith(("written", "v1_"))]


def test_a_stranger_s_update_after_the_cutover_is_set_aside_and_adopted(place: PostgresServer, tmp_path: Path) -> None:
    rig = Rig(folder=tmp_path, store_url=store_url(place, DATABASE))
    operator = rig.process("operator")
    operator.alias.upsert([Document(id=f"d{number}", text=f"text {number}") for number in range(5)])
    operator.plane.register("kb", "new", layout=Layout.IN_PLACE)
    operator.work_to(Phase.READY)
    operator.plane.cutover("kb")
    place.sql(f"UPDATE {SCHEMA}.kb SET text = 'of a stranger' WHERE id = 'd3'", DATABASE)

    assert operator.plane.reconcile("kb")["held"] == 1
    assert [one.reason for one in operator.plane.ledger.quarantined(AliasName("kb"))] == [FOREIGN_WRITE]
    assert operator.plane.adopt("kb", ["d3"])["adopted"] == ["d3"]

    serving = rig.records(rig.route().serving)["d3"]
    assert serving.text == "of a stranger"
    assert float(rig.vector(serving.tag.space, "of a stranger") @ serving.vector) > 0.9999
    rig.close()


# Rows, columns and locks


def test_a_vector_and_the_text_it_is_of_never_part_whoever_writes_at_the_same_time(store: PgVectorStore) -> None:
    """Many attach and many write: a tag never names a text that the vector beside it was not made of."""
    store.create(LARGE, dimensions=D, metric=Metric.COSINE)
    ids = numbered(8)
    versions = [records(ids, D, seed=seed) for seed in range(2)]
    texts = [[replace(one, text=f"{one.id} {turn}") for one in made] for turn, made in enumerate(versions)]
    tagged = [
        [replace(one, tag=replace(one.tag, sequence=turn, content=f"hash {one.text}")) for one in made]  # type: ignore[arg-type]
        for turn, made in enumerate(texts)
    ]
    store.upsert(FIELD, tagged[0])
    failures: list[BaseException] = []

    def repeat(call: Any, made: Any) -> None:
        try:
            for _ in range(25):
                call(*made)
        except BaseException as error:
            failures.append(error)

    threads = [
        threading.Thread(target=repeat, args=(store.attach, (LARGE, tagged[0]))),
        threading.Thread(target=repeat, args=(store.attach, (LARGE, list(reversed(tagged[1]))))),
        threading.Thread(target=repeat, args=(store.upsert, (FIELD, tagged[1]))),
        threading.Thread(target=repeat, args=(store.upsert, (FIELD, list(reversed(tagged[0]))))),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    for record in store.fetch(LARGE, ids).values():
        version = tagged[record.tag.sequence]
        wanted = next(one for one in version if one.id == record.id)
        assert record.vector.tobytes() == wanted.vector.tobytes()
        assert record.tag.content == f"hash {wanted.text}"


def test_a_column_that_was_begun_by_a_process_that_died_is_made_to_the_end(
    place: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_index = PgVectorStore(store_url(place, DATABASE), index="hnsw")
    with_index.create(FIELD, dimensions=D, metric=Metric.L2)
    with_index.upsert(FIELD, records(numbered(5), D))
    alone = with_index._alone

    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(with_index, "_alone", dies)
    with pytest.raises(KeyboardInterrupt):
        with_index.create(LARGE, dimensions=D, metric=Metric.L2)
    assert "large" in columns(place)
    assert with_index.describe(LARGE) is None

    monkeypatch.setattr(with_index, "_alone", alone)
    with_index.create(LARGE, dimensions=D, metric=Metric.L2)
    described = with_index.describe(LARGE)
    assert described is not None
    assert (described.metric, described.count) == (Metric.L2, 0)
    ((valid,),) = place.sql(
        "SELECT bool_and(indisvalid) FROM pg_index WHERE indrelid = "
        f"'{SCHEMA}.kb'::regclass AND indexrelid::regclass::text ~ 'undrift_'",
        DATABASE,
    )
    assert valid
    with_index.attach(LARGE, records(numbered(5), D, seed=4))
    assert len(with_index.search(LARGE, records(["q"], D)[0].vector, k=9)) == 5
    with_index.close()


def test_a_column_for_a_busy_table_gives_way_and_is_made_in_the_end(
    place: PostgresServer, store: PgVectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(making, "_PATIENCE", "SELECT set_config('lock_timeout', '50ms', true)")
    with place.connect(DATABASE) as holder:
        reading = holder.transaction()
        reading.__enter__()
        holder.execute(f"SELECT FROM {SCHEMA}.kb")

        def ends_the_second_time(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 2:
                reading.__exit__(None, None, None)

        monkeypatch.setattr(making.time, "sleep", ends_the_second_time)
        store.create(LARGE, dimensions=D, metric=Metric.COSINE)
    assert len(pauses) == 2
    assert store.count(LARGE) == 0

    monkeypatch.setattr(making, "_TRIES", 1)
    with place.connect(DATABASE) as holder, holder.transaction():
        holder.execute(f"SELECT FROM {SCHEMA}.kb")
        with pytest.raises(StoreUnavailable, match="busy"):
            store.drop(LARGE)
    assert store.describe(LARGE) is not None


def test_a_column_of_somebody_else_is_left_alone(place: PostgresServer, store: PgVectorStore) -> None:
    place.sql(f"ALTER TABLE {SCHEMA}.kb ADD COLUMN large vector(3), ADD COLUMN note text", DATABASE)

    for name in ("large", "note"):
        with pytest.raises(FieldInUse, match=name):
            store.create(replace(FIELD, collection=f"kb?vector={name}"), dimensions=D, metric=Metric.COSINE)
        assert store.describe(replace(FIELD, collection=f"kb?vector={name}")) is None
    store.drop(FIELD)
    assert columns(place) == ["id", "text", "metadata", "large", "note"]


def test_a_name_that_leaves_no_room_for_its_tag_is_refused(store: PgVectorStore) -> None:
    with pytest.raises(BadArgument, match="a vector of store pgvector cannot be called"):
        store.create(replace(FIELD, collection=f"kb?vector={'v' * 55}"), dimensions=D, metric=Metric.COSINE)


def test_a_row_tells_anybody_which_vector_is_behind(place: PostgresServer, store: PgVectorStore) -> None:
    store.create(LARGE, dimensions=D + 1, metric=Metric.DOT)
    first, second = records(["a", "b"], D)
    store.upsert(FIELD, [first, second])
    store.attach(LARGE, records(["a"], D + 1))
    store.upsert(FIELD, [replace(first, text="new", tag=replace(first.tag, content="new hash"))])  # type: ignore[arg-type]

    rows = place.sql(f"SELECT id, content = large_content, large IS NULL FROM {SCHEMA}.kb ORDER BY id", DATABASE)
    assert rows == [("a", False, False), ("b", None, True)]
