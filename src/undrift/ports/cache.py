"""Vectors that were paid for once, and are not paid for again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from undrift.domain.record import ContentHash, Vector, Vectors
from undrift.domain.space import SpaceId


class VectorCache(Protocol):
    """A shared, durable, bounded map from (space, text hash) to a vector; losing any of it costs money, never data."""

    def get(self, space: SpaceId, hashes: Iterable[ContentHash]) -> dict[ContentHash, Vector]:
        """Return those vectors that are there; float32, shape (d,)."""
        ...

    def put(self, space: SpaceId, hashes: Sequence[ContentHash], vectors: Vectors) -> None:
        """Keep vectors, shape (n, d); a hash that is there already stays as it is."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...
