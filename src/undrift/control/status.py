"""What an operator sees: where a migration stands, what it waits for, and what to type next."""

from __future__ import annotations

from typing import Any

from undrift.control.proof import reconciliation_of, verification_of
from undrift.control.wiring import Wiring
from undrift.domain.batch import IN_QUEUE
from undrift.domain.checkpoint import Lag, Progress
from undrift.domain.client import WORKING_ROLES
from undrift.domain.forecast import Share, seconds_left
from undrift.domain.gate import Gate, Verdict
from undrift.domain.migration import BEFORE_CUTOVER, AliasState, Migration, Phase, RunStatus, fields_of
from undrift.domain.order import in_order, named_first
from undrift.domain.overlong import overlong_in
from undrift.domain.pacing import PaceLimits
from undrift.domain.record import DocumentId
from undrift.domain.route import AliasName, Mode
from undrift.domain.tuning import Limits, shown, tuned
from undrift.domain.wording import plural
from undrift.errors import IllegalTransition, UnknownAlias
from undrift.migrate import forecast
from undrift.migrate.gates import rollback_ready, standing_gates
from undrift.migrate.waits import noted_wait, operator_wait


class Status(Wiring):
    """The verb `status`, which changes nothing."""

    def status(self, name: str) -> dict[str, Any]:
        """Return where an alias and its migration stand, in the documented JSON shape.

        Raises:
            UnknownAlias: the ledger does not know it.
        """
        alias, state, lag = self._look(name)
        migration = state.migration
        gates = self._gates(alias, migration)
        return {
            **self._moving(alias, state, lag, gates),
            "serving": {"field": state.route.serving.key, "space": state.route.serving.space},
            "follower": {"field": state.route.follower.key, "space": state.route.follower.space}
            if state.route.follower
            else None,
            "epoch": state.route.epoch,
            "quarantined": self.ledger.quarantined_count(alias),
            "overlong": overlong_in(self.ledger.tuning(alias) if migration is not None else {}).as_dict(),
            "gates": [gate.as_dict() for gate in gates],
            "verification": verification_of(self.ledger, alias, self.clock.now()),
            "reconciliation": reconciliation_of(self.ledger, state),
            "pace": self._paces(migration),
            "order": self._order(alias, migration),
            "rollback_ready": migration is not None and rollback_ready(self.workshop(alias), migration),
            "next_steps": next_steps(name, state, gates),
        }

    def glance(self, name: str) -> dict[str, Any]:
        """Return the part of `status` that changes all the time: a few short reads, no gates, no model, no store.

        Raises:
            UnknownAlias: the ledger does not know it.
        """
        alias, state, lag = self._look(name)
        return self._moving(alias, state, lag, [])

    def _look(self, name: str) -> tuple[AliasName, AliasState, Lag]:
        alias = AliasName(name)
        state = self.ledger.alias(alias)
        if state is None:
            if name in self.config.settings.aliases:
                raise UnknownAlias(
                    f"alias {name} is configured, and nothing was ever put into it",
                    hint=f"undrift put {name} FILE.jsonl",
                )
            raise UnknownAlias(f"the ledger knows no alias {name}", hint="undrift alias list")
        return alias, state, self.ledger.lag(alias)

    def _moving(self, alias: AliasName, state: AliasState, lag: Lag, gates: list[Gate]) -> dict[str, Any]:
        migration = state.migration
        return {
            "alias": alias,
            "phase": migration.phase.value if migration else "idle",
            "run_status": migration.run_status.value if migration and not migration.is_final else "idle",
            "paused_by": self._paused_by(migration),
            "waiting_for": self._waiting_for(alias, state, lag, gates),
            "progress": self._progress(migration).as_dict(),
            "dirty": lag.dirty,
            "oldest_dirty_s": lag.oldest_s,
            "cost": {**self._cost(migration), "forecast": self._forecast(alias, migration)},
            "workers": self._workers(alias, migration),
            "batches": [job.as_dict() for job in self.ledger.jobs(alias)],
            "tuning": self._tuning(alias, migration),
        }

    def _cost(self, migration: Migration | None) -> dict[str, Any]:
        """Return what is spent, what is put aside for requests under way, and what is left of the budgets."""
        if migration is None:
            nothing = dict.fromkeys(("budget_usd", "budget_tokens", "left_tokens", "left_usd"))
            return {"tokens": 0, "usd": 0.0, "reserved_tokens": 0, **nothing, "usd_per_million_tokens": None}
        spending = self.ledger.spending(migration.id)
        usd_left = None if migration.budget_usd is None else max(0.0, migration.budget_usd - migration.usd)
        return {
            "tokens": migration.tokens,
            "usd": round(migration.usd, 6),
            "reserved_tokens": spending.reserved,
            "budget_usd": migration.budget_usd,
            "budget_tokens": migration.budget_tokens,
            "left_tokens": spending.left,
            "left_usd": None if usd_left is None else round(usd_left, 6),
            "usd_per_million_tokens": migration.usd_per_million_tokens or None,
        }

    def _gates(self, alias: AliasName, migration: Migration | None) -> list[Gate]:
        if migration is None or migration.phase not in (Phase.READY, Phase.ROLLED_BACK, Phase.VERIFY):
            return []
        return standing_gates(self.workshop(alias))

    def _progress(self, migration: Migration | None) -> Progress:
        if migration is None:
            return Progress(total=0, done=0, rate_per_s=None)
        done, _, _ = self.ledger.chunk_progress(migration.id)
        if migration.phase not in {*BEFORE_CUTOVER, Phase.ABORTING, Phase.ABORTED}:
            done = migration.total
        began = next(
            (entry.at for entry in self.ledger.history(migration.alias) if entry.action == Phase.BACKFILL.value), None
        )
        rate, between_s = None, None
        # Before every piece is laid out the total still grows, and any forecast would be too short. Of what stands
        # still, or waits for a provider's batch jobs, the past tells nothing.
        is_going = migration.run_status is RunStatus.RUNNING and migration.phase is Phase.BACKFILL and migration.planned
        if (
            began is not None
            and is_going
            and not any(job.state in IN_QUEUE for job in self.ledger.jobs(migration.alias))
        ):
            published = self.ledger.published_over_time(migration.id)
            seconds = (self.clock.now() - began).total_seconds()
            rate = published.rate_per_s or (done / seconds if seconds > 0 and done else None)
            between_s = seconds_left(published, migration.total - done)
        return Progress(total=migration.total, done=done, rate_per_s=rate, between_s=between_s)

    def _paces(self, migration: Migration | None) -> list[dict[str, Any]]:
        """Return what is known of the pace of the accounts the target's model is asked with; no model is opened."""
        known = self.ledger.space(migration.target.space) if migration is not None and not migration.is_final else None
        if known is None or migration is None:
            return []
        configured = self.config.settings.models.get(migration.target_model)
        limits = configured.as_pace_limits() if configured is not None else PaceLimits()
        paces = self.ledger.paces(f"{known.space.channel}/{known.space.model}")
        return [
            {
                "account": account,
                "requests_per_min": pace.rates(limits)[0],
                "tokens_per_min": pace.rates(limits)[1],
                "guessed": pace.is_guessed,
                "processes": len(pace.owners),
            }
            for account, pace in paces.items()
        ]

    def _workers(self, alias: AliasName, migration: Migration | None) -> list[dict[str, Any]]:
        """Return the processes at work, and what each has done for the back-fill."""
        if migration is None or migration.is_final:
            return []
        shares = self.ledger.shares(migration.id) if migration.phase is Phase.BACKFILL else {}
        nothing = Share(documents=0, in_hand=0)
        return [
            {
                "client": client.id,
                "host": client.host,
                "pid": client.pid,
                "role": client.role,
                "documents": shares.get(client.id, nothing).documents,
                "pieces_in_hand": shares.get(client.id, nothing).in_hand,
            }
            for client in sorted(self._live(alias), key=lambda client: client.id)
            if client.role in WORKING_ROLES
        ]

    def _waiting_for(self, alias: AliasName, state: AliasState, lag: Lag, gates: list[Gate]) -> str | None:
        """Name what has to happen before this goes on, and the command that makes it happen."""
        migration = state.migration
        if migration is None or migration.is_final:
            return None
        if (operator := operator_wait(self.ledger, migration)) is not None:
            return str(operator)
        if migration.run_status is RunStatus.HALTED:
            halt = halted(migration)
            return f"an operator: {halt.message}: {halt.hint}"
        if migration.phase is Phase.JOURNALING:
            settle_s = max(map(self.settle_s, fields_of(state)))
            waiting = self.ledger.unacknowledged(alias, state.route.epoch, settle_s)
            if waiting:
                slowest = max(waiting, key=lambda client: client.lease_left_s)
                left_s = max(0.0, slowest.lease_left_s) + settle_s
                return (
                    f"{plural(len(waiting), 'client')} to acknowledge, such as {slowest.name}: at most {left_s:.0f} s"
                    f"{'' if slowest.is_program else ', or until that process ends'}"
                )
        if state.route.mode is Mode.HOLD:
            return f"a cutover that makes writers wait for a moment; it ends by itself: undrift status {alias}"
        if held := self.held_back():
            return held
        live = self._live(alias)
        needs_worker = migration.phase in BEFORE_CUTOVER or lag.dirty
        if needs_worker and not any(client.role in WORKING_ROLES for client in live):
            return f"a worker: undrift worker, or {migration.command}"
        if lag.foreign:
            what = plural(lag.foreign, "document")
            return (
                f"{what} with the truth still in the other field, which writes wait for: undrift worker {alias} helps"
                f"{lag.open_writes}"
            )
        noted = noted_wait(self.ledger.tuning(alias), lambda: live)
        return noted or migration.reason or _decision(alias, migration.phase, gates, selftest=migration.is_selftest)

    def _forecast(self, alias: AliasName, migration: Migration | None) -> dict[str, Any] | None:
        """Return what the back-fill was expected to take, and how far that was off once it is done."""
        said = forecast.kept(self.ledger.tuning(alias)) if migration is not None else None
        return said.as_dict() if said is not None else None

    def _tuning(self, alias: AliasName, migration: Migration | None) -> dict[str, str]:
        """Return those settings of the work that are not what they are by default."""
        if migration is None or migration.is_final:
            return {}
        usual = shown(Limits())
        present = shown(tuned(self.config.limits_of(alias), self.ledger.tuning(alias)))
        return {key: value for key, value in present.items() if value != usual[key]}

    def _order(self, alias: AliasName, migration: Migration | None) -> dict[str, Any] | None:
        """Return what comes first in the back-fill, and how much of that is known and still to be carried."""
        order = self.config.order_of(alias)
        shown = order.as_dict()
        if shown is None or migration is None or migration.phase is not Phase.BACKFILL:
            return None if shown is None else {**shown, "left": 0}
        ids = in_order(named_first(self.ledger.tuning(alias)).items(), order)
        touched = self.ledger.journal_state(alias, [DocumentId(id) for id in ids])
        return {**shown, "left": sum(id not in touched or touched[DocumentId(id)][0] for id in ids)}

    def _paused_by(self, migration: Migration | None) -> dict[str, Any] | None:
        operator = operator_wait(self.ledger, migration) if migration is not None else None
        return operator.as_dict() if operator is not None else None

    def _live(self, alias: AliasName) -> list[Any]:
        return [client for client in self.ledger.clients(alias) if client.lease_left_s > 0]


def _decision(alias: AliasName, phase: Phase, gates: list[Gate], *, selftest: bool) -> str | None:
    """Name the command that a person has to type next; None while no person is needed."""
    match phase:
        case Phase.READY if selftest:
            return f"the rest of the selftest: undrift selftest {alias}"
        case Phase.READY | Phase.ROLLED_BACK:
            closed = [gate.name for gate in gates if gate.verdict is not Verdict.PASS]
            if closed == ["postponed"]:
                return next(f"an operator: {gate.detail}: {gate.hint}" for gate in gates if gate.name == "postponed")
            if closed:
                return f"gates that do not hold: {', '.join(closed)}: undrift cutover {alias} --dry-run"
            return f"a decision: undrift cutover {alias}"
        case Phase.REVERSING:
            return f"a decision: undrift complete {alias}, or undrift rollback {alias}"
        case Phase.RETIRING:
            return f"the rest of the completion: undrift complete {alias}"
        case Phase.ABORTING:
            return f"the rest of the cancellation: undrift cancel {alias}"
        case _:
            return None


def halted(migration: Migration) -> IllegalTransition:
    """Return what to tell somebody who wants a halted migration to go on; the worker's error was kept on one line."""
    message, *more = migration.reason.split(" · ")
    hints = [part.removeprefix("Hint: ") for part in more if part.startswith("Hint: ")]
    detail = "\n".join(part.removeprefix("Detail: ").strip() for part in more if not part.startswith("Hint: "))
    hint = hints[0].replace("ALIAS", migration.alias) if hints else ""
    resume = f"undrift resume {migration.alias}"
    if f"undrift plan {migration.alias}" in hint:
        # Another migration can only be begun when this one is given up.
        hint += f", after undrift cancel {migration.alias}; or {resume}"
    return IllegalTransition(
        f"the migration of {migration.alias} is halted: {message}",
        detail,
        hint if resume in hint else f"{hint}, then {resume}" if hint else resume,
    )


def next_steps(name: str, state: AliasState, gates: list[Gate]) -> list[str]:
    """Return the commands that make sense now, the most likely first."""
    migration = state.migration
    if migration is None or migration.is_final:
        return [f"undrift plan {name} --to MODEL"]
    if migration.is_held:
        ends = {Phase.REVERSING: "rollback", Phase.RETIRING: "complete"}.get(migration.phase, "cancel")
        return [f"undrift resume {name}", f"undrift {ends} {name}"]
    if migration.is_selftest:
        return [f"undrift selftest {name}", f"undrift cancel {name} --drop"]
    match migration.phase:
        case Phase.READY | Phase.ROLLED_BACK:
            hints = [gate.hint for gate in gates if gate.verdict is not Verdict.PASS and gate.hint]
            return [*dict.fromkeys(hints), f"undrift cutover {name}", f"undrift cancel {name}"]
        case Phase.REVERSING:
            return [f"undrift worker {name}", f"undrift rollback {name}", f"undrift complete {name}"]
        case Phase.RETIRING:
            return [f"undrift complete {name}"]
        case Phase.ABORTING:
            return [f"undrift cancel {name}"]
        case _:
            return [f"undrift worker {name}", f"undrift status {name} --watch", f"undrift cancel {name}"]
