"""A space is the same exactly when everything is that makes vectors comparable."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given

from undrift.domain.space import Metric, Space, Truncation, differences
from undrift.testing.strategies import spaces

SPACE = Space(channel="openai", model="text-embedding-3-small", revision="2024-01", dimensions=512)
OTHER: dict[str, Any] = {
    "channel": "azure",
    "model": "text-embedding-3-large",
    "revision": "2024-02",
    "dimensions": 1024,
    "metric": Metric.DOT,
    "normalized": False,
    "cut": 512,
    "document_prefix": "passage: ",
    "query_prefix": "query: ",
    "document_task": "RETRIEVAL_DOCUMENT",
    "query_task": "RETRIEVAL_QUERY",
    "max_tokens": 8191,
    "truncation": Truncation.CUT,
    "dtype": "int8",
    "text_form": 2,
}


def test_the_id_is_what_it_was_in_earlier_releases() -> None:
    """Stored vectors carry it: should it change, every collection would look foreign."""
    assert SPACE.id == "text-embedding-3-small-512-fc91632f7394"


def test_every_attribute_has_another_value_here() -> None:
    assert set(OTHER) == {field.name for field in fields(Space)}


@pytest.mark.parametrize("attribute", sorted(OTHER))
def test_another_value_of_any_attribute_is_another_space(attribute: str) -> None:
    changed = replace(SPACE, **{attribute: OTHER[attribute]})
    assert changed.fingerprint != SPACE.fingerprint
    assert changed.id != SPACE.id
    assert [line.split(":")[0] for line in differences(SPACE, changed)] == [attribute]


def test_a_space_comes_back_from_its_json_form() -> None:
    every = Space(**OTHER)
    assert Space.from_dict(every.as_dict()) == every
    assert differences(every, Space.from_dict(every.as_dict())) == []


@given(spaces())
def test_any_space_has_a_readable_id_of_its_own_and_comes_back(space: Space) -> None:
    assert Space.from_dict(space.as_dict()) == space
    assert re.fullmatch(r"[a-z0-9-]{1,32}-\d+-[0-9a-f]{12}", space.id)
    assert space.fingerprint.startswith(space.id[-12:])


@given(spaces(), spaces())
def test_two_spaces_have_one_fingerprint_only_if_they_are_equal(one: Space, other: Space) -> None:
    assert (one.fingerprint == other.fingerprint) is (one == other)
    assert bool(differences(one, other)) is (one != other)
