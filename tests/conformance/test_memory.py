"""The store in memory keeps every promise of a store."""

from __future__ import annotations

import json

import pytest

from undrift.adapters.stores.memory import MemoryStore, StoredRecord
from undrift.domain.record import DocumentId, Record
from undrift.domain.route import VectorField
from undrift.testing.stores import StoreConformance


class MemorySideDoor:
    """Its dictionary."""

    def __init__(self, store: MemoryStore) -> None:
        self._collections = store.collections

    def read(self, field: VectorField, id: DocumentId) -> Record | None:
        row = self._collections[field.collection].rows.get(id)
        if row is None:
            return None
        return Record(id=id, text=row.text, metadata=json.loads(row.metadata), vector=row.vector, tag=row.tag)

    def write(self, field: VectorField, record: Record) -> None:
        row = StoredRecord(
            text=record.text, metadata=json.dumps(dict(record.metadata)), vector=record.vector.copy(), tag=record.tag
        )
        self._collections[field.collection].put(record.id, row)

    def delete(self, field: VectorField, id: DocumentId) -> None:
        self._collections[field.collection].remove(id)


class TestMemoryStore(StoreConformance):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()

    @pytest.fixture
    def side_door(self, store: MemoryStore) -> MemorySideDoor:
        return MemorySideDoor(store)
