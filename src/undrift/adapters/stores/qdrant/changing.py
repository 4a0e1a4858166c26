"""Changes of metadata: one request for a record, of which everybody sees all or nothing."""

from __future__ import annotations

from collections.abc import Mapping

from undrift.adapters.stores.qdrant.conditions import among, quoted
from undrift.adapters.stores.qdrant.engine import Engine, Put
from undrift.adapters.stores.qdrant.nodes import node_key
from undrift.adapters.stores.qdrant.places import Place
from undrift.adapters.stores.qdrant.points import point_id
from undrift.domain.record import DocumentId, Metadata
from undrift.errors import StoreUnavailable

#: How often a node is read anew that somebody else has changed meanwhile.
_TRIES = 50


def puts(engine: Engine, place: Place, changes: Mapping[DocumentId, Metadata], *, sequence: int) -> list[Put]:
    """Return what is to be put into the payload of each record; a filter selects none where there is none."""
    shape = place.shape
    return [
        Put(
            filter=among([point_id(id)]),
            payload=shape.change(id, change, sequence, keeps_floats=engine.keeps_floats),
            key=quoted(shape.metadata) if shape.metadata else "",
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
        points = engine.retrieve(place.name, [point_id(id) for id in left], payload=True, vector=None)
        found = {shape.id_of(point): point for point in points}
        made = {}
        for id, change in left.items():
            if id not in found:
                continue
            node = shape.changed_node(found[id], change)
            stored = found[id].payload
            wanted = shape.change(id, change, sequence, keeps_floats=engine.keeps_floats) | node
            if any(stored.get(key) != value for key, value in wanted.items()):
                made[id] = (wanted, stored.get(node_key()))
        if not made:
            return
        engine.put(
            place.name,
            [
                Put(filter=among([point_id(id)], _unchanged(text)), payload=payload)
                for id, (payload, text) in made.items()
            ],
        )
        # What is not as wanted now was changed by somebody else, before or after; it is looked at again.
        left = {id: left[id] for id in made}
    raise StoreUnavailable(
        f"the metadata of document {next(iter(left))!r} are changed by others again and again", hint="try again"
    )


def _unchanged(text: object) -> dict[str, object]:
    if isinstance(text, str):
        return {"key": node_key(), "match": {"value": text}}
    return {"is_empty": {"key": node_key()}}
