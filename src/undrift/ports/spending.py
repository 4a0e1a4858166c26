"""The part of the durable memory that keeps budgets and the pace of accounts, for the workers of all hosts."""

from __future__ import annotations

from typing import Protocol

from undrift.domain.budget import Spending
from undrift.domain.client import ClientId
from undrift.domain.migration import MigrationId
from undrift.domain.pace import SeenLimits
from undrift.domain.pacing import Ask, Pace, PaceLimits, Slice


class SpendingLedger(Protocol):
    """Tokens of migrations. What is put aside for a request stays counted until it is settled, whoever dies."""

    def spend(self, migration: MigrationId, tokens: int) -> None:
        """Add to the tokens of a migration, before they are sent if it has a budget; a negative number gives them back.

        Raises:
            BudgetExhausted: that would be more than its budget; nothing is added.
        """
        ...

    def reserve(self, migration: MigrationId, tokens: int, *, owner: ClientId) -> bool:
        """Put tokens aside for a request; durable before it returns if the migration has a budget.

        Returns:
            False when there is no room for them now, and there will be if requests under way cost less than was put
            aside for them. Nothing is put aside then.

        Raises:
            BudgetExhausted: there is no room for them, and there will not be; nothing is put aside.
        """
        ...

    def settle(self, migration: MigrationId, *, reserved: int, billed: int, owner: ClientId) -> None:
        """Replace what was put aside for a request by what it was billed for; durable if that is more."""
        ...

    def spending(self, migration: MigrationId) -> Spending:
        """Return what is spent, put aside by processes that live, and left."""
        ...

    def set_budget(self, migration: MigrationId, *, tokens: int | None, usd: float | None) -> None:
        """Change what a migration may spend; None for no limit."""
        ...

    def raise_price(self, migration: MigrationId, usd_per_million_tokens: float, *, who: str) -> bool:
        """Reckon with a higher price from now on; False, and nothing changes, when it is not higher."""
        ...


class PaceLedger(Protocol):
    """The pace of accounts, each under a name that says channel, model and key, and does not give the key away."""

    def take_pace(self, account: str, ask: Ask) -> Slice:
        """Grant a slice of an account's pace."""
        ...

    def pace_refused(self, account: str, seen: SeenLimits, limits: PaceLimits) -> None:
        """Take note that a request was refused for the pace."""
        ...

    def paces(self, beginning: str) -> dict[str, Pace]:
        """Return what is known of the pace of every account whose name begins so: with a channel and a model."""
        ...
