"""What only the Chroma store has: its addresses, its folder, servers that do not answer, and merges that are none."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("chromadb")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conformance.chroma_door import folder_client
from tests.conformance.chroma_server import ChromaServer
from tests.filters import filters, meeting, stored
from undrift.adapters.clock import SystemClock
from undrift.adapters.stores.chroma import ChromaStore, client
from undrift.adapters.stores.chroma.places import Folder, Server, place_from
from undrift.config import parse as parse_config
from undrift.domain.filter import MAX_CONDITIONS, MAX_VALUES, matches, parse
from undrift.domain.record import DocumentId
from undrift.domain.route import VectorField
from undrift.domain.space import Metric, SpaceId
from undrift.errors import BadArgument, BadConfig, CollectionMissing, FieldInUse, StoreUnavailable, StoreUnusable
from undrift.plugins import Plugins
from undrift.testing.stores.samples import assert_same, numbered, record, records, unit_vectors

D = 8


def field(collection: str = "kb") -> VectorField:
    return VectorField(store="main", collection=collection, space=SpaceId("space"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mishaps")


@pytest.fixture
def store(folder: Path) -> Iterator[ChromaStore]:
    store = ChromaStore(str(folder))
    store.create(field(), dimensions=D, metric=Metric.COSINE)
    yield store
    store.drop(field())
    store.close()


@pytest.fixture
def own(folder: Path, store: ChromaStore) -> Iterator[Any]:
    """The collection, as Chroma's own client has it."""
    opened = folder_client(folder)
    yield opened.get_collection("undrift-kb", embedding_function=None)
    opened.close()


# Addresses


@pytest.mark.parametrize(
    ("address", "ssl", "host", "port"),
    [
        ("//localhost:8000", False, "localhost", 8000),
        ("//db.example.com", False, "db.example.com", 8000),
        ("//api.trychroma.com/", True, "api.trychroma.com", 443),
        ("//[::1]:9000", False, "::1", 9000),
    ],
)
def test_an_address_with_two_slashes_is_a_servers(address: str, ssl: bool, host: str, port: int) -> None:
    place = place_from(address, ssl=ssl, token=None, token_header="X-Chroma-Token")

    assert place == Server(host=host, port=port, ssl=ssl, headers=())


def test_any_other_address_is_a_folder() -> None:
    assert place_from("vectors", ssl=False, token=None, token_header="x") == Folder(path=Path("vectors"))


@pytest.mark.parametrize("address", ["//user:word@host:8000", "//host:8000/path", "//host:99999", "//host:0", "//", ""])
def test_what_is_no_address_is_refused_without_showing_a_password(address: str) -> None:
    with pytest.raises(BadConfig) as refused:
        place_from(address, ssl=False, token=None, token_header="x")

    assert "word" not in str(refused.value).replace("password", "")


def test_a_token_goes_into_its_header_and_into_no_message() -> None:
    plain = place_from("//host:1", ssl=False, token="secret", token_header="X-Chroma-Token")
    bearer = place_from("//host:1", ssl=False, token="secret", token_header="Authorization")

    assert isinstance(plain, Server)
    assert isinstance(bearer, Server)
    assert plain.headers == (("X-Chroma-Token", "secret"),)
    assert bearer.headers == (("Authorization", "Bearer secret"),)
    assert "secret" not in plain.name


@pytest.mark.parametrize(("option", "value"), [("hnsw_m", 1), ("hnsw_ef_search", 0), ("listing_s", -1)])
def test_settings_that_cannot_be_are_refused(option: str, value: int) -> None:
    with pytest.raises(BadArgument, match=option):
        ChromaStore("//host:1", **{option: value})  # type: ignore[arg-type]


def test_a_collection_may_have_any_name(store: ChromaStore) -> None:
    names = ["k", "a b", "ünï", "a/b", "x..y", "undrift-kb", "-", "A" * 100]
    for number, name in enumerate(names):
        store.create(field(name), dimensions=number + 1, metric=Metric.L2)

    described = [store.describe(field(name)) for name in names]
    for name in names:
        store.drop(field(name))

    assert [one.dimensions for one in described if one is not None] == list(range(1, len(names) + 1))
    with pytest.raises(BadArgument, match="cannot be called"):
        store.create(field("é" * 200), dimensions=1, metric=Metric.L2)


# Servers


@contextmanager
def answering(status: int, body: str) -> Iterator[tuple[int, list[dict[str, str]]]]:
    """A server that says the same to everybody, and what it was asked with."""
    seen: list[dict[str, str]] = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            seen.append(dict(self.headers.items()))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    for method in ("GET", "POST"):
        setattr(Answer, f"do_{method}", Answer.answer)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port, seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_server_that_is_away_is_unavailable(chroma: ChromaServer) -> None:
    with answering(200, "") as (port, _):
        pass

    store = ChromaStore(f"//127.0.0.1:{port}")

    with pytest.raises(StoreUnavailable, match=f"chroma://127.0.0.1:{port} did not answer"):
        store.describe(field())


def test_a_server_that_takes_calls_and_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(client, "READ_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = ChromaStore(f"//127.0.0.1:{silent.getsockname()[1]}")

        with pytest.raises(StoreUnavailable, match="did not answer"):
            store.count(field())


def test_something_else_at_the_address_is_unavailable() -> None:
    with answering(200, "<html>") as (port, _), pytest.raises(StoreUnavailable, match="did not answer"):
        ChromaStore(f"//127.0.0.1:{port}").count(field())


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, '{"error": "AuthorizationError", "message": "no"}'),
        (403, '{"error": "AuthError", "message": "no"}'),
        (401, "Unauthorized"),
    ],
)
def test_a_wrong_token_is_named_and_not_shown(status: int, body: str) -> None:
    with answering(status, body) as (port, seen):
        store = ChromaStore(f"//127.0.0.1:{port}", api_key="secret")
        with pytest.raises(StoreUnavailable, match="CHROMA_TOKEN") as refused:
            store.count(field())

    assert seen[0]["X-Chroma-Token"] == "secret"
    assert "secret" not in str(refused.value)


def test_the_token_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "secret")
    with answering(401, "Unauthorized") as (port, seen):
        values = {
            "ledger": "sqlite:///undrift.db",
            "stores": {"main": {"url": f"chroma://127.0.0.1:{port}", "api_key_env": "MY_TOKEN"}},
        }
        store = Plugins(parse_config(values, tmp_path / "undrift.toml"), SystemClock()).store("main")
        with pytest.raises(StoreUnavailable):
            store.count(field())

    assert seen[0]["X-Chroma-Token"] == "secret"
    values["stores"]["main"]["api_key"] = "secret"  # type: ignore[index]
    with pytest.raises(BadConfig, match="has a key in the configuration"):
        parse_config(values, tmp_path / "undrift.toml")


@pytest.mark.servers
def test_a_tenant_that_is_not_there_is_named(chroma: ChromaServer) -> None:
    store = ChromaStore(chroma.place, tenant="strangers")

    try:
        with pytest.raises(StoreUnavailable, match="no tenant strangers with a database default_database"):
            store.create(field(), dimensions=3, metric=Metric.L2)
    finally:
        store.close()


@pytest.mark.servers
def test_two_databases_do_not_see_each_other(chroma: ChromaServer) -> None:
    from chromadb import AdminClient
    from chromadb.config import Settings

    admin = AdminClient(
        Settings(
            chroma_api_impl="chromadb.api.fastapi.FastAPI",
            chroma_server_host="127.0.0.1",
            chroma_server_http_port=chroma.port,
        )
    )
    admin.create_database("other_one")
    admin._server._session.close()
    stores = [ChromaStore(chroma.place), ChromaStore(chroma.place, database="other_one")]
    for number, store in enumerate(stores):
        store.create(field("twice"), dimensions=number + 2, metric=Metric.L2)

    assert [store.describe(field("twice")).dimensions for store in stores] == [2, 3]  # type: ignore[union-attr]
    for store in stores:
        store.drop(field("twice"))
        store.close()


@pytest.mark.servers
def test_more_than_one_request_takes_is_sent_in_pieces(chroma: ChromaServer) -> None:
    store = ChromaStore(chroma.place)
    store.create(field("large"), dimensions=2, metric=Metric.L2)
    long = [record(id, vector, text="x" * 1_500_000) for id, vector in zip("abcdefg", unit_vectors(7, 2), strict=True)]

    store.upsert(field("large"), long)

    assert store.ids(field("large"), limit=9) == list("abcdefg")
    store.drop(field("large"))
    store.close()


@pytest.mark.servers
def test_a_list_of_ids_misses_what_others_insert_for_as_long_as_is_declared(chroma: ChromaServer) -> None:
    mine, theirs = ChromaStore(chroma.place, listing_s=3600), ChromaStore(chroma.place, listing_s=0)
    place = field("listed")
    mine.create(place, dimensions=D, metric=Metric.L2)
    mine.upsert(place, records(["b", "d"], D))
    assert mine.ids(place, limit=9) == ["b", "d"]

    theirs.upsert(place, records(["a", "c"], D))
    theirs.delete(place, [DocumentId("d")])
    mine.upsert(place, records(["e"], D))

    assert mine.ids(place, limit=9) == [entry.id for entry in mine.scan(place, limit=9)] == ["b", "e"]
    assert theirs.ids(place, limit=9) == ["a", "b", "c", "e"]
    assert sorted(mine.fetch(place, [DocumentId(id) for id in "abcde"])) == ["a", "b", "c", "e"]
    assert (mine.capabilities.scans_lag_s, theirs.capabilities.scans_lag_s) == (3600, 0)
    mine.drop(place)
    mine.close()
    theirs.close()


# A folder


def test_stores_of_one_process_open_and_close_a_folder_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chroma counts who uses a folder without a lock: opened twice at once, one of them has none of it."""
    import chromadb

    make, inside, overlaps = chromadb.PersistentClient, threading.Semaphore(1), []

    def made(*args: Any, **said: Any) -> Any:
        if not inside.acquire(blocking=False):
            overlaps.append(args)
            return make(*args, **said)
        try:
            return make(*args, **said)
        finally:
            inside.release()

    monkeypatch.setattr(chromadb, "PersistentClient", made)
    stores = [ChromaStore(str(tmp_path / "folder")) for _ in range(8)]
    start = threading.Barrier(len(stores))

    def use(store: ChromaStore) -> None:
        start.wait()
        store.describe(field())
        store.close()

    with ThreadPoolExecutor(len(stores)) as pool:
        for done in [pool.submit(use, store) for store in stores]:
            done.result()

    assert overlaps == []


def test_a_second_process_is_refused_with_a_reason(folder: Path, store: ChromaStore) -> None:
    look = (
        "import sys\nfrom undrift.adapters.stores.chroma import ChromaStore\n"
        "from undrift.domain.route import VectorField\nfrom undrift.errors import StoreUnusable\n"
        "try:\n    ChromaStore(sys.argv[1]).describe(VectorField(store='s', collection='kb', space='s'))\n"
        "except StoreUnusable as error:\n    print(error)\n"
    )
    store.count(field())

    refused = subprocess.run(
        [sys.executable, "-c", look, str(folder)], capture_output=True, text=True, check=True
    ).stdout

    assert f"in use by another process, {os.getpid()}" in refused
    assert "chroma run --path" in refused


def test_a_child_does_not_use_the_folder_of_its_parent(folder: Path, store: ChromaStore) -> None:
    store.count(field())
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Python warns of forks beside threads, which is what this is about.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        try:
            store.count(field())
        except StoreUnusable:
            os.write(writing, b"refused")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)

    assert os.read(reading, 99) == b"refused"
    os.close(reading)


def test_a_folder_is_free_when_its_last_user_has_closed_it(folder: Path, store: ChromaStore) -> None:
    other = ChromaStore(str(folder))
    assert other.count(field()) == 0
    other.close()

    assert store.count(field()) == 0


# Records


def test_scalars_stand_beside_the_json_for_other_programs(store: ChromaStore, own: Any) -> None:
    metadata = {"lang": "en", "year": 2020, "ok": True, "part": 0.5, "list": [1], "none": None, "": 1, "#": 2}
    store.upsert(field(), [record("a", unit_vectors(1, D)[0], metadata=metadata)])

    found = own.get(ids=["a"])["metadatas"][0]

    assert {key: value for key, value in found.items() if not key.startswith("undrift_")} == {
        "lang": "en",
        "year": 2020,
        "ok": True,
        "part": 0.5,
    }
    assert own.get(where={"year": {"$gte": 2020}})["documents"] == ["text of a"]


def test_keys_of_an_older_record_are_deleted(store: ChromaStore, own: Any) -> None:
    store.upsert(field(), [record("a", unit_vectors(1, D)[0], metadata={"old": 1, "both": 1})])
    store.merge_metadata(field(), {DocumentId("a"): {"put": "in"}}, sequence=3)

    store.upsert(field(), [record("a", unit_vectors(1, D)[0], metadata={"both": 2})])

    assert not [key for key in own.get(ids=["a"])["metadatas"][0] if "old" in key or "put" in key or "changed" in key]


@pytest.mark.parametrize("late", ["a change", "a record"])
def test_what_arrives_after_a_faster_write_does_not_mix_with_it(store: ChromaStore, own: Any, late: str) -> None:
    """A write that has read what is there is overtaken by a whole write, and lands after it."""
    first, second = unit_vectors(2, D)
    store.upsert(field(), [record("a", first, metadata={"k": 1}, sequence=1)])
    slow = ChromaStore(str(store.name.removeprefix("chroma:")))
    read = slow.get
    overtaken = threading.Event()

    def get(*arguments: Any, **more: Any) -> Any:
        answer = list(read(*arguments, **more))
        if not overtaken.is_set():
            overtaken.set()
            store.upsert(field(), [record("a", second, metadata={"k": 2, "new": "x"}, sequence=2)])
        return iter(answer)

    slow.get = get  # type: ignore[method-assign]
    if late == "a change":
        slow.merge_metadata(field(), {DocumentId("a"): {"k": 3, "put": "in"}}, sequence=9)
        wanted = {"k": 2, "new": "x"}
    else:
        slow.upsert(field(), [record("a", first, metadata={"other": True}, sequence=9)])
        wanted = {"other": True}
    slow.close()

    found = store.fetch(field(), [DocumentId("a")])[DocumentId("a")]
    assert found.metadata == wanted
    assert found.tag.sequence == (2 if late == "a change" else 9)
    for filter in ({"k": 2}, {"k": 3}, {"new": "x"}, {"put": "in"}, {"other": True}, {"k": {"$ne": 2}}):
        assert store.count(field(), filter) == int(matches(parse(filter), wanted)), filter


def test_a_vector_is_never_read_beside_the_text_of_another_write(
    store: ChromaStore, own: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chroma reads metadata first and vectors a moment later."""
    old, new = records(["a"], D)[0], records(["a"], D, seed=1)[0]
    store.upsert(field(), [old])
    before = own.get(ids=["a"], include=["metadatas", "documents", "embeddings"])
    store.upsert(field(), [new])
    after = own.get(ids=["a"], include=["embeddings"])
    torn = {**before, "embeddings": after["embeddings"]}
    answers = [torn, torn]
    real = client.Client.get

    def get(self: client.Client, *arguments: Any, **more: Any) -> Any:
        return answers.pop() if answers else real(self, *arguments, **more)

    monkeypatch.setattr(client.Client, "get", get)

    found = store.fetch(field(), [new.id])

    assert answers == []
    assert_same(found[new.id], new)


def test_vectors_of_other_lengths_are_found_by_the_cosine(store: ChromaStore) -> None:
    units = unit_vectors(50, D)
    lengths = np.geomspace(1e-3, 1e3, 50, dtype=np.float32)[:, None]
    there = [record(id, vector) for id, vector in zip(numbered(50), units * lengths, strict=True)]
    store.upsert(field(), there)

    for number in range(0, 50, 7):
        query = (units[number] * np.float32(17)).astype(np.float32)
        hits = store.search(field(), query, k=5)
        assert hits[0].id == numbered(50)[number]
        assert hits[0].score == pytest.approx(1, abs=1e-5)
    assert_same(store.fetch(field(), [there[3].id])[there[3].id], there[3])


def test_tags_that_are_kept_elsewhere_are_not_written(store: ChromaStore, own: Any) -> None:
    place = field("kb?tags=ledger")
    store.upsert(place, records(["a"], D))

    assert "tag" not in json.loads(own.get(ids=["a"])["metadatas"][0]["undrift_record"])
    assert store.entries(place, [DocumentId("a")])[DocumentId("a")].tag is None
    assert store.fetch(place, [DocumentId("a")])[DocumentId("a")].tag.space == ""


def test_a_collection_that_undrift_did_not_make_is_left_alone(store: ChromaStore, folder: Path) -> None:
    opened = folder_client(folder)
    theirs = opened.create_collection("theirs", embedding_function=None)
    theirs.add(ids=["x"], embeddings=[[1.0, 2.0]])

    assert store.describe(field("theirs")) is None
    store.drop(field("theirs"))
    with pytest.raises(FieldInUse):
        store.create(field("theirs"), dimensions=2, metric=Metric.L2)
    with pytest.raises(CollectionMissing):
        store.count(field("theirs"))

    assert theirs.count() == 1
    opened.delete_collection("theirs")
    opened.close()


def test_a_collection_of_a_newer_format_is_not_touched(store: ChromaStore, folder: Path) -> None:
    opened = folder_client(folder)
    opened.create_collection("newer", embedding_function=None, metadata={"undrift_format": 2})

    with pytest.raises(StoreUnavailable, match="another version of undrift"):
        store.count(field("newer"))
    opened.delete_collection("newer")
    opened.close()


# Filters


def test_the_largest_filters_are_answered(store: ChromaStore) -> None:
    store.upsert(field(), records(numbered(30), D))

    most = {"$or": [{"n": {"$gte": number, "$lt": number + 0.5}} for number in range(MAX_CONDITIONS // 2)]}
    assert store.count(field(), most) == 30
    assert store.count(field(), {"n": {"$in": list(range(MAX_VALUES))}}) == 30
    assert store.count(field(), {"n": {"$in": [number + 0.25 for number in range(MAX_VALUES)]}}) == 0


def test_a_filter_of_chromas_own_goes_to_it_as_it_is(store: ChromaStore) -> None:
    there = records(numbered(30), D)
    store.upsert(field(), there)

    hits = store.search(field(), there[0].vector, k=50, filter={"$native": {"n": {"$gte": 28}}})

    assert sorted(hit.id for hit in hits) == [there[28].id, there[29].id]


@pytest.fixture(scope="module")
def many(folder: Path) -> Iterator[ChromaStore]:
    store = ChromaStore(str(folder))
    store.create(field("many"), dimensions=2, metric=Metric.L2)
    yield store
    store.drop(field("many"))
    store.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_filters_find_what_the_language_says(many: ChromaStore, data: st.DataObject) -> None:
    place = field("many")
    asked = data.draw(st.lists(filters, min_size=1, max_size=5))
    kept = data.draw(st.lists(stored, max_size=5)) + [meeting(data, filter) for filter in asked]
    changed = data.draw(st.lists(stored, min_size=len(kept), max_size=len(kept)))
    vectors = unit_vectors(len(kept), 2)
    many.upsert(place, [record(f"{at}", vectors[at], metadata=metadata) for at, metadata in enumerate(kept)])
    some = {DocumentId(f"{at}"): change for at, change in enumerate(changed) if at % 2}
    many.merge_metadata(place, some, sequence=1)
    truth = {f"{at}": {**kept[at], **(changed[at] if at % 2 else {})} for at in range(len(kept))}
    many.delete(place, [id for id in many.ids(place, limit=99) if id not in truth])

    found = partial(many.scan, place, limit=99)
    assert {entry.id: entry.metadata for entry in found()} == truth
    for filter in asked:
        wanted = sorted(id for id, metadata in truth.items() if matches(parse(filter), metadata))
        assert [entry.id for entry in found(filter=filter)] == wanted
        assert sorted(hit.id for hit in many.search(place, vectors[0], k=99, filter=filter)) == wanted
