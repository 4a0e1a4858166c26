"""The documented keys of an answer, looked up in the answer itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from scripts.cli_reference import LISTS, SHAPES


def missing_keys(verb: str, value: Any) -> list[str]:
    """The keys that are documented for a verb and not in its answer."""
    if verb in LISTS:
        assert isinstance(value, list)
        assert value, "an empty list shows nothing"
        return [f"[{index}].{key}" for index, one in enumerate(value) for key in _missing(LISTS[verb], one)]
    keys = next(keys for names, keys in SHAPES.items() if verb in names.split(", "))
    return list(_missing(keys, value))


def _missing(keys: Sequence[str], value: Any) -> Iterator[str]:
    for key in keys:
        outer, bracket, inner = key.partition("[")
        place = value
        for step in outer.split("."):
            if not isinstance(place, dict) or step not in place:
                yield key
                break
            place = place[step]
        else:
            if bracket and any(inner.rstrip("]") not in one for one in place):
                yield key
