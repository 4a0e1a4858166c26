"""One PostgreSQL database as a ledger: how every part of it reads and writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any, TypeVar

from undrift.adapters.ledgers.postgres.schema import prepare
from undrift.adapters.ledgers.postgres.translation import WRONG_ISOLATION, translate
from undrift.adapters.postgres import AGAIN, Database, Owner, address_from, refused, undone
from undrift.domain.batch import KEEPS_PIECES
from undrift.domain.route import AliasName, Mode, Route, VectorField
from undrift.domain.space import SpaceId
from undrift.errors import UndriftError, UnknownAlias
from undrift.ports.runtime import Clock

_T = TypeVar("_T")
#: A statement with its values.
Statement = tuple[str, Sequence[Any] | dict[str, Any]]
Rows = list[tuple[Any, ...]]

#: States of a chunk; a kept one waits for a job, and an older undrift leaves it alone.
PENDING, LEASED, PUBLISHING, PUBLISHED, KEPT = 0, 1, 2, 3, 4
#: States in which the pieces of a job are nobody's, as SQL.
KEEPING = ", ".join(sorted(f"'{state.value}'" for state in KEEPS_PIECES))
#: The columns of `route_from`.
ROUTE = "serving, follower, CASE WHEN hold_until > undrift.now() THEN 'hold' ELSE mode END, epoch"

#: Nothing is set for longer than the transaction: the next one of this client may be on another connection of a pooler.
BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
_PATIENT = "set_config('lock_timeout', '20s', true)"
#: A transaction of several messages is given up by the server when the next one does not come.
_ATTENDED = "set_config('idle_in_transaction_session_timeout', '20s', true)"
#: Never weaker than what the server asks for, which may be more than `on`.
_DURABLE = (
    "set_config('synchronous_commit', CASE WHEN current_setting('synchronous_commit') IN ('off', 'local') THEN 'on' "
    "ELSE current_setting('synchronous_commit') END, true)"
)
_LAZY = "set_config('synchronous_commit', 'off', true)"
#: A kept statement that is not there, or is there already: there is a pooler after all.
_NOT_KEPT = ("26000", "42P05")
#: How often a transaction is tried that the server undid to let another one through.
_TRIES = 6
_FIRST_PAUSE_S = 0.01


class Session:
    """Transactions at READ COMMITTED, in the database's own time."""

    def __init__(self, place: str | Database, clock: Clock) -> None:
        """Use a database as a ledger; it is connected to by the first call.

        Args:
            place: `postgresql://…` without a password, or a database shared with a store, so that both can be in one
                transaction.
            clock: only for the pauses between attempts; what expires is measured by the database.

        Raises:
            BadConfig: the address is not one, or has a password in it.
            MissingExtra: the driver is not installed.
        """
        self.database = place if isinstance(place, Database) else Database(address_from(place))
        self._address = replace(self.database.address, owner=Owner.LEDGER)
        self._clock = clock

    @property
    def name(self) -> str:
        """What messages call this ledger."""
        return self._address.name

    def prepare(self, connection: Any) -> None:
        """Bring the ledger's tables up to date before a connection is used."""
        prepare(connection, self._address)
        ((backend,),) = connection.execute("SELECT pg_backend_pid()").fetchall()
        # A pooler gives each transaction another connection of the server, and may not know what is kept there.
        if backend == connection.info.backend_pid:
            connection.kept = set()

    def refused(self, error: Exception) -> UndriftError:
        """Return what it means that no connection could be made."""
        return refused(error, self._address)

    def transaction_with(self, store: object) -> AbstractContextManager[None] | None:
        """Return a common transaction when the store lives in the same database."""
        if getattr(store, "database", None) is not self.database:
            return None
        return self._joint()

    def close_ledger(self) -> None:
        """Close the connections of this process."""
        self.database.close()

    @contextmanager
    def _joint(self) -> Iterator[None]:
        import psycopg

        try:
            with self.database.transaction(self, begin=f"{BEGIN}; SELECT {_PATIENT}, {_ATTENDED}, {_DURABLE}"):
                yield
        except psycopg.Error as error:
            raise undone(error) if error.sqlstate in AGAIN else translate(error, self._address) from error

    def _read(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> Rows:
        return self._attempts(lambda connection: _rows(connection.execute(sql, values or None)))

    def _run(self, *statements: Statement, durable: bool = False) -> list[Rows]:
        """Run statements as one transaction, sent as one message; return the rows of each.

        Each statement sees what was committed before it began: one after a lock sees what the lock waited for.
        """

        def work(connection: Any) -> list[Rows]:
            cursor = connection.cursor()
            body = [cursor.mogrify(sql, values or None) for sql, values in statements]
            if self.database.joined:
                cursor.execute("; ".join(body))
                return list(_results(cursor))
            settings = f"SELECT {_PATIENT}, {_DURABLE if durable else _LAZY}"
            cursor.execute("; ".join([BEGIN, settings, *body, "COMMIT"]))
            results = list(_results(cursor))
            return results[-1 - len(body) : -1]

        return self._attempts(work)

    def _call(self, sql: str, values: Sequence[str], *, durable: bool) -> tuple[str | None, ...]:
        """Call a function that is in this transaction if there is one, and a transaction of its own if not.

        Every write of an application waits for two of these: one statement, without what the driver's cursor does for
        every kind of value.

        Args:
            sql: a statement that answers one row, with `$1` for the first value and `{alone}` behind the function's
                name.
            values: as the server reads them in text.
            durable: whether a transaction that has to be begun beforehand waits for the disk.

        Returns:
            The row as text.
        """
        import psycopg

        def work(connection: Any) -> tuple[str | None, ...]:
            inside = sql.format(alone="_journaled")
            if self.database.joined:
                return one_row(connection, inside, values)
            try:
                return self._alone(connection, sql.format(alone="_alone"), values)
            except psycopg.Error as error:
                if error.sqlstate != WRONG_ISOLATION:
                    raise
            # Transactions of this database begin at another level unless one says so, which takes a message more.
            connection.execute(f"{BEGIN}; SELECT {_PATIENT}, {_ATTENDED}, {_DURABLE if durable else _LAZY}")
            row = one_row(connection, inside, values)
            connection.execute("COMMIT")
            return row

        return self._attempts(work)

    def _alone(self, connection: Any, sql: str, values: Sequence[str]) -> tuple[str | None, ...]:
        """Ask for one row in a transaction of its own, with a statement that the server keeps if it may."""
        import psycopg

        if connection.kept is not None:
            try:
                return one_row(connection, sql, values, kept=connection.kept)
            except psycopg.Error as error:
                if error.sqlstate not in _NOT_KEPT:
                    raise
            connection.kept = None
        return one_row(connection, sql, values)

    def _transact(self, work: Callable[[Any], _T], *, durable: bool) -> _T:
        """Run a function as one transaction; it may be called again, so it changes nothing else."""

        def attempt(connection: Any) -> _T:
            if self.database.joined:
                return work(connection)
            connection.execute(f"{BEGIN}; SELECT {_PATIENT}, {_ATTENDED}, {_DURABLE if durable else _LAZY}")
            result = work(connection)
            connection.execute("COMMIT")
            return result

        return self._attempts(attempt)

    def _attempts(self, work: Callable[[Any], _T]) -> _T:
        import psycopg

        attempt = 0
        while True:
            try:
                with self.database.use(self) as connection:
                    return work(connection)
            except psycopg.Error as error:
                attempt += 1
                # A part of a common transaction cannot be done again without the rest.
                if attempt == _TRIES or error.sqlstate not in AGAIN or self.database.joined:
                    raise self._translated(error) from error
            self._clock.sleep(_FIRST_PAUSE_S * 2**attempt)

    def _translated(self, error: Any) -> UndriftError:
        if self.database.joined and error.sqlstate in AGAIN:
            return undone(error)
        return translate(error, self._address)

    def _route(self, name: AliasName) -> tuple[Route, int]:
        """Return a route and the journal's sequence."""
        rows = self._read(f"SELECT {ROUTE}, sequence FROM undrift.alias WHERE name = %s", (name,))
        if not rows:
            raise unknown(name)
        return route_from(name, *rows[0][:4]), rows[0][4]


def array_of(keys: Sequence[str]) -> str:
    """Return texts as one literal for `%s::text[]`; the driver would look at each of them for longer."""
    if not keys:
        return "{}"
    inside = '","'.join([key.replace("\\", "\\\\").replace('"', '\\"') for key in keys])
    return f'{{"{inside}"}}'


def one_row(
    connection: Any, sql: str, values: Sequence[str], *, kept: set[bytes] | None = None
) -> tuple[str | None, ...]:
    """Return the one row that a statement answers, each value as text.

    Args:
        connection: where to ask.
        sql: a statement with `$1` for the first value.
        values: as the server reads them in text.
        kept: names of statements that the server keeps; this one is added, so that the server reads it only once.
    """
    from psycopg.pq import ExecStatus

    libpq, encoding = connection.pgconn, connection.info.encoding
    given = [value.encode(encoding) for value in values]
    if kept is None:
        libpq.send_query_params(sql.encode(encoding), given)
    else:
        name = _name_of(sql)
        if name not in kept:
            libpq.send_prepare(name, sql.encode(encoding))
            _answer(connection, ExecStatus.COMMAND_OK)
            kept.add(name)
        libpq.send_query_prepared(name, given)
    result = _answer(connection, ExecStatus.TUPLES_OK)
    fields = (result.get_value(0, column) for column in range(result.nfields))
    return tuple(None if field is None else field.decode(encoding) for field in fields)


def _answer(connection: Any, expected: Any) -> Any:
    from psycopg.errors import error_from_result
    from psycopg.generators import execute

    (result,) = connection.wait(execute(connection.pgconn))
    if result.status != expected:
        raise error_from_result(result, encoding=connection.info.encoding)
    return result


@lru_cache
def _name_of(sql: str) -> bytes:
    """Return a name that is the statement's own."""
    return f"undrift_{sha256(sql.encode()).hexdigest()[:32]}".encode()


def lock(alias: AliasName, place: int, *, exclusive: bool) -> Statement:
    """Return the statement that takes one of an alias's locks until the transaction ends; see functions.sql."""
    return "SELECT undrift.lock(%s, %s, %s)", (alias, place, exclusive)


def enter(*, alias: str, who: str, action: str, epoch: int, detail: str) -> Statement:
    """Return the statement that adds a line to the history."""
    return (
        "INSERT INTO undrift.history (at, alias, who, action, epoch, detail) "
        "VALUES (to_timestamp(undrift.now()), %s, %s, %s, %s, %s)",
        (alias, who, action, epoch, detail),
    )


def unknown(name: AliasName) -> UnknownAlias:
    """Return the error for an alias that is not there."""
    return UnknownAlias(f"the ledger knows no alias {name}", hint=f"undrift alias create {name}")


def route_from(name: AliasName, serving: str, follower: str | None, mode: str, epoch: int) -> Route:
    """Read back the columns of `ROUTE`."""
    return Route(
        alias=name,
        epoch=epoch,
        mode=Mode(mode),
        serving=field_from(serving),
        follower=field_from(follower) if follower else None,
    )


def field_text(field: VectorField) -> str:
    """Return the stored form of a field."""
    return json.dumps({"store": field.store, "collection": field.collection, "space": field.space})


@lru_cache(maxsize=256)
def field_from(text: str) -> VectorField:
    """Read back a field; every write of an application reads the same two."""
    values = json.loads(text)
    return VectorField(store=values["store"], collection=values["collection"], space=SpaceId(values["space"]))


def seconds_of(column: str) -> str:
    """Return the expression that reads a time, whatever the connection's zone and style of dates are."""
    return f"extract(epoch FROM {column})::float8"


def moment(seconds: float) -> datetime:
    """Return a time that was read with `seconds_of`."""
    return datetime.fromtimestamp(seconds, UTC)


def _rows(cursor: Any) -> Rows:
    return list(cursor.fetchall()) if cursor.description else []


def _results(cursor: Any) -> Any:
    while True:
        yield _rows(cursor)
        if not cursor.nextset():
            return
