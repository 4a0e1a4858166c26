"""The verbs about fine-tuned models: model record, lineage, trace, promote, retire; golden compare."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from undrift.cli import lineage_page, lineage_picture
from undrift.cli.adopting import with_budgets
from undrift.cli.layout import paragraphs, steps
from undrift.cli.render import Reading
from undrift.cli.session import Session, Verb, pass_session
from undrift.cli.setup import REFUSED
from undrift.errors import BadArgument

_ABOUT_TRAINING = (
    click.option("--base", default="", metavar="TEXT", help="The public model that the first training began with."),
    click.option("--parent", default="", metavar="MODEL", help="The checkpoint that this training began with."),
    click.option(
        "--data",
        multiple=True,
        metavar="PATH",
        help="Training data: files and folders, of which a fingerprint is kept; or that fingerprint.",
    ),
    click.option("--recipe", default="", metavar="TEXT", help="How it was trained."),
    click.option("--code", default="", metavar="REVISION", help="Revision of the code that trained it."),
    click.option("--author", default="", metavar="NAME", help="Who says so; you by default."),
)


def about_training(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let a verb be told how a model was trained."""
    for option in reversed(_ABOUT_TRAINING):
        command = option(command)
    return command


@click.command("record", cls=Verb)
@click.argument("name")
@about_training
@click.option("--reason", default="", metavar="WHY", help="Why it was trained.")
@pass_session
def record(session: Session, /, name: str, **said: Any) -> None:
    """Record where a configured model comes from.

    What was recorded before stays in its history; what is left out stays as it was.
    """
    from undrift.control.ancestry import Training

    with session.plane() as plane:
        value = plane.record_checkpoint(name, Training(**said))
    session.answer(value, f"recorded {name}\n{lineage_page.checkpoint(value)}")


@click.command("lineage", cls=Verb)
@click.argument("name", required=False)
@click.option("--history", is_flag=True, help="Every entry, in the order in which they were made.")
@click.option(
    "--picture",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw it into a file: .svg, .dot (Graphviz) or .mmd (Mermaid).",
)
@pass_session
def lineage(session: Session, name: str | None, *, history: bool, picture: Path | None) -> None:
    """Show where fine-tuned models come from.

    Of one model: everything that it was trained from, and that was trained from it.
    """
    with session.plane() as plane:
        value = plane.lineage(name)
    if picture is not None:
        text = lineage_picture.drawn(value["models"], picture.suffix)
        try:
            picture.write_text(text, encoding="utf-8")
        except OSError as error:
            raise BadArgument(f"{picture} cannot be written", str(error)) from error
        session.screen.note(f"drew {picture}")
    session.answer(value, lineage_page.history(value["history"]) if history else lineage_page.tree(value["models"]))


@click.command("trace", cls=Verb)
@click.argument("alias")
@click.argument("id")
@pass_session
def trace(session: Session, alias: str, id: str) -> None:
    """Show which checkpoint made the vectors of a document."""
    with session.plane() as plane:
        value = plane.trace(alias, id)
    session.answer(value, lineage_page.trace(value))


@click.command("promote", cls=Verb)
@click.argument("name")
@click.option("--alias", required=True, metavar="ALIAS", help="The alias that it is to serve.")
@click.option("--reason", required=True, metavar="WHY", help="Why; it is kept with your name.")
@click.option(
    "--margin",
    type=click.FloatRange(min=0, max=1, max_open=True),
    default=0.0,
    metavar="N",
    help="So much worse it may be, in nDCG; by default it has to be shown to be better.",
)
@click.option("--author", default="", metavar="NAME", help="Who promotes it; you by default.")
@click.option("--dry-run", is_flag=True, help="Show the gates; change nothing. Exits with 3 if it is refused.")
@with_budgets
@click.pass_context
@pass_session
def promote(
    session: Session, context: click.Context, /, name: str, *, alias: str, dry_run: bool, no_budget: bool, **chosen: Any
) -> None:
    """Open the migration to a model, when every gate holds.

    The model must be recorded, proven, and compared with the one that serves.
    """
    with session.plane() as plane:
        value = plane.promote_model(
            name, alias, dry_run=dry_run, unlimited=no_budget, on_warning=session.screen.note, **chosen
        )
    session.answer(value, lineage_page.promotion(value))
    if dry_run and not value["allowed"]:
        context.exit(REFUSED)


@click.command("retire", cls=Verb)
@click.argument("name")
@click.option("--reason", required=True, metavar="WHY", help="Why; it is kept with your name.")
@pass_session
def retire(session: Session, name: str, *, reason: str) -> None:
    """Take a model that nothing uses out of the configuration.

    Refused while an alias has vectors of it.
    """
    with session.plane() as plane:
        value = plane.retire_model(name, reason=reason)
    left = f"; still in the configuration, named by {', '.join(value['still_named_by'])}"
    session.answer(value, f"retired model {name}{left if value['still_named_by'] else ''}")


@click.command("compare", cls=Verb)
@click.argument("name")
@click.argument("alias")
@click.option("--model", required=True, metavar="MODEL", help="The model that is to be judged.")
@click.option(
    "-k", type=click.IntRange(min=1), default=10, show_default=True, help="How many hits of each query count."
)
@click.option(
    "--documents",
    type=click.IntRange(min=1),
    default=20_000,
    show_default=True,
    help="Most documents to embed: those that are judged, and a random choice.",
)
@with_budgets
@pass_session
def compare(session: Session, /, name: str, alias: str, *, model: str, no_budget: bool, **chosen: Any) -> None:
    """Compare a model with the one that serves, before any migration.

    The same queries and the same documents, searched exactly, in memory. The result is kept for `model promote`.
    """
    with session.plane() as plane, session.screen.meter() as meter:

        def progress(done: int, total: int) -> None:
            meter.show(Reading(label=f"{name}: embedding documents of {alias} with {model}", done=done, total=total))

        value = plane.compare_golden(name, alias, model, unlimited=no_budget, on_progress=progress, **chosen)
    session.answer(value, paragraphs(lineage_page.comparison(value), steps(value["next_steps"])))
