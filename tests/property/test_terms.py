"""What words say of metadata is what the filter language says of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undrift.domain.filter import Compare, Comparison, Exists, OneOf, matches
from undrift.domain.relaxation import Leaf
from undrift.domain.terms import LONGEST_VALUE, is_exact, span_of, word_of, word_of_key, words

NUMBERS = (
    st.integers(-(2**70), 2**70)
    | st.integers(-(2**63), 2**63 - 1)
    | st.integers(2**53 - 3, 2**53 + 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0, -0.0, 0.0, 1, 1.0, 2.0**63, 2**63 - 1, -(2.0**63), 5e-324, 10**400])
)
TEXTS = st.text(max_size=4) | st.sampled_from(["x" * (LONGEST_VALUE + step) for step in (-2, -1, 0, 1)])
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
KEYS = st.text(max_size=3) | st.sampled_from(["k", "k\x1f", "k" * 200, "\u00e9" * 100, "a.b", "!"])
VALUES = SCALARS | st.lists(st.integers(0, 1), max_size=1) | st.just({"a": 1})
ASKED = st.none() | st.booleans() | TEXTS | NUMBERS.filter(lambda value: abs(value) < 2**63 or isinstance(value, float))
ORDERED = ASKED.filter(lambda value: value is not None and not isinstance(value, bool))
LEAVES = (
    st.builds(Compare, key=KEYS, comparison=st.just(Comparison.EQ), value=ASKED)
    | st.builds(Compare, key=KEYS, comparison=st.sampled_from(Comparison), value=ORDERED)
    | st.builds(OneOf, key=KEYS, values=st.lists(ASKED, max_size=3).map(tuple))
    | st.builds(Exists, key=KEYS)
)


def said(found: list[str], leaf: Leaf) -> bool:
    """What an inverted index answers."""
    match leaf:
        case Exists(key=key):
            return word_of_key(key) in found
        case OneOf(key=key, values=values):
            return any(word_of(key, value) in found for value in values)
        case Compare(comparison=Comparison.EQ):
            return word_of(leaf.key, leaf.value) in found
        case _:
            span = span_of(leaf)
            low, high = span.low.encode(), span.high.encode()
            return any(
                (low <= word if span.low_in else low < word) and (word <= high if span.high_in else word < high)
                for word in map(str.encode, found)
            )


@given(metadata=st.dictionaries(KEYS, VALUES, max_size=4), leaf=LEAVES)
def test_words_answer_what_the_language_answers(metadata: dict[str, Any], leaf: Leaf) -> None:
    found = words(metadata)

    if is_exact(leaf):
        assert said(found, leaf) is matches(leaf, metadata)
    else:
        assert said(found, leaf) or not matches(leaf, metadata) or isinstance(leaf, Compare)


@given(value=SCALARS, leaf=LEAVES)
def test_a_value_of_the_same_key_is_found_where_it_fits(value: Any, leaf: Leaf) -> None:
    """As above, and the key is always the one that is asked for."""
    metadata = {leaf.key: value}

    if is_exact(leaf):
        assert said(words(metadata), leaf) is matches(leaf, metadata)


@pytest.mark.parametrize(
    ("one", "other"), [("a", "A"), ("1", 1), (True, 1), (None, "0"), (0, False), (2**53, 2**53 + 1)]
)
def test_different_values_have_different_words(one: Any, other: Any) -> None:
    assert word_of("k", one) != word_of("k", other)


def test_words_are_short_whatever_the_metadata_are() -> None:
    assert all(len(word.encode()) < 1024 for word in words({"\u4e2d" * 1000: "\U0001f600" * 1000}))
