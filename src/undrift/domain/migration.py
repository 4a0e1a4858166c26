"""One change of space or of the store behind one alias: its phases, the edges between them, and nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import NewType

from undrift.domain.route import AliasName, Route, VectorField
from undrift.errors import IllegalTransition

MigrationId = NewType("MigrationId", str)


class Phase(Enum):
    """How far a migration has come."""

    #: It is recorded; the target field is being made.
    REGISTERED = "registered"
    #: Writes are journaled; clients that do not know yet are awaited.
    JOURNALING = "journaling"
    #: Documents nobody touched since are read, embedded and published to the target.
    BACKFILL = "backfill"
    #: The documents that were touched meanwhile are carried over until few and young ones are left.
    CATCHUP = "catchup"
    #: Both fields are compared.
    VERIFY = "verify"
    #: The target equals the source and keeps doing so; it may take over.
    READY = "ready"
    #: The target serves, and the source is kept equal so that there is a way back.
    REVERSING = "reversing"
    #: The source serves again, and the target is kept equal.
    ROLLED_BACK = "rolled_back"
    #: There is no way back any more; the source is let go when nobody uses it.
    RETIRING = "retiring"
    #: The target serves alone.
    DONE = "done"
    #: The migration is being given up; the source serves.
    ABORTING = "aborting"
    #: The source serves alone.
    ABORTED = "aborted"


class RunStatus(Enum):
    """Whether the migration's workers work; independent of the phase."""

    #: Workers take work.
    RUNNING = "running"
    #: An operator stopped the back-fill; documents touched by writes wait as well.
    PAUSED = "paused"
    #: An operator stopped every worker at once, in the middle of what it did; only `resume` ends it.
    STOPPED = "stopped"
    #: The work cannot go on by itself; the reason says why.
    HALTED = "halted"


#: Every edge there is, each with the sentence that says when it happens.
TRANSITIONS: dict[tuple[Phase, Phase], str] = {
    (Phase.REGISTERED, Phase.JOURNALING): "the target field exists, and the route tells writers to journal",
    (Phase.JOURNALING, Phase.BACKFILL): "every client has acknowledged the journal, or its lease is over",
    (Phase.BACKFILL, Phase.CATCHUP): "every chunk is published",
    (Phase.CATCHUP, Phase.VERIFY): "few dirty documents are left, and none is old",
    (Phase.VERIFY, Phase.CATCHUP): "the comparison found differences, which are dirty now",
    (Phase.VERIFY, Phase.READY): "the comparison found no difference",
    (Phase.READY, Phase.REVERSING): "cutover: the target serves",
    (Phase.REVERSING, Phase.ROLLED_BACK): "rollback: the source serves again",
    (Phase.ROLLED_BACK, Phase.REVERSING): "cutover after a rollback: the target serves again",
    (Phase.REVERSING, Phase.RETIRING): "completion was confirmed: writers stop journaling",
    (Phase.RETIRING, Phase.DONE): "nobody uses the source any more, and it is dropped",
    (Phase.REGISTERED, Phase.ABORTING): "cancelled before anything was journaled",
    (Phase.JOURNALING, Phase.ABORTING): "cancelled while clients were awaited",
    (Phase.BACKFILL, Phase.ABORTING): "cancelled during the back-fill",
    (Phase.CATCHUP, Phase.ABORTING): "cancelled during the catch-up",
    (Phase.VERIFY, Phase.ABORTING): "cancelled during the comparison",
    (Phase.READY, Phase.ABORTING): "cancelled instead of cut over",
    (Phase.ROLLED_BACK, Phase.ABORTING): "cancelled after a rollback",
    (Phase.ABORTING, Phase.ABORTED): "no worker writes to the target any more",
}

FINAL = frozenset({Phase.DONE, Phase.ABORTED})
#: The source is the authority and the target is not complete or not yet wanted.
BEFORE_CUTOVER = frozenset({Phase.REGISTERED, Phase.JOURNALING, Phase.BACKFILL, Phase.CATCHUP, Phase.VERIFY})
#: Dirty documents are carried to the follower; earlier, clients may still write without a journal.
SYNCING = frozenset({Phase.BACKFILL, Phase.CATCHUP, Phase.VERIFY, Phase.READY, Phase.REVERSING, Phase.ROLLED_BACK})


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One change of space, or of the store, behind one alias.

    Attributes:
        id: its name in the ledger.
        alias: the alias whose meaning changes.
        source: the field it leaves.
        target: the field it fills.
        target_model: name of the target's model in the configuration.
        phase: how far it has come.
        run_status: whether its workers work.
        reason: why it does not run; empty while it does.
        total: documents in the back-fill, known once `planned`.
        planned: whether every chunk of the back-fill is laid out.
        tokens: tokens spent on it so far.
        budget_tokens: tokens it may spend, None for no limit.
        budget_usd: money it may spend, None for no limit.
        usd_per_million_tokens: the price its budget is reckoned with.
        tokens_before: how many of its tokens are reckoned with lower prices, from before the price rose.
        usd_before: what those cost.
        started: when it was registered.
        finished: when it reached a final phase.
    """

    id: MigrationId
    alias: AliasName
    source: VectorField
    target: VectorField
    target_model: str
    phase: Phase = Phase.REGISTERED
    run_status: RunStatus = RunStatus.RUNNING
    reason: str = ""
    total: int = 0
    planned: bool = False
    tokens: int = 0
    budget_tokens: int | None = None
    budget_usd: float | None = None
    usd_per_million_tokens: float = 0.0
    tokens_before: int = 0
    usd_before: float = 0.0
    started: datetime
    finished: datetime | None = None

    @property
    def is_held(self) -> bool:
        """Whether an operator or an error keeps its workers from working."""
        return self.run_status is not RunStatus.RUNNING

    @property
    def is_final(self) -> bool:
        """Whether nothing will happen to it any more."""
        return self.phase in FINAL

    @property
    def is_selftest(self) -> bool:
        """Whether it leads to the space and the store it comes from: it proves the way and never cuts over."""
        return self.source.space == self.target.space and self.source.store == self.target.store

    @property
    def copies(self) -> bool:
        """Whether it leads to another store and leaves the space as it is: vectors are copied, and nothing is paid."""
        return self.source.space == self.target.space and self.source.store != self.target.store

    @property
    def command(self) -> str:
        """The command that begins it, and that goes on with it."""
        model = "" if self.copies else f" --to {self.target_model}"
        store = "" if self.source.store == self.target.store else f" --to-store {self.target.store}"
        return f"undrift start {self.alias}{model}{store}"

    @property
    def aim(self) -> str:
        """Where it leads, for a sentence: a model, a store, or both."""
        if self.copies:
            return f"store {self.target.store}"
        other = "" if self.source.store == self.target.store else f" in store {self.target.store}"
        return f"{self.target_model}{other}"

    @property
    def is_in_place(self) -> bool:
        """Whether the target's vectors are put into the very records that the source's are in."""
        return self.target.is_beside(self.source)

    @property
    def usd(self) -> float:
        """Money spent so far."""
        return self.usd_before + (self.tokens - self.tokens_before) * self.usd_per_million_tokens / 1e6

    @property
    def token_limit(self) -> int | None:
        """The stricter of both budgets in tokens; None when neither limits."""
        limits = [] if self.budget_tokens is None else [self.budget_tokens]
        if self.budget_usd is not None and self.usd_per_million_tokens > 0:
            left = (self.budget_usd - self.usd_before) / self.usd_per_million_tokens * 1e6
            # Rounded first: a dollar at 0.1 for one is ten tokens, and a little less by the arithmetic of machines.
            limits.append(self.tokens_before + math.floor(round(left, 6)))
        return min(limits, default=None)

    def dearer(self, usd_per_million_tokens: float, *, reserved: int) -> Migration:
        """Return the migration at a higher price; what is spent keeps its own, what is only reserved does not."""
        extra = reserved * max(0.0, usd_per_million_tokens - self.usd_per_million_tokens) / 1e6
        return replace(
            self,
            usd_per_million_tokens=usd_per_million_tokens,
            tokens_before=self.tokens,
            usd_before=self.usd + extra,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasState:
    """Everything the ledger knows about an alias, read at one moment.

    Attributes:
        route: what it means now.
        migration: its running migration, or the last one, or None.
        sequence: the journal's last number.
        model: name of the model it was created with.
        mirror: `journal`, or `inline` when a write also waits until the follower has it.
        needs_reconcile: why a full comparison is needed before a cutover; empty when it is not.
    """

    route: Route
    migration: Migration | None
    sequence: int
    model: str
    mirror: str
    needs_reconcile: str


def fields_of(state: AliasState) -> list[VectorField]:
    """Return the fields that anything may be under way to: of the route, and of a migration that is not over."""
    route, migration = state.route, state.migration
    fields = [route.serving, *([route.follower] if route.follower else [])]
    if migration is not None and not migration.is_final:
        fields += [migration.source, migration.target]
    return list(dict.fromkeys(fields))


def advance(migration: Migration, to: Phase) -> Migration:
    """Return the migration in its next phase.

    Raises:
        IllegalTransition: there is no such edge; the detail lists those there are.
    """
    if (migration.phase, to) not in TRANSITIONS:
        onward = sorted(end.value for start, end in TRANSITIONS if start is migration.phase)
        raise IllegalTransition(
            f"the migration of {migration.alias} is {migration.phase.value}; it cannot become {to.value}",
            f"from {migration.phase.value} it can become: {', '.join(onward) or 'nothing more'}",
            f"undrift status {migration.alias}",
        )
    if migration.is_selftest and to is Phase.REVERSING:
        raise IllegalTransition(
            f"what runs on {migration.alias} is a selftest, which never cuts over",
            hint=f"undrift selftest {migration.alias}, or undrift cancel {migration.alias} --drop",
        )
    return replace(migration, phase=to)
