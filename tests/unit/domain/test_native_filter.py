"""A filter of the store's own stands alone, and is told from one of undrift's."""

from __future__ import annotations

from typing import Any

import pytest

from undrift.domain.filter import native, parse
from undrift.errors import BadFilter


def test_a_filter_of_the_stores_own_goes_through_as_it_is() -> None:
    own = object()
    assert native({"$native": own}) is own


@pytest.mark.parametrize("filter", [None, {}, {"k": 1}, {"$native": {}, "k": 1}], ids=str)
def test_every_other_filter_is_not_one(filter: Any) -> None:
    assert native(filter) is None


@pytest.mark.parametrize(
    "filter",
    [{"$native": {}}, {"$native": {}, "k": 1}, {"$and": [{"$native": {}}]}, {"$not": {"$native": {}}}],
    ids=str,
)
def test_the_language_does_not_take_it(filter: Any) -> None:
    with pytest.raises(BadFilter, match="store's own"):
        parse(filter)
