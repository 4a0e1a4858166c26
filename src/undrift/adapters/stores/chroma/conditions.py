"""Filters as Chroma has them: what it can say that lets everything through that may match.

Chroma has no order of strings, no null, mixes a list with what is in it, and reads a fraction from JSON with another
last bit. What is left over of older writes (see `rows`) can make it find too much by a key. So it is only asked where
finding too much does no harm, and `matches` decides about what it answers.
"""

from __future__ import annotations

import sys
from typing import Any, assert_never

from undrift.adapters.stores.chroma.flat import is_key, sought
from undrift.adapters.stores.chroma.rows import CHANGED_KEY
from undrift.domain.filter import And, Compare, Comparison, Condition, Exists, Not, OneOf, Or, Scalar

Where = dict[str, Any]
#: More conditions than this and SQLite, below Chroma, takes the whole for too deep.
_MOST = 300
#: Integers up to here are the same number in every way of writing them.
_EXACT = 2**49
#: Wider than what a fraction may be off by after it was read by Chroma, relative to it.
_OFF = 4e-15
_SMALLEST = 1e-300


class Never:
    """Nothing can match."""


NEVER = Never()


def superset(condition: Condition, *, own: bool) -> Where | Never | None:
    """Return a filter of Chroma's that everything meets which meets the condition.

    Args:
        condition: what is asked for.
        own: whether the records are laid out as `rows` does it.

    Returns:
        The filter; None if it would let everything through, `NEVER` if it would let nothing through.
    """
    found = _superset(condition, own=own)
    return None if isinstance(found, dict) and _size(found) > _MOST else found


def _superset(condition: Condition, *, own: bool) -> Where | Never | None:
    match condition:
        case Compare(key=key, comparison=comparison, value=value):
            return _marked(key, [_compared(key, comparison, value)], own=own)
        case OneOf(key=key, values=values):
            return _one_of(key, values, own=own) if values else NEVER
        case Exists() | Not():
            return None
        case And(parts=parts):
            found = [_superset(part, own=own) for part in parts]
            if any(isinstance(one, Never) for one in found):
                return NEVER
            return _joined("$and", [one for one in found if isinstance(one, dict)])
        case Or(parts=parts):
            found = [_superset(part, own=own) for part in parts]
            if any(one is None for one in found):
                return None
            some = [one for one in found if isinstance(one, dict)]
            return _joined("$or", some) if some else NEVER
        case _:
            assert_never(condition)


def _one_of(key: str, values: tuple[Scalar, ...], *, own: bool) -> Where | None:
    """Return one list for each type: Chroma takes no others."""
    parts: list[Where | None] = []
    listed: dict[type, list[Any]] = {}
    for value in values:
        if sought(value) is None:
            return None
        if isinstance(value, str | bool) or (isinstance(value, int) and abs(value) <= _EXACT):
            listed.setdefault(type(value), []).append(value)
        else:
            parts.append(_compared(key, Comparison.EQ, value))
    parts += [{key: {"$in": some}} for some in listed.values()]
    return _marked(key, parts, own=own)


def _compared(key: str, comparison: Comparison, value: Scalar) -> Where | None:
    if value is None or sought(value) is None:
        return None
    if isinstance(value, str | bool):
        return {key: {"$eq": value}} if comparison is Comparison.EQ else None
    least, most = _around(float(value))
    match comparison:
        case Comparison.EQ if isinstance(value, int) and abs(value) <= _EXACT:
            return {key: {"$eq": value}}
        case Comparison.EQ:
            return {"$and": [{key: {"$gte": least}}, {key: {"$lte": most}}]}
        case Comparison.GT | Comparison.GTE:
            return {key: {"$gte": least}}
        case Comparison.LT | Comparison.LTE:
            return {key: {"$lte": most}}
        case _:
            assert_never(comparison)


def _around(value: float) -> tuple[float, float]:
    """Return two numbers between which the given one is, however Chroma reads it and them."""
    off = abs(value) * _OFF + _SMALLEST
    return max(value - off, -sys.float_info.max), min(value + off, sys.float_info.max)


def _marked(key: str, parts: list[Where | None], *, own: bool) -> Where | None:
    """Return what finds a key by one of some conditions, or because it was changed since it was written."""
    if not is_key(key) or not parts:
        return None
    some = [part for part in parts if part is not None]
    if len(some) < len(parts):
        return None
    return _joined("$or", [*some, {f"{CHANGED_KEY}{key}": {"$eq": True}}] if own else some)


def _joined(word: str, parts: list[Where]) -> Where | None:
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else {word: parts}


def _size(where: Where) -> int:
    return sum(sum(map(_size, value)) if key in ("$and", "$or") else 1 for key, value in where.items())
