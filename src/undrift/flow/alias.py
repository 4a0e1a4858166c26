"""What an application holds: one name for a collection, whatever model is behind it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from undrift.domain.filter import matches, parse
from undrift.domain.record import (
    Document,
    DocumentId,
    Hits,
    Metadata,
    Receipt,
    Record,
    Vector,
    check_id,
    encode_metadata,
)
from undrift.domain.route import AliasName, Route, VectorField
from undrift.domain.space import SpaceId
from undrift.errors import BadArgument, BadDocument, CollectionMissing
from undrift.flow.journal import Journal, Prepared, WriteAction
from undrift.flow.reader import Reader, require_space
from undrift.flow.router import Router
from undrift.flow.traffic import Traffic
from undrift.flow.writer import Delete, DoorOf, MergeMetadata, Replace, Upsert, checked, checked_ids
from undrift.ports.store import Filter, VectorStore

#: Documents written to the store in one call.
WRITE_BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignWrite:
    """Where a program that keeps its own client has to write, and the number it puts into its tags."""

    field: VectorField
    sequence: int


class Alias:
    """The documents behind one name; safe from several threads.

    Every call goes to the field that serves at that moment. While a migration runs, writes are journaled so that both
    fields end up with them; no call of the application changes for that.
    """

    def __init__(
        self,
        name: AliasName,
        *,
        router: Router,
        journal: Journal,
        store_of: Callable[[VectorField], VectorStore],
        door_of: DoorOf,
        mirror: Callable[[Sequence[DocumentId]], None] | None = None,
        traffic: Traffic | None = None,
    ) -> None:
        """Put the parts together; applications call `undrift.open(...).alias(name)` instead.

        Args:
            name: the alias.
            router: this process's routes.
            journal: carries writes out.
            store_of: the store behind a field.
            door_of: the model behind a space.
            mirror: waits until the other field has documents, for `mirror = "inline"`.
            traffic: times the searches.
        """
        self.name = name
        self._router = router
        self._journal = journal
        self._store_of = store_of
        self._door_of = door_of
        self._mirror = mirror
        self._reader = Reader(name, router=router, store_of=store_of, door_of=door_of, traffic=traffic)

    def upsert(self, documents: Sequence[Document]) -> Receipt:
        """Insert documents, replacing those with the same id whole.

        More than 64 documents are written in several calls of the store; when one fails, those before it are written.

        Raises:
            BadDocument: one cannot be written, or an id comes twice; nothing was written.
        """
        checked(documents)
        receipt = self._receipt()
        for start in range(0, len(documents), WRITE_BATCH):
            batch = documents[start : start + WRITE_BATCH]
            receipt = self._write(Upsert(documents=batch, door_of=self._door_of))
        return Receipt(
            ids=tuple(DocumentId(document.id) for document in documents), epoch=receipt.epoch, space=receipt.space
        )

    def delete(self, ids: Sequence[str] | None = None, *, filter: Filter | None = None) -> Receipt:
        """Remove documents by id, or those that match a filter now; unknown ids are no error."""
        if (ids is None) == (filter is None):
            raise BadArgument(
                "delete takes ids or a filter, one of them", hint='delete(["7"]) or delete(filter={"lang": "en"})'
            )
        keys = self._matches(filter) if filter is not None else checked_ids(ids or [])
        if not keys:
            return self._receipt()
        receipt = self._receipt()
        for start in range(0, len(keys), WRITE_BATCH):
            receipt = self._write(Delete(keys=keys[start : start + WRITE_BATCH], filter=filter))
        return Receipt(ids=tuple(keys), epoch=receipt.epoch, space=receipt.space)

    def replace(self, documents: Sequence[Document], *, filter: Filter) -> Receipt:
        """Make documents the only ones that match a filter: the chunks of a file, the documents of a tenant.

        What matches the filter and is not among them is deleted. All of it is journaled as one write, so a migration
        keeps it right; searches may see old and new documents together meanwhile. What is interrupted leaves a union
        of both, never less, and so may two such calls at the same time: call again. A document that is there with the
        same text keeps its vector and costs no embedding.

        Args:
            documents: what shall be there; each must match the filter. With none, what matches is deleted.
            filter: names what is replaced, such as `{"source": "handbook.pdf"}`.

        Raises:
            BadDocument: one cannot be written, an id comes twice, or one does not match; nothing was written.
            BadArgument: the filter matches everything.
        """
        checked(documents)
        condition = parse(filter)
        if not filter:
            raise BadArgument(
                f"a replacement in {self.name} needs a filter that says what is replaced",
                "the empty one matches every document of the collection",
                'replace(chunks, filter={"source": "handbook.pdf"})',
            )
        for document in documents:
            if not matches(condition, document.metadata):
                raise BadDocument(
                    f"document {document.id!r} does not match the filter of what it replaces",
                    "the next replacement would not find it, and leave it there",
                    f"put into its metadata what {json.dumps(filter)} asks for",
                )
        new = {document.id for document in documents}
        gone = [key for key in self._matches(filter) if key not in new]
        if not documents and not gone:
            return self._receipt()
        return self._write(
            Replace(
                documents=documents,
                gone=gone,
                filter=filter,
                door_of=self._door_of,
                known=self._known,
                batch=WRITE_BATCH,
            )
        )

    def update_metadata(self, id: str, changes: Metadata) -> Receipt:
        """Put keys into a document's metadata, leaving its other keys, its text and its vector; costs no embedding.

        A document that is not there is not made.
        """
        encode_metadata(id, changes)
        keys = [check_id(id)]
        # Asked first: after a flip, the truth of a dirty document may still be in the other field only.
        if not self._journal.any_dirty(keys) and not self.get(keys):
            # Not journaled: a mark without a write would carry an absence to the other field.
            return self._receipt()
        return self._write(MergeMetadata(keys=keys, changes=dict(changes)))

    def search(self, text: str, k: int = 10, filter: Filter | None = None) -> Hits:
        """Return the k documents nearest to a text, of those that match the filter."""
        return self._reader.search(text, k=k, filter=filter)

    def search_vector(self, vector: Vector, *, space: SpaceId, k: int = 10, filter: Filter | None = None) -> Hits:
        """Return the k documents nearest to a vector, float32 of shape (d,), of the space that the caller names."""
        return self._reader.search_vector(vector, space=space, k=k, filter=filter)

    def get(self, ids: Sequence[str]) -> list[Document]:
        """Return the documents that exist, in the order asked for."""
        return self._reader.get(checked_ids(ids))

    def count(self, filter: Filter | None = None) -> int:
        """Return how many documents there are, or match the filter."""
        return self._reader.count(filter)

    def scan(self, filter: Filter | None = None) -> Iterator[Document]:
        """Yield every document, or those that match the filter, in the order of their ids."""
        return self._reader.scan(filter)

    def route(self) -> Route:
        """Return what the alias means now, for programs that keep their own client of the store."""
        return self._router.current(self.name)

    def guard(self, space: SpaceId) -> None:
        """Pass when vectors of this space may be written to, or searched in, what the alias serves.

        Raises:
            SpaceMismatch: they may not.
        """
        require_space(self.route(), space)

    @contextmanager
    def journal(self, ids: Sequence[str]) -> Iterator[ForeignWrite]:
        """Bracket a write that the caller makes with a client of its own, so that it reaches both fields.

        The block must write to `field`, only the given ids, and end before the deadline. A block that raises is taken
        for one whose outcome is not known.
        """
        with self._journal.bracket(checked_ids(ids)) as (field, sequence):
            yield ForeignWrite(field=field, sequence=sequence)

    def _write(self, action: WriteAction[Prepared]) -> Receipt:
        receipt = self._journal.write(action)
        if self._mirror is not None:
            self._mirror(receipt.ids)
        return receipt

    def _known(self, space: SpaceId, keys: Sequence[DocumentId]) -> Mapping[DocumentId, Record]:
        """Return what the serving field has of documents, if it is of a space; a vector fits its text whenever."""
        field = self._router.current(self.name).serving
        if field.space != space:
            return {}
        try:
            return self._store_of(field).fetch(field, keys)
        except CollectionMissing:
            # This process slept through a completion; it only pays for vectors that are somewhere else.
            return {}

    def _matches(self, filter: Filter) -> list[DocumentId]:
        """Return the ids of all documents that match now, also of those that others wrote a moment ago."""
        while True:
            route = self._journal.await_truth()
            keys = self._reader.ids(filter)
            # Read partly from one field and partly from another, they may lack some.
            if self._router.current(self.name).epoch == route.epoch:
                return keys

    def _receipt(self) -> Receipt:
        route = self._router.current(self.name)
        return Receipt(ids=(), epoch=route.epoch, space=route.serving.space)
