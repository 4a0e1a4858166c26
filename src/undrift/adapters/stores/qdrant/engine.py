"""What the store asks of Qdrant, wherever it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

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
class Replacement:
    """Points to be written whole, as far as they are there and a filter selects them, or only where none is.

    Attributes:
        points: each with its payload and all the vectors it is to have.
        filter: selects those that are replaced; not used for points that are not there.
        only_absent: whether points are made, and none is replaced; otherwise none is made.
    """

    points: Sequence[Point]
    filter: Filter | None = None
    only_absent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorPut:
    """One vector for each of some points that are there, as far as a filter selects them; the rest of them stays."""

    vectors: Mapping[PointId, Vector]
    name: str
    filter: Filter


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorTaken:
    """One vector is taken out of the points that a filter selects; the rest of them stays."""

    name: str
    filter: Filter


#: What is done in one request, of many such things one after the other.
Step: TypeAlias = Put | Replacement | VectorPut | VectorTaken


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

    def require_several(self, collection: str) -> None:
        """Return if points may be written that have other vectors as well.

        Raises:
            StoreRejected: this engine cannot leave them as they are.
        """
        ...

    def add_vector(self, collection: str, made: NewCollection) -> None:
        """Give the points of a collection room for one more vector.

        Raises:
            StoreRejected: this engine cannot, or could not take it away again.
        """
        ...

    def remove_vector(self, collection: str, name: str) -> None:
        """Take a vector out of a collection, or where that cannot be done, out of all its points."""
        ...

    def change(self, collection: str, steps: Sequence[Step]) -> bool:
        """Take steps in this order, each of which everybody sees whole for a point, or not at all.

        Others may take theirs in between. False where a point of a `VectorPut` was not there: the steps before it are
        done then, and those behind it are not.
        """
        ...

    def whole(self, collection: str, ids: Sequence[PointId]) -> list[Point]:
        """Return the points that are there, with their payloads and all their vectors, in any order."""
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
