"""The verbs that plan a migration and bring it on."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any

from undrift.control.documents import Documents
from undrift.control.operations import Operations
from undrift.domain.adoption import NOTE
from undrift.domain.checkpoint import Lag
from undrift.domain.migration import Migration, MigrationId
from undrift.domain.route import AliasName, Route, VectorField
from undrift.domain.shape import join_address, split_address
from undrift.domain.wording import plural
from undrift.errors import (
    BadArgument,
    BudgetRequired,
    IllegalTransition,
    StaleRoute,
)
from undrift.migrate.engine import Worker
from undrift.migrate.hooks import call_if_possible
from undrift.migrate.preflight import as_money, require_fit, survey
from undrift.migrate.steps import OnWait
from undrift.migrate.sync import carry_dirty
from undrift.migrate.verify import SAMPLE
from undrift.migrate.workshop import Workshop


def silent(_: Any = None) -> None:
    """Tell nobody."""


class Migrations(Documents, Operations):
    """Plan, start, work."""

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
        if self.ledger.tuning(AliasName(name)).get(NOTE):
            raise IllegalTransition(
                f"the records of {name} are still being tagged, since the collection was adopted",
                hint="let that adoption go on, or give the same command again: undrift alias adopt",
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
        on_progress: Callable[[], None] = silent,
        on_wait: OnWait = silent,
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

    def _settle(
        self,
        workshop: Workshop,
        enough: Callable[[Lag], bool],
        on_wait: OnWait = silent,
        *,
        limit_s: float | None = None,
    ) -> None:
        """Carry documents over until it is enough, so that gates are not closed by what takes a moment.

        With writers at work there are always some dirty documents: none at all is never waited for.
        """
        longest_s = self.timing.write_timeout_s
        until = self.clock.monotonic() + min(longest_s, longest_s if limit_s is None else limit_s)
        while self.clock.monotonic() < until:
            self.ledger.reap(workshop.alias, workshop.settle_s)
            self.router.beat()
            lag = self.ledger.lag(workshop.alias)
            if enough(lag):
                return
            on_wait(f"{plural(lag.dirty, 'dirty document')} to be carried over: undrift worker {workshop.alias} helps")
            if not carry_dirty(workshop):
                self.clock.sleep(0.05)

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
        # Whoever reads the collection without undrift finds everything where it was.
        shape = split_address(route.serving.collection)[1]
        # Every migration makes the epoch grow before the next can begin.
        collection, number = stem if route.epoch == 1 else f"{stem}_{route.epoch}", 1
        while True:
            field = VectorField(store=route.serving.store, collection=join_address(collection, shape), space=space)
            if self.store_of(field).describe(field) is None:
                return field
            number += 1
            collection = f"{stem}_{route.epoch}_{number}"
