"""Changes of a collection within a transaction: in place, and only of what has changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import apsw

from undrift.adapters.stores.sqlite_vec.collections import StoredCollection, delete_vectors, insert_vectors
from undrift.adapters.stores.sqlite_vec.conditions import Sql
from undrift.adapters.stores.sqlite_vec.rows import encoded
from undrift.domain.record import DocumentId, Entry, Metadata, Record, encode_metadata
from undrift.domain.vectors import stacked


class Batch:
    """The records of one write; encoded before the turn to write is waited for."""

    def __init__(self, records: Sequence[Record]) -> None:
        """Encode all but the vectors, which need to know the collection.

        Raises:
            StoreRejected: two records have the same id.
            BadDocument: the metadata of one is not JSON.
        """
        self._records = records
        self._rows = encoded(records)

    def insert_absent(self, connection: apsw.Connection, collection: StoredCollection) -> None:
        """Write the records whose ids are not there.

        Raises:
            StoreRejected: a vector cannot be kept.
        """
        blobs = self._blobs(collection)
        known = _known(connection, collection, self._rows)
        self._insert(connection, collection, blobs, known)

    def upsert(self, connection: apsw.Connection, collection: StoredCollection) -> None:
        """Write all records.

        Raises:
            StoreRejected: a vector cannot be kept.
        """
        blobs = self._blobs(collection)
        known = _known(connection, collection, self._rows)
        self._insert(connection, collection, blobs, known)
        self._replace(connection, collection, blobs, known)

    def _blobs(self, collection: StoredCollection) -> dict[DocumentId, bytes]:
        block = stacked(self._records, dimensions=collection.dimensions, metric=collection.metric)
        return {record.id: vector.tobytes() for record, vector in zip(self._records, block, strict=True)}

    def _insert(
        self,
        connection: apsw.Connection,
        collection: StoredCollection,
        blobs: Mapping[DocumentId, bytes],
        known: Mapping[DocumentId, tuple[int, str, str]],
    ) -> None:
        fresh = [id for id in self._rows if id not in known]
        if not fresh:
            return
        highest: list[tuple[Any, ...]] = connection.execute(f"SELECT max(number) FROM {collection.rows}").fetchall()
        numbered = list(enumerate(fresh, (highest[0][0] or 0) + 1))
        connection.executemany(
            f"INSERT INTO {collection.rows} (number, id, sequence, space, content, metadata, text) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            ((number, id, *self._rows[id]) for number, id in numbered),
        )
        insert_vectors(connection, collection, ((number, blobs[id]) for number, id in numbered))

    def _replace(
        self,
        connection: apsw.Connection,
        collection: StoredCollection,
        blobs: Mapping[DocumentId, bytes],
        known: Mapping[DocumentId, tuple[int, str, str]],
    ) -> None:
        if not known:
            return
        # Where the tag says that the text is the same, the vector probably is too, and reading costs less than writing.
        likely = {number: id for id, (number, *tag) in known.items() if tag == [*self._rows[id][1:3]]}
        same = {
            likely[number]
            for number, stored in connection.executemany(
                f"SELECT rowid, embedding FROM {collection.vectors} WHERE rowid = ?", ((number,) for number in likely)
            )
            if stored == blobs[likely[number]]
        }
        connection.executemany(
            f"UPDATE {collection.rows} SET sequence = ?, space = ?, content = ?, metadata = ?, text = ? "
            "WHERE number = ?",
            ((*self._rows[id], number) for id, (number, *_) in known.items()),
        )
        connection.executemany(
            f"UPDATE {collection.vectors} SET embedding = ? WHERE rowid = ?",
            ((blobs[id], number) for id, (number, *_) in known.items() if id not in same),
        )


def tag(connection: apsw.Connection, collection: StoredCollection, entries: Iterable[Entry]) -> set[DocumentId]:
    """Set the tags of the records that have the texts of the entries; return their ids."""
    found = connection.executemany(
        f"UPDATE {collection.rows} SET sequence = ?, space = ?, content = ? WHERE id = ? AND text = ? RETURNING id",
        (
            (entry.tag.sequence, entry.tag.space, entry.tag.content, entry.id, entry.text)
            for entry in entries
            if entry.tag is not None
        ),
    )
    return {DocumentId(id) for (id,) in found}


def delete(
    connection: apsw.Connection, collection: StoredCollection, ids: Iterable[DocumentId], condition: Sql | None
) -> None:
    """Delete the records of these ids that meet the condition."""
    sql, bound = condition or ("1", [])
    numbers = [
        number
        for (number,) in connection.executemany(
            f"SELECT r.number FROM {collection.rows} r WHERE r.id = ? AND {sql}", ((id, *bound) for id in ids)
        )
    ]
    delete_vectors(connection, collection, numbers)
    connection.executemany(f"DELETE FROM {collection.rows} WHERE number = ?", ((number,) for number in numbers))


def merge_metadata(
    connection: apsw.Connection, collection: StoredCollection, changes: Mapping[DocumentId, Metadata], *, sequence: int
) -> None:
    """Put keys into the metadata of the records that are there; their vectors are not touched."""
    found = list(
        connection.executemany(
            f"SELECT number, id, metadata FROM {collection.rows} WHERE id = ?", ((id,) for id in changes)
        )
    )
    connection.executemany(
        f"UPDATE {collection.rows} SET metadata = ?, sequence = ? WHERE number = ?",
        (
            (encode_metadata(id, {**json.loads(stored), **changes[id]}), sequence, number)
            for number, id, stored in found
        ),
    )


def _known(
    connection: apsw.Connection, collection: StoredCollection, ids: Iterable[DocumentId]
) -> dict[DocumentId, tuple[int, str, str]]:
    """Return number, space and content of the records that are there."""
    found = connection.executemany(
        f"SELECT id, number, space, content FROM {collection.rows} WHERE id = ?", ((id,) for id in ids)
    )
    return {id: (number, space, content) for id, number, space, content in found}
