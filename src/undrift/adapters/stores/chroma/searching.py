"""The nearest records, as many as were asked for."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from undrift.adapters.stores.chroma.conditions import Never, superset
from undrift.adapters.stores.chroma.reading import AT_ONCE, Reader, answered, row_of, text_of
from undrift.adapters.stores.chroma.session import Found
from undrift.domain.filter import Condition, matches
from undrift.domain.record import DocumentId, Hit, Vector
from undrift.domain.route import VectorField
from undrift.domain.space import Metric
from undrift.domain.vectors import checked_query

_PARTS = ["metadatas", "documents", "distances"]
#: How many more are asked for when too few of the nearest match.
_MORE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """What a filter asks for.

    Attributes:
        where: what Chroma is asked: a filter of its own, or None for everything.
        condition: what decides about what it answers; None if nothing does.
    """

    where: Any = None
    condition: Condition | None = None

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Whether a record with this metadata is asked for."""
        return self.condition is None or matches(self.condition, metadata)


def sought(found: Found, condition: Condition | None, native: Any = None) -> Sought | None:
    """Return how Chroma is asked for what matches, None if nothing can."""
    if native is not None:
        return Sought(where=native)
    where = None if condition is None else superset(condition, own=found.is_own)
    return None if isinstance(where, Never) else Sought(where=where, condition=condition)


class Search(Reader):
    """Asks the index, and compares with every record that may match where the index gives up too early."""

    def matching(self, field: VectorField, found: Found, where: Any) -> list[DocumentId]:
        """Return the ids of the records that meet a filter of Chroma's, in no order."""
        answer = self.ask(field, lambda client: client.get(found.number, ids=None, where=where, include=()))
        return [DocumentId(id) for id in answer["ids"]]

    def total(self, field: VectorField, found: Found) -> int:
        """Return how many records there are."""
        return self.ask(field, lambda client: client.count(found.number))

    def nearest(self, field: VectorField, found: Found, vector: Vector, *, k: int, asked: Sought) -> list[Hit]:
        """Return the k nearest records that match, best first."""
        if not found.dimensions:
            # Nothing was ever written.
            return []
        query = checked_query(vector, dimensions=found.dimensions, metric=found.metric)
        if found.metric is Metric.COSINE:
            wide = query.astype(np.float64)
            query = (wide / np.linalg.norm(wide)).astype(np.float32)
        most = k
        while True:
            answer = self._answer(field, found, query, most=most, asked=asked)
            hits = [hit for hit in _hits(found, answer) if asked.matches(hit.metadata)]
            got = len(answer["ids"][0])
            if len(hits) >= k:
                return _best(hits, k)
            if got < most:
                there = len(self.matching(field, found, asked.where)) if asked.where else self.total(field, found)
                return _best(hits if got >= there else self._compared(field, found, query, k=k, asked=asked), k)
            most *= _MORE

    def _answer(self, field: VectorField, found: Found, query: Vector, *, most: int, asked: Sought) -> Any:
        return self.ask(
            field, lambda client: client.query(found.number, query, most=most, where=asked.where, include=_PARTS)
        )

    def _compared(self, field: VectorField, found: Found, query: Vector, *, k: int, asked: Sought) -> list[Hit]:
        """Return the nearest records after a look at every one that may match."""
        ids = self.matching(field, found, asked.where)
        best: list[Hit] = []
        for start in range(0, len(ids), AT_ONCE):
            read = self.get(field, found, ids[start : start + AT_ONCE], ("metadatas", "documents", "embeddings"))
            hits = [
                _hit(found, id, stored, document, score=_score(found.metric, query, np.asarray(embedding, np.float32)))
                for id, stored, document, embedding in read
            ]
            best = _best([*best, *(hit for hit in hits if asked.matches(hit.metadata))], k)
        return best


def _hits(found: Found, answer: Any) -> Iterator[Hit]:
    columns = {name: answer[name][0] for name in ("ids", "metadatas", "documents")}
    for (id, stored, document, _), distance in zip(answered(columns), answer["distances"][0], strict=True):
        if distance is None or (found.is_own and not stored):
            # It was deleted while it was looked for.
            continue
        yield _hit(found, id, stored, document, score=_score_from(found, distance))


def _hit(found: Found, id: str, stored: Any, document: str | None, *, score: float) -> Hit:
    row = row_of(found, stored)
    return Hit(id=id, score=score, text=text_of(found, stored, document), metadata=row.metadata, tag=row.tag)


def _score_from(found: Found, distance: float) -> float:
    """Return the score that one of Chroma's distances means; its `l2` is the square of the distance."""
    match found.space:
        case "l2" if found.metric is Metric.COSINE:
            return 1.0 - distance / 2
        case "l2":
            return -math.sqrt(max(distance, 0.0))
        case _:
            return 1.0 - distance


def _score(metric: Metric, query: Vector, vector: Vector) -> float:
    left, right = query.astype(np.float64), vector.astype(np.float64)
    match metric:
        case Metric.COSINE:
            return float(left @ right / (np.linalg.norm(right) or 1.0))
        case Metric.DOT:
            return float(left @ right)
        case _:
            return -float(np.linalg.norm(left - right))


def _best(hits: Iterable[Hit], k: int) -> list[Hit]:
    return heapq.nsmallest(k, hits, key=lambda hit: (-hit.score, hit.id))
