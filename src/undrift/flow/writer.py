"""The kinds of write, as actions that a journal carries out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from undrift.domain.record import (
    Document,
    DocumentId,
    Metadata,
    Record,
    Vectors,
    check_document,
    check_id,
    content_hash,
    stamp,
)
from undrift.domain.route import VectorField
from undrift.domain.space import SpaceId
from undrift.errors import BadDocument, EmbedderRejected, TextTooLong
from undrift.flow.embed import EmbeddingDoor
from undrift.flow.texts import Failing
from undrift.ports.store import Filter, VectorStore

DoorOf = Callable[[SpaceId], EmbeddingDoor]
#: One call of a store that changes a field, given the sequence of its tags.
Call = Callable[[VectorStore, VectorField, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upsert:
    """Insert documents, replacing those with the same id."""

    documents: Sequence[Document]
    door_of: DoorOf

    @property
    def keys(self) -> Sequence[DocumentId]:
        """The documents' ids."""
        return [DocumentId(document.id) for document in self.documents]

    def prepare(self, space: SpaceId) -> Vectors:
        """Embed every text in the serving space; one that cannot be embedded refuses the whole write."""
        door = self.door_of(space)
        embedded = door.documents([document.text for document in self.documents])
        for index, failure in sorted(embedded.failures.items()):
            kind = TextTooLong if failure.reason is Failing.TOO_LONG else EmbedderRejected
            raise kind(
                f"document {self.documents[index].id!r} cannot be embedded in {space}: "
                f"{failure.reason.value.replace('_', ' ')}",
                failure.detail,
                "shorten or split the text; nothing of this call was written",
            )
        return embedded.vectors

    def send(self, store: VectorStore, field: VectorField, prepared: Vectors, sequence: int, /) -> None:
        """Write the records."""
        space = self.door_of(field.space).space
        store.upsert(field, stamp(self.documents, prepared, space=space, sequences=dict.fromkeys(self.keys, sequence)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Remove documents by id; those only that still match the filter, if there is one."""

    keys: Sequence[DocumentId]
    filter: Filter | None = None

    def prepare(self, space: SpaceId) -> None:
        """Nothing has to be known."""

    def send(self, store: VectorStore, field: VectorField, _prepared: None, _sequence: int, /) -> None:
        """Remove the records."""
        store.delete(field, self.keys, filter=self.filter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replace:
    """Put documents in the place of others, in several calls of the store that one bracket holds together.

    What is new is written first and what is old deleted last, so that whatever is interrupted leaves a union of both.

    Attributes:
        documents: what shall be there.
        gone: ids of what shall not be there any more.
        filter: what is deleted still matches it.
        door_of: the model behind a space.
        known: reads the records that the serving field of a space has of some documents; vectors of texts that have not
            changed are taken from there.
        batch: documents written in one call.
    """

    documents: Sequence[Document]
    gone: Sequence[DocumentId]
    filter: Filter
    door_of: DoorOf
    known: Callable[[SpaceId, Sequence[DocumentId]], Mapping[DocumentId, Record]]
    batch: int

    @property
    def keys(self) -> Sequence[DocumentId]:
        """The ids of what comes and of what goes."""
        return [*(DocumentId(document.id) for document in self.documents), *self.gone]

    def prepare(self, space: SpaceId) -> list[Vectors]:
        """Embed those texts whose vectors are not there already; one float32 block of shape (n, d) for each call."""
        return [self._vectors(space, batch) for batch in self._batches()]

    def send(self, store: VectorStore, field: VectorField, prepared: list[Vectors], sequence: int, /) -> None:
        """Make all the calls, one after the other."""
        for call in self.calls(prepared):
            call(store, field, sequence)

    def calls(self, prepared: list[Vectors]) -> Iterator[Call]:
        """Yield what changes the field, one call of the store each."""
        for batch, vectors in zip(self._batches(), prepared, strict=True):
            yield partial(self._upsert, batch, vectors)
        if self.gone:
            yield self._delete

    def _batches(self) -> list[Upsert]:
        return [
            Upsert(documents=self.documents[start : start + self.batch], door_of=self.door_of)
            for start in range(0, len(self.documents), self.batch)
        ]

    def _vectors(self, space: SpaceId, batch: Upsert) -> Vectors:
        known = self.known(space, batch.keys)
        found = {document.id: known.get(DocumentId(document.id)) for document in batch.documents}
        changed = [document for document in batch.documents if not _has_vector(found[document.id], document, space)]
        vectors = np.empty((len(batch.documents), self.door_of(space).space.dimensions), dtype=np.float32)
        fresh = iter(Upsert(documents=changed, door_of=self.door_of).prepare(space)) if changed else iter(())
        for row, document in enumerate(batch.documents):
            record = found[document.id]
            is_known = record is not None and _has_vector(record, document, space)
            vectors[row] = record.vector if record is not None and is_known else next(fresh)
        return vectors

    @staticmethod
    def _upsert(batch: Upsert, vectors: Vectors, store: VectorStore, field: VectorField, sequence: int) -> None:
        batch.send(store, field, vectors, sequence)

    def _delete(self, store: VectorStore, field: VectorField, _sequence: int) -> None:
        store.delete(field, self.gone, filter=self.filter)


def _has_vector(record: Record | None, document: Document, space: SpaceId) -> bool:
    """Whether a record's vector is that of a document's text in a space."""
    if record is None or record.tag.space != space or not np.isfinite(record.vector).all():
        return False
    return record.tag.content == content_hash(document.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeMetadata:
    """Put keys into the metadata of documents; no embedding is paid for."""

    keys: Sequence[DocumentId]
    changes: Metadata

    def prepare(self, space: SpaceId) -> None:
        """Nothing has to be known."""

    def send(self, store: VectorStore, field: VectorField, _prepared: None, sequence: int, /) -> None:
        """Change the payloads."""
        store.merge_metadata(field, dict.fromkeys(self.keys, self.changes), sequence=sequence)


def checked(documents: Sequence[Document]) -> Sequence[Document]:
    """Return the documents when all of them can be written in one call.

    Raises:
        BadDocument: one cannot be stored or embedded, or an id comes twice.
    """
    seen: set[str] = set()
    for document in documents:
        check_document(document)
        if document.id in seen:
            raise BadDocument(
                f"document {document.id!r} comes twice in one call",
                "which of its texts should win is not said",
                "keep the one you mean, or write them in two calls",
            )
        seen.add(document.id)
    return documents


def checked_ids(ids: Sequence[str]) -> list[DocumentId]:
    """Return the ids, each once, in order.

    Raises:
        BadDocument: one of them cannot be an id, or `ids` is a single string.
    """
    if isinstance(ids, str):
        raise BadDocument(f"ids are a list of str, not the single str {ids!r}", hint=f"[{ids!r}]")
    return list(dict.fromkeys(check_id(id) for id in ids))
