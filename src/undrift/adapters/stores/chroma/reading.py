"""Records as they are read: by the shape of their collection, and never half of one write and half of another."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from undrift.adapters.stores.chroma import foreign, rows
from undrift.adapters.stores.chroma.session import Found, Session
from undrift.domain.record import DocumentId, Entry, Record, Vector, tag_from_stored
from undrift.domain.route import VectorField
from undrift.domain.shape import NO_TEXT, TagPlace

#: How many records are asked for at once.
AT_ONCE = 1000
#: How often a record is read again whose vector and metadata are of different writes, and how long to wait before that.
_TRIES, _PAUSE_S = 40, 0.005


class Reader(Session):
    """Asks for records by id, in pieces that Chroma answers."""

    def get(
        self, field: VectorField, found: Found, ids: Sequence[str], include: Sequence[str], *, where: Any = None
    ) -> Iterator[tuple[str, Mapping[str, Any], str | None, Any]]:
        """Return id, metadata, document and vector of the records that are there; what is not included is None."""
        wanted = list(dict.fromkeys(ids))
        for start in range(0, len(wanted), AT_ONCE):
            yield from answered(
                self._piece(field, found, wanted[start : start + AT_ONCE], include=include, where=where)
            )

    def whole(self, field: VectorField, found: Found, ids: Sequence[str]) -> dict[DocumentId, Record]:
        """Return records with their vectors."""
        include = ("metadatas", "documents", "embeddings")
        made: dict[DocumentId, Record] = {}
        torn = list(ids)
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_PAUSE_S * min(attempt, 10))
            read = list(self.get(field, found, torn, include))
            moved = () if found.is_own else self._moved(field, found, read)
            torn = []
            for id, stored, document, embedding in read:
                row = row_of(found, stored)
                vector = row.vector_from(embedding)
                if vector is None or id in moved:
                    torn.append(id)
                else:
                    made[DocumentId(id)] = _record(id, row, text_of(found, stored, document), vector)
            if not torn:
                return made
        for id, stored, document, embedding in self.get(field, found, torn, include):
            # It stays so: another program has put another vector into it.
            vector = np.asarray(embedding, dtype=np.float32)
            row = row_of(found, stored)
            made[DocumentId(id)] = _record(id, row, text_of(found, stored, document), vector)
        return made

    def _piece(self, field: VectorField, found: Found, ids: list[str], *, include: Sequence[str], where: Any) -> Any:
        return self.ask(field, lambda client: client.get(found.number, ids=ids, where=where, include=include))

    def _moved(self, field: VectorField, found: Found, read: Sequence[Any]) -> set[str]:
        """Return the ids of records that were written while they were read."""
        before = {id: (stored, document) for id, stored, document, _ in read}
        after = self.get(field, found, list(before), ("metadatas", "documents"))
        same = {id for id, stored, document, _ in after if before[id] == (stored, document)}
        return before.keys() - same


def answered(answer: Any) -> Iterator[tuple[str, Mapping[str, Any], str | None, Any]]:
    """Return the records of an answer of Chroma's, one by one."""
    ids = answer["ids"]
    nothing = [None] * len(ids)

    def column(name: str) -> Any:
        values = answer.get(name)
        return nothing if values is None else values

    for id, stored, document, embedding in zip(
        ids, column("metadatas"), column("documents"), column("embeddings"), strict=True
    ):
        yield id, stored or {}, document, embedding


def row_of(found: Found, stored: Mapping[str, Any]) -> rows.Row:
    """Return what the metadata of a record say."""
    if not found.is_own:
        return rows.Row(metadata=foreign.metadata_from(stored, found.shape), tag=foreign.tag_of(stored, found.shape))
    row = rows.decoded(stored)
    return replace(row, tag=None) if found.shape.tags is TagPlace.LEDGER else row


def text_of(found: Found, stored: Mapping[str, Any], document: str | None) -> str:
    """Return the text of a record."""
    return (document or "") if found.is_own else foreign.text_from(stored, document, found.shape)


def entry(found: Found, id: str, stored: Mapping[str, Any], document: str | None, *, with_text: bool) -> Entry:
    """Return a record without its vector."""
    row = row_of(found, stored)
    text = text_of(found, stored, document) if with_text and found.shape.text != NO_TEXT else None
    return Entry(id=DocumentId(id), text=text, metadata=row.metadata, tag=row.tag)


def _record(id: str, row: rows.Row, text: str, vector: Vector) -> Record:
    tag = row.tag or tag_from_stored("", "", 0)
    return Record(id=DocumentId(id), text=text, metadata=row.metadata, vector=vector, tag=tag)
