"""Vectors that were paid for, in a SQLite file of their own, so that a crash or a second worker pays for none twice."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import apsw
import numpy as np

from undrift.adapters.sqlite import Database, Durability, refuse_network_filesystem
from undrift.domain.record import ContentHash, Vector, Vectors
from undrift.domain.space import SpaceId

#: Enough for a million vectors of 256 dimensions, a sixth of a million of 1,536.
DEFAULT_MAX_BYTES = 1 << 30
#: How full the file is after old vectors have left; making room a little at a time would cost as much at every write.
_FILL_AFTER_ROOM = 0.9
_SCHEMA = """
CREATE TABLE IF NOT EXISTS vector (
    age INTEGER PRIMARY KEY,
    space TEXT NOT NULL,
    hash TEXT NOT NULL,
    checksum INTEGER NOT NULL,
    vector BLOB NOT NULL,
    UNIQUE (space, hash)
);
"""

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class SqliteVectorCache:
    """A bounded map from (space, text hash) to a vector, shared by the processes of one machine.

    Losing it costs money, never data. So nothing that happens to its file stops the work: a damaged file is put aside
    and begun anew, and when it cannot be read or written (full disk, busy, no rights), the vectors are simply not
    there, which is logged once.
    """

    def __init__(self, path: Path | str, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        """Remember the file; it is opened at the first use.

        Args:
            path: the file; made when it is missing, and so is its folder.
            max_bytes: what its content may take; the vectors that were not asked for longest leave first.

        Raises:
            LedgerUnusable: it is on a network filesystem, where processes cannot share it safely.
        """
        self._path = Path(path).absolute()
        refuse_network_filesystem(self._path)
        self._max_bytes = max_bytes
        self._complained = False
        self._database = Database(self._path, prepare=_make_table)

    def get(self, space: SpaceId, hashes: Iterable[ContentHash]) -> dict[ContentHash, Vector]:
        """Return those vectors that are there; float32, shape (d,)."""
        wanted = json.dumps(list(hashes))

        def select(database: Database) -> list[tuple[Any, ...]]:
            return database.read(
                "SELECT hash, checksum, vector, age FROM vector "
                "WHERE space = ? AND hash IN (SELECT value FROM json_each(?))",
                (space, wanted),
            )

        rows = self._patiently(select, otherwise=list[tuple[Any, ...]]())
        self._keep_longer(space, [(hash, age) for hash, _, _, age in rows])
        return {
            # A copy of the caller's own: SQLite's bytes can be neither written to nor relied on to be aligned.
            ContentHash(hash): np.frombuffer(blob, dtype="<f4").astype(np.float32)
            for hash, checksum, blob, _ in rows
            if _checksum(space, hash, blob) == checksum
        }

    def put(self, space: SpaceId, hashes: Sequence[ContentHash], vectors: Vectors) -> None:
        """Keep vectors, shape (n, d); a hash that is there already stays as it is."""
        blobs = (vector.astype("<f4").tobytes() for vector in vectors)
        rows = [(space, hash, _checksum(space, hash, blob), blob) for hash, blob in zip(hashes, blobs, strict=True)]

        def insert(database: Database) -> None:
            with database.transaction(Durability.NORMAL) as connection:
                connection.executemany(
                    "INSERT OR IGNORE INTO vector (space, hash, checksum, vector) VALUES (?, ?, ?, ?)", rows
                )
                self._make_room(connection)

        if rows:
            self._patiently(insert, otherwise=None)

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        self._database.close()

    def _keep_longer(self, space: SpaceId, found: Sequence[tuple[str, int]]) -> None:
        """Let vectors that are asked for leave later; only those that would leave soon, because it is a write."""

        def renew(database: Database) -> None:
            ((oldest, newest),) = database.read("SELECT min(age), max(age) FROM vector")
            ageing = [hash for hash, age in found if age < (oldest + newest) // 2]
            if not ageing or _used(database.read) < self._max_bytes // 2:
                return
            with database.transaction(Durability.NORMAL) as connection:
                connection.execute(
                    "INSERT OR REPLACE INTO vector (space, hash, checksum, vector) "
                    "SELECT space, hash, checksum, vector FROM vector "
                    "WHERE space = ? AND hash IN (SELECT value FROM json_each(?)) ORDER BY age",
                    (space, json.dumps(ageing)),
                )

        if found:
            self._patiently(renew, otherwise=None)

    def _make_room(self, connection: apsw.Connection) -> None:
        """Let the vectors that were not asked for longest leave while the content takes more than it may."""
        target = self._max_bytes
        while True:
            used = _used(connection.execute)
            ((count,),) = connection.execute("SELECT count(*) FROM vector") if used > target else [(0,)]
            if not count:
                return
            target = int(self._max_bytes * _FILL_AFTER_ROOM)
            leaving = max(1, int(count * (1 - target / used)))
            connection.execute(
                "DELETE FROM vector WHERE age IN (SELECT age FROM vector ORDER BY age LIMIT ?)", (leaving,)
            )

    def _patiently(self, work: Callable[[Database], _T], *, otherwise: _T) -> _T:
        """Do something with the file; begin it anew when it is damaged, do without it when it cannot be had."""
        try:
            try:
                return work(self._database)
            except (apsw.CantOpenError, apsw.ReadOnlyError):
                # Its folder is missing, or the file was put aside or deleted (SQLITE_READONLY_DBMOVED).
                self._path.parent.mkdir(parents=True, exist_ok=True)
            except (apsw.CorruptError, apsw.NotADBError) as error:
                self._put_aside(error)
            self._database.close()
            return work(self._database)
        except (apsw.Error, OSError) as error:
            self._complain(
                f"the vector cache {self._path} cannot be used ({_described(error)}); vectors are made again"
            )
            return otherwise

    def _put_aside(self, error: apsw.Error) -> None:
        """Rename a damaged file, unless another thread or process did so already."""
        with _alone_in(self._path.parent):
            if not _is_damaged(self._path):
                return
            aside = Path(f"{self._path}.broken")
            # What belongs to the old file must not be taken for the new one's.
            for suffix in ("", "-wal", "-shm"):
                with suppress(FileNotFoundError):
                    Path(f"{self._path}{suffix}").replace(f"{aside}{suffix}")
        self._complain(
            f"the vector cache {self._path} was damaged ({_described(error)}); it is now {aside}, and begun anew"
        )

    def _complain(self, message: str) -> None:
        if not self._complained:
            self._complained = True
            _log.warning(message)


def _used(read: Callable[[str], Iterable[tuple[Any, ...]]]) -> int:
    """Return how many bytes the content takes."""
    ((pages, free, page_size),) = read(
        "SELECT page_count, freelist_count, page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
    )
    return int((pages - free) * page_size)


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def _make_table(connection: apsw.Connection) -> None:
    connection.execute(_SCHEMA)


def _checksum(space: str, hash: str, blob: bytes) -> int:
    """Tie a vector to its key, so that no damage to the file can hand out one for the other."""
    return zlib.crc32(blob, zlib.crc32(f"{space} {hash}".encode()))


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep other threads and processes from putting the same file aside at the same time."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _is_damaged(path: Path) -> bool:
    """Whether what is at this path now is no sound database; another process may have begun it anew."""
    if not path.exists():
        return False
    connection = None
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        return [row[0] for row in connection.execute("PRAGMA quick_check(1)")] != ["ok"]
    except (apsw.CorruptError, apsw.NotADBError):
        return True
    except apsw.Error:
        return False
    finally:
        if connection is not None:
            connection.close()
