"""A field as it was last seen: where its vectors are, and how its documents are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from undrift.adapters.stores.mongodb.documents import fields
from undrift.adapters.stores.mongodb.foreign import Places, places_of, row_from
from undrift.adapters.stores.mongodb.ids import id_of
from undrift.domain.route import VectorField
from undrift.domain.shape import split_address
from undrift.domain.space import Metric
from undrift.ports.store import Part

#: What the vector of a collection is called whose address does not say.
VECTOR = "vector"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A field as it was last seen.

    Attributes:
        collection: the name of the collection.
        vector: the key of the vector in its documents.
        incarnation: what tells the field from another one of that name, made before or after.
        number: MongoDB's own number of the collection, which no later one of that name has.
        dimensions: of the vectors.
        metric: how they are compared.
        index: the name of their search index; empty without one.
        is_exact: whether that compares with every vector.
        places: where the parts of a record are, in documents of another program; None in undrift's own.
    """

    collection: str
    vector: str
    incarnation: str
    number: Any
    dimensions: int
    metric: Metric
    index: str
    is_exact: bool
    places: Places | None = None

    @property
    def is_own(self) -> bool:
        """Whether its documents are as undrift makes them for itself."""
        return self.places is None

    def key(self, id: str) -> Any:
        """Return what a document of an id has as its `_id`."""
        return id if self.places is None else id_of(id)

    def row(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a document as undrift's own are."""
        return document if self.places is None else row_from(self.places, document)

    def reads(self, parts: Part, *, with_vector: bool = False) -> dict[str, int]:
        """Return which keys of a document have to be read."""
        if self.places is None:
            return fields(self.vector, parts, with_vector=with_vector)
        # Which keys the metadata have, only the document says.
        return {} if with_vector else {self.vector: 0}

    @property
    def has_vector(self) -> dict[str, Any]:
        """The query for documents that have such a vector."""
        return {self.vector: {"$exists": True}}


def named(field: VectorField) -> tuple[str, str]:
    """Return the names of a collection and of the vector in it.

    Raises:
        BadConfig: the address says what cannot be.
    """
    name, places = places_of(field.collection)
    return name, (split_address(field.collection)[1].vector or VECTOR) if places is None else places.vector
