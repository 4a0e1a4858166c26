"""What one thread has open of a SQLite file, and the transactions it runs there."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path

import apsw

from undrift.adapters.sqlite.filesystem import identity_of
from undrift.adapters.sqlite.turnstile import Turnstile

#: Before this version, several processes can corrupt a WAL database that they share (sqlite.org/wal.html#walresetbug).
SAFE_SQLITE = (3, 51, 3)
#: After a large transaction the write-ahead log is cut back to this many bytes.
_LOG_BYTES = 64 * 1024 * 1024
#: Less room than this, and the disk is why a write failed.
_ROOM_BYTES = 1024 * 1024


class Durability(Enum):
    """What survives a power loss; a crash of the process loses nothing in either."""

    #: The commit is on disk when it returns.
    FULL = "full"
    #: The last commits may be lost together, never torn.
    NORMAL = "normal"


class Session:
    """A connection of one thread.

    Attributes:
        identity: the file that was opened, whatever its path leads to now.
        generation: which preparations it went through.
        busy: held while it is used, so that nobody closes it.
        depth: how many transactions run inside one another; 0 outside.
        closed: whether it was closed.
    """

    def __init__(self, connection: apsw.Connection, path: Path, generation: int) -> None:
        """Take over a connection that nobody else uses."""
        self.connection = connection
        self.generation = generation
        self.identity: object = None
        self.thread = threading.current_thread()
        self.turnstile = Turnstile(path)
        self.busy = threading.RLock()
        self.depth = 0
        self.closed = False
        self._path = path
        self._doomed = False
        self._durability: Durability | None = None

    def prepare(self, preparations: Sequence[Callable[[apsw.Connection], None]], *, busy_s: float) -> None:
        """Set the connection up.

        Raises:
            apsw.Error: the file cannot be used.
        """
        self.connection.set_busy_timeout(int(busy_s * 1000))
        self.connection.execute(
            "PRAGMA journal_mode=WAL; PRAGMA cache_size=-32768; PRAGMA temp_store=MEMORY; "
            f"PRAGMA journal_size_limit={_LOG_BYTES}"
        )
        for preparation in preparations:
            preparation(self.connection)
        self.identity = identity_of(self._path)

    def close(self) -> bool:
        """Close the connection unless it is in use; return whether it is closed."""
        if not self.busy.acquire(blocking=False):
            return False
        try:
            if self.depth:
                return False
            self.closed = True
            with suppress(apsw.Error):
                self.connection.close()
            self.turnstile.close()
            return True
        finally:
            self.busy.release()

    @contextmanager
    def outermost(self, durability: Durability) -> Iterator[apsw.Connection]:
        """Run a transaction of its own."""
        connection, process = self.connection, os.getpid()
        if self._durability is not durability:
            # synchronous may only be set between transactions
            connection.execute(f"PRAGMA synchronous={durability.value}")
            self._durability = durability
        connection.execute("BEGIN IMMEDIATE")
        self.depth, self._doomed = 1, False
        try:
            yield connection
            if process == os.getpid():
                self._refuse_doomed()
                connection.execute("COMMIT")
        except BaseException as error:
            if process != os.getpid():
                raise
            cause = self._hidden_cause(error)
            with suppress(apsw.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            if cause is not None:
                raise cause from error
            raise
        finally:
            self.depth = 0
        if process != os.getpid():
            raise apsw.ForkingViolationError("this transaction is the parent's; a child cannot commit it")

    @contextmanager
    def joined(self) -> Iterator[apsw.Connection]:
        """Run as a part of the transaction that is there."""
        connection = self.connection
        self._refuse_doomed()
        connection.execute("SAVEPOINT joined")
        self.depth += 1
        try:
            yield connection
            self._refuse_doomed()
            connection.execute("RELEASE joined")
        except BaseException as error:
            cause = self._hidden_cause(error)
            if not self._doomed and connection.in_transaction:
                connection.execute("ROLLBACK TO joined; RELEASE joined")
            elif not self._doomed:
                # SQLite has rolled back all of it; what the outer one still does must be rolled back too.
                self._doomed = True
                connection.execute("BEGIN IMMEDIATE")
            if cause is not None:
                raise cause from error
            raise
        finally:
            self.depth -= 1

    def _refuse_doomed(self) -> None:
        if self._doomed:
            raise apsw.AbortError("a part of this transaction failed and took all of it along")

    def _hidden_cause(self, error: BaseException) -> apsw.FullError | None:
        """Find out whether the disk is full when an extension's table reports that as an error of its own.

        SQLite rolls back by itself when there is no room, and for no mistake in a statement.
        """
        if not isinstance(error, apsw.SQLError) or self.connection.in_transaction:
            return None
        disk = os.statvfs(self._path.parent)
        if disk.f_bavail * disk.f_frsize < _ROOM_BYTES:
            return apsw.FullError("no space left on the disk")
        try:
            self.connection.execute(f"BEGIN IMMEDIATE; CREATE TABLE undrift_room AS SELECT zeroblob({_ROOM_BYTES})")
        except apsw.FullError as full:
            return full
        except apsw.Error:
            return None
        finally:
            with suppress(apsw.Error):
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
        return None


def sqlite_is_safe() -> bool:
    """Whether the SQLite in use may share a WAL database between processes."""
    return tuple(int(part) for part in apsw.sqlite_lib_version().split(".")) >= SAFE_SQLITE
