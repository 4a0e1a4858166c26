"""Promises about large and nested payloads: kept whole, or refused by a limit that the store declares."""

from __future__ import annotations

from typing import Any

import pytest

from undrift.domain.record import MAX_METADATA_DEPTH, DocumentId, Metadata, encode_metadata
from undrift.domain.route import VectorField
from undrift.errors import StoreRejected
from undrift.ports.store import VectorStore
from undrift.testing.stores.bench import SideDoor, StoreBench
from undrift.testing.stores.samples import assert_same, record, unit_vectors

#: What documents of the world have at most, nearly always.
LARGE = 1 << 20


def large_text(size: int) -> str:
    """Return a text of so many bytes in UTF-8, with characters of every length, and no two parts alike."""
    parts: list[str] = []
    length = 0
    while length < size:
        parts.append(f"word {len(parts)} \u4e2d\u00e9\U0001f600 ")
        length += len(parts[-1].encode())
    text = "".join(parts).encode()[:size].decode(errors="ignore")
    return text + "x" * (size - len(text.encode()))


def large_metadata(size: int) -> dict[str, Any]:
    """Return nested metadata whose JSON has so many bytes in UTF-8: many keys, lists of objects, long strings."""
    metadata: dict[str, Any] = {"tables": [], "filler": ""}
    row = {"cells": [1, 2.5, None, True, "\u4e2d"], "style": {"font": {"size": 9, "name": "x" * 40}}}
    step = len(encode_metadata("", {"tables": [row]})) + 1
    metadata["tables"] = [row] * max(0, (size - 200) // step)
    missing = size - len(encode_metadata("", metadata).encode())
    metadata["filler"] = "x" * missing
    return metadata


class PayloadTests(StoreBench):
    """Texts, metadata and ids at their limits."""

    def test_large_nested_metadata_are_kept_whole_or_refused(
        self, store: VectorStore, side_door: SideDoor, field: VectorField
    ) -> None:
        """Metadata of 1 MiB, or as large as the store declares, come back as they were; larger ones are refused.

        Failing? Declare `max_metadata_bytes`, and refuse what is larger with `StoreRejected` before it is sent.
        """
        limit = store.capabilities.max_metadata_bytes
        self._round_trip(store, side_door, field, metadata=large_metadata(min(LARGE, limit or LARGE)))
        if limit is not None:
            self._refused(store, field, metadata=large_metadata(limit + 1))

    def test_a_large_text_is_kept_whole_or_refused(
        self, store: VectorStore, side_door: SideDoor, field: VectorField
    ) -> None:
        """A text of 1 MiB, or as long as the store declares, comes back as it was; a longer one is refused.

        Failing? Declare `max_text_bytes`, and refuse what is longer with `StoreRejected` before it is sent.
        """
        limit = store.capabilities.max_text_bytes
        self._round_trip(store, side_door, field, text=large_text(min(LARGE, limit or LARGE)))
        if limit is not None:
            self._refused(store, field, text=large_text(limit + 1))

    def test_the_longest_id_is_kept_or_refused(
        self, store: VectorStore, side_door: SideDoor, field: VectorField
    ) -> None:
        """An id of 512 bytes, or as long as the store declares, is a key like any other; a longer one is refused.

        Failing? Declare `max_id_bytes`, and refuse what is longer with `StoreRejected`; never cut an id.
        """
        limit = store.capabilities.max_id_bytes
        longest = min(512, limit or 512)
        self._round_trip(store, side_door, field, id=large_text(longest).replace(" ", "_"))
        if limit is not None and limit < 512:
            self._refused(store, field, id=large_text(limit + 1).replace(" ", "_"))

    def test_the_deepest_metadata_come_back(self, store: VectorStore, side_door: SideDoor, field: VectorField) -> None:
        """Lists and objects in one another as deep as undrift takes them are kept.

        Failing? Keep metadata as JSON text where the engine does not nest so deep.
        """
        value: Any = "leaf"
        for level in range(MAX_METADATA_DEPTH - 1):
            value = [level, value] if level % 2 else {"level": value}
        self._round_trip(store, side_door, field, metadata={"top": value})

    @pytest.mark.parametrize("many", [0, 1])
    def test_a_collection_of_none_and_of_one_is_read_like_any_other(
        self, store: VectorStore, field: VectorField, many: int
    ) -> None:
        """Every way of reading answers for an empty collection, and for one of a single record.

        Failing? Look for a limit of 0, an empty list in a condition, or an index that is not there yet.
        """
        (one,) = [record("only", unit_vectors(1, self.dimensions)[0], metadata={"n": 1})]
        if many:
            store.upsert(field, [one])
        ids = [one.id] * many

        assert store.ids(field, limit=10) == ids
        assert [entry.id for entry in store.scan(field, limit=10, filter={"n": 1})] == ids
        assert store.count(field) == store.count(field, {"n": {"$gte": 0}}) == many
        assert [hit.id for hit in store.search(field, one.vector, k=5)] == ids
        assert [hit.id for hit in store.search(field, one.vector, k=5, filter={"n": 1})] == ids
        assert list(store.fetch(field, [one.id, DocumentId("never")])) == ids
        assert list(store.entries(field, [one.id, DocumentId("never")])) == ids
        store.delete(field, [one.id], filter={"n": 1})
        assert store.count(field) == 0

    def _round_trip(
        self,
        store: VectorStore,
        side_door: SideDoor,
        field: VectorField,
        *,
        id: str = "large",
        text: str = "a text",
        metadata: Metadata | None = None,
    ) -> None:
        written = record(id, unit_vectors(1, self.dimensions)[0], text=text, metadata=metadata or {}, sequence=3)

        store.upsert(field, [written])

        assert_same(side_door.read(field, written.id), written)
        assert_same(store.fetch(field, [written.id]).get(written.id), written)
        assert [entry.id for entry in store.scan(field, limit=2)] == [written.id]
        assert [hit.id for hit in store.search(field, written.vector, k=2)] == [written.id]

    def _refused(
        self,
        store: VectorStore,
        field: VectorField,
        *,
        id: str = "too large",
        text: str = "a text",
        metadata: Metadata | None = None,
    ) -> None:
        before = store.ids(field, limit=10)
        vector = unit_vectors(1, self.dimensions)[0]
        fits, too_large = record("fits", vector), record(id, vector, text=text, metadata=metadata or {})
        with pytest.raises(StoreRejected):
            store.upsert(field, [fits, too_large])
        assert store.ids(field, limit=10) == before
