"""A program in another language brackets its writes with HTTP calls, on every ledger."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("sqlite_vec")

import undrift
from tests.conformance.http_server import JSON, Served, serving
from tests.conformance.postgres_server import free_port
from undrift import Document
from undrift.control import ControlPlane, open_plane
from undrift.domain.migration import Phase
from undrift.domain.record import DocumentId
from undrift.domain.route import AliasName
from undrift.errors import BadArgument, BadConfig, MissingExtra
from undrift.server import listen
from undrift.server.admission import MOST_BYTES
from undrift.server.messages import MOST_KEYS

KB = AliasName("kb")
#: A horizon that has passed at once, for operations whose deadline has not.
PASSED_S = -3600.0
TOKEN = "a-token-of-somebody"
CONFIG = """
ledger = "{ledger}"
[stores.main]
url = "sqlite-vec:./vectors.db"
[models.old]
provider = "hashing"
dimensions = 16
[models.new]
provider = "hashing"
dimensions = 24
[aliases.kb]
store = "main"
model = "old"
[aliases.resting]
store = "main"
model = "old"
[timing]
poll_s = 0.05
retry_s = 0.02
"""
#: A program that dies between open and close, without a word.
CALLER = """
import http.client, json, os, signal, sys
host, port = sys.argv[1:]
connection = http.client.HTTPConnection(host, int(port))
body = json.dumps({"keys": ["d1"], "client": "dying"})
connection.request("POST", "/v1/aliases/kb/open", body, {"Content-Type": "application/json"})
print(connection.getresponse().read().decode(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def folder_on(ledger: str, folder: Path) -> Path:
    (folder / "undrift.toml").write_text(CONFIG.format(ledger=ledger), encoding="utf-8")
    return folder


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.servers)])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A migration that is ready, and a server beside it."""
    ledger = "sqlite:///undrift.db"
    if request.param == "postgres":
        server = request.getfixturevalue("server")
        server.sql("CREATE DATABASE called")
        ledger = server.url("called")
    folder = folder_on(ledger, tmp_path_factory.mktemp(request.param))
    with open_plane(folder / "undrift.toml", role="start") as plane:
        for alias in ("kb", "resting"):
            plane.alias(alias).upsert([Document(id=f"d{number}", text=f"text {number}") for number in range(3)])
        plane.register("kb", "new")
        plane.work("kb", lambda migration: migration.phase is Phase.READY)
    with serving(folder) as running:
        yield running
    if request.param == "postgres":
        server.sql("DROP DATABASE called WITH (FORCE)")


@pytest.fixture
def plane(served: Served) -> Iterator[ControlPlane]:
    with undrift.open(served.folder / "undrift.toml") as made:
        yield made


def is_dirty(plane: ControlPlane, key: str) -> bool:
    return plane.ledger.journal_state(KB, [DocumentId(key)]).get(DocumentId(key), (False, 0))[0]


def test_a_write_is_opened_and_closed(served: Served, plane: ControlPlane) -> None:
    status, answer = served.open("d0", "d0", "w1", deadline_s=20)

    assert (status, answer["outcome"], answer["waiting"]) == (200, "opened", [])
    assert answer["serving"]["collection"] == plane.ledger.route(KB).serving.collection
    assert is_dirty(plane, "w1")
    assert plane.ledger.lag(KB).open == 1
    assert served.close(answer["operation"], "d0", "w1") == (200, {"closed": True})
    assert plane.ledger.lag(KB).open == 0


def test_a_second_close_says_that_nothing_may_be_acknowledged(served: Served) -> None:
    operation = served.open("d0")[1]["operation"]
    served.close(operation, "d0")

    status, answer = served.close(operation, "d0")

    assert (status, answer["closed"], answer["error"]["kind"]) == (409, False, "OutcomeUnknown")
    assert "again, from open" in answer["error"]["hint"]


def test_a_program_that_is_killed_between_open_and_close_leaves_both_fields_equal(
    served: Served, plane: ControlPlane
) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    died = subprocess.run([sys.executable, "-c", CALLER, host, port], capture_output=True, text=True, check=False)
    answer: dict[str, Any] = json.loads(died.stdout)
    assert (died.returncode, answer["outcome"]) == (-9, "opened")
    # It got as far as the store, and nobody knows.
    field = plane.ledger.route(KB).serving
    plane.store_of(field).delete(field, [DocumentId("d1")])

    assert plane.ledger.lag(KB).open == 1
    assert plane.ledger.reap(KB, PASSED_S) == 1
    plane.work("kb", lambda _: plane.ledger.lag(KB).dirty == 0)
    assert plane.verify("kb")["verdict"] == "pass"
    assert not plane.alias("kb").get(["d1"])
    assert not plane.store_of(field).fetch(plane.ledger.route(KB).follower, [DocumentId("d1")])

    status, late = served.close(answer["operation"], "d1")
    assert (status, late["closed"]) == (409, False)
    assert is_dirty(plane, "d1")


def test_writers_that_have_to_wait_are_told_so(served: Served, plane: ControlPlane) -> None:
    plane.ledger.hold(plane.ledger.route(KB), 60.0)
    try:
        status, answer = served.open("d0")
    finally:
        plane.ledger.hold(plane.ledger.route(KB), 0.0)

    assert (status, answer["outcome"], answer["operation"]) == (409, "held", None)
    assert answer["error"]["kind"] == "held"
    assert served.open("d0")[0] == 200


def test_outside_a_migration_the_call_is_the_lease(served: Served, plane: ControlPlane) -> None:
    status, answer = served.open("d0", alias="resting")

    assert (status, answer["outcome"], answer["operation"]) == (200, "passive", None)
    assert served.close(None, "d0", alias="resting") == (200, {"closed": True})
    (client,) = [one for one in plane.ledger.clients(AliasName("resting")) if one.role == "http"]
    assert client.id == "web-7@1"
    assert client.host == "127.0.0.1"


def test_the_route_is_told(served: Served, plane: ControlPlane) -> None:
    status, answer, _ = served.call("GET", "/v1/aliases/kb/route")

    route = plane.ledger.route(KB)
    assert status == 200
    assert (answer["alias"], answer["epoch"], answer["mode"]) == ("kb", route.epoch, "journal")
    assert answer["serving"]["space"] == route.serving.space
    assert answer["follower"]["space"] == route.follower.space
    assert served.call("GET", "/healthz")[:2] == (200, {"status": "ok", "version": undrift.__version__})


OPEN, CLOSE = "/v1/aliases/kb/open", "/v1/aliases/kb/close"
KEYS = {"keys": ["d0"], "client": "web"}
WRONG: dict[str, tuple[str, str, object, int, str]] = {
    "no body": ("POST", OPEN, b"", 400, "BadArgument"),
    "half a body": ("POST", OPEN, b'{"keys": ["d', 400, "BadArgument"),
    "not text": ("POST", OPEN, b"\xff\xfe\x00", 400, "BadArgument"),
    "a list": ("POST", OPEN, ["d0"], 400, "BadArgument"),
    "no keys": ("POST", OPEN, {"keys": [], "client": "web"}, 400, "BadArgument"),
    "one key": ("POST", OPEN, {"keys": "d0", "client": "web"}, 400, "BadArgument"),
    "a number": ("POST", OPEN, {"keys": [1], "client": "web"}, 400, "BadArgument"),
    "an empty key": ("POST", OPEN, {"keys": [""], "client": "web"}, 400, "BadDocument"),
    "a control character": ("POST", OPEN, {"keys": ["a\0b"], "client": "web"}, 400, "BadDocument"),
    "half a pair": ("POST", OPEN, b'{"keys": ["\\ud800"], "client": "web"}', 400, "BadArgument"),
    "too many keys": ("POST", OPEN, {"keys": ["k"] * (MOST_KEYS + 1), "client": "web"}, 400, "BadArgument"),
    "too long": ("POST", OPEN, b" " * (MOST_BYTES + 1), 413, "BadArgument"),
    "no client": ("POST", OPEN, {"keys": ["d0"]}, 400, "BadArgument"),
    "a client like a line": ("POST", OPEN, {"keys": ["d0"], "client": "a\nb"}, 400, "BadArgument"),
    "an unknown key": ("POST", OPEN, {**KEYS, "dead_line": 3}, 400, "BadArgument"),
    "no deadline": ("POST", OPEN, {**KEYS, "deadline_s": 0}, 400, "BadArgument"),
    "a deadline for ever": (
        "POST",
        OPEN,
        b'{"keys": ["d0"], "client": "web", "deadline_s": Infinity}',
        400,
        "BadArgument",
    ),
    "a long deadline": ("POST", OPEN, {**KEYS, "deadline_s": 31}, 400, "BadArgument"),
    "no operation": ("POST", CLOSE, {"keys": ["d0"]}, 400, "BadArgument"),
    "an operation of words": ("POST", CLOSE, {"keys": ["d0"], "operation": "1"}, 400, "BadArgument"),
    "an operation too large": ("POST", CLOSE, {"keys": ["d0"], "operation": 2**63}, 400, "BadArgument"),
    "no such alias": ("POST", "/v1/aliases/nowhere/open", KEYS, 404, "UnknownAlias"),
    "an alias of noughts": ("GET", "/v1/aliases/k%00b/route", None, 404, "UnknownAlias"),
    "no such call": ("POST", "/v1/aliases/kb/write", KEYS, 404, "BadRequest"),
    "the wrong way": ("GET", OPEN, None, 405, "BadRequest"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_call_is_refused_and_begins_nothing(served: Served, plane: ControlPlane, case: str) -> None:
    method, path, body, status, kind = WRONG[case]
    before = plane.ledger.lag(KB)

    found, answer, _ = served.call(method, path, body)

    assert (found, answer["error"]["kind"]) == (status, kind), answer
    assert set(answer["error"]) == {"kind", "message", "detail", "hint"}
    assert answer["error"]["message"]
    assert plane.ledger.lag(KB).open == before.open


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 415), ({"Content-Type": "text/plain"}, 415), ({**JSON, "Host": "evil.example"}, 403), (JSON, 200)],
)
def test_a_page_in_a_browser_cannot_call(served: Served, headers: dict[str, str], status: int) -> None:
    assert served.call("POST", CLOSE, {"operation": None, "keys": ["d0"]}, headers=headers)[0] == status


# Tokens


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = folder_on("sqlite:///undrift.db", tmp_path_factory.mktemp("guarded"))
    with undrift.open(folder / "undrift.toml") as plane:
        plane.alias("kb")
    with serving(folder, UNDRIFT_TOKEN=TOKEN) as running:
        yield running


@pytest.mark.parametrize(
    ("sent", "status", "kind"),
    [
        (None, 401, "TokenMissing"),
        ("Bearer", 401, "TokenMissing"),
        (f"Basic {TOKEN}", 401, "TokenMissing"),
        ("Bearer another-token-of-somebody", 403, "TokenRefused"),
        ("Bearer t\xf6ken", 403, "TokenRefused"),
        (f"Bearer {TOKEN}", 200, ""),
    ],
)
def test_a_token_is_demanded_once_there_is_one(guarded: Served, sent: str | None, status: int, kind: str) -> None:
    headers = {} if sent is None else {"Authorization": sent}

    found, answer, told = guarded.call("GET", "/v1/aliases/kb/route", headers=headers)

    assert (found, answer.get("error", {}).get("kind", "")) == (status, kind)
    assert (told.get("www-authenticate") == "Bearer") == (status == 401)
    assert TOKEN not in str(answer)
    assert TOKEN not in (guarded.folder / "serve.log").read_text(encoding="utf-8")
    assert guarded.call("GET", "/healthz", headers={})[0] == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_others_than_this_machine_need_a_token(host: str) -> None:
    with pytest.raises(BadConfig, match="needs a token") as refused:
        listen(host, 0, token=None)
    assert "UNDRIFT_TOKEN" in refused.value.hint


@pytest.mark.parametrize("token", ["", "short", "ö" * 20, "a token\nof two lines"])
def test_a_token_that_is_none_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(BadConfig) as refused:
        listen("127.0.0.1", 0, token=token)
    assert not token or token not in str(refused.value)


def test_a_token_may_be_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = folder_on("sqlite:///undrift.db", tmp_path) / "undrift.toml"
    config.write_text(config.read_text() + '[server]\ntoken_file = "token"\n', encoding="utf-8")
    with undrift.open(config) as plane:
        with pytest.raises(BadConfig, match="token file"):
            plane.config.token()
        (tmp_path / "token").write_text(f"{TOKEN}\n", encoding="utf-8")
        assert plane.config.token() == TOKEN
        monkeypatch.setenv("UNDRIFT_TOKEN", "of-the-environment")
        assert plane.config.token() == "of-the-environment"


# What is not there


def test_a_ledger_out_of_reach_is_said_to_be(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    folder = folder_on(f"postgresql://127.0.0.1:{free_port()}/none", tmp_path)
    with serving(folder) as running:
        calls = (("GET", "/healthz", None), ("POST", OPEN, KEYS), ("POST", CLOSE, {"operation": 1, "keys": ["d0"]}))
        for method, path, body in calls:
            status, answer, headers = running.call(method, path, body)
            assert (status, answer["error"]["kind"], headers["retry-after"]) == (503, "ControlUnavailable", "1")
            assert "pg_isready" in answer["error"]["hint"]


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BadArgument, match=f"port {port}") as refused:
            listen("127.0.0.1", port, token=None)
    assert "--port 0" in refused.value.hint


def test_without_its_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingExtra) as refused:
        listen("127.0.0.1", 0, token=None)
    assert refused.value.hint == "pip install 'undrift[server]'"
