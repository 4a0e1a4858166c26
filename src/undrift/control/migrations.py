"""The verbs that plan a migration and bring it on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from undrift.control.aiming import Aim, Aiming, layout_of
from undrift.control.operations import Operations
from undrift.domain.adoption import NOTE
from undrift.domain.checkpoint import Lag
from undrift.domain.migration import Migration
from undrift.domain.route import AliasName
from undrift.domain.wording import plural
from undrift.errors import (
    BudgetRequired,
    IllegalTransition,
    StaleRoute,
)
from undrift.migrate.engine import Worker
from undrift.migrate.hooks import call_if_possible
from undrift.migrate.preflight import as_money, layout_word, survey
from undrift.migrate.purse import require_budget, require_price
from undrift.migrate.steps import OnWait, name_served
from undrift.migrate.sync import carry_dirty
from undrift.migrate.verify import SAMPLE
from undrift.migrate.workshop import Workshop
from undrift.ports.store import Layout


def silent(_: Any = None) -> None:
    """Tell nobody."""


class Migrations(Aiming, Operations):
    """Plan, start, work."""

    def plan(
        self,
        name: str,
        to: str | None = None,
        *,
        to_store: str | None = None,
        collection: str | None = None,
        layout: Layout | None = None,
    ) -> dict[str, Any]:
        """Return what a migration to a model, to a store, or to both would take; changes nothing.

        Args:
            name: the alias.
            to: the model to migrate to; the one it has stays, and vectors are copied, when only a store is named.
            to_store: the store to migrate to; the one it is in by default.
            collection: the new collection's name; one that says what is in it by default.
            layout: where the target's vectors are put: in a collection of their own, which is the default, or beside
                those that serve, in the same records.

        Raises:
            BadArgument: the alias serves just that already, or the store does not have the layout.
        """
        aim = Aim(to=to, to_store=to_store, collection=collection, layout=layout)
        migration, door = self._aim(name, aim)
        state = self.ledger.alias(migration.alias)
        running = state.migration if state else None
        if running is not None and not running.is_final and aim.is_that_of(running):
            migration = running
        to, target = migration.target_model, migration.target
        route = self.router.join(migration.alias)
        facts = survey(
            self.store_of(route.serving),
            route.serving,
            door,
            target=target,
            into=self.store_of(target).capabilities,
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
            "layout": layout_word(layout_of(route.serving, target)),
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
                migration.command + aim.options + (" --budget-usd N" if door.limits.paid and facts.unique_texts else "")
            ],
        }

    def register(
        self,
        name: str,
        to: str | None = None,
        *,
        to_store: str | None = None,
        collection: str | None = None,
        layout: Layout | None = None,
        budget_usd: float | None = None,
        budget_tokens: int | None = None,
        unlimited: bool = False,
    ) -> Migration:
        """Record a migration, so that any worker can begin it; one to the same place that runs already is returned.

        One that copies vectors has to pay only for what strangers wrote, and pays nothing unless a budget is named.

        Args:
            name: the alias.
            to: as `plan`; so are the next three.
            to_store: the store to migrate to.
            collection: the new collection's name.
            layout: where the target's vectors are put.
            budget_usd: most dollars it may cost.
            budget_tokens: most tokens it may take.
            unlimited: a paid model may cost what it costs.

        Raises:
            BudgetRequired: the model is paid for, and nobody said how much it may cost, or what a token costs.
            BadArgument: a budget is not above 0, or the store does not have the layout.
            StaleRoute: another migration runs, or the same one in the other layout.
        """
        aim = Aim(to=to, to_store=to_store, collection=collection, layout=layout)
        state = self.ledger.alias(AliasName(name))
        running = state.migration if state else None
        if running is not None and not running.is_final:
            if aim.is_that_of(running):
                return running
            what = "a selftest" if running.is_selftest else f"a migration to {running.aim}"
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
        migration, door = self._aim(name, aim)
        require_budget(budget_usd, budget_tokens, migration.command)
        require_price(door.limits, budget_usd, migration.target_model)
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
        # It may have been configured since the alias was made.
        name_served(workshop)
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
