"""Run one seed: things go wrong for a while, then they are put right, and the migration has to come to rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from undrift.adapters.ledgers.sqlite import SqliteLedger
from undrift.domain.migration import Phase, RunStatus
from undrift.testing.simulation.actors import Cast
from undrift.testing.simulation.operators import Operators
from undrift.testing.simulation.options import Options, draw
from undrift.testing.simulation.promises import Promises
from undrift.testing.simulation.scheduler import START, Hands
from undrift.testing.simulation.world import ALIAS, LedgerKind, Violation, World, documents, make_world

#: A migration rests in these until an operator asks for something.
_AT_REST = (Phase.READY, Phase.REVERSING, Phase.ROLLED_BACK)
#: How long a migration may take to come to rest once everything is well, in virtual seconds.
PATIENCE_S = 90.0
#: How often is looked whether it has.
_LOOK_S = 0.1
#: How long an outage lasts, in virtual seconds.
_OUTAGE_S = (0.05, 0.6)
#: How often the replica catches up, in virtual seconds.
_LAG_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of a seed.

    Attributes:
        options: what the seed decided.
        violation: the first promise that was broken; None if all were kept.
        counts: how often things happened.
        virtual_s: how much virtual time it took.
        trace: what happened, if it was to be written down.
    """

    options: Options
    violation: Violation | None
    counts: Mapping[str, int]
    virtual_s: float
    trace: tuple[str, ...]


def simulate(
    seed: int | Options, *, ledger: LedgerKind = SqliteLedger, trace: bool = False, hands: Hands | None = None
) -> Report:
    """Run a seed, or options that were made otherwise.

    Args:
        seed: the seed, or the options.
        ledger: makes the ledger from a database and a clock, as `SqliteLedger`.
        trace: whether to write down what happens.
        hands: threads that several simulations may use one after the other.
    """
    options = draw(seed) if isinstance(seed, int) else seed
    own = hands or Hands()
    world = make_world(options, own, ledger=ledger, trace=trace)
    try:
        _play(world)
        if world.scheduler.error is not None:
            raise world.scheduler.error
    finally:
        world.scheduler.end()
        world.database.destroy()
        if hands is None:
            own.close()
    return Report(
        options=options,
        violation=world.violation,
        counts=world.counts,
        virtual_s=world.scheduler.now - START,
        trace=tuple(world.trace or ()),
    )


def _play(world: World) -> None:
    promises = Promises(world)
    cast = Cast(world, promises)
    options, scheduler = world.options, world.scheduler
    operators = Operators(cast)
    _furnish(world, cast)
    if options.stale:
        _replicate(world)
    for number in range(options.clients):
        cast.client(number)
    for _ in range(options.workers):
        cast.worker()
    for _ in range(options.operators):
        operators.operator()
    cast.prober()
    _plan_outages(world)
    scheduler.run(START + options.safety_s)
    if scheduler.stopped:
        return
    _heal(world)
    operators.closer()
    limit = scheduler.now + PATIENCE_S
    while not scheduler.stopped and not _rests(world, cast):
        if scheduler.now > limit:
            migration = world.migration()
            reason = f"{migration.phase.value}, {migration.run_status.value}: {migration.reason}" if migration else ""
            lag = world.ledger.lag(ALIAS)
            world.broken("I9", f"nothing comes to rest in {PATIENCE_S:g} s; the migration is {reason}; {lag}")
            return
        scheduler.run(scheduler.now + _LOOK_S)
        if world.history.writes and scheduler.now > limit - PATIENCE_S / 2:
            cast.retired = True
    if not scheduler.stopped:
        promises.at_the_end()
        if options.calm and not any(
            verb in world.counts for verb in ("cutover", "cutover_frozen", "cancel", "complete")
        ):
            promises.at_most_once()


def _furnish(world: World, cast: Cast) -> None:
    """Make the collection with what is in it in the beginning, before anybody else lives."""
    first = cast.process("app")
    some = documents(world.options)
    alias = first.plane.alias(ALIAS)
    if some:
        alias.upsert(some)
    first.plane.router.close()
    first.life.dead = True
    world.history.initial(some, world.scheduler.now)


def _replicate(world: World) -> None:
    world.store.replicate()
    world.scheduler.at(world.scheduler.now + _LAG_S, lambda: _replicate(world))


def _plan_outages(world: World) -> None:
    """Let the store, the ledger and the models be away for a while now and then."""
    options, chance, start = world.options, world.chance, world.scheduler.now
    for name, rate in (
        ("store_down", options.store_down),
        ("ledger_down", options.ledger_down),
        ("model_down", options.model_down),
    ):
        at = start
        while rate:
            at += chance.expovariate(rate)
            if at > start + options.safety_s:
                break
            until = at + chance.uniform(*_OUTAGE_S)
            world.scheduler.at(at, partial(_set, world, name, True))
            world.scheduler.at(until, partial(_set, world, name, False))
            at = until


def _set(world: World, name: str, down: bool) -> None:  # noqa: FBT001 - a switch
    setattr(world.weather, name, down and not world.weather.healed)
    world.say("weather", f"{name}: {down}")
    world.count(name)


def _heal(world: World) -> None:
    """Put everything right; who is stopped wakes when he does."""
    world.weather.store_down = world.weather.ledger_down = world.weather.model_down = False
    world.weather.healed = True
    world.say("weather", "all is well")


def _rests(world: World, cast: Cast) -> bool:
    """Whether nothing has to happen any more."""
    if cast.busy or world.flying or any(write.outcome.value == "pending" for write in world.history.writes):
        return False
    state = world.ledger.alias(ALIAS)
    migration = state.migration if state else None
    if state is None or migration is None or migration.is_final:
        return True
    if migration.run_status is RunStatus.HALTED:
        world.broken("I9", f"the migration is halted: {migration.reason}")
        return True
    if migration.phase not in _AT_REST or migration.run_status is RunStatus.PAUSED:
        return False
    lag = world.ledger.lag(ALIAS)
    if lag.dirty or lag.open:
        return False
    cast.retired = True
    return True
