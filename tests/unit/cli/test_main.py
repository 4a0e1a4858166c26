"""How the command is called, and how it ends."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.unit.cli.running import Undrift, plane_of
from undrift import __version__, errors
from undrift.cli.main import SECTIONS, root
from undrift.control import ControlPlane
from undrift.domain.route import AliasName

VERBS = [
    *(
        "init",
        "doctor",
        "demo",
        "model",
        "alias",
        "put",
        "get",
        "delete",
        "search",
        "export",
        "plan",
        "start",
        "worker",
    ),
    *(
        "status",
        "pause",
        "resume",
        "tune",
        "panic",
        "postpone",
        "unpostpone",
        "verify",
        "reconcile",
        "adopt",
        "cutover",
        "rollback",
        "complete",
    ),
    *("cancel", "selftest", "golden", "watch", "drift", "probe", "alert", "catalogue", "serve"),
]


def test_every_verb_has_its_place_in_the_help_and_there_are_no_others(run: Undrift) -> None:
    help = run("--help")

    listed = [verb.name for _, verbs in SECTIONS for verb in verbs]
    assert sorted(listed) == sorted(VERBS) == sorted(root.commands)
    assert help.code == 0
    assert all(f"  {verb} " in help.out for verb in VERBS)
    assert not help.err


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("verb", [[], ["model"], ["search"], ["golden", "run"]], ids=" ".join)
def test_help_is_a_result(run: Undrift, verb: list[str], flag: str) -> None:
    help = run(*verb, flag)

    assert (help.code, help.err) == (0, "")
    assert help.out.startswith(f"Usage: {' '.join(['undrift', *verb])}")


def all_commands(command: click.Command, path: str = "undrift") -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, verb in command.commands.items():
            yield from all_commands(verb, f"{path} {name}")


@pytest.mark.parametrize(
    ("path", "command"), list(all_commands(root)), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_verb_and_every_option_is_explained(path: str, command: click.Command) -> None:
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]

    assert command.help, path
    assert [option.opts for option in options if not option.help] == []
    assert {"config", "as_json", "debug"} <= {option.name for option in options}
    assert command is root or not command.get_short_help_str(64).endswith("..."), "cut off in the list of verbs"


def test_the_version_is_told(run: Undrift) -> None:
    assert run("--version").out == f"undrift {__version__}\n"
    assert run("--version", "--json").json == {"version": __version__}


@pytest.mark.parametrize("words", [[], ["model"], ["golden"]], ids=" ".join)
def test_without_a_verb_the_help_is_shown_and_nothing_was_done(run: Undrift, words: list[str]) -> None:
    outcome = run(*words)

    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("Usage: undrift")
    assert run("--json", *words).error["message"] == "a verb is missing"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["serch"], "no such command 'serch'"),
        (["search", "kb"], "missing argument 'TEXT'"),
        (["search", "kb", "x", "--bogus"], "no such option '--bogus'"),
        (["search", "kb", "x", "-k", "0"], "invalid value for '-k': 0 is not in the range x>=1"),
        (["search", "kb", "x", "-k", "many"], "invalid value for '-k': 'many' is not a valid integer"),
        (["golden", "run", "set", "kb", "-k", "0"], "invalid value for '-k': 0 is not in the range x>=1"),
        (["start", "kb"], "where kb is to migrate to is not said"),
        (["tune", "kb", "budget_usd"], "'budget_usd' is not of the form KEY=VALUE"),
        (["cutover", "kb", "--freeze-writes", "soon"], "'soon' is not a length of time such as 2s or 500ms"),
        (["cutover", "kb", "--freeze-writes", "0s"], "'0s' is not a length of time such as 2s or 500ms"),
        (["start", "kb", "--to", "new", "--budget-usd", "nan"], "'nan' is not a number above 0"),
        (["start", "kb", "--to", "new", "--budget-usd", "-1"], "'-1' is not a number above 0"),
        (["export", "kb", "--field", "other"], "'other' is not one of 'serving', 'follower'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_call_is_told_like_every_other_error(run: Undrift, words: list[str], message: str) -> None:
    told, as_json = run(*words), run(*words, "--json")

    assert (told.code, told.out) == (2, "")
    assert message in told.err.splitlines()[0]
    assert told.err.splitlines()[0][0].islower() or told.err[0] == "'"
    assert told.err.splitlines()[-1].startswith("Hint: undrift ")
    assert as_json.code == 2
    assert as_json.error["kind"] == "BadArgument"
    assert message in as_json.error["message"]


@pytest.mark.parametrize(
    "words",
    [
        ["--config", "other.toml", "alias", "list"],
        ["alias", "--config", "other.toml", "list"],
        ["alias", "list", "--config", "other.toml"],
    ],
    ids=["before", "between", "after"],
)
def test_the_configuration_may_be_named_anywhere(undrift: Undrift, tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "undrift.toml").rename(tmp_path / "other.toml")

    assert undrift("alias", "list").code == 2
    assert "kb" in undrift(*words).out


def test_the_configuration_of_the_environment_is_taken_unless_one_is_named(
    undrift: Undrift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "undrift.toml").rename(tmp_path / "other.toml")
    monkeypatch.setenv("UNDRIFT_CONFIG", "other.toml")

    assert undrift("alias", "list").code == 0
    assert "missing.toml" in undrift("alias", "list", "--config", "missing.toml").err


@pytest.mark.parametrize(
    "words", [["--json", "model", "list"], ["model", "--json", "list"], ["model", "list", "--json"]]
)
def test_json_may_be_asked_for_anywhere(undrift: Undrift, words: list[str]) -> None:
    assert [model["name"] for model in undrift(*words).json] == ["new", "old"]


def test_a_missing_configuration_says_how_to_get_one(run: Undrift) -> None:
    told = run("status")

    assert (told.code, told.out) == (2, "")
    assert told.err == "there is no configuration undrift.toml\nHint: undrift init\n"


def test_an_unknown_key_of_the_configuration_is_named(undrift: Undrift, tmp_path: Path) -> None:
    with (tmp_path / "undrift.toml").open("a") as file:
        file.write('[surprise]\nkey = "value"\n')

    error = undrift("status", "--json").error
    assert (error["kind"], error["detail"]) == ("BadConfig", "surprise: unknown key")


def test_a_broken_configuration_is_told_with_its_place(undrift: Undrift, tmp_path: Path) -> None:
    (tmp_path / "undrift.toml").write_text("ledger = \n")

    error = undrift("status", "--json").error
    assert error["kind"] == "BadConfig"
    assert "line 1" in error["detail"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UnknownModel("no model x", "known is y", "undrift model list"), 2),
        (errors.GateFailed("2 gates do not hold", "one\ntwo", "undrift verify kb"), 3),
        (errors.StoreUnavailable("store main did not answer"), 4),
        (errors.StaleRoute("another process was first"), 5),
    ],
    ids=lambda value: value.kind if isinstance(value, errors.UndriftError) else "",
)
def test_every_branch_of_errors_has_its_exit_code_and_both_forms(
    undrift: Undrift, monkeypatch: pytest.MonkeyPatch, error: errors.UndriftError, code: int
) -> None:
    def fail(_self):
        raise error

    monkeypatch.setattr(ControlPlane, "models", fail)

    told, as_json = undrift("model", "list"), undrift("model", "list", "--json")
    assert (told.code, told.out, told.err) == (code, "", f"{error}\n")
    assert as_json.code == code
    assert as_json.error == {
        "kind": error.kind,
        "message": error.message,
        "detail": error.detail,
        "hint": error.hint,
    }


def test_a_defect_is_told_in_one_line_and_explained_on_demand(
    undrift: Undrift, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_self):
        raise KeyError("surprise")

    monkeypatch.setattr(ControlPlane, "models", fail)

    told, explained = undrift("model", "list"), undrift("--debug", "model", "list")
    assert told.code == explained.code == 1
    assert "KeyError: 'surprise'" in told.err
    assert "--debug" in told.err
    assert "Traceback" not in told.err
    assert "Traceback" in explained.err
    assert undrift("model", "list", "--json").error["kind"] == "KeyError"


def test_debug_shows_where_an_error_came_from(run: Undrift) -> None:
    assert "Traceback" not in run("status").err
    assert "FileNotFoundError" in run("status", "--debug").err


def test_an_interrupt_is_one_line(undrift: Undrift, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_self):
        raise KeyboardInterrupt

    monkeypatch.setattr(ControlPlane, "models", fail)

    told = undrift("model", "list")
    assert (told.code, told.out) == (130, "")
    assert told.err.strip() == "interrupted; what is done is kept, and the same command goes on from there"
    assert json.loads(undrift("model", "list", "--json").err)["error"]["kind"] == "Interrupted"


def test_a_termination_unwinds_and_ends_the_lease(filled: Undrift, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    close = ControlPlane.close

    def terminate(self):
        self.alias("kb")
        signal.raise_signal(signal.SIGTERM)

    def watched(self):
        closed.append(len(self.ledger.clients("kb")))
        close(self)
        closed.append(len(self.ledger.clients("kb")))

    monkeypatch.setattr(ControlPlane, "models", terminate)
    monkeypatch.setattr(ControlPlane, "close", watched)
    before = signal.getsignal(signal.SIGTERM)

    assert filled("model", "list").code == 143
    assert closed == [1, 0]
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_lease_is_ended_after_an_error_too(filled: Undrift, tmp_path: Path) -> None:
    assert filled("export", "kb", "--field", "follower").code == 2

    with plane_of(tmp_path) as plane:
        assert plane.ledger.clients(AliasName("kb")) == []
