"""Which point a document is, and what an engine says of points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias
from uuid import UUID, uuid5

from undrift.domain.record import DocumentId, Vector
from undrift.domain.space import Metric

#: An unsigned integer of 64 bits, or a UUID in its canonical letters.
PointId: TypeAlias = int | str
#: A filter as Qdrant's REST interface writes it.
Filter: TypeAlias = Mapping[str, Any]
#: The vector of a collection that undrift made for itself. It has a name, because a server can take only a vector with
#: one out of a collection again.
OWN_VECTOR = "undrift"
#: Points of documents whose ids Qdrant cannot keep are named in this space.
_NAMES = UUID("6f1d0f0e-6a2b-5d0b-9a55-2d6f6d3c7a10")
_MOST = 2**64


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A point as an engine returned it; parts that were not asked for are empty.

    Attributes:
        id: its id.
        payload: what was asked for of its payload.
        vector: float32, shape (d,).
        vectors: all its vectors by name, as the engine gives and takes them.
        score: as the engine counts it, in a search.
    """

    id: PointId
    payload: dict[str, Any] = field(default_factory=dict)
    vector: Vector | None = None
    vectors: Mapping[str, Any] = field(default_factory=dict)
    score: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorInfo:
    """What a collection says of one of its vectors.

    Attributes:
        dimensions: its length; 0 for a sparse one, and for one of several rows.
        metric: how it is compared; None for a way that undrift does not know.
    """

    dimensions: int
    metric: Metric | None


# A write asks for it several times, and what is made of an id takes longer than all else that is said of a document.
@lru_cache(maxsize=4096)
def point_id(id: str) -> PointId:
    """Return the id of a document's point: the same where Qdrant can keep it, and one made of it elsewhere."""
    if id.isascii() and id.isdigit() and (id == "0" or id[0] != "0") and len(id) <= 20 and int(id) < _MOST:
        return int(id)
    return id if _is_uuid(id) else str(uuid5(_NAMES, id))


def document_id(point: PointId) -> DocumentId:
    """Return the id of the document that has a point to itself."""
    return DocumentId(str(point))


def keeps_its_id(id: str) -> bool:
    """Whether a document's id is its point's."""
    return str(point_id(id)) == id


def _is_uuid(id: str) -> bool:
    if len(id) != 36:
        return False
    try:
        return str(UUID(id)) == id
    except ValueError:
        return False
