"""The community's list of ends of models: what is taken from it, and as what."""

from __future__ import annotations

import json
from datetime import date

import pytest

from undrift.adapters.feeds.deprecations import deprecations, is_deprecations
from undrift.domain.catalogue import Confidence, ModelKey, Precision
from undrift.errors import FeedUnavailable

#: In the shape of deprecations.info's `/v1/deprecations.json` as of 2026-03; of each kind of entry one.
LISTED = [
    {
        "provider": "Google Vertex",
        "model_id": "text-embedding-004",
        "announcement_date": "2026-03-24",
        "shutdown_date": "2027-04-01",
        "replacement_models": ["---", "gemini-embedding-001", "gemini-embedding-2"],
        "url": "https://docs.example/deprecations",
        "first_observed": "2026-03-26",
        "last_observed": "2026-07-24",
    },
    {"provider": "Google", "model_id": "gemini-embedding-001model", "shutdown_date": "2025-10-30"},
    {"provider": "OpenAI", "model_id": "sora-2", "shutdown_date": "2026-09-24", "last_observed": "2026-03-27"},
    {"provider": "Azure", "model_id": "embed-v-4-0", "shutdown_date": "soon", "last_observed": "2026-07-24"},
    {"provider": "Nobody", "model_id": "text-embedding-004", "shutdown_date": "2026-01-01"},
]


def test_the_community_s_list_gives_probable_days_of_models_that_are_known() -> None:
    known = {
        ModelKey(channel="vertex", model="text-embedding-004"),
        ModelKey(channel="azure-foundry", model="embed-v-4-0"),
    }

    facts = deprecations(json.dumps(LISTED), "deprecations.info", knows=known.__contains__)

    assert [(str(fact.attribute.value), fact.value) for fact in facts] == [
        ("shutdown", "2027-04-01"),
        ("replacement", "gemini-embedding-001"),
    ]
    end = facts[0]
    assert (end.precision, end.confidence, end.seen) == (Precision.PROBABLE, Confidence.LOW, date(2026, 7, 24))
    assert end.source == "deprecations.info (https://docs.example/deprecations)"


@pytest.mark.parametrize("content", ["[not json", "[1, 2]", '[{"id": "a"}]'])
def test_a_list_of_something_else_is_refused(content: str) -> None:
    assert is_deprecations(content)
    with pytest.raises(FeedUnavailable):
        deprecations(content, "somewhere", knows=lambda _: True)


def test_a_table_of_facts_is_no_list() -> None:
    assert not is_deprecations("channel,model,region,attribute,value\n")
    assert deprecations("[]", "somewhere", knows=lambda _: True) == []
