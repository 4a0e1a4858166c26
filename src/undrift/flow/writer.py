"""The three kinds of write, as actions that a journal carries out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from undrift.domain.record import Document, DocumentId, Metadata, Vectors, check_document, check_id, stamp
from undrift.domain.route import VectorField
from undrift.domain.space import SpaceId
from undrift.errors import BadDocument, EmbedderRejected, TextTooLong
from undrift.flow.embed import EmbeddingDoor, Failing
from undrift.ports.store import Filter, VectorStore

DoorOf = Callable[[SpaceId], EmbeddingDoor]


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
