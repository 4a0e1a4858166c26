"""Providers' lists of models, in the shapes that their SDKs and specifications give."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from undrift.adapters.feeds.provider_models import LISTS, address_of, listed
from undrift.errors import FeedUnavailable

TODAY = date(2026, 11, 23)
#: One model with a day and one without, as each provider writes them (SDKs and specifications of 2026-11).
ANSWERS: dict[str, tuple[dict[str, Any], str, str]] = {
    "openai": (
        {
            "object": "list",
            "data": [
                {"id": "text-embedding-3-small", "object": "model", "shutdown_date": None},
                {"id": "text-embedding-ada-002", "object": "model", "shutdown_date": "2027-10-01"},
            ],
        },
        "text-embedding-ada-002",
        "2027-10-01",
    ),
    "azure-openai": (
        {
            "data": [
                {"id": "text-embedding-3-large", "lifecycle_status": "generally-available", "deprecation": {}},
                {"id": "text-embedding-ada-002", "deprecation": {"fine_tune": 0, "inference": 1833667200}},
            ]
        },
        "text-embedding-ada-002",
        "2028-02-09",
    ),
    "mistral": (
        {
            "data": [
                {"id": "codestral-embed", "deprecation": None, "aliases": []},
                {
                    "id": "mistral-embed",
                    "deprecation": "2027-05-31T12:00:00Z",
                    "deprecation_replacement_model": "mistral-embed-2",
                },
            ]
        },
        "mistral-embed",
        "2027-05-31",
    ),
    "bedrock": (
        {
            "modelSummaries": [
                {"modelId": "amazon.titan-embed-text-v2:0", "modelLifecycle": {"status": "ACTIVE"}},
                {
                    "modelId": "twelvelabs.marengo-embed-2-7-v1:0",
                    "modelLifecycle": {"status": "LEGACY", "endOfLifeTime": "2026-11-30T00:00:00Z"},
                },
            ]
        },
        "twelvelabs.marengo-embed-2-7-v1:0",
        "2026-11-30",
    ),
    "fireworks": (
        {
            "models": [
                {"name": "accounts/fireworks/models/qwen3-embedding-8b"},
                {
                    "name": "accounts/fireworks/models/nomic-embed-text-v1",
                    "deprecationDate": {"year": 2027, "month": 1, "day": 5},
                },
            ]
        },
        "nomic-embed-text-v1",
        "2027-01-05",
    ),
    "openrouter": (
        {
            "data": [
                {"id": "openai/text-embedding-3-small", "expiration_date": None},
                {"id": "x/embed-old", "expiration_date": "2027-02-01"},
            ]
        },
        "x/embed-old",
        "2027-02-01",
    ),
}


def read(channel: str, answer: Any) -> Any:
    return listed(
        answer, channel=channel, source=f"{channel} list", seen=TODAY, of=lambda name: "embed" in name.lower()
    )


@pytest.mark.parametrize("channel", sorted(ANSWERS))
def test_the_day_of_an_end_is_read_and_a_model_without_one_is_not_called_safe(channel: str) -> None:
    answer, model, day = ANSWERS[channel]

    found = read(channel, answer)

    ends = [fact for fact in found.facts if fact.attribute.value == "shutdown"]
    assert [(fact.key.model, fact.value, fact.precision) for fact in ends] == [(model, day, LISTS[channel].precision)]
    assert (ends[0].source, ends[0].seen, ends[0].confidence.value) == (f"{channel} list", TODAY, "high")
    assert len(found.models) == 2


def test_a_replacement_is_read_where_it_is_named() -> None:
    (replacement,) = (fact for fact in read("mistral", ANSWERS["mistral"][0]).facts if fact.precision is None)

    assert (replacement.attribute.value, replacement.value) == ("replacement", "mistral-embed-2")


def test_cohere_lists_its_models_without_days() -> None:
    found = read("cohere", {"models": [{"name": "embed-v4.0", "is_deprecated": True, "context_length": 128000}]})

    assert (found.models, found.facts) == (frozenset({"embed-v4.0"}), ())


def test_models_of_chats_are_left_out() -> None:
    found = read("openai", {"data": [{"id": "gpt-4", "shutdown_date": "2027-01-01"}]})

    assert found.facts == ()


@pytest.mark.parametrize("answer", [[], {}, {"data": None}, {"error": "no key"}])
def test_what_is_no_list_is_refused(answer: Any) -> None:
    with pytest.raises(FeedUnavailable, match="has no 'data'"):
        read("openai", answer)


@pytest.mark.parametrize("day", ["soon", {"year": 2027}, -1e30, [2027]])
def test_a_day_that_is_none_is_unknown(day: Any) -> None:
    answer = {"data": [{"id": "text-embedding-3-small", "shutdown_date": day}]}

    assert read("openai", answer).facts == ()


@pytest.mark.parametrize(
    ("channel", "base_url", "region", "address"),
    [
        ("openai", "", "", "https://api.openai.com/v1/models"),
        ("openai", "http://localhost:9/v1", "", "http://localhost:9/v1/models"),
        ("cohere", "", "", "https://api.cohere.com/v1/models?page_size=1000"),
        (
            "azure-openai",
            "https://me.openai.azure.com/openai/v1",
            "",
            "https://me.openai.azure.com/openai/models?api-version=2024-10-21",
        ),
        ("azure-openai", "", "", ""),
        (
            "bedrock",
            "",
            "eu-west-1",
            "https://bedrock.eu-west-1.amazonaws.com/foundation-models?byOutputModality=EMBEDDING",
        ),
        ("bedrock", "", "", ""),
        ("voyage", "", "", ""),
    ],
)
def test_a_list_is_where_the_models_answer(channel: str, base_url: str, region: str, address: str) -> None:
    assert address_of(channel, base_url, region) == address
