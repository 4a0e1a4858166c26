"""What a migration may still spend, with what requests under way may come to cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from undrift.domain.client import ClientId
from undrift.domain.migration import Migration
from undrift.errors import BudgetExhausted

#: In the place of a client among what is put aside: what proving the model has taken, which is spent.
PROOFS = ClientId("@proofs")


class Room(Enum):
    """Whether a budget has room for one more request."""

    #: It has, whatever the requests under way come to cost.
    NOW = "now"
    #: It may have, when requests under way have cost less than was put aside for them.
    LATER = "later"
    #: It never will.
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What became of a budget, in tokens.

    Attributes:
        spent: billed, or put aside by a process that is gone: nobody knows whether its request was answered.
        reserved: put aside for requests under way.
        left: what is left beside both; None without a budget.
        proofs: how much of what is spent went into proving the model.
    """

    spent: int
    reserved: int
    left: int | None
    proofs: int = 0


def room_for(migration: Migration, tokens: int, *, under_way: int) -> Room:
    """Say whether a migration's budget has room for a request.

    Args:
        migration: its tokens count everything that is put aside.
        tokens: the most that the request can be billed for.
        under_way: what is put aside for requests of processes that live.
    """
    limit = migration.token_limit
    if limit is None or migration.tokens + tokens <= limit:
        return Room.NOW
    return Room.LATER if migration.tokens - under_way + tokens <= limit else Room.NEVER


def exhausted(migration: Migration, tokens: int) -> BudgetExhausted:
    """Return the error for a request that a budget has no room for."""
    limit = migration.token_limit or 0
    raised = " ".join(_raised(migration, max(limit * 2, migration.tokens + tokens)))
    return BudgetExhausted(
        f"the next request for {migration.alias} would spend more than its budget",
        f"{migration.tokens} of {limit} tokens are spent, the request has {tokens}",
        f"undrift tune {migration.alias} {raised}, then undrift resume {migration.alias}",
    )


def _raised(migration: Migration, tokens: int) -> list[str]:
    """Return the budgets that are not enough for so many tokens, as they have to be; each of them limits by itself."""
    raised = []
    if migration.budget_usd is not None and migration.usd_per_million_tokens > 0:
        usd = migration.usd_before + (tokens - migration.tokens_before) * migration.usd_per_million_tokens / 1e6
        if usd > migration.budget_usd:
            digit = 10.0 ** (math.floor(math.log10(usd)) - 2)
            raised.append(f"budget_usd={math.ceil(round(usd / digit, 6)) * digit:.3g}")
    if migration.budget_tokens is not None and tokens > migration.budget_tokens:
        raised.append(f"budget_tokens={tokens}")
    return raised


def spending_of(migration: Migration, *, under_way: int, proofs: int) -> Spending:
    """Return what became of a migration's budget."""
    limit = migration.token_limit
    return Spending(
        spent=migration.tokens - under_way,
        reserved=under_way,
        left=None if limit is None else max(0, limit - migration.tokens),
        proofs=proofs,
    )
