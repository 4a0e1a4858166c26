"""Numbers and nulls that a payload of Qdrant does not keep come back exactly all the same."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undrift.adapters.stores.qdrant.numbers import BESIDE, gathered, spread, survives
from undrift.domain.record import encode_metadata

FINITE = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | FINITE | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
METADATA = st.dictionaries(st.sampled_from(["k", "n", "a.b", ""]), VALUES, max_size=3)


def rounded_twice(value: float) -> float:
    """Read a decimal as a quick parser does: its digits as a float, then times or through a power of ten."""
    digits, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = digits.partition(".")
    power = int(exponent or 0) - len(fraction)
    read = float(int(whole + fraction))
    try:
        read = read * float(10**power) if power >= 0 else read / float(10**-power)
    except OverflowError:
        read = 0.0 if power < 0 else math.inf
    return math.copysign(read, value)


def kept(value: Any) -> Any:
    """Return what a server makes of a value."""
    match value:
        case dict():
            return {key: kept(part) for key, part in value.items()}
        case list():
            return [kept(part) for part in value]
        case float() if not isinstance(value, bool):
            read = rounded_twice(value)
            return read if math.isfinite(read) else value
        case _:
            return value


def put(stored: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Put keys into a payload as Qdrant does."""
    merged = {**stored, **kept(change)}
    return {key: value for key, value in merged.items() if not (key in change and change[key] is None)}


@given(FINITE)
def test_a_number_that_is_said_to_survive_does(value: float) -> None:
    if survives(value):
        assert rounded_twice(value) == value


@pytest.mark.parametrize("value", [0.1, 1.5, -2.25, 3.14159, 1e22, 2.5e-8, 19.99, 0.0, 123456789.125])
def test_numbers_as_people_write_them_survive(value: float) -> None:
    assert survives(value)


@pytest.mark.parametrize("value", [0.1 + 0.2, 1e300, 5e-324, 1 / 1.1])
def test_numbers_of_many_digits_are_not_trusted(value: float) -> None:
    assert not survives(value)


@given(METADATA)
def test_what_is_spread_is_gathered_again_whatever_the_server_loses(metadata: dict[str, Any]) -> None:
    assert as_text(gathered(kept(spread("x", metadata, keeps_floats=False)))) == as_text(metadata)


@given(METADATA, st.lists(METADATA, max_size=3))
def test_changes_one_after_the_other_leave_what_they_say(before: dict[str, Any], changes: list[dict[str, Any]]) -> None:
    stored, wanted = kept(spread("x", before, keeps_floats=False)), before
    for change in changes:
        stored = put(stored, spread("x", change, keeps_floats=False, merging=True))
        wanted = {**wanted, **change}

    assert as_text(gathered(stored)) == as_text(wanted)


def test_a_text_beside_a_value_that_somebody_else_changed_is_not_believed() -> None:
    stored = spread("x", {"k": 2**70}, keeps_floats=True)
    assert stored[BESIDE + "k"]

    assert gathered({**stored, "k": 5}) == {"k": 5}
    assert gathered(stored) == {"k": 2**70}


def as_text(metadata: dict[str, Any]) -> str:
    """Return what tells values apart that Python calls equal, such as `True` and `1`."""
    return encode_metadata("x", metadata)
