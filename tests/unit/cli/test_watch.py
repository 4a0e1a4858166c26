"""`watch --once` and `alert`: what is found, who is told, and what people may say to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from scripts.metrics_reference import PAGE as METRICS
from tests.unit.cli.running import CONFIG, Undrift, write_lines
from tests.unit.cli.shapes import missing_keys
from undrift.adapters.clock import SystemClock
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.control.checks import CHECKS
from undrift.control.lookout import STALE
from undrift.control.metrics import documented
from undrift.domain.alert import RECEIVER
from undrift.domain.finding import Finding
from undrift.testing.provider import EmbeddingProvider
from undrift.watch.files import DASHBOARD, RULES

HEAD = "channel,model,region,attribute,value,precision,source,seen,confidence\n"
#: An alias for each model, by channel and name.
OWNED = {
    "azure": ("azure-openai", "text-embedding-ada-002"),
    "gemini": ("gemini-api", "text-embedding-004"),
    "vertex": ("vertex", "text-embedding-004"),
}


@pytest.fixture
def today(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets the date that the machine's clock shows."""
    moment = [datetime(2026, 11, 23, 12, tzinfo=UTC)]

    def now(_: SystemClock) -> datetime:
        # A look is later than the one before it.
        moment[0] += timedelta(seconds=1)
        return moment[0]

    def set_to(day: str) -> None:
        moment[0] = datetime.fromisoformat(f"{day}T12:00:00+00:00")

    monkeypatch.setattr(SystemClock, "now", now)
    return set_to


@contextmanager
def owning(undrift: Undrift, folder: Path, *keys: str) -> Iterator[Undrift]:
    """Collections of vectors of models whose end is known."""
    sizes = {"text-embedding-ada-002": 1536, "text-embedding-004": 32}
    names = {name: HashingEmbedder(name=name, dimensions=size) for name, size in sizes.items()}
    with EmbeddingProvider(names) as provider:
        tables = "".join(
            f'[models.{key}]\nprovider = "openai"\nbase_url = "{provider.url}"\nname = "{name}"\n'
            f'dimensions = {sizes[name]}\nchannel = "{channel}"\n'
            f'[aliases.{key}s]\nstore = "main"\nmodel = "{key}"\n'
            for key, (channel, name) in OWNED.items()
            if key in keys
        )
        (folder / "undrift.toml").write_text(f'feeds = ["feed.csv"]\n{CONFIG}{tables}')
        (folder / "feed.csv").write_text(HEAD)
        write_lines(folder / "some.jsonl", [{"id": "a", "text": "a text"}])
        for key in keys:
            assert undrift("put", f"{key}s", "some.jsonl").code == 0
        yield undrift


@pytest.fixture
def owner(undrift: Undrift, tmp_path: Path, today: Callable[[str], None]) -> Iterator[Undrift]:
    """Three collections, each of vectors of another model whose end is known."""
    with owning(undrift, tmp_path, *OWNED) as owner:
        yield owner


@pytest.fixture
def late(undrift: Undrift, tmp_path: Path, today: Callable[[str], None]) -> Iterator[Undrift]:
    """A collection of vectors of a model that has ended."""
    with owning(undrift, tmp_path, "gemini") as late:
        yield late


def of_ends(answer: Any) -> dict[str, dict[str, Any]]:
    """Each finding about an end, by the alias."""
    return {one["subject"].partition("/")[0]: one for one in answer.json["findings"] if one["check"] == "sunset"}


def learn(owner: Undrift, tmp_path: Path, *lines: str) -> None:
    (tmp_path / "feed.csv").write_text(HEAD + "".join(f"{line}\n" for line in lines))
    assert owner("catalogue", "refresh", "--no-providers").code == 0


def events(answer: Any) -> list[tuple[str, str]]:
    return [(one["event"], one["key"].partition("/")[2].partition("/")[0]) for one in answer.json["tellings"]]


def test_ends_that_moved_that_are_disputed_and_that_came_are_found_for_the_channel_they_are_of(
    owner: Undrift,
) -> None:
    """Azure moved a day twice and a list says another one; a name died on one channel and lives on another."""
    answer = owner("watch", "--once", "--json")
    found = of_ends(answer)

    assert answer.code == 3
    assert missing_keys("watch --once", answer.json) == []
    assert [Finding.from_dict(one).as_dict() for one in answer.json["findings"]] == answer.json["findings"]
    assert found["azures"]["severity"] == "info"
    assert found["azures"]["occasion"].startswith("2027-04-15")
    assert found["azures"]["detail"].splitlines() == [
        "LiteLLM 1.109.1 says 2028-02-09 (seen 2026-11-22)",
        "deprecations.info git history said 2025-10-03 (seen 2024-12-11)",
    ]
    assert (found["geminis"]["severity"], found["geminis"]["occasion"]) == ("critical", "2026-01-14 within 0")
    assert found["vertexs"]["severity"] == "info"
    assert sorted(events(answer)) == [("firing", "azures"), ("firing", "geminis"), ("firing", "vertexs")]
    assert answer.json["tellings"][0]["runbook"] == "docs/operations/alerts.md#sunset"


def test_an_alert_comes_once_ends_with_the_vectors_and_comes_again_when_the_day_moves(
    owner: Undrift, tmp_path: Path, today: Callable[[str], None]
) -> None:
    owner("watch", "--once")
    assert events(owner("watch", "--once", "--json")) == []

    learn(owner, tmp_path, "vertex,text-embedding-004,,shutdown,2027-02-01,exact,a notice,2026-11-23,high")
    moved = owner("watch", "--once", "--json")
    today("2027-01-25")
    nearer = owner("watch", "--once", "--json", "sunset")
    for verb in (
        ("start", "vertexs", "--to", "new"),
        ("cutover", "vertexs", "--yes"),
        ("complete", "vertexs", "--yes"),
    ):
        assert owner(*verb).code == 0
    over = owner("watch", "--once", "--json")

    assert events(moved) == [("changed", "vertexs")]
    assert of_ends(moved)["vertexs"]["occasion"] == "2027-02-01 within 90"
    assert ("changed", "vertexs") in events(nearer)
    assert of_ends(nearer)["vertexs"]["severity"] == "error"
    assert events(over) == [("resolved", "vertexs")]
    assert events(owner("watch", "--once", "--json")) == []


def test_a_silence_keeps_an_alert_untold_until_it_ends_and_is_no_reason_to_fail(
    late: Undrift, today: Callable[[str], None]
) -> None:
    silence = late("alert", "silence", "sunset/*", "--for", "2h", "--reason", "we have a plan", "--json")
    silent = late("watch", "--once", "--json")
    listed = late("alert", "list")

    assert missing_keys("alert silence", silence.json) == []
    assert (silent.code, events(silent)) == (0, [])
    assert "firing, silenced" in listed.out
    assert "we have a plan" in listed.out
    today("2026-11-24")
    assert events(late("watch", "--once", "--json")) == [("firing", "geminis")]


def test_a_silence_can_be_ended_once(undrift: Undrift) -> None:
    undrift("alert", "silence", "sunset/*", "--for", "2h", "--reason", "x")

    assert missing_keys("alert unsilence", undrift("alert", "unsilence", "sunset/*", "--json").json) == []
    refused = undrift("alert", "unsilence", "sunset/*")
    assert refused.code == 2
    assert "there is no silence of sunset/*" in refused.err


def test_an_alert_that_somebody_takes_on_fails_no_job_until_it_is_about_another_day(
    late: Undrift, tmp_path: Path
) -> None:
    key = "sunset/geminis/gemini-api/text-embedding-004"
    assert late("alert", "list").out == "there is no alert\n"
    assert late("watch", "--once", "--fail-on", "never").code == 0
    assert missing_keys("alert list", late("alert", "list", "--json").json) == []
    taken = late("alert", "ack", key, "--who", "ada", "--json")

    assert missing_keys("alert ack", taken.json) == []
    assert late("watch", "--once").code == 0
    shown = late("alert", "show", key, "--json")
    assert missing_keys("alert show", shown.json) == []
    assert shown.json["acknowledged_by"] == "ada"
    assert shown.json["told"]["log"]["event"] == "acknowledged"
    assert "taken on by  ada" in late("alert", "show", key).out
    assert late("alert", "show", "sunset/none").code == 2

    learn(late, tmp_path, "gemini-api,text-embedding-004,,shutdown,2026-01-13,exact,a notice,2026-11-23,high")
    assert late("watch", "--once").code == 3


def test_a_check_that_does_not_exist_is_refused(undrift: Undrift) -> None:
    refused = undrift("watch", "--once", "moon")

    assert refused.code == 2
    assert "sunset" in refused.err


@pytest.mark.parametrize("check", [check.name for check in CHECKS] + [STALE, RECEIVER])
def test_every_check_has_a_runbook_a_table_and_a_line_in_the_how_to(check: str) -> None:
    docs = METRICS.parents[1]
    runbooks = (docs / "operations" / "alerts.md").read_text()
    how_to = (docs / "how-to" / "watch.md").read_text()

    assert f"\n## {check}\n" in runbooks
    assert f"`{check}`" in how_to


def test_rules_and_dashboard_use_metrics_and_runbooks_that_exist() -> None:
    import re

    known = {metric.name: metric for metric in documented()}
    docs = METRICS.parents[1]
    anchors = re.findall(r"^## (\S+)$", (docs / "operations" / "alerts.md").read_text(), re.MULTILINE)
    rules, dashboard = RULES.read_text(), json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    used = re.findall(r"undrift_[a-z_]+", "\n".join([rules, *queries]))
    linked = re.findall(r"alerts\.md#([a-z{][^']*)'", rules)

    assert set(used) <= set(known)
    assert len(linked) == rules.count("- alert:")
    assert {anchor for anchor in linked if not anchor.startswith("{{")} <= set(anchors)
    for query in [*queries, *re.findall(r"expr: (.*)", rules)]:
        for name, labels in re.findall(r"(undrift_[a-z_]+)\{([^}]*)\}", query):
            assert set(re.findall(r"(\w+)[=!]", labels)) <= set(known[name].labels), query


def test_where_the_rules_are_is_shown(undrift: Undrift) -> None:
    assert undrift("watch", "--print-rules", "--json").json == {"rules": str(RULES), "dashboard": str(DASHBOARD)}
