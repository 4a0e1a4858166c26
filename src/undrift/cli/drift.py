"""The verb `drift`: one look at everything about an alias that drifts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from undrift.cli.layout import columns, paragraphs, steps
from undrift.cli.session import Session, Verb, pass_session

_LOOKS = click.Choice(["documents", "queries", "retrieval", "foreign"])
#: The exit code where something has changed: refused, as of a gate that failed.
_DRIFTED = 3
_REFERENCES = click.Choice(["documents", "queries", "retrieval"])


@click.command(cls=Verb)
@click.argument("alias")
@click.option("--only", type=_LOOKS, multiple=True, help="Only this look; may be given several times.")
@click.option(
    "--accept",
    type=_REFERENCES,
    multiple=True,
    help="Take what is there now as the reference, because the change is wanted; may be given several times.",
)
@pass_session
def drift(session: Session, alias: str, only: tuple[str, ...], accept: tuple[str, ...]) -> int | None:
    """Look once at what drifts, and for foreign vectors.

    Are documents and queries about something else, and have the answers to golden queries changed? It ends with 3
    where something has. No alert comes of it: `undrift watch` looks again and again, and tells.
    """
    with session.plane() as plane:
        value = plane.drift(alias, only=only, accept=accept)
    session.answer(value, paragraphs(_table(value), _details(value), steps(value["next_steps"])))
    return _DRIFTED if value["verdict"] == "bad" else None


def _table(value: Mapping[str, Any]) -> str:
    rows = [(one["check"], one["subject"], one["state"], one["words"]) for one in value["findings"]]
    return columns([("LOOK", "SUBJECT", "STATE", ""), *rows]) if rows else "there is nothing to look at"


def _details(value: Mapping[str, Any]) -> str:
    bad = [one for one in value["findings"] if one["state"] == "bad" and one["detail"]]
    return "\n".join(f"{one['check']}: {line}" for one in bad for line in one["detail"].splitlines())
