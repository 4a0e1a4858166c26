"""Records of a collection: by id, by what their metadata are, and by nearness."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, assert_never

import numpy as np

from undrift.adapters.stores.milvus.collections import FIELDS, METRICS, Collection, Hnsw
from undrift.adapters.stores.milvus.conditions import among, superset
from undrift.adapters.stores.milvus.foreign import numbers, row_from
from undrift.adapters.stores.milvus.session import TIMEOUT_S
from undrift.domain.filter import Condition, matches
from undrift.domain.record import DocumentId, Vector
from undrift.domain.space import Metric

#: Ids in one expression.
MANY_IDS = 500
#: The most records that one answer may have.
MOST = 16_384
#: Records of a page while all of a collection are read.
_PAGE = 1_000
#: Hits that are asked for beyond the wanted number, to see whether the last one has equals.
_BEYOND = 8
#: How much two distances of the same vector may differ.
_ROUNDING = 1e-5


class Reader:
    """Reads of one collection, each of which sees every acknowledged write."""

    def __init__(self, client: Any, collection: Collection) -> None:
        """Read by a client."""
        self._client = client
        self._collection = collection

    @property
    def name(self) -> str:
        """What the collection is called."""
        return self._collection.name

    def by_id(self, ids: Sequence[DocumentId], fields: Sequence[str]) -> list[dict[str, Any]]:
        """Return the fields of some ids that are there."""
        distinct = list(dict.fromkeys(ids))
        rows: list[dict[str, Any]] = []
        for start in range(0, len(distinct), MANY_IDS):
            rows += self._client.query(
                self._collection.name,
                filter=self.among(distinct[start : start + MANY_IDS]),
                output_fields=self._named(fields),
                consistency_level="Strong",
                timeout=TIMEOUT_S,
            )
        return [self._row(row) for row in rows]

    def among(self, ids: Sequence[str]) -> str:
        """Return the expression that a record is of one of some ids."""
        places = self._collection.places
        if places is None:
            return among(ids)
        return among(numbers(ids) if places.has_numbers else ids, places.id)

    def _named(self, fields: Sequence[str]) -> list[str]:
        places = self._collection.places
        if places is None:
            return list(fields)
        # Which fields the metadata are in, only the row says.
        return [places.id] if tuple(fields) == ("id",) else places.reads(with_vector="vector" in fields)

    def _row(self, stored: Any) -> dict[str, Any]:
        places = self._collection.places
        return stored if places is None else row_from(places, dict(stored))

    def _superset(self, condition: Condition | None) -> str:
        return "" if condition is None or self._collection.places is not None else superset(condition)

    def everything(self, fields: Sequence[str], condition: Condition | None = None) -> Iterator[dict[str, Any]]:
        """Yield all records that match, in any order."""
        pages = self._client.query_iterator(
            self._collection.name,
            batch_size=_PAGE,
            filter=self._superset(condition),
            output_fields=self._named(fields),
            consistency_level="Strong",
            timeout=TIMEOUT_S,
        )
        try:
            while page := pages.next():
                yield from (row for row in map(self._row, page) if holds(row, condition))
        finally:
            pages.close()

    def count(self, condition: Condition | None) -> int:
        """Return how many records match."""
        if condition is not None:
            return sum(1 for _ in self.everything(("id", "metadata"), condition))
        (row,) = self._client.query(
            self._collection.name,
            filter="",
            output_fields=["count(*)"],
            consistency_level="Strong",
            timeout=TIMEOUT_S,
        )
        return int(row["count(*)"])

    def nearest(
        self, query: Vector, *, k: int, condition: Condition | None, index: Hnsw | None
    ) -> list[tuple[float, dict[str, Any]]]:
        """Return the nearest records with what Milvus calls their distance, at least k of them if as many match."""
        said = self._superset(condition)
        limit = min(k + _BEYOND, MOST)
        while True:
            found = self._search(query, said, limit, index)
            kept = [(distance, row) for distance, row in found if holds(row, condition)]
            is_all = len(found) < limit
            # Equals of the k-th may stand behind it.
            is_enough = len(kept) > k and not _nearly_equal(kept[k - 1][0], kept[-1][0])
            if (is_all and index is None) or is_enough:
                return self._told_apart(kept, query)
            if is_all or limit == MOST:
                return self._told_apart(self._one_by_one(query, condition), query)
            limit = min(4 * limit, MOST)

    def _told_apart(
        self, found: list[tuple[float, dict[str, Any]]], query: Vector
    ) -> list[tuple[float, dict[str, Any]]]:
        """Compute anew what differs by a rounding at most: equal vectors get equal distances wherever they stand."""
        ranked = sorted(found, key=lambda one: one[0])
        close = {
            row["id"]
            for (left, one), (right, other) in pairwise(ranked)
            if _nearly_equal(left, right)
            for row in (one, other)
        }
        if not close:
            return found
        vectors = {row["id"]: row["vector"] for row in self.by_id([*close], ("id", "vector"))}
        return [
            (_distance(vectors[row["id"]], query, self._collection.metric) if row["id"] in vectors else distance, row)
            for distance, row in found
        ]

    def _one_by_one(self, query: Vector, condition: Condition | None) -> list[tuple[float, dict[str, Any]]]:
        """Compare with each that matches, where one answer cannot have enough of them."""
        ids = [row["id"] for row in self.everything(("id", "metadata"), condition)]
        found: list[tuple[float, dict[str, Any]]] = []
        for start in range(0, len(ids), MANY_IDS):
            some = ids[start : start + MANY_IDS]
            index = None if self._collection.index == "FLAT" else _EVERYTHING
            found += self._search(query, self.among(some), len(some), index)
        return [(distance, row) for distance, row in found if holds(row, condition)]

    def _search(self, query: Vector, said: str, limit: int, index: Hnsw | None) -> list[tuple[float, dict[str, Any]]]:
        places, kind = self._collection.places, self._collection.index
        parameters = {"ef": max(index.ef_search, limit)} if index is not None and kind == "HNSW" else {}
        (hits,) = self._client.search(
            self._collection.name,
            data=[query],
            anns_field="vector" if places is None else places.vector,
            filter=said,
            limit=limit,
            output_fields=self._named(FIELDS),
            search_params={"metric_type": METRICS[self._collection.metric], "params": parameters},
            consistency_level="Strong",
            timeout=TIMEOUT_S,
        )
        return [(hit["distance"], self._row(hit["entity"])) for hit in hits]


def _nearly_equal(left: float, right: float) -> bool:
    return math.isclose(left, right, rel_tol=_ROUNDING, abs_tol=_ROUNDING)


def _distance(stored: Sequence[float], query: Vector, metric: Metric) -> float:
    """Return what Milvus calls the distance, computed in float64 and rounded."""
    vector, wanted = np.array(stored, np.float32).astype(np.float64), query.astype(np.float64)
    match metric:
        case Metric.COSINE:
            found = (vector @ wanted) / np.sqrt((vector @ vector) * (wanted @ wanted))
        case Metric.DOT:
            found = vector @ wanted
        case Metric.L2:
            found = ((vector - wanted) ** 2).sum()
        case _:
            assert_never(metric)
    return float(np.float32(found))


_EVERYTHING = Hnsw(m=16, ef_construction=200, ef_search=MANY_IDS)


def holds(row: Mapping[str, Any], condition: Condition | None) -> bool:
    """Whether a record that Milvus answered is one that was asked for."""
    return condition is None or matches(condition, row["metadata"])
