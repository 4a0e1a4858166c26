"""One SQLite file: who has it open, and when it is read and written."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import apsw

from undrift.adapters.sqlite.filesystem import identity_of, refuse_network_filesystem
from undrift.adapters.sqlite.session import Durability, Session
from undrift.adapters.sqlite.turnstile import POLL_S


class Database:
    """One SQLite file in WAL mode, with a connection per thread and a queue in front of every write transaction."""

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
            prepare: run once on every new connection, to load extensions; again when another process was in the way.
            create: whether a missing file is made.
        """
        self.path = path.absolute()
        self._busy_s = busy_s
        self._preparations = [prepare] if prepare else []
        self._create = create
        self._generation = 0
        self._local = threading.local()
        self._guard = threading.Lock()
        self._opened: list[Session] = []
        self._parents: list[Session] = []
        os.register_at_fork(after_in_child=_if_alive(weakref.WeakMethod(self._forget_parent)))

    def also_prepare(self, prepare: Callable[[apsw.Connection], None]) -> None:
        """Run this too on every new connection, when a second adapter shares the file."""
        self._preparations.append(prepare)
        self._generation += 1

    def connection(self) -> apsw.Connection:
        """Return this thread's connection.

        Raises:
            apsw.Error: the file cannot be opened, or is not the one any more that was opened.
        """
        return self._present().connection

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Lend this thread's session, which nobody closes meanwhile; a statement sees a moment of its own there.

        Raises:
            apsw.Error: as for `connection`.
        """
        while True:
            session = self._present()
            with session.busy:
                if session.closed:
                    continue
                yield session
                return

    def read(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        with self.session() as session:
            return list(session.connection.execute(sql, values))

    @contextmanager
    def snapshot(self) -> Iterator[apsw.Connection]:
        """Let several reads see the same moment; within a transaction of the same thread they see that."""
        with self.session() as session:
            connection = session.connection
            if connection.in_transaction:
                yield connection
                return
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                with suppress(apsw.Error):
                    connection.execute("ROLLBACK")

    @contextmanager
    def transaction(self, durability: Durability = Durability.FULL) -> Iterator[apsw.Connection]:
        """Run a write transaction.

        One inside another of the same thread joins it, and undoes only itself when it fails. The outermost decides how
        durable all of it is.

        Raises:
            apsw.BusyError: the turn to write did not come in time; nothing was begun.
            apsw.ReadOnlyError: the file is gone or another one, and so is what was written (SQLITE_READONLY_DBMOVED).
        """
        with self.session() as session:
            if session.depth:
                with session.joined() as connection:
                    yield connection
                return
            with session.turnstile.turn(time.monotonic() + self._busy_s), session.outermost(durability) as connection:
                yield connection
            self._require_same_file(session)

    def close(self) -> None:
        """Close every connection of this process; a later call opens them again.

        One that is in use is closed by its thread afterwards.
        """
        with self._guard:
            self._generation += 1
            self._opened = [session for session in self._opened if not session.close()]

    def _present(self) -> Session:
        found: Session | None = getattr(self._local, "session", None)
        if found is not None and found.depth:
            return found
        if found is not None and found.generation == self._generation and not found.closed:
            self._require_same_file(found)
            return found
        opened = self._open()
        with self._guard:
            left = [session for session in self._opened if session is found or not session.thread.is_alive()]
            closed = [session for session in left if session.close()]
            self._opened = [*(session for session in self._opened if session not in closed), opened]
        self._local.session = opened
        return opened

    def _open(self) -> Session:
        refuse_network_filesystem(self.path)
        deadline = time.monotonic() + self._busy_s
        flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if self._create else 0)
        while True:
            generation = self._generation
            session = Session(apsw.Connection(str(self.path), flags=flags), self.path, generation)
            try:
                session.prepare(self._preparations, busy_s=self._busy_s)
            except BaseException as error:
                session.close()
                # SQLite lets nobody wait who changes the journal's mode or the schema while another one does.
                if not isinstance(error, apsw.BusyError) or time.monotonic() > deadline:
                    raise
                time.sleep(POLL_S)
            else:
                return session

    def _require_same_file(self, session: Session) -> None:
        if identity_of(self.path) != session.identity:
            raise apsw.exception_for(apsw.SQLITE_READONLY_DBMOVED)

    def _forget_parent(self) -> None:
        """Leave the parent's connections alone after a fork: to use or to close them here would corrupt the file.

        They stay referenced, so that nothing closes them. The lock files are let go: otherwise a child would keep the
        turn of a parent that was killed.
        """
        self._parents += self._opened
        for session in self._opened:
            session.turnstile.close()
        self._local, self._opened, self._guard = threading.local(), [], threading.Lock()


def _if_alive(method: weakref.WeakMethod[Callable[[], None]]) -> Callable[[], None]:
    """Return a call that does not keep the object of the method alive."""

    def call() -> None:
        if (alive := method()) is not None:
            alive()

    return call
