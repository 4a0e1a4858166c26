"""Connections to a server that are kept for the next call, safely for threads and across a fork.

Not `psycopg_pool`: it connects in the background, so that whoever waits learns after a timeout, and not why.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from undrift.adapters.postgres.patience import PATIENCE_S, connection_kind
from undrift.errors import UndriftError

#: Most connections that one process has to one database.
_MOST = 8
#: Classes of SQLSTATE after which a connection is not used again: it may be to a server that is going, or a standby.
_GOING = frozenset({"08", "25", "53", "57", "58", "XX"})


class User(Protocol):
    """Who borrows connections: a ledger, or a store."""

    def prepare(self, connection: Any) -> None:
        """Set up a connection that this user has not seen before."""
        ...

    def refused(self, error: Exception) -> UndriftError:
        """Return what it means that no connection could be made."""
        ...


def is_suspect(error: Any) -> bool:
    """Whether a connection that gave this `psycopg.Error` should be closed."""
    return error.sqlstate is None or error.sqlstate[:2] in _GOING


@dataclass(slots=True, kw_only=True)
class _Lent:
    """A connection, and who has set it up."""

    connection: Any
    users: list[User] = field(default_factory=list)


class Connections:
    """A few connections; each is used by one thread at a time."""

    def __init__(self, conninfo: str) -> None:
        """Connect to nothing yet."""
        self._conninfo = conninfo
        self._inherited: list[Any] = []
        self._begin()

    @contextmanager
    def take(self, user: User) -> Iterator[Any]:
        """Lend a connection in autocommit mode, outside any transaction.

        Args:
            user: who uses it, and sets up a connection that it has not seen.

        Raises:
            UndriftError: there is none; what the user calls that.
        """
        import psycopg

        if self._pid != os.getpid():
            # The sockets belong to the parent: they are kept from the garbage collector, and never used.
            self._inherited.append(self._idle)
            self._begin()
        with self._permits:
            lent = self._rested() or _Lent(connection=self._connect(user))
            connection = lent.connection
            connection.patience_s = PATIENCE_S
            try:
                if user not in lent.users:
                    user.prepare(connection)
                    lent.users.append(user)
                yield connection
            except psycopg.Error as error:
                if is_suspect(error):
                    connection.close()
                raise
            except Exception:
                raise
            except BaseException:
                # Interrupted at an unknown place: an answer may still be on its way.
                connection.close()
                raise
            finally:
                self._give_back(lent)

    def close(self) -> None:
        """Close what rests; a later call connects again."""
        if self._pid == os.getpid():
            while (lent := self._pop()) is not None:
                lent.connection.close()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._permits = threading.BoundedSemaphore(_MOST)
        self._idle: list[_Lent] = []

    def _pop(self) -> _Lent | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _rested(self) -> _Lent | None:
        while (lent := self._pop()) is not None:
            # A server says nothing to a connection that rests, except that it is over. This look costs no round trip.
            poll = select.poll()
            poll.register(lent.connection.fileno(), select.POLLIN)
            if not poll.poll(0):
                return lent
            lent.connection.close()
        return None

    def _connect(self, user: User) -> Any:
        import psycopg

        try:
            return connection_kind().connect(
                self._conninfo, autocommit=True, prepare_threshold=None, cursor_factory=psycopg.ClientCursor
            )
        except psycopg.Error as error:
            raise user.refused(error) from error

    def _give_back(self, lent: _Lent) -> None:
        from psycopg.pq import TransactionStatus

        if lent.connection.closed:
            return
        if lent.connection.info.transaction_status is not TransactionStatus.IDLE or not lent.users:
            lent.connection.close()
            return
        with self._lock:
            self._idle.append(lent)
