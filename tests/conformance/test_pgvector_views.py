"""A view named after an alias shows plain SQL what it serves, before and after a cutover and a rollback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("psycopg")

import undrift
from tests.conformance.pgvector_door import SCHEMA, store_url
from tests.conformance.postgres_server import PostgresServer
from undrift import Document
from undrift.adapters.stores.pgvector import PgVectorStore, making
from undrift.control import ControlPlane
from undrift.domain.migration import Phase
from undrift.domain.route import AliasName, VectorField
from undrift.domain.space import Metric, SpaceId
from undrift.errors import BadArgument, StoreRejected, StoreUnavailable
from undrift.ports.store import Layout

pytestmark = pytest.mark.servers

DATABASE = "viewed"
KB = AliasName("kb")
_CONFIG = """
ledger = "{ledger}"
[stores.main]
url = "{store}"
views = "readers"
[models.old]
provider = "hashing"
dimensions = 16
[models.new]
provider = "hashing"
dimensions = 24
[aliases.kb]
store = "main"
model = "old"
[timing]
poll_s = 0.05
"""


@pytest.fixture
def place(server: PostgresServer) -> Iterator[PostgresServer]:
    server.sql(f"CREATE DATABASE {DATABASE}")
    yield server
    server.sql(f"DROP DATABASE {DATABASE} WITH (FORCE)")


def opened(place: PostgresServer, folder: Path, ledger: str = "") -> ControlPlane:
    path = folder / "undrift.toml"
    path.write_text(_CONFIG.format(ledger=ledger or place.url(DATABASE), store=store_url(place, DATABASE)))
    return undrift.open(path)


def ready(plane: ControlPlane, layout: Layout) -> None:
    plane.register("kb", "new", layout=layout)
    plane.work("kb", lambda migration: migration is not None and migration.phase is Phase.READY)


def shown(place: PostgresServer) -> tuple[int, set[str]]:
    """Return the length of the vectors that readers see, and the texts."""
    rows = place.sql("SELECT vector_dims(embedding), text FROM readers.kb", DATABASE)
    assert len({length for length, _ in rows}) == 1
    return rows[0][0], {text for _, text in rows}


@pytest.mark.parametrize("ledger", ["", "sqlite:///undrift.db"], ids=["one database", "ledger in a file"])
@pytest.mark.parametrize("layout", Layout, ids=lambda layout: layout.value)
def test_readers_of_a_view_follow_a_cutover_and_a_rollback(
    place: PostgresServer, tmp_path: Path, layout: Layout, ledger: str
) -> None:
    with opened(place, tmp_path, ledger) as plane:
        kb = plane.alias("kb")
        kb.upsert([Document(id=f"d{number}", text=f"text {number}") for number in range(5)])
        texts = {f"text {number}" for number in range(5)}
        place.sql("CREATE ROLE looker; GRANT SELECT ON readers.kb TO looker", DATABASE)
        try:
            assert shown(place) == (16, texts)
            ready(plane, layout)
            assert shown(place) == (16, texts)
            plane.cutover("kb")
            assert shown(place) == (24, texts)
            plane.rollback("kb", now=True)
            assert shown(place) == (16, texts)
            plane.cutover("kb")
            kb.upsert([Document(id="later", text="later")])
            plane.work("kb", lambda _: not plane.ledger.lag(KB).dirty)
            plane.complete("kb")
            assert shown(place) == (24, texts | {"later"})
            assert place.sql("SELECT has_table_privilege('looker', 'readers.kb', 'SELECT')", DATABASE) == [(True,)]
        finally:
            place.sql("DROP OWNED BY looker; DROP ROLE looker", DATABASE)


def test_readers_of_a_view_follow_a_cutover_that_makes_writers_wait(place: PostgresServer, tmp_path: Path) -> None:
    with opened(place, tmp_path, "sqlite:///undrift.db") as plane:
        plane.alias("kb").upsert([Document(id="d", text="text")])
        ready(plane, Layout.COLLECTION)
        plane.cutover("kb", freeze_s=5.0)
        assert shown(place) == (24, {"text"})


def test_in_one_database_the_view_and_the_route_change_in_one_transaction(
    place: PostgresServer, tmp_path: Path
) -> None:
    """What a transaction wrote has its number."""
    with opened(place, tmp_path) as plane:
        plane.alias("kb").upsert([Document(id="d", text="text")])
        ready(plane, Layout.COLLECTION)
        plane.cutover("kb")

        flips = place.sql(
            "SELECT h.xmin::text FROM undrift.history AS h WHERE h.action = 'reversing' ORDER BY 1", DATABASE
        )
        ((view,),) = place.sql(
            "SELECT d.xmin::text FROM pg_description AS d WHERE d.objoid = 'readers.kb'::regclass AND d.objsubid = 0",
            DATABASE,
        )
        assert (view,) in flips


def test_a_reader_that_holds_the_view_does_not_hold_up_the_cutover(
    place: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The alias moves at once; the view follows when the same command is given again."""
    monkeypatch.setattr(making, "_TRIES", 1)
    monkeypatch.setattr(making, "_PATIENCE", "SELECT set_config('lock_timeout', '50ms', true)")
    with opened(place, tmp_path) as plane:
        plane.alias("kb").upsert([Document(id="d", text="text")])
        ready(plane, Layout.COLLECTION)
        with place.connect(DATABASE) as reader, reader.transaction():
            reader.execute("SELECT FROM readers.kb")
            with pytest.raises(StoreUnavailable, match="busy"):
                plane.cutover("kb")
        assert plane.status("kb")["phase"] == "reversing"
        assert shown(place)[0] == 16

        plane.cutover("kb")
        assert shown(place)[0] == 24


def test_a_view_that_is_wanted_later_is_made_when_the_next_migration_begins(
    place: PostgresServer, tmp_path: Path
) -> None:
    with opened(place, tmp_path) as plane:
        plane.alias("kb").upsert([Document(id="d", text="text")])
        place.sql("DROP VIEW readers.kb", DATABASE)
        plane.register("kb", "new")
        assert shown(place) == (16, {"text"})


def test_a_view_follows_also_where_the_tags_are_in_the_ledger(place: PostgresServer, tmp_path: Path) -> None:
    with opened(place, tmp_path) as plane:
        plane.create_alias("untagged", store="main", collection="bare?tags=ledger", model="old")
        plane.alias("untagged").upsert([Document(id="d", text="text")])
        plane.register("untagged", "new")
        plane.work("untagged", lambda migration: migration is not None and migration.phase is Phase.READY)
        plane.cutover("untagged")

        seen = place.sql("SELECT id, text, vector_dims(embedding) FROM readers.untagged", DATABASE)
        assert seen == [("d", "text", 24)]


def field(name: str) -> VectorField:
    return VectorField(store="main", collection=name, space=SpaceId("s-4-0"))


@pytest.fixture
def store(place: PostgresServer) -> Iterator[Any]:
    made = PgVectorStore(store_url(place, DATABASE), views="readers")
    made.create(field("kb"), dimensions=4, metric=Metric.COSINE)
    yield made
    made.close()


@pytest.mark.parametrize("other", ["TABLE readers.kb (a int)", "VIEW readers.kb AS SELECT 1 AS a"])
def test_what_somebody_else_has_under_the_name_is_left_alone(
    place: PostgresServer, store: PgVectorStore, other: str
) -> None:
    place.sql(f"CREATE SCHEMA readers; CREATE {other}", DATABASE)

    with pytest.raises(StoreRejected, match=r"no room for a view readers\.kb"):
        store.point("kb", field("kb"))

    ((columns,),) = place.sql(
        "SELECT string_agg(attname, ',') FROM pg_attribute WHERE attrelid = 'readers.kb'::regclass AND attnum > 0",
        DATABASE,
    )
    assert columns == "a"


def test_a_name_that_no_view_can_have_is_refused(store: PgVectorStore) -> None:
    with pytest.raises(BadArgument, match="no view can be called"):
        store.point("k" * 64, field("kb"))


def test_what_a_view_of_somebody_else_shows_is_not_dropped(place: PostgresServer, store: PgVectorStore) -> None:
    place.sql(f"CREATE VIEW public.theirs AS SELECT id FROM {SCHEMA}.kb", DATABASE)

    with pytest.raises(StoreRejected, match="other things in the database depend on it") as refused:
        store.drop(field("kb"))

    assert "theirs" in refused.value.detail
    assert store.describe(field("kb")) is not None
