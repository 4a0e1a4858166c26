"""The verb `alert`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from undrift.cli.layout import columns, one_line, paragraphs
from undrift.cli.session import Length, Session, Verbs, pass_session

#: Columns that the words of an alert may take in a list.
_WORDS = 90


@click.group(cls=Verbs)
def alert() -> None:
    """See alerts, and say what becomes of them."""


@alert.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that are over.")
@pass_session
def list_alerts(session: Session, *, everything: bool) -> None:
    """List the alerts, the most severe first, and the silences."""
    with session.plane() as plane:
        value = {"alerts": plane.alerts(everything=everything), "silences": plane.silences()}
    session.answer(value, paragraphs(_table(value["alerts"]), _silences(value["silences"])))


@alert.command("show")
@click.argument("key")
@pass_session
def show(session: Session, key: str) -> None:
    """Show all that is known of an alert, and who was told."""
    with session.plane() as plane:
        value = plane.alert(key)
    session.answer(value, _whole(value))


@alert.command("silence")
@click.argument("key")
@click.option("--for", "seconds", type=Length(), required=True, help="For how long, such as 2h or 3d.")
@click.option("--reason", required=True, help="Why, for those who look at the list.")
@pass_session
def silence(session: Session, key: str, seconds: float, reason: str) -> None:
    """Tell nobody of an alert for a while.

    KEY may be a pattern such as 'sunset/*'. What still fires afterwards is told then.
    """
    with session.plane() as plane:
        value = plane.silence_alerts(key, seconds=seconds, reason=reason)
    session.answer(value, f"nobody is told of {key} until {value['until'][:16]} UTC")


@alert.command("unsilence")
@click.argument("key")
@pass_session
def unsilence(session: Session, key: str) -> None:
    """End a silence."""
    with session.plane() as plane:
        value = plane.unsilence_alerts(key)
    session.answer(value, f"people are told of {key} again")


@alert.command("ack")
@click.argument("key")
@click.option("--who", default="", help="Who takes it on; this user by default.")
@pass_session
def acknowledge(session: Session, key: str, who: str) -> None:
    """Take an alert on: it is told no more until it is worse."""
    import getpass

    with session.plane() as plane:
        value = plane.acknowledge_alert(key, who=who or getpass.getuser())
        plane.tell([key])
    session.answer(value, f"{key} is taken on by {value['acknowledged_by']}")


def _table(alerts: Sequence[Mapping[str, Any]]) -> str:
    if not alerts:
        return "there is no alert"
    head = ("SEVERITY", "STAGE", "SINCE", "KEY", "")
    rows = [
        (
            one["severity"],
            one["stage"] + (", silenced" if one["muted"] else ", taken on" if one["acknowledged_by"] else ""),
            one["since"][:16].replace("T", " "),
            one["key"],
            one_line(one["words"], _WORDS),
        )
        for one in alerts
    ]
    return columns([head, *rows])


def _silences(silences: Sequence[Mapping[str, Any]]) -> str:
    rows = [(one["key"], f"silenced until {one['until'][:16].replace('T', ' ')}", one["reason"]) for one in silences]
    return columns(rows) if rows else ""


def _whole(one: Mapping[str, Any]) -> str:
    facts = [
        ("severity", one["severity"]),
        ("stage", f"{one['stage']} since {one['since'][:16].replace('T', ' ')} UTC"),
        ("looked", f"{one['looked'][:16].replace('T', ' ')} UTC"),
        ("silenced", one["muted"]),
        ("taken on by", one["acknowledged_by"]),
        *(
            (f"told {name}", f"{told['event']} {told['moment'][:16].replace('T', ' ')}")
            for name, told in one["told"].items()
        ),
        ("runbook", one["runbook"]),
        ("next", one["hint"]),
    ]
    return paragraphs(
        f"{one['key']}: {one['words']}",
        one["detail"],
        columns([(name, text) for name, text in facts if text], indent=2),
    )
