"""What Milvus can say of a filter: an expression that lets through whatever `domain.filter.matches` does, and more.

Milvus takes a key that is null for one that is missing, and what a condition on a missing key answers is not the same
in all versions. So only comparisons that have to be true are said to it, and `matches` decides about what it answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import assert_never

from undrift.domain.filter import And, Compare, Comparison, Condition, Exists, Not, OneOf, Or, Scalar

_SIGNS = {
    Comparison.EQ: "==",
    Comparison.GT: ">",
    Comparison.GTE: ">=",
    Comparison.LT: "<",
    Comparison.LTE: "<=",
}
#: Keys that mean the same to everybody who reads a path.
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Beyond this a number may be rounded before it is compared.
_EXACT = 2**53
#: The longest list that is said; a longer one is left to `matches`.
_MOST_VALUES = 100


def literal(text: str) -> str:
    """Return a string as an expression writes it, which nothing in it can end."""
    return json.dumps(text, ensure_ascii=False)


def among(ids: Iterable[str | int], field: str = "id") -> str:
    """Return the expression that a record is of one of some ids."""
    return f"{field} in [{', '.join(str(id) if isinstance(id, int) else literal(id) for id in ids)}]"


def superset(condition: Condition) -> str:
    """Return an expression that is true wherever the condition is; empty for everything."""
    match condition:
        case Compare(key=key, comparison=comparison, value=value):
            return _compared(key, comparison, value)
        case OneOf(key=key, values=values):
            if not 0 < len(values) <= _MOST_VALUES:
                return ""
            return _any_of([_compared(key, Comparison.EQ, value) for value in values])
        case And(parts=parts):
            return " and ".join(f"({said})" for part in parts if (said := superset(part)))
        case Or(parts=parts):
            return _any_of([superset(part) for part in parts])
        case Exists() | Not():
            return ""
        case _:
            assert_never(condition)


def _compared(key: str, comparison: Comparison, value: Scalar) -> str:
    if not _PLAIN_KEY.fullmatch(key):
        return ""
    place = f"metadata[{literal(key)}] {_SIGNS[comparison]}"
    match value:
        case None | bool():
            return ""
        case str():
            # The order of strings is left to `matches`: a server need not compare by code point.
            return f"{place} {literal(value)}" if comparison is Comparison.EQ and value.isprintable() else ""
        case int() | float():
            return f"{place} {value!r}" if abs(value) < _EXACT and not 0 < abs(value) < 1e-6 else ""
        case _:
            assert_never(value)


def _any_of(said: list[str]) -> str:
    return " or ".join(f"({one})" for one in said) if said and all(said) else ""
