"""The verbs about models and aliases."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.running import Undrift
from tests.unit.cli.shapes import missing_keys


def test_a_model_is_added_to_the_configuration_with_its_comments_kept(undrift: Undrift, tmp_path: Path) -> None:
    file = tmp_path / "undrift.toml"
    file.write_text("# mine\n" + file.read_text())

    added = undrift(
        "model", "add", "third", "--provider", "hashing", "--dimensions", "64", "--option", "seed=x", "--json"
    )

    assert added.code == 0
    assert missing_keys("model add", added.json) == []
    assert added.json["dimensions"] == 64
    assert file.read_text().startswith("# mine\n")
    assert undrift("model", "show", "third", "--json").json == added.json
    assert [model["name"] for model in undrift("model", "list", "--json").json] == ["new", "old", "third"]


@pytest.mark.parametrize(
    ("words", "kind", "message"),
    [
        (["old", "--provider", "hashing"], "BadConfig", "has [models.old] already"),
        (["x", "--provider", "nobody"], "UnknownAdapter", "no provider called 'nobody'"),
        (["x", "--provider", "hashing", "--option", "colour=red"], "BadConfig", "unknown key colour"),
        (["x", "--provider", "hashing", "--option", "dimensions=many"], "BadConfig", "model x cannot be set up"),
        (["x", "--provider", "hashing", "--dimensions", "8", "--option", "dimensions=9"], "BadArgument", "given twice"),
        (
            ["x", "--provider", "openai", "--name", "y", "--option", "api_key=sk-9f3a"],
            "BadConfig",
            "a key in the configuration",
        ),
        (
            ["x", "--provider", "callable", "--function", "no_such:f", "--dimensions", "4"],
            "BadConfig",
            "cannot be imported",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_model_that_cannot_be_is_not_added(
    undrift: Undrift, tmp_path: Path, words: list[str], kind: str, message: str
) -> None:
    before = (tmp_path / "undrift.toml").read_bytes()

    refused = undrift("model", "add", *words, "--json")

    assert refused.code == 2
    assert message in refused.error["message"]
    assert refused.error["kind"] == kind
    assert "sk-9f3a" not in refused.err
    assert (tmp_path / "undrift.toml").read_bytes() == before


def test_options_are_read_as_the_configuration_reads_them(undrift: Undrift) -> None:
    added = undrift(
        "model",
        "add",
        "x",
        "--provider",
        "hashing",
        "--option",
        "dimensions=16",
        "--option",
        "seed=2024-01-01",
        "--json",
    )

    assert added.json["dimensions"] == 16
    assert added.json["revision"] == "1-2024-01-01"


def test_an_unknown_model_is_told_with_those_there_are(undrift: Undrift) -> None:
    error = undrift("model", "show", "other", "--json").error

    assert (error["kind"], error["detail"]) == ("UnknownModel", "configured are: new, old")


def test_a_model_is_shown_with_what_it_serves(filled: Undrift) -> None:
    shown = filled("model", "show", "old", "--json")

    assert missing_keys("model show", shown.json) == []
    assert shown.json["serves"] == ["kb"]
    assert "serves      kb" in filled("model", "show", "old").out
    listed = filled("model", "list")
    assert listed.out.splitlines()[0].split() == ["MODEL", "PROVIDER", "OPTIONS"]
    assert missing_keys("model list", filled("model", "list", "--json").json) == []


def test_an_alias_is_created_once(undrift: Undrift) -> None:
    words = (
        "alias",
        "create",
        "notes",
        "--store",
        "main",
        "--model",
        "new",
        "--collection",
        "first",
        "--mirror",
        "inline",
    )
    made, again = undrift(*words, "--json"), undrift(*words, "--json")

    assert made.code == 0
    assert missing_keys("alias create", made.json) == []
    assert (made.json["mirror"], made.json["serving"]["collection"], made.json["serving"]["model"]) == (
        "inline",
        "first",
        "new",
    )
    assert again.code == 2
    assert again.error["kind"] == "AlreadyExists"


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["notes", "--store", "other", "--model", "new"], "BadConfig"),
        (["notes", "--store", "main", "--model", "other"], "UnknownModel"),
    ],
)
def test_an_alias_of_unknown_parts_is_not_created(undrift: Undrift, words: list[str], kind: str) -> None:
    refused = undrift("alias", "create", *words, "--json")

    assert (refused.code, refused.error["kind"]) == (2, kind)
    assert [alias["alias"] for alias in undrift("alias", "list", "--json").json] == ["kb"]


def test_an_alias_that_was_never_used_is_listed(undrift: Undrift) -> None:
    listed = undrift("alias", "list", "--json").json

    assert missing_keys("alias list", listed) == []
    assert (listed[0]["alias"], listed[0]["epoch"]) == ("kb", None)
    assert "not used yet" in undrift("alias", "list").out
    assert undrift("alias", "show", "kb", "--json").error["hint"] == "undrift put kb FILE.jsonl"


def test_an_alias_is_shown_with_both_fields_during_a_migration(ready: Undrift) -> None:
    shown = ready("alias", "show", "kb", "--json").json

    assert missing_keys("alias show", shown) == []
    assert (shown["serving"]["model"], shown["follower"]["model"], shown["mode"]) == ("old", "new", "journal")
    assert shown["clients"] == []
    assert "migrating to new" in ready("alias", "list").out
    assert ready("alias", "show", "kb").out.splitlines()[0] == "kb"


def test_an_unknown_alias_is_told(undrift: Undrift) -> None:
    error = undrift("alias", "show", "other", "--json").error

    assert (error["kind"], error["hint"]) == ("UnknownAlias", "undrift alias create other")
