"""The verbs about golden queries: what a search is worth, measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from undrift.cli.layout import columns, number, paragraphs, steps
from undrift.cli.render import Reading
from undrift.cli.session import Session, Verbs, pass_session
from undrift.domain.wording import plural


@click.group(cls=Verbs)
def golden() -> None:
    """Queries with known answers."""


@golden.command("import")
@click.argument("name")
@click.option(
    "--queries", type=click.Path(path_type=Path), required=True, metavar="FILE", help='JSON Lines of {"id", "text"}.'
)
@click.option(
    "--judgements",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="A TREC or tab-separated qrels file.",
)
@pass_session
def import_golden(session: Session, name: str, queries: Path, judgements: Path) -> None:
    """Keep a golden set in the ledger; one of that name is replaced."""
    with session.plane() as plane:
        value = plane.import_golden(name, queries, judgements)
    text = f"kept golden set {name} with {plural(value['queries'], 'query', 'queries')}"
    session.answer(value, paragraphs(text, steps(value["next_steps"])))


@golden.command("list")
@pass_session
def list_golden(session: Session) -> None:
    """List the golden sets."""
    with session.plane() as plane:
        sets = plane.golden_sets()
    rows = [(one["set"], number(one["queries"])) for one in sets]
    text = columns([("SET", "QUERIES"), *rows], right=frozenset({1})) if rows else "there is no golden set"
    session.answer(sets, text)


@golden.command("run")
@click.argument("name")
@click.argument("alias")
@click.option(
    "-k", type=click.IntRange(min=1), default=10, show_default=True, help="How many hits of each query count."
)
@click.option(
    "--field",
    type=click.Choice(["serving", "follower"]),
    default="serving",
    show_default=True,
    help="The field that is searched: the one that serves, or the one that a migration fills.",
)
@pass_session
def run_golden(session: Session, name: str, alias: str, k: int, field: str) -> None:
    """Search for every query of a golden set, and measure the answers."""
    with session.plane() as plane, session.screen.meter() as meter:

        def progress(done: int, total: int) -> None:
            meter.show(Reading(label=f"{name}: searching {alias}", done=done, total=total))

        value = plane.run_golden(name, alias, k=k, field=field, on_progress=progress)
    session.answer(value, _measures(value, alias, field))


def _measures(value: Mapping[str, Any], alias: str, field: str) -> str:
    names = {"ndcg": "nDCG", "recall": "recall", "mrr": "MRR"}
    rows = [("", "MEAN", "95 % INTERVAL")]
    for key, title in names.items():
        measure = f"{key}_at_{value['k']}"
        low, high = value["ci95"][measure]
        rows.append((f"{title}@{value['k']}", f"{value[measure]:.4f}", f"{low:.4f} to {high:.4f}"))
    unjudged = f" ({value['unjudged']} without a relevant document left out)" if value.get("unjudged") else ""
    head = f"{value['set']} on {alias}, {field} field, space {value['space']}"
    return f"{head}\n{plural(value['queries'], 'query', 'queries')}{unjudged}\n\n{columns(rows)}"
