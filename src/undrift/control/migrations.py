"""The verbs that plan, run and end a migration."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from undrift.control.documents import Documents
from undrift.control.operations import Operations
from undrift.domain.checkpoint import Lag
from undrift.domain.gate import Verdict, require
from undrift.domain.migration import BEFORE_CUTOVER, Migration, MigrationId, Phase
from undrift.domain.plan import Plan, describe, plan_cancel, plan_completion, plan_cutover, plan_rollback
from undrift.domain.route import AliasName, Route, VectorField
from undrift.domain.wording import plural
from undrift.errors import BadArgument, BudgetRequired, IllegalTransition, NoMigration, StaleRoute
from undrift.migrate.engine import Worker
from undrift.migrate.gates import completion_gates, cutover_gates, is_close, rollback_gates
from undrift.migrate.hooks import call_due, call_if_possible, consent
from undrift.migrate.preflight import as_money, require_fit, survey
from undrift.migrate.runner import Runner
from undrift.migrate.steps import OnWait
from undrift.migrate.sync import carry_dirty
from undrift.migrate.verify import SAMPLE
from undrift.migrate.workshop import Workshop

#: Told every step of a plan before the first one is taken; raises to refuse it.
OnPlan = Callable[[Plan], None]


def _silent(_: Any = None) -> None:
    """Tell nobody."""


class Migrations(Documents, Operations):
    """Plan, start, work, verify, cut over, roll back, complete, cancel."""

    def plan(self, name: str, to: str) -> dict[str, Any]:
        """Return what a migration to a model would take; changes nothing.

        Raises:
            BadArgument: the alias serves that model's space already.
        """
        alias, door, target = self._aim(name, to)
        state = self.ledger.alias(alias)
        running = state.migration if state else None
        if running is not None and not running.is_final and running.target_model == to:
            target = running.target
        route = self.router.join(alias)
        facts = survey(self.store_of(route.serving), route.serving, door)
        price = door.limits.usd_per_million_tokens
        warnings = list(facts.warnings)
        if door.limits.paid and not price:
            warnings.append(f"model {to} is paid for, and its price is not configured (usd_per_million_tokens)")
        if door.limits.paid and facts.documents:
            share = min(SAMPLE, facts.documents) / facts.documents
            warnings.append(
                f"each verification embeds {plural(min(SAMPLE, facts.documents), 'document')} again: "
                f"about {int(facts.tokens * share)} tokens on top, which the budget has to allow"
            )
        return {
            "alias": name,
            "source": {"field": route.serving.key, "space": route.serving.space},
            "target": {"field": target.key, "space": target.space, "model": to},
            "documents": facts.documents,
            "unique_texts": facts.unique_texts,
            "tokens": facts.tokens,
            "tokens_are": "exact" if facts.tokens_exact else "estimated",
            "cost_usd": as_money(facts.usd(price)),
            "hours": {"online": None, "batch": None},
            "storage_bytes": facts.storage_bytes,
            "gates": ["complete", "lag", "verified", "quarantine", "acknowledged", "reconciled", "rollback"],
            "warnings": warnings,
            "next_steps": [f"undrift start {name} --to {to}" + (" --budget-usd N" if door.limits.paid else "")],
        }

    def register(
        self,
        name: str,
        to: str,
        *,
        budget_usd: float | None = None,
        budget_tokens: int | None = None,
        unlimited: bool = False,
    ) -> Migration:
        """Record a migration, so that any worker can begin it; one to the same model that runs already is returned.

        Raises:
            BudgetRequired: the model is paid for, and nobody said how much it may cost.
            StaleRoute: another migration runs.
        """
        state = self.ledger.alias(AliasName(name))
        running = state.migration if state else None
        if running is not None and not running.is_final:
            if running.target_model == to and not running.is_selftest:
                return running
            what = "a selftest" if running.is_selftest else f"a migration to {running.target_model}"
            raise StaleRoute(
                f"alias {name} has {what} already, in phase {running.phase.value}",
                hint=f"undrift selftest {name}, or undrift cancel {name} --drop"
                if running.is_selftest
                else f"undrift status {name}",
            )
        alias, door, target = self._aim(name, to)
        if door.limits.paid and budget_usd is None and budget_tokens is None and not unlimited:
            raise BudgetRequired(
                f"model {to} is paid for; say how much the migration of {name} may cost",
                hint=f"undrift start {name} --to {to} --budget-usd N, or --budget-tokens N, or --no-budget",
            )
        self.recorded(to)
        workshop = self.workshop(alias)
        self.ledger.reap(alias, workshop.settle_s)
        migration = Migration(
            id=MigrationId(uuid.uuid4().hex[:12]),
            alias=alias,
            source=self.router.refresh(alias).serving,
            target=target,
            target_model=to,
            budget_tokens=budget_tokens,
            budget_usd=budget_usd,
            usd_per_million_tokens=door.limits.usd_per_million_tokens,
            started=self.clock.now(),
        )
        self.ledger.register_migration(migration, who=self._who())
        call_if_possible(workshop, self._who())
        return migration

    def work(
        self,
        name: str,
        until: Callable[[Migration | None], bool],
        *,
        on_progress: Callable[[], None] = _silent,
        on_wait: OnWait = _silent,
        sample: int = SAMPLE,
    ) -> None:
        """Be a worker of an alias's migration until a condition holds.

        Raises:
            UndriftError: the migration was halted, because going on needs a person.
        """
        worker = Worker(
            workshop=self.workshop(AliasName(name)),
            who=self._who(),
            on_progress=on_progress,
            on_wait=on_wait,
            sample=sample,
        )
        worker.run(until)

    def plan_cutover(
        self, name: str, *, freeze_s: float | None = None, accept_quarantine: bool = False
    ) -> dict[str, Any]:
        """Return what a cutover would do, and which gates hold; changes nothing."""
        workshop = self.workshop(AliasName(name))
        migration = workshop.migration()
        gates = cutover_gates(workshop, accept_quarantine=accept_quarantine)
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
        on_plan: OnPlan = _silent,
        on_step: OnWait = _silent,
        on_wait: OnWait = _silent,
    ) -> dict[str, Any]:
        """Make the target serve, when every gate holds.

        Args:
            name: the alias.
            freeze_s: writers wait for at most so long while the last dirty documents are carried over.
            accept_quarantine: documents that could not be carried over are no obstacle.
            on_plan: told the whole plan when every gate holds, before its first step; raises to refuse it.
            on_step: told what is done next.
            on_wait: told what is waited for.

        Raises:
            GateFailed: some do not; all of them are listed.
            IllegalTransition: the target serves already, or the migration is ending.
        """
        workshop = self.workshop(AliasName(name))
        migration = self._in_phase(
            workshop, "cut over", (*BEFORE_CUTOVER, Phase.READY, Phase.ROLLED_BACK, Phase.REVERSING)
        )
        if migration.phase is not Phase.REVERSING:
            self._settle(workshop, is_close, on_wait)
            gates = cutover_gates(workshop, accept_quarantine=accept_quarantine)
            gates += consent(workshop, self._who(), gates, dry_run=False)
            require(gates, verb="cutover", alias=name)
        plan = plan_cutover(workshop.state().route, migration, freeze_s=freeze_s, accept_quarantine=accept_quarantine)
        return self._run(workshop, migration, plan, on_plan=on_plan, on_step=on_step, on_wait=on_wait)

    def rollback(
        self,
        name: str,
        *,
        now: bool = False,
        on_plan: OnPlan = _silent,
        on_step: OnWait = _silent,
        on_wait: OnWait = _silent,
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
        self, name: str, *, on_plan: OnPlan = _silent, on_step: OnWait = _silent, on_wait: OnWait = _silent
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
        on_plan: OnPlan = _silent,
        on_step: OnWait = _silent,
        on_wait: OnWait = _silent,
    ) -> dict[str, Any]:
        """Give a migration up before its cutover; the target is kept unless it is to be dropped.

        The callbacks are those of `cutover`.
        """
        workshop = self.workshop(AliasName(name))
        allowed = (*BEFORE_CUTOVER, Phase.READY, Phase.ROLLED_BACK, Phase.ABORTING)
        migration = self._in_phase(workshop, "cancel", allowed)
        plan = plan_cancel(workshop.state().route, migration, drop=drop)
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

    def _settle(self, workshop: Workshop, enough: Callable[[Lag], bool], on_wait: OnWait = _silent) -> None:
        """Carry documents over until it is enough, so that gates are not closed by what takes a moment.

        With writers at work there are always some dirty documents: none at all is never waited for.
        """
        until = self.clock.monotonic() + self.timing.write_timeout_s
        while self.clock.monotonic() < until:
            self.ledger.reap(workshop.alias, workshop.settle_s)
            self.router.beat()
            lag = self.ledger.lag(workshop.alias)
            if enough(lag):
                return
            on_wait(f"{plural(lag.dirty, 'dirty document')} to be carried over: undrift worker {workshop.alias} helps")
            if not carry_dirty(workshop):
                self.clock.sleep(0.05)

    def _in_phase(self, workshop: Workshop, verb: str, allowed: Sequence[Phase]) -> Migration:
        state = workshop.state()
        if state.migration is None or state.migration.is_final:
            raise NoMigration(
                f"alias {workshop.alias} has no running migration to {verb}",
                hint=f"undrift plan {workshop.alias} --to MODEL",
            )
        if state.migration.phase not in allowed:
            raise IllegalTransition(
                f"the migration of {workshop.alias} is {state.migration.phase.value}; it is too "
                f"{'late' if state.migration.phase not in BEFORE_CUTOVER else 'early'} to {verb}",
                hint=f"undrift status {workshop.alias}",
            )
        return state.migration

    def _aim(self, name: str, to: str) -> tuple[AliasName, Any, VectorField]:
        """Return the alias, the door to the new model, and the field that a migration to it would fill."""
        alias = AliasName(name)
        self.alias(name)
        door = self.model_door(to)
        route = self.router.refresh(alias)
        if route.serving.space == door.space.id:
            raise BadArgument(
                f"alias {name} serves {door.space.id} already, which is what model {to} computes",
                hint=f"undrift alias show {name}",
            )
        store = self.store_of(route.serving)
        require_fit(store, door.space, model=to)
        return alias, door, self._free_field(route, name, door.space.id)

    def _free_field(self, route: Route, name: str, space: Any) -> VectorField:
        """Name a collection that is not there: what an earlier migration left is not touched.

        No two migrations get the same name, whatever was dropped in between: an operator who is late to drop the target
        of a cancelled one must not hit that of the next.
        """
        stem = re.sub(r"[^A-Za-z0-9_-]", "_", f"{name}__{space}")
        # Every migration makes the epoch grow before the next can begin.
        collection, number = stem if route.epoch == 1 else f"{stem}_{route.epoch}", 1
        while True:
            field = VectorField(store=route.serving.store, collection=collection, space=space)
            if self.store_of(field).describe(field) is None:
                return field
            number += 1
            collection = f"{stem}_{route.epoch}_{number}"
