"""Lineage: entries that only grow, and what may not follow them."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta

import pytest

from undrift.domain.lineage import Checkpoint, Entry, Evaluation, Lineage, Promotion, Retirement, as_dict, from_dict
from undrift.domain.space import SpaceId
from undrift.errors import AlreadyExists, BadArgument, UnknownModel

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def checkpoint(model: str, parent: str = "", **values: object) -> Checkpoint:
    plain = Checkpoint(
        model=model,
        space=SpaceId(f"{model}-64-0"),
        hash="sha256-" + f"{sum(model.encode()):016x}",
        origin=f"models/{model}",
        parent=parent,
        author="ada",
        moment=NOW,
    )
    return replace(plain, **values)  # type: ignore[arg-type]  # the names are fields


EVALUATION = Evaluation(
    model="a",
    golden="support",
    metric="ndcg_at_10",
    value=0.5,
    low=0.4,
    high=0.6,
    queries=30,
    against="old",
    gain=0.1,
    gain_low=0.02,
    gain_high=0.18,
    moment=NOW,
)
PROMOTION = Promotion(model="a", alias="kb", replaced="old", migration="m1", author="ada", reason="better", moment=NOW)
RETIREMENT = Retirement(model="a", author="ada", reason="replaced", moment=NOW)


def grown(*entries: Entry) -> Lineage:
    """Fold entries as the book does, each checked against those before it."""
    lineage = Lineage([])
    for entry in entries:
        lineage.check(entry)
        lineage = Lineage([*lineage.entries, entry])
    return lineage


@pytest.mark.parametrize("entry", [checkpoint("a", base="b"), EVALUATION, PROMOTION, RETIREMENT])
def test_every_entry_survives_its_json_form(entry: Entry) -> None:
    assert from_dict(as_dict(entry)) == entry


def test_what_another_version_added_is_left_out_and_its_kinds_are_skipped() -> None:
    assert from_dict({**as_dict(EVALUATION), "energy_kwh": 3}) == EVALUATION
    assert from_dict({"kind": "audit", "model": "a"}) is None


def test_an_entry_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        checkpoint("a").reason = "another"  # type: ignore[misc]  # this is what is tried


def test_ancestors_go_back_to_the_first_training_and_the_base_is_that_of_the_line() -> None:
    lineage = grown(checkpoint("a", base="public@1"), checkpoint("b", "a"), checkpoint("c", "b"), checkpoint("d", "a"))
    assert [one.model for one in lineage.ancestors("c")] == ["b", "a"]
    assert lineage.base("c") == "public@1"
    assert [one.model for one in lineage.children("a")] == ["b", "d"]
    assert [one.model for one in lineage.family("b")] == ["a", "b", "c"]
    assert lineage.ancestors("nobody") == []


def test_a_parent_must_be_known() -> None:
    with pytest.raises(UnknownModel, match="no checkpoint nobody") as caught:
        grown(checkpoint("a"), checkpoint("b", "nobody"))
    assert "known are: a" in caught.value.detail


@pytest.mark.parametrize("parent", ["a", "b", "c"])
def test_no_checkpoint_becomes_its_own_ancestor_by_a_later_description(parent: str) -> None:
    lineage = grown(checkpoint("a"), checkpoint("b", "a"), checkpoint("c", "b"))
    with pytest.raises(BadArgument, match="comes from a itself"):
        lineage.check(checkpoint("a", parent))


def test_a_later_description_counts_and_the_first_one_stays_in_the_history() -> None:
    first, second = checkpoint("a"), checkpoint("a", recipe="ten epochs", moment=NOW + timedelta(hours=1))
    lineage = grown(first, second)
    assert lineage.checkpoints["a"] == second
    assert lineage.history("a") == [first, second]


def test_a_retrained_checkpoint_needs_a_name_of_its_own() -> None:
    with pytest.raises(AlreadyExists, match="model a is the checkpoint sha256-") as caught:
        grown(checkpoint("a"), checkpoint("a", hash="sha256-" + "f" * 16))
    assert "a name of its own" in caught.value.hint


@pytest.mark.parametrize("hash", ["", "1", "main", "sha256-", "sha256-xyz", "sha256-" + "a" * 15, "a" * 39, "A" * 40])
def test_what_does_not_pin_weights_is_no_hash(hash: str) -> None:
    with pytest.raises(BadArgument, match="does not pin the weights"):
        grown(checkpoint("a", hash=hash))


@pytest.mark.parametrize("hash", ["sha256-" + "0a" * 8, "sha256-" + "0a" * 32, "0" * 40, "b" * 64])
def test_hashes_and_commits_pin_weights(hash: str) -> None:
    assert grown(checkpoint("a", hash=hash)).checkpoints["a"].hash == hash


@pytest.mark.parametrize(
    "entry",
    [
        replace(PROMOTION, reason="  "),
        replace(RETIREMENT, reason=""),
        replace(RETIREMENT, author=""),
        checkpoint("a", author=" "),
        checkpoint("a", origin=""),
        replace(EVALUATION, golden=""),
        replace(EVALUATION, moment=datetime(2026, 1, 1)),  # noqa: DTZ001 - a naive moment is what is refused
    ],
)
def test_who_why_and_when_may_not_be_missing(entry: Entry) -> None:
    with pytest.raises(BadArgument):
        grown(entry)


@pytest.mark.parametrize(
    "values",
    [{"value": float("nan")}, {"low": 0.55}, {"high": 1.2}, {"gain_low": 0.2}, {"gain": float("inf")}, {"queries": 0}],
)
def test_an_evaluation_is_made_of_numbers_within_their_intervals(values: dict[str, float]) -> None:
    with pytest.raises(BadArgument):
        grown(replace(EVALUATION, **values))  # type: ignore[arg-type]  # the names are fields


def test_the_last_evaluation_on_a_golden_set_counts() -> None:
    later = replace(EVALUATION, value=0.55, moment=NOW + timedelta(days=1))
    other = replace(EVALUATION, golden="another")
    assert grown(EVALUATION, other, later).evaluations("a") == [other, later]


def test_a_retired_model_is_neither_promoted_nor_retired_again() -> None:
    lineage = grown(checkpoint("a"), PROMOTION, RETIREMENT)
    assert lineage.is_retired("a")
    for entry in (PROMOTION, RETIREMENT):
        with pytest.raises(AlreadyExists, match="model a is retired"):
            lineage.check(entry)


def test_a_space_leads_to_its_checkpoint() -> None:
    lineage = grown(checkpoint("a"), checkpoint("b", "a"))
    assert [one.model for one in lineage.of_space(SpaceId("b-64-0"))] == ["b"]
    assert lineage.of_space(SpaceId("c-64-0")) == []
