"""The life cycle is one table: every edge in it is allowed, and no other is."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest

from undrift.domain.migration import BEFORE_CUTOVER, FINAL, SYNCING, TRANSITIONS, Migration, MigrationId, Phase, advance
from undrift.domain.route import AliasName, VectorField
from undrift.domain.space import SpaceId
from undrift.errors import IllegalTransition

A = VectorField(store="main", collection="kb", space=SpaceId("a"))
B = VectorField(store="main", collection="kb__b", space=SpaceId("b"))


def migration(phase: Phase, **more: float | None) -> Migration:
    return Migration(
        id=MigrationId("m"),
        alias=AliasName("kb"),
        source=A,
        target=B,
        target_model="new",
        phase=phase,
        started=datetime(2026, 1, 1, tzinfo=UTC),
        **more,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(("start", "end"), TRANSITIONS, ids=lambda phase: phase.value)
def test_every_edge_of_the_table_is_allowed_and_says_when_it_happens(start: Phase, end: Phase) -> None:
    assert advance(migration(start), end).phase is end
    assert len(TRANSITIONS[start, end].split()) > 3


@pytest.mark.parametrize(
    ("start", "end"),
    sorted(set(itertools.product(Phase, Phase)) - set(TRANSITIONS), key=str),
    ids=lambda phase: phase.value,
)
def test_no_other_edge_exists(start: Phase, end: Phase) -> None:
    with pytest.raises(IllegalTransition, match=f"is {start.value}; it cannot become {end.value}") as refused:
        advance(migration(start), end)
    assert refused.value.hint == "undrift status kb"


def test_nothing_leads_out_of_a_final_phase_and_every_other_leads_somewhere() -> None:
    assert {start for start, _ in TRANSITIONS} == set(Phase) - FINAL


def test_every_phase_can_be_reached() -> None:
    assert {end for _, end in TRANSITIONS} == set(Phase) - {Phase.REGISTERED}


def test_whatever_comes_before_a_cutover_can_be_cancelled_and_nothing_after_it() -> None:
    cancellable = {start for start, end in TRANSITIONS if end is Phase.ABORTING}
    assert cancellable == {*BEFORE_CUTOVER, Phase.READY, Phase.ROLLED_BACK}


def test_nothing_is_carried_over_before_the_journal_is_acknowledged_or_after_it_ended() -> None:
    assert SYNCING.isdisjoint({Phase.REGISTERED, Phase.JOURNALING, Phase.RETIRING, Phase.ABORTING, *FINAL})


@pytest.mark.parametrize(
    ("tokens", "usd", "price", "limit"),
    [
        (None, None, 0.1, None),
        (500, None, 0.1, 500),
        (None, 2.0, 0.1, 20_000_000),
        (500, 2.0, 0.1, 500),
        (10**9, 2.0, 0.1, 20_000_000),
        (None, 2.0, 0.0, None),
    ],
)
def test_the_stricter_budget_counts(tokens: int | None, usd: float | None, price: float, limit: int | None) -> None:
    found = migration(Phase.BACKFILL, budget_tokens=tokens, budget_usd=usd, usd_per_million_tokens=price)
    assert found.token_limit == limit
