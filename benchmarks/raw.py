"""The baseline: apsw and sqlite-vec as a program would use them that keeps its documents in the very same tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
import sqlite_vec

from benchmarks.vectors import DIMENSIONS
from undrift import Document
from undrift.domain.record import Vector, Vectors

#: What stands in the columns of undrift's tags, so that the same bytes are written.
_TAG = (0, "callable/old-0000000000000000", "0" * 32)


class RawClient:
    """One connection in WAL mode and fully durable, with the page cache that undrift gives itself."""

    def __init__(self, path: Path, collection: str = "kb") -> None:
        """Open a file and look a collection up once."""
        self._connection = apsw.Connection(str(path))
        self._connection.set_busy_timeout(5000)
        self._connection.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-32768")
        self._connection.enable_load_extension(True)
        self._connection.load_extension(sqlite_vec.loadable_path())
        ((number,),) = self._connection.execute("SELECT number FROM undrift_collections WHERE name = ?", (collection,))
        self._rows = f"undrift_rows_{number}"
        self._vectors = f"undrift_vectors_{number}"

    def lay_out_by_default(self) -> None:
        """Put new vectors into a table as `vec0` makes it when it is not told how: in chunks of 1,024 vectors."""
        self._connection.execute(
            f"CREATE VIRTUAL TABLE by_default USING vec0(embedding float[{DIMENSIONS}] distance_metric=cosine)"
        )
        with self._connection as connection:
            held = connection.execute(f"SELECT rowid, embedding FROM {self._vectors}").fetchall()
            connection.executemany("INSERT INTO by_default (rowid, embedding) VALUES (?, ?)", held)
        self._vectors = "by_default"

    def search(self, vector: Vector, k: int = 10) -> list[dict[str, Any]]:
        """Return the k nearest documents."""
        found = self._connection.execute(
            f"SELECT r.id, r.text, r.metadata, v.distance FROM {self._vectors} v "
            f"JOIN {self._rows} r ON r.number = v.rowid WHERE v.embedding MATCH ? AND v.k = ? ORDER BY v.distance",
            (vector.tobytes(), k),
        )
        return [
            {"id": id, "text": text, "metadata": json.loads(metadata), "score": 1 - distance}
            for id, text, metadata, distance in found
        ]

    def upsert(self, documents: Sequence[Document], vectors: Vectors) -> None:
        """Write a batch, whatever is there, in one transaction; `vec0` has no upsert of its own."""
        with self._connection as connection:
            known = dict(
                connection.executemany(
                    f"SELECT id, number FROM {self._rows} WHERE id = ?", ((document.id,) for document in documents)
                )
            )
            numbered = connection.executemany(
                f"INSERT INTO {self._rows} (sequence, space, content, id, metadata, text) VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET sequence = excluded.sequence, space = excluded.space, "
                "content = excluded.content, metadata = excluded.metadata, text = excluded.text RETURNING number",
                (_row(document) for document in documents),
            )
            pairs = [(number, vector.tobytes()) for (number,), vector in zip(list(numbered), vectors, strict=True)]
            old = set(known.values())
            connection.executemany(
                f"INSERT INTO {self._vectors} (rowid, embedding) VALUES (?, ?)",
                (pair for pair in pairs if pair[0] not in old),
            )
            connection.executemany(
                f"UPDATE {self._vectors} SET embedding = ? WHERE rowid = ?",
                ((vector, number) for number, vector in pairs if number in old),
            )

    def load(self, documents: Sequence[Document], vectors: Vectors, first: int) -> None:
        """Write a batch of new documents under consecutive numbers, as fast as the store takes them."""
        with self._connection as connection:
            connection.executemany(
                f"INSERT INTO {self._rows} (number, sequence, space, content, id, metadata, text) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                ((number, *_row(document)) for number, document in enumerate(documents, first)),
            )
            connection.executemany(
                f"INSERT INTO {self._vectors} (rowid, embedding) VALUES (?, ?)",
                ((number, vector.tobytes()) for number, vector in enumerate(vectors, first)),
            )

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _row(document: Document) -> tuple[Any, ...]:
    return (*_TAG, document.id, json.dumps(dict(document.metadata)), document.text)
