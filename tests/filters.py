"""Hypothesis strategies for filters and for metadata that they may meet, with all that back-ends like to mix up."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

keys = st.sampled_from(["a", "b"]) | st.text(max_size=3)
words = st.sampled_from(["", "a", "A", "b", "1", "true", "null", "a\x00", "a\x00b", "\x00"]) | st.text(max_size=4)
near_limits = [edge + step for edge in (0, 2**53, -(2**53), 2**63, -(2**63), 2**64) for step in (-1, 0, 1)]
integers = st.integers(-2, 2) | st.sampled_from(near_limits) | st.integers(-(2**70), 2**70)
floats = st.floats(allow_nan=False, allow_infinity=False) | integers.map(float)
stored_scalars = st.none() | st.booleans() | integers | st.just(10**400) | floats | words
asked_scalars = st.none() | st.booleans() | integers.filter(lambda n: -(2**63) <= n < 2**63) | floats | words
ordered_scalars = asked_scalars.filter(lambda value: value is not None and not isinstance(value, bool))
nested = st.recursive(
    stored_scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=2)
)
stored = st.dictionaries(keys, nested)
operators = (
    st.fixed_dictionaries({}, optional=dict.fromkeys(("$eq", "$ne"), asked_scalars))
    | st.fixed_dictionaries({}, optional=dict.fromkeys(("$gt", "$gte", "$lt", "$lte"), ordered_scalars))
    | st.fixed_dictionaries({}, optional=dict.fromkeys(("$in", "$nin"), st.lists(asked_scalars, max_size=4)))
    | st.fixed_dictionaries({"$exists": st.booleans()})
).filter(bool)
askable_keys = keys.filter(lambda key: not key.startswith("$"))
filters = st.recursive(
    st.dictionaries(askable_keys, asked_scalars | operators, max_size=3),
    lambda inner: (
        st.fixed_dictionaries({"$not": inner})
        | st.fixed_dictionaries({"$or": st.lists(inner, min_size=1, max_size=3)})
        | st.fixed_dictionaries({"$and": st.lists(inner, min_size=1, max_size=3)})
    ),
    max_leaves=5,
)


def meeting(data: st.DataObject, filter: dict[str, Any]) -> dict[str, Any]:
    """Return metadata made of a filter's own values: those drawn at random seldom meet."""
    wanted = [key for key in filter if not key.startswith("$")]
    return {
        key: data.draw(st.sampled_from([*(value.values() if isinstance(value, dict) else [value]), 1, "a"]))
        for key in wanted
        for value in [filter[key]]
    }
