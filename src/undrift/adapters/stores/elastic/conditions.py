"""Metadata filters as queries over the words of the metadata."""

from __future__ import annotations

from typing import Any, assert_never

from undrift.adapters.stores.elastic.places import WORDS, Places
from undrift.domain.filter import And, Compare, Comparison, Condition, Exists, Not, OneOf, Or
from undrift.domain.relaxation import relaxed
from undrift.domain.terms import is_exact, span_of, word_of, word_of_key

#: Queries may stand thirty deep in one another; some of them are ours.
_DEEPEST = 20
EVERYTHING: dict[str, Any] = {"match_all": {}}


def query_of(condition: Condition | None, places: Places) -> tuple[dict[str, Any] | None, bool]:
    """Return a query for a superset of what is asked for, and whether it is just what is asked for.

    Args:
        condition: what is asked for; None for everything.
        places: of the words.

    Returns:
        The query, None for everything; and whether its answers need no second look.
    """
    if condition is None:
        return None, True
    if places.shape is not None:
        # How somebody else's metadata are indexed nobody knows.
        return None, False
    bound, exact = relaxed(condition, is_exact)
    if bound is None:
        return None, exact
    query = _query(bound, WORDS)
    return (None, False) if _depth(query) > _DEEPEST else (query, exact)


def _query(condition: Condition, words: str) -> dict[str, Any]:
    match condition:
        case Compare(comparison=Comparison.EQ, key=key, value=value):
            return {"term": {words: word_of(key, value)}}
        case Compare():
            span = span_of(condition)
            return {
                "range": {
                    words: {
                        "gte" if span.low_in else "gt": span.low,
                        "lte" if span.high_in else "lt": span.high,
                    }
                }
            }
        case OneOf(key=key, values=values):
            return {"terms": {words: sorted({word_of(key, value) for value in values})}}
        case Exists(key=key):
            return {"term": {words: word_of_key(key)}}
        case Not(part=part):
            return {"bool": {"must_not": [_query(part, words)]}}
        case And(parts=parts):
            return {"bool": {"filter": [_query(part, words) for part in parts]}} if parts else EVERYTHING
        case Or(parts=parts):
            if not parts:
                return {"match_none": {}}
            return {"bool": {"should": [_query(part, words) for part in parts], "minimum_should_match": 1}}
        case _:
            assert_never(condition)


def _depth(query: Any) -> int:
    """Return how deep queries stand in one another."""
    inner = [part for parts in query.get("bool", {}).values() if isinstance(parts, list) for part in parts]
    return 1 + max(map(_depth, inner), default=0)
