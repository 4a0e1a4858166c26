"""Milvus' own client on the collections of the store."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from pymilvus import MilvusClient

from undrift.domain.record import DocumentId, Record, tag_from_stored
from undrift.domain.route import VectorField


class MilvusSideDoor:
    """Reads and writes as any program could."""

    def __init__(self, address: str) -> None:
        self._client = MilvusClient(uri=address)

    def read(self, field: VectorField, id: DocumentId) -> Record | None:
        rows = self._client.query(
            field.collection, filter=_is(id), output_fields=["*"], consistency_level="Strong", limit=10
        )
        if not rows:
            return None
        (row,) = rows
        return Record(
            id=id,
            text=row["text"],
            metadata=row["metadata"],
            vector=np.array(row["vector"], np.float32),
            tag=tag_from_stored(row["space"], row["content"], row["sequence"]),
        )

    def write(self, field: VectorField, record: Record) -> None:
        row: dict[str, Any] = {
            "id": record.id,
            "text": record.text,
            "metadata": dict(record.metadata),
            "space": record.tag.space,
            "content": record.tag.content,
            "sequence": record.tag.sequence,
            "vector": record.vector,
        }
        self._client.upsert(field.collection, [row])

    def delete(self, field: VectorField, id: DocumentId) -> None:
        self._client.delete(field.collection, filter=_is(id))

    def close(self) -> None:
        self._client.close()


def _is(id: DocumentId) -> str:
    return f"id == {json.dumps(id, ensure_ascii=False)}"
