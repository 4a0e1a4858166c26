"""Plain SQL on the tables of the pgvector store, with a connection of its own."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from psycopg import sql

from tests.conformance.postgres_server import PostgresServer
from undrift.domain.record import DocumentId, Record, tag_from_stored
from undrift.domain.route import VectorField

DATABASE = "vectors"
SCHEMA = "undrift_vectors"


def store_url(server: PostgresServer, database: str = DATABASE) -> str:
    return server.url(database).replace("postgresql://", "pgvector://", 1)


class PgVectorSideDoor:
    """Reads and writes as any program could, vectors as text."""

    def __init__(self, server: PostgresServer, database: str = DATABASE) -> None:
        self._connection = server.connect(database)

    def read(self, field: VectorField, id: DocumentId) -> Record | None:
        row = self._run(
            field, "SELECT text, metadata, space, content, sequence, embedding::text FROM {} WHERE id = %s", id
        ).fetchone()
        if row is None:
            return None
        text, metadata, space, content, sequence, vector = row
        return Record(
            id=id,
            text=text,
            metadata=metadata,
            vector=np.array([float(value) for value in vector[1:-1].split(",")], np.float32),
            tag=tag_from_stored(space, content, sequence),
        )

    def write(self, field: VectorField, record: Record) -> None:
        self.delete(field, record.id)
        self._run(
            field,
            "INSERT INTO {} (id, text, metadata, space, content, sequence, embedding) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s)",
            record.id,
            record.text,
            json.dumps(dict(record.metadata)),
            record.tag.space,
            record.tag.content,
            record.tag.sequence,
            str([float(value) for value in record.vector]),
        )

    def delete(self, field: VectorField, id: DocumentId) -> None:
        self._run(field, "DELETE FROM {} WHERE id = %s", id)

    def close(self) -> None:
        self._connection.close()

    def _run(self, field: VectorField, statement: str, *values: Any) -> Any:
        table = sql.Identifier(SCHEMA, field.collection)
        return self._connection.execute(sql.SQL(statement).format(table), values)
