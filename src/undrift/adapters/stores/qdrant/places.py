"""What is known of a collection: how its records are laid out, and how its vectors are compared."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from undrift.adapters.stores.qdrant.conditions import Dialect, among
from undrift.adapters.stores.qdrant.engine import Engine
from undrift.adapters.stores.qdrant.payload import PayloadShape, payload_shape
from undrift.adapters.stores.qdrant.points import OWN_VECTOR, Point, PointId, VectorInfo
from undrift.adapters.stores.qdrant.points import Filter as Wire
from undrift.domain.filter import Condition, matches
from undrift.domain.record import Metadata
from undrift.domain.relaxation import relaxed
from undrift.domain.route import VectorField
from undrift.domain.shape import OWN, TagPlace, split_address
from undrift.domain.space import Metric
from undrift.errors import BadArgument, CollectionMissing, StoreRejected

_T = TypeVar("_T")
#: What a collection is made like does not change; only another one of the same name is made otherwise.
_KNOWN_FOR_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A collection, as far as it stays the same.

    Attributes:
        name: its name in Qdrant.
        shape: how its records are laid out.
        dimensions: of its vectors.
        metric: by which they are compared.
        others: names of the other vectors that its points have.
    """

    name: str
    shape: PayloadShape
    dimensions: int
    metric: Metric
    others: tuple[str, ...] = ()

    @property
    def here(self) -> Wire | None:
        """The condition that a point has a record of this field; None where every point has one."""
        return {"has_vector": self.shape.vector} if self.others else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A filter, as far as Qdrant evaluates it.

    Attributes:
        wire: what is asked of Qdrant, true wherever the filter is; None for everything.
        condition: what has to be looked at once more; None where Qdrant says it exactly.
    """

    wire: Wire | None = None
    condition: Condition | None = None

    def fits(self, metadata: Metadata) -> bool:
        """Whether a record that Qdrant returned is asked for."""
        return self.condition is None or matches(self.condition, metadata)


class Places:
    """Knows collections for a while, and looks again when something does not fit."""

    def __init__(self, engine: Engine) -> None:
        """Know nothing yet."""
        self._engine = engine
        self._known: dict[str, tuple[float, Place]] = {}
        self._guard = threading.Lock()

    def on(self, field: VectorField, work: Callable[[Place], _T]) -> _T:
        """Do something in a collection; once more if it was dropped and made anew meanwhile.

        Raises:
            CollectionMissing: it is not there.
        """
        place = self.place(field)
        try:
            return work(place)
        except (BadArgument, CollectionMissing, StoreRejected):
            self.forget(field)
            fresh = self.place(field)
            if fresh == place:
                raise
        return work(fresh)

    def place(self, field: VectorField) -> Place:
        """Return what is known of a collection."""
        with self._guard:
            found = self._known.get(field.collection)
        if found is not None and time.monotonic() - found[0] < _KNOWN_FOR_S:
            return found[1]
        begun = time.monotonic()
        place = self.look(field)
        if place is None:
            name, _ = split_address(field.collection)
            raise self._missing(name)
        with self._guard:
            self._known[field.collection] = begun, place
        return place

    def look(self, field: VectorField) -> Place | None:
        """Ask the engine for a collection; None where it or its vector is not there.

        Raises:
            StoreRejected: it is compared in a way that undrift does not know.
        """
        name, shape = shape_of(field)
        vectors = self._engine.vectors(name)
        found = None if vectors is None else vectors.get(vector_of(field, shape, vectors))
        if vectors is None or found is None or not found.dimensions:
            return None
        shape = replace(shape, vector=vector_of(field, shape, vectors))
        if found.metric is None:
            raise StoreRejected(f"collection {name} is compared by a distance that undrift does not have")
        others = tuple(sorted(vectors.keys() - {shape.vector}))
        return Place(name=name, shape=shape, dimensions=found.dimensions, metric=found.metric, others=others)

    def forget(self, field: VectorField) -> None:
        """Look anew the next time, through whichever of its vectors."""
        name, _ = split_address(field.collection)
        with self._guard:
            self._known = {key: known for key, known in self._known.items() if split_address(key)[0] != name}

    def asked(self, place: Place, condition: Condition | None, *, anywhere: bool = False) -> Asked:
        """Return what to ask Qdrant for a filter.

        Args:
            place: the collection.
            condition: what the filter says; None for everything.
            anywhere: whether also points are meant that do not have the vector of this field.
        """
        here = None if anywhere else place.here
        asked = self._asked(place, condition)
        if here is None:
            return asked
        return replace(asked, wire={"must": [here] if asked.wire is None else [here, dict(asked.wire)]})

    def _missing(self, name: str) -> CollectionMissing:
        vectors = self._engine.vectors(name)
        if not vectors:
            return CollectionMissing(f"{self._engine.name} has no collection {name}")
        return CollectionMissing(
            f"collection {name} of {self._engine.name} does not have this vector",
            f"it has {', '.join(repr(one) for one in sorted(vectors))}",
            f"write behind the collection which one is meant: {name}?vector=NAME",
        )

    def _asked(self, place: Place, condition: Condition | None) -> Asked:
        if condition is None:
            return Asked()
        shape = place.shape
        dialect = Dialect(
            shape.metadata or None,
            keeps_floats=self._engine.keeps_floats,
            knows_bools=self._engine.knows_bools,
            speaks=self._engine.speaks,
        )
        bound, is_exact = relaxed(condition, dialect.can)
        wire = None if bound is None else dialect.translate(bound)
        return Asked(wire=wire, condition=None if is_exact else condition)


def shape_of(field: VectorField) -> tuple[str, PayloadShape]:
    """Return a collection's name in Qdrant, and how its address says that it is laid out.

    Raises:
        BadConfig: the address says what cannot be.
    """
    name, shape = split_address(field.collection)
    return name, payload_shape(name, shape)


def vector_of(field: VectorField, shape: PayloadShape, vectors: Mapping[str, VectorInfo]) -> str:
    """Return the name of the vector that an address means: said, or undrift's own, or that without a name."""
    return OWN_VECTOR if not shape.vector and OWN_VECTOR in vectors and is_own(field) else shape.vector


def is_own(field: VectorField) -> bool:
    """Whether an address says nothing of how a collection is laid out, so that undrift chooses."""
    return replace(split_address(field.collection)[1], tags=TagPlace.PAYLOAD) == OWN


def seen(
    engine: Engine, place: Place, ids: Sequence[PointId], *, payload: bool | list[str], wire: Wire | None
) -> list[Point]:
    """Return points of a collection that are there, those only that a filter selects, without their vectors."""
    if wire is None:
        return engine.retrieve(place.name, ids, payload=payload, vector=None)
    return engine.select(place.name, among(list(ids), wire), payload=payload, limit=len(ids)) if ids else []
