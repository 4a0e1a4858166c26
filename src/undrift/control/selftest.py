"""The verb `selftest`: a migration to the same model, which never cuts over and must leave no difference."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import Any

from undrift.control.comparing import Comparing, OnProgress
from undrift.control.migrations import silent
from undrift.control.traffic import Traffic
from undrift.domain.migration import Migration, MigrationId, Phase, RunStatus
from undrift.domain.route import AliasName, Route, VectorField
from undrift.errors import BudgetRequired, FieldInUse, IllegalTransition, StaleRoute, UndriftError
from undrift.migrate.compare import shown
from undrift.migrate.preflight import require_strong_reads
from undrift.migrate.purse import require_budget, require_price
from undrift.migrate.selftest import VectorDifference, compare_vectors
from undrift.migrate.steps import OnWait
from undrift.migrate.sync import carry_dirty
from undrift.migrate.verify import SAMPLE


class Selftest(Comparing, Traffic):
    """Prove on the real collection, under its real writes, that nothing is lost or changed on the way."""

    def selftest(
        self,
        name: str,
        *,
        budget_usd: float | None = None,
        budget_tokens: int | None = None,
        unlimited: bool = False,
        sample: int = SAMPLE,
        rate: float | None = None,
        on_progress: OnProgress = silent,
        on_wait: OnWait = silent,
    ) -> dict[str, Any]:
        """Migrate to the very model that serves, into a scratch field, compare everything, and drop that field.

        It is a real migration by the real steps: writes are journaled, clients acknowledge, every text is embedded
        again. But its source and its target are of one space, so it never cuts over. A selftest that was interrupted
        goes on with the same call.

        Args:
            name: the alias.
            budget_usd: most dollars it may cost.
            budget_tokens: most tokens it may take.
            unlimited: a paid model may cost what it costs.
            sample: documents that the verification embeds again.
            rate: documents a second that the last comparison reads; None for no limit.
            on_progress: told how far the last comparison has come.
            on_wait: told what is waited for.

        Raises:
            StaleRoute: the alias has a migration that is not over.
            BudgetRequired: the model is paid for, and nobody said how much it may cost.
            UndriftError: it could not be carried through; its scratch field is dropped, if that can be done.
        """
        migration = self._register_selftest(
            name, budget_usd=budget_usd, budget_tokens=budget_tokens, unlimited=unlimited
        )
        try:
            found, rounds, tokens = self._run_selftest(
                migration, sample=sample, rate=rate, on_progress=on_progress, on_wait=on_wait
            )
        except UndriftError as error:
            # A collection that somebody else has made under the scratch's name is not this selftest's to drop.
            with suppress(UndriftError):
                self.cancel(name, drop=not isinstance(error, FieldInUse), on_wait=on_wait)
            raise
        self.cancel(name, drop=True, on_wait=on_wait)
        differing = sum(found.kinds.values())
        return {
            "alias": name,
            "model": migration.target_model,
            "space": migration.target.space,
            "scratch": migration.target.key,
            "compared": found.compared,
            "differing": differing,
            "kinds": found.kinds,
            "samples": list(shown(found.samples)),
            "requeued": found.requeued,
            "healed_rounds": rounds - 1,
            "worst_cosine": found.worst,
            "tokens": tokens,
            "verdict": "pass" if not differing and rounds == 1 else "fail",
        }

    def _run_selftest(
        self, migration: Migration, *, sample: int, rate: float | None, on_progress: OnProgress, on_wait: OnWait
    ) -> tuple[VectorDifference, int, int]:
        name = migration.alias

        def ended(present: Migration | None) -> bool:
            return present is None or present.phase in (Phase.READY, Phase.ABORTING) or present.is_final

        if not ended(migration):
            self.work(name, ended, on_wait=on_wait, sample=sample)
        workshop = self.workshop(name)
        present = workshop.migration()
        if present.id != migration.id or present.phase is not Phase.READY:
            raise IllegalTransition(
                f"the selftest of {name} was ended by somebody else", hint=f"undrift selftest {name}"
            )
        held, tell = self._throttled(workshop, on_progress, on_wait)
        found = compare_vectors(held, rate=rate, on_progress=tell, carry=lambda: carry_dirty(workshop))
        # Differences that a verification found were healed on the way; they count all the same.
        history = self.ledger.history(name, limit=10_000)
        since = [entry for entry in history if entry.at >= migration.started]
        rounds = sum(entry.action == Phase.VERIFY.value for entry in since)
        return found, rounds, present.tokens

    def _register_selftest(
        self, name: str, *, budget_usd: float | None, budget_tokens: int | None, unlimited: bool
    ) -> Migration:
        alias = AliasName(name)
        self.alias(name)
        state = self.ledger.alias(alias)
        running = state.migration if state else None
        if running is not None and running.is_selftest and running.phase is Phase.ABORTING:
            self.cancel(name, drop=True)
        elif running is not None and not running.is_final:
            return self._resumed(running)
        route = self.router.refresh(alias)
        require_strong_reads(self.store_of(route.serving))
        door = self.door_of(route.serving.space)
        require_budget(budget_usd, budget_tokens, f"undrift selftest {name}")
        require_price(door.limits, budget_usd, door.space.model)
        if door.limits.paid and budget_usd is None and budget_tokens is None and not unlimited:
            raise BudgetRequired(
                f"the model of {name} is paid for; a selftest embeds every text again: say how much it may cost",
                hint=f"undrift selftest {name} --budget-usd N, or --budget-tokens N, or --no-budget",
            )
        known = self.ledger.space(route.serving.space)
        workshop = self.workshop(alias)
        self.ledger.reap(alias, workshop.settle_s)
        migration = Migration(
            id=MigrationId(uuid.uuid4().hex[:12]),
            alias=alias,
            source=route.serving,
            target=self._scratch(route, name),
            target_model=known.model if known else "",
            budget_tokens=budget_tokens,
            budget_usd=budget_usd,
            usd_per_million_tokens=door.limits.usd_per_million_tokens,
            started=self.clock.now(),
        )
        self.ledger.register_migration(migration, who=self._who())
        return migration

    def _resumed(self, running: Migration) -> Migration:
        """Go on with a selftest that was interrupted.

        Raises:
            StaleRoute: what runs is not a selftest.
        """
        if not running.is_selftest:
            raise StaleRoute(
                f"alias {running.alias} has a migration to {running.aim}, in phase {running.phase.value}; a "
                "selftest waits until it is over",
                hint=f"undrift status {running.alias}",
            )
        if running.run_status is RunStatus.HALTED:
            self.ledger.save_run_status(running.id, RunStatus.RUNNING, reason="", who=self._who())
        return running

    def _scratch(self, route: Route, name: str) -> VectorField:
        """Name a collection that is not there: nothing but what this selftest makes is ever dropped by it."""
        return self._free_field(route, f"{name}__selftest", route.serving.space)
