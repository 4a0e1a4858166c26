"""Connections to a server that are kept for the next call, safely for threads and across a fork.

Not `psycopg_pool`: it connects in the background, so that whoever waits learns after a timeout, and not why.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from undrift.adapters.ledgers.postgres.address import Address
from undrift.adapters.ledgers.postgres.translation import is_suspect, refused

#: Most connections that one process has.
_MOST = 8


class Connections:
    """A few connections; each is used by one thread at a time."""

    def __init__(self, address: Address, prepare: Callable[[Any], None]) -> None:
        """Connect to nothing yet.

        Args:
            address: the server and the database.
            prepare: is called once with each new connection.
        """
        self._address = address
        self._prepare = prepare
        self._inherited: list[Any] = []
        self._begin()

    @contextmanager
    def take(self) -> Iterator[Any]:
        """Lend a connection in autocommit mode, outside any transaction.

        Raises:
            ControlUnavailable: there is none.
        """
        import psycopg

        if self._pid != os.getpid():
            # The sockets belong to the parent: they are kept from the garbage collector, and never used.
            self._inherited.append(self._idle)
            self._begin()
        with self._permits:
            connection = self._rested() or self._connect()
            try:
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
                self._give_back(connection)

    def close(self) -> None:
        """Close what rests; a later call connects again."""
        if self._pid == os.getpid():
            while (connection := self._pop()) is not None:
                connection.close()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._permits = threading.BoundedSemaphore(_MOST)
        self._idle: list[Any] = []

    def _pop(self) -> Any:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _rested(self) -> Any:
        while (connection := self._pop()) is not None:
            # A server says nothing to a connection that rests, except that it is over. This look costs no round trip.
            poll = select.poll()
            poll.register(connection.fileno(), select.POLLIN)
            if not poll.poll(0):
                return connection
            connection.close()
        return None

    def _connect(self) -> Any:
        import psycopg

        try:
            connection = psycopg.connect(
                self._address.conninfo, autocommit=True, prepare_threshold=None, cursor_factory=psycopg.ClientCursor
            )
        except psycopg.Error as error:
            raise refused(error, self._address) from error
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _give_back(self, connection: Any) -> None:
        from psycopg.pq import TransactionStatus

        if connection.closed:
            return
        if connection.info.transaction_status is not TransactionStatus.IDLE:
            connection.close()
            return
        with self._lock:
            self._idle.append(connection)
