"""A search: the k nearest that match, the same ones every time."""

from __future__ import annotations

from typing import Any

from undrift.adapters.stores.qdrant.engine import Engine, Hnsw, Question
from undrift.adapters.stores.qdrant.places import Asked, Place
from undrift.adapters.stores.qdrant.points import Point
from undrift.domain.record import Hit, Vector
from undrift.domain.space import Metric
from undrift.domain.vectors import checked_query


def nearest(
    engine: Engine, place: Place, vector: Vector, *, k: int, asked: Asked, own: Any, index: Hnsw | None
) -> list[Hit]:
    """Return the k nearest records that match, best first, and in the order of their ids where they are equally near.

    Args:
        engine: Qdrant.
        place: the collection.
        vector: the query's, float32, shape (d,).
        k: how many.
        asked: the filter.
        own: a filter of Qdrant's own in its place, or None.
        index: the index to look into; None and every point is compared.
    """
    query = checked_query(vector, dimensions=place.dimensions, metric=place.metric)
    is_exact, limit = index is None, k + 1
    while True:
        question = Question(
            vector=query,
            using=place.shape.vector,
            limit=limit,
            filter=asked.wire if own is None else own,
            exact=is_exact,
            ef=index.ef if index else None,
        )
        points = engine.search(place.name, question)
        hits = sorted(_hits(place, points, asked), key=lambda hit: (-hit.score, hit.id))
        if len(points) < limit:
            if is_exact or len(hits) >= k:
                return hits[:k]
            # An index may give up before it has found enough that match.
            is_exact = True
        elif len(hits) >= k and hits[k - 1].score > _score(place, points[-1]):
            return hits[:k]
        else:
            # What comes next may be as near as the last one, and match, and have a smaller id.
            limit *= 4


def _hits(place: Place, points: list[Point], asked: Asked) -> list[Hit]:
    shape, hits = place.shape, []
    for point in points:
        metadata = shape.metadata_of(point)
        if asked.fits(metadata):
            hits.append(
                Hit(
                    id=shape.id_of(point),
                    score=_score(place, point),
                    text=shape.text_of(point),
                    metadata=metadata,
                    tag=shape.tag_of(point),
                )
            )
    return hits


def _score(place: Place, point: Point) -> float:
    """Return the score of the port: what Qdrant counts for L2 is the distance."""
    return -point.score if place.metric is Metric.L2 else point.score
