"""The recipes that people use today lose writes, bring deleted documents back, or pair a text with another's vector."""

from __future__ import annotations

import pytest

from tests.model.naive import (
    BLIND_UPSERT,
    CONDITIONAL_ON_VERSION,
    DIVERGED,
    INSERT_IF_ABSENT,
    MISTAGGED,
    Recipe,
    try_dual_write,
    try_named_vectors,
)


@pytest.mark.parametrize("recipe", [INSERT_IF_ABSENT, CONDITIONAL_ON_VERSION], ids=lambda recipe: recipe.name)
def test_a_delete_during_the_backfill_comes_back(recipe: Recipe) -> None:
    """Nothing is left of a deleted document with which what the backfill holds could be compared."""
    outcome = try_dual_write("D", recipe)
    assert outcome.violation == DIVERGED
    assert outcome.trace == (
        "backfill reads the text",
        "client 0 writes delete 1 to the old store",
        "client 0 writes delete 1 to the new store",
        f"backfill: {recipe.name}",
    )


def test_a_blind_upsert_of_the_backfill_overwrites_a_newer_text() -> None:
    outcome = try_dual_write("U", BLIND_UPSERT)
    assert (outcome.violation, len(outcome.trace)) == (DIVERGED, 4), str(outcome)
    assert outcome.trace[-1] == "backfill: upsert"


@pytest.mark.parametrize("recipe", [INSERT_IF_ABSENT, CONDITIONAL_ON_VERSION], ids=lambda recipe: recipe.name)
def test_two_clients_reach_the_two_stores_in_different_order(recipe: Recipe) -> None:
    """No backfill can repair what it does not know of."""
    outcome = try_dual_write("U||U", recipe)
    assert (outcome.violation, len(outcome.trace)) == (DIVERGED, 6), str(outcome)


@pytest.mark.parametrize("recipe", [INSERT_IF_ABSENT, BLIND_UPSERT], ids=lambda recipe: recipe.name)
def test_a_client_that_dies_between_the_two_writes_leaves_the_stores_different(recipe: Recipe) -> None:
    outcome = try_dual_write("U", recipe, crashes=1)
    assert (outcome.violation, len(outcome.trace)) == (DIVERGED, 4), str(outcome)


def test_a_named_vector_beside_a_newer_text_is_that_of_the_old_text() -> None:
    outcome = try_named_vectors("U")
    assert outcome.violation == MISTAGGED
    assert outcome.trace == (
        "backfill reads the text",
        "client 0 writes upsert 1 with its new vector",
        "backfill: update of the new vector",
    )


def test_a_named_vector_is_not_left_behind_by_a_delete() -> None:
    """The one thing that one collection does better than two: text and vectors leave together."""
    outcome = try_named_vectors("D")
    assert outcome.violation is None, str(outcome)
    assert outcome.complete


def test_insert_if_absent_is_right_as_long_as_one_client_upserts_and_nobody_dies() -> None:
    """Which is why it passes the tests that people write for it."""
    outcome = try_dual_write("U", INSERT_IF_ABSENT)
    assert outcome.violation is None, str(outcome)
    assert outcome.complete
