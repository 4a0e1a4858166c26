"""One PostgreSQL database: who borrows its connections, and when two of them are in one transaction."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from undrift.adapters.postgres.address import Address
from undrift.adapters.postgres.connections import Connections, User, is_suspect
from undrift.errors import OutcomeUnknown, TransactionUndone

#: Conditions that pass when the same transaction is tried again: serialization_failure, deadlock_detected.
AGAIN = frozenset({"40001", "40P01"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Joint:
    """A common transaction: the process that began it, its connection, and who has set that up."""

    process: int
    connection: Any
    users: list[User]


class Database:
    """One database; a ledger and a store that are given the same one can commit together."""

    def __init__(self, address: Address) -> None:
        """Connect to nothing yet."""
        self.address = address
        self._connections = Connections(address.conninfo)
        self._local = threading.local()

    @property
    def joined(self) -> bool:
        """Whether this thread is within a common transaction."""
        return self._joint() is not None

    @contextmanager
    def use(self, user: User) -> Iterator[Any]:
        """Lend a connection: that of this thread's common transaction, or one outside any transaction.

        Raises:
            UndriftError: there is none; what the user calls that.
        """
        joint = self._joint()
        if joint is not None:
            if user not in joint.users:
                user.prepare(joint.connection)
                joint.users.append(user)
            yield joint.connection
            return
        with self._connections.take(user) as connection:
            try:
                yield connection
            finally:
                undo(connection)

    @contextmanager
    def transaction(self, user: User, *, begin: str) -> Iterator[None]:
        """Let everything that this thread does with this database until the end be one transaction.

        Args:
            user: who begins it; what others set up when they take part must not ask the server.
            begin: the statements that begin it.

        Raises:
            OutcomeUnknown: the server went away before it said whether the transaction is committed.
            psycopg.Error: it could not begin, or was undone at its end.
        """
        with self._connections.take(user) as connection:
            try:
                connection.execute(begin)
                self._local.joint = _Joint(process=os.getpid(), connection=connection, users=[user])
                try:
                    yield
                finally:
                    del self._local.joint
                self._commit(connection)
            finally:
                undo(connection)

    def close(self) -> None:
        """Close the connections of this process; a later call opens them again."""
        self._connections.close()

    def _joint(self) -> _Joint | None:
        joint: _Joint | None = getattr(self._local, "joint", None)
        # After a fork the transaction is the parent's.
        return joint if joint is not None and joint.process == os.getpid() else None

    def _commit(self, connection: Any) -> None:
        import psycopg
        from psycopg.pq import TransactionStatus

        if connection.info.transaction_status is TransactionStatus.INERROR:
            # COMMIT would be a rollback that looks like a success.
            raise psycopg.errors.InFailedSqlTransaction("a part of this transaction failed, and took all of it along")
        try:
            connection.execute("COMMIT")
        except psycopg.Error as error:
            if not is_suspect(error):
                raise
            raise OutcomeUnknown(
                "whether a transaction was committed is not known",
                f"the server went away: {error}".strip(),
                "repeat the call: writing the same documents twice is safe",
            ) from error


def undo(connection: Any) -> None:
    """End a transaction that is still open, because it failed."""
    import psycopg
    from psycopg.pq import TransactionStatus

    try:
        # Asked here, for the driver's own look costs a call more, which every write of an application waits for.
        if not connection.closed and connection.pgconn.transaction_status != TransactionStatus.IDLE:
            connection.rollback()
    except psycopg.Error:
        connection.close()


def undone(error: Any) -> TransactionUndone:
    """Return the error for a common transaction that has to be done again from its beginning."""
    return TransactionUndone(
        "the database undid a transaction to let another one through", str(error).strip(), "repeat the call"
    )
