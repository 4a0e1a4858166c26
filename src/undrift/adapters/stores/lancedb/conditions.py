"""Metadata filters as LanceDB's SQL that answers exactly what `domain.filter.matches` answers.

A value of the metadata is compared by its bytes, as `json_get` gives them from a column of JSON: first what it is, then
how long, then the value itself. So types never mix, and nothing is cast, which would be an error for other types.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from fractions import Fraction
from typing import assert_never

from undrift.domain.filter import And, Compare, Comparison, Condition, Exists, Not, OneOf, Or, Scalar

#: How deep conditions may stand in one another; LanceDB's parser gives up soon after.
DEEPEST = 10

_SCALAR = bytes.fromhex("20000000")
_NULL, _STRING, _NUMBER, _FALSE, _TRUE = 0x00000000, 0x10000000, 0x20000000, 0x30000000, 0x40000000
_ZERO, _NEGATIVE, _POSITIVE, _FLOAT = b"\x00", b"\x40", b"\x50", b"\x60"
#: Bytes of a string's value that stand before its first character, as hexadecimal digits.
_STRING_HEAD = 16
_MIN, _MAX = -(2**63), 2**64 - 1


def literal(text: str) -> str:
    """Return a string as SQL writes it; a backslash means nothing in it."""
    return "'" + text.replace("'", "''") + "'"


def depth(condition: Condition) -> int:
    """Return how deep conditions stand in one another."""
    match condition:
        case And(parts=parts) | Or(parts=parts):
            return 1 + max(map(depth, parts), default=0)
        case Not(part=part):
            return depth(part)
        case Compare() | OneOf() | Exists():
            return 1
        case _:
            assert_never(condition)


def where(condition: Condition, column: str = "metadata") -> str:
    """Return the condition as an expression over a column of JSON that is true or false, never NULL."""
    return _where(condition, column, negated=False)


def _where(condition: Condition, column: str, *, negated: bool) -> str:
    # The parser takes a NOT inside of a NOT for the name of a function: it stands at the leaves only.
    match condition:
        case And(parts=parts) | Or(parts=parts):
            both = isinstance(condition, And) is not negated
            if not parts:
                return "true" if both else "false"
            return f"({(' AND ' if both else ' OR ').join(_where(part, column, negated=negated) for part in parts)})"
        case Not(part=part):
            return _where(part, column, negated=not negated)
        case Compare() | OneOf() | Exists():
            value = f"json_get({column}, {literal(condition.key)})"
            test = _leaf(condition, value)
            there = f"{value} IS NOT NULL"
            if test is None:
                return f"{value} IS NULL" if negated else there
            return f"(NOT ({there} AND {test}))" if negated else f"({there} AND {test})"
        case _:
            assert_never(condition)


def _leaf(condition: Compare | OneOf | Exists, value: str) -> str | None:
    """Return what has to hold of a value that is there; None when nothing has."""
    match condition:
        case Exists():
            return None
        case Compare(comparison=Comparison.EQ, value=wanted):
            return _one_of(value, [wanted])
        case OneOf(values=values):
            return _one_of(value, values)
        case Compare(comparison=comparison, value=str() as wanted):
            sign = {Comparison.GT: ">", Comparison.GTE: ">=", Comparison.LT: "<", Comparison.LTE: "<="}[comparison]
            # The order of UTF-8, and of its hexadecimal digits, is that of the code points.
            return (
                f"(starts_with(encode({value}, 'hex'), '200000001') "
                f"AND right(encode({value}, 'hex'), -{_STRING_HEAD}) {sign} '{wanted.encode().hex()}')"
            )
        case Compare(comparison=comparison, value=bool() | None):
            raise AssertionError(
                f"{condition.value!r} has no order, and no filter is parsed that asks for {comparison}"
            )
        case Compare(comparison=comparison, value=int() | float() as wanted):
            return _joined(f"{value} BETWEEN {_hex(low)} AND {_hex(high)}" for low, high in _ranges(comparison, wanted))
        case _:
            raise AssertionError(f"{condition} asks for an order that is none, and no filter is parsed that does")


def _one_of(value: str, wanted: Iterable[Scalar]) -> str:
    forms = dict.fromkeys(form for one in wanted for form in _forms(one))
    return f"{value} IN ({', '.join(map(_hex, forms))})" if forms else "false"


def _forms(wanted: Scalar) -> list[bytes]:
    """Return every way in which a value that equals the scalar is kept."""
    match wanted:
        case None:
            return [_value(_NULL, b"")]
        case bool():
            return [_value(_TRUE if wanted else _FALSE, b"")]
        case str():
            return [_value(_STRING, wanted.encode())]
        case int() | float():
            return [low for low, high in _ranges(Comparison.EQ, wanted) if low == high]
        case _:
            assert_never(wanted)


def _ranges(comparison: Comparison, wanted: float) -> list[tuple[bytes, bytes]]:
    """Return the least and the greatest form of the numbers that compare so, for every kind of form."""
    exact = Fraction(wanted)
    low, high = _bounds(comparison, exact)
    ranges: list[tuple[bytes, bytes]] = []
    if low <= 0 <= high:
        ranges.append((_value(_NUMBER, _ZERO),) * 2)
    for size in (1, 2, 4, 8):
        half = 1 << (8 * size - 1)
        smaller = 0 if size == 1 else 1 << (4 * size)
        least, most = max(low, smaller or 1), min(high, (1 << 8 * size) - 1)
        if least <= most:
            ranges.append((_integer(_POSITIVE, least, size), _integer(_POSITIVE, most, size)))
        # Those that fit into fewer bytes are kept in fewer.
        least, most = max(low, -half), min(high, -(smaller >> 1) - 1)
        if least <= most:
            ranges.append((_integer(_NEGATIVE, least, size), _integer(_NEGATIVE, most, size)))
    return ranges + _float_ranges(comparison, exact)


def _bounds(comparison: Comparison, wanted: Fraction) -> tuple[int, int]:
    """Return the least and the greatest integer that compare so."""
    floor, ceiling = wanted.numerator // wanted.denominator, -(-wanted.numerator // wanted.denominator)
    match comparison:
        case Comparison.EQ:
            return (floor, floor) if floor == ceiling else (1, 0)
        case Comparison.GT:
            return floor + 1, _MAX
        case Comparison.GTE:
            return ceiling, _MAX
        case Comparison.LT:
            return _MIN, ceiling - 1
        case Comparison.LTE:
            return _MIN, floor
        case _:
            assert_never(comparison)


def _float_ranges(comparison: Comparison, wanted: Fraction) -> list[tuple[bytes, bytes]]:
    """Return the ranges of floats; they are kept by sign and size, so that the negative ones run backwards."""
    low, high = _LEAST, _MOST
    nearest = _place(float(wanted))
    exactly = Fraction(float(wanted)) == wanted
    at_or_above = nearest if exactly or Fraction(float(wanted)) > wanted else nearest + 1
    at_or_below = nearest if exactly or Fraction(float(wanted)) < wanted else nearest - 1
    match comparison:
        case Comparison.EQ:
            if not exactly:
                return []
            low = high = nearest
        case Comparison.GT:
            low = at_or_below + 1
        case Comparison.GTE:
            low = at_or_above
        case Comparison.LT:
            high = at_or_above - 1
        case Comparison.LTE:
            high = at_or_below
        case _:
            assert_never(comparison)
    ranges = []
    if max(low, 0) <= high:
        ranges.append((_float(max(low, 0)), _float(high)))
    if low <= min(high, 0):
        # Minus zero equals zero.
        ranges.append((_float(min(high, 0), negative=True), _float(low, negative=True)))
    return ranges


def _place(value: float) -> int:
    """Return the place of a float among all floats, 0 for both zeros."""
    (bits,) = struct.unpack(">q", struct.pack(">d", value))
    return int(bits) if bits >= 0 else -int(bits & 0x7FFFFFFFFFFFFFFF)


#: The places of the greatest and the least finite float.
_MOST = _place(1.7976931348623157e308)
_LEAST = -_MOST


def _float(place: int, *, negative: bool = False) -> bytes:
    return _value(_NUMBER, _FLOAT + struct.pack(">Q", abs(place) | (1 << 63 if negative else 0)))


def _integer(kind: bytes, value: int, size: int) -> bytes:
    return _value(_NUMBER, kind + value.to_bytes(size, "big", signed=kind == _NEGATIVE))


def _value(kind: int, body: bytes) -> bytes:
    return _SCALAR + (kind | len(body)).to_bytes(4, "big") + body


def _hex(value: bytes) -> str:
    return f"X'{value.hex()}'"


def _joined(tests: Iterable[str]) -> str:
    return f"({' OR '.join(tests) or 'false'})"
