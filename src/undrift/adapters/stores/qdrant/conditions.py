"""Filters in Qdrant's own form, for what it evaluates exactly as `domain.filter.matches` does."""

from __future__ import annotations

from typing import Any, assert_never

from undrift.adapters.stores.qdrant.numbers import survives
from undrift.adapters.stores.qdrant.points import Filter, PointId
from undrift.domain.filter import And, Compare, Comparison, Condition, Exists, Not, OneOf, Or, Scalar
from undrift.domain.relaxation import Leaf

#: Integers beyond are compared by Qdrant as the nearest float.
_EXACT = 2**53
_RANGES = {
    Comparison.EQ: ("gte", "lte"),
    Comparison.GT: ("gt",),
    Comparison.GTE: ("gte",),
    Comparison.LT: ("lt",),
    Comparison.LTE: ("lte",),
}
_NOTHING: dict[str, Any] = {"must": [{"has_id": []}]}


class Dialect:
    """What one engine can say of the metadata that stand under one key of the payload, or beside all others."""

    def __init__(self, root: str | None, *, keeps_floats: bool, knows_bools: bool, speaks: bool = True) -> None:
        """Say where the metadata are.

        Args:
            root: the payload's key that has them; None when they are keys of the payload themselves.
            keeps_floats: whether every float arrives in all its digits.
            knows_bools: whether true and false can be asked for.
            speaks: whether it evaluates conditions on metadata at all.
        """
        self._prefix = "" if root is None else f"{quoted(root)}."
        self._keeps_floats = keeps_floats
        self._knows_bools = knows_bools
        self._speaks = speaks

    def can(self, leaf: Leaf) -> bool:
        """Whether the engine evaluates a condition exactly."""
        if not self._speaks or '"' in leaf.key or "\\" in leaf.key:
            return False
        match leaf:
            case Exists():
                # An empty list is no value to Qdrant.
                return False
            case OneOf(values=values):
                return all(self._can_equal(value) for value in values)
            case Compare(comparison=Comparison.EQ, value=value):
                return self._can_equal(value)
            case Compare(value=value):
                return self._is_number(value)
            case _:
                assert_never(leaf)

    def translate(self, condition: Condition) -> dict[str, Any]:
        """Return a condition, every leaf of which can be said, as REST has it."""
        match condition:
            case Compare(key=key, comparison=Comparison.EQ, value=value):
                return self._equal(key, (value,))
            case Compare(key=key, comparison=comparison, value=value):
                return self._scalar(key, {"range": dict.fromkeys(_RANGES[comparison], value)})
            case OneOf(key=key, values=values):
                return self._equal(key, values)
            case Not(part=part):
                return {"must_not": [self.translate(part)]}
            case And(parts=parts):
                return {"must": [self.translate(part) for part in parts]} if parts else {}
            case Or(parts=parts):
                return {"should": [self.translate(part) for part in parts]} if parts else _NOTHING
            case Exists():
                raise AssertionError("a condition that cannot be said is left out before")
            case _:
                assert_never(condition)

    def _can_equal(self, value: Scalar) -> bool:
        if isinstance(value, bool):
            return self._knows_bools
        # A null that was put in later is kept beside the metadata, where no condition finds it.
        return isinstance(value, str) or self._is_number(value)

    def _is_number(self, value: Scalar) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return abs(value) < _EXACT and (self._keeps_floats or survives(value))

    def _equal(self, key: str, values: tuple[Scalar, ...]) -> dict[str, Any]:
        texts = [value for value in values if isinstance(value, str)]
        ways: list[dict[str, Any]] = (
            [{"match": {"any": texts} if len(texts) > 1 else {"value": texts[0]}}] if texts else []
        )
        for value in values:
            if isinstance(value, bool):
                ways.append({"match": {"value": value}})
            elif not isinstance(value, str):
                ways.append({"range": {"gte": value, "lte": value}})
        if not ways:
            return _NOTHING
        found = [self._scalar(key, way) for way in ways]
        return found[0] if len(found) == 1 else {"should": found}

    def _scalar(self, key: str, way: dict[str, Any]) -> dict[str, Any]:
        """Return a condition on a value that is no list: Qdrant looks into lists, and the language does not."""
        path = f"{self._prefix}{quoted(key)}"
        return {"must": [{"key": path, **way}, {"is_empty": {"key": f"{path}[]"}}]}


def quoted(key: str) -> str:
    """Return a key as a step of a path."""
    return f'"{key}"'


def among(ids: list[PointId], condition: Filter | None = None) -> dict[str, Any]:
    """Return a filter for these points, those only that fulfil the condition."""
    listed: dict[str, Any] = {"has_id": ids}
    return {"must": [listed, dict(condition)] if condition else [listed]}
