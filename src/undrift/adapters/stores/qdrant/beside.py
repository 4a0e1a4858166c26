"""Writes to points that have several vectors, each with a tag of its own, while others write to the same points.

Qdrant replaces a point whole, or changes its payload, or changes a vector of it: no request does the last two together,
and several in one request are done in order, but others may come in between, and a crash may end them. So each point
has two marks among its tags: `made` is new with every replacement, `version` with every change of any kind.

- A record is *replaced* whole, with the other vectors and their tags as they were read, if its version is still the one
  that was read. That is one step: a crash leaves the record as it was or as it is to be.
- A vector is *attached* in three steps. The first removes the field's tag, if the text is that which the vector was
  made of, and leaves a version; the second puts the vector, if the version is still that one; the third puts the tag,
  if it is still that one. Whoever changes the record in between makes it another version, and ends this. A crash
  leaves a record without a tag of this field: no tag tells an untruth, the record is one that has not been carried
  over, and the journal, or the piece of the back-fill, whose work is not acknowledged, does it again.
- It is *detached* in the same way: the tag first, then the vector of that version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from undrift.adapters.stores.qdrant.conditions import among
from undrift.adapters.stores.qdrant.engine import Engine, Put, Replacement, Step, VectorPut, VectorTaken
from undrift.adapters.stores.qdrant.payload import MADE, VERSION, new_mark
from undrift.adapters.stores.qdrant.places import Place, seen
from undrift.adapters.stores.qdrant.points import Filter, Point, PointId, point_id
from undrift.domain.record import DocumentId, Record, SpaceTag, Vector, is_tagged
from undrift.errors import StoreUnavailable

#: Points in one request, each of which is a condition of its own.
MOST = 100
#: How often records are read anew that somebody else has changed meanwhile.
_TRIES = 50


def replace(
    engine: Engine, place: Place, vectors: Mapping[PointId, Vector], payloads: Mapping[PointId, dict[str, Any]]
) -> None:
    """Write records, and leave the other vectors of those that are there, with their tags.

    Raises:
        StoreUnavailable: others change a record again and again.
    """
    shape, left = place.shape, list(vectors)
    for _ in range(_TRIES):
        before = {point.id: point for point in engine.whole(place.name, left)}
        wanted = {id: _whole(place, id, vectors[id], payloads[id], before.get(id)) for id in left}
        fresh = Replacement(
            points=[wanted[id] if id not in before else _alone(place, wanted[id]) for id in left], only_absent=True
        )
        known = [wanted[id] for id in before]
        steps: list[Step] = [Replacement(points=known, filter=_unchanged(place, before))] if known else []
        if not shape.has_tags or len(known) < len(left):
            steps.append(fresh)
        engine.change(place.name, steps)
        if not shape.has_tags:
            # Nothing of undrift's is in the payload, so nothing can be told apart either.
            return
        after = {point.id: point for point in seen(engine, place, left, payload=shape.without_text, wire=None)}
        left = [id for id in left if _is_to_do(place, wanted[id], before.get(id), after.get(id))]
        if not left:
            return
    raise _busy(place)


def attach(engine: Engine, place: Place, records: Sequence[Record], vectors: Sequence[Vector]) -> None:
    """Put vectors with their tags beside records that still have the texts these were made of.

    Raises:
        StoreUnavailable: others change a record again and again.
    """
    shape, begun = place.shape, False
    left = {point_id(record.id): (record, vector) for record, vector in zip(records, vectors, strict=True)}
    for _ in range(_TRIES):
        there = {point.id: point for point in seen(engine, place, list(left), payload=True, wire=None)}
        left = {
            id: (record, vector)
            for id, (record, vector) in left.items()
            if id in there
            and shape.id_of(there[id]) == record.id
            and (not shape.keeps_texts or shape.text_of(there[id]) == record.text)
            and not (begun and _says(shape.tag_of(there[id]), record.tag))
        }
        if not left:
            return
        version = new_mark()
        is_mine = shape.has_version(version)
        fit = [among([id], shape.has_text(there[id])) for id in left]
        steps: list[Step] = [
            Put(
                filter={"must": [{"has_id": list(left)}, {"should": fit}]},
                payload=shape.tagged(None) | {VERSION: version},
                key=shape.root,
            ),
            VectorPut(
                vectors={id: vector for id, (_, vector) in left.items()}, name=shape.vector, filter={"must": [is_mine]}
            ),
        ]
        steps += [
            Put(
                filter=among([id], is_mine),
                payload=shape.tagged(record.tag) | {VERSION: new_mark()},
                key=shape.root,
            )
            for id, (record, _) in left.items()
        ]
        engine.change(place.name, steps)
        begun = True
    raise _busy(place)


def detach(engine: Engine, place: Place, ids: Sequence[DocumentId]) -> None:
    """Take vectors and their tags out of records, which stay.

    Raises:
        StoreUnavailable: others change a record again and again.
    """
    shape, begun = place.shape, False
    left = [point_id(id) for id in ids]
    mine: Filter = {"has_vector": shape.vector}
    for _ in range(_TRIES):
        there = engine.select(place.name, among(left, mine), payload=shape.without_text, limit=max(len(left), 1))
        # One that has a tag was attached again, by somebody who came later.
        left = [point.id for point in there if not begun or not is_tagged(shape.tag_of(point))]
        if not left:
            return
        version = new_mark()
        is_mine = shape.has_version(version)
        none = shape.tagged(None)
        engine.change(
            place.name,
            [
                Put(filter=among(left, mine), payload=none | {VERSION: version}, key=shape.root),
                VectorTaken(filter=among(left, is_mine), name=shape.vector),
                Put(filter=among(left, is_mine), payload={VERSION: new_mark()}, key=shape.root),
            ],
        )
        begun = True
    raise _busy(place)


def marked(place: Place, payload: dict[str, Any]) -> dict[str, Any]:
    """Return a payload with new marks, where there may be any."""
    return place.shape.beside_metadata(payload, _marks(place))


def _marks(place: Place) -> dict[str, str]:
    return {MADE: new_mark(), VERSION: new_mark()} if place.shape.has_tags else {}


def _whole(place: Place, id: PointId, vector: Vector, payload: dict[str, Any], before: Point | None) -> Point:
    """Return a point as it is to be: with the other vectors of the one that is there, and their tags."""
    shape = place.shape
    kept = shape.kept_of(before) if before is not None else {}
    others = dict(before.vectors) if before is not None else {}
    return Point(
        id=id,
        payload=shape.beside_metadata(payload, kept | _marks(place)),
        vectors=others | {shape.vector: vector.tolist()},
    )


def _alone(place: Place, point: Point) -> Point:
    """Return a point with the vector of this field only, for a record that was deleted meanwhile."""
    vector = place.shape.vector
    return Point(id=point.id, payload=point.payload, vectors={vector: point.vectors[vector]})


def _unchanged(place: Place, before: Mapping[PointId, Point]) -> Filter | None:
    """Return the filter that selects those points which are still as they were read."""
    shape = place.shape
    if not shape.has_tags:
        return None
    return {"should": [among([id], shape.has_version(shape.marks_of(point)[1])) for id, point in before.items()]}


def _is_to_do(place: Place, wanted: Point, before: Point | None, after: Point | None) -> bool:
    """Whether a record has to be written once more.

    Not when somebody replaced it, or deleted it, at the same time: that counts as having come later. Only a
    replacement makes a record anew, so it is certain that one which is made as before was not replaced by this call,
    and nothing that somebody did because he had seen this write is undone.
    """
    shape = place.shape
    if after is None:
        return False
    made = shape.marks_of(after)[0]
    if made == shape.marks_of(wanted)[0]:
        return False
    # Somebody who made the record through another vector may not have seen this one.
    is_replaced = made is not None and made != (shape.marks_of(before)[0] if before is not None else None)
    return not (is_replaced and is_tagged(shape.tag_of(after)))


def _says(there: SpaceTag | None, wanted: SpaceTag | None) -> bool:
    """Whether a tag that is there says as much as the one that was to be put."""
    if there is None or wanted is None:
        return there is wanted
    return (there.space, there.content) == (wanted.space, wanted.content) and there.sequence >= wanted.sequence


def _busy(place: Place) -> StoreUnavailable:
    return StoreUnavailable(
        f"records of collection {place.name} are changed by others again and again", hint="try again"
    )
