"""Changes of metadata and of tags: one step for a record, of which everybody sees all or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from undrift.adapters import llama_node
from undrift.adapters.stores.qdrant.conditions import among
from undrift.adapters.stores.qdrant.engine import Engine, Put
from undrift.adapters.stores.qdrant.payload import VERSION, new_mark
from undrift.adapters.stores.qdrant.places import Place, seen
from undrift.adapters.stores.qdrant.points import Point, point_id
from undrift.domain.record import DocumentId, Entry, Metadata
from undrift.errors import StoreUnavailable

#: How often a node is read anew that somebody else has changed meanwhile.
_TRIES = 50


def puts(engine: Engine, place: Place, changes: Mapping[DocumentId, Metadata], *, sequence: int) -> list[Put]:
    """Return what is to be put into the payload of each record; a filter selects none where there is none."""
    shape = place.shape
    return [
        Put(
            filter=among([point_id(id)], place.here),
            payload=shape.change(id, change, sequence, keeps_floats=engine.keeps_floats) | _noted(place),
            key=shape.root,
        )
        for id, change in changes.items()
    ]


def merge_nodes(engine: Engine, place: Place, changes: Mapping[DocumentId, Metadata], *, sequence: int) -> None:
    """Change metadata that stand in a text of JSON as well: only where the text is still the one that was read.

    Raises:
        StoreUnavailable: others change a node again and again.
    """
    shape, left = place.shape, dict(changes)
    for _ in range(_TRIES):
        points = seen(engine, place, [point_id(id) for id in left], payload=True, wire=place.here)
        found = {shape.id_of(point): point for point in points}
        steps = {}
        for id, change in left.items():
            if id not in found:
                continue
            node = shape.changed_node(found[id], change)
            stored = found[id].payload
            wanted = shape.change(id, change, sequence, keeps_floats=engine.keeps_floats) | node
            if any(stored.get(key) != value for key, value in wanted.items()):
                steps[id] = Put(filter=among([point_id(id)], shape.has_text(found[id])), payload=wanted | _noted(place))
        if not steps:
            return
        engine.change(place.name, list(steps.values()))
        # What is not as wanted now was changed by somebody else, before or after; it is looked at again.
        left = {id: left[id] for id in steps}
    raise StoreUnavailable(
        f"the metadata of document {next(iter(left))!r} are changed by others again and again", hint="try again"
    )


def tags(engine: Engine, place: Place, entries: Sequence[Entry]) -> Iterator[Put]:
    """Yield what puts each tag beside a vector, if the text is letter by letter still that of the entry."""
    shape = place.shape
    for entry, point in _texted(engine, place, entries):
        same = shape.has_text(point)
        conditions = [one for one in (same, place.here) if one is not None]
        yield Put(
            filter={"must": [{"has_id": [point.id]}, *conditions]},
            payload=shape.tagged(entry.tag) | _noted(place),
            key=shape.root,
        )


def _texted(engine: Engine, place: Place, entries: Sequence[Entry]) -> Iterator[tuple[Entry, Point]]:
    """Yield entries with points that have their texts: made up, or read where a text stands among other things."""
    shape = place.shape
    if not shape.is_node:
        for entry in entries:
            yield entry, Point(id=point_id(entry.id), payload={shape.text: entry.text} if shape.text else {})
        return
    wanted = {point_id(entry.id): entry for entry in entries}
    for point in seen(engine, place, list(wanted), payload=[llama_node.NODE], wire=None):
        if shape.text_of(point) == wanted[point.id].text:
            yield wanted[point.id], point


def _noted(place: Place) -> dict[str, str]:
    """Return the mark of a change, where a write through another vector must not overlook it."""
    return {VERSION: new_mark()} if place.others and place.shape.has_tags else {}
