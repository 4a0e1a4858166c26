"""A store whose records carry no tags: they are kept in the ledger, and told apart by the text that a record has now.

See docs/adr/0009-tags-in-the-ledger.md for the order of the writes and what a crash between them leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from undrift.domain.record import (
    NO_TAG,
    ContentHash,
    DocumentId,
    Entry,
    Hit,
    Metadata,
    Record,
    SpaceTag,
    Vector,
    content_hash,
    is_tagged,
)
from undrift.domain.route import FieldKey, VectorField
from undrift.domain.shape import NO_TEXT, join_address, split_address
from undrift.domain.space import Metric
from undrift.ports.store import FieldDescription, Filter, Layout, Part, StoreCapabilities, SupportsNames, VectorStore
from undrift.ports.tags import TagLedger


class LedgerTaggedStore:
    """Stands before a store, for those fields whose address says `tags=ledger`.

    A tag is put before the record is written, and stays beside the tag of the text that the record had until then; a
    reader takes the one whose hash is that of the text it has read. So whatever crashes, and whoever writes at the same
    time, a record has the tag of its own text or none. Every read of records reads their texts, also where only tags
    are asked for; a search does not ask the ledger, and its hits have no tags.

    It has no `insert_absent`: the tags of records that were not inserted would stay.
    """

    def __init__(self, inner: VectorStore, ledger: TagLedger, *, horizon_s: float, has_texts: bool = False) -> None:
        """Stand before a store.

        Args:
            inner: the store; it is given records without tags.
            ledger: where the tags are.
            horizon_s: no write that was begun longer ago can still change a record.
            has_texts: whether `inner` gives the texts of records also where the store itself has none.
        """
        self._inner = inner
        self._ledger = ledger
        self._horizon_s = horizon_s
        self._has_texts = has_texts

    @property
    def capabilities(self) -> StoreCapabilities:
        """What the store can do, but for a second vector in the same records: its tags would have to go with it."""
        inner = self._inner.capabilities
        return replace(inner, layouts=inner.layouts - {Layout.IN_PLACE})

    @property
    def database(self) -> object:
        """The store's database, if it has one: a ledger in the same one commits tags and records together."""
        return getattr(self._inner, "database", None)

    def create(self, field: VectorField, *, dimensions: int, metric: Metric) -> None:
        """Make an empty collection, without any tags of one that had its name."""
        self._inner.create(field, dimensions=dimensions, metric=metric)
        self._ledger.drop_tags(tag_field(field))

    def drop(self, field: VectorField) -> None:
        """Delete a collection with everything in it, and then its tags."""
        self._inner.drop(field)
        self._ledger.drop_tags(tag_field(field))

    def describe(self, field: VectorField) -> FieldDescription | None:
        """Return what the store knows about a field."""
        return self._inner.describe(field)

    def upsert(self, field: VectorField, records: Sequence[Record]) -> None:
        """Insert the records, replacing those with the same id whole: first their tags, then they themselves."""
        if not records:
            return
        place = tag_field(field)
        tags = {record.id: record.tag for record in records if is_tagged(record.tag)}
        replacing = self._ledger.put_tags(place, tags)
        self._inner.upsert(field, [replace(record, tag=NO_TAG) for record in records])
        # Which of several texts a record has is known now, except for writes that are still under way.
        settled = {id: tags[id].content for id in replacing}
        self._ledger.settle_tags(place, settled, older_than_s=self._horizon_s)

    def delete(self, field: VectorField, ids: Sequence[DocumentId], *, filter: Filter | None = None) -> None:
        """Delete records by id, and then the tags of those that are gone."""
        self._inner.delete(field, ids, filter=filter)
        left = self._inner.entries(field, ids, Part.NONE) if filter is not None else {}
        gone = [id for id in dict.fromkeys(ids) if id not in left]
        self._ledger.forget_tags(tag_field(field), gone, older_than_s=self._horizon_s)

    def merge_metadata(self, field: VectorField, changes: Mapping[DocumentId, Metadata], *, sequence: int) -> None:
        """Put keys into the metadata of existing records; the sequence is set in their tags."""
        self._ledger.number_tags(tag_field(field), list(changes), sequence=sequence)
        self._inner.merge_metadata(field, changes, sequence=sequence)

    def fetch(self, field: VectorField, ids: Sequence[DocumentId]) -> dict[DocumentId, Record]:
        """Return the records with their vectors and tags."""
        tags = self._tags(field, ids)
        found = self._inner.fetch(field, ids)
        return {id: replace(record, tag=tags.of(id, record.text) or NO_TAG) for id, record in found.items()}

    def entries(
        self, field: VectorField, ids: Sequence[DocumentId], parts: Part = Part.TEXT
    ) -> dict[DocumentId, Entry]:
        """Return the records without their vectors, with their tags."""
        tags = self._tags(field, ids)
        found = self._inner.entries(field, ids, parts | Part.TEXT)
        return {entry.id: entry for entry in tags.into(found.values(), parts)}

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
        """Return the next records in the order of their ids, with their tags."""
        found = self._inner.scan(field, after=after, until=until, limit=limit, parts=parts | Part.TEXT, filter=filter)
        # Tags that were put since then do no harm: a record gets only one of the text that was read.
        return self._tags(field, [entry.id for entry in found]).into(found, parts)

    def ids(self, field: VectorField, *, after: str = "", limit: int) -> list[DocumentId]:
        """Return the next ids in order."""
        return self._inner.ids(field, after=after, limit=limit)

    def count(self, field: VectorField, filter: Filter | None = None) -> int:
        """Return how many records there are, or how many match the filter."""
        return self._inner.count(field, filter)

    def search(self, field: VectorField, vector: Vector, *, k: int, filter: Filter | None = None) -> list[Hit]:
        """Return the k nearest records that match the filter, without tags."""
        return [replace(hit, tag=None) for hit in self._inner.search(field, vector, k=k, filter=filter)]

    def tag(self, field: VectorField, entries: Sequence[Entry]) -> set[DocumentId]:
        """Give tags to records that are there, each as long as it has the text that the entry says.

        Nothing is written to the store, so that a text which changes meanwhile is no matter: its tag fits no more.
        """
        tags = {entry.id: entry.tag for entry in entries if is_tagged(entry.tag)}
        self._ledger.put_tags(tag_field(field), tags)
        return set(tags)

    def point(self, name: str, field: VectorField) -> None:
        """Let a name stand for a field, where the store has names."""
        if isinstance(self._inner, SupportsNames):
            self._inner.point(name, field)

    def close(self) -> None:
        """Let go of the store's connections."""
        self._inner.close()

    def _tags(self, field: VectorField, ids: Sequence[DocumentId]) -> _Tags:
        has_text = self._has_texts or split_address(field.collection)[1].text != NO_TEXT
        return _Tags(self._ledger.tags_of(tag_field(field), ids) if ids else {}, has_text=has_text)


class _Tags:
    """The tags of some documents, and which of them is that of a text."""

    def __init__(self, known: Mapping[DocumentId, Sequence[SpaceTag]], *, has_text: bool) -> None:
        self._known = known
        self._has_text = has_text

    def of(self, id: DocumentId, text: str | None) -> SpaceTag | None:
        """Return the tag of a record that has a text, or None; where texts are elsewhere, the one put last."""
        candidates = self._known.get(id, ())
        if not candidates or not self._has_text:
            return candidates[0] if candidates else None
        content: ContentHash = content_hash(text or "")
        return next((tag for tag in candidates if tag.content == content), None)

    def into(self, entries: Iterable[Entry], parts: Part) -> list[Entry]:
        """Return entries with their tags, and with their texts only if these were asked for."""
        wanted = Part.TEXT in parts
        return [
            replace(entry, tag=self.of(entry.id, entry.text), text=entry.text if wanted else None) for entry in entries
        ]


def tag_field(field: VectorField) -> FieldKey:
    """Return the name under which the tags of a field are kept: the same however its address is written."""
    return FieldKey(f"{field.store}/{join_address(*split_address(field.collection))}")
