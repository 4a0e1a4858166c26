"""The verbs that begin a migration and bring it on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from undrift.control.aiming import Aim
from undrift.control.operations import Operations
from undrift.control.planning import Planning, of_budget
from undrift.control.pooling import Pooling
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
from undrift.migrate import forecast
from undrift.migrate.engine import Worker
from undrift.migrate.hooks import call_if_possible
from undrift.migrate.purse import require_budget, require_price
from undrift.migrate.steps import OnWait, name_served
from undrift.migrate.survey import SAMPLED
from undrift.migrate.sync import carry_dirty
from undrift.migrate.verify import SAMPLE
from undrift.migrate.workshop import Workshop
from undrift.ports.store import Layout


def silent(_: Any = None) -> None:
    """Tell nobody."""


class Migrations(Planning, Operations, Pooling):
    """Plan, start, work."""

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
        on_warning: Callable[[str], None] = silent,
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
            on_warning: told, before anything is recorded, that the budget cannot be enough, or may not be.

        Raises:
            BudgetRequired: the model is paid for, and nobody said how much it may cost; or its price is not known, so
                that a budget in dollars would limit nothing.
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
        # The price of the migration is the catalogue's where the model has none.
        priced = replace(door.limits, usd_per_million_tokens=migration.usd_per_million_tokens)
        require_price(priced, budget_usd, migration.target_model)
        if door.limits.paid and budget_usd is None and budget_tokens is None and not unlimited:
            if not migration.copies:
                raise BudgetRequired(
                    f"model {migration.target_model} is paid for; say how much the migration of {name} may cost",
                    hint=f"{migration.command} --budget-usd N, or --budget-tokens N, or --no-budget",
                )
            budget_tokens = 0
        said = None
        if door.limits.paid and not migration.copies:
            found = self.reckon(migration, door, sample=SAMPLED)
            said = found.forecast()
            for warning in of_budget(found, budget_usd, budget_tokens):
                on_warning(warning)
        if not migration.copies:
            self.recorded(migration.target_model)
        workshop = self.workshop(migration.alias)
        # It may have been configured since the alias was made.
        name_served(workshop)
        self.ledger.reap(migration.alias, workshop.settle_s)
        migration = replace(migration, budget_tokens=budget_tokens, budget_usd=budget_usd)
        self.ledger.register_migration(migration, who=self._who())
        if said is not None:
            forecast.keep(self.ledger, migration.alias, said)
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
        engine: str | None = None,
    ) -> None:
        """Be a worker of an alias's migration until a condition holds.

        Args:
            name: the alias.
            until: asked with the migration again and again whether to stop.
            on_progress: called after every piece of work.
            on_wait: told what is waited for.
            sample: documents that a verification embeds again.
            engine: who carries the pieces of the back-fill: `local`, this process, or `ray`, those of a cluster; what
                is configured by default.

        Raises:
            UndriftError: the migration was halted, because going on needs a person.
        """
        workshop = self.workshop(AliasName(name))

        def progressed() -> None:
            self.heard()
            on_progress()

        worker = Worker(
            workshop=workshop,
            fleet=self.fleet(workshop, engine),
            who=self._who(),
            on_progress=progressed,
            on_wait=on_wait,
            sample=sample,
        )
        try:
            worker.run(until)
        finally:
            # A model that is gone halts the work, and is told at once.
            self.heard()

    def _settle(
        self,
        workshop: Workshop,
        enough: Callable[[Lag], bool],
        on_wait: OnWait = silent,
        *,
        limit_s: float | None = None,
    ) -> None:
        """Carry documents over until it is enough, so that gates are not closed by what takes a moment.

        With writers at work there are always some dirty documents: none at all is never waited for. What is held by an
        operator is not waited for either.
        """
        longest_s = self.timing.write_timeout_s
        until = self.clock.monotonic() + min(longest_s, longest_s if limit_s is None else limit_s)
        while self.clock.monotonic() < until:
            self.ledger.reap(workshop.alias, workshop.settle_s)
            self.router.beat()
            lag = self.ledger.lag(workshop.alias)
            migration = workshop.state().migration
            if enough(lag) or (migration is not None and migration.is_held and not lag.foreign):
                # While an operator holds the work nobody carries anything, except for what writers wait for.
                return
            what = plural(lag.dirty, "dirty document")
            on_wait(f"{what} to be carried over: undrift worker {workshop.alias} helps{lag.open_writes}")
            if not carry_dirty(workshop):
                self.clock.sleep(0.05)
