"""The SQLite ledger on one connection in memory: every statement is real, and nothing is waited for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from undrift.adapters.sqlite import Database, Durability


class OneConnection(Database):
    """A database in memory for threads of which one runs at a time; its transactions never meet."""

    def __init__(self) -> None:
        """Open it; no file, no lock and no child process is ever involved, so nothing of a file's is set up."""
        self.path = Path("ledger-in-memory")
        self._connection = apsw.Connection(":memory:")

    def also_prepare(self, prepare: Callable[[apsw.Connection], None]) -> None:
        """Run this on the connection."""
        prepare(self._connection)

    def connection(self) -> apsw.Connection:
        """Return the connection."""
        return self._connection

    def read(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        return list(self._connection.execute(sql, values))

    @contextmanager
    def snapshot(self) -> Iterator[apsw.Connection]:
        """Let several reads see the same moment, which they do anyway."""
        yield self._connection

    @contextmanager
    def transaction(self, durability: Durability = Durability.FULL) -> Iterator[apsw.Connection]:
        """Run a transaction, or join the one that runs."""
        del durability
        if self._connection.in_transaction:
            yield self._connection
            return
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """Leave it open: other simulated processes use it."""

    def destroy(self) -> None:
        """Let go of it with everything in it."""
        self._connection.close()
