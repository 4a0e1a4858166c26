"""SQLite files shared by several processes: connections, fair transactions, and refusals of what is not safe."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import Any

import apsw

from undrift.errors import ControlUnavailable, LedgerUnusable, StoreRejected, StoreUnavailable, UndriftError

#: From this version on, several processes may share a WAL database: older ones can corrupt it (sqlite.org/wal.html#walresetbug).
SAFE_SQLITE = (3, 51, 3)
#: Filesystems on which locks or shared memory do not work between hosts (f_type of statfs(2) is not in Python; /proc is).
NETWORK_FILESYSTEMS = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "9p",
        "afs",
        "ceph",
        "fuse.sshfs",
        "fuse.glusterfs",
        "lustre",
        "gpfs",
        "ocfs2",
        "gfs2",
    }
)
#: How often a queue place is looked at; far above a lock's cost, far below a transaction's.
_POLL_S = 0.0005


class Durability(Enum):
    """What survives a power loss; a crash of the process loses nothing in either."""

    #: The commit is on disk when it returns.
    FULL = "full"
    #: The last commits may be lost together, never torn.
    NORMAL = "normal"


class Database:
    """One SQLite file in WAL mode, with a connection per thread and a queue in front of every write transaction.

    SQLite lets waiting writers race and sleep ever longer, which starves some of them for seconds; the queue (two advisory
    locks, as at a turnstile) lets nobody overtake who already waits at the front.
    """

    def __init__(
        self,
        path: Path,
        *,
        busy_s: float = 5.0,
        prepare: Callable[[apsw.Connection], None] | None = None,
        create: bool = True,
    ) -> None:
        """Remember the file; it is opened at the first use.

        Args:
            path: the file; `:memory:` is not one, because threads could not share it.
            busy_s: longest wait for the turn to write, in seconds.
            prepare: run once on every new connection, to load extensions.
            create: whether a missing file is made.
        """
        self.path = path.absolute()
        self._busy_s = busy_s
        self._preparations = [prepare] if prepare else []
        self._create = create
        self._local = threading.local()
        self._generation = 0
        self._guard = threading.Lock()
        self._opened: list[apsw.Connection] = []
        self._pid = os.getpid()

    def also_prepare(self, prepare: Callable[[apsw.Connection], None]) -> None:
        """Run this too on every new connection, when a second adapter shares the file."""
        self._preparations.append(prepare)
        self._generation += 1

    def connection(self) -> apsw.Connection:
        """Return this thread's connection.

        Raises:
            apsw.Error: the file cannot be opened.
        """
        if self._pid != os.getpid():
            # A connection must not cross a fork (sqlite.org/howtocorrupt.html): leave the parent's alone, begin anew.
            self._pid, self._local, self._opened, self._guard = os.getpid(), threading.local(), [], threading.Lock()
        found: apsw.Connection | None = getattr(self._local, "connection", None)
        if found is not None and self._local.generation == self._generation:
            return found
        refuse_network_filesystem(self.path)
        flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if self._create else 0)
        connection = apsw.Connection(str(self.path), flags=flags)
        connection.set_busy_timeout(int(self._busy_s * 1000))
        connection.execute(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-32768; PRAGMA temp_store=MEMORY"
        )
        for prepare in self._preparations:
            prepare(connection)
        self._local.connection, self._local.generation = connection, self._generation
        self._local.depth, self._local.turnstile = 0, None
        with self._guard:
            self._opened.append(connection)
        return connection

    def read(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        return list(self.connection().execute(sql, values))

    @contextmanager
    def transaction(self, durability: Durability = Durability.FULL) -> Iterator[apsw.Connection]:
        """Run a write transaction; one inside another of the same thread joins it.

        Raises:
            apsw.BusyError: the turn to write did not come in time; nothing was begun.
        """
        connection = self.connection()
        if self._local.depth:
            self._local.depth += 1
            try:
                yield connection
            finally:
                self._local.depth -= 1
            return
        with self._turn():
            # synchronous may only be set between transactions
            connection.execute(f"PRAGMA synchronous={durability.value}")
            connection.execute("BEGIN IMMEDIATE")
            self._local.depth = 1
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with suppress(apsw.Error):
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                raise
            finally:
                self._local.depth = 0

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait at the turnstile: whoever holds `next` is the only one to wait for `now`, so nobody can overtake."""
        if self._local.turnstile is None:
            self._local.turnstile = _open_locks(self.path)
        following, current = self._local.turnstile
        deadline = time.monotonic() + self._busy_s
        _lock(following, deadline)
        try:
            _lock(current, deadline)
        finally:
            fcntl.flock(following, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(current, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close every connection of this process; a later call opens them again."""
        with self._guard:
            opened, self._opened = self._opened, []
            self._generation += 1
        for connection in opened:
            with suppress(apsw.Error):
                connection.close()


def _open_locks(path: Path) -> tuple[int, int]:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    lock_path = f"{path}-queue"
    try:
        return os.open(lock_path + "0", flags, 0o666), os.open(lock_path + "1", flags, 0o666)
    except OSError as error:
        raise apsw.CantOpenError(f"{lock_path}: {error.strerror}") from error


def _lock(descriptor: int, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EINTR):
                raise
        else:
            return
        if time.monotonic() > deadline:
            raise apsw.BusyError("another process writes for too long")
        time.sleep(_POLL_S)


def refuse_network_filesystem(path: Path) -> None:
    """Pass when the file is on a disk of this machine.

    Raises:
        LedgerUnusable: it is on a network filesystem, where SQLite's locks do not hold.
    """
    kind = filesystem_of(path)
    if kind in NETWORK_FILESYSTEMS:
        raise LedgerUnusable(
            f"{path} is on a network filesystem ({kind}); SQLite cannot share a file over it safely",
            "locks and shared memory do not work between hosts",
            "put the file on a local disk, or use a server for several hosts",
        )


def filesystem_of(path: Path) -> str:
    """Return the type of the filesystem a path is on, or an empty string where the system does not say."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    resolved = str(path.parent.resolve() if not path.exists() else path.resolve())
    best, kind = "", ""
    for line in mounts:
        fields = line.split(" ")
        point = fields[1].replace("\\040", " ")
        inside = resolved == point or resolved.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, fields[2]
    return kind


def sqlite_is_safe() -> bool:
    """Whether the SQLite in use may share a WAL database between processes."""
    return tuple(int(part) for part in apsw.sqlite_lib_version().split(".")) >= SAFE_SQLITE


class Owner(Enum):
    """Whose file it is, which decides what a failure is called."""

    #: The control plane's: a failure stops what needs control.
    LEDGER = "ledger"
    #: The vectors': a failure is the store's.
    STORE = "store"


def translate(error: apsw.Error, path: Path, owner: Owner) -> UndriftError:
    """Return the error that a failure of SQLite means to a user."""
    unavailable = ControlUnavailable if owner is Owner.LEDGER else StoreUnavailable
    name = f"{owner.value} {path}"
    match error:
        case apsw.FullError():
            kind = ControlUnavailable if owner is Owner.LEDGER else StoreRejected
            return kind(
                f"{name} cannot grow: the disk is full", "nothing of this call was written", f"df -h {path.parent}"
            )
        case apsw.CorruptError() | apsw.NotADBError():
            return LedgerUnusable(
                f"{name} is damaged or not an undrift file",
                str(error),
                f"move it away and restore a backup: mv {path} {path}.broken",
            )
        case apsw.ReadOnlyError() | apsw.PermissionsError():
            kind = ControlUnavailable if owner is Owner.LEDGER else StoreRejected
            return kind(f"{name} cannot be written: it is read-only", str(error), f"ls -ld {path.parent} {path}")
        case apsw.CantOpenError():
            return unavailable(f"{name} cannot be opened", str(error), f"ls -ld {path.parent}")
        case apsw.BusyError() | apsw.LockedError():
            return unavailable(f"{name} is busy: other processes wrote for too long", str(error), "undrift doctor")
        case _:
            return unavailable(f"{name} failed: {error}", type(error).__name__, "undrift doctor")


@contextmanager
def translating(path: Path, owner: Owner) -> Iterator[None]:
    """Raise the errors of undrift for those of SQLite."""
    try:
        yield
    except apsw.Error as error:
        raise translate(error, path, owner) from error
