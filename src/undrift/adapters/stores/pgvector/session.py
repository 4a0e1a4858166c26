"""One PostgreSQL database as a store: how statements are sent, and what is known of the tables."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar

from undrift.adapters.postgres import AGAIN, Address, Database, Owner, refused, undone
from undrift.adapters.stores.pgvector import tables
from undrift.adapters.stores.pgvector.rows import Wire
from undrift.adapters.stores.pgvector.shapes import (
    LANGCHAIN,
    OLD_COLLECTIONS,
    Place,
    foreign_table,
    old_place,
    own_table,
    place_of,
)
from undrift.adapters.stores.pgvector.tables import Table, quoted
from undrift.adapters.stores.pgvector.translation import translate
from undrift.domain.route import VectorField
from undrift.errors import BadArgument, CollectionMissing, StoreRejected, StoreUnavailable, UndriftError

_T = TypeVar("_T")
Rows = list[tuple[Any, ...]]
#: A statement with its values.
Statement = tuple[str, Sequence[Any]]

#: The server gives a write up after this long, so that nothing of it lands later.
_WRITE_S = 10
#: A search or a scan of a large collection may take longer; nothing of it lands.
_READ_S = 60
#: A server that has not even given a statement up so much later does not answer any more.
_GRACE_S = 10
#: Nothing is set for longer than the transaction: the next one may be on another connection of a pooler. Compiling a
#: search over a large collection takes longer than the search.
_LIMITS = (
    "SELECT set_config('statement_timeout', %s, true), set_config('jit', 'off', true), "
    "set_config('undrift.bracketed', 'on', true)"
)
#: Who waits for a row in a common transaction holds up every writer of the alias, and may be waited for by who has the
#: row: it gives way before PostgreSQL (after a second) chooses one of the two.
_GIVE_WAY = "SELECT set_config('lock_timeout', '500ms', true)"
_LOCK_TIMEOUT = "55P03"
#: How often a transaction is tried that the server undid to let another one through.
_TRIES = 6
_FIRST_PAUSE_S = 0.01


class Session:
    """Statements of a store, each a transaction of its own or a part of one that a ledger began."""

    def __init__(self, database: Database, schema: str, others: str) -> None:
        """Use a database.

        Args:
            database: where to send statements.
            schema: where undrift's own tables are.
            others: where tables are that it did not make, if their address does not say.
        """
        self.database = database
        self._schema = schema
        self._others = others
        self._guard = threading.Lock()
        self._tables: dict[str, Table] = {}
        self._own: weakref.WeakSet[Any] = weakref.WeakSet()

    @property
    def name(self) -> str:
        """What messages call this store."""
        return self._address.name

    @property
    def _address(self) -> Address:
        return replace(self.database.address, owner=Owner.STORE)

    def prepare(self, connection: Any) -> None:
        """Teach a connection to send what is in PostgreSQL's own form already."""
        connection.adapters.register_dumper(Wire, wire_dumper())
        if self.database.joined:
            return
        ((backend,),) = connection.execute("SELECT pg_backend_pid()").fetchall()
        if backend == connection.info.backend_pid:
            # No pooler stands between: what is set stays with this connection.
            connection.execute(f"SET statement_timeout = '{_READ_S}s'; SET jit = off")
            self._own.add(connection)

    def refused(self, error: Exception) -> UndriftError:
        """Return what it means that no connection could be made."""
        return refused(error, self._address)

    def _place(self, field: VectorField) -> Place:
        """Return the table that an address means, and where in it things are."""
        return place_of(field.collection, self._schema, self._others)

    def _find(self, field: VectorField) -> Table | None:
        """Look a field up in the database.

        Raises:
            StoreUnavailable: another version of undrift made its table.
            BadConfig: the table is not of the shape that the address says.
        """
        place = self._place(field)
        found = self._look(place, field)
        if place.is_own:
            table = None if found is None else own_table(place, found)
        elif found is None and place.shape.preset == LANGCHAIN:
            table = self._find_old(place, field)
        else:
            table = None if found is None else foreign_table(place, found)
        if isinstance(table, int):
            raise StoreUnavailable(
                f"collection {field.collection} has been made by another version of undrift",
                f"its format is {table}, this version knows {tables.FORMAT}",
                "pip install --upgrade undrift",
            )
        if table is not None and table.dimensions < 0:
            table = replace(table, dimensions=self._measured(table, field))
        if table is not None:
            self._found(field, table)
        with self._guard:
            if table is None:
                self._tables.pop(field.collection, None)
            else:
                self._tables[field.collection] = table
        return table

    def _look(self, place: Place, field: VectorField) -> tables.Found | None:
        """Return what the catalogue says about a table."""
        return tables.found(self._read([(tables.FIND, (place.schema, place.table))], field))

    def _find_old(self, place: Place, field: VectorField) -> Table | None:
        """Look for a collection in the two tables of LangChain's older layout."""
        old = old_place(place)
        found = self._look(old, field)
        if found is None:
            return None
        collections = f"{quoted(place.schema)}.{quoted(OLD_COLLECTIONS)}"
        rows = self._read([(f"SELECT uuid::text FROM {collections} WHERE name = %s", (place.table,))], field)
        return foreign_table(old, found, part=rows[0][0]) if rows else None

    def _measured(self, table: Table, field: VectorField) -> int:
        """Return the length of the vectors in a column that does not say it; 0 while there are none."""
        first = f"SELECT vector_dims({table.vector_value}) FROM {table.name} AS r WHERE {table.present} LIMIT 1"
        sql = first.replace("vector_dims", f"{table.home}.vector_dims", 1)
        rows = self._read([(sql, ())], field)
        return int(rows[0][0]) if rows else 0

    def _found(self, field: VectorField, table: Table) -> None:
        """Do what has to be done with a table that this process sees for the first time."""

    def _on(self, field: VectorField, work: Callable[[Table], _T]) -> _T:
        """Do something with a table as it was last seen, and once more when it is another one by now.

        Raises:
            CollectionMissing: there is none.
        """
        known = self._tables.get(field.collection)
        if known is None:
            return work(self._present(field))
        try:
            return work(known)
        except (CollectionMissing, StoreRejected, BadArgument):
            if self.database.joined:
                # The transaction has failed, and can be asked nothing any more; the next one looks the table up.
                self._forget(field)
                raise
            present = self._present(field)
            if present == known:
                raise
            return work(present)

    def _forget(self, field: VectorField) -> None:
        """Look a table up when it is used next."""
        with self._guard:
            self._tables.pop(field.collection, None)

    def _read(self, statements: Sequence[Statement], field: VectorField) -> Rows:
        """Return the rows of the last of some statements."""
        try:
            return self._attempts(statements, field, _READ_S)
        except UnicodeEncodeError as error:
            raise BadArgument(f"an id that was asked for is not valid Unicode: {error}") from error

    def _write(self, statements: Sequence[Statement], field: VectorField) -> Rows:
        """Run statements as one transaction; return the rows of the last."""
        try:
            return self._attempts(statements, field, _WRITE_S)
        except (UnicodeEncodeError, OverflowError) as error:
            raise StoreRejected(
                f"{self.name} does not take this write: {error}", "nothing of this call was written"
            ) from error

    def _alone(self, statements: Sequence[str], field: VectorField) -> None:
        """Run statements that cannot be in a transaction, and take as long as they take."""
        import psycopg

        try:
            with self.database.use(self) as connection:
                own = connection in self._own
                if own:
                    connection.execute("SET statement_timeout = 0")
                try:
                    for sql in statements:
                        connection.execute(sql, ())
                finally:
                    if own and not connection.closed:
                        connection.execute(f"SET statement_timeout = '{_READ_S}s'")
        except psycopg.Error as error:
            raise translate(error, self._address, field.collection) from error

    def _present(self, field: VectorField) -> Table:
        found = self._find(field)
        if found is None:
            raise CollectionMissing(f"{self.name} has no collection {field.collection}")
        return found

    def _attempts(self, statements: Sequence[Statement], field: VectorField, seconds: int) -> Rows:
        import psycopg

        attempt = 0
        while True:
            try:
                with self.database.use(self) as connection:
                    return self._send(connection, statements, seconds)
            except psycopg.Error as error:
                if self.database.joined and error.sqlstate in {*AGAIN, _LOCK_TIMEOUT}:
                    raise undone(error) from error
                attempt += 1
                if attempt == _TRIES or error.sqlstate not in AGAIN:
                    raise translate(error, self._address, field.collection) from error
            time.sleep(_FIRST_PAUSE_S * 2**attempt)

    def _send(self, connection: Any, statements: Sequence[Statement], seconds: int) -> Rows:
        from psycopg import Cursor

        limits = (_LIMITS, (f"{seconds}s",))
        last: Any = None
        if not self.database.joined:
            connection.patience_s = seconds + _GRACE_S
        if seconds == _READ_S and len(statements) == 1 and connection in self._own:
            # One that writes nothing needs no transaction, where it needs no limit of its own either.
            last = Cursor(connection).execute(*statements[0], binary=True)
        elif self.database.joined:
            for sql, values in ((_GIVE_WAY, ()), limits, *statements):
                last = Cursor(connection).execute(sql, values, binary=True)
        else:
            # One message there and one back, however many statements.
            with connection.pipeline():
                Cursor(connection).execute("BEGIN ISOLATION LEVEL READ COMMITTED")
                for sql, values in (limits, *statements):
                    last = Cursor(connection).execute(sql, values, binary=True)
                Cursor(connection).execute("COMMIT")
        rows: Rows = last.fetchall() if last.description else []
        return rows


@cache
def wire_dumper() -> Any:
    """Return the class that tells psycopg how a `Wire` is sent."""
    from psycopg.adapt import Dumper
    from psycopg.pq import Format

    class WireDumper(Dumper):
        """Sends a value as it is."""

        format = Format.BINARY

        def dump(self, obj: Any) -> bytes:
            return bytes(obj)

    return WireDumper
