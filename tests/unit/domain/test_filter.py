"""The filter language: what can be asked for, what it means, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undrift.domain.filter import (
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_VALUES,
    And,
    Compare,
    Comparison,
    Condition,
    Exists,
    Not,
    OneOf,
    Or,
    matches,
    parse,
)
from undrift.errors import BadFilter


def asks(filter: dict[str, Any], metadata: dict[str, Any]) -> bool:
    return matches(parse(filter), metadata)


def equal(key: str, value: Any) -> Compare:
    return Compare(key=key, comparison=Comparison.EQ, value=value)


@pytest.mark.parametrize(
    ("filter", "condition"),
    [
        ({}, And(parts=())),
        ({"lang": "en"}, equal("lang", "en")),
        ({"lang": "en", "year": 2020}, And(parts=(equal("lang", "en"), equal("year", 2020)))),
        ({"a.b": None}, equal("a.b", None)),
        ({"": True}, equal("", True)),
        ({"n": {"$eq": 1}}, equal("n", 1)),
        ({"n": {"$ne": 1}}, Not(part=equal("n", 1))),
        ({"n": {"$in": [1, "a", None]}}, OneOf(key="n", values=(1, "a", None))),
        ({"n": {"$nin": ()}}, Not(part=OneOf(key="n", values=()))),
        ({"n": {"$gte": 1.5}}, Compare(key="n", comparison=Comparison.GTE, value=1.5)),
        ({"n": {"$exists": True}}, Exists(key="n")),
        ({"n": {"$exists": False}}, Not(part=Exists(key="n"))),
        (
            {"n": {"$gt": 1, "$lt": 3}},
            And(
                parts=(
                    Compare(key="n", comparison=Comparison.GT, value=1),
                    Compare(key="n", comparison=Comparison.LT, value=3),
                )
            ),
        ),
        ({"$not": {"a": 1}}, Not(part=equal("a", 1))),
        ({"$or": [{"a": 1}, {"b": 2, "c": 3}]}, Or(parts=(equal("a", 1), And(parts=(equal("b", 2), equal("c", 3)))))),
        ({"$and": [{"a": 1}], "b": 2}, And(parts=(And(parts=(equal("a", 1),)), equal("b", 2)))),
    ],
)
def test_a_filter_becomes_a_condition(filter: dict[str, Any], condition: Condition) -> None:
    assert parse(filter) == condition


@pytest.mark.parametrize(
    ("filter", "metadata", "wanted"),
    [
        # everything
        ({}, {}, True),
        ({}, {"a": 1}, True),
        # equality keeps types apart
        ({"a": 1}, {"a": 1}, True),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": 1.0}, {"a": 1}, True),
        ({"a": 0.0}, {"a": -0.0}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": True}, {"a": 1}, False),
        ({"a": True}, {"a": True}, True),
        ({"a": False}, {"a": 0}, False),
        ({"a": 1}, {"a": "1"}, False),
        ({"a": "1"}, {"a": 1}, False),
        ({"a": "x"}, {"a": "X"}, False),
        ({"a": "é"}, {"a": "e\u0301"}, False),
        # null is a value, absence is not
        ({"a": None}, {"a": None}, True),
        ({"a": None}, {}, False),
        ({"a": None}, {"a": 0}, False),
        ({"a": None}, {"a": ""}, False),
        ({"a": {"$exists": True}}, {"a": None}, True),
        ({"a": {"$exists": True}}, {}, False),
        ({"a": {"$exists": False}}, {}, True),
        ({"a": {"$exists": False}}, {"a": None}, False),
        # lists and objects equal nothing and have no order
        ({"a": 1}, {"a": [1]}, False),
        ({"a": {"$ne": 1}}, {"a": [1]}, True),
        ({"a": {"$in": [1, None]}}, {"a": []}, False),
        ({"a": {"$gt": 0}}, {"a": [1]}, False),
        ({"a": {"$lte": 0}}, {"a": {}}, False),
        ({"a": {"$exists": True}}, {"a": {}}, True),
        # a key is no path
        ({"a.b": 1}, {"a": {"b": 1}}, False),
        ({"a.b": 1}, {"a.b": 1}, True),
        # negations are true where the key is not there
        ({"a": {"$ne": 1}}, {}, True),
        ({"a": {"$ne": None}}, {}, True),
        ({"a": {"$ne": 1}}, {"a": True}, True),
        ({"a": {"$nin": [1, 2]}}, {}, True),
        ({"a": {"$nin": [1, 2]}}, {"a": 2.0}, False),
        ({"a": {"$nin": []}}, {"a": 1}, True),
        ({"a": {"$in": []}}, {"a": 1}, False),
        ({"$not": {"a": {"$gt": 1}}}, {}, True),
        ({"$not": {"a": {"$gt": 1}}}, {"a": "x"}, True),
        ({"$not": {}}, {"a": 1}, False),
        # order
        ({"a": {"$gt": 1}}, {"a": 1.0}, False),
        ({"a": {"$gte": 1}}, {"a": 1.0}, True),
        ({"a": {"$lt": 2}}, {"a": 1.5}, True),
        ({"a": {"$gt": 1}}, {"a": "2"}, False),
        ({"a": {"$lt": "2"}}, {"a": 1}, False),
        ({"a": {"$gte": 0}}, {"a": True}, False),
        ({"a": {"$gte": 0}}, {"a": None}, False),
        ({"a": {"$lt": "b"}}, {"a": "a"}, True),
        ({"a": {"$lt": "a"}}, {"a": "B"}, True),
        ({"a": {"$lt": "\U0001f600"}}, {"a": "\ue000"}, True),
        ({"a": {"$gt": "a"}}, {"a": "a\x00"}, True),
        ({"a": {"$gt": 2**53}}, {"a": 2**53 + 1}, True),
        ({"a": {"$gt": float(2**53)}}, {"a": 2**53 + 1}, True),
        # an integer of more than 64 bits counts as the nearest float
        ({"a": 2.0**63}, {"a": 2**63 + 1}, True),
        ({"a": {"$gt": 2**63 - 1}}, {"a": 2**63}, True),
        ({"a": {"$lt": 1e308}}, {"a": -(10**400)}, True),
        ({"a": {"$gt": 1e308}}, {"a": 10**400}, True),
        # combinations
        ({"a": 1, "b": 2}, {"a": 1, "b": 2}, True),
        ({"a": 1, "b": 2}, {"a": 1}, False),
        ({"$or": [{"a": 1}, {"b": 2}]}, {"b": 2}, True),
        ({"$or": [{"a": 1}, {"b": 2}]}, {"c": 3}, False),
        ({"$or": [{"a": 1}, {}]}, {}, True),
        ({"$and": [{"a": 1}, {"$or": [{"b": 1}, {"b": 2}]}]}, {"a": 1, "b": 2}, True),
        ({"$or": [{"a": 1}], "b": 2}, {"a": 1, "b": 3}, False),
    ],
)
def test_a_filter_means_what_the_language_says(filter: dict[str, Any], metadata: dict[str, Any], wanted: bool) -> None:
    assert asks(filter, metadata) is wanted


@pytest.mark.parametrize(
    ("filter", "named"),
    [
        ({"year": {"$regex": "2.*"}}, r"'year'.*'\$regex'"),
        ({"year": {"gte": 2}}, "'year'.*'gte'"),
        ({"year": {}}, "'year' is empty"),
        ({"year": {2: 1}}, "'year' has 2"),
        ({"year": [1]}, r"'year' has \[1\].*list"),
        ({"year": {"$eq": {"a": 1}}}, "'year'.*dict"),
        ({"year": {"$in": "ab"}}, r"\$in of 'year' has 'ab', not a list"),
        ({"year": {"$in": 1}}, r"\$in of 'year' has 1, not a list"),
        ({"year": {"$nin": [[1]]}}, r"'year' has \[1\]"),
        ({"year": {"$gt": None}}, r"\$gt of 'year' has None"),
        ({"year": {"$lte": True}}, r"\$lte of 'year' has True"),
        ({"year": {"$exists": 1}}, r"\$exists of 'year' has 1"),
        ({"year": float("nan")}, "'year' has nan"),
        ({"year": {"$lt": float("inf")}}, "'year' has inf"),
        ({"year": 2**63}, "'year'.*64 bits"),
        ({"year": 10**5000}, "'year'.*64 bits"),
        ({"year": [10**5000]}, "'year' has a list too long to show"),
        ({"year": b"x"}, "'year'.*bytes"),
        ({"year": "\ud800"}, "value of 'year' that is not valid Unicode"),
        ({"\ud800": 1}, "key that is not valid Unicode"),
        ({1: 1}, "filter key 1 is of type int"),
        ({"$nor": [{"a": 1}]}, r"'\$nor'"),
        ({"$eq": 1}, r"'\$eq'"),
        ({"$and": {"a": 1}}, r"\$and has"),
        ({"$or": []}, r"\$or has \[\]"),
        ({"$or": "ab"}, r"\$or has 'ab'"),
        ({"$or": [{"a": 1}, "b"]}, "'b' is not a filter"),
        ({"$not": [{"a": 1}]}, r"\[\{'a': 1\}\] is not a filter"),
        ([("a", 1)], "is not a filter, but of type list"),
        ("a", "'a' is not a filter"),
    ],
)
def test_what_the_language_does_not_have_is_refused_by_name(filter: Any, named: str) -> None:
    with pytest.raises(BadFilter, match=named) as refused:
        parse(filter)

    assert len(refused.value.message) < 300


@pytest.mark.parametrize("filter", [{"a": {"$like": 1}}, {"$nor": []}, {"a": [1]}, {"a": {"$in": 1}}])
def test_the_hint_lists_the_operators(filter: dict[str, Any]) -> None:
    with pytest.raises(BadFilter) as refused:
        parse(filter)

    for operator in ("$eq", "$ne", "$in", "$nin", "$gt", "$gte", "$lt", "$lte", "$exists", "$and", "$or", "$not"):
        assert operator in refused.value.hint


def test_a_filter_may_be_large_but_not_without_end() -> None:
    most = {"$or": [{"a": number} for number in range(MAX_CONDITIONS)]}
    assert matches(parse(most), {"a": MAX_CONDITIONS - 1})
    with pytest.raises(BadFilter, match=f"{MAX_CONDITIONS + 1} conditions"):
        parse({**most, "b": 1})

    values = {"a": {"$in": list(range(MAX_VALUES))}}
    assert matches(parse(values), {"a": MAX_VALUES - 1})
    with pytest.raises(BadFilter, match=f"{MAX_VALUES + 1} values"):
        parse({"a": {"$in": list(range(MAX_VALUES + 1))}})


def test_a_filter_may_be_deep_but_not_without_end() -> None:
    filter: dict[str, Any] = {"a": 1}
    for _ in range(MAX_DEPTH):
        filter = {"$not": filter}
    assert matches(parse(filter), {"a": 1}) is (MAX_DEPTH % 2 == 0)
    with pytest.raises(BadFilter, match="deep"):
        parse({"$not": filter})


def test_a_filter_that_contains_itself_is_refused() -> None:
    filter: dict[str, Any] = {}
    filter["$not"] = filter

    with pytest.raises(BadFilter, match="deep"):
        parse(filter)


scalars = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.0, 1.0, 1.5]) | st.sampled_from(["", "a", "b"])
)
metadata = st.dictionaries(st.sampled_from("ab"), scalars | st.just([1]) | st.just({}))
filters = st.recursive(
    st.dictionaries(
        st.sampled_from("ab"),
        scalars | st.fixed_dictionaries({"$in": st.lists(scalars)}) | st.fixed_dictionaries({"$exists": st.booleans()}),
        max_size=2,
    ),
    lambda inner: st.fixed_dictionaries({"$not": inner}) | st.fixed_dictionaries({"$or": st.lists(inner, min_size=1)}),
    max_leaves=6,
)


@given(filters, filters, metadata)
def test_combinations_are_those_of_logic(one: dict[str, Any], other: dict[str, Any], metadata: dict[str, Any]) -> None:
    left, right = asks(one, metadata), asks(other, metadata)

    assert asks({"$and": [one, other]}, metadata) is (left and right)
    assert asks({"$or": [one, other]}, metadata) is (left or right)
    assert asks({"$not": one}, metadata) is (not left)


@given(scalars, metadata)
def test_every_operator_is_one_of_the_others_turned_round(value: Any, metadata: dict[str, Any]) -> None:
    equal = asks({"a": value}, metadata)

    assert asks({"a": {"$eq": value}}, metadata) is equal
    assert asks({"a": {"$ne": value}}, metadata) is (not equal)
    assert asks({"a": {"$in": [value]}}, metadata) is equal
    assert asks({"a": {"$nin": [value]}}, metadata) is (not equal)
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        less, greater = asks({"a": {"$lt": value}}, metadata), asks({"a": {"$gt": value}}, metadata)
        assert less + greater + equal <= 1
        assert asks({"a": {"$lte": value}}, metadata) is (less or equal)
        assert asks({"a": {"$gte": value}}, metadata) is (greater or equal)
