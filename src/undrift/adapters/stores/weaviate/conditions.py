"""Conditions as Weaviate's own filters, over the words of the metadata."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_never

from undrift.adapters.stores.weaviate.rows import key_of, shortened
from undrift.domain.filter import And, Compare, Condition, Exists, Not, OneOf, Or
from undrift.domain.relaxation import has_not, relaxed
from undrift.domain.terms import answers, word_of, word_of_key

#: What a condition is that is never true, whatever the records: the one filter that the server takes and that finds
#: nothing would be a word that no record has.
_NEVER = "never"


def asked(condition: Condition | None, *, knows_not: bool) -> tuple[Any, bool]:
    """Return the filter that the server is asked with, None for none, and whether it is all of the condition.

    Args:
        condition: what is asked for.
        knows_not: whether the server turns conditions round.
    """
    if condition is None:
        return None, True
    bound, exact = relaxed(condition, answers)
    if bound is None:
        return None, exact
    if not knows_not and has_not(bound):
        return None, False
    return _filter(bound), exact


def among(ids: Sequence[str]) -> Any:
    """Return the filter that finds the objects of some ids."""
    return _one_of("_id", [key_of(id) for id in ids])


def both(one: Any, other: Any) -> Any:
    """Return the filter that finds what two others find; either may be None."""
    if one is None or other is None:
        return other if one is None else one
    return _combined("OPERATOR_AND", [one, other])


def _filter(condition: Condition) -> Any:
    match condition:
        case Compare(key=key, value=value):
            return _one_of("filter_words", [shortened(word_of(key, value))])
        case OneOf(key=key, values=values):
            return _one_of("filter_words", sorted({shortened(word_of(key, value)) for value in values}) or [_NEVER])
        case Exists(key=key):
            return _one_of("filter_words", [shortened(word_of_key(key))])
        case Not(part=part):
            return _combined("OPERATOR_NOT", [_filter(part)])
        case And(parts=parts):
            inner = [_filter(part) for part in parts]
            return _combined("OPERATOR_AND", inner) if inner else _combined("OPERATOR_NOT", [_nothing()])
        case Or(parts=parts):
            return _combined("OPERATOR_OR", [_filter(part) for part in parts]) if parts else _nothing()
        case _:
            assert_never(condition)


def _nothing() -> Any:
    return _one_of("filter_words", [_NEVER])


def _one_of(property: str, values: Sequence[str]) -> Any:
    from weaviate.proto.v1 import base_pb2

    operator = base_pb2.Filters.OPERATOR_CONTAINS_ANY
    made = base_pb2.Filters(operator=operator, value_text_array=base_pb2.TextArray(values=values))
    made.target.property = property
    return made


def _combined(operator: str, filters: Sequence[Any]) -> Any:
    from weaviate.proto.v1 import base_pb2

    if len(filters) == 1 and operator != "OPERATOR_NOT":
        return filters[0]
    return base_pb2.Filters(operator=base_pb2.Filters.Operator.Value(operator), filters=filters)
