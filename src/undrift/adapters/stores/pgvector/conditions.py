"""Metadata filters as SQL that answers exactly what `domain.filter.matches` answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, TypeAlias, assert_never

from undrift.adapters.stores.pgvector.rows import number_text
from undrift.domain.filter import And, Compare, Comparison, Condition, Exists, Not, OneOf, Or, Scalar

#: SQL and the values of its placeholders.
Sql: TypeAlias = tuple[str, list[Any]]

_SIGNS = {Comparison.GT: ">", Comparison.GTE: ">=", Comparison.LT: "<", Comparison.LTE: "<="}
#: From here on an integer of the metadata counts as the nearest float.
_BIG = 2.0**63
#: The number of a key as a float, however long it is written.
_AS_FLOAT = (
    "CASE WHEN abs((r.metadata -> %s)::numeric) > 1.7976931348623157e308 "
    "THEN sign((r.metadata -> %s)::numeric)::float8 * 'infinity'::float8 "
    "WHEN abs((r.metadata -> %s)::numeric) < 1 THEN 0 ELSE (r.metadata -> %s)::numeric::float8 END"
)


def on(condition: Sql | None, metadata: str) -> Sql:
    """Return a condition about the metadata of a table, where they are; true without one."""
    sql, bound = condition or ("true", [])
    return sql.replace("r.metadata", metadata), bound


def where(condition: Condition) -> Sql:
    """Return the condition as an expression over the column `r.metadata` that is true or false, never NULL.

    Equality and existence are written with the operators that a GIN index on the column can answer.
    """
    match condition:
        case Compare(key=key) if "\0" in key:
            return "false", []
        case Compare(key=key, comparison=Comparison.EQ, value=value):
            return _equals(key, value)
        case Compare(key=key, comparison=comparison, value=value):
            return _ordered(key, comparison, value)
        case OneOf(key=key, values=values):
            return _any_of(key, values)
        case Exists(key=key):
            return ("false", []) if "\0" in key else ("r.metadata ? %s", [key])
        case Not(part=part):
            sql, bound = where(part)
            return f"NOT ({sql})", bound
        case And(parts=parts):
            return _joined("AND", [where(part) for part in parts]) if parts else ("true", [])
        case Or(parts=parts):
            return _joined("OR", [where(part) for part in parts])
        case _:
            assert_never(condition)


def _equals(key: str, value: Scalar) -> Sql:
    if isinstance(value, str) and "\0" in value:
        return "false", []
    if isinstance(value, float) and abs(value) >= _BIG:
        return _guarded("number", key, f"{_AS_FLOAT} = %s::float8", [key] * 4 + [value])
    return "r.metadata @> %s::jsonb", [f"{{{json.dumps(key, ensure_ascii=False)}: {_json(value)}}}"]


def _ordered(key: str, comparison: Comparison, value: Scalar) -> Sql:
    sign = _SIGNS[comparison]
    match value:
        case str():
            # No text that is kept has a NUL in it: it is after "a\0b" when it is after "a".
            shortened = value.partition("\0")[0]
            if shortened != value:
                sign = ">" if comparison in {Comparison.GT, Comparison.GTE} else "<="
            return _guarded("string", key, f'(r.metadata ->> %s) COLLATE "C" {sign} %s', [key, shortened])
        case float() if abs(value) >= _BIG:
            return _guarded("number", key, f"{_AS_FLOAT} {sign} %s::float8", [key] * 4 + [value])
        case int() | float():
            return _guarded(
                "number", key, f"(r.metadata -> %s)::numeric {sign} %s::numeric", [key, Decimal(number_text(value))]
            )
        case _:
            raise AssertionError(f"{value!r} has no order, and no filter is parsed that asks for one")


def _any_of(key: str, values: Sequence[Scalar]) -> Sql:
    kept = [value for value in values if not (isinstance(value, str) and "\0" in value)]
    if not kept or "\0" in key:
        return "false", []
    big = [value for value in kept if isinstance(value, float) and abs(value) >= _BIG]
    plain = [value for value in kept if not (isinstance(value, float) and abs(value) >= _BIG)]
    tests = [_equals(key, value) for value in big]
    if plain:
        tests.append(("coalesce(r.metadata -> %s = ANY (%s::text[]::jsonb[]), false)", [key, [*map(_json, plain)]]))
    return _joined("OR", tests)


def _guarded(kind: str, key: str, test: str, bound: list[Any]) -> Sql:
    """Test only what is of the right type: a cast of anything else would be an error."""
    return f"CASE WHEN jsonb_typeof(r.metadata -> %s) = '{kind}' THEN {test} ELSE false END", [key, *bound]


def _json(value: Scalar) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number_text(value)
    return json.dumps(value, ensure_ascii=False)


def _joined(operator: str, parts: Sequence[Sql]) -> Sql:
    """Combine the parts as a balanced tree, because PostgreSQL limits how deep an expression may be."""
    if len(parts) == 1:
        return f"({parts[0][0]})", parts[0][1]
    left, right = _joined(operator, parts[: len(parts) // 2]), _joined(operator, parts[len(parts) // 2 :])
    return f"({left[0]} {operator} {right[0]})", [*left[1], *right[1]]
