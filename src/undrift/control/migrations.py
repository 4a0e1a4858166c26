"""The verbs that plan a migration and bring it on."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import replace
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
    FieldInUse,
    SpaceMismatch,
    StaleRoute,
)
from undrift.flow.embed import EmbeddingDoor
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

    def plan(
        self, name: str, to: str | None = None, *, to_store: str | None = None, collection: str | None = None
    ) -> dict[str, Any]:
        """Return what a migration to a model, to a store, or to both would take; changes nothing.

        Args:
            name: the alias.
            to: the model to migrate to; the one it has stays, and vectors are copied, when only a store is named.
            to_store: the store to migrate to; the one it is in by default.
            collection: the new collection's name; one that says what is in it by default.

        Raises:
            BadArgument: the alias serves just that already.
        """
        migration, door = self._aim(name, to, to_store, collection)
        state = self.ledger.alias(migration.alias)
        running = state.migration if state else None
        if running is not None and not running.is_final and _is_same(running, to, to_store, collection):
            migration = running
        to, target = migration.target_model, migration.target
        route = self.router.join(migration.alias)
        facts = survey(
            self.store_of(route.serving),
            route.serving,
            door,
            target=self.store_of(target).capabilities,
            copies=migration.copies,
        )
        price = door.limits.usd_per_million_tokens
        warnings = list(facts.warnings)
        if door.limits.paid and not price and facts.unique_texts:
            warnings.append(f"model {to} is paid for, and its price is not configured (usd_per_million_tokens)")
        if migration.copies and facts.unique_texts:
            warnings.append(
                f"{plural(facts.unique_texts, 'text')} to be embedded again, because no tag says that the vector is its"
                + (": this needs a budget" if door.limits.paid else "")
            )
        if door.limits.paid and facts.documents and not migration.copies:
            share = min(SAMPLE, facts.documents) / facts.documents
            warnings.append(
                f"each verification embeds {plural(min(SAMPLE, facts.documents), 'document')} again: "
                f"about {int(facts.tokens * share)} tokens on top, which the budget has to allow"
            )
        return {
            "alias": name,
            "source": {"field": route.serving.key, "space": route.serving.space},
            "target": {"field": target.key, "space": target.space, "model": to},
            "vectors": "copied" if migration.copies else "embedded",
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
                migration.command
                + ("" if collection is None else f" --collection {collection}")
                + (" --budget-usd N" if door.limits.paid and facts.unique_texts else "")
            ],
        }

    def register(
        self,
        name: str,
        to: str | None = None,
        *,
        to_store: str | None = None,
        collection: str | None = None,
        budget_usd: float | None = None,
        budget_tokens: int | None = None,
        unlimited: bool = False,
    ) -> Migration:
        """Record a migration, so that any worker can begin it; one to the same place that runs already is returned.

        The arguments are those of `plan`, and a budget. One that copies vectors has to pay only for what strangers
        wrote, and pays nothing unless a budget is named.

        Raises:
            BudgetRequired: the model is paid for, and nobody said how much it may cost.
            StaleRoute: another migration runs.
        """
        state = self.ledger.alias(AliasName(name))
        running = state.migration if state else None
        if running is not None and not running.is_final:
            if _is_same(running, to, to_store, collection):
                return running
            what = "a selftest" if running.is_selftest else f"a migration to {running.aim}"
            raise StaleRoute(
                f"alias {name} has {what} already, in phase {running.phase.value}",
                hint=f"undrift selftest {name}, or undrift cancel {name} --drop"
                if running.is_selftest
                else f"undrift status {name}",
            )
        migration, door = self._aim(name, to, to_store, collection)
        if door.limits.paid and budget_usd is None and budget_tokens is None and not unlimited:
            if not migration.copies:
                raise BudgetRequired(
                    f"model {migration.target_model} is paid for; say how much the migration of {name} may cost",
                    hint=f"{migration.command} --budget-usd N, or --budget-tokens N, or --no-budget",
                )
            budget_tokens = 0
        if not migration.copies:
            self.recorded(migration.target_model)
        workshop = self.workshop(migration.alias)
        self.ledger.reap(migration.alias, workshop.settle_s)
        migration = replace(migration, budget_tokens=budget_tokens, budget_usd=budget_usd)
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

    def _aim(
        self, name: str, to: str | None, to_store: str | None, collection: str | None
    ) -> tuple[Migration, EmbeddingDoor]:
        """Return the migration that somebody asks for, recorded nowhere yet, and the door to its model."""
        alias = AliasName(name)
        self.alias(name)
        serving = self.router.refresh(alias).serving
        model = to if to is not None else self._model_behind(serving.space)
        store = serving.store if to_store is None else to_store
        there = self.plugins.store(store)
        door = self.model_door(model)
        if (door.space.id, store) == (serving.space, serving.store):
            raise BadArgument(
                f"alias {name} serves {serving.space} in store {serving.store} already"
                + ("" if to is None else f", which is what model {to} computes"),
                "a migration leads to another model, to another store, or to both",
                f"undrift alias show {name}",
            )
        require_fit(there, door.space, model=model)
        migration = Migration(
            id=MigrationId(uuid.uuid4().hex[:12]),
            alias=alias,
            source=serving,
            target=self._target(alias, store, collection, door.space.id),
            target_model=model,
            usd_per_million_tokens=door.limits.usd_per_million_tokens,
            started=self.clock.now(),
        )
        return migration, door

    def _model_behind(self, space: SpaceId) -> str:
        """Return the configured model that computes a recorded space."""
        known = self.ledger.space(space)
        if known is None:
            raise SpaceMismatch(f"the ledger has no space {space}", hint="undrift doctor")
        return self._model_of(known)

    def _target(self, alias: AliasName, store: str, collection: str | None, space: SpaceId) -> VectorField:
        """Return the field that a migration would fill."""
        if collection is None:
            return self._free_field(self.router.refresh(alias), alias, space, store=store)
        field = VectorField(store=store, collection=collection, space=space)
        self._refuse_shared(field, alias)
        state = self.ledger.alias(alias)
        last = state.migration if state else None
        if last is not None and not last.is_final and last.target.key == field.key:
            return field
        if last is not None and last.target.key == field.key:
            # Whoever gave that migration up may still be about to drop it.
            raise FieldInUse(
                f"collection {collection} of store {store} was the target of the last migration of {alias}",
                "a process that was late to drop it would hit that of the next one",
                "name another collection",
            )
        there = self.store_of(field).describe(field)
        if there is not None:
            raise FieldInUse(
                f"collection {collection} of store {store} is there already, with {there.count} records",
                "a migration fills a collection of its own",
                "name another collection, or none",
            )
        return field

    def _free_field(self, route: Route, name: str, space: SpaceId, *, store: str | None = None) -> VectorField:
        """Name a collection that is not there: what an earlier migration left is not touched.

        No two migrations get the same name, whatever was dropped in between: an operator who is late to drop the target
        of a cancelled one must not hit that of the next.
        """
        stem = re.sub(r"[^A-Za-z0-9_-]", "_", f"{name}__{space}")
        # Every migration makes the epoch grow before the next can begin.
        collection, number = stem if route.epoch == 1 else f"{stem}_{route.epoch}", 1
        while True:
            field = VectorField(store=store or route.serving.store, collection=collection, space=space)
            if self.store_of(field).describe(field) is None:
                return field
            number += 1
            collection = f"{stem}_{route.epoch}_{number}"


def _is_same(running: Migration, to: str | None, to_store: str | None, collection: str | None) -> bool:
    """Whether a running migration is what somebody asks for."""
    asked = (running.source.store if to_store is None else to_store, collection or running.target.collection)
    if running.is_selftest or asked != (running.target.store, running.target.collection):
        return False
    return running.copies if to is None else running.target_model == to
