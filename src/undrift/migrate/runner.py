"""Drive one migration through its phases; the only module that changes a phase."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from undrift import telemetry
from undrift.domain.migration import Migration, MigrationId, Phase, advance
from undrift.domain.plan import Finish, Flip, JournalWrites, Plan, Step, StopJournal, describe
from undrift.errors import StaleRoute
from undrift.migrate.steps import Transition, apply
from undrift.migrate.workshop import Workshop


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Carries out plans and phase changes of one migration.

    Attributes:
        workshop: the means.
        who: for the history.
        on_step: told what is done next.
        on_wait: told what is waited for.
        migration: the only one that may be changed; whoever stood still may find that another one runs by now.
    """

    workshop: Workshop
    who: str
    migration: MigrationId
    on_step: Callable[[str], None] = field(default=lambda _: None)
    on_wait: Callable[[str], None] = field(default=lambda _: None)

    def run(self, plan: Plan) -> None:
        """Carry out every step of a plan in order; killed anywhere, a plan computed anew goes on.

        Raises:
            StaleRoute: the migration that it was made for is over, and another one runs.
        """
        for step in plan:
            self.on_step(describe(step))
            with telemetry.span("undrift.step", undrift__migration=self.migration, undrift__step=describe(step)):
                self._carry_out(step)

    def enter(self, phase: Phase, *, was: Phase, detail: str = "") -> Migration:
        """Record a phase that leaves the route as it is.

        Args:
            phase: the phase that begins.
            was: the phase in which that was decided; several workers may come to the same decision.
            detail: for the history.

        Raises:
            IllegalTransition: there is no such edge.
            StaleRoute: another process changed the phase first.
        """
        present = self._present()
        if present.phase is not was:
            raise StaleRoute(
                f"the migration of {present.alias} is {present.phase.value} already, not {was.value}",
                "another process was first",
                f"undrift status {present.alias}",
            )
        following = advance(present, phase)
        self.workshop.ledger.save_phase(following, was=present.phase, who=self.who, detail=detail)
        return following

    def _present(self) -> Migration:
        present = self.workshop.migration()
        if present.id != self.migration:
            raise StaleRoute(
                f"another migration of {present.alias} runs by now, to {present.aim}",
                "the one that this was decided for is over",
                f"undrift status {present.alias}",
            )
        return present

    def _carry_out(self, step: Step) -> None:
        present = self._present()
        phase = _phase_of(step)
        transition = None
        if phase is not None and phase is not present.phase:
            transition = Transition(migration=advance(present, phase), was=present.phase)
        apply(self.workshop, step, transition, who=self.who, on_wait=self.on_wait)
        if isinstance(step, Finish):
            self.enter(step.phase, was=present.phase)


def _phase_of(step: Step) -> Phase | None:
    """Return the phase that begins together with a step's change of the route."""
    match step:
        case JournalWrites():
            return Phase.JOURNALING
        case Flip(phase=phase) | StopJournal(phase=phase):
            return phase
        case _:
            return None
