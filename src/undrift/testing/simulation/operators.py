"""Operators: they ask for what makes sense at the moment, at the wrong moment too, and more than one at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from undrift.control import ControlPlane
from undrift.domain.migration import Phase, RunStatus
from undrift.errors import (
    BadArgument,
    CollectionMissing,
    ConflictError,
    ControlUnavailable,
    EmbedderUnavailable,
    GateFailed,
    IllegalTransition,
    NoMigration,
    StoreUnavailable,
    UndriftError,
    WriteTimeout,
)
from undrift.testing.simulation.actors import Cast, Simulated
from undrift.testing.simulation.world import ALIAS, NEW, OLD

#: What an operator may be told.
_REFUSALS = (
    ConflictError,
    GateFailed,
    IllegalTransition,
    NoMigration,
    WriteTimeout,
    ControlUnavailable,
    StoreUnavailable,
    EmbedderUnavailable,
    CollectionMissing,
    BadArgument,
)
_WAITING = ("cancel", "pause", *[""] * 80)
#: What an operator thinks of in each phase; an empty word is patience.
_VERBS: dict[Phase | None, Sequence[str]] = {
    None: ("register",),
    Phase.REGISTERED: _WAITING,
    Phase.JOURNALING: _WAITING,
    Phase.BACKFILL: _WAITING,
    Phase.CATCHUP: _WAITING,
    Phase.VERIFY: (*_WAITING, "verify"),
    Phase.READY: (*["cutover"] * 12, *["cutover_frozen"] * 4, "verify", "cancel", "pause", "", ""),
    Phase.REVERSING: (*["rollback"] * 3, *["rollback_now"] * 5, "verify", "complete", "complete", "cutover", *[""] * 6),
    Phase.ROLLED_BACK: (*["cutover"] * 9, "cutover_frozen", "rollback", "verify", "cancel", *[""] * 4),
    Phase.RETIRING: ("complete",),
    Phase.ABORTING: ("cancel",),
}


class Operators:
    """Operators of a simulation."""

    def __init__(self, cast: Cast) -> None:
        """Let operators be processes like others."""
        self._cast = cast
        self._verbs: Mapping[str, Callable[[ControlPlane], object]] = {
            "register": self._register,
            "cutover": lambda plane: plane.cutover(ALIAS),
            "cutover_frozen": lambda plane: plane.cutover(ALIAS, freeze_s=0.5),
            "rollback": lambda plane: plane.rollback(ALIAS),
            "rollback_now": lambda plane: plane.rollback(ALIAS, now=True),
            "verify": lambda plane: plane.verify(ALIAS, sample=self._cast.sample),
            "pause": lambda plane: plane.pause(ALIAS),
            "resume": lambda plane: plane.resume(ALIAS),
            "cancel": self._cancel,
            "complete": self._complete,
        }

    def operator(self) -> None:
        """Let an operator ask for what makes sense at the moment, again and again."""
        world = self._cast.world

        def work(made: Simulated) -> None:
            while not self._cast.retired:
                world.scheduler.sleep(world.chance.expovariate(world.options.haste / 0.1))
                self._operate(made)

        self._cast.perform("operator", work, after=0.05)

    def closer(self) -> None:
        """Let an operator bring to its end what can only end, once everything is well."""
        world = self._cast.world

        def work(made: Simulated) -> None:
            while True:
                world.scheduler.sleep(0.2)
                migration = world.migration()
                if migration is None or migration.is_final:
                    continue
                verb = {Phase.RETIRING: "complete", Phase.ABORTING: "cancel"}.get(migration.phase, "")
                if not verb and migration.run_status is RunStatus.PAUSED:
                    verb = "resume"
                if verb:
                    self._ask(made, verb)

        self._cast.perform("closer", work)

    def _operate(self, made: Simulated) -> None:
        world = self._cast.world
        migration = world.migration()
        phase = None if migration is None or migration.is_final else migration.phase
        paused = migration is not None and migration.run_status is RunStatus.PAUSED
        verb = "resume" if paused and world.chance.random() < 0.5 else world.chance.choice(_VERBS[phase])
        if not verb or (verb != "register" and verb not in world.options.verbs):
            return
        if verb == "register" and world.counts.get("migrations", 0) >= world.options.migrations:
            return
        self._ask(made, verb)

    def _ask(self, made: Simulated, verb: str) -> None:
        world, plane = self._cast.world, made.plane
        world.say(made.life.name, f"asks for {verb}")
        try:
            self._verbs[verb](plane)
        except _REFUSALS as error:
            # Not the whole detail: it names this process.
            closed = ", ".join(line.partition(":")[0] for line in error.detail.splitlines())
            world.say(made.life.name, f"{verb}: {type(error).__name__}: {error.message} ({closed})")
        except UndriftError as error:
            world.broken("error", f"an operator is told {error!r} at {verb}")
        else:
            world.count(verb)
            world.say(made.life.name, f"{verb} is done")

    def _register(self, plane: ControlPlane) -> None:
        world = self._cast.world
        serves_old = world.route().serving.space == world.models[OLD].space.id
        plane.register(ALIAS, NEW if serves_old else OLD)
        world.count("migrations")

    def _cancel(self, plane: ControlPlane) -> None:
        world = self._cast.world
        drop = world.chance.random() < 0.5
        world.asked.update({"cancel --drop"} if drop else ())
        plane.cancel(ALIAS, drop=drop)

    def _complete(self, plane: ControlPlane) -> None:
        self._cast.world.asked.add("complete")
        plane.complete(ALIAS)
