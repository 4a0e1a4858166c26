"""The verb `demo`: a migration that shows itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from undrift.cli.layout import columns, duration, number, paragraphs
from undrift.cli.render import Reading
from undrift.cli.session import Session, Verb, pass_session
from undrift.cli.setup import REFUSED
from undrift.domain.wording import plural


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
@click.pass_context
@pass_session
def demo(session: Session, context: click.Context, corpus: Path | None, keep: Path | None) -> None:
    """Migrate a real collection under live traffic, and show it.

    Needs no network: documents, questions and both models are on this machine. A worker is killed in the middle, and an
    independent check counts what was lost or is wrong in the end. Exits with 3 when that is anything at all.
    """
    from undrift.demo.report import FAULTS
    from undrift.demo.run import run_demo

    screen = session.screen
    with screen.meter() as meter:

        def progress(label: str, done: int, total: int) -> None:
            meter.show(Reading(label=label, done=done, total=total or None))

        result = run_demo(corpus=corpus, keep=keep, report=screen.note, progress=progress)
    session.answer(result, table(result))
    if any(result[fault] for fault in FAULTS):
        context.exit(REFUSED)


def table(result: Mapping[str, Any]) -> str:
    """Describe what happened in the demo."""
    traffic = [
        ("documents", f"{number(result['documents'])} in the end"),
        (
            "searches",
            f"{number(result['searches'])} served, {number(result['failed_searches'])} failed, "
            f"{number(result['wrong_space_answers'])} answered in a wrong space",
        ),
        ("writes", f"{number(result['writes'])}, and {plural(result['deletes'], 'delete')}"),
        ("workers killed", number(result["kills"])),
    ]
    fates = [
        (fate, number(result[fate]), *_examples(result, fate)) for fate in ("lost", "resurrected", "stale", "mixed")
    ]
    worth = [(name, change) for name, change in _changes(result).items() if change]
    worth += [("tokens", number(result["tokens"])), ("time", duration(result["seconds"]))]
    kept = f"kept in {result['kept']}" if result.get("kept") else ""
    return paragraphs(columns(traffic), columns(fates, right=frozenset({1})), columns(worth), kept)


def _changes(result: Mapping[str, Any]) -> dict[str, str]:
    """Describe what is different with the new model, where it was measured."""
    quality, times = result["ndcg_at_10"], result.get("search_ms") or {}
    before, during = (times.get(when) or {} for when in ("before", "during"))
    described = {"nDCG@10": "", "search, p50": ""}
    if None not in (quality["before"], quality["after"]):
        described["nDCG@10"] = f"{quality['before']:.3f} before, {quality['after']:.3f} after"
    if before.get("p50") and during.get("p50"):
        described["search, p50"] = f"{before['p50']:.1f} ms before, {during['p50']:.1f} ms during the migration"
    return described


def _examples(result: Mapping[str, Any], fate: str) -> tuple[str, ...]:
    found = (result.get("examples") or {}).get(fate) or []
    return (f"such as {', '.join(map(str, found))}",) if found else ()
