"""`catalogue refresh` and `catalogue notify`, and what is told while a model is used."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.unit.cli.running import CONFIG, Undrift, plane_of, write_lines
from tests.unit.cli.shapes import missing_keys
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.testing.provider import EmbeddingProvider

HEAD = "channel,model,region,attribute,value,precision,source,seen,confidence\n"


class World:
    """An address with a list of models, which takes posts as well."""

    def __init__(self) -> None:
        self.models: list[dict[str, Any]] = []
        self.deprecations: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.posts: list[dict[str, Any]] = []
        self.status = 200
        world = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                world.keys.append(self.headers.get("Authorization", ""))
                found = world.deprecations if "deprecations" in self.path else {"data": world.models}
                self._answer(json.dumps(found).encode())

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if world.status == 200:
                    world.posts.append(json.loads(body))
                self._answer(b"{}")

            def _answer(self, body: bytes) -> None:
                self.send_response(world.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    thread = Thread(target=world.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield world
    world.server.shutdown()
    world.server.server_close()
    thread.join()


@pytest.fixture
def owner(undrift: Undrift, tmp_path: Path, world: World) -> Iterator[Undrift]:
    """A collection of vectors of a model whose provider lists its models, and a receiver of alerts."""
    names = ("text-embedding-3-small", "text-embedding-ada-002")
    with EmbeddingProvider({name: HashingEmbedder(name=name, dimensions=32) for name in names}) as provider:
        models = "".join(
            f'[models.{key}]\nprovider = "openai"\nbase_url = "{url}"\nname = "text-embedding-3-small"\n'
            'dimensions = 32\nchannel = "openai"\napi_key_file = "key"\n'
            for key, url in (("small", provider.url), ("listed", f"{world.url}/v1"))
        )
        (tmp_path / "key").write_text("secret-key")
        notices = f'[notices]\nwebhook = "{world.url}/hook"\nsecret_file = "key"\n'
        config = CONFIG.replace('model = "old"', 'model = "small"') + models + notices
        (tmp_path / "undrift.toml").write_text(config)
        write_lines(tmp_path / "some.jsonl", [{"id": f"d{n}", "text": f"text number {n}"} for n in range(5)])
        assert undrift("put", "kb", "some.jsonl").code == 0
        yield undrift


def ends(world: World, day: str | None) -> None:
    world.models = [
        {"id": "text-embedding-3-small", "shutdown_date": day},
        {"id": "gpt-5", "shutdown_date": "2027-01-01"},
    ]


def said(post: dict[str, Any]) -> dict[str, Any]:
    """Our own part of what was posted."""
    found: dict[str, Any] = post["undrift"]
    return found


def listing(answer: Any, world: World) -> dict[str, Any]:
    found: dict[str, Any] = next(
        one for one in answer.json["feeds"] if one["feed"].endswith(f"{world.url[7:]}/v1/models")
    )
    return found


def test_the_providers_own_day_is_read_with_the_users_key_and_kept(owner: Undrift, world: World) -> None:
    ends(world, "2027-01-31")
    answer = owner("catalogue", "refresh", "--json")
    (sunset,) = owner("catalogue", "sunsets", "--json").json

    assert missing_keys("catalogue refresh", answer.json) == []
    assert [(fact["model"], fact["value"]) for fact in listing(answer, world)["new"]] == [
        ("openai/text-embedding-3-small", "2027-01-31")
    ]
    assert set(world.keys) == {"Bearer secret-key"}
    assert "secret-key" not in answer.out + answer.err
    assert (sunset["date"], sunset["owned_vectors"]) == ("2027-01-31", 5)


def test_every_day_that_was_named_is_kept_and_one_that_is_repeated_is_not(owner: Undrift, world: World) -> None:
    for day in ("2027-01-31", "2027-01-31", "2027-03-31", "2027-01-31"):
        ends(world, day)
        owner("catalogue", "refresh")

    (sunset,) = owner("catalogue", "sunsets", "--json").json
    assert [fact["value"] for fact in sunset["history"]] == ["2027-01-31", "2027-03-31"]
    assert sunset["date"] == "2027-01-31"


def test_of_sources_that_disagree_the_earliest_counts_and_both_are_shown(
    owner: Undrift, world: World, tmp_path: Path
) -> None:
    ends(world, "2027-06-30")
    (tmp_path / "feed.csv").write_text(
        HEAD + "openai,text-embedding-3-small,,shutdown,2027-04-01,probable,a blog,2026-11-20,low\n"
    )
    owner("catalogue", "refresh")
    assert owner("catalogue", "refresh", "--from", "feed.csv", "--no-providers").code == 0

    (sunset,) = owner("catalogue", "sunsets", "--json").json

    assert sunset["date"] == "2027-04-01"
    assert [fact["value"] for fact in sunset["disagreeing"]] == ["2027-06-30"]


def test_a_feed_that_keeps_what_it_said_before_is_heard_once(owner: Undrift, tmp_path: Path) -> None:
    """Its lines may stand in any order, and name several things at a time."""
    model = "openai,text-embedding-3-small,"
    lines = [
        f"{model},shutdown,2027-06-30,exact,a contract,2026-11-20,high\n",
        f"{model},shutdown,2027-04-01,exact,a contract,2026-10-01,high\n",
        f"{model},also_called,small,,a contract,2026-10-01,high\n",
        f"{model},also_called,3-small,,a contract,2026-10-01,high\n",
    ]
    (tmp_path / "feed.csv").write_text(HEAD + "".join(lines))
    refresh = ("catalogue", "refresh", "--from", "feed.csv", "--no-providers", "--json")

    first, again = owner(*refresh).json["feeds"][0]["new"], owner(*refresh).json["feeds"][0]["new"]

    assert (len(first), again) == (4, [])
    assert len((tmp_path / "undrift-catalogue.csv").read_text().splitlines()) == 5
    (sunset,) = owner("catalogue", "sunsets", "--json").json
    assert (sunset["date"], sunset["moved"]) == ("2027-06-30", True)


def test_the_community_s_list_is_one_voice_among_others(owner: Undrift, world: World) -> None:
    entry = {"provider": "OpenAI", "shutdown_date": "2027-04-01", "last_observed": "2026-11-20"}
    world.deprecations = [{**entry, "model_id": name} for name in ("text-embedding-3-small", "gpt-4", "3-smallmodel")]
    ends(world, "2027-06-30")
    owner("catalogue", "refresh")

    found = owner("catalogue", "refresh", "--from", f"{world.url}/v1/deprecations.json", "--no-providers", "--json")

    (feed,) = found.json["feeds"]
    assert [fact["model"] for fact in feed["new"]] == ["openai/text-embedding-3-small"]
    (sunset,) = owner("catalogue", "sunsets", "--json").json
    assert (sunset["date"], sunset["precision"]) == ("2027-04-01", "probable")
    assert [fact["value"] for fact in sunset["disagreeing"]] == ["2027-06-30"]


def test_a_model_that_is_not_listed_any_more_is_named(owner: Undrift, world: World) -> None:
    world.models = [{"id": "text-embedding-3-large", "shutdown_date": None}]

    assert listing(owner("catalogue", "refresh", "--json"), world)["absent"] == ["text-embedding-3-small"]


def test_without_a_network_it_says_so_and_keeps_what_it_has(owner: Undrift, world: World, tmp_path: Path) -> None:
    world.status = 503
    refused = owner("catalogue", "refresh", "--from", "missing.csv")

    assert refused.code == 4
    assert "there is no feed missing.csv" in refused.err
    assert "answers 503" in refused.err
    assert "what was read before still counts" in refused.err
    assert owner("catalogue", "list").code == 0


def test_an_end_is_told_once_and_again_when_it_moves_and_when_it_is_over(owner: Undrift, world: World) -> None:
    events = []
    for day in ("2027-01-31", "2027-01-31", "2026-12-31"):
        ends(world, day)
        owner("catalogue", "refresh")
        told = owner("catalogue", "notify", "--json")
        assert missing_keys("catalogue notify", told.json) == []
        events.append([alert["event"] for alert in told.json["alerts"]])

    assert events == [["firing"], [], ["changed"]]
    assert [said(post)["occasion"][:10] for post in world.posts] == ["2027-01-31", "2026-12-31"]
    assert len({said(post)["id"] for post in world.posts}) == 2
    assert len({post["alerts"][0]["fingerprint"] for post in world.posts}) == 1
    assert owner("start", "kb", "--to", "new").code == 0
    assert owner("cutover", "kb", "--yes").code == 0
    assert owner("complete", "kb", "--yes").code == 0
    over = owner("catalogue", "notify", "--json").json["alerts"]
    assert [(alert["event"], alert["key"]) for alert in over] == [
        ("resolved", "sunset/kb/openai/text-embedding-3-small")
    ]
    assert owner("catalogue", "notify").out == "nothing new has to be told\n"


def test_an_alert_that_nobody_took_is_told_again(owner: Undrift, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("undrift.adapters.posting.PAUSE_S", 0.0)
    ends(world, "2027-01-31")
    owner("catalogue", "refresh")
    world.status = 500
    failed = owner("catalogue", "notify")
    world.status = 200

    assert failed.code == 4
    assert "did not take an alert" in failed.err
    assert owner("catalogue", "notify").code == 0
    assert [said(post)["event"] for post in world.posts if said(post)["check"] == "sunset"] == ["firing"]


def test_a_dry_run_tells_nobody(owner: Undrift, world: World) -> None:
    ends(world, "2027-01-31")
    owner("catalogue", "refresh")
    shown = owner("catalogue", "notify", "--dry-run")

    assert shown.out.startswith("firing: openai/text-embedding-3-small, of which kb has vectors, ends on 2027-01-31")
    assert world.posts == []
    assert len(owner("catalogue", "notify", "--json").json["alerts"]) == 1


@pytest.fixture
def retiring(undrift: Undrift, tmp_path: Path, world: World) -> Iterator[Callable[[], Undrift]]:
    """A model that is gone when its migration begins."""
    with EmbeddingProvider({"text-embedding-3-small": HashingEmbedder(dimensions=32)}) as provider:
        model = (
            f'[models.paid]\nprovider = "openai"\nbase_url = "{provider.url}"\nname = "text-embedding-3-small"\n'
            'dimensions = 32\nchannel = "openai"\n'
        )
        notices = f'[notices]\nwebhook = "{world.url}/hook"\nsecret_file = "key"\n'
        (tmp_path / "key").write_text("secret-key")
        (tmp_path / "undrift.toml").write_text(CONFIG + model + notices)
        write_lines(tmp_path / "some.jsonl", [{"id": f"d{n}", "text": f"text number {n}"} for n in range(5)])
        assert undrift("put", "kb", "some.jsonl").code == 0
        with plane_of(tmp_path) as plane:
            plane.recorded("paid")

        def retire() -> Undrift:
            provider.retire("text-embedding-3-small")
            return undrift

        yield retire


def test_a_model_that_is_gone_stops_the_work_and_raises_an_alert_once(
    retiring: Callable[[], Undrift], world: World
) -> None:
    undrift = retiring()
    halted = undrift("start", "kb", "--to", "paid", "--no-budget")

    assert halted.code == 4
    assert "text-embedding-3-small" in halted.err
    assert [(said(post)["event"], said(post)["severity"], said(post)["key"]) for post in world.posts] == [
        ("firing", "critical", "provider/kb/openai/text-embedding-3-small/retired")
    ]
    assert undrift("model", "check", "paid").code
    assert len(world.posts) == 1, "another process hears it, and it is told once"
