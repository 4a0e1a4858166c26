"""Vectors of an index: by id, all of them, and by nearness."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, assert_never

import numpy as np

from undrift.adapters.stores.pinecone.indexes import Found
from undrift.adapters.stores.pinecone.rows import id_of, key_of, metadata_of, plain_id, shortened, vector_of
from undrift.adapters.stores.pinecone.session import Session
from undrift.domain.filter import And, Compare, Condition, Exists, Not, OneOf, Or, matches
from undrift.domain.record import DocumentId, Vector
from undrift.domain.relaxation import has_not, relaxed
from undrift.domain.terms import answers, word_of, word_of_key
from undrift.domain.vectors import scores

#: Ids of one request, and their length together: they stand in its address.
_MANY_IDS, _LONG_IDS = 100, 4_000
#: The most hits of one answer.
_MOST = 10_000
#: Stands for a condition that is never true: the word of no record.
_NEVER = {"words": {"$in": ["never"]}}


class Reader:
    """Reads of one index."""

    def __init__(self, session: Session, found: Found, collection: str, namespace: str) -> None:
        """Read as of an index that was found."""
        self._session = session
        self._found = found
        self._collection = collection
        self._namespace = namespace

    def call(self, work: Callable[[Any], Any]) -> Any:
        """Do something with the client of the index."""
        return self._session.call(self._collection, self._found.host, work)

    def by_id(self, ids: Sequence[DocumentId]) -> dict[DocumentId, Any]:
        """Return what is there of some ids, as the replica that is asked has it."""
        return self._by_key([key_of(id) for id in dict.fromkeys(ids)])

    def everybody(self) -> Iterator[DocumentId]:
        """Yield all ids, in any order."""
        token: str | None = None
        while True:
            page = self._listed(token)
            keys = [str(one.id) for one in page.vectors]
            yield from (id for key in keys if (id := plain_id(key)) is not None)
            yield from self._by_key([key for key in keys if plain_id(key) is None])
            token = page.pagination.next if page.pagination else None
            if not token:
                return

    def count(self) -> int:
        """Return how many records there are."""
        answer = self.call(lambda index: index.describe_index_stats())
        named = answer.namespaces.get(self._namespace or "__default__") or answer.namespaces.get(self._namespace)
        return int(named.vector_count) if named is not None else 0

    def matching(self, condition: Condition) -> Iterator[Any]:
        """Yield all that match, in any order."""
        ids: list[DocumentId] = []
        for id in self.everybody():
            ids.append(id)
            if len(ids) == _MANY_IDS:
                yield from self._holding(ids, condition)
                ids = []
        yield from self._holding(ids, condition)

    def nearest(self, query: Vector, *, k: int, condition: Condition | None, theirs: Any) -> list[tuple[float, Any]]:
        """Return at least the k nearest that match, with their scores.

        The index names candidates; their vectors are read, and the scores computed from them.

        Args:
            query: float32, shape (d,).
            k: how many.
            condition: what they have to match.
            theirs: a filter of Pinecone's own, and then no condition.
        """
        bound, exact = (None, True) if condition is None else relaxed(condition, answers)
        if bound is not None and has_not(bound):
            bound, exact = None, False
        filter = theirs if theirs is not None else None if bound is None else _filter(bound)
        asked = min(k + 1 if exact else 4 * k + 16, _MOST)
        while True:
            near = self._candidates(query, filter, asked)
            there = self._by_key(near)
            scored = list(zip(self._scores(list(there.values()), query), there.values(), strict=True))
            kept = [one for one in scored if exact or condition is None or matches(condition, metadata_of(one[1]))]
            least = min((score for score, _ in scored), default=0.0)
            if len(near) < asked or (len(kept) >= k and _kth(kept, k) > least):
                return kept
            if asked == _MOST:
                all_of_them = list(self.matching(condition or And(parts=())))
                return list(zip(self._scores(all_of_them, query), all_of_them, strict=True))
            asked = min(4 * asked, _MOST)

    def _candidates(self, query: Vector, filter: Any, limit: int) -> list[str]:
        values = query.astype(np.float64).tolist()
        answer = self.call(
            lambda index: index.query(vector=values, top_k=limit, filter=filter, namespace=self._namespace),
        )
        return [str(one.id) for one in answer.matches]

    def _listed(self, token: str | None) -> Any:
        return self.call(
            lambda index: index.list_paginated(limit=_MANY_IDS, pagination_token=token, namespace=self._namespace),
        )

    def _fetched(self, keys: Sequence[str]) -> Any:
        return self.call(lambda index: index.fetch(ids=keys, namespace=self._namespace))

    def _by_key(self, keys: Sequence[str]) -> dict[DocumentId, Any]:
        """Return what is there of some vectors, by the ids of their records."""
        return {id_of(found): found for page in _pages(keys) for found in self._fetched(page).vectors.values()}

    def _holding(self, ids: Sequence[DocumentId], condition: Condition) -> Iterator[Any]:
        return (found for found in self.by_id(ids).values() if matches(condition, metadata_of(found)))

    def _scores(self, found: Sequence[Any], query: Vector) -> list[float]:
        return scores([vector_of(one) for one in found], query, self._found.metric)


def _pages(keys: Sequence[str]) -> Iterator[list[str]]:
    page: list[str] = []
    length = 0
    for key in keys:
        if page and (len(page) == _MANY_IDS or length + len(key) > _LONG_IDS):
            yield page
            page, length = [], 0
        page.append(key)
        length += len(key)
    if page:
        yield page


def _kth(found: Sequence[tuple[float, Any]], k: int) -> float:
    return sorted((score for score, _ in found), reverse=True)[k - 1]


def _filter(condition: Condition) -> dict[str, Any]:
    match condition:
        case Compare(key=key, value=value):
            return {"words": {"$in": [shortened(word_of(key, value))]}}
        case OneOf(key=key, values=values):
            found = sorted({shortened(word_of(key, value)) for value in values})
            return {"words": {"$in": found}} if found else _NEVER
        case Exists(key=key):
            return {"words": {"$in": [shortened(word_of_key(key))]}}
        case And(parts=parts):
            return {"$and": [_filter(part) for part in parts]}
        case Or(parts=parts):
            return {"$or": [_filter(part) for part in parts]} if parts else _NEVER
        case Not():
            raise AssertionError("looked for before")
        case _:
            assert_never(condition)
