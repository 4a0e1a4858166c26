"""The simplest store that keeps the whole contract; what every other one is measured against."""

from __future__ import annotations

import bisect
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from undrift.adapters.asked import condition_of, require_dimensions, require_positive
from undrift.domain.cost import Footprint
from undrift.domain.filter import Condition, matches
from undrift.domain.record import (
    DocumentId,
    Entry,
    Hit,
    Metadata,
    Record,
    SpaceTag,
    Vector,
    encode_metadata,
    tag_from_stored,
)
from undrift.domain.route import VectorField
from undrift.domain.shape import is_beside, without_tags
from undrift.domain.space import Metric
from undrift.domain.vectors import checked_query, scores, stacked
from undrift.errors import CollectionMissing, FieldInUse, StoreRejected
from undrift.ports.store import FieldDescription, Filter, Layout, Part, StoreCapabilities

_CAPABILITIES = StoreCapabilities(
    name="memory",
    metrics=frozenset(Metric),
    max_dimensions=65_536,
    layouts=frozenset(Layout),
    settles_within_s=0.0,
    requests_die_with_process=True,
    footprint=Footprint(basis="four bytes a dimension, in the memory of this process"),
)
#: Rows compared at a time: bounds the memory of a search.
_BLOCK = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRecord:
    """A record as it is kept: nothing of it is shared with a caller, and none of it changes."""

    text: str
    metadata: str
    vector: Vector
    tag: SpaceTag


@dataclass(slots=True, kw_only=True)
class StoredCollection:
    """A collection as it is kept.

    Attributes:
        dimensions: length of its vectors.
        metric: how they are compared.
        rows: the records by id.
        order: their ids, ascending.
    """

    dimensions: int
    metric: Metric
    rows: dict[DocumentId, StoredRecord] = field(default_factory=dict)
    order: list[DocumentId] = field(default_factory=list)

    def put(self, id: DocumentId, row: StoredRecord) -> None:
        """Insert or replace a record."""
        if id not in self.rows:
            bisect.insort(self.order, id)
        self.rows[id] = row

    def remove(self, id: DocumentId) -> None:
        """Delete a record that is there."""
        del self.rows[id]
        del self.order[bisect.bisect_left(self.order, id)]


class MemoryStore:
    """A store in the memory of one process: exact, safe between threads, gone with the process.

    It is for tests and trials, and it does not hide mistakes: what goes in and what comes out is copied.
    """

    def __init__(self, name: str = "") -> None:
        """Begin without any collection.

        Args:
            name: what the configuration calls it behind `memory:`; two of one name share nothing.
        """
        self.name = name
        self.collections: dict[str, StoredCollection] = {}
        self._lock = threading.RLock()

    @property
    def capabilities(self) -> StoreCapabilities:
        """What this adapter can do."""
        return _CAPABILITIES

    def create(self, field: VectorField, *, dimensions: int, metric: Metric) -> None:
        """Make an empty collection, or room for one more vector in the records of one."""
        require_dimensions(field.collection, dimensions, most=_CAPABILITIES.max_dimensions, who="store memory")
        with self._lock:
            name = without_tags(field.collection)
            if name in self.collections:
                raise FieldInUse(f"collection {name} is in store memory already")
            self.collections[name] = StoredCollection(dimensions=dimensions, metric=metric)

    def drop(self, field: VectorField) -> None:
        """Delete a collection with everything in it, or its vectors where the records have others."""
        with self._lock:
            self.collections.pop(without_tags(field.collection), None)

    def describe(self, field: VectorField) -> FieldDescription | None:
        """Return what the store knows about a field."""
        with self._lock:
            found = self.collections.get(without_tags(field.collection))
            if found is None:
                return None
            return FieldDescription(dimensions=found.dimensions, metric=found.metric, count=len(found.rows))

    def upsert(self, field: VectorField, records: Sequence[Record]) -> None:
        """Insert the records, replacing those with the same id whole."""
        with self._lock:
            collection = self._collection(field)
            for id, row in _stored(records, collection).items():
                collection.put(id, row)
                for other in self._beside(field):
                    if id in other.rows:
                        other.rows[id] = replace(other.rows[id], text=row.text, metadata=row.metadata)

    def insert_absent(self, field: VectorField, records: Sequence[Record]) -> None:
        """Insert those records whose ids are not there yet."""
        with self._lock:
            collection = self._collection(field)
            for id, row in _stored(records, collection).items():
                if id not in collection.rows and not any(id in other.rows for other in self._beside(field)):
                    collection.put(id, row)

    def attach(self, field: VectorField, records: Sequence[Record]) -> None:
        """Put each vector beside the record that still has the text it was made of."""
        with self._lock:
            collection = self._collection(field)
            fields = [collection, *self._beside(field)]
            for id, row in _stored(records, collection).items():
                there = next((one.rows[id] for one in fields if id in one.rows), None)
                if there is not None and there.text == row.text:
                    collection.put(id, replace(row, metadata=there.metadata))

    def detach(self, field: VectorField, ids: Sequence[DocumentId]) -> None:
        """Take the vectors of these records out of the field."""
        with self._lock:
            collection = self._collection(field)
            for id in set(ids) & collection.rows.keys():
                collection.remove(id)

    def tag(self, field: VectorField, entries: Sequence[Entry]) -> set[DocumentId]:
        """Give records the tags of the entries, as long as they have their texts."""
        tagged = set()
        with self._lock:
            rows = self._collection(field).rows
            for entry in entries:
                row = rows.get(entry.id)
                if row is not None and entry.tag is not None and row.text == entry.text:
                    rows[entry.id] = replace(row, tag=entry.tag)
                    tagged.add(entry.id)
        return tagged

    def delete(self, field: VectorField, ids: Sequence[DocumentId], *, filter: Filter | None = None) -> None:
        """Delete records by id, those only that match the filter if there is one."""
        condition = condition_of(filter)
        with self._lock:
            for collection in (self._collection(field), *self._beside(field)):
                for id in set(ids):
                    row = collection.rows.get(id)
                    if row is not None and _matches(row, condition):
                        collection.remove(id)

    def merge_metadata(self, field: VectorField, changes: Mapping[DocumentId, Metadata], *, sequence: int) -> None:
        """Put the given keys into the metadata of existing records, and set the tag's sequence."""
        encoded = {id: encode_metadata(id, change) for id, change in changes.items()}
        with self._lock:
            collection = self._collection(field)
            for id, change in encoded.items():
                row = collection.rows.get(id)
                if row is None:
                    continue
                merged = encode_metadata(id, {**json.loads(row.metadata), **json.loads(change)})
                tag = tag_from_stored(row.tag.space, row.tag.content, sequence)
                collection.rows[id] = replace(row, metadata=merged, tag=tag)
                for other in self._beside(field):
                    if id in other.rows:
                        other.rows[id] = replace(other.rows[id], metadata=merged)

    def fetch(self, field: VectorField, ids: Sequence[DocumentId]) -> dict[DocumentId, Record]:
        """Return the records with their vectors."""
        with self._lock:
            rows = self._collection(field).rows
            return {id: _record(id, rows[id]) for id in ids if id in rows}

    def entries(
        self, field: VectorField, ids: Sequence[DocumentId], parts: Part = Part.TEXT
    ) -> dict[DocumentId, Entry]:
        """Return the records without their vectors."""
        with self._lock:
            rows = self._collection(field).rows
            return {id: _entry(id, rows[id], parts) for id in ids if id in rows}

    def scan(
        self,
        field: VectorField,
        *,
        after: str = "",
        until: str | None = None,
        limit: int,
        parts: Part = Part.NONE,
        filter: Filter | None = None,
    ) -> list[Entry]:
        """Return the next records in the order of their ids: at most `limit` with after < id <= until."""
        require_positive("limit", limit)
        condition = condition_of(filter)
        with self._lock:
            collection = self._collection(field)
            found: list[Entry] = []
            for id in _after(collection.order, after):
                if len(found) == limit or (until is not None and id > until):
                    break
                if _matches(collection.rows[id], condition):
                    found.append(_entry(id, collection.rows[id], parts))
            return found

    def ids(self, field: VectorField, *, after: str = "", limit: int) -> list[DocumentId]:
        """Return the next ids in order, at most `limit`."""
        require_positive("limit", limit)
        with self._lock:
            order = self._collection(field).order
            start = bisect.bisect_right(order, after)
            return order[start : start + limit]

    def count(self, field: VectorField, filter: Filter | None = None) -> int:
        """Return how many records there are, or how many match the filter."""
        condition = condition_of(filter)
        with self._lock:
            rows = self._collection(field).rows
            return len(rows) if condition is None else sum(_matches(row, condition) for row in rows.values())

    def search(self, field: VectorField, vector: Vector, *, k: int, filter: Filter | None = None) -> list[Hit]:
        """Return the k nearest records that match the filter, best first."""
        require_positive("k", k)
        condition = condition_of(filter)
        with self._lock:
            collection = self._collection(field)
            query = checked_query(vector, dimensions=collection.dimensions, metric=collection.metric)
            found = [(id, row) for id, row in collection.rows.items() if _matches(row, condition)]
            scored = [
                score
                for start in range(0, len(found), _BLOCK)
                for score in scores([row.vector for _, row in found[start : start + _BLOCK]], query, collection.metric)
            ]
            ranked = sorted(zip(scored, found, strict=True), key=lambda one: (-one[0], one[1][0]))
            return [
                Hit(id=id, score=score, text=row.text, metadata=json.loads(row.metadata), tag=row.tag)
                for score, (id, row) in ranked[:k]
            ]

    def close(self) -> None:
        """Let go of nothing: the records live as long as the store."""

    def _beside(self, field: VectorField) -> list[StoredCollection]:
        """Return the other fields in the same records: each has the text and metadata of its own again."""
        return [found for name, found in self.collections.items() if is_beside(name, without_tags(field.collection))]

    def _collection(self, field: VectorField) -> StoredCollection:
        found = self.collections.get(without_tags(field.collection))
        if found is None:
            raise CollectionMissing(f"store memory has no collection {field.collection}")
        return found


def _stored(records: Sequence[Record], collection: StoredCollection) -> dict[DocumentId, StoredRecord]:
    """Return what is to be kept of some records, before anything is changed."""
    vectors = stacked(records, dimensions=collection.dimensions, metric=collection.metric)
    vectors.flags.writeable = False
    stored = {
        record.id: StoredRecord(
            text=record.text, metadata=encode_metadata(record.id, record.metadata), vector=vector, tag=record.tag
        )
        for record, vector in zip(records, vectors, strict=True)
    }
    if len(stored) != len(records):
        raise StoreRejected("one call has two records of the same id", "nothing of it was written")
    return stored


def _record(id: DocumentId, row: StoredRecord) -> Record:
    return Record(id=id, text=row.text, metadata=json.loads(row.metadata), vector=row.vector.copy(), tag=row.tag)


def _entry(id: DocumentId, row: StoredRecord, parts: Part) -> Entry:
    text = row.text if Part.TEXT in parts else None
    return Entry(id=id, text=text, metadata=json.loads(row.metadata), tag=row.tag)


def _after(order: list[DocumentId], after: str) -> Iterable[DocumentId]:
    return (order[at] for at in range(bisect.bisect_right(order, after), len(order)))


def _matches(row: StoredRecord, condition: Condition | None) -> bool:
    return condition is None or matches(condition, json.loads(row.metadata))
