"""Metadata as words in an inverted index, for stores that only know whether a word is there and how words are ordered.

Every top-level key of a document's metadata becomes a word that says that it is there, and one that says what its value
is. Words order as the values do, by code point, so that a store which can ask for a word, or for a word between two
others, answers a filter exactly as `filter.matches` does: types never mix, numbers compare by value, strings by code
point, and a key with a dot in it is a key.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_never

from undrift.domain.filter import Compare, Comparison, Exists, OneOf, Scalar
from undrift.domain.relaxation import Leaf

#: Strings are cut to this many code points: up to there, a comparison with a shorter one is exact.
LONGEST_VALUE = 200
#: Values of one list that still make a filter of reasonable length.
MOST_VALUES = 500
#: Keys of more bytes stand in their words as a hash.
_LONGEST_KEY = 128
#: Stands between key and value; no key that is written out has it.
_END = "\x1f"
_HASHED = "\x1e"
_THERE, _NULL, _BOOL, _NUMBER, _STRING = "!", "0", "b", "n", "s"
#: Behind every number and behind every string, whatever they are.
_AFTER = {_NUMBER: "o", _STRING: "t"}
_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Words between two bounds, in the order of code points.

    Attributes:
        low: the lower bound.
        low_in: whether the lower bound itself is in.
        high: the upper bound.
        high_in: whether the upper bound itself is in.
    """

    low: str
    low_in: bool
    high: str
    high_in: bool


def words(metadata: Mapping[str, Any]) -> list[str]:
    """Return the words of a document, each once, in their order."""
    found = []
    for key, value in metadata.items():
        name = _name(key)
        found.append(name + _THERE)
        said = _value(value)
        if said is not None:
            found.append(name + said)
    return sorted(set(found))


def is_exact(leaf: Leaf) -> bool:
    """Whether the words tell as much as the metadata do; not where a string is compared with a very long one."""
    match leaf:
        case Compare(value=value):
            return not _is_long(value)
        case Exists():
            return True
        case _:
            return not any(_is_long(value) for value in leaf.values)


def answers(leaf: Leaf) -> bool:
    """Whether a store that can ask for words, and not for their order, answers a comparison exactly."""
    match leaf:
        case Compare(comparison=comparison):
            return comparison is Comparison.EQ and is_exact(leaf)
        case OneOf(values=values):
            return len(values) <= MOST_VALUES and is_exact(leaf)
        case Exists():
            return True
        case _:
            assert_never(leaf)


def word_of_key(key: str) -> str:
    """Return the word that a document with this key has."""
    return _name(key) + _THERE


def word_of(key: str, value: Scalar) -> str:
    """Return the word that a document with this value has."""
    said = _value(value)
    assert said is not None, "a scalar has a word"
    return _name(key) + said


def span_of(leaf: Compare) -> Span:
    """Return between which words lies that of a document that compares so; of a leaf that `is_exact`."""
    kind = _STRING if isinstance(leaf.value, str) else _NUMBER
    name, word = _name(leaf.key), word_of(leaf.key, leaf.value)
    match leaf.comparison:
        case Comparison.GT | Comparison.GTE:
            is_in = leaf.comparison is Comparison.GTE
            return Span(low=word, low_in=is_in, high=name + _AFTER[kind], high_in=False)
        case Comparison.LT | Comparison.LTE:
            is_in = leaf.comparison is Comparison.LTE
            return Span(low=name + kind, low_in=True, high=word, high_in=is_in)
        case Comparison.EQ:
            return Span(low=word, low_in=True, high=word, high_in=True)
        case _:
            assert_never(leaf.comparison)


def _name(key: str) -> str:
    if len(key.encode()) > _LONGEST_KEY or any(char < " " for char in key):
        return f"{_HASHED}{hashlib.sha256(key.encode()).hexdigest()}{_END}"
    return key + _END


def _value(value: object) -> str | None:
    match value:
        case None:
            return _NULL
        case bool():
            return f"{_BOOL}{int(value)}"
        case str():
            return _STRING + value[:LONGEST_VALUE]
        case int() | float():
            return _NUMBER + _number(value)
        case _:
            return None


def _number(value: float) -> str:
    """Return sixteen digits that order as the nearest float does, and four that say how far an integer is from it."""
    near = _nearest(value)
    apart = value - int(near) if isinstance(value, int) and value in _INT64 else 0
    # Zero has one word, whatever its sign.
    (bits,) = struct.unpack(">Q", struct.pack(">d", near or 0.0))
    ordered = bits ^ (2**64 - 1) if bits >> 63 else bits | 1 << 63
    return f"{ordered:016x}{apart + 0x8000:04x}"


def _nearest(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _is_long(value: Scalar) -> bool:
    return isinstance(value, str) and len(value) >= LONGEST_VALUE
