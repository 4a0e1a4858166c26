"""The nearest records: the index names candidates, and what they are compared by is computed from their vectors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from heapq import nlargest
from typing import Any

from undrift.adapters.stores.mongodb.conditions import EVERYTHING, Query
from undrift.adapters.stores.mongodb.documents import ID, METADATA, vector_from
from undrift.adapters.stores.mongodb.found import Found
from undrift.adapters.stores.mongodb.session import Session
from undrift.domain.record import Vector
from undrift.domain.vectors import scores
from undrift.ports.store import Part

Document = Mapping[str, Any]
#: The most candidates that the index names.
_MOST = 10_000
#: Hits that are asked for beyond the wanted number, to see whether the last one has equals.
_BEYOND = 8
#: Documents that are compared at a time.
_BLOCK = 1_000


class Searching:
    """Searches of one database."""

    def __init__(self, session: Session, *, ef_search: int) -> None:
        """Use a database."""
        self._session = session
        self._ef_search = ef_search
        self._guard = threading.Lock()
        self._ready: set[str] = set()

    def nearest(
        self,
        found: Found,
        query: Vector,
        *,
        k: int,
        bound: Query,
        accepts: Callable[[Document], bool] | None,
        is_theirs: bool,
    ) -> list[tuple[float, Document]]:
        """Return the k nearest documents with their scores, the nearest first, equal ones by their ids.

        Args:
            found: the field.
            query: float32, shape (d,).
            k: how many.
            bound: a query for a superset of what may be found.
            accepts: what of that is asked for; None for all of it.
            is_theirs: whether the query is the user's own, which only the index understands.
        """
        limit = k + _BEYOND
        while found.index and limit <= _MOST and self._is_ready(found):
            documents = self._by_index(found, query, bound, limit)
            scored = self._scored(found, documents, query)
            kept = _in_order((score, one) for score, one in scored if accepts is None or accepts(one))
            if len(documents) < limit:
                # An index takes in what was written a moment later, and one that is not there finds nothing.
                if is_theirs or len(documents) >= self._count(found, bound):
                    return kept[:k]
                break
            least = min(score for score, _ in scored)
            if len(kept) >= k and (kept[k - 1][0] > least or not found.is_exact):
                return kept[:k]
            limit *= 4
        if is_theirs:
            return _in_order(self._scored(found, self._by_index(found, query, bound, min(limit, _MOST)), query))[:k]
        return self._one_by_one(found, query, k=k, bound=bound, accepts=accepts)

    def _by_index(self, found: Found, query: Vector, bound: Query, limit: int) -> list[Document]:
        asked: dict[str, Any] = {
            "index": found.index,
            "path": found.vector,
            "queryVector": [float(value) for value in query],
            "limit": limit,
        }
        asked |= {"exact": True} if found.is_exact else {"numCandidates": min(_MOST, max(limit, self._ef_search))}
        if bound != EVERYTHING:
            asked["filter"] = bound
        named = found.reads(Part.TEXT, with_vector=True)
        # The index is asked for what it has; a majority says nothing about that.
        collection = self._local(found)
        stages = [{"$vectorSearch": asked}, *([{"$project": named}] if named else [])]
        return [found.row(document) for document in collection.aggregate(stages)]

    def _one_by_one(
        self,
        found: Found,
        query: Vector,
        *,
        k: int,
        bound: Query,
        accepts: Callable[[Document], bool] | None,
    ) -> list[tuple[float, Document]]:
        """Compare with every vector that there is."""
        named = {found.vector: 1, **({METADATA: 1} if accepts is not None else {})} if found.is_own else {}
        best: list[tuple[float, Document]] = []
        block: list[Document] = []
        collection = self._session.database[found.collection]
        with collection.find({"$and": [found.has_vector, bound]}, named) as cursor:
            for document in map(found.row, cursor):
                if accepts is None or accepts(document):
                    block.append(document)
                if len(block) == _BLOCK:
                    best = self._best(found, best, block, query, k)
                    block = []
        best = self._best(found, best, block, query, k)
        wanted = {ID: {"$in": [found.key(document[ID]) for _, document in best]}}
        whole = [found.row(one) for one in collection.find(wanted, found.reads(Part.TEXT, with_vector=True))]
        # Somebody may have changed them since.
        scored = self._scored(found, [one for one in whole if accepts is None or accepts(one)], query)
        return _in_order(scored)[:k]

    def _best(
        self, found: Found, best: list[tuple[float, Document]], block: Sequence[Document], query: Vector, k: int
    ) -> list[tuple[float, Document]]:
        scored = [(score, {ID: one[ID]}) for score, one in self._scored(found, block, query)]
        return _in_order(nlargest(k, [*best, *scored], key=lambda one: (one[0], _Last(str(one[1][ID])))))

    def _scored(self, found: Found, documents: Sequence[Document], query: Vector) -> list[tuple[float, Document]]:
        """Return documents with their scores, leaving out those whose vector is of another length by now."""
        there = [
            (document, vector)
            for document in documents
            if (vector := vector_from(document.get(found.vector))) is not None and len(vector) == found.dimensions
        ]
        computed = scores([vector for _, vector in there], query, found.metric)
        return [(score, document) for (document, _), score in zip(there, computed, strict=True)]

    def _count(self, found: Found, bound: Query) -> int:
        query = {"$and": [found.has_vector, bound]}
        return int(self._session.database[found.collection].count_documents(query))

    def _is_ready(self, found: Found) -> bool:
        if found.index in self._ready:
            return True
        listed = self._local(found).list_search_indexes(found.index)
        if not any(one.get("queryable") for one in listed):
            return False
        with self._guard:
            self._ready.add(found.index)
        return True

    def _local(self, found: Found) -> Any:
        from pymongo.read_concern import ReadConcern

        return self._session.database.get_collection(found.collection, read_concern=ReadConcern())


class _Last:
    """A text that counts for less the further it stands in order."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __lt__(self, other: _Last) -> bool:
        return self._text > other._text


def _in_order(scored: Any) -> list[tuple[float, Document]]:
    return sorted(scored, key=lambda one: (-one[0], str(one[1][ID])))
