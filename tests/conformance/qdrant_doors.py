"""Side doors into Qdrant: the engine's own binding, and the vendor's client."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid5

import numpy as np

from undrift.domain.record import DocumentId, Record, tag_from_stored
from undrift.domain.route import VectorField

#: As the how-to page tells it to other programs.
NAMES = UUID("6f1d0f0e-6a2b-5d0b-9a55-2d6f6d3c7a10")
VECTOR = "undrift"


def point_of(id: str) -> int | str:
    try:
        if str(int(id)) == id and 0 <= int(id) < 2**64:
            return int(id)
    except ValueError:
        pass
    try:
        if str(UUID(id)) == id:
            return id
    except ValueError:
        pass
    return str(uuid5(NAMES, id))


def payload_of(record: Record) -> dict[str, Any]:
    tag = record.tag
    return {
        "undrift_id": record.id,
        "text": record.text,
        "metadata": {
            **record.metadata,
            "undrift_space": tag.space,
            "undrift_content": tag.content,
            "undrift_sequence": tag.sequence,
        },
    }


def record_of(id: DocumentId, payload: dict[str, Any], vector: Any) -> Record:
    metadata = dict(payload["metadata"])
    words = [metadata.pop(f"undrift_{name}") for name in ("space", "content", "sequence")]
    for key in [key for key in metadata if key.startswith("undrift_exact:")]:
        text = metadata.pop(key)
        if text == '{"":null}':
            metadata.setdefault(key.removeprefix("undrift_exact:"), None)
    assert payload.get("undrift_id", id) == id
    return Record(
        id=id,
        text=payload["text"],
        metadata=metadata,
        vector=np.array(vector[VECTOR], np.float32),
        tag=tag_from_stored(*words),
    )


class EdgeDoor:
    """The shard itself: a second handle of it cannot be had, not even in this process."""

    def __init__(self, shards: Any) -> None:
        self._shards = shards

    def read(self, field: VectorField, id: DocumentId) -> Record | None:
        found = self._shard(field).retrieve([point_of(id)], True, True)
        return record_of(id, found[0].payload, found[0].vector) if found else None

    def write(self, field: VectorField, record: Record) -> None:
        import qdrant_edge as edge

        point = edge.Point(point_of(record.id), {VECTOR: record.vector.tolist()}, payload_of(record))
        self._shard(field).update(edge.UpdateOperation.upsert_points([point]))

    def delete(self, field: VectorField, id: DocumentId) -> None:
        import qdrant_edge as edge

        self._shard(field).update(edge.UpdateOperation.delete_points([point_of(id)]))

    def _shard(self, field: VectorField) -> Any:
        return self._shards.opened(field.collection).shard


class ClientDoor:
    """The vendor's client."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def read(self, field: VectorField, id: DocumentId) -> Record | None:
        found = self.client.retrieve(field.collection, [point_of(id)], with_payload=True, with_vectors=True)
        return record_of(id, found[0].payload, found[0].vector) if found else None

    def write(self, field: VectorField, record: Record) -> None:
        from qdrant_client import models

        vector = {VECTOR: record.vector.tolist()}
        point = models.PointStruct(id=point_of(record.id), vector=vector, payload=payload_of(record))
        self.client.upsert(field.collection, [point])

    def delete(self, field: VectorField, id: DocumentId) -> None:
        self.client.delete(field.collection, [point_of(id)])
