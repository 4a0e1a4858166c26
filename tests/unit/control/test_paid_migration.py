"""A migration to a model that a provider bills for, through the whole product."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("sqlite_vec")

from undrift import Document
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.control import ControlPlane, open_plane
from undrift.control.terms import pace_of_tier
from undrift.domain.catalogue import ModelKey
from undrift.domain.migration import Migration, Phase
from undrift.errors import BudgetExhausted, GateFailed, ModelRetired, ModelUnavailable
from undrift.testing.provider import AccountLimits, EmbeddingProvider

SECRET = "sk-of-somebody-0123456789"
CONFIG = """
[stores.main]
url = "sqlite-vec:./vectors.db"
[models.old]
provider = "hashing"
dimensions = 16
[models.new]
provider = "openai"
name = "toy"
base_url = "{url}"
api_key_file = "key"
dimensions = 24
batch_size = 8
paid = true
usd_per_million_tokens = 100.0
[aliases.kb]
store = "main"
model = "old"
"""
DOCUMENTS = [Document(id=f"d{number:03}", text=f"document {number} has some words of its own") for number in range(60)]


@pytest.fixture
def provider() -> Iterator[EmbeddingProvider]:
    limits = AccountLimits(requests_per_min=60_000, tokens_per_min=6_000_000)
    with EmbeddingProvider({"toy": HashingEmbedder(dimensions=24)}, api_key=SECRET, limits=limits) as served:
        yield served


@pytest.fixture
def plane(tmp_path: Path, provider: EmbeddingProvider) -> Iterator[ControlPlane]:
    (tmp_path / "key").write_text(SECRET)
    (tmp_path / "undrift.toml").write_text(CONFIG.format(url=provider.url))
    with open_plane(tmp_path / "undrift.toml", role="worker") as opened:
        opened.alias("kb").upsert(DOCUMENTS)
        yield opened


def work(plane: ControlPlane) -> None:
    def ended(migration: Migration | None) -> bool:
        return migration is None or migration.phase is Phase.READY

    plane.work("kb", ended, sample=0)


def billed(provider: EmbeddingProvider) -> int:
    return sum(request.tokens for request in provider.requests if len(request.texts) > 0)


def test_what_is_spent_is_what_the_provider_has_billed(plane: ControlPlane, provider: EmbeddingProvider) -> None:
    """Not the estimate; and the account's limits, which nobody configured, are known afterwards."""
    plane.recorded("new")
    before = billed(provider)
    plane.register("kb", "new", budget_usd=5.0)

    work(plane)

    status = plane.status("kb")
    assert status["cost"]["tokens"] == billed(provider) - before
    assert status["cost"]["reserved_tokens"] == 0
    assert status["cost"]["left_tokens"] == 50_000 - status["cost"]["tokens"]
    assert status["cost"]["left_usd"] == pytest.approx(5.0 - status["cost"]["usd"], abs=1e-5)
    (pace,) = status["pace"]
    assert (pace["requests_per_min"], pace["tokens_per_min"]) == (60_000, 6_000_000)
    (worker,) = status["workers"]
    assert worker["role"] == "worker"


def test_the_key_is_in_no_file_of_the_ledger(plane: ControlPlane, tmp_path: Path) -> None:
    """What tells one account from another there is a fingerprint."""
    plane.register("kb", "new", budget_usd=5.0)
    work(plane)

    assert re.fullmatch(r"\S+/toy/127\.0\.0\.1/[0-9a-f]{12}", plane.status("kb")["pace"][0]["account"])
    files = [file for file in tmp_path.iterdir() if file.is_file() and file.name not in ("key", "undrift.toml")]
    assert files
    assert not [file for file in files if SECRET.encode() in file.read_bytes()]


def test_work_begins_with_the_limits_of_the_tier_that_is_said(plane: ControlPlane) -> None:
    """As the catalogue has them; without a word, nothing is assumed."""
    space = replace(plane.model_door("new").space, channel="openai", model="text-embedding-3-small")
    catalogue = plane.plugins.catalogue()
    tiers = catalogue.tiers(ModelKey(channel="openai", model="text-embedding-3-small"))
    assert len(tiers) > 1

    (_, slow), (_, fast) = (pace_of_tier(space, tier, catalogue) for tier in (tiers[0], tiers[-1]))

    assert slow is not None
    assert fast is not None
    assert slow < fast
    assert pace_of_tier(replace(space, channel="nowhere"), tiers[0], catalogue) == (None, None)


def test_a_budget_is_used_to_its_end_and_not_beyond(plane: ControlPlane, provider: EmbeddingProvider) -> None:
    """Near its end requests become smaller; what was paid for is not paid for again when there is more."""
    plane.recorded("new")
    before = billed(provider)
    plane.register("kb", "new", budget_tokens=500)

    with pytest.raises(BudgetExhausted):
        work(plane)

    spent = billed(provider) - before
    assert 0 < spent <= 500
    smallest = min(len(request.texts) for request in provider.requests[1:] if request.status == 200)
    assert smallest == 1
    plane.tune("kb", {"budget_tokens": "50000"})
    plane.resume("kb")
    work(plane)
    texts = [text for request in provider.requests if request.status == 200 for text in request.texts]
    assert sum(text == DOCUMENTS[7].text for text in texts) == 1
    assert plane.status("kb")["cost"]["tokens"] == billed(provider) - before


@pytest.mark.parametrize("batch", ["false", "true"])
def test_a_key_that_is_replaced_in_its_file_is_taken_up_by_a_process_that_runs(
    plane: ControlPlane, provider: EmbeddingProvider, tmp_path: Path, batch: str
) -> None:
    plane.register("kb", "new", budget_tokens=100_000)
    plane.tune("kb", {"batch": batch})
    plane.work("kb", lambda migration: migration is not None and migration.phase is Phase.BACKFILL)
    provider._api_key = "sk-another-9876543210"
    (tmp_path / "key").write_text("sk-another-9876543210\n")

    work(plane)

    assert not plane.status("kb")["quarantined"]


def test_a_key_that_is_refused_and_not_replaced_halts_until_it_is(
    plane: ControlPlane, provider: EmbeddingProvider, tmp_path: Path
) -> None:
    plane.register("kb", "new", budget_tokens=100_000)
    provider._api_key = "sk-another-9876543210"
    with pytest.raises(ModelUnavailable, match="does not accept the key"):
        work(plane)
    (tmp_path / "key").write_text("sk-another-9876543210")
    plane.resume("kb")

    work(plane)

    assert plane.status("kb")["phase"] == "ready"


def test_a_migration_to_a_model_that_is_retired_says_how_to_leave_it_and_how_far_it_came(
    plane: ControlPlane, provider: EmbeddingProvider
) -> None:
    plane.register("kb", "new", budget_tokens=100_000)
    provider.retire("toy", after=4)
    with pytest.raises(ModelRetired):
        work(plane)

    waits = plane.status("kb")["waiting_for"]
    cancelled = plane.cancel("kb")

    assert "undrift plan kb --to MODEL, after undrift cancel kb" in waits
    assert "ALIAS" not in waits
    assert cancelled["phase"] == "aborted"
    assert cancelled["progress"]["done"] < cancelled["progress"]["total"] == len(DOCUMENTS)


def test_an_alias_leaves_a_model_that_is_retired_by_the_way_that_is_named(
    tmp_path: Path, provider: EmbeddingProvider
) -> None:
    (tmp_path / "key").write_text(SECRET)
    (tmp_path / "undrift.toml").write_text(CONFIG.format(url=provider.url).replace('model = "old"', 'model = "new"'))
    with open_plane(tmp_path / "undrift.toml") as plane:
        plane.alias("kb").upsert(DOCUMENTS)
        provider.retire("toy")
        plane.register("kb", "old")
        work(plane)
        with pytest.raises(GateFailed, match="rollback") as refused:
            plane.cutover("kb")
        way_out = "undrift cutover kb --accept-no-way-back"
        assert way_out in refused.value.hint
        assert not plane.plan_cutover("kb")["allowed"]

        plane.cutover("kb", accept_no_way_back=True)

        assert not plane.status("kb")["rollback_ready"]
        plane.alias("kb").upsert([Document(id="later", text="written when the old model was gone")])
        plane.complete("kb")
        assert plane.status("kb")["phase"] == "done"
        assert plane.alias("kb").search("written when the old model was gone", k=1)[0].id == "later"
