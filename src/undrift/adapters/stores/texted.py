"""A store whose records have their texts elsewhere: they are read from there as if they stood in the records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from undrift.domain.record import DocumentId, Entry, Hit, Record, Vector
from undrift.domain.route import VectorField
from undrift.ports.source import DocumentSource
from undrift.ports.store import (
    Filter,
    Layout,
    Part,
    StoreCapabilities,
    SupportsInsertAbsent,
    SupportsTagging,
    VectorStore,
)


class TextedStore:
    """Stands before a store, for the one collection of an alias whose configuration says where its texts are.

    Whatever reads a record gets the text of the source, so that hashes, comparisons and migrations work as everywhere.
    A record that the source has no text for has none: a migration sets it aside as `source_missing`. Whoever changes
    a text changes it in the source, and then writes the document.
    """

    def __init__(self, inner: VectorStore, source: DocumentSource) -> None:
        """Stand before a store."""
        self._inner = inner
        self._source = source

    def __getattr__(self, name: str) -> Any:
        """Hand on whatever has nothing to do with texts; of abilities that a store may have, those that it has."""
        if name in ("attach", "detach"):
            raise AttributeError(name)
        found = getattr(self._inner, name)
        return {"tag": self._tag, "insert_absent": self._insert_absent}.get(name, found)

    @property
    def capabilities(self) -> StoreCapabilities:
        """What the store can do, except to keep two vectors in one record."""
        can = self._inner.capabilities
        return replace(can, layouts=can.layouts - {Layout.IN_PLACE})

    def upsert(self, field: VectorField, records: Sequence[Record]) -> None:
        """Insert the records, with their texts where they are read from, if that is in the record."""
        self._inner.upsert(field, self._with_texts(records))

    def fetch(self, field: VectorField, ids: Sequence[DocumentId]) -> dict[DocumentId, Record]:
        """Return the records with their vectors, and with the texts of the source."""
        found = self._inner.fetch(field, ids)
        entries = [Entry(id=one.id, text=one.text, metadata=one.metadata, tag=one.tag) for one in found.values()]
        texts = self._source.texts(entries)
        return {id: replace(record, text=texts.get(id, "")) for id, record in found.items()}

    def entries(
        self, field: VectorField, ids: Sequence[DocumentId], parts: Part = Part.TEXT
    ) -> dict[DocumentId, Entry]:
        """Return the records without their vectors, with the texts of the source if they are asked for."""
        return {one.id: one for one in self._texted(self._inner.entries(field, ids, parts).values(), parts)}

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
        """Return the next records in the order of their ids, with the texts of the source if they are asked for."""
        found = self._inner.scan(field, after=after, until=until, limit=limit, parts=parts, filter=filter)
        return self._texted(found, parts)

    def search(self, field: VectorField, vector: Vector, *, k: int, filter: Filter | None = None) -> list[Hit]:
        """Return the k nearest records that match the filter, with the texts of the source."""
        hits = self._inner.search(field, vector, k=k, filter=filter)
        texts = self._source.texts(
            [Entry(id=DocumentId(one.id), text=one.text, metadata=one.metadata, tag=one.tag) for one in hits]
        )
        return [replace(hit, text=texts.get(DocumentId(hit.id), "")) for hit in hits]

    def _texted(self, entries: Iterable[Entry], parts: Part) -> list[Entry]:
        known = list(entries)
        if Part.TEXT not in parts:
            return known
        texts: Mapping[DocumentId, str] = self._source.texts(known)
        return [replace(entry, text=texts.get(entry.id)) for entry in known]

    def _insert_absent(self, field: VectorField, records: Sequence[Record]) -> None:
        cast(SupportsInsertAbsent, self._inner).insert_absent(field, self._with_texts(records))

    def _with_texts(self, records: Sequence[Record]) -> list[Record]:
        with_text = getattr(self._source, "with_text", None)
        return list(records) if with_text is None else [with_text(record) for record in records]

    def _tag(self, field: VectorField, entries: Sequence[Entry]) -> set[DocumentId]:
        """Tag records whose source still has the text; what the store calls their text is its own affair."""
        there = self._inner.entries(field, [entry.id for entry in entries], Part.TEXT)
        texts = self._source.texts(list(there.values()))
        same = [
            replace(entry, text=there[entry.id].text)
            for entry in entries
            if entry.id in there and texts.get(entry.id) == entry.text
        ]
        return cast(SupportsTagging, self._inner).tag(field, same)
