"""Supersets of filters, for stores that cannot evaluate all of them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from undrift.domain.filter import And, Compare, Comparison, Condition, Exists, Not, OneOf, Or, matches
from undrift.domain.relaxation import Leaf, relaxed

_KEYS = st.sampled_from("abc")
_VALUES = st.sampled_from([0, 1, 2, "x", "y"])
_LEAVES = st.one_of(
    st.builds(Compare, key=_KEYS, comparison=st.sampled_from(Comparison), value=_VALUES),
    st.builds(OneOf, key=_KEYS, values=st.lists(_VALUES, max_size=2).map(tuple)),
    st.builds(Exists, key=_KEYS),
)
_CONDITIONS: st.SearchStrategy[Condition] = st.recursive(
    _LEAVES,
    lambda parts: st.one_of(
        st.builds(Not, part=parts),
        st.builds(And, parts=st.lists(parts, max_size=3).map(tuple)),
        st.builds(Or, parts=st.lists(parts, max_size=3).map(tuple)),
    ),
    max_leaves=8,
)
_METADATA = st.dictionaries(_KEYS, _VALUES)


def _no_ranges_of_b(leaf: Leaf) -> bool:
    return leaf.key != "b" and not (isinstance(leaf, Compare) and leaf.comparison is not Comparison.EQ)


@given(_CONDITIONS, st.lists(_METADATA, max_size=10))
def test_nothing_that_is_asked_for_is_left_out(condition: Condition, documents: list[dict[str, Any]]) -> None:
    wider, exact = relaxed(condition, _no_ranges_of_b)

    for metadata in documents:
        found = wider is None or matches(wider, metadata)
        assert found or not matches(condition, metadata)
        if exact:
            assert found == matches(condition, metadata)


@given(_CONDITIONS)
def test_only_what_the_store_can_say_is_asked_of_it(condition: Condition) -> None:
    asked: list[Leaf] = []
    wider, _ = relaxed(condition, _no_ranges_of_b)

    def note(leaf: Leaf) -> bool:
        asked.append(leaf)
        return True

    if wider is not None:
        relaxed(wider, note)

    assert all(_no_ranges_of_b(leaf) for leaf in asked)


def test_what_can_be_said_is_said() -> None:
    can, cannot = Exists(key="a"), Exists(key="b")

    assert relaxed(And(parts=(can, cannot)), _no_ranges_of_b) == (And(parts=(can,)), False)
    assert relaxed(Or(parts=(can, cannot)), _no_ranges_of_b) == (None, False)
    assert relaxed(Not(part=Or(parts=(can, cannot))), _no_ranges_of_b) == (Not(part=Or(parts=(can,))), False)
    assert relaxed(Not(part=can), _no_ranges_of_b) == (Not(part=can), True)
