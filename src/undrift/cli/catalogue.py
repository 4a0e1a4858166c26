"""The verbs about models in the world: what is known of them, and when they end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from undrift.cli.layout import columns, money, number, paragraphs
from undrift.cli.session import Amount, Session, Verbs, pass_session
from undrift.domain.wording import plural
from undrift.errors import BadArgument, FeedUnavailable, SunsetNear

#: From how urgent on a cron job is to fail.
_URGENCY = ("info", "warn", "page", "gone")
_COLUMNS = ("CHANNEL", "MODEL", "DIMENSIONS", "TOKENS", "USD/M", "BATCH", "END")
_KEYS = ("channel", "model", "dimensions", "max_tokens", "price_usd", "batch_price_usd", "shutdown")


@click.group(cls=Verbs)
def catalogue() -> None:
    """What is known of embedding models, and when they end."""


@catalogue.command("list")
@click.option("--channel", metavar="NAME", help="Only models that answer there, such as openai or vertex.")
@pass_session
def list_known(session: Session, channel: str | None) -> None:
    """List known models, each with the facts to go by.

    What nobody knows is empty.
    """
    with session.plane() as plane:
        models = plane.known_models(channel)
    if channel and not models:
        raise BadArgument(f"the catalogue has no channel {channel}", hint="undrift catalogue list")
    rows = [tuple(str(one.get(key, "")) for key in _KEYS) for one in models]
    session.answer(models, columns([_COLUMNS, *rows], right=frozenset({2, 3, 4, 5})))


@catalogue.command("show")
@click.argument("name")
@pass_session
def show_known(session: Session, name: str) -> None:
    """Show all that is known of a model, and who said so when.

    NAME may be CHANNEL/MODEL.
    """
    with session.plane() as plane:
        found = plane.known_model(name)
    session.answer(found, paragraphs(*map(_facts, found)))


@catalogue.command("sunsets")
@click.option("--all", "everything", is_flag=True, help="Also models of which no alias has vectors.")
@click.option(
    "--tokens-per-minute",
    type=Amount(),
    default=1e6,
    show_default=True,
    metavar="N",
    help="The limit of your account; four fifths of it are reckoned with.",
)
@click.option(
    "--calendar", type=click.Path(path_type=Path), metavar="FILE", help="Write the days as an iCalendar file."
)
@click.option(
    "--fail-on",
    type=click.Choice(_URGENCY),
    help="Exit with 3 when a model that you have vectors of is so urgent, or more; for cron.",
)
@pass_session
def sunsets(
    session: Session,
    *,
    everything: bool,
    tokens_per_minute: float,
    calendar: Path | None,
    fail_on: str | None,
) -> None:
    """Show when models end, and the last safe day to begin.

    Of those that you have vectors of, and with --all of the others as well.
    """
    with session.plane() as plane:
        ends = plane.sunsets(tokens_per_minute=tokens_per_minute, only_owned=not everything)
        if calendar is not None:
            plane.write_calendar(ends, calendar)
    session.answer(ends, _sunsets(ends, everything=everything))
    urgent = [one for one in ends if one["owned_vectors"] != 0 and _is_at_least(one["level"], fail_on)]
    if urgent:
        names = ", ".join(f"{_name(one)} ({one['date']})" for one in urgent)
        raise SunsetNear(
            f"{len(urgent)} of the models that you have vectors of will end: {names}",
            f"the last safe day to begin is {min(one['latest_safe_start'] for one in urgent)}",
            f"undrift plan {urgent[0]['aliases'][0]['alias']} --to MODEL",
        )


@catalogue.command("refresh")
@click.option(
    "--from",
    "sources",
    multiple=True,
    metavar="FEED",
    help="A table of facts, as a file or an address, instead of `feeds`.",
)
@click.option("--no-providers", is_flag=True, help="Do not ask the providers of the configured models.")
@pass_session
def refresh(session: Session, sources: tuple[str, ...], *, no_providers: bool) -> None:
    """Read feeds and providers' lists, and keep what is new.

    Every observation is kept. Where a feed cannot be read, the others are, and the exit code is 4.
    """
    with session.plane() as plane:
        value = plane.refresh_catalogue(sources, ask_providers=not no_providers)
    session.answer(value, _refreshed(value))
    failed = [one for one in value["feeds"] if one["problem"]]
    if failed:
        raise FeedUnavailable(
            f"{len(failed)} of {plural(len(value['feeds']), 'feed')} cannot be read",
            "\n".join(one["problem"] for one in failed),
            "what was read before still counts; try again when this machine is online",
        )


@catalogue.command("notify")
@click.option("--dry-run", is_flag=True, help="Only show what would be told.")
@pass_session
def notify(session: Session, *, dry_run: bool) -> None:
    """Tell of ends that come nearer or have moved, each thing once.

    To the log, and to the receivers of [notices]. For cron, after `catalogue refresh`. `undrift watch` does it too.
    """
    with session.plane() as plane:
        value = plane.notify(dry_run=dry_run)
    lines = [f"{one['event']}: {one['words']}" for one in value["alerts"]]
    session.answer(value, "\n".join(lines) or "nothing new has to be told")


def _refreshed(value: Mapping[str, Any]) -> str:
    if not value["feeds"]:
        return "there is no feed to read: no model is configured whose provider lists ends, and `feeds` names none"
    parts = []
    for one in value["feeds"]:
        lines = [f"{one['feed']}: {one['problem'] or plural(len(one['new']), 'new observation')}"]
        lines += [f"  {fact['model']} {fact['attribute'].replace('_', ' ')} {fact['value']}" for fact in one["new"]]
        lines += [f"  {name} is not in the list; it may be gone, or called otherwise" for name in one["absent"]]
        parts.append("\n".join(lines))
    return "\n".join(parts)


def _is_at_least(level: str, fail_on: str | None) -> bool:
    return fail_on is not None and level in _URGENCY and _URGENCY.index(level) >= _URGENCY.index(fail_on)


def _facts(model: Mapping[str, Any]) -> str:
    rows = [
        (
            attribute.replace("_", " "),
            fact["value"],
            fact.get("precision", fact.get("tier", "")),
            fact["source"],
            fact["seen"],
        )
        for attribute, facts in model["facts"].items()
        for fact in facts
    ]
    return f"{model['channel']}/{model['model']}\n{columns([('FACT', 'VALUE', '', 'SOURCE', 'SEEN'), *rows], indent=2)}"


def _name(end: Mapping[str, Any]) -> str:
    return f"{end['channel']}/{end['model']}" + (f" in {end['region']}" if end["region"] else "")


def _sunsets(ends: Sequence[Mapping[str, Any]], *, everything: bool) -> str:
    if not ends:
        return "no model has a known end" if everything else "no model that you have vectors of has a known end"
    head = ("LEVEL", "MODEL", "END", "LEFT", "VECTORS", "HOURS", "COST", "BEGIN BY")
    rows = [
        (
            one["level"],
            _name(one),
            one["date"] + (" or later" if one["precision"] == "not_before" else ""),
            f"{one['days_left']} d",
            "?" if one["owned_vectors"] is None else number(one["owned_vectors"]),
            "?" if one["hours"] is None else f"{one['hours']:g}",
            "?" if one["cost_usd"] is None else money(one["cost_usd"]),
            one["latest_safe_start"],
        )
        for one in ends
    ]
    notes = [
        f"{_name(one)}: {fact['source']} says {fact['value']} (seen {fact['seen']})"
        for one in ends
        for fact in one["disagreeing"]
    ]
    notes += [
        f"{_name(one)}: {fact['source']} said {fact['value']} on {fact['seen']}"
        for one in ends
        if one["moved"]
        for fact in one["history"]
        if fact not in one["disagreeing"]
    ]
    return paragraphs(columns([head, *rows], right=frozenset({3, 4, 5, 6})), "\n".join(notes))
