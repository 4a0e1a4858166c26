"""Metadata filters as SQL that answers exactly what `domain.filter.matches` answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias, assert_never

from undrift.domain.filter import And, Compare, Comparison, Condition, Exists, Not, OneOf, Or, Scalar

#: SQL and the values of its question marks.
Sql: TypeAlias = tuple[str, list[Any]]

_SIGNS = {
    Comparison.EQ: "=",
    Comparison.GT: ">",
    Comparison.GTE: ">=",
    Comparison.LT: "<",
    Comparison.LTE: "<=",
}


def where(condition: Condition) -> Sql:
    """Return the condition as an expression over the column `r.metadata` that is 0 or 1, never NULL.

    `json_each` gives a key's type and value at once and takes every key as it is; a path would need quoting, and stops
    at a NUL character.
    """
    match condition:
        case Compare(key=key, comparison=comparison, value=value):
            return _at(key, _compared(comparison, value))
        case OneOf(key=key, values=values):
            return _at(key, _any_of(values)) if values else ("0", [])
        case Exists(key=key):
            return _at(key, ("1", []))
        case Not(part=part):
            sql, bound = where(part)
            return f"NOT ({sql})", bound
        case And(parts=parts):
            return _joined("AND", [where(part) for part in parts]) if parts else ("1", [])
        case Or(parts=parts):
            return _joined("OR", [where(part) for part in parts])
        case _:
            assert_never(condition)


def _at(key: str, test: Sql) -> Sql:
    return f"EXISTS (SELECT 1 FROM json_each(r.metadata) WHERE key = ? AND {test[0]})", [key, *test[1]]


def _compared(comparison: Comparison, value: Scalar) -> Sql:
    match value:
        case None:
            return "type = 'null'", []
        case bool():
            return f"type = '{'true' if value else 'false'}'", []
        case str():
            return f"type = 'text' AND atom {_SIGNS[comparison]} ?", [value]
        case int() | float():
            return f"type IN ('integer', 'real') AND atom {_SIGNS[comparison]} ?", [value]
        case _:
            assert_never(value)


def _any_of(values: Sequence[Scalar]) -> Sql:
    texts = [value for value in values if isinstance(value, str)]
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    names = {None: "null", True: "true", False: "false"}
    words = {names[value] for value in values if value is None or isinstance(value, bool)}
    tests: list[Sql] = []
    if texts:
        tests.append((f"type = 'text' AND atom IN ({_marks(texts)})", texts))
    if numbers:
        tests.append((f"type IN ('integer', 'real') AND atom IN ({_marks(numbers)})", numbers))
    if words:
        tests.append((f"type IN ({_marks(sorted(words))})", sorted(words)))
    sql, bound = _joined("OR", tests)
    return f"({sql})", bound


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _joined(operator: str, parts: Sequence[Sql]) -> Sql:
    """Combine the parts as a balanced tree, because SQLite limits how deep an expression may be."""
    if len(parts) == 1:
        return f"({parts[0][0]})", parts[0][1]
    left, right = _joined(operator, parts[: len(parts) // 2]), _joined(operator, parts[len(parts) // 2 :])
    return f"({left[0]} {operator} {right[0]})", [*left[1], *right[1]]
