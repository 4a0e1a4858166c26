"""Values that a payload may not give back as they were, and the texts that are kept beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from undrift.domain.record import Metadata, decode_metadata, encode_metadata

#: Begins the key, beside that of a value, of the text that has the value exactly.
BESIDE = "undrift_exact:"
_INTEGERS = range(-(2**63), 2**64)
#: Powers of ten up to here, and integers up to 2**53, are floats without a rest, so that one division reads a decimal.
_POWERS = 22


def survives(value: float) -> bool:
    """Whether a number, written as JSON, is certainly read as the same one by a parser that rounds twice."""
    if isinstance(value, int):
        return value in _INTEGERS
    digits, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = digits.partition(".")
    return int(whole + fraction) <= 2**53 and abs(int(exponent or 0) - len(fraction)) <= _POWERS


def spread(id: str, metadata: Metadata, *, keeps_floats: bool, merging: bool = False) -> dict[str, Any]:
    """Return metadata as they are put into a payload, with texts beside the values that it may not keep.

    Args:
        id: of the document, for messages.
        metadata: the metadata, or a change of them.
        keeps_floats: whether every float arrives in all its digits.
        merging: whether this is put in beside what is there. Qdrant then takes a null for "remove it": so a null has
            only its text, and every other value removes the text that an earlier one may have left.

    Raises:
        BadDocument: they are not JSON.
    """
    values: dict[str, Any] = decode_metadata(encode_metadata(id, metadata))
    made: dict[str, Any] = {}
    for key, value in values.items():
        is_kept = _is_kept(value, keeps_floats=keeps_floats) and not (merging and value is None)
        made[key] = _nearest(value) if not is_kept else value
        if not is_kept:
            made[BESIDE + key] = encode_metadata(id, {"": value})
        elif merging:
            made[BESIDE + key] = None
    return made


def gathered(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata from what is in a payload, where a text beside a value is believed while it fits the value."""
    found = {key: value for key, value in stored.items() if not key.startswith(BESIDE)}
    for key, text in stored.items():
        if key.startswith(BESIDE) and isinstance(text, str):
            name = key.removeprefix(BESIDE)
            exact = decode_metadata(text)[""]
            if _is_near(found.get(name), exact):
                found[name] = exact
    return found


def _is_kept(value: object, *, keeps_floats: bool) -> bool:
    match value:
        case bool() | None | str():
            return True
        case int():
            return value in _INTEGERS
        case float():
            return keeps_floats or survives(value)
        case dict():
            return all(_is_kept(part, keeps_floats=keeps_floats) for part in value.values())
        case list():
            return all(_is_kept(part, keeps_floats=keeps_floats) for part in value)
        case _:
            return True


def _nearest(value: Any) -> Any:
    """Return a value with floats in the place of integers that are too long."""
    match value:
        case dict():
            return {key: _nearest(part) for key, part in value.items()}
        case list():
            return [_nearest(part) for part in value]
        case int() if value not in _INTEGERS:
            return _as_float(value)
        case _:
            return value


def _is_near(stored: object, exact: object) -> bool:
    """Whether a value is what a payload makes of the exact one."""
    match stored, exact:
        case dict(), dict():
            return stored.keys() == exact.keys() and all(_is_near(stored[key], exact[key]) for key in exact)
        case list(), list():
            return len(stored) == len(exact) and all(map(_is_near, stored, exact))
        case bool(), _:
            return stored is exact
        case ((int() | float()), (int() | float())) if not isinstance(exact, bool):
            return math.isclose(_as_float(stored), _as_float(exact), rel_tol=1e-15, abs_tol=1e-290)
        case _:
            return stored == exact


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.copysign(1.7976931348623157e308, value)
