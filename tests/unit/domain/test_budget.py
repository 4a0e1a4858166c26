"""What is told when a budget is used up: raised as the hint says, it has room for the request that it refused."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undrift.domain.budget import Room, exhausted, room_for
from undrift.domain.migration import Migration, MigrationId
from undrift.domain.route import AliasName, VectorField
from undrift.domain.space import SpaceId

SPENT = Migration(
    id=MigrationId("m"),
    alias=AliasName("kb"),
    source=VectorField(store="main", collection="kb", space=SpaceId("a")),
    target=VectorField(store="main", collection="kb__b", space=SpaceId("b")),
    target_model="new",
    started=datetime(2026, 1, 1, tzinfo=UTC),
)


def raised(migration: Migration, tokens: int) -> Migration:
    """Raise its budgets as the error says."""
    told = dict(re.findall(r"(budget_\w+)=(\S+?),? ", exhausted(migration, tokens).hint))
    usd = float(told["budget_usd"]) if "budget_usd" in told else migration.budget_usd
    most = int(told["budget_tokens"]) if "budget_tokens" in told else migration.budget_tokens
    return replace(migration, budget_usd=usd, budget_tokens=most)


@given(
    spent=st.integers(0, 10**9),
    before=st.integers(0, 10**6),
    more=st.integers(1, 10**6),
    price=st.floats(0.0001, 200.0),
    budget_usd=st.none() | st.floats(1e-9, 1e5),
    budget_tokens=st.none() | st.integers(0, 10**9),
)
def test_a_budget_that_is_raised_as_told_has_room_for_the_request(
    spent: int, before: int, more: int, price: float, budget_usd: float | None, budget_tokens: int | None
) -> None:
    migration = replace(
        SPENT,
        tokens=spent + before,
        tokens_before=before,
        usd_before=before * price / 2e6,
        usd_per_million_tokens=price,
        budget_usd=budget_usd,
        budget_tokens=budget_tokens,
    )
    if room_for(migration, more, under_way=0) is Room.NEVER:
        assert room_for(raised(migration, more), more, under_way=0) is Room.NOW


@pytest.mark.parametrize(
    ("budget", "hint"),
    [
        ({"budget_tokens": 40_000}, "budget_tokens=80000"),
        ({"budget_tokens": 1}, "budget_tokens=39192"),
        ({"budget_usd": 0.0008}, "budget_usd=0.0016"),
        ({"budget_usd": 0.0008, "budget_tokens": 39_000}, "budget_usd=0.00156 budget_tokens=78000"),
        ({"budget_usd": 5.0, "budget_tokens": 39_000}, "budget_tokens=78000"),
    ],
    ids=["tokens", "too few to double", "dollars", "both", "the stricter one"],
)
def test_the_budget_that_is_used_up_is_the_one_to_be_raised(budget: dict[str, float], hint: str) -> None:
    migration = replace(SPENT, tokens=39_000, usd_per_million_tokens=0.02, **budget)  # type: ignore[arg-type] - of both types

    assert exhausted(migration, 192).hint == f"undrift tune kb {hint}, then undrift resume kb"
