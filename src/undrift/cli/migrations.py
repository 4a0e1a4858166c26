"""The verbs that prepare and run a migration: plan, start, worker, status."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from undrift.cli import plan_page, reports
from undrift.cli.following import Lookout, regularly
from undrift.cli.session import Amount, Session, Verb, pass_session
from undrift.cli.stopping import Stop, WakingClock
from undrift.cli.watching import watch
from undrift.errors import BadArgument, IllegalTransition

if TYPE_CHECKING:
    from undrift.control import ControlPlane
    from undrift.domain.migration import Migration
    from undrift.ports.store import Layout

_FINISHING = "finishing the piece in hand; once more to stop at once"


Command = Callable[..., None]


def _aimed(command: Command) -> Command:
    """Let a command be told where a migration leads."""
    for option in (
        click.option(
            "--layout",
            type=click.Choice(["collection", "in-place"]),
            help="Where the new vectors are put: into a collection of their own, or beside the old ones in the same "
            "records.",
        ),
        click.option("--collection", metavar="NAME", help="What the new collection is called."),
        click.option("--to-store", metavar="STORE", help="The store to migrate to; without --to, vectors are copied."),
        click.option("--to", "model", metavar="MODEL", help="The model to migrate to."),
    ):
        command = option(command)
    return command


def _refuse_no_aim(alias: str, model: str | None, store: str | None) -> None:
    if model is None and store is None:
        raise BadArgument(
            f"where {alias} is to migrate to is not said",
            "--to names another model, --to-store another store; both may be given",
            f"undrift plan {alias} --to MODEL",
        )


@click.command(cls=Verb)
@click.argument("alias")
@_aimed
@click.option("--tier", metavar="NAME", help="The tier of your account at the provider, such as tier-2.")
@click.option(
    "--sample",
    type=click.IntRange(min=1000),
    metavar="N",
    help="Count the tokens of N texts and estimate the rest, where all are counted otherwise.",
)
@click.option("--budget-usd", type=Amount(), metavar="N", help="Say whether so many dollars are enough.")
@click.option("--budget-tokens", type=click.IntRange(min=1), metavar="N", help="Say whether so many tokens are enough.")
@pass_session
def plan(
    session: Session,
    alias: str,
    model: str | None,
    to_store: str | None,
    collection: str | None,
    *,
    layout: str | None,
    tier: str | None,
    sample: int | None,
    budget_usd: float | None,
    budget_tokens: int | None,
) -> None:
    """Show what a migration takes, costs and risks; changes nothing."""
    _refuse_no_aim(alias, model, to_store)
    with session.plane() as plane:
        value = plane.plan(
            alias,
            model,
            to_store=to_store,
            collection=collection,
            layout=_layout(layout),
            tier=tier,
            sample=sample,
            budget_usd=budget_usd,
            budget_tokens=budget_tokens,
        )
    session.answer(value, plan_page.plan(value))


def _engined(command: Command) -> Command:
    """Let a command be told who carries the pieces of a back-fill."""
    option = click.option(
        "--engine",
        type=click.Choice(["local", "ray"]),
        help="Who carries the pieces of the back-fill: this process, or those of a Ray cluster; what is configured by "
        "default.",
    )
    return option(command)


@click.command(cls=Verb)
@click.argument("alias")
@_aimed
@_engined
@click.option("--budget-usd", type=Amount(), metavar="N", help="Stop before it costs more than so many dollars.")
@click.option("--budget-tokens", type=click.IntRange(min=1), metavar="N", help="Stop before it takes more tokens.")
@click.option("--no-budget", is_flag=True, help="A paid model may cost what it costs.")
@click.option(
    "--batch",
    type=click.Choice(["true", "false", "auto"]),
    is_flag=False,
    flag_value="true",
    help="Embed through the provider's batch API; with auto, what its queue does not take is embedded online.",
)
@click.option("--detach", is_flag=True, help="Only record it; workers do it.")
@pass_session
def start(
    session: Session,
    alias: str,
    model: str | None,
    to_store: str | None,
    collection: str | None,
    *,
    budget_usd: float | None,
    budget_tokens: int | None,
    layout: str | None,
    no_budget: bool,
    batch: str | None,
    detach: bool,
    engine: str | None,
) -> None:
    """Begin a migration and work on it until it is ready to cut over.

    The same command goes on with one that was interrupted.
    """
    _refuse_no_aim(alias, model, to_store)
    if no_budget and (budget_usd is not None or budget_tokens is not None):
        raise BadArgument("--no-budget and a budget are both given", hint="leave one of them out")
    stop = Stop(lambda: session.screen.at_once(_FINISHING))
    role = "cli" if detach else "start"
    with stop, stop.as_signalled(), session.plane(role, clock=WakingClock(stop)) as plane:
        migration = plane.register(
            alias,
            model,
            to_store=to_store,
            collection=collection,
            layout=_layout(layout),
            budget_usd=budget_usd,
            budget_tokens=budget_tokens,
            unlimited=no_budget,
            on_warning=lambda warning: session.screen.note(f"Warning: {warning}"),
        )
        if batch is not None and plane.settings(alias)["batch"] != batch:
            plane.tune(alias, {"batch": batch})
        _change_budget(plane, migration, budget_usd, budget_tokens, unlimited=no_budget)
        _refuse_to_go_on(migration)
        if not detach:
            _work(session, plane, alias, stop, engine)
    # As somebody who looks: this process is not a worker any more.
    with session.plane() as plane:
        value = plane.status(alias)
    session.answer(value, reports.status(value))


def _layout(word: str | None) -> Layout | None:
    from undrift.ports.store import Layout

    return None if word is None else Layout(word.replace("-", "_"))


def _change_budget(
    plane: ControlPlane, migration: Migration, usd: float | None, tokens: int | None, *, unlimited: bool
) -> None:
    """Give a migration that runs already the budget that was asked for now."""
    given = {"budget_usd": usd, "budget_tokens": tokens}
    has = {"budget_usd": migration.budget_usd, "budget_tokens": migration.budget_tokens}
    if (unlimited or any(value is not None for value in given.values())) and given != has:
        plane.tune(migration.alias, {key: "none" if value is None else str(value) for key, value in given.items()})


def _refuse_to_go_on(migration: Migration) -> None:
    """Pass when workers may work on a migration, or it is done with the back-fill."""
    from undrift.control.status import halted
    from undrift.domain.migration import Phase, RunStatus

    alias = migration.alias
    if migration.run_status is RunStatus.HALTED:
        raise halted(migration)
    hints = {
        Phase.RETIRING: f"undrift complete {alias}",
        Phase.ABORTING: f"undrift cancel {alias}",
        Phase.ABORTED: migration.command,
    }
    if migration.phase in hints:
        state = f"the migration of {alias} to {migration.aim} is {migration.phase.value}"
        raise IllegalTransition(f"{state}; it does not go on", hint=hints[migration.phase])


def _work(session: Session, plane: ControlPlane, alias: str, stop: Stop, engine: str | None) -> None:
    from undrift.domain.migration import BEFORE_CUTOVER, RunStatus
    from undrift.domain.route import AliasName

    def until(migration: Migration | None) -> bool:
        halted = migration is not None and migration.run_status is RunStatus.HALTED
        return stop.requested() or halted or migration is None or migration.phase not in BEFORE_CUTOVER

    with session.screen.meter() as meter:
        lookout = Lookout(lambda: plane.glance(alias), meter, plane.clock.monotonic)

        def waits(reason: str) -> None:
            stop.check()
            lookout.waits(reason)

        with regularly(lookout.show):
            plane.work(alias, until, on_wait=waits, engine=engine)
    stop.check()
    state = plane.ledger.alias(AliasName(alias))
    if state is not None and state.migration is not None:
        _refuse_to_go_on(state.migration)


@click.command(cls=Verb)
@click.argument("aliases", metavar="[ALIAS...]", nargs=-1)
@_engined
@click.option("--until-idle", is_flag=True, help="Exit when nothing is dirty and no back-fill is unfinished.")
@pass_session
def worker(session: Session, aliases: tuple[str, ...], *, until_idle: bool, engine: str | None) -> None:
    """Be one more worker, on any host, until SIGTERM or Ctrl-C.

    Works on every migration there is, and waits for those to come; the piece in hand is finished before it exits.
    """
    screen = session.screen
    stop = Stop(lambda: screen.at_once(_FINISHING))
    with stop, session.plane("worker", clock=WakingClock(stop)) as plane:
        lookouts: dict[str, Lookout] = {}

        def lookout(alias: str) -> Lookout:
            if alias not in lookouts:
                lookouts[alias] = Lookout(lambda: plane.glance(alias), screen.log(), plane.clock.monotonic)
            return lookouts[alias]

        def waits(alias: str, reason: str) -> None:
            if not alias:
                screen.note(f"waiting: {reason}")
                return
            stop.check()
            lookout(alias).waits(reason)

        def worked(alias: str) -> None:
            lookout(alias)

        def show() -> None:
            for one in list(lookouts.values()):
                one.show()

        screen.note(f"working on {', '.join(aliases) or 'every alias'}")
        with regularly(show):
            worked_on = plane.work_all(
                aliases,
                until=stop.requested,
                until_idle=until_idle,
                engine=engine,
                on_progress=worked,
                on_wait=waits,
                on_error=lambda alias, error: screen.note(f"{alias}: work has stopped: {error.message}"),
            )
        states = [plane.glance(alias) for alias in worked_on]
    value = {"worked_on": [{"alias": state["alias"], "phase": state["phase"]} for state in states]}
    session.answer(value, "\n".join(f"{state['alias']} is {state['phase'].replace('_', ' ')}" for state in states))


@click.command(cls=Verb)
@click.argument("alias", required=False)
@click.option("--watch", "watching", is_flag=True, help="Show it again and again, until the migration is over.")
@pass_session
def status(session: Session, alias: str | None, *, watching: bool) -> None:
    """Show where a migration stands, and what to type next.

    Without ALIAS, all of them. With --watch and --json, one JSON document a line, whenever something has changed.
    """
    with session.plane() as plane:
        if watching:
            watch(session, plane, alias or _only_alias(plane))
            return
        if alias:
            value: Any = plane.status(alias)
            text = reports.status(value)
        else:
            value = [plane.status(name) for name in plane.ledger.aliases()]
            text = (
                reports.status(value[0])
                if len(value) == 1
                else reports.overview(value)
                if value
                else "no alias is in use yet: undrift alias list"
            )
    session.answer(value, text)


def _only_alias(plane: ControlPlane) -> str:
    names = plane.ledger.aliases()
    if len(names) != 1:
        known = ", ".join(names) or "none"
        raise BadArgument("--watch takes one alias", f"there are: {known}", "undrift status ALIAS --watch")
    return names[0]
