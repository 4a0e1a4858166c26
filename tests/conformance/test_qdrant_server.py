"""What the store on a Qdrant server does when the server is old, slow, away, asks for a key, or says no."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("qdrant_client")
pytest.importorskip("qdrant_edge")

import undrift
from tests.conformance.qdrant_doors import NAMES, ClientDoor
from tests.conformance.qdrant_server import WireServer, wire_server
from undrift.adapters.stores.qdrant import QdrantStore
from undrift.adapters.stores.qdrant.points import document_id, point_id
from undrift.config import parse
from undrift.domain.migration import Phase
from undrift.domain.record import DocumentId
from undrift.domain.route import VectorField
from undrift.domain.space import Metric
from undrift.errors import (
    BadArgument,
    BadConfig,
    BadFilter,
    CollectionMissing,
    FieldInUse,
    StoreRejected,
    StoreUnavailable,
    UndriftError,
)
from undrift.plugins import Plugins
from undrift.testing.clock import VirtualClock
from undrift.testing.stores.bench import new_field
from undrift.testing.stores.samples import assert_same, ids_of, numbered, record, records, unit_vectors

pytestmark = pytest.mark.servers
A = DocumentId("a")


@pytest.fixture(scope="module")
def qdrant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WireServer]:
    with wire_server(tmp_path_factory.mktemp("qdrant")) as server:
        yield server


@pytest.fixture
def store(qdrant: WireServer) -> Iterator[QdrantStore]:
    made = QdrantStore(qdrant.url, timeout_s=2)
    yield made
    made.close()


@pytest.fixture
def field(store: QdrantStore) -> VectorField:
    made = new_field()
    store.create(made, dimensions=8, metric=Metric.COSINE)
    return made


def test_every_write_waits_and_is_ordered_and_every_read_asks_a_majority(
    qdrant: WireServer, store: QdrantStore, field: VectorField
) -> None:
    written = records(["a", "b"], 8)
    store.upsert(field, written)
    store.insert_absent(field, written)
    store.merge_metadata(field, {A: {"x": 1}}, sequence=1)
    store.delete(field, [DocumentId("b")])
    store.fetch(field, [A])
    store.search(field, written[0].vector, k=1)
    store.ids(field, limit=3)

    asked = [(path, query) for _, path, query in qdrant.log if f"{field.collection}/points" in path]
    writes = [query for path, query in asked if path.endswith(("/points", "/batch", "/delete")) and "wait" in query]
    reads = [query for path, query in asked if "wait" not in query and not path.endswith("/count")]

    assert len(writes) == 4
    assert all(query == {"wait": "true", "ordering": "strong"} for query in writes)
    assert len(reads) >= 4
    assert all(query.get("consistency") == "majority" for query in reads)


@pytest.mark.parametrize("version", ["1.16.3", "1.17.0"])
def test_what_is_there_is_left_alone_by_every_version_that_can(tmp_path: Path, version: str) -> None:
    """The first has conditions, the second a mode of its own; neither reads what it does not know."""
    with wire_server(tmp_path, version) as server:
        store, field = QdrantStore(server.url), new_field()
        store.create(field, dimensions=8, metric=Metric.COSINE)
        (there,), (late,) = records(["a"], 8), records(["a"], 8, seed=1)
        store.upsert(field, [there])

        store.insert_absent(field, [late, *records(["b"], 8)])

        assert_same(store.fetch(field, [A])[A], there)
        assert store.count(field) == 2
        store.close()


def test_a_server_that_is_too_old_is_refused_by_name(tmp_path: Path) -> None:
    with wire_server(tmp_path, "1.15.4") as server:
        store, field = QdrantStore(server.url), new_field()

        with pytest.raises(StoreRejected, match=r"1\.15\.4.*1\.16") as refused:
            store.create(field, dimensions=8, metric=Metric.COSINE)

        assert refused.value.hint
        assert store.describe(field) is None
        store.close()


def test_a_key_is_asked_for_and_found_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with wire_server(tmp_path, "1.19.0", "the-key") as server:
        field = new_field()

        def configured(**more: Any) -> Any:
            values = {"stores": {"main": {"url": server.url, **more}}, "models": {}, "aliases": {}}
            return Plugins(parse(values, tmp_path / "undrift.toml"), VirtualClock()).store("main")

        monkeypatch.delenv("QDRANT_API_KEY", raising=False)
        with pytest.raises(StoreRejected, match="key") as refused:
            configured().create(field, dimensions=8, metric=Metric.COSINE)
        assert "QDRANT_API_KEY" in refused.value.hint
        monkeypatch.setenv("ANOTHER", "wrong")
        with pytest.raises(StoreRejected, match="key"):
            configured(api_key_env="ANOTHER").describe(field)

        monkeypatch.setenv("QDRANT_API_KEY", "the-key")
        configured().create(field, dimensions=8, metric=Metric.COSINE)
        (tmp_path / "key").write_text("the-key\n")
        assert configured(api_key_file="key").count(field) == 0
        with pytest.raises(BadConfig, match=r"store main .* has a key in the configuration"):
            configured(api_key="the-key")


def test_a_server_that_is_away_is_unavailable_and_no_other_program_is_one() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        field = new_field()

        with pytest.raises(StoreUnavailable, match=str(port)) as away:
            QdrantStore(f"qdrant://127.0.0.1:{port}", timeout_s=1).describe(field)

        closed.listen()
        with pytest.raises(StoreUnavailable, match="did not answer"):
            QdrantStore(f"qdrant://127.0.0.1:{port}", timeout_s=1).describe(field)
    assert away.value.hint


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"status": 500}, StoreUnavailable),
        ({"status": 503}, StoreUnavailable),
        ({"status": 429}, StoreUnavailable),
        ({"status": 400, "text": "Wrong input: something"}, StoreRejected),
        ({"status": 404, "text": "Not found: Shard is not there"}, StoreUnavailable),
        ({"cut": True}, StoreUnavailable),
        ({"after_s": 4}, StoreUnavailable),
        ({"result": {"operation_id": 1, "status": "wait_timeout"}}, StoreUnavailable),
        ({"result": "not an answer"}, StoreUnavailable),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_goes_wrong_with_a_write_is_told_by_whether_it_may_have_happened(
    qdrant: WireServer, store: QdrantStore, field: VectorField, fault: dict[str, Any], error: type[UndriftError]
) -> None:
    (written,) = records(["a"], 8)
    store.count(field)
    store.upsert(field, records(["b"], 8))
    qdrant.fail({"path": f"{field.collection}/points", **fault})

    with pytest.raises(error) as raised:
        store.upsert(field, [written])

    assert raised.value.message
    assert raised.value.__cause__ is not None or "status" in raised.value.detail
    store.upsert(field, [written])
    assert_same(store.fetch(field, [A])[A], written)


def test_a_part_of_a_call_that_is_refused_later_is_no_refusal(
    qdrant: WireServer, store: QdrantStore, field: VectorField
) -> None:
    """What was written before stays, so it may not be said that nothing has changed."""
    long = [record(f"d{number}", vector, text="x" * 5_000_000) for number, vector in enumerate(unit_vectors(3, 8))]
    store.count(field)
    there = f"{field.collection}/points"
    qdrant.fail({"path": there, "after_s": 0}, {"path": there, "status": 400, "text": "Wrong input: too much"})

    with pytest.raises(StoreUnavailable, match="part"):
        store.upsert(field, long)

    assert store.count(field) == 1


def test_a_server_that_begins_anew_has_what_it_acknowledged(tmp_path: Path) -> None:
    with wire_server(tmp_path) as server:
        store, field = QdrantStore(server.url), new_field()
        store.create(field, dimensions=8, metric=Metric.COSINE)
        written = records(numbered(50), 8)
        store.upsert(field, written)
        store.close()
        server.kill()
        server.start()

        again = QdrantStore(server.url)
        found = again.fetch(field, ids_of(written))
        for one in written:
            assert_same(found.get(one.id), one)
        again.close()


def test_a_name_that_the_server_does_not_take_is_refused(store: QdrantStore) -> None:
    with pytest.raises(StoreRejected, match="does not take"):
        store.create(
            VectorField(store="kit", collection="a:b", space=new_field().space), dimensions=8, metric=Metric.DOT
        )


def test_a_collection_under_an_alias_is_found_and_not_made_again(
    qdrant: WireServer, store: QdrantStore, field: VectorField
) -> None:
    from qdrant_client import models

    client = qdrant.client()
    made = models.CreateAlias(collection_name=field.collection, alias_name=f"{field.collection}-alias")
    client.update_collection_aliases([models.CreateAliasOperation(create_alias=made)])
    client.close()
    alias = VectorField(store="kit", collection=f"{field.collection}-alias", space=field.space)
    store.upsert(alias, records(["a"], 8))

    assert store.count(field) == 1
    with pytest.raises((FieldInUse, StoreRejected)):
        store.create(alias, dimensions=8, metric=Metric.COSINE)


def test_an_alias_in_qdrant_follows_a_cutover(qdrant: WireServer, tmp_path: Path) -> None:
    """Another program reads what is served, under a name that stays."""
    values = f"""
ledger = "sqlite:///undrift.db"
[stores.main]
url = "{qdrant.url}"
follow_alias = "{{alias}}-served"
listing_s = 0
[models.old]
provider = "hashing"
dimensions = 32
[models.new]
provider = "hashing"
dimensions = 48
[aliases.followed]
store = "main"
model = "old"
"""
    (tmp_path / "undrift.toml").write_text(values, encoding="utf-8")
    plane, client = undrift.open(tmp_path / "undrift.toml"), qdrant.client()

    def size() -> int:
        (vector,) = client.get_collection("followed-served").config.params.vectors.values()
        return int(vector.size)

    plane.alias("followed").upsert([undrift.Document(id="a", text="some text")])
    assert size() == 32
    plane.register("followed", "new")
    plane.work("followed", lambda migration: migration.phase is Phase.READY)
    assert size() == 32
    plane.cutover("followed")
    assert size() == 48
    plane.rollback("followed", now=True)
    assert size() == 32
    client.close()
    plane.close()


def test_an_alias_cannot_take_the_name_of_a_collection(qdrant: WireServer, field: VectorField) -> None:
    store = QdrantStore(qdrant.url, follow_alias="{alias}")
    with pytest.raises(StoreRejected, match="a collection has that name"):
        store.point(field.collection, field)
    store.point("other-name", field)
    store.point("other-name", field)
    assert store.count(VectorField(store="kit", collection="other-name", space=field.space)) == 0
    store.close()
    with pytest.raises(BadArgument, match="alias"):
        QdrantStore(qdrant.url, follow_alias="served")


def test_a_search_takes_a_filter_of_qdrants_own(store: QdrantStore, field: VectorField) -> None:
    from qdrant_client import models

    there = [
        record(f"d{number}", vector, metadata={"tags": ["x", "y"][: number + 1], "n": number})
        for number, vector in enumerate(unit_vectors(3, 8))
    ]
    store.upsert(field, there)
    wanted = {"must": [{"key": "metadata.tags", "match": {"value": "y"}}]}
    query = there[0].vector

    def found(filter: Any) -> list[str]:
        return sorted(hit.id for hit in store.search(field, query, k=5, filter={"$native": filter}))

    assert found(wanted) == found(models.Filter(**wanted)) == ["d1", "d2"]
    with pytest.raises(BadFilter, match="not a filter"):
        found({"must": [{"key": 1}]})
    with pytest.raises(BadFilter, match="own"):
        store.search(field, query, k=5, filter={"$native": wanted, "n": 1})
    calls: list[Callable[[Any], object]] = [
        lambda filter: store.count(field, filter),
        lambda filter: store.scan(field, limit=1, filter=filter),
        lambda filter: store.delete(field, [A], filter=filter),
    ]
    for call in calls:
        with pytest.raises(BadFilter, match="own"):
            call({"$native": wanted})


def test_an_index_that_gives_up_is_helped_by_an_exact_search(
    qdrant: WireServer, store: QdrantStore, field: VectorField
) -> None:
    there = records(numbered(20), 8)
    store.upsert(field, there)
    qdrant.fail({"path": "/points/query", "result": {"points": []}})

    assert len(store.search(field, there[0].vector, k=5)) == 5


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("qdrant://h", "http://h:6333"),
        ("qdrants://h:443/prefix/", "https://h:443/prefix"),
        ("qdrant://[::1]:7000", "http://[::1]:7000"),
    ],
)
def test_addresses_name_a_server(address: str, url: str) -> None:
    assert QdrantStore(address)._engine.name == f"Qdrant at {url}"


@pytest.mark.parametrize("address", ["qdrant://", "qdrant://h:port", "http://h", "qdrant://h?x=1", "qdrant:"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(BadConfig) as refused:
        QdrantStore(address)
    assert "qdrant://HOST" in refused.value.hint


def test_a_key_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(BadConfig) as refused:
        QdrantStore("qdrant://name:secret@h:6333")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "options",
    [{"index": "flat"}, {"hnsw_m": 1}, {"hnsw_ef": 0}, {"timeout_s": 0}, {"listing_s": -1}, {"hnsw_ef_construct": 1}],
    ids=str,
)
def test_settings_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BadArgument, match=next(iter(options))):
        QdrantStore("qdrant://h", **options)


@pytest.mark.parametrize(
    ("id", "point"),
    [
        ("0", 0),
        ("18446744073709551615", 2**64 - 1),
        ("5e1a2a3e-0000-4000-8000-000000000001", "5e1a2a3e-0000-4000-8000-000000000001"),
    ],
)
def test_ids_that_qdrant_has_are_its_own(id: str, point: int | str) -> None:
    assert point_id(id) == point
    assert document_id(point) == id


@pytest.mark.parametrize(
    "id",
    [
        "00",
        "-1",
        "18446744073709551616",
        "٣",
        "5E1A2A3E-0000-4000-8000-000000000001",
        "{5e1a2a3e}",
        "a",
        "5e1a2a3e" * 4,
    ],
)
def test_every_other_id_has_a_point_of_its_own(id: str) -> None:
    from uuid import uuid5

    assert point_id(id) == str(uuid5(NAMES, id))


def test_a_scan_meets_what_others_inserted_after_the_lag_that_is_declared(
    qdrant: WireServer, store: QdrantStore, field: VectorField
) -> None:
    """And what this process itself inserts, at once."""
    store.upsert(field, records(["a"], 8))
    assert store.ids(field, limit=5) == ["a"]
    client = qdrant.client()
    ClientDoor(client).write(field, records(["late"], 8)[0])
    client.close()
    store.upsert(field, records(["mine"], 8))

    assert store.ids(field, limit=5) in (["a", "mine"], ["a", "late", "mine"])
    store._listings.forget(field.collection)
    assert store.ids(field, limit=5) == ["a", "late", "mine"]
    assert store.capabilities.scans_lag_s == 10
    with pytest.raises(CollectionMissing):
        store.ids(new_field(), limit=1)
