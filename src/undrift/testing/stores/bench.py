"""Where an adapter is clamped in: its fixtures, and the side door into its back-end."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import ClassVar, NoReturn, Protocol, TypeAlias

import pytest

from undrift.domain.record import DocumentId, Record
from undrift.domain.route import VectorField
from undrift.domain.space import Metric
from undrift.ports.store import VectorStore
from undrift.testing.stores.samples import SPACE

#: Makes a collection of its own for a test, with the dimensions and the metric asked for.
MakeField: TypeAlias = Callable[[int, Metric], VectorField]


class SideDoor(Protocol):
    """Looks into a back-end, and changes it, without the adapter under test: by the client library or plain SQL."""

    def read(self, field: VectorField, id: DocumentId) -> Record | None:
        """Return what the back-end has of a document, or None."""
        ...

    def write(self, field: VectorField, record: Record) -> None:
        """Put a record in, as a writer that does not know undrift could; one of the same id is replaced."""
        ...

    def delete(self, field: VectorField, id: DocumentId) -> None:
        """Take a record out."""
        ...


def skip_for(capability: str, reason: str) -> NoReturn:
    """Skip a test because of what the store declares; a report of conformance takes no skip without that.

    Args:
        capability: a field of `StoreCapabilities`, or `exact` of the bench, or the optional method that is missing.
        reason: what it says, in words.
    """
    pytest.skip(f"capability {capability}: {reason}")


class StoreBench:
    """The fixtures of every test.

    Attributes:
        label: what a report calls this run of the kit; made of the name of the class where it is empty.
        live: whether the engine itself answers; False for a double that stands for it.
        dimensions: of the vectors in most tests.
        exact: whether a search compares with every record; False for an index that may overlook one.
        tolerance: how far a score may be from the one computed in float64.
    """

    label: ClassVar[str] = ""
    live: ClassVar[bool] = True
    dimensions: ClassVar[int] = 8
    exact: ClassVar[bool] = True
    tolerance: ClassVar[float] = 1e-5

    def engine(self, store: VectorStore) -> str:
        """Return the name and the version of what is behind the store, for a report; empty where nobody says."""
        del store
        return ""

    @pytest.fixture
    def store(self) -> Iterator[VectorStore]:
        """Return the store under test, empty or not."""
        raise NotImplementedError("a conformance test has to provide the fixture `store`")

    @pytest.fixture
    def side_door(self, store: VectorStore) -> SideDoor:
        """Return a way into its back-end."""
        raise NotImplementedError("a conformance test has to provide the fixture `side_door`")

    @pytest.fixture
    def other(self, store: VectorStore) -> VectorStore:
        """Return a second client of the same back-end."""
        return store

    @pytest.fixture
    def make_field(self, store: VectorStore) -> Iterator[MakeField]:
        """Return a maker of collections, which are dropped afterwards."""
        made: list[VectorField] = []

        def make(dimensions: int, metric: Metric) -> VectorField:
            made.append(new_field())
            store.create(made[-1], dimensions=dimensions, metric=metric)
            return made[-1]

        yield make
        for field in made:
            store.drop(field)

    @pytest.fixture
    def metric(self, store: VectorStore) -> Metric:
        """Return a metric that the store has, the cosine if it can."""
        declared = store.capabilities.metrics
        return Metric.COSINE if Metric.COSINE in declared else min(declared, key=lambda metric: metric.value)

    @pytest.fixture
    def field(self, make_field: MakeField, metric: Metric) -> VectorField:
        """Return an empty collection."""
        return make_field(self.dimensions, metric)

    @pytest.fixture
    def missing(self, store: VectorStore) -> Iterator[VectorField]:
        """Return a collection that is not there."""
        field = new_field()
        yield field
        store.drop(field)


def new_field() -> VectorField:
    """Return a field whose collection nobody else has."""
    return VectorField(store="kit", collection=f"kit_{uuid.uuid4().hex[:16]}", space=SPACE.id)
