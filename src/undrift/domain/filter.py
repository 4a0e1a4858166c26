"""Metadata filters: a small language, parsed once into a value that every store evaluates alike.

`{"lang": "en", "year": {"$gte": 2020}}` means both. The rules, which every store keeps to the letter:

- A key is the name of a top-level metadata key, taken literally: `"a.b"` is a key with a dot in it, not a way into an
  object.
- A condition compares with a scalar: str, int, float, bool or None. A list or an object in the metadata equals no
  scalar and has no order.
- Types never mix: a str equals no number, and `True` is not `1`. Integers and floats are numbers and compare by value;
  an integer of the metadata that needs more than 64 bits counts as the nearest float.
- Strings compare by code point.
- A key that is not there equals nothing, not even None; `{"k": None}` asks for a key that is there and null.
- `$ne`, `$nin` and `$not` are true exactly where `$eq`, `$in` and the condition inside are false: also where the key is
  not there.

A search may have `{"$native": ...}` alone instead: a filter of the store's own, which goes to it as it is. Stores
differ in what they make of it, so nothing that compares stores takes one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias, TypeGuard, assert_never

from undrift.errors import BadFilter

Scalar: TypeAlias = str | int | float | bool | None

#: A filter may have this many conditions, so that no store chokes on it.
MAX_CONDITIONS = 256
#: And this many values in its lists together.
MAX_VALUES = 10_000
#: And `$and`, `$or` and `$not` may stand this deep inside one another.
MAX_DEPTH = 32
_INT64 = range(-(2**63), 2**63)
_OPERATORS = ("$eq", "$ne", "$in", "$nin", "$gt", "$gte", "$lt", "$lte", "$exists")
#: Says that what follows is a filter of the store's own.
_NATIVE = "$native"
_HINT = f"compare with {', '.join(_OPERATORS)}; combine with $and, $or, $not"


class Comparison(Enum):
    """How a value of the metadata is compared with a scalar."""

    #: Same type and same value.
    EQ = "$eq"
    #: Greater; of two strings or two numbers.
    GT = "$gt"
    #: Greater or equal.
    GTE = "$gte"
    #: Less.
    LT = "$lt"
    #: Less or equal.
    LTE = "$lte"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare:
    """The key is there, and its value compares so with the scalar."""

    key: str
    comparison: Comparison
    value: Scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class OneOf:
    """The key is there, and its value equals one of the scalars; with none, it is never true."""

    key: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exists:
    """The key is there, whatever its value."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Not:
    """The condition inside is false."""

    part: Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class And:
    """All of them are true; with no parts, it is always true."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Or:
    """At least one of them is true."""

    parts: tuple[Condition, ...]


#: Two conditions that Python calls equal may differ: `1 == True`. Never use one as a key.
Condition: TypeAlias = Compare | OneOf | Exists | Not | And | Or


def parse(filter: Mapping[str, Any]) -> Condition:
    """Return what a filter asks for; an empty one asks for everything.

    Args:
        filter: scalars or operators by key, and `$and`, `$or`, `$not`.

    Raises:
        BadFilter: the filter asks for something that the language does not have; the message names the part.
    """
    condition = _conjunction(filter, 0)
    conditions, values = _size(condition)
    if conditions > MAX_CONDITIONS or values > MAX_VALUES:
        raise BadFilter(
            f"a filter has {conditions} conditions and {values} values in lists",
            f"at most {MAX_CONDITIONS} and {MAX_VALUES} are taken",
            "select by a metadata key that says it in fewer words, or by document ids",
        )
    return condition


def native(filter: Mapping[str, Any] | None) -> Any:
    """Return the store's own filter when that is all there is, as `{"$native": ...}`; None for one of this language."""
    return filter[_NATIVE] if filter is not None and len(filter) == 1 and _NATIVE in filter else None


def matches(condition: Condition, metadata: Mapping[str, Any]) -> bool:
    """Whether a document with this metadata is asked for; what every store's own answer is measured against."""
    match condition:
        case Compare(key=key, comparison=comparison, value=value):
            return key in metadata and _compare(metadata[key], comparison, value)
        case OneOf(key=key, values=values):
            return key in metadata and any(_compare(metadata[key], Comparison.EQ, value) for value in values)
        case Exists(key=key):
            return key in metadata
        case Not(part=part):
            return not matches(part, metadata)
        case And(parts=parts):
            return all(matches(part, metadata) for part in parts)
        case Or(parts=parts):
            return any(matches(part, metadata) for part in parts)
        case _:
            assert_never(condition)


def _compare(stored: object, comparison: Comparison, wanted: Scalar) -> bool:
    left, right = _comparable(stored), _comparable(wanted)
    if left is None or right is None or left[0] != right[0]:
        return False
    match comparison:
        case Comparison.EQ:
            return bool(left[1] == right[1])
        case Comparison.GT:
            return bool(left[1] > right[1])
        case Comparison.GTE:
            return bool(left[1] >= right[1])
        case Comparison.LT:
            return bool(left[1] < right[1])
        case Comparison.LTE:
            return bool(left[1] <= right[1])
        case _:
            assert_never(comparison)


def _comparable(value: object) -> tuple[str, Any] | None:
    """Return the kind of a scalar and what to compare of it, or None for what is no scalar."""
    match value:
        case None:
            return "null", 0
        case bool():
            return "bool", value
        case str():
            return "str", value
        case int() if value not in _INT64:
            try:
                return "number", float(value)
            except OverflowError:
                return "number", math.inf if value > 0 else -math.inf
        case int() | float():
            return "number", value
        case _:
            return None


def _conjunction(filter: object, depth: int) -> Condition:
    if not isinstance(filter, Mapping):
        raise BadFilter(f"{_shown(filter)} is not a filter, but of type {type(filter).__name__}", hint=_HINT)
    if depth > MAX_DEPTH:
        raise BadFilter(f"a filter has conditions more than {MAX_DEPTH} deep inside one another")
    parts: list[Condition] = []
    for key, wanted in filter.items():
        if not isinstance(key, str):
            raise BadFilter(f"the filter key {_shown(key)} is of type {type(key).__name__}, not str")
        if key.startswith("$"):
            parts.append(_combination(key, wanted, depth))
        elif isinstance(wanted, Mapping):
            parts += _conditions(key, wanted)
        else:
            parts.append(Compare(key=_text(key, "key"), comparison=Comparison.EQ, value=_scalar(key, "$eq", wanted)))
    return parts[0] if len(parts) == 1 else And(parts=tuple(parts))


def _combination(operator: str, wanted: object, depth: int) -> Condition:
    if operator == "$not":
        return Not(part=_conjunction(wanted, depth + 1))
    if operator == _NATIVE:
        raise BadFilter(
            "a filter of the store's own cannot be used here",
            f"{_NATIVE} can stand alone in the filter of a search, in a store that has filters of its own",
            _HINT,
        )
    if operator not in ("$and", "$or"):
        raise BadFilter(f"{_shown(operator)} does not combine filters; a metadata key cannot begin with $", hint=_HINT)
    if not _is_list(wanted) or not wanted:
        raise BadFilter(f"{operator} has {_shown(wanted)}, not a list of filters", hint=_HINT)
    parts = tuple(_conjunction(part, depth + 1) for part in wanted)
    return And(parts=parts) if operator == "$and" else Or(parts=parts)


def _conditions(key: str, wanted: Mapping[Any, Any]) -> list[Condition]:
    _text(key, "key")
    if not wanted:
        raise BadFilter(f"the filter of {key!r} is empty", hint=_HINT)
    return [_condition(key, operator, value) for operator, value in wanted.items()]


def _condition(key: str, operator: object, value: object) -> Condition:
    match operator:
        case "$eq" | "$gt" | "$gte" | "$lt" | "$lte":
            return Compare(key=key, comparison=Comparison(operator), value=_scalar(key, operator, value))
        case "$ne":
            return Not(part=Compare(key=key, comparison=Comparison.EQ, value=_scalar(key, operator, value)))
        case "$in":
            return OneOf(key=key, values=_scalars(key, operator, value))
        case "$nin":
            return Not(part=OneOf(key=key, values=_scalars(key, operator, value)))
        case "$exists":
            if not isinstance(value, bool):
                raise BadFilter(f"$exists of {key!r} has {_shown(value)}, not true or false")
            return Exists(key=key) if value else Not(part=Exists(key=key))
        case _:
            raise BadFilter(f"the filter of {key!r} has {_shown(operator)}, which is no operator", hint=_HINT)


def _scalars(key: str, operator: str, value: object) -> tuple[Scalar, ...]:
    if not _is_list(value):
        raise BadFilter(f"{operator} of {key!r} has {_shown(value)}, not a list", hint=_HINT)
    return tuple(_scalar(key, "$eq", one) for one in value)


def _scalar(key: str, operator: str, value: object) -> Scalar:
    if operator not in {"$eq", "$ne"} and (value is None or isinstance(value, bool)):
        raise BadFilter(
            f"{operator} of {key!r} has {_shown(value)}; only numbers and strings have an order", hint=_HINT
        )
    match value:
        case None | bool():
            return value
        case str():
            return _text(value, f"value of {key!r}")
        case int() if value not in _INT64:
            raise BadFilter(f"{operator} of {key!r} has {_shown(value)}, which needs more than 64 bits")
        case float() if not math.isfinite(value):
            raise BadFilter(f"{operator} of {key!r} has {value}, which is no number that metadata can have")
        case int() | float():
            return value
        case _:
            raise BadFilter(
                f"{operator} of {key!r} has {_shown(value)}, which is of type {type(value).__name__}",
                "a list or an object equals no scalar, and only scalars can be asked for",
                _HINT,
            )


def _text(value: str, what: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadFilter(f"the filter has a {what} that is not valid Unicode: {_shown(value)}", str(error)) from error
    return value


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:
        # Python writes no integers of thousands of digits.
        return f"a {type(value).__name__} too long to show"
    return text if len(text) <= 80 else f"{text[:79]}…"


def _size(condition: Condition) -> tuple[int, int]:
    """Return how many conditions and how many listed values there are."""
    match condition:
        case Compare() | Exists():
            return 1, 0
        case OneOf(values=values):
            return 1, len(values)
        case Not(part=part):
            return _size(part)
        case And(parts=parts) | Or(parts=parts):
            sizes = [_size(part) for part in parts]
            return sum(size[0] for size in sizes), sum(size[1] for size in sizes)
        case _:
            assert_never(condition)
