"""The verbs that compare both fields: verify, reconcile, adopt, selftest."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from undrift.cli import reports
from undrift.cli.layout import duration, number
from undrift.cli.render import Meter, Reading
from undrift.cli.session import Amount, Session, Verb, pass_session
from undrift.cli.setup import REFUSED
from undrift.errors import BadArgument

if TYPE_CHECKING:
    from undrift.domain.checkpoint import Progress

_RATE = click.option("--rate", type=Amount(), metavar="N", help="Read at most so many documents a second.")


@click.command(cls=Verb)
@click.argument("alias")
@click.option("--sample", type=click.IntRange(min=0), metavar="N", help="How many documents are embedded again.")
@_RATE
@click.pass_context
@pass_session
def verify(session: Session, context: click.Context, alias: str, sample: int | None, rate: float | None) -> None:
    """Compare both fields.

    Ids, texts, metadata and spaces of all documents, and the vectors of some of them. Exits with 3 when they differ;
    what differs is carried over again. One that was interrupted goes on where it stopped.
    """
    with session.plane("verify") as plane, session.screen.meter() as meter:
        options = {} if sample is None else {"sample": sample}
        report = plane.verify(
            alias, rate=rate, on_progress=_shown(meter, alias, "comparing"), on_wait=_waits(meter, alias), **options
        )
    session.answer(report, reports.verification(alias, report))
    if report["verdict"] != "pass":
        context.exit(REFUSED)


@click.command(cls=Verb)
@click.argument("alias")
@click.option(
    "--scans", type=click.IntRange(min=1), default=2, metavar="N", help="The most scans to make; 2 by default."
)
@_RATE
@click.pass_context
@pass_session
def reconcile(session: Session, context: click.Context, alias: str, scans: int, rate: float | None) -> None:
    """Find what was written past undrift, and carry it over.

    Reads the texts of all documents in both fields and embeds none but the changed. Two scans in a row, the second
    without a foreign change, open the cutover's gate; until then it exits with 3. After a cutover, what somebody wrote
    to the old field is set aside and left as it is.
    """
    with session.plane("verify") as plane, session.screen.meter() as meter:
        value = plane.reconcile(
            alias,
            scans=scans,
            rate=rate,
            on_progress=_shown(meter, alias, "scanning"),
            on_wait=_waits(meter, alias),
        )
    session.answer(value, reports.reconciliation(value))
    if value["verdict"] != "pass":
        context.exit(REFUSED)


@click.command(cls=Verb)
@click.argument("alias")
@click.argument("ids", metavar="[ID...]", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every document that was set aside for this.")
@click.pass_context
@pass_session
def adopt(session: Session, context: click.Context, alias: str, ids: tuple[str, ...], *, everything: bool) -> None:
    """Carry over what somebody else wrote to the old field.

    After a cutover, what `reconcile` has set aside: the old field's version becomes the document, in both fields.
    """
    if bool(ids) == everything:
        raise BadArgument("adopt takes the ids of documents, or --all", hint=f"undrift adopt {alias} --all")
    with session.plane("verify") as plane:
        value = plane.adopt(alias, ids)
    session.answer(value, reports.adoption(value))
    if value["left"]:
        context.exit(REFUSED)


@click.command(cls=Verb)
@click.argument("alias")
@click.option("--budget-usd", type=Amount(), metavar="N", help="Stop before it costs more than so many dollars.")
@click.option("--budget-tokens", type=click.IntRange(min=1), metavar="N", help="Stop before it takes more tokens.")
@click.option("--no-budget", is_flag=True, help="A paid model may cost what it costs.")
@click.option("--sample", type=click.IntRange(min=0), metavar="N", help="How many documents are embedded once more.")
@_RATE
@click.pass_context
@pass_session
def selftest(
    session: Session,
    context: click.Context,
    alias: str,
    budget_usd: float | None,
    budget_tokens: int | None,
    *,
    no_budget: bool,
    sample: int | None,
    rate: float | None,
) -> None:
    """Migrate to the same model, and find no difference.

    A real migration into a scratch field, under live writes, that never cuts over; every vector is compared, and the
    scratch field is dropped. Exits with 3 when anything differs.
    One that was interrupted goes on with the same command.
    """
    with session.plane("start") as plane, session.screen.meter() as meter:
        options = {} if sample is None else {"sample": sample}
        value = plane.selftest(
            alias,
            budget_usd=budget_usd,
            budget_tokens=budget_tokens,
            unlimited=no_budget,
            rate=rate,
            on_progress=_shown(meter, alias, "comparing every vector"),
            on_wait=_waits(meter, alias),
            **options,
        )
    session.answer(value, reports.selftest(value))
    if value["verdict"] != "pass":
        context.exit(REFUSED)


def _shown(meter: Meter, alias: str, doing: str) -> Callable[[Progress], None]:
    def show(progress: Progress) -> None:
        speed = f"{number(progress.rate_per_s)} a second" if progress.rate_per_s else ""
        if speed and progress.eta_s:
            speed += f", about {duration(progress.eta_s)} left"
        meter.show(Reading(label=f"{alias}: {doing}", done=progress.done, total=progress.total, speed=speed))

    return show


def _waits(meter: Meter, alias: str) -> Callable[[str], None]:
    return lambda reason: meter.show(Reading(label=f"{alias}: preparing", waiting=reason))
