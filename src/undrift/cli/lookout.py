"""The verb `watch`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from undrift.cli.layout import columns, one_line, paragraphs
from undrift.cli.session import Session, Verb, pass_session
from undrift.cli.stopping import Stop, WakingClock
from undrift.errors import BackendError, BadArgument

if TYPE_CHECKING:
    from undrift.control import ControlPlane
    from undrift.control.lookout import LookOut, Round

#: Severities, the least first, and one that nothing reaches.
_SEVERITIES = ("info", "warning", "error", "critical", "never")
_WORDS = 100
#: After a back-end did not answer, it is tried again so much later, in seconds.
_AGAIN_S = 15.0
#: The exit code of `--once` while something fires: refused, as of a gate that failed.
_FIRES = 3


@click.command(cls=Verb)
@click.argument("checks", nargs=-1)
@click.option("--once", is_flag=True, help="Look at everything once, tell what has to be told, and end: for cron.")
@click.option(
    "--fail-on",
    type=click.Choice(_SEVERITIES),
    default="warning",
    show_default=True,
    help="With --once: exit code 3 while an alert of this severity fires that nobody silenced or took on.",
)
@click.option("--health", metavar="HOST:PORT", default=None, help="Answer /healthz and /metrics there.")
@click.option("--print-rules", is_flag=True, help="Show where the rules for Prometheus and the dashboard are.")
@pass_session
def watch(
    session: Session, checks: tuple[str, ...], *, once: bool, fail_on: str, health: str | None, print_rules: bool
) -> int | None:
    """Look out for changes that nobody announced, and tell of them.

    Runs until it is stopped, and looks at each check of CHECKS (at all by default) when it is due. Any number of
    processes may run: one of them looks, and nobody is told twice.
    """
    if print_rules:
        _print_rules(session)
        return None
    if once:
        with session.plane("watch") as plane:
            lookout = plane.look_out()
            _refuse_unknown(checks, lookout)
            done = lookout.round(checks, anyway=True)
            value = _value(done, plane)
        session.answer(value, _told(value))
        for name, until in done.elsewhere.items():
            when = f"; should it be dead, its look is over at {until:%H:%M} UTC" if until is not None else ""
            session.screen.note(f"another process is looking at {name}: it was not looked at here{when}")
        return _FIRES if _fires(value["alerts"], fail_on) else None
    stop = Stop(lambda: None)
    with _ended_by(stop), stop, session.plane("watch", clock=WakingClock(stop)) as plane:
        lookout = plane.look_out()
        _refuse_unknown(checks, lookout)
        with _answering(health, plane, lookout) as url:
            session.answer(
                {"checks": [check.name for check in lookout.checks if not checks or check.name in checks], "url": url},
                f"looking out{f', {url}/metrics' if url else ''}",
            )
            _loop(session, plane, lookout, checks, stop)
    return None


@contextmanager
def _ended_by(stop: Stop) -> Iterator[None]:
    """End well when it was asked to stop, wherever it waits."""
    try:
        yield
    except KeyboardInterrupt:
        if not stop.requested():
            raise


def _loop(session: Session, plane: ControlPlane, lookout: LookOut, checks: Sequence[str], stop: Stop) -> None:
    """Look until it is asked to stop; a back-end that does not answer is told, and asked again."""
    while not stop.requested():
        try:
            done = lookout.round(checks)
            wait = lookout.due_in(checks)
        except BackendError as error:
            session.screen.note(f"could not look out: {error.message}; it is tried again")
            plane.clock.sleep(_AGAIN_S)
            continue
        if done.tellings or done.problems:
            value = _value(done, plane)
            if session.as_json:
                session.screen.json(value, indent=None)
            else:
                session.screen.text(_lines(value))
        plane.clock.sleep(wait)


@contextmanager
def _answering(health: str | None, plane: ControlPlane, lookout: LookOut) -> Iterator[str]:
    if health is None:
        yield ""
        return
    from undrift.server import answering, health_of, listen

    host, colon, port = health.rpartition(":")
    if not colon or not port.isdigit():
        raise BadArgument(f"{health} is no address to listen on", hint="write it as 127.0.0.1:9187")
    listener = listen(host.strip("[]"), int(port), token=plane.config.token())
    with answering(health_of(plane, lookout, listener), listener):
        yield listener.url


def _refuse_unknown(checks: Sequence[str], lookout: LookOut) -> None:
    known = [check.name for check in lookout.checks]
    for name in checks:
        if name not in known:
            raise BadArgument(f"there is no check {name}", f"there are: {', '.join(known)}", "undrift watch --help")


def _value(done: Round, plane: ControlPlane) -> dict[str, Any]:
    return {
        "looked": done.looked,
        "findings": [finding.as_dict() for finding in done.findings],
        "tellings": done.tellings,
        "problems": done.problems,
        "alerts": plane.alerts(),
    }


def _fires(alerts: Sequence[dict[str, Any]], fail_on: str) -> bool:
    least = _SEVERITIES.index(fail_on)
    return any(
        one["stage"] == "firing" and not one["muted"] and not one["acknowledged_by"] and one["rank"] >= least
        for one in alerts
    )


def _told(value: dict[str, Any]) -> str:
    rows = [
        (
            one["state"],
            one["severity"] if one["state"] == "bad" else "",
            one["check"],
            one["subject"],
            one_line(one["words"], _WORDS),
        )
        for one in value["findings"]
    ]
    return paragraphs(columns(rows) if rows else "there is nothing to look at", _lines(value))


def _lines(value: dict[str, Any]) -> str:
    lines = [f"told: {one['event']} {one['key']}: {one['words']}" for one in value["tellings"]]
    return "\n".join([*lines, *(f"not told: {why}" for why in value["problems"].values())])


def _print_rules(session: Session) -> None:
    from undrift.watch.files import DASHBOARD, RULES

    value = {"rules": str(RULES), "dashboard": str(DASHBOARD)}
    session.answer(value, columns([("rules", value["rules"]), ("dashboard", value["dashboard"])]))
