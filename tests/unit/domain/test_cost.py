"""The arithmetic of a plan gives the figures of the worked examples: 400,000 and 10,000,000 chunks of 300 tokens."""

from __future__ import annotations

import pytest

from undrift.adapters.feeds.table import shipped
from undrift.config import ModelSettings
from undrift.control.terms import Terms, terms_of
from undrift.domain.catalogue import Catalogue, ModelKey
from undrift.domain.cost import (
    BatchTerms,
    Footprint,
    Forecast,
    Pace,
    Work,
    batched,
    better,
    online,
    requests_of,
    usd,
)
from undrift.domain.space import Space
from undrift.domain.sunset import sunset_of
from undrift.errors import BadArgument
from undrift.ports.embedder import EmbedderLimits

CATALOGUE = Catalogue(shipped())
SMALL = Work(inputs=400_000, tokens=120_000_000)
LARGE = Work(inputs=10_000_000, tokens=3_000_000_000)


def terms(channel: str, model: str, tier: str | None = None, *, paid: bool = True, **settings: float) -> Terms:
    space = Space(channel=channel, model=model, revision="1", dimensions=8)
    configured = ModelSettings(provider="openai", **settings)
    return terms_of(space, EmbedderLimits(paid=paid), configured, CATALOGUE, tier=tier)


@pytest.mark.parametrize(
    ("channel", "model", "small", "small_batch", "large", "large_batch"),
    [
        ("openai", "text-embedding-3-small", 2.40, 1.20, 60, 30),
        ("bedrock", "amazon.titan-embed-text-v2:0", 2.40, 1.20, 60, 30),
        ("voyage", "voyage-4-lite", 2.40, 1.61, 60, 40),
        ("voyage", "voyage-4", 7.20, 4.82, 180, 121),
        ("cohere", "embed-v5.0-fast", 9.60, None, 240, None),
        ("mistral", "mistral-embed", 12, 6, 300, 150),
        ("openai", "text-embedding-ada-002", 12, 6, 300, 150),
        ("voyage", "voyage-4-large", 14.40, 9.65, 360, 241),
        ("cohere", "embed-v5.0-pro", 14.40, None, 360, None),
        ("openai", "text-embedding-3-large", 15.60, 7.80, 390, 195),
        ("gemini-api", "gemini-embedding-001", 18, 9, 450, 225),
        ("gemini-api", "gemini-embedding-2", 24, 12, 600, 300),
    ],
)
def test_the_shipped_prices_give_the_bills_of_the_worked_examples(
    channel: str, model: str, small: float, small_batch: float | None, large: float, large_batch: float | None
) -> None:
    known = terms(channel, model)

    for work, at_once, in_batches, cents in ((SMALL, small, small_batch, 0.005), (LARGE, large, large_batch, 0.6)):
        assert usd(work.tokens, known.online.usd) == pytest.approx(at_once, abs=cents)
        batch = usd(work.tokens, known.batch.usd)
        assert batch is None if in_batches is None else batch == pytest.approx(in_batches, abs=cents)
    assert known.online.source


@pytest.mark.parametrize(
    ("channel", "model", "tier", "small", "large", "bound_by"),
    [
        ("openai", "text-embedding-3-small", "free", 62.5, 1562.5, "tokens a minute"),
        ("openai", "text-embedding-3-small", "tier-1", 2.5, 62.5, "tokens a minute"),
        ("openai", "text-embedding-3-small", "tier-3", 0.5, 12.5, "tokens a minute"),
        ("openai", "text-embedding-3-small", "tier-5", 0.25, 6.25, "tokens a minute"),
        ("voyage", "voyage-4", "tier-1", 0.3125, 7.8125, "tokens a minute"),
        ("voyage", "voyage-4", "tier-3", 0.104, 2.604, "tokens a minute"),
        ("voyage", "voyage-4-large", "tier-1", 0.833, 20.83, "tokens a minute"),
        ("voyage", "voyage-4", "no-card", 250, 6250, "tokens a minute"),
        ("cohere", "embed-v5.0-fast", None, 4.167, 104.17, "texts a minute"),
        ("vertex", "text-embedding-005", None, 0.5, 12.5, "tokens a minute"),
    ],
)
def test_the_shipped_limits_give_the_hours_of_the_worked_examples(
    channel: str, model: str, tier: str | None, small: float, large: float, bound_by: str
) -> None:
    pace = terms(channel, model, tier).pace

    for work, hours in ((SMALL, small), (LARGE, large)):
        found = online(work, pace)
        assert found is not None
        assert found.hours == pytest.approx(hours, rel=0.005)
        assert found.bound_by == bound_by


def test_one_text_a_call_is_bound_by_requests() -> None:
    one_by_one = Pace(requests_per_minute=3000, tokens_per_minute=1e6, inputs_per_request=1)

    small, large = online(SMALL, one_by_one), online(LARGE, one_by_one)

    assert small is not None
    assert large is not None
    assert (round(small.hours, 1), round(large.hours, 1)) == (2.8, 69.4)
    assert small.bound_by == "requests a minute"


@pytest.mark.parametrize(
    ("tier", "small_waves", "large_waves", "wins"),
    [
        ("tier-1", 40, 1000, "online"),
        ("tier-2", 6, 150, "online"),
        ("tier-3", 2, 30, "online"),
        ("tier-4", 1, 6, "batch"),
        ("tier-5", 1, 1, "batch"),
    ],
)
def test_the_queue_decides_whether_a_batch_is_worth_it(
    tier: str, small_waves: int, large_waves: int, wins: str
) -> None:
    known = terms("openai", "text-embedding-3-small", tier)
    small, large = batched(SMALL, known.batches), batched(LARGE, known.batches)

    assert small is not None
    assert large is not None
    assert (small.waves, large.waves) == (small_waves, large_waves)
    assert (small.files, large.files) == (max(8, small_waves), max(200, large_waves))
    assert (large.expected_hours, large.worst_hours) == (large_waves, 24 * large_waves)
    assert better(online(LARGE, known.pace), large) == wins


@pytest.mark.parametrize(
    ("channel", "model", "files", "waves", "worst"),
    [
        ("voyage", "voyage-4", 100, 3, 36),
        ("bedrock", "amazon.titan-embed-text-v2:0", 100, 1, None),
        ("vertex", "text-embedding-005", 10, 1, 24),
    ],
)
def test_batches_of_other_providers_are_those_of_the_worked_examples(
    channel: str, model: str, files: int, waves: int, worst: float | None
) -> None:
    known = terms(channel, model, "tier-1" if channel == "voyage" else None)
    found = batched(LARGE, known.batches)

    assert found is not None
    assert (found.files, found.waves, found.worst_hours) == (files, waves, worst)
    assert better(online(LARGE, known.pace), found) is None, "nobody knows how long a batch usually takes there"


def test_long_texts_are_bound_by_the_size_of_a_file() -> None:
    work = Work(inputs=100_000, tokens=1, bytes=1_000_000_000)
    found = batched(work, BatchTerms(inputs_per_batch=50_000, bytes_per_batch=200_000_000))

    assert found is not None
    assert found.files == 5


@pytest.mark.parametrize(("dimensions", "gigabytes"), [(768, 31), (1024, 41), (1536, 61), (3072, 123)])
def test_vectors_take_the_storage_of_the_worked_examples(dimensions: int, gigabytes: int) -> None:
    assert round(Footprint().bytes_of(dimensions) * LARGE.inputs / 1e9) == gigabytes


def test_a_share_for_searches_makes_it_longer() -> None:
    pace = Pace(tokens_per_minute=1e6)
    whole, shared = online(LARGE, pace), online(LARGE, pace, reserved=0.5)

    assert whole is not None
    assert shared is not None
    assert shared.hours == pytest.approx(2 * whole.hours)


def test_a_days_requests_are_a_limit_too() -> None:
    found = online(LARGE, Pace(requests_per_day=2000, tokens_per_request=300_000))

    assert found is not None
    assert (found.requests, found.hours, found.bound_by) == (10_000, 120, "requests a day")
    assert requests_of(SMALL, Pace(inputs_per_request=2048, tokens_per_request=300_000)) == 400


def test_unknown_stays_unknown() -> None:
    nobody = terms("nowhere", "nothing")

    assert (nobody.online.usd, nobody.batch.usd, nobody.key, nobody.tier) == (None, None, None, "")
    assert online(SMALL, nobody.pace) is None
    assert batched(SMALL, nobody.batches) is None
    assert better(None, batched(SMALL, BatchTerms(expected_hours=1))) is None
    assert usd(100, None) is None


def test_the_configuration_wins() -> None:
    mine = terms("openai", "text-embedding-3-small", usd_per_million_tokens=0.015, batch_usd_per_million_tokens=0.005)
    half = terms("openai", "text-embedding-3-small", usd_per_million_tokens=0.015)

    assert (mine.online.usd, mine.online.source, mine.batch.usd) == (0.015, "the configuration", 0.005)
    assert half.batch.usd is None, "whoever has a price of his own pays another one for batches too"


def test_a_tier_that_is_not_said_is_the_narrowest_and_one_that_is_none_is_refused() -> None:
    known = terms("openai", "text-embedding-3-small")

    assert (known.tier, known.tier_is_said) == ("free", False)
    assert known.tiers == ("free", "tier-1", "tier-2", "tier-3", "tier-4", "tier-5")
    assert terms("openai", "text-embedding-3-small", "tier-4").tier_is_said
    with pytest.raises(BadArgument, match="no tier tier-9 of openai"):
        terms("openai", "text-embedding-3-small", "tier-9")


def test_a_model_that_nobody_bills_has_no_limits() -> None:
    free = terms("openai", "text-embedding-3-small", paid=False)

    assert (free.online.usd, free.facts) == (0.0, {})


def test_a_forecast_is_judged_by_what_was_spent() -> None:
    assert Forecast(tokens=103, low=90, high=110, exact=False).error is None
    assert Forecast(tokens=103, low=90, high=110, exact=False, spent=100).as_dict()["error"] == 0.03


@pytest.mark.parametrize(
    ("channel", "model", "day", "begin"),
    [
        ("gemini-api", "gemini-embedding-001", "2028-05-14", "2028-04-13"),
        ("azure-openai", "text-embedding-ada-002", "2027-04-15", "2027-03-15"),
        ("gemini-api", "text-embedding-004", "2026-01-14", "2025-12-14"),
    ],
    ids=["moved", "disagreed", "died"],
)
def test_a_million_vectors_have_a_last_safe_day_to_begin(channel: str, model: str, day: str, begin: str) -> None:
    """Of 300 tokens each, at a million tokens a minute: 6.25 hours, and 30 days for evaluation and a way back."""
    end = sunset_of(CATALOGUE, ModelKey(channel=channel, model=model))
    work = online(Work(inputs=1_000_000, tokens=300_000_000), Pace(tokens_per_minute=1e6))

    assert end is not None
    assert work is not None
    assert (end.end.value, work.hours) == (day, 6.25)
    assert end.latest_safe_start(work.hours).isoformat() == begin
