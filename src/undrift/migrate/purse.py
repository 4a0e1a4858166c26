"""Pays for a migration's requests from its budget, which the workers of all hosts share."""

from __future__ import annotations

from dataclasses import dataclass

from undrift.domain.budget import PROOFS
from undrift.domain.client import ClientId
from undrift.domain.migration import Migration, MigrationId
from undrift.errors import BadArgument, BudgetRequired
from undrift.flow.embed import EmbeddingDoor
from undrift.migrate.workshop import Workshop
from undrift.ports.embedder import EmbedderLimits
from undrift.ports.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationPurse:
    """The budget of one migration, as one worker draws on it."""

    ledger: Ledger
    migration: MigrationId
    owner: ClientId

    def reserve(self, tokens: int) -> bool:
        """Put tokens aside."""
        return self.ledger.reserve(self.migration, tokens, owner=self.owner)

    def settle(self, reserved: int, billed: int) -> None:
        """Replace what was put aside by what was billed."""
        self.ledger.settle(self.migration, reserved=reserved, billed=billed, owner=self.owner)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofPurse(MigrationPurse):
    """The same budget, as proving the model draws on it; how much that is, is told apart."""

    def settle(self, reserved: int, billed: int) -> None:
        """Replace what was put aside, and take note of what it was for."""
        # Not super(): a dataclass with slots is another class than the one that is written here.
        MigrationPurse.settle(self, reserved, billed)
        self.ledger.settle(self.migration, reserved=-billed, billed=-billed, owner=PROOFS)


def purse_of(workshop: Workshop, migration: Migration, door: EmbeddingDoor) -> MigrationPurse:
    """Return what pays for a migration's requests.

    A price that has risen since the migration began is reckoned with from now on, so that a budget in dollars stays
    one; a price that has fallen is not: another worker may know the higher one.
    """
    _heed_price(workshop, migration, door.limits)
    return MigrationPurse(ledger=workshop.ledger, migration=migration.id, owner=workshop.me)


def proof_purse_of(workshop: Workshop, limits: EmbedderLimits) -> ProofPurse | None:
    """Return what pays for proving a model, as `purse_of`; None where there is no migration to pay for it."""
    migration = workshop.state().migration
    if migration is None or migration.is_final:
        return None
    _heed_price(workshop, migration, limits)
    return ProofPurse(ledger=workshop.ledger, migration=migration.id, owner=workshop.me)


def _heed_price(workshop: Workshop, migration: Migration, limits: EmbedderLimits) -> None:
    if limits.usd_per_million_tokens > migration.usd_per_million_tokens:
        workshop.ledger.raise_price(migration.id, limits.usd_per_million_tokens, who=workshop.me)


def require_budget(usd: float | None, tokens: int | None, command: str) -> None:
    """Pass when a budget that is given is one.

    Raises:
        BadArgument: it pays for nothing, or is no number.
    """
    for name, value in (("budget_usd", usd), ("budget_tokens", tokens)):
        if value is not None and not 0 < value < float("inf"):
            raise BadArgument(
                f"{name} is {value}, and a budget is a number above 0",
                "one of 0 would pay for no request at all",
                f"{command} --{name.replace('_', '-')} N, or --no-budget",
            )


def require_price(limits: EmbedderLimits, budget_usd: float | None, model: str) -> None:
    """Pass when a budget in dollars can be turned into tokens.

    Raises:
        BudgetRequired: nobody says what a token of that model costs.
    """
    if budget_usd is not None and limits.paid and not limits.usd_per_million_tokens:
        raise BudgetRequired(
            f"the price of model {model} is not known, so a budget in dollars limits nothing",
            "neither the configuration nor what is shipped has it",
            f"set usd_per_million_tokens for model {model}, or give --budget-tokens N, or --no-budget",
        )
