"""The embedded store keeps every promise of a store, on a real file with two clients."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import apsw
import numpy as np
import pytest
import sqlite_vec

from tests.conformance.killed_writers import live_and_be_killed
from undrift.adapters.sqlite import Database
from undrift.adapters.stores.sqlite_vec import SqliteVecStore
from undrift.domain.record import DocumentId, Record, tag_from_stored
from undrift.domain.route import VectorField
from undrift.ports.store import VectorStore
from undrift.testing.stores import StoreConformance


class SqliteSideDoor:
    """Plain SQL on the same file."""

    def __init__(self, path: Path) -> None:
        self._connection = apsw.Connection(str(path))
        self._connection.set_busy_timeout(5000)
        self._connection.enable_load_extension(True)
        self._connection.load_extension(sqlite_vec.loadable_path())

    def read(self, field: VectorField, id: DocumentId) -> Record | None:
        number = self._number(field)
        row = self._connection.execute(
            "SELECT r.text, r.metadata, r.space, r.content, r.sequence, v.embedding "
            f"FROM undrift_rows_{number} r JOIN undrift_vectors_{number} v ON v.rowid = r.number WHERE r.id = ?",
            (id,),
        ).fetchone()
        if row is None:
            return None
        text, metadata, space, content, sequence, vector = row
        return Record(
            id=id,
            text=text,
            metadata=json.loads(metadata),
            vector=np.frombuffer(vector, np.float32),
            tag=tag_from_stored(space, content, sequence),
        )

    def write(self, field: VectorField, record: Record) -> None:
        number = self._number(field)
        with self._connection:
            self.delete(field, record.id)
            self._connection.execute(
                f"INSERT INTO undrift_rows_{number} (id, sequence, space, content, metadata, text) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (
                    record.id,
                    record.tag.sequence,
                    record.tag.space,
                    record.tag.content,
                    json.dumps(dict(record.metadata)),
                    record.text,
                ),
            )
            self._connection.execute(
                f"INSERT INTO undrift_vectors_{number} (rowid, embedding) VALUES (last_insert_rowid(), ?)",
                (record.vector.tobytes(),),
            )

    def delete(self, field: VectorField, id: DocumentId) -> None:
        number = self._number(field)
        with self._connection:
            self._connection.execute(
                f"DELETE FROM undrift_vectors_{number} "
                f"WHERE rowid = (SELECT number FROM undrift_rows_{number} WHERE id = ?)",
                (id,),
            )
            self._connection.execute(f"DELETE FROM undrift_rows_{number} WHERE id = ?", (id,))

    def close(self) -> None:
        self._connection.close()

    def _number(self, field: VectorField) -> int:
        sql = "SELECT number FROM undrift_collections WHERE name = ?"
        ((number,),) = self._connection.execute(sql, (field.collection,)).fetchall()
        assert isinstance(number, int)
        return number


class TestSqliteVecStore(StoreConformance):
    def engine(self, store: VectorStore) -> str:
        connection = apsw.Connection(":memory:")
        connection.enable_load_extension(True)
        connection.load_extension(sqlite_vec.loadable_path())
        ((found,),) = connection.execute("SELECT vec_version()")
        return f"SQLite {apsw.sqlite_lib_version()}, sqlite-vec {str(found).removeprefix('v')}"

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "vectors.db"

    @pytest.fixture
    def store(self, path: Path) -> Iterator[SqliteVecStore]:
        store = SqliteVecStore(Database(path))
        yield store
        store.close()

    @pytest.fixture
    def other(self, path: Path) -> Iterator[SqliteVecStore]:
        store = SqliteVecStore(Database(path))
        yield store
        store.close()

    @pytest.fixture
    def side_door(self, path: Path, store: SqliteVecStore) -> Iterator[SqliteSideDoor]:
        door = SqliteSideDoor(path)
        yield door
        door.close()


def test_no_acknowledged_write_is_lost_whoever_is_killed(tmp_path: Path) -> None:
    live_and_be_killed(tmp_path, "sqlite-vec:all.db", ledger="sqlite:///all.db")
