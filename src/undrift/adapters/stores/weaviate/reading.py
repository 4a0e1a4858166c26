"""Objects of a collection: by id, by what their metadata are, and by nearness."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, assert_never

from undrift.adapters.stores.weaviate.collections import VECTOR, Found
from undrift.adapters.stores.weaviate.conditions import among, asked
from undrift.adapters.stores.weaviate.rows import id_of, key_of, metadata_of, properties, vector_of
from undrift.adapters.stores.weaviate.session import Session
from undrift.domain.filter import Condition, matches
from undrift.domain.record import DocumentId, Vector
from undrift.domain.space import Metric
from undrift.domain.vectors import scores
from undrift.errors import StoreUnavailable
from undrift.ports.store import Part

#: Ids of one request.
_MANY_IDS = 200
#: Records of a page while all of a collection are read.
_PAGE = 1_000
#: The most hits of one answer, unless a server was told otherwise (`QUERY_MAXIMUM_RESULTS`).
_MOST = 10_000
#: What gRPC says of an answer that is longer than client and server agreed on.
_TOO_LARGE = "message larger than max"
#: How often replicas that do not agree about an object are asked again.
_TRIES = 3


class Reader:
    """Reads of one collection."""

    def __init__(self, session: Session, found: Found, collection: str) -> None:
        """Read as of a collection that was found."""
        self._session = session
        self._found = found
        self._collection = collection

    def by_id(self, ids: Sequence[DocumentId], parts: Part, *, with_vector: bool = False) -> dict[DocumentId, Any]:
        """Return the objects of some ids that are there, as every acknowledged write left them.

        Raises:
            StoreUnavailable: the replicas do not agree about one of them.
        """
        there: dict[DocumentId, Any] = {}
        wanted = list(dict.fromkeys(ids))
        for start in range(0, len(wanted), _MANY_IDS):
            page = wanted[start : start + _MANY_IDS]
            read = self._agreed if self._found.replicas > 1 else self._page
            there |= read(page, parts, with_vector=with_vector)
        return there

    def _page(self, ids: Sequence[DocumentId], parts: Part, *, with_vector: bool) -> dict[DocumentId, Any]:
        try:
            results = self._search(
                parts,
                filters=among(ids),
                limit=len(ids),
                with_vector=with_vector,
                is_consistent=self._found.replicas > 1,
            )
        except StoreUnavailable as error:
            if _TOO_LARGE not in error.detail or len(ids) == 1:
                raise
            half = len(ids) // 2
            return {
                id: result
                for part in (ids[:half], ids[half:])
                for id, result in self._page(part, parts, with_vector=with_vector).items()
            }
        return {id_of(result): result for result in results}

    def _agreed(self, ids: Sequence[DocumentId], parts: Part, *, with_vector: bool) -> dict[DocumentId, Any]:
        """Return objects that all replicas have alike.

        A search asks one replica of each shard and compares what that has with the others: an object that it does not
        have is not looked for elsewhere. Whether there is one at all, every replica is asked for (`ALL`), which also
        repairs those that lag behind.
        """
        there: dict[DocumentId, Any] = {}
        open = list(ids)
        for _ in range(_TRIES):
            found = self._page(open, parts, with_vector=with_vector)
            there |= {id: result for id, result in found.items() if result.metadata.is_consistent}
            doubtful = [id for id in open if id not in there]
            open = [id for id in doubtful if self._exists(id)]
            if not open:
                return there
        raise StoreUnavailable(
            f"the replicas of collection {self._collection} do not agree about document {open[0]!r}",
            f"{self._session.place.name} was asked {_TRIES} times",
            "look whether all of its nodes run; it repairs itself then",
        )

    def _exists(self, id: DocumentId) -> bool:
        from weaviate.classes.config import ConsistencyLevel

        def exists(client: Any) -> bool:
            collection = client.collections.use(self._found.name).with_consistency_level(ConsistencyLevel.ALL)
            return bool(collection.data.exists(key_of(id)))

        return self._session.ask(self._collection, exists)

    def everything(self, parts: Part, *, with_vector: bool = False) -> Iterator[Any]:
        """Yield all objects, in the order of their UUIDs."""
        after, size = "", _PAGE if not with_vector and Part.TEXT not in parts else _MANY_IDS
        while True:
            page = list(self._search(parts, limit=size, after=after, with_vector=with_vector))
            yield from page
            if len(page) < size:
                return
            after = key_of(id_of(page[-1]))

    def count(self, condition: Condition | None) -> int:
        """Return how many records match."""
        from weaviate.proto.v1 import aggregate_pb2

        filters, exact = asked(condition, knows_not=condition is None or self._session.knows_not())
        if not exact:
            return sum(1 for one in self.everything(Part.NONE) if condition is None or _holds(one, condition))
        request = aggregate_pb2.AggregateRequest(collection=self._found.name, objects_count=True, filters=filters)
        reply = self._session.call(self._collection, "Aggregate", request)
        return int(reply.single_result.objects_count)

    def nearest(self, query: Vector, *, k: int, condition: Condition | None) -> list[tuple[float, Any]]:
        """Return at least the k nearest objects that match, with their scores."""
        filters, exact = asked(condition, knows_not=condition is None or self._session.knows_not())
        limit = min(k + 1 if exact else 4 * k + 16, _MOST)
        while True:
            near = [
                (_score(result.metadata.distance, self._found.metric), result)
                for result in self._search(Part.TEXT, filters=filters, limit=limit, near=query)
            ]
            kept = [one for one in near if exact or condition is None or _holds(one[1], condition)]
            # Equals of the k-th may stand behind the last one. An index looks at as many as it likes.
            is_all = len(near) < limit or (exact and not self._found.is_exact)
            if is_all or (len(kept) >= k and _kth(kept, k) > near[-1][0]):
                return kept
            if limit == _MOST:
                return self._one_by_one(query, condition)
            limit = min(4 * limit, _MOST)

    def native(self, query: Vector, *, k: int, filters: Any) -> list[tuple[float, Any]]:
        """Return the k nearest objects that a filter of the server's own lets through."""
        results = self._search(Part.TEXT, filters=filters, limit=k, near=query)
        return [(_score(result.metadata.distance, self._found.metric), result) for result in results]

    def _one_by_one(self, query: Vector, condition: Condition | None) -> list[tuple[float, Any]]:
        """Compare with each that matches, where one answer cannot have enough of them."""
        found: list[tuple[float, Any]] = []
        for result in self.everything(Part.TEXT, with_vector=True):
            vector = vector_of(result)
            if vector is not None and (condition is None or _holds(result, condition)):
                found += zip(scores([vector], query, self._found.metric), [result], strict=True)
        return found

    def _search(
        self,
        parts: Part,
        *,
        limit: int,
        filters: Any = None,
        after: str = "",
        near: Vector | None = None,
        with_vector: bool = False,
        is_consistent: bool = False,
    ) -> Any:
        from weaviate.proto.v1 import base_pb2, base_search_pb2, search_get_pb2

        request = search_get_pb2.SearchRequest(
            collection=self._found.name,
            limit=limit,
            after=after,
            filters=filters,
            consistency_level=base_pb2.CONSISTENCY_LEVEL_ALL if is_consistent else None,
            properties=search_get_pb2.PropertiesRequest(non_ref_properties=properties(parts)),
            metadata=search_get_pb2.MetadataRequest(
                uuid=True,
                vectors=[VECTOR] if with_vector else [],
                distance=near is not None,
                is_consistent=is_consistent,
            ),
            uses_123_api=True,
            uses_125_api=True,
            uses_127_api=True,
        )
        if near is not None:
            single = base_pb2.Vectors.VECTOR_TYPE_SINGLE_FP32
            request.near_vector.CopyFrom(
                base_search_pb2.NearVector(
                    vectors=[base_pb2.Vectors(vector_bytes=near.astype("<f4").tobytes(), type=single)],
                    targets=base_search_pb2.Targets(target_vectors=[VECTOR]),
                )
            )
        return self._session.call(self._collection, "Search", request).results


def _holds(result: Any, condition: Condition) -> bool:
    return matches(condition, metadata_of(result))


def _kth(found: Sequence[tuple[float, Any]], k: int) -> float:
    return sorted((score for score, _ in found), reverse=True)[k - 1]


def _score(distance: float, metric: Metric) -> float:
    """Return what Weaviate's distance says: the cosine, the inner product, or minus the Euclidean distance."""
    match metric:
        case Metric.COSINE:
            return 1.0 - distance
        case Metric.DOT:
            return -distance
        case Metric.L2:
            return -math.sqrt(max(distance, 0.0))
        case _:
            assert_never(metric)
