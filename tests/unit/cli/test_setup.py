"""`init`, `doctor` and `demo`."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.unit.cli.running import Undrift
from tests.unit.cli.shapes import missing_keys
from undrift.config import load


def test_what_init_writes_is_a_configuration_that_works_offline(run: Undrift, tmp_path: Path) -> None:
    pytest.importorskip("sqlite_vec")
    pytest.importorskip("wordllama")
    made = run("init")

    assert (made.code, made.err) == (0, "")
    settings = load(tmp_path / "undrift.toml").settings
    assert settings.aliases["kb"].model == "old"
    assert set(settings.models) == {"old", "new"}
    checks = run("doctor", "--json").json
    assert checks["verdict"] == "ok"
    assert missing_keys("doctor", checks) == []


def test_init_tells_what_to_do_next(run: Undrift) -> None:
    value = run("init", "--json").json

    assert missing_keys("init", value) == []
    assert value["config"] == "undrift.toml"


def test_the_comments_of_the_configuration_are_settings_too(run: Undrift, tmp_path: Path) -> None:
    """Somebody takes the # away and expects it to work."""
    run("init")
    text = (tmp_path / "undrift.toml").read_text()
    lines = [
        line.removeprefix("# ") if line.startswith(("# [", "# provider", "# name", "# dim")) else line
        for line in text.splitlines()
    ]

    models = tomllib.loads("\n".join(lines))["models"]

    assert {models[name]["provider"] for name in ("ada", "small")} == {"openai"}


def test_init_leaves_a_configuration_alone(run: Undrift, tmp_path: Path) -> None:
    (tmp_path / "undrift.toml").write_text("mine")

    refused = run("init", "--json")

    assert refused.code == 2
    assert refused.error["kind"] == "AlreadyExists"
    assert (tmp_path / "undrift.toml").read_text() == "mine"


def test_init_writes_where_it_is_told(run: Undrift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("init", "--config", "named.toml").code == 0
    monkeypatch.setenv("UNDRIFT_CONFIG", "from-environment.toml")
    assert run("init").code == 0

    assert sorted(path.name for path in tmp_path.iterdir()) == ["from-environment.toml", "named.toml"]


def test_init_into_a_folder_that_is_not_there_is_told(run: Undrift) -> None:
    refused = run("init", "--config", "nowhere/undrift.toml", "--json")

    assert (refused.code, refused.error["kind"]) == (2, "BadConfig")


def test_doctor_finds_what_is_wrong_and_exits_with_3(undrift: Undrift, tmp_path: Path) -> None:
    text = (tmp_path / "undrift.toml").read_text()
    (tmp_path / "undrift.toml").write_text(
        text + '[models.lost]\nprovider = "callable"\nfunction = "no_such_module:f"\nname = "lost"\ndimensions = 4\n'
    )

    told, value = undrift("doctor"), undrift("doctor", "--json")

    assert told.code == value.code == 3
    assert value.json["verdict"] == "bad"
    assert [check["check"] for check in value.json["checks"] if check["verdict"] == "bad"] == ["model lost"]
    assert "BAD  model lost" in told.out
    assert "ok   ledger" in told.out


RESULT = {
    "documents": 6400,
    "searches": 2000,
    "failed_searches": 0,
    "writes": 300,
    "deletes": 1,
    "kills": 1,
    "lost": 0,
    "resurrected": 0,
    "stale": 0,
    "mixed": 0,
    "wrong_space_answers": 0,
    "ndcg_at_10": {"before": 0.0933, "after": 0.2511},
    "tokens": 528105,
    "seconds": 71.2,
}


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], list[dict[str, Any]]]:
    """Put a short play in the place of the demo."""

    def play(result: dict[str, Any]) -> list[dict[str, Any]]:
        asked: list[dict[str, Any]] = []

        def run_demo(*, corpus: Path | None, keep: Path | None, report: Any, progress: Any) -> dict[str, Any]:
            asked.append({"corpus": corpus, "keep": keep})
            report("the curtain rises")
            progress("load", 64, 6400)
            return result

        module = ModuleType("undrift.demo.run")
        module.run_demo = run_demo  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "undrift.demo.run", module)
        return asked

    return play


def test_the_demo_ends_with_its_counts(run: Undrift, played: Any) -> None:
    asked = played(RESULT)
    told, value = run("demo"), run("demo", "--json", "--corpus", "mine.jsonl", "--keep", "here")

    assert told.code == value.code == 0
    assert "the curtain rises" in told.err
    assert "2,000 served, 0 failed, 0 answered in a wrong space" in told.out
    assert "0.093 before, 0.251 after" in told.out
    assert value.json == RESULT
    assert missing_keys("demo", value.json) == []
    assert asked == [{"corpus": None, "keep": None}, {"corpus": Path("mine.jsonl"), "keep": Path("here")}]


@pytest.mark.parametrize("fault", ["failed_searches", "lost", "resurrected", "stale", "mixed", "wrong_space_answers"])
def test_a_demo_that_finds_a_fault_exits_with_3(run: Undrift, played: Any, fault: str) -> None:
    played({**RESULT, fault: 2, "examples": {fault: ["d1", "d2"]}})

    told = run("demo")

    assert told.code == 3
    assert "2" in told.out


def test_a_demo_names_the_documents_it_lost_and_leaves_out_what_was_not_measured(run: Undrift, played: Any) -> None:
    played({**RESULT, "lost": 2, "examples": {"lost": ["d1", "d2"]}, "ndcg_at_10": {"before": None, "after": None}})

    told = run("demo")

    assert "such as d1, d2" in told.out
    assert "nDCG" not in told.out
