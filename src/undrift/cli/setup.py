"""The verbs before there is anything: `init`, `doctor`, `demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from undrift.cli.layout import columns, duration, number, paragraphs, steps
from undrift.cli.render import Reading
from undrift.cli.session import Session, Verb, pass_session
from undrift.errors import AlreadyExists, BadConfig

#: What the exit code says when something was looked at and is not as it should be; the same as of a closed gate.
REFUSED = 3

#: The counts of the demo's table, by their key: those that must be 0 come last.
_DEMO_COUNTS = {
    "documents": "documents in the end",
    "searches": "searches served",
    "writes": "writes",
    "deletes": "deletes",
    "kills": "workers killed",
    "tokens": "tokens",
    "failed_searches": "searches failed",
    "wrong_space_answers": "answers of a wrong space",
    "lost": "documents lost",
    "resurrected": "documents resurrected",
    "stale": "documents stale",
    "mixed": "documents mixed",
}


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


@click.command(cls=Verb)
@click.option(
    "--corpus",
    type=click.Path(path_type=Path),
    metavar="FILE.jsonl",
    help="Documents of your own; by default the documentation of Python's standard library.",
)
@click.option(
    "--keep", type=click.Path(path_type=Path), metavar="DIR", help="Work in this folder, and leave it behind."
)
@pass_session
def demo(session: Session, corpus: Path | None, keep: Path | None) -> None:
    """Migrate a real collection under live traffic, and show it.

    Needs no network: documents, questions and both models are on this machine. A worker is killed in the middle, and an
    independent check counts what was lost or is wrong in the end.
    """
    from undrift.demo.run import run_demo

    screen = session.screen
    with screen.meter() as meter:

        def progress(label: str, done: int, total: int) -> None:
            meter.show(Reading(label=label, done=done, total=total or None))

        result = run_demo(corpus=corpus, keep=keep, report=screen.note, progress=progress)
    session.answer(result, demo_table(result))


def demo_table(result: dict[str, Any]) -> str:
    """Describe what happened in the demo."""
    quality = result["ndcg_at_10"]
    rows = [(label, number(result[key])) for key, label in _DEMO_COUNTS.items()]
    if quality.get("before") is not None and quality.get("after") is not None:
        rows.append(("nDCG@10 before → after", f"{quality['before']:.3f} → {quality['after']:.3f}"))
    rows.append(("time", duration(result["seconds"])))
    return columns(rows, right=frozenset({1}))
