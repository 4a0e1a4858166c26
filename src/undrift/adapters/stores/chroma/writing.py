"""Writes, in pieces that Chroma takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from undrift.adapters.stores.chroma import foreign, rows
from undrift.adapters.stores.chroma.flat import Flat, without_leftovers
from undrift.adapters.stores.chroma.searching import Search
from undrift.adapters.stores.chroma.session import Found
from undrift.domain.record import DocumentId, Metadata, Record, Vectors, encode_metadata
from undrift.domain.route import VectorField
from undrift.domain.shape import TagPlace
from undrift.domain.vectors import stacked
from undrift.errors import StoreRejected

#: A request is not longer than about this; a server takes 40 MiB, and needs seconds for one of a few.
_MOST_BYTES = 4 * 2**20


class Writer(Search):
    """Puts records in, and takes them out."""

    def put(self, field: VectorField, found: Found, records: Sequence[Record], *, replace: bool) -> None:
        """Write records: replace those that are there, or leave them alone.

        Raises:
            StoreRejected: a record cannot be kept; nothing is written.
        """
        if len({record.id for record in records}) != len(records):
            raise StoreRejected("one call has two records of the same id", "nothing of it was written")
        if not found.dimensions and records:
            raise StoreRejected(
                f"collection {field.collection} has no dimensions yet",
                hint="let its own program write the first record",
            )
        block = stacked(records, dimensions=found.dimensions, metric=found.metric)
        sent: Vectors = block
        flats: list[Flat]
        documents: list[str | None]
        if found.is_own:
            tagged = found.shape.tags is TagPlace.PAYLOAD
            flats, sent = rows.encoded(records, block, metric=found.metric, tagged=tagged)
            documents = [record.text for record in records]
        else:
            made = [foreign.encoded(record, found.shape) for record in records]
            flats, documents = [self._said(found, flat) for flat, _ in made], [document for _, document in made]
        for piece in self._pieces(flats, documents, found.dimensions):
            ids = [record.id for record in records[piece]]
            written: list[Flat | None] = [flat or None for flat in flats[piece]]
            if replace:
                old = {id: stored for id, stored, _, _ in self.get(field, found, ids, ("metadatas",))}
                written = [
                    without_leftovers(flat, old.get(id)) or None for id, flat in zip(ids, flats[piece], strict=True)
                ]
            columns = {
                "ids": ids,
                "embeddings": list(sent[piece]),
                "metadatas": written,
                "documents": documents[piece] if documents[piece] != [None] * len(ids) else None,
            }
            self._send(field, found, "upsert" if replace else "add", columns)

    def change(
        self, field: VectorField, found: Found, changes: Mapping[DocumentId, Metadata], *, sequence: int
    ) -> None:
        """Put keys into the metadata of the records that are there."""
        flats: dict[DocumentId, Flat] = {}
        if found.is_own:
            for id, change in changes.items():
                encode_metadata(id, change)
        else:
            flats = {id: foreign.kept(id, change, found.shape) for id, change in changes.items()}
        there = [(DocumentId(id), stored) for id, stored, _, _ in self.get(field, found, list(changes), ("metadatas",))]
        added = [
            rows.change(stored, changes[id], sequence=sequence, id=id)
            if found.is_own
            else self._said(found, foreign.changed(id, stored, flats[id], found.shape, sequence=sequence), stored)
            for id, stored in there
        ]
        for piece in self._pieces(added, [None] * len(added), 0):
            ids = [id for id, _ in there[piece]]
            self._send(field, found, "update", {"ids": ids, "metadatas": added[piece]})

    def take_out(self, field: VectorField, found: Found, ids: Sequence[DocumentId], where: Any) -> None:
        """Delete records by id, those only that meet a filter of Chroma's if there is one."""
        most = self.client().most
        wanted = list(dict.fromkeys(ids))
        for start in range(0, len(wanted), most):
            self._send(field, found, "delete", {"ids": wanted[start : start + most], "where": where})

    def _said(self, found: Found, flat: Flat, stored: Mapping[str, Any] | None = None) -> Flat:
        """Return keys, and what their fractions are where a server may misread them and there is room to say so."""
        if not self.is_server or found.shape.tags is TagPlace.LEDGER:
            return flat
        # That there is nothing to say is said only where something was.
        said = {
            key: value for key, value in foreign.exactly(flat).items() if value is not None or key in (stored or ())
        }
        return {**flat, **said}

    def _send(self, field: VectorField, found: Found, method: str, columns: dict[str, Any]) -> None:
        self.ask(field, lambda client: getattr(client, method)(found.number, **columns), writing=True)

    def _pieces(self, flats: Sequence[Flat], documents: Sequence[str | None], dimensions: int) -> Iterator[slice]:
        """Return which records go into one request each."""
        most = self.client().most
        start, size = 0, 0
        for at, (flat, document) in enumerate(zip(flats, documents, strict=True)):
            long = sum(len(str(key)) + len(str(value)) for key, value in flat.items()) + len(document or "")
            one = long + 6 * dimensions
            if at > start and (size + one > _MOST_BYTES or at - start == most):
                yield slice(start, at)
                start, size = at, 0
            size += one
        if start < len(flats):
            yield slice(start, len(flats))
