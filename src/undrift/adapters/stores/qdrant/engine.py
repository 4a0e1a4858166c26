"""What the store asks of Qdrant, wherever it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from undrift.adapters.stores.qdrant.points import Filter, Point, PointId, VectorInfo
from undrift.domain.record import Vector, Vectors
from undrift.domain.space import Metric


@dataclass(frozen=True, slots=True, kw_only=True)
class Hnsw:
    """Settings of an index; None leaves them to Qdrant.

    Attributes:
        m: connections of a vector in each layer.
        ef_construct: how many candidates are looked at when a vector is put in.
        ef: how many a search looks at.
    """

    m: int | None = None
    ef_construct: int | None = None
    ef: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCollection:
    """What is made.

    Attributes:
        vector: the name of its vector; may be empty.
        dimensions: of the vector.
        metric: of the vector.
        hnsw: its index.
        payload_indexes: type by path of the payload.
    """

    vector: str
    dimensions: int
    metric: Metric
    hnsw: Hnsw
    payload_indexes: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upsert:
    """Points to be written: vector i, of (n, d), and payload i belong to id i.

    Attributes:
        ids: n ids.
        vector: the name of their vector.
        vectors: float32, shape (n, d).
        payloads: n payloads.
        only_absent: whether points that are there are left alone.
    """

    ids: Sequence[PointId]
    vector: str
    vectors: Vectors
    payloads: Sequence[dict[str, Any]]
    only_absent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """Keys to be put into the payload of the points that a filter selects; a null removes its key."""

    filter: Filter
    payload: dict[str, Any]
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A search: the nearest points first.

    Attributes:
        vector: float32, shape (d,).
        using: the name of the vector it is compared with.
        limit: how many.
        filter: which.
        exact: whether every point is compared.
        ef: how many candidates an index looks at.
    """

    vector: Vector
    using: str
    limit: int
    filter: Any = field(default=None)
    exact: bool = False
    ef: int | None = None


class Engine(Protocol):
    """Qdrant, on a server or in this process.

    Errors are those of `undrift.errors`; a collection that is not there is `CollectionMissing`.
    """

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def keeps_floats(self) -> bool:
        """Whether every float of a payload arrives in all its digits."""
        ...

    @property
    def knows_bools(self) -> bool:
        """Whether a filter can ask for true or false."""
        ...

    @property
    def speaks(self) -> bool:
        """Whether conditions on metadata mean what the server makes of them."""
        ...

    def vectors(self, collection: str) -> Mapping[str, VectorInfo] | None:
        """Return the vectors that a collection has by name, None where there is no such collection."""
        ...

    def create(self, collection: str, made: NewCollection) -> None:
        """Make an empty collection; raises `FieldInUse` where there is one."""
        ...

    def drop(self, collection: str) -> None:
        """Delete a collection; one that is not there is no error."""
        ...

    def upsert(self, collection: str, points: Upsert) -> None:
        """Write points."""
        ...

    def delete(self, collection: str, filter: Filter) -> None:
        """Delete the points that a filter selects."""
        ...

    def put(self, collection: str, puts: Sequence[Put]) -> None:
        """Put keys into payloads, in this order."""
        ...

    def retrieve(
        self, collection: str, ids: Sequence[PointId], *, payload: bool | list[str], vector: str | None
    ) -> list[Point]:
        """Return the points that are there, in any order."""
        ...

    def select(self, collection: str, filter: Filter, *, payload: bool | list[str], limit: int) -> list[Point]:
        """Return points that a filter selects, in any order."""
        ...

    def every(self, collection: str, *, payload: bool | list[str], filter: Filter | None = None) -> Iterator[Point]:
        """Return all points that a filter selects, in the order of Qdrant's ids."""
        ...

    def count(self, collection: str, filter: Filter | None) -> int:
        """Return how many points a filter selects, exactly."""
        ...

    def search(self, collection: str, question: Question) -> list[Point]:
        """Return the nearest points with their payloads."""
        ...

    def close(self) -> None:
        """Let go of connections and files; a later call opens them again."""
        ...
