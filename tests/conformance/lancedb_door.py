"""LanceDB's own client on the tables of the store."""

from __future__ import annotations

import json
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa

from undrift.domain.record import DocumentId, Record, tag_from_stored
from undrift.domain.route import VectorField


class LanceDbSideDoor:
    """Reads and writes as any program could."""

    def __init__(self, folder: Path) -> None:
        self._database = lancedb.connect(str(folder), read_consistency_interval=timedelta(0))

    def read(self, field: VectorField, id: DocumentId) -> Record | None:
        rows = self._table(field).search().where(_is(id)).limit(10).to_list()
        if not rows:
            return None
        (row,) = rows
        return Record(
            id=id,
            text=row["text"],
            metadata=json.loads(row["metadata"]),
            vector=np.array(row["vector"], np.float32),
            tag=tag_from_stored(row["space"], row["content"], row["sequence"]),
        )

    def write(self, field: VectorField, record: Record) -> None:
        self.delete(field, record.id)
        metadata = pa.array([json.dumps(dict(record.metadata))], pa.string())
        values: dict[str, Any] = {
            "id": [record.id],
            "text": [record.text],
            "metadata": pa.ExtensionArray.from_storage(pa.json_(), metadata),
            "space": [record.tag.space],
            "content": [record.tag.content],
            "sequence": [record.tag.sequence],
            "revision": pa.array([secrets.randbits(40)], pa.int64()),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(record.vector), len(record.vector)),
        }
        self._table(field).add(pa.table(values))

    def delete(self, field: VectorField, id: DocumentId) -> None:
        self._table(field).delete(_is(id))

    def _table(self, field: VectorField) -> Any:
        return self._database.open_table(field.collection)


def _is(id: DocumentId) -> str:
    escaped = id.replace("'", "''")
    return f"id = '{escaped}'"
