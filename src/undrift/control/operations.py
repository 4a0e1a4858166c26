"""The verbs by which an operator holds the work, lets it go on, and changes how it is done."""

from __future__ import annotations

import getpass
from typing import Any

from undrift.config import known_time_zone
from undrift.control.status import Status
from undrift.domain.migration import Migration, RunStatus
from undrift.domain.route import AliasName
from undrift.domain.tuning import KNOBS, NONE, read_knob, shown, tuned
from undrift.errors import BadArgument, IllegalTransition, NoMigration
from undrift.migrate import postponement
from undrift.migrate.hooks import call_if_possible
from undrift.migrate.purse import require_price

#: What a migration may spend; kept with it, and not with its other settings.
BUDGETS = ("budget_usd", "budget_tokens")
#: What an operator can change while a migration runs.
TUNABLE = (*BUDGETS, *KNOBS)


class Operations(Status):
    """Pause, resume, stop, tune."""

    def pause(self, name: str, *, reason: str = "") -> dict[str, Any]:
        """Stop all work on a migration, on every host; writes and searches go on.

        No worker calls a store or a model any more, except for documents that a writer waits for: those whose truth is
        in the other field, shortly after a flip. Verbs that an operator gives go on, and so do writes with
        `mirror = "inline"`.

        Args:
            name: the alias.
            reason: why, for those who look at the status.

        Raises:
            NoMigration: there is nothing to pause.
            IllegalTransition: its workers are stopped or halted already.
        """
        migration = self._running(name)
        if migration.run_status in (RunStatus.STOPPED, RunStatus.HALTED):
            raise IllegalTransition(
                f"the migration of {name} is {migration.run_status.value} already; nothing works on it",
                hint=f"undrift status {name}",
            )
        return self._set_run_status(migration, RunStatus.PAUSED, reason)

    def resume(self, name: str) -> dict[str, Any]:
        """Let workers work again, after a pause, a halt or a stop."""
        migration = self._running(name)
        if migration.run_status is RunStatus.HALTED:
            # A worker that halted it may have been killed before it called the hooks for that.
            call_if_possible(self.workshop(migration.alias), self._who())
        return self._set_run_status(migration, RunStatus.RUNNING, "")

    def panic(self, name: str, *, reason: str = "") -> dict[str, Any]:
        """Stop every worker of a migration at once, in the middle of what it does, and touch nothing else.

        The next call of a worker to a store or a model is refused, on every host. Searches and writes go on; a write to
        a document whose truth is in the other field waits, because only a worker carries it over. `resume` ends it.
        """
        return self._set_run_status(self._running(name), RunStatus.STOPPED, reason)

    def panic_all(self, *, reason: str = "") -> list[dict[str, Any]]:
        """Stop every worker of every migration that runs; returns the status of each of them."""
        stopped = []
        for name in self.ledger.aliases():
            state = self.ledger.alias(name)
            if state is not None and state.migration is not None and not state.migration.is_final:
                stopped.append(self.panic(name, reason=reason))
        return stopped

    def postpone(self, name: str, *, reason: str = "") -> dict[str, Any]:
        """Keep the cutover of a running migration waiting until `unpostpone`; the work goes on."""
        migration = self._running(name)
        who, why = self._who(), " ".join(reason.split())
        self.ledger.tune(migration.alias, {postponement.NOTE: postponement.note_of(who, why)})
        self.ledger.enter(migration.alias, who=who, action="postponed", detail=why)
        return self.status(name)

    def unpostpone(self, name: str) -> dict[str, Any]:
        """Let the cutover come, as far as this gate is concerned."""
        migration = self._running(name)
        if self.ledger.tuning(migration.alias).get(postponement.NOTE):
            self.ledger.tune(migration.alias, {postponement.NOTE: ""})
            self.ledger.enter(migration.alias, who=self._who(), action="unpostponed", detail="")
        return self.status(name)

    def tune(self, name: str, values: dict[str, str]) -> dict[str, Any]:
        """Change settings of a running migration; its workers see them within a few seconds.

        Args:
            name: the alias.
            values: settings by name, as a person writes them; `none` is no limit.

        Raises:
            BadArgument: there is no such setting, or it cannot have that value; nothing has changed.
        """
        migration = self._running(name)
        budget: dict[str, float | None] = {"budget_usd": migration.budget_usd, "budget_tokens": migration.budget_tokens}
        live = {}
        for key, value in values.items():
            if key in BUDGETS:
                budget[key] = None if value == NONE else _amount(key, value, f"undrift tune {name} {key}=100")
                continue
            _refuse_unknown(key)
            try:
                read_knob(key, value)
            except BadArgument as error:
                raise BadArgument(error.message, error.detail, f"undrift tune {name} {key}=?") from error
            if key == "time_zone":
                _refuse_unknown_zone(value)
            live[key] = value
        if budget.keys() & values.keys():
            tokens = budget["budget_tokens"]
            limit = None if tokens is None else int(tokens)
            if budget["budget_usd"] is not None and not migration.usd_per_million_tokens:
                require_price(
                    self.model_door(migration.target_model).limits, budget["budget_usd"], migration.target_model
                )
            self.ledger.set_budget(migration.id, tokens=limit, usd=budget["budget_usd"])
        if live:
            self.ledger.tune(migration.alias, live)
        told = ", ".join(f"{key}={value}" for key, value in values.items())
        self.ledger.enter(migration.alias, who=self._who(), action="tuned", detail=told)
        return self.status(name)

    def settings(self, name: str) -> dict[str, str]:
        """Return every setting of a running migration as `tune` takes it, with the value that it has now."""
        migration = self._running(name)
        present = shown(tuned(self.config.limits_of(migration.alias), self.ledger.tuning(migration.alias)))
        budget = {"budget_usd": migration.budget_usd, "budget_tokens": migration.budget_tokens}
        return {**{key: NONE if value is None else f"{value:.15g}" for key, value in budget.items()}, **present}

    def _running(self, name: str) -> Migration:
        """Return the running migration of an alias, without calling a store or a model for it."""
        alias, state, _ = self._look(name)
        if state.migration is None or state.migration.is_final:
            raise no_migration(alias)
        return state.migration

    def _set_run_status(self, migration: Migration, status: RunStatus, reason: str) -> dict[str, Any]:
        self.ledger.save_run_status(migration.id, status, reason=" ".join(reason.split()), who=self._who())
        return self.status(migration.alias)

    def _who(self) -> str:
        try:
            return getpass.getuser()
        except (KeyError, OSError):
            return "unknown"


def _refuse_unknown(key: str) -> None:
    if key not in TUNABLE:
        raise BadArgument(f"there is no setting {key}", f"there are: {', '.join(TUNABLE)}")


def _refuse_unknown_zone(name: str) -> None:
    try:
        known_time_zone(name)
    except ValueError as error:
        raise BadArgument(f"time_zone cannot be {name!r}: {error}") from error


def _amount(key: str, value: str, hint: str) -> float:
    try:
        amount = float(value)
    except ValueError as error:
        raise BadArgument(f"{key} is {value!r}, not a number", hint=hint) from error
    if not 0 <= amount < float("inf"):
        raise BadArgument(f"{key} is {value}; a budget is 0 or more, or none for no limit", hint=hint)
    return amount


def no_migration(alias: AliasName) -> NoMigration:
    """Return the error for an alias without a running migration."""
    return NoMigration(f"alias {alias} has no running migration", hint=f"undrift plan {alias} --to MODEL")
