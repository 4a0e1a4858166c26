"""The verbs that move traffic: cutover, rollback, complete, cancel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from undrift.cli import reports
from undrift.cli.following import Waits
from undrift.cli.render import Screen
from undrift.cli.session import Duration, Moment, Session, Verb, pass_session
from undrift.cli.setup import REFUSED
from undrift.errors import BadArgument

if TYPE_CHECKING:
    from datetime import datetime

    from undrift.domain.plan import Plan


@click.command(cls=Verb)
@click.argument("alias")
@click.option(
    "--dry-run", is_flag=True, help="Show the gates and the steps; change nothing. Exits with 3 if it is refused."
)
@click.option(
    "--freeze-writes",
    type=Duration(),
    metavar="TIME",
    help="Make writers wait for at most so long, such as 2s, while the last documents are carried over.",
)
@click.option("--accept-quarantine", is_flag=True, help="Documents that could not be carried over are no obstacle.")
@click.option(
    "--accept-no-way-back",
    is_flag=True,
    help="An old field that takes no writes is no obstacle, nor one whose model is gone: a rollback may be impossible.",
)
@click.option("--at", type=Moment(), metavar="TIME", help="Wait for a time such as 22:00, then look at the gates.")
@click.option(
    "--max-wait",
    type=Duration(),
    metavar="TIME",
    default=None,
    help="Try again for so long, such as 10m, while only the lag or clients that acknowledge are in the way.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
@pass_session
def cutover(
    session: Session,
    context: click.Context,
    alias: str,
    *,
    dry_run: bool,
    freeze_writes: float | None,
    accept_quarantine: bool,
    accept_no_way_back: bool,
    at: datetime | None,
    max_wait: float | None,
    yes: bool,
) -> None:
    """Make the new field serve, when every gate holds.

    Searches and writes go on, and there is a way back.
    """
    with session.plane("cli" if dry_run else "cutover") as plane:
        chosen: dict[str, Any] = {
            "freeze_s": freeze_writes,
            "accept_quarantine": accept_quarantine,
            "accept_no_way_back": accept_no_way_back,
        }
        if dry_run:
            value = plane.plan_cutover(alias, **chosen)
            session.answer(value, reports.dry_run(value))
            if not value["allowed"]:
                context.exit(REFUSED)
            return
        if at is not None and not yes:
            hint = f"undrift cutover {alias} --at TIME --yes"
            raise BadArgument("--at wants --yes: nobody may be there to ask at that time", hint=hint)
        chosen |= {"at": at, "max_wait_s": max_wait or 0.0}
        again = f"undrift cutover {alias} --yes"
        teller = _Teller(session.screen, alias, what=f"cutover of {alias}", again=again, yes=yes)
        status = plane.cutover(alias, **chosen, on_plan=teller.plan, on_step=teller.step, on_wait=teller.waits)
    session.answer(status, reports.status(status))


@click.command(cls=Verb)
@click.argument("alias")
@click.option(
    "--now", is_flag=True, help="At once: documents not yet carried back follow, and writes to them wait for that."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_session
def rollback(session: Session, alias: str, *, now: bool, yes: bool) -> None:
    """Make the old field serve again, with every later write."""
    again = f"undrift rollback {alias}{' --now' if now else ''} --yes"
    with session.plane("rollback") as plane:
        teller = _Teller(session.screen, alias, what=f"rollback of {alias}", again=again, yes=yes)
        status = plane.rollback(alias, now=now, on_plan=teller.plan, on_step=teller.step, on_wait=teller.waits)
    session.answer(status, reports.status(status))


@click.command(cls=Verb)
@click.argument("alias")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_session
def complete(session: Session, alias: str, *, yes: bool) -> None:
    """Drop the old field; there is no way back."""
    with session.plane() as plane:
        again = f"undrift complete {alias} --yes"
        teller = _Teller(session.screen, alias, what=f"completion of {alias}", again=again, yes=yes)
        status = plane.complete(alias, on_plan=teller.plan, on_step=teller.step, on_wait=teller.waits)
    session.answer(status, reports.status(status))


@click.command(cls=Verb)
@click.argument("alias")
@click.option("--drop", is_flag=True, help="Drop the new field too; it is kept otherwise.")
@click.option("--yes", is_flag=True, help="Do not ask; only --drop asks.")
@pass_session
def cancel(session: Session, alias: str, *, drop: bool, yes: bool) -> None:
    """Give a migration up before its cutover."""
    with session.plane() as plane:
        again = f"undrift cancel {alias} --drop --yes"
        teller = _Teller(session.screen, alias, what=f"cancellation of {alias}", again=again, yes=yes or not drop)
        status = plane.cancel(alias, drop=drop, on_plan=teller.plan, on_step=teller.step, on_wait=teller.waits)
    session.answer(status, reports.status(status))


class _Teller:
    """Tells a person what a verb will do, asks, and tells each step and what is waited for."""

    def __init__(self, screen: Screen, alias: str, *, what: str, again: str, yes: bool) -> None:
        self._screen = screen
        self._alias = alias
        self._what = what
        self._again = again
        self._yes = yes
        self.waits = Waits(screen.note, alias)

    def plan(self, plan: Plan) -> None:
        """Ask whether to carry a plan out."""
        from undrift.domain.plan import SettleForeign, describe

        # When only documents are left to be carried over, the traffic has moved already.
        if not self._yes and any(not isinstance(step, SettleForeign) for step in plan):
            self._screen.confirm(self._what, "\nthen ".join(describe(step) for step in plan), self._again)
        self.waits.over()

    def step(self, what: str) -> None:
        """Tell what is done now."""
        self.waits.over()
        self._screen.note(f"{self._alias}: {what}")
