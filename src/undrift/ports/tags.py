"""The part of the durable memory in which the tags are kept of records that may carry none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from undrift.domain.record import ContentHash, DocumentId, SpaceTag
from undrift.domain.route import FieldKey


class TagLedger(Protocol):
    """Tags by field and document, for collections whose address says `tags=ledger`.

    A document has as many tags as texts it may have right now: one for what was last written, and one more for each
    write that was begun and of which nobody knows the end. Whoever reads compares them with the text of the record.
    """

    def put_tags(self, field: FieldKey, tags: Mapping[DocumentId, SpaceTag]) -> set[DocumentId]:
        """Add tags before the records are written, and return the documents that have tags of other texts as well.

        Durable before it returns. A tag of the same text is replaced. An empty call does nothing.
        """
        ...

    def tags_of(self, field: FieldKey, ids: Sequence[DocumentId]) -> dict[DocumentId, list[SpaceTag]]:
        """Return the tags of documents, those put last first; a document without any is not in the answer."""
        ...

    def settle_tags(self, field: FieldKey, keep: Mapping[DocumentId, ContentHash], *, older_than_s: float) -> None:
        """Forget the tags of other texts, as far as they were put longer ago than a write can be under way."""
        ...

    def number_tags(self, field: FieldKey, ids: Sequence[DocumentId], *, sequence: int) -> None:
        """Set the sequence in all tags of documents, before something else of their records is changed."""
        ...

    def forget_tags(self, field: FieldKey, ids: Sequence[DocumentId], *, older_than_s: float) -> None:
        """Forget the tags of documents that are gone, as far as they were put longer ago than that."""
        ...

    def drop_tags(self, field: FieldKey) -> None:
        """Forget every tag of a field."""
        ...
