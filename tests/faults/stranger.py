"""Somebody who writes to the file of the embedded store with the vendor's own client, and knows nothing of undrift."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import sqlite_vec


class Stranger:
    """Writes to one collection of a file past undrift."""

    def __init__(self, file: Path, collection: str) -> None:
        self._file = file
        self._collection = collection

    def insert(self, id: str, text: str, *, metadata: dict[str, Any] | None = None) -> None:
        """Add a document with a vector of ones and, as somebody who knows of no tags, without one."""
        with self._open() as (connection, rows, vectors, dimensions):
            ((number,),) = connection.execute(f"SELECT coalesce(max(number), 0) + 1 FROM {rows}")
            connection.execute(
                f"INSERT INTO {rows} (number, id, sequence, space, content, metadata, text) "
                "VALUES (?, ?, 0, '', '', ?, ?)",
                (number, id, json.dumps(metadata or {}), text),
            )
            connection.execute(
                f"INSERT INTO {vectors} (rowid, embedding) VALUES (?, ?)",
                (number, sqlite_vec.serialize_float32([1.0] * dimensions)),
            )

    def change_text(self, id: str, text: str) -> None:
        self._update(id, text=text)

    def change_metadata(self, id: str, metadata: dict[str, Any]) -> None:
        self._update(id, metadata=json.dumps(metadata))

    def strip_tag(self, id: str) -> None:
        self._update(id, space="", content="", sequence=0)

    def delete(self, id: str) -> None:
        with self._open() as (connection, rows, vectors, _):
            ((number,),) = connection.execute(f"SELECT number FROM {rows} WHERE id = ?", (id,))
            connection.execute(f"DELETE FROM {vectors} WHERE rowid = ?", (number,))
            connection.execute(f"DELETE FROM {rows} WHERE number = ?", (number,))

    def overwrite_vector(self, id: str) -> None:
        with self._open() as (connection, rows, vectors, dimensions):
            connection.execute(
                f"UPDATE {vectors} SET embedding = ? WHERE rowid = (SELECT number FROM {rows} WHERE id = ?)",
                (sqlite_vec.serialize_float32([1.0] * dimensions), id),
            )

    def _update(self, id: str, **values: Any) -> None:
        with self._open() as (connection, rows, _, _):
            changes = ", ".join(f"{column} = :{column}" for column in values)
            connection.execute(f"UPDATE {rows} SET {changes} WHERE id = :id", {**values, "id": id})
            assert connection.changes() == 1

    @contextmanager
    def _open(self) -> Iterator[tuple[apsw.Connection, str, str, int]]:
        connection = apsw.Connection(str(self._file))
        try:
            connection.set_busy_timeout(5000)
            connection.enable_load_extension(True)
            connection.load_extension(sqlite_vec.loadable_path())
            ((number, dimensions),) = connection.execute(
                "SELECT number, dimensions FROM undrift_collections WHERE name = ?", (self._collection,)
            )
            with connection:
                yield connection, f"undrift_rows_{number}", f"undrift_vectors_{number}", dimensions
        finally:
            connection.close()
