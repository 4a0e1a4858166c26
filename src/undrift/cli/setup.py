"""The verbs before there is anything: `init` and `doctor`."""

from __future__ import annotations

import click

from undrift.cli.layout import columns, paragraphs, steps
from undrift.cli.session import Session, Verb, pass_session
from undrift.errors import AlreadyExists, BadConfig

#: What the exit code says when something was looked at and is not as it should be; the same as of a closed gate.
REFUSED = 3


@click.command(cls=Verb)
@pass_session
def init(session: Session) -> None:
    """Write a commented undrift.toml that works as it stands.

    One that is there already is left alone.
    """
    from importlib.resources import files

    from undrift.config import file_named

    path = file_named(session.config)
    text = files("undrift.cli").joinpath("starter.toml").read_text(encoding="utf-8")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        hint = f"change it, or write another: undrift init --config OTHER{path.suffix}"
        raise AlreadyExists(f"there is a configuration {path} already; it is left as it is", hint=hint) from error
    except OSError as error:
        raise BadConfig(
            f"configuration {path} cannot be written", str(error), f"ls -ld {path.absolute().parent}"
        ) from error
    following = ["undrift doctor", "undrift put kb FILE.jsonl", "undrift search kb TEXT", "undrift plan kb --to new"]
    session.answer({"config": str(path), "next_steps": following}, paragraphs(f"wrote {path}", steps(following)))


@click.command(cls=Verb)
@click.pass_context
@pass_session
def doctor(session: Session, context: click.Context) -> None:
    """Look whether everything is as it should be.

    That is the machine, the ledger, the stores, the models and the aliases; nothing is changed.

    Exits with 3 when something is not as it should be.
    """
    with session.plane() as plane:
        checks = plane.doctor()
    bad = [check for check in checks if check["verdict"] != "ok"]
    hints = list(dict.fromkeys(check["hint"] for check in bad if check["hint"]))
    value = {"verdict": "bad" if bad else "ok", "checks": checks, "next_steps": hints}
    rows = [("ok" if check["verdict"] == "ok" else "BAD", check["check"], _finding(check)) for check in checks]
    session.answer(value, columns(rows))
    if bad:
        context.exit(REFUSED)


def _finding(check: dict[str, str]) -> str:
    hint = f" → {check['hint']}" if check["hint"] and check["verdict"] != "ok" else ""
    return check["detail"].replace("\n", " · ") + hint
