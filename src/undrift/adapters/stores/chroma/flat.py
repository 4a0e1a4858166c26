"""What Chroma keeps beside a vector: scalars by key, and of those what a filter of its own can find."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, TypeAlias

Flat: TypeAlias = dict[str, Any]

#: What keys of undrift's own begin with.
OURS = "undrift_"
#: Beginnings that Chroma keeps for itself, or does not take.
_RESERVED = ("$", "#", "chroma:")
#: Longer strings are not looked for, and so not written twice.
LONGEST_SOUGHT = 1024
INT64 = range(-(2**63), 2**63)


def is_key(key: str) -> bool:
    """Whether Chroma keeps a key as it is, and it is none of undrift's."""
    return bool(key) and not key.startswith((OURS, *_RESERVED))


def sought(value: object) -> Any:
    """Return the form of a value that a filter finds it by, or None if no filter of Chroma's does."""
    match value:
        case bool():
            return value
        case str():
            return value if len(value) <= LONGEST_SOUGHT else None
        case int() if value not in INT64:
            try:
                return float(value)
            except OverflowError:
                return sys.float_info.max if value > 0 else -sys.float_info.max
        case int() | float():
            return value
        case _:
            return None


def flattened(metadata: Mapping[str, Any]) -> Flat:
    """Return what filters may find of metadata; the rest is in its JSON only."""
    return {key: form for key, value in metadata.items() if is_key(key) and (form := sought(value)) is not None}


def without_leftovers(new: Flat, old: Mapping[str, Any] | None) -> Flat:
    """Return new keys, and None for the old ones that are not among them: Chroma merges what is written."""
    return {**dict.fromkeys(old or ()), **new}
