"""Collections and vectors of collections that are made and taken away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from undrift.adapters.asked import require_dimensions
from undrift.adapters.stores.qdrant.conditions import quoted
from undrift.adapters.stores.qdrant.engine import Engine, Hnsw, NewCollection, Put
from undrift.adapters.stores.qdrant.payload import PayloadShape
from undrift.adapters.stores.qdrant.places import is_own, shape_of, vector_of
from undrift.adapters.stores.qdrant.points import OWN_VECTOR
from undrift.domain.route import VectorField
from undrift.domain.space import Metric
from undrift.errors import BadArgument, FieldInUse

_MOST_DIMENSIONS = 65_536
#: Qdrant makes a folder of this name.
_LONGEST, _NOT_IN_NAMES = 200, '<>:"/\\|?*'


def create(
    engine: Engine,
    field: VectorField,
    *,
    dimensions: int,
    metric: Metric,
    hnsw: Hnsw | None,
    payload_indexes: Mapping[str, str],
) -> None:
    """Make an empty collection, or room for one more vector in the points of one that is there.

    Raises:
        FieldInUse: it is there.
        BadArgument: Qdrant has no such collections.
    """
    name, shape = shape_of(field)
    require_dimensions(name, dimensions, most=_MOST_DIMENSIONS, who="Qdrant")
    _require_name(name, shape.vector)
    root = f"{quoted(shape.metadata)}." if shape.metadata else ""
    made = NewCollection(
        vector=OWN_VECTOR if is_own(field) else shape.vector,
        dimensions=dimensions,
        metric=metric,
        hnsw=hnsw or Hnsw(),
        payload_indexes={f"{root}{quoted(key)}": kind for key, kind in payload_indexes.items()},
    )
    there = engine.vectors(name) if shape.vector else None
    if there is None:
        engine.create(name, made)
    elif shape.vector in there:
        raise FieldInUse(
            f"the points of collection {name} have a vector {shape.vector!r} in {engine.name} already",
            hint="choose another name, or drop it if nobody uses it",
        )
    else:
        engine.add_vector(name, made)


def drop(engine: Engine, field: VectorField) -> None:
    """Delete a collection, or the vector of a field with its tags where the points have others as well."""
    name, shape = shape_of(field)
    vectors = engine.vectors(name)
    if vectors is None:
        return
    vector = vector_of(field, shape, vectors)
    if vector not in vectors:
        return
    if set(vectors) == {vector}:
        engine.drop(name)
        return
    # What has no other vector is a record of no field afterwards: nobody would find it, and every count would have it.
    rest = [{"has_vector": other} for other in sorted(vectors.keys() - {vector})]
    engine.delete(name, {"must": [{"has_vector": vector}], "must_not": rest})
    # The tags first: whoever is interrupted comes again, and a tag without its vector would be that of a later one.
    _untag(engine, name, replace(shape, vector=vector))
    engine.remove_vector(name, vector)


def _untag(engine: Engine, name: str, shape: PayloadShape) -> None:
    tagged = {"must_not": [{"is_empty": {"key": shape.tag_path}}]}
    engine.change(name, [Put(filter=tagged, payload=shape.tagged(None), key=shape.root)])


def _require_name(name: str, vector: str) -> None:
    if len(vector.encode()) > _LONGEST or any(char in _NOT_IN_NAMES or ord(char) < 32 for char in vector):
        raise BadArgument(
            f"a vector of collection {name} cannot be called {vector!r}",
            f"Qdrant takes {_LONGEST} bytes, without any of {' '.join(_NOT_IN_NAMES)}",
        )
