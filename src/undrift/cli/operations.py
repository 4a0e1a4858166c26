"""The verbs by which an operator holds the work and lets it go on: pause, resume, panic, tune."""

from __future__ import annotations

import click

from undrift.cli import reports
from undrift.cli.layout import columns
from undrift.cli.session import Assignment, Session, Verb, pass_session
from undrift.errors import BadArgument

_reason = click.option("--reason", default="", metavar="TEXT", help="Why, for those who look at the status.")


@click.command(cls=Verb)
@click.argument("alias")
@_reason
@pass_session
def pause(session: Session, alias: str, *, reason: str) -> None:
    """Stop all work on a migration, on every host.

    Searches and writes go on. A piece that is being written is finished, anything else is given back.
    """
    with session.plane() as plane:
        value = plane.pause(alias, reason=reason)
    session.answer(value, reports.status(value))


@click.command(cls=Verb)
@click.argument("alias")
@pass_session
def resume(session: Session, alias: str) -> None:
    """Let workers work again, after a pause, a halt or a panic."""
    with session.plane() as plane:
        value = plane.resume(alias)
    session.answer(value, reports.status(value))


@click.command(cls=Verb)
@click.argument("alias", required=False)
@click.option("--all", "every", is_flag=True, help="Every migration of the ledger.")
@_reason
@pass_session
def panic(session: Session, alias: str | None, *, every: bool, reason: str) -> None:
    """Stop all workers at once; nothing else is touched.

    They stop in the middle of what they do. Searches and writes go on. `undrift resume` ends it.
    """
    if every == (alias is not None):
        raise BadArgument("panic wants an ALIAS or --all, one of them", hint="undrift panic --all")
    with session.plane() as plane:
        if alias is not None:
            value = plane.panic(alias, reason=reason)
            session.answer(value, reports.status(value))
            return
        values = plane.panic_all(reason=reason)
    session.answer(values, reports.overview(values) if values else "no migration runs")


@click.command(cls=Verb)
@click.argument("alias")
@click.argument("settings", metavar="KEY=VALUE...", type=Assignment(), nargs=-1, required=True)
@pass_session
def tune(session: Session, alias: str, settings: tuple[tuple[str, str], ...]) -> None:
    """Change how hard a running migration is worked on, or its budget.

    Workers see it within a few seconds. KEY=? shows the value instead, and ?=? all of them; KEY=none is no limit.
    The settings are budget_usd, budget_tokens, chunk_size, nice_ratio, max_rows_per_s, max_lag_s, max_search_ms,
    max_error_rate, hours and time_zone.
    """
    asked = [key for key, value in settings if value == "?"]
    given = {key: value for key, value in settings if value != "?"}
    with session.plane() as plane:
        value = plane.tune(alias, given) if given else {}
        if asked:
            present = plane.settings(alias)
            unknown = [key for key in asked if key not in present and key != "?"]
            if unknown:
                raise BadArgument(f"there is no setting {unknown[0]}", f"there are: {', '.join(present)}")
            chosen = {key: present[key] for key in (present if "?" in asked else asked)}
            session.answer({"alias": alias, "settings": chosen}, columns(chosen.items()))
            return
    session.answer(value, reports.status(value))
