"""The verbs that move the traffic to the other field, back, and end a migration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from undrift.control.migrations import Migrations, silent
from undrift.control.patience import PASSING_GATES, await_moment, until_allowed
from undrift.domain.gate import Gate, Verdict, require
from undrift.domain.migration import BEFORE_CUTOVER, Migration, Phase
from undrift.domain.plan import Plan, describe, plan_cancel, plan_completion, plan_cutover, plan_rollback
from undrift.domain.route import AliasName
from undrift.errors import GateFailed, IllegalTransition, NoMigration, StaleRoute, UndriftError, WriteTimeout
from undrift.migrate.gates import cancellation_gates, completion_gates, cutover_gates, is_close, rollback_gates
from undrift.migrate.hooks import call_due, call_if_possible, consent
from undrift.migrate.runner import Runner
from undrift.migrate.steps import OnWait
from undrift.migrate.workshop import Workshop

#: Told every step of a plan before the first one is taken; raises to refuse it.
OnPlan = Callable[[Plan], None]
#: With a cutover that is tried again, each attempt carries dirty documents over for so long at most.
_SETTLE_S = 5.0
_CUTS_OVER = (*BEFORE_CUTOVER, Phase.READY, Phase.ROLLED_BACK, Phase.REVERSING)


class Traffic(Migrations):
    """Cut over, roll back, complete, cancel."""

    def plan_cutover(
        self,
        name: str,
        *,
        freeze_s: float | None = None,
        accept_quarantine: bool = False,
        accept_no_way_back: bool = False,
    ) -> dict[str, Any]:
        """Return what a cutover would do, and which gates hold; changes nothing."""
        workshop = self.workshop(AliasName(name))
        migration = workshop.migration()
        gates = cutover_gates(workshop, accept_quarantine=accept_quarantine, accept_no_way_back=accept_no_way_back)
        gates += consent(workshop, self._who(), gates, dry_run=True)
        plan = plan_cutover(workshop.state().route, migration, freeze_s=freeze_s, accept_quarantine=accept_quarantine)
        return {
            "alias": name,
            "gates": [gate.as_dict() for gate in gates],
            "steps": [describe(step) for step in plan],
            "allowed": all(gate.verdict is Verdict.PASS for gate in gates),
        }

    def cutover(
        self,
        name: str,
        *,
        freeze_s: float | None = None,
        accept_quarantine: bool = False,
        accept_no_way_back: bool = False,
        at: datetime | None = None,
        max_wait_s: float = 0.0,
        on_plan: OnPlan = silent,
        on_step: OnWait = silent,
        on_wait: OnWait = silent,
    ) -> dict[str, Any]:
        """Make the target serve, when every gate holds.

        Args:
            name: the alias.
            freeze_s: writers wait for at most so long while the last dirty documents are carried over.
            accept_quarantine: documents that could not be carried over are no obstacle.
            accept_no_way_back: nor is an old field that takes no writes, or whose model is gone.
            at: an aware time; nothing is looked at before it, and this call waits for it.
            max_wait_s: so long it is tried again, later and later, while only gates do not hold that may in a moment:
                the lag, and clients that have to acknowledge.
            on_plan: told the whole plan when every gate holds, before its first step; raises to refuse it.
            on_step: told what is done next.
            on_wait: told what is waited for.

        Raises:
            GateFailed: some do not; all of them are listed.
            IllegalTransition: the target serves already, or the migration is ending.
        """
        workshop = self.workshop(AliasName(name))
        closed: list[Gate] = []
        asked: list[Plan] = []

        def plan_once(plan: Plan) -> None:
            if not asked:
                on_plan(plan)
                asked.append(plan)

        def attempt() -> dict[str, Any]:
            migration = self._in_phase(workshop, "cut over", _CUTS_OVER)
            if migration.phase is not Phase.REVERSING:
                self._settle(workshop, is_close, on_wait, limit_s=_SETTLE_S if max_wait_s else None)
                gates = cutover_gates(
                    workshop, accept_quarantine=accept_quarantine, accept_no_way_back=accept_no_way_back
                )
                gates += consent(workshop, self._who(), gates, dry_run=False)
                closed[:] = [gate for gate in gates if gate.verdict is not Verdict.PASS]
                require(gates, verb="cutover", alias=name)
            route = workshop.state().route
            plan = plan_cutover(route, migration, freeze_s=freeze_s, accept_quarantine=accept_quarantine)
            return self._run(workshop, migration, plan, on_plan=plan_once, on_step=on_step, on_wait=on_wait)

        def may_pass(error: UndriftError) -> bool:
            # What the flip itself refuses has grown since the gates were read; the next attempt reads them again.
            momentary = all(gate.name in PASSING_GATES for gate in closed)
            return isinstance(error, WriteTimeout | StaleRoute) or (isinstance(error, GateFailed) and momentary)

        if at is not None:
            self._in_phase(workshop, "cut over", _CUTS_OVER)
            await_moment(at, clock=self.clock, on_wait=on_wait, beat=self.router.beat)
        return until_allowed(
            attempt,
            may_pass=may_pass,
            max_wait_s=max_wait_s,
            clock=self.clock,
            on_wait=on_wait,
            beat=self.router.beat,
        )

    def rollback(
        self,
        name: str,
        *,
        now: bool = False,
        on_plan: OnPlan = silent,
        on_step: OnWait = silent,
        on_wait: OnWait = silent,
    ) -> dict[str, Any]:
        """Make the source serve again.

        Args:
            name: the alias.
            now: flip at once; documents not yet carried back follow, and writes to them wait for that.
            on_plan: as `cutover`.
            on_step: told what is done next.
            on_wait: told what is waited for.

        Raises:
            GateFailed: some gates do not hold; all of them are listed.
        """
        workshop = self.workshop(AliasName(name))
        migration = self._in_phase(workshop, "roll back", (Phase.REVERSING, Phase.ROLLED_BACK))
        if migration.phase is Phase.REVERSING and not now:
            self._settle(workshop, is_close, on_wait)
            require(rollback_gates(workshop), verb="rollback", alias=name)
        plan = plan_rollback(workshop.state().route, migration, drain=not now)
        return self._run(workshop, migration, plan, on_plan=on_plan, on_step=on_step, on_wait=on_wait)

    def complete(
        self, name: str, *, on_plan: OnPlan = silent, on_step: OnWait = silent, on_wait: OnWait = silent
    ) -> dict[str, Any]:
        """Let the source go and drop it; there is no way back. The callbacks are those of `cutover`.

        Raises:
            GateFailed: some gates do not hold; all of them are listed.
        """
        workshop = self.workshop(AliasName(name))
        migration = self._in_phase(workshop, "complete", (Phase.REVERSING, Phase.RETIRING))
        if migration.phase is Phase.REVERSING:
            self._settle(workshop, lambda lag: not lag.foreign, on_wait)
            require(completion_gates(workshop), verb="completion", alias=name)
        plan = plan_completion(workshop.state().route, migration)
        return self._run(workshop, migration, plan, on_plan=on_plan, on_step=on_step, on_wait=on_wait)

    def cancel(
        self,
        name: str,
        *,
        drop: bool = False,
        on_plan: OnPlan = silent,
        on_step: OnWait = silent,
        on_wait: OnWait = silent,
    ) -> dict[str, Any]:
        """Give a migration up before its cutover; the target is kept unless it is to be dropped.

        The callbacks are those of `cutover`.

        Raises:
            GateFailed: after a rollback, documents are in the target only.
        """
        workshop = self.workshop(AliasName(name))
        allowed = (*BEFORE_CUTOVER, Phase.READY, Phase.ROLLED_BACK, Phase.ABORTING)
        migration = self._in_phase(workshop, "cancel", allowed)
        if migration.phase is Phase.ROLLED_BACK:
            self._settle(workshop, lambda lag: not lag.foreign, on_wait)
            require(cancellation_gates(workshop), verb="cancellation", alias=name)
        jobs = any(job.is_open for job in self.ledger.jobs(workshop.alias))
        plan = plan_cancel(workshop.state().route, migration, drop=drop, has_batches=jobs)
        return self._run(workshop, migration, plan, on_plan=on_plan, on_step=on_step, on_wait=on_wait)

    def _run(
        self,
        workshop: Workshop,
        migration: Migration,
        plan: Plan,
        *,
        on_plan: OnPlan,
        on_step: OnWait,
        on_wait: OnWait,
    ) -> dict[str, Any]:
        on_plan(plan)
        # What a process that was killed has left is called before the state changes again.
        call_due(workshop, self._who())
        runner = Runner(workshop=workshop, who=self._who(), on_step=on_step, on_wait=on_wait, migration=migration.id)
        runner.run(plan)
        self.router.refresh(workshop.alias)
        call_if_possible(workshop, self._who())
        return self.status(workshop.alias)

    def _in_phase(self, workshop: Workshop, verb: str, allowed: Sequence[Phase]) -> Migration:
        state = workshop.state()
        if state.migration is None or state.migration.is_final:
            raise NoMigration(
                f"alias {workshop.alias} has no running migration to {verb}",
                hint=f"undrift plan {workshop.alias} --to MODEL",
            )
        phase = state.migration.phase
        if phase not in allowed:
            is_source_serving = phase in {*BEFORE_CUTOVER, Phase.READY, Phase.ROLLED_BACK}
            is_early = is_source_serving and not {*BEFORE_CUTOVER} & {*allowed}
            raise IllegalTransition(
                f"the migration of {workshop.alias} is {phase.value}; it is too {'early' if is_early else 'late'} "
                f"to {verb}",
                hint=f"undrift status {workshop.alias}",
            )
        return state.migration
