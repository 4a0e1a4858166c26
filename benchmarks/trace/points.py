"""An in-process store for the recipes: points with named vectors and a payload, as vendors' tutorials have them.

Every call is atomic and at once visible to everybody, and searches are exact. What a recipe loses, it loses by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.trace.checker import Answer
from undrift.domain.record import Vector


@dataclass(slots=True, kw_only=True)
class Point:
    """A record: vectors by name, and what is known beside them."""

    vectors: dict[str, Vector]
    text: str
    metadata: dict[str, Any] = field(default_factory=dict)


class Points:
    """Collections of points, and aliases that stand for collections."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._collections: dict[str, dict[str, Point]] = {}
        self._aliases: dict[str, str] = {}

    def recreate(self, collection: str) -> None:
        """Make an empty collection, whatever was there."""
        self._collections[collection] = {}

    def switch(self, alias: str, collection: str) -> None:
        """Let an alias stand for a collection, at once for everybody."""
        self._aliases[alias] = collection

    def all_of(self, collection: str) -> dict[str, Point]:
        """Return a collection, by its own name or an alias."""
        return self._collections[self._aliases.get(collection, collection)]

    def scroll(self, collection: str, *, after: str, limit: int) -> list[tuple[str, Point]]:
        """Return the next points in the order of their ids, without their vectors."""
        held = self.all_of(collection)
        ids = sorted(id for id in held if id > after)[:limit]
        return [(id, Point(vectors={}, text=held[id].text, metadata=dict(held[id].metadata))) for id in ids]

    def upsert(self, collection: str, points: Mapping[str, Point], *, insert_only: bool = False) -> None:
        """Insert points, replacing those that are there whole, or leaving them alone."""
        held = self.all_of(collection)
        held.update({id: point for id, point in points.items() if not (insert_only and id in held)})

    def update_vectors(self, collection: str, vectors: Mapping[str, Mapping[str, Vector]]) -> None:
        """Put vectors beside those that points have; a point that is not there is not made."""
        held = self.all_of(collection)
        for id, named in vectors.items():
            if id in held:
                held[id].vectors.update(named)

    def set_payload(self, collection: str, id: str, changes: Mapping[str, Any]) -> None:
        """Put keys into a point's metadata; a point that is not there is not made."""
        if id in self.all_of(collection):
            self.all_of(collection)[id].metadata.update(changes)

    def delete(self, collection: str, id: str) -> None:
        """Delete a point; one that is not there is no error."""
        self.all_of(collection).pop(id, None)

    def search(self, collection: str, using: str, query: Vector, k: int) -> list[Answer]:
        """Return the k points nearest by the cosine that have a vector of that name; all vectors are unit vectors."""
        points = [point for point in self.all_of(collection).values() if using in point.vectors]
        if not points:
            return []
        cosines = np.concatenate([point.vectors[using] for point in points]).reshape(len(points), -1) @ query
        return [Answer(text=points[row].text, score=float(cosines[row])) for row in np.argsort(-cosines)[:k]]


class WatchedPoints:
    """The store as a migrating process sees it: the trace goes on when a batch was read, and before one is written."""

    def __init__(
        self, points: Points, *, read: Callable[[Sequence[str]], None], write: Callable[[Sequence[str]], None]
    ) -> None:
        """Stand around a store.

        Args:
            points: the store.
            read: told the ids of a batch that was read.
            write: told the ids of a batch that is about to be written.
        """
        self._points = points
        self._read = read
        self._write = write

    def scroll(self, collection: str, *, after: str, limit: int) -> list[tuple[str, Point]]:
        """As `Points.scroll`."""
        page = self._points.scroll(collection, after=after, limit=limit)
        self._read([id for id, _ in page])
        return page

    def upsert(self, collection: str, points: Mapping[str, Point], *, insert_only: bool = False) -> None:
        """As `Points.upsert`."""
        self._write(list(points))
        self._points.upsert(collection, points, insert_only=insert_only)

    def update_vectors(self, collection: str, vectors: Mapping[str, Mapping[str, Vector]]) -> None:
        """As `Points.update_vectors`."""
        self._write(list(vectors))
        self._points.update_vectors(collection, vectors)
