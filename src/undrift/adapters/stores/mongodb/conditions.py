"""Metadata filters as queries over the words of the metadata."""

from __future__ import annotations

from typing import Any, assert_never

from undrift.adapters.stores.mongodb.documents import WORDS
from undrift.domain.filter import And, Compare, Comparison, Condition, Exists, Not, OneOf, Or
from undrift.domain.relaxation import Leaf, relaxed
from undrift.domain.terms import is_exact, span_of, word_of, word_of_key

Query = dict[str, Any]
#: Queries may stand a hundred deep in one another; each condition of ours is two.
_DEEPEST = 30
EVERYTHING: Query = {}


def query_of(condition: Condition | None, *, by_index: bool = False) -> tuple[Query, bool]:
    """Return a query for a superset of what is asked for, and whether it is just what is asked for.

    Args:
        condition: what is asked for; None for everything.
        by_index: whether it goes to the index of the vectors, which cannot look for a word between two others.
    """
    if condition is None:
        return EVERYTHING, True
    bound, exact = relaxed(condition, _is_indexed if by_index else is_exact)
    if bound is None:
        return EVERYTHING, exact
    return (EVERYTHING, False) if _depth(bound) > _DEEPEST else (_query(bound), exact)


def _is_indexed(leaf: Leaf) -> bool:
    return is_exact(leaf) and not (isinstance(leaf, Compare) and leaf.comparison is not Comparison.EQ)


def _query(condition: Condition) -> Query:
    match condition:
        case Compare(comparison=Comparison.EQ, key=key, value=value):
            return {WORDS: {"$eq": word_of(key, value)}}
        case Compare():
            span = span_of(condition)
            low, high = "$gte" if span.low_in else "$gt", "$lte" if span.high_in else "$lt"
            # One word has to be between both: without this, two words might, each on one side.
            return {WORDS: {"$elemMatch": {low: span.low, high: span.high}}}
        case OneOf(key=key, values=values):
            return {WORDS: {"$in": sorted({word_of(key, value) for value in values})}}
        case Exists(key=key):
            return {WORDS: {"$eq": word_of_key(key)}}
        case Not(part=part):
            return {"$nor": [_query(part)]}
        case And(parts=parts):
            return {"$and": [_query(part) for part in parts]} if parts else EVERYTHING
        case Or(parts=parts):
            return {"$or": [_query(part) for part in parts]} if parts else {WORDS: {"$in": []}}
        case _:
            assert_never(condition)


def _depth(condition: Condition) -> int:
    match condition:
        case And(parts=parts) | Or(parts=parts):
            return 1 + max(map(_depth, parts), default=0)
        case Not(part=part):
            return 1 + _depth(part)
        case Compare() | OneOf() | Exists():
            return 1
        case _:
            assert_never(condition)
