"""The verbs that plan a migration and bring it on."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from undrift.control.documents import Documents
from undrift.control.operations import Operations
from undrift.domain.checkpoint import Lag
from undrift.domain.migration import Migration, MigrationId
from undrift.domain.route import AliasName, Route, VectorField
from undrift.domain.space import SpaceId
from undrift.domain.wording import plural
from undrift.errors import (
    BadArgument,
    BudgetRequired,
    StaleRoute,
)
from undrift.migrate.engine import Worker
from undrift.migrate.hooks import call_if_possible
from undrift.migrate.naming import target_address
from undrift.migrate.preflight import as_money, layout_word, require_fit, require_layout, survey
from undrift.migrate.steps import OnWait
from undrift.migrate.sync import carry_dirty
from undrift.migrate.verify import SAMPLE
from undrift.migrate.workshop import Workshop
from undrift.ports.store import Layout


def silent(_: Any = None) -> None:
    """Tell nobody."""


class Migrations(Documents, Operations):
    """Plan, start, work."""

    def plan(self, name: str, to: str, *, layout: Layout | None = None) -> dict[str, Any]:
        """Return what a migration to a model would take; changes nothing.

        Args:
            name: the alias.
            to: the model.
            layout: where the target's vectors would be; in a collection of their own by default.

        Raises:
            BadArgument: the alias serves that model's space already, or its store does not have the layout.
        """
        alias, door, target = self._aim(name, to, layout)
        state = self.ledger.alias(alias)
        running = state.migration if state else None
        if running is not None and not running.is_final and running.target_model == to:
            _require_same_layout(running, layout)
            target = running.target
        route = self.router.join(alias)
        facts = survey(self.store_of(route.serving), route.serving, door, target=target)
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
            "layout": layout_word(_layout_of(route.serving, target)),
            "documents": facts.documents,
            "unique_texts": facts.unique_texts,
            "tokens": facts.tokens,
            "tokens_are": "exact" if facts.tokens_exact else "estimated",
            "cost_usd": as_money(facts.usd(price)),
            "hours": {"online": None, "batch": None},
            "storage_bytes": facts.storage_bytes,
            "gates": ["complete", "lag", "verified", "quarantine", "acknowledged", "reconciled", "rollback"],
            "warnings": warnings,
            "next_steps": [
                f"undrift start {name} --to {to}"
                + (f" --layout {layout_word(layout)}" if layout not in (None, Layout.COLLECTION) else "")
                + (" --budget-usd N" if door.limits.paid else "")
            ],
        }

    def register(
        self,
        name: str,
        to: str,
        *,
        layout: Layout | None = None,
        budget_usd: float | None = None,
        budget_tokens: int | None = None,
        unlimited: bool = False,
    ) -> Migration:
        """Record a migration, so that any worker can begin it; one to the same model that runs already is returned.

        Args:
            name: the alias.
            to: the model.
            layout: where the target's vectors are put: in a collection of their own, which is the default, or beside
                those that serve, in the same records.
            budget_usd: most dollars it may cost.
            budget_tokens: most tokens it may take.
            unlimited: a paid model may cost what it costs.

        Raises:
            BudgetRequired: the model is paid for, and nobody said how much it may cost.
            BadArgument: the store does not have the layout.
            StaleRoute: another migration runs, or the same one in the other layout.
        """
        state = self.ledger.alias(AliasName(name))
        running = state.migration if state else None
        if running is not None and not running.is_final:
            if running.target_model == to and not running.is_selftest:
                _require_same_layout(running, layout)
                return running
            what = "a selftest" if running.is_selftest else f"a migration to {running.target_model}"
            raise StaleRoute(
                f"alias {name} has {what} already, in phase {running.phase.value}",
                hint=f"undrift selftest {name}, or undrift cancel {name} --drop"
                if running.is_selftest
                else f"undrift status {name}",
            )
        alias, door, target = self._aim(name, to, layout)
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

    def _aim(self, name: str, to: str, layout: Layout | None) -> tuple[AliasName, Any, VectorField]:
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
        require_layout(store, layout or Layout.COLLECTION)
        return alias, door, self._free_field(route, name, door.space.id, layout or Layout.COLLECTION)

    def _free_field(self, route: Route, name: str, space: SpaceId, layout: Layout = Layout.COLLECTION) -> VectorField:
        """Name a field that is not there: what an earlier migration left is not touched."""
        number = 1
        while True:
            address = target_address(route.serving.collection, name, space, layout, epoch=route.epoch, number=number)
            field = VectorField(store=route.serving.store, collection=address, space=space)
            if self.store_of(field).describe(field) is None:
                return field
            number += 1


def _layout_of(source: VectorField, target: VectorField) -> Layout:
    return Layout.IN_PLACE if target.is_beside(source) else Layout.COLLECTION


def _require_same_layout(running: Migration, layout: Layout | None) -> None:
    """Pass when nobody asks for another layout than that of the migration that runs."""
    has = _layout_of(running.source, running.target)
    if layout not in (None, has):
        raise StaleRoute(
            f"alias {running.alias} has a migration to {running.target_model} already, in the layout "
            f"{layout_word(has)}",
            hint=f"undrift cancel {running.alias} --drop, or leave --layout out",
        )
