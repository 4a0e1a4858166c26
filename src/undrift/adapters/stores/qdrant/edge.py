"""The engine inside this process: each collection is a shard of Qdrant Edge in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, assert_never

import numpy as np

from undrift.adapters.stores.qdrant.edge_filters import edge_filter
from undrift.adapters.stores.qdrant.engine import (
    NewCollection,
    Put,
    Question,
    Replacement,
    Step,
    Upsert,
    VectorPut,
    VectorTaken,
)
from undrift.adapters.stores.qdrant.points import Filter, Point, PointId, VectorInfo
from undrift.adapters.stores.qdrant.shards import OpenShard, Shards
from undrift.adapters.stores.qdrant.translation import NO_POINT
from undrift.domain.space import Metric
from undrift.errors import BadArgument, BadFilter, CollectionMissing, MissingExtra, StoreRejected, StoreUnavailable

_DISTANCES = {Metric.COSINE: "Cosine", Metric.DOT: "Dot", Metric.L2: "Euclid"}
_PAGE = 5000
_INDEXES = {"keyword", "integer", "float", "bool", "uuid", "datetime", "text", "geo"}


class EdgeEngine:
    """Shards in a folder.

    Attributes:
        name: the folder, as messages call it.
        keeps_floats: it takes Python's own values.
        knows_bools: its binding takes true for the number 1.
        speaks: it is Qdrant's own engine.
        listings: the ids of the collections, for all stores of this process that use the folder.
    """

    keeps_floats = True
    knows_bools = False
    speaks = True

    def __init__(self, folder: Path, *, optimize_every: int | None) -> None:
        """Use a folder; nothing is opened yet.

        Args:
            folder: where the collections are.
            optimize_every: an index is made anew after at least so many written points; None for no index.

        Raises:
            MissingExtra: the engine is not installed.
        """
        try:
            import qdrant_edge
        except ImportError as error:
            raise MissingExtra(
                "the engine Qdrant Edge is not installed", hint="pip install 'undrift[qdrant-edge]'"
            ) from (error)
        self._edge = qdrant_edge
        self.name = f"the folder {folder}"
        self._shards = Shards.of(folder)
        #: Everybody who writes is in this process, and tells it.
        self.listings = self._shards.listings
        self._is_open = False
        self._optimize_every = optimize_every

    def vectors(self, collection: str) -> Mapping[str, VectorInfo] | None:
        """Return the vectors that a collection has by name."""
        try:
            self._opened(collection)
            config = self._shards.config(collection)
        except CollectionMissing:
            return None
        known = {name: metric for metric, name in _DISTANCES.items()}
        dense = {
            name: VectorInfo(
                dimensions=0 if one.get("multivector_config") else one["size"], metric=known.get(one["distance"])
            )
            for name, one in config["vectors"].items()
        }
        return dense | {name: VectorInfo(dimensions=0, metric=None) for name in config.get("sparse_vectors") or {}}

    def create(self, collection: str, made: NewCollection) -> None:
        """Make an empty collection."""
        self._enter()
        edge, hnsw = self._edge, made.hnsw
        params = edge.EdgeVectorParams(size=made.dimensions, distance=getattr(edge.Distance, _DISTANCES[made.metric]))
        index = edge.HnswIndexConfig(m=hnsw.m or 16, ef_construct=hnsw.ef_construct or 100, full_scan_threshold=100)
        found = self._shards.make(collection, edge.EdgeConfig(vectors={made.vector: params}, hnsw_config=index))
        for path, kind in made.payload_indexes.items():
            if kind not in _INDEXES:
                raise BadArgument(f"{kind!r} is no type of a payload index", f"there are {', '.join(sorted(_INDEXES))}")
            schema = getattr(edge.PayloadSchemaType, kind.capitalize())
            found.shard.update(edge.UpdateOperation.create_field_index(path, schema))

    def drop(self, collection: str) -> None:
        """Delete a collection."""
        self._enter()
        self._shards.remove(collection)

    def upsert(self, collection: str, points: Upsert) -> None:
        """Write points."""
        edge = self._edge
        named = points.vectors.tolist()
        made = [
            edge.Point(id, {points.vector: vector} if points.vector else vector, payload)
            for id, vector, payload in zip(points.ids, named, points.payloads, strict=True)
        ]
        mode = edge.UpdateMode.InsertOnly if points.only_absent else edge.UpdateMode.Upsert
        self._update(collection, edge.UpdateOperation.upsert_points(made, None, mode), len(made))

    def delete(self, collection: str, filter: Filter) -> None:
        """Delete the points that a filter selects."""
        self._update(collection, self._edge.UpdateOperation.delete_points_by_filter(edge_filter(filter)), 0)

    def require_several(self, collection: str) -> None:
        """Return: this engine can leave other vectors alone."""

    def add_vector(self, collection: str, made: NewCollection) -> None:
        """Give the points of a collection room for one more vector."""
        distance = getattr(self._edge.Distance, _DISTANCES[made.metric])
        wanted = self._edge.UpdateOperation.create_dense_vector(made.vector, made.dimensions, distance)
        self._update(collection, wanted, 0)

    def remove_vector(self, collection: str, name: str) -> None:
        """Take a vector out of a collection."""
        self._update(collection, self._edge.UpdateOperation.delete_vector_name(name), 0)

    def change(self, collection: str, steps: Sequence[Step]) -> bool:
        """Take steps in this order."""
        try:
            for step in steps:
                self._update(
                    collection, self._operation(step), len(step.points) if isinstance(step, Replacement) else 0
                )
        except StoreUnavailable as error:
            if NO_POINT not in error.detail:
                raise
            return False
        return True

    def whole(self, collection: str, ids: Sequence[PointId]) -> list[Point]:
        """Return the points that are there, with their payloads and all their vectors."""
        return [
            Point(
                id=_id(one),
                payload=one.payload or {},
                vectors=one.vector if isinstance(one.vector, Mapping) else {"": one.vector},
            )
            for one in self._read(collection, lambda shard: shard.retrieve(list(ids), True, True))
        ]

    def retrieve(
        self, collection: str, ids: Sequence[PointId], *, payload: bool | list[str], vector: str | None
    ) -> list[Point]:
        """Return the points that are there."""
        wanted = False if vector is None else [vector] if vector else True
        return [
            _point(one, vector)
            for one in self._read(collection, lambda shard: shard.retrieve(list(ids), payload, wanted))
        ]

    def select(self, collection: str, filter: Filter, *, payload: bool | list[str], limit: int) -> list[Point]:
        """Return points that a filter selects."""
        request = self._edge.ScrollRequest(
            limit=limit, filter=edge_filter(filter), with_payload=payload, with_vector=False
        )
        return [_point(one, None) for one in self._read(collection, lambda shard: shard.scroll(request))[0]]

    def every(self, collection: str, *, payload: bool | list[str], filter: Filter | None = None) -> Iterator[Point]:
        """Return all points that a filter selects."""
        selected = edge_filter(filter) if filter else None
        asked: dict[str, Any] = {"limit": _PAGE, "filter": selected, "with_payload": payload, "with_vector": False}
        offset = None
        while True:
            request = self._edge.ScrollRequest(offset=offset, **asked)
            found, offset = self._read(collection, lambda shard, request=request: shard.scroll(request))
            yield from (_point(one, None) for one in found)
            if offset is None:
                return

    def count(self, collection: str, filter: Filter | None) -> int:
        """Return how many points a filter selects."""
        request = self._edge.CountRequest(exact=True, filter=edge_filter(filter) if filter else None)
        return int(self._read(collection, lambda shard: shard.count(request)))

    def search(self, collection: str, question: Question) -> list[Point]:
        """Return the nearest points."""
        edge, filter = self._edge, question.filter
        request = edge.QueryRequest(
            limit=question.limit,
            query=edge.Query.Nearest(question.vector.tolist(), question.using or None),
            filter=edge_filter(filter) if isinstance(filter, Mapping) else filter,
            with_payload=True,
            params=edge.SearchParams(exact=question.exact, hnsw_ef=question.ef),
        )
        return [_point(one, None) for one in self._read(collection, lambda shard: shard.query(request))]

    def close(self) -> None:
        """Let go of the files, when no other store of this process has them open."""
        if self._is_open:
            self._is_open = False
            self._shards.leave()

    def _operation(self, step: Step) -> Any:
        edge, kind = self._edge, self._edge.UpdateOperation
        match step:
            case Put():
                return kind.set_payload_by_filter(edge_filter(step.filter), step.payload, step.key or None)
            case Replacement():
                mode = edge.UpdateMode.InsertOnly if step.only_absent else edge.UpdateMode.UpdateOnly
                points = [edge.Point(one.id, dict(one.vectors), one.payload) for one in step.points]
                return kind.upsert_points(points, None if step.filter is None else edge_filter(step.filter), mode)
            case VectorPut():
                moved = [edge.PointVectors(id, {step.name: vector.tolist()}) for id, vector in step.vectors.items()]
                return kind.update_vectors(moved, edge_filter(step.filter))
            case VectorTaken():
                return kind.delete_vectors_by_filter(edge_filter(step.filter), [step.name])
            case _:
                assert_never(step)

    def _enter(self) -> None:
        if not self._is_open:
            self._is_open = True
            self._shards.enter()

    def _opened(self, collection: str) -> OpenShard:
        self._enter()
        return self._shards.opened(collection)

    def _read(self, collection: str, ask: Any) -> Any:
        return self._asked(collection, self._opened(collection), ask)

    def _update(self, collection: str, operation: Any, written: int) -> None:
        found = self._opened(collection)
        with found.writing:
            self._asked(collection, found, lambda shard: shard.update(operation))
            found.written += written
            if self._optimize_every and found.written >= self._optimize_every:
                self._asked(collection, found, lambda shard: shard.optimize())
                found.written = 0

    def _asked(self, collection: str, found: OpenShard, ask: Any) -> Any:
        try:
            return ask(found.shard)
        except (TypeError, ValueError) as error:
            raise BadFilter(f"Qdrant Edge does not take what is asked of {collection}", str(error)) from error
        except Exception as error:
            raise self._translated(collection, error) from error

    def _translated(self, collection: str, error: Exception) -> Exception:
        text = str(error)
        if not self._shards.has(collection) or "closed" in text.lower():
            return CollectionMissing(f"{self.name} has no collection {collection}", text)
        if "dimension" in text or "vector name" in text.lower():
            return StoreRejected(f"collection {collection} does not take this", text)
        return StoreUnavailable(f"{self.name} did not do what was asked of {collection}", text)


def _point(found: Any, vector: str | None) -> Point:
    values = None
    if vector is not None:
        stored = found.vector
        one = stored.get(vector) if isinstance(stored, Mapping) else stored
        values = None if one is None else np.array(one, np.float32)
    return Point(id=_id(found), payload=found.payload or {}, vector=values, score=getattr(found, "score", 0.0))


def _id(found: Any) -> PointId:
    return found.id if isinstance(found.id, int) else str(found.id)
