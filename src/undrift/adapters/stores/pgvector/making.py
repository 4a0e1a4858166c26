"""How fields are made and dropped: the extension, the schema, the table, its columns and their index."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace

from undrift.adapters.postgres import Database
from undrift.adapters.stores.pgvector import capture, shapes, tables, views
from undrift.adapters.stores.pgvector.creation import (
    addition,
    adjustment,
    creation,
    indexing,
    indexing_meanwhile,
    removal,
    require_creatable,
)
from undrift.adapters.stores.pgvector.session import Session, Statement
from undrift.adapters.stores.pgvector.shapes import Place
from undrift.adapters.stores.pgvector.tables import Found, Hnsw, Table, quoted
from undrift.domain.route import VectorField
from undrift.domain.shape import TagPlace, split_address, with_vector
from undrift.domain.space import Metric
from undrift.errors import BadArgument, BadConfig, CollectionMissing, FieldInUse, StoreRejected, StoreUnavailable

#: From this version on a search in an index goes on until enough of what it finds match a filter.
_ITERATIVE = (0, 8)
#: A change of a table waits so long for those who use it, and lets the ones behind it pass before it tries again.
_PATIENCE = "SELECT set_config('lock_timeout', '1s', true)"
_TRIES, _PAUSE_S = 30, 0.5
#: Rows of a shared table that are deleted at a time.
_AT_ONCE = 5000


class Collections(Session):
    """Makes and drops fields, and lets their tables tell the ledger what others write."""

    def __init__(self, database: Database, schema: str, others: str, *, captures: bool, index: Hnsw | None) -> None:
        """Use a database, and one schema of it for undrift's own tables."""
        super().__init__(database, schema, others)
        self._captures = captures
        self._index = index
        self._captured: set[int] = set()

    def _make(self, field: VectorField, *, dimensions: int, metric: Metric, most: int) -> None:
        """Make an empty field: a table, or a column in one that is there.

        Raises:
            FieldInUse: it is there.
            BadArgument: PostgreSQL takes no such name, or pgvector no such vectors.
            StoreRejected: the user may not make it, or there is no pgvector, or one that is too old for an index.
        """
        place = self._place(field)
        require_creatable(place, dimensions=dimensions, most=most, index=self._index)
        if self._captures:
            self._require_ledger(field)
        home = quoted(self._extension(field))
        there = self._look(place, field)
        self._forget(field)
        if there is not None:
            self._add(field, place, there, home, dimensions=dimensions, metric=metric)
        else:
            if place.shape.preset == shapes.LANGCHAIN:
                self._refuse_shared(place, field)
            statements = self._schema_of(place, field)
            statements += [(sql, ()) for sql in creation(place, home, dimensions, metric)]
            if self._index is not None:
                statements.append((indexing(self._index, place, home, dimensions, metric), ()))
            self._write(statements, field)
        if self._captures:
            self._find(field)

    def _add(
        self, field: VectorField, place: Place, there: Found, home: str, *, dimensions: int, metric: Metric
    ) -> None:
        """Make room for one more vector in the rows of a table, without holding up who uses it for long."""
        asked = split_address(field.collection)[1].vector
        if not asked or (place.is_own and not shapes.is_own(there)):
            raise self._in_use(field)
        if asked in there.columns and not shapes.is_left_half_made(there, asked):
            raise self._in_use(field)
        if place.vector not in there.columns:
            self._change(field, addition(place, there, home, dimensions))
        if self._index is not None:
            # Nobody is kept waiting: it is made while others write.
            self._alone(indexing_meanwhile(self._index, place, home, dimensions, metric), field)
        self._change(field, [shapes.comment_on_vectors(place.name, place.vector, metric)])

    def _remove(self, field: VectorField, table: Table) -> None:
        """Drop a field: its table, or its columns where the rows have vectors of others."""
        place = self._place(field)
        with suppress(CollectionMissing):
            if table.part is not None:
                self._remove_part(field, place, table)
            else:
                self._change(field, removal(table))

    def _remove_part(self, field: VectorField, place: Place, table: Table) -> None:
        some = f"SELECT ctid FROM {table.name} AS r WHERE {table.mine} LIMIT {_AT_ONCE}"
        while self._write([(f"DELETE FROM {table.name} WHERE ctid = ANY (ARRAY({some})) RETURNING 1", ())], field):
            pass
        collections = f"{quoted(place.schema)}.{quoted(shapes.OLD_COLLECTIONS)}"
        self._write([(f"DELETE FROM {collections} WHERE uuid = %s::uuid", (table.part,))], field)

    def _tagged(self, field: VectorField, table: Table) -> Table:
        """Return a table with columns for the tag, which are made where the address lets them be."""
        place = self._place(field)
        if table.tag is not None or place.is_own or place.shape.tags is TagPlace.LEDGER:
            return table
        where = shapes.old_place(place) if table.part is not None else place
        self._change(field, adjustment(where, table))
        present = self._find(field)
        if present is None:
            raise CollectionMissing(f"{self.name} has no collection {field.collection}")
        return present

    def _show(self, schema: str, name: str, field: VectorField) -> None:
        """Let a view show a field, if it does not yet."""
        views.require_name(name)
        there = self._read([(views.FIND, (schema, name))], field)
        shown = views.shows(there[0][1]) if there else None
        if there and (shown is None or not there[0][0]):
            raise StoreRejected(
                f"{self.name} has no room for a view {schema}.{name}: something else is called so",
                "it shows what an alias serves, and nothing is replaced that undrift did not make",
                "let `views` name another schema, which may be a new one",
            )
        if shown == field.collection:
            return
        schemas = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = %s"
        made = self._read([(schemas, (schema,))], field)
        statements = [] if made else [f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}"]
        found = self._find(field)
        if found is None:
            raise CollectionMissing(f"{self.name} has no collection {field.collection}")
        statements += [sql for sql, _ in views.showing(schema, name, found, field.collection)]
        self._change(field, statements)

    def _change(self, field: VectorField, statements: list[str]) -> None:
        """Change a table, giving way to those who use it."""
        for attempt in range(_TRIES):
            try:
                patience = [] if self.database.joined else [(_PATIENCE, ())]
                self._write([*patience, *((sql, ()) for sql in statements)], field)
            except StoreUnavailable as error:
                # Who waits for a whole table makes everybody wait that comes after.
                if self.database.joined or attempt == _TRIES - 1 or "busy" not in error.message:
                    raise
                time.sleep(_PAUSE_S)
            else:
                return

    def _schema_of(self, place: Place, field: VectorField) -> list[Statement]:
        statements: list[Statement] = [(tables.LOCK, ())]
        if not self._read([("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = %s", (place.schema,))], field):
            # Only then: to ask for it needs a right, even where it is there.
            statements.append((f"CREATE SCHEMA IF NOT EXISTS {quoted(place.schema)}", ()))
        return statements

    def _refuse_shared(self, place: Place, field: VectorField) -> None:
        """Pass when no collection of that name is in LangChain's older layout."""
        first = replace(place, told=with_vector(place.told, ""))
        if self._find_old(first, field) is None:
            return
        if split_address(field.collection)[1].vector:
            raise BadArgument(
                f"collection {field.collection} cannot have a second vector in the same records",
                f"{shapes.OLD_RECORDS} has the records of several collections, which would all get it",
                "let the target have a table of its own: --layout collection",
            )
        raise self._in_use(field)

    def _in_use(self, field: VectorField) -> FieldInUse:
        return FieldInUse(
            f"collection {field.collection} is in {self.name} already",
            hint="choose another name, or drop it if nobody uses it",
        )

    def _found(self, field: VectorField, table: Table) -> None:
        """Let the table tell the ledger what others write, if it shall and does not."""
        if not self._captures or table.number in self._captured or self.database.joined:
            return
        self._require_ledger(field)
        if table.part is not None or not table.unique:
            raise BadConfig(
                f"{self.name} cannot capture writes to collection {field.collection}",
                "one table has the records of several collections, or one document in several rows",
                "leave `capture` out of the store's settings",
            )
        name = field.key.partition("?")[0]
        told = self._read([(capture.TOLD, (table.number,))], field)
        if told != [(capture.argument(name, table),)]:
            schema = self._place(field).schema
            self._write([(tables.LOCK, ()), *capture.installation(table, schema, name)], field)
        self._captured.add(table.number)

    def _require_ledger(self, field: VectorField) -> None:
        ((there,),) = self._read([(capture.LEDGER, ())], field)
        if not there:
            raise BadConfig(
                f"{self.name} cannot capture writes: there is no ledger in this database",
                'capture = "trigger" marks documents in the ledger, in the transaction that writes them',
                "let `ledger` name the same database, or leave `capture` out of the store's settings",
            )

    def _extension(self, field: VectorField) -> str:
        """Return the schema of the extension, which is made when it is not there.

        Raises:
            StoreRejected: there is none, or one that is too old for an index.
        """
        found = self._read([(tables.EXTENSION, ())], field)
        if not found:
            try:
                self._write([(tables.LOCK, ()), ("CREATE EXTENSION IF NOT EXISTS vector", ())], field)
            except StoreRejected as error:
                raise StoreRejected(
                    f"{self.name} has no extension vector, and this user may not add it",
                    error.detail,
                    "let an administrator run CREATE EXTENSION vector in the database",
                ) from error
            found = self._read([(tables.EXTENSION, ())], field)
        ((home, version),) = found
        if self._index is not None and tuple(int(part) for part in version.split(".")[:2]) < _ITERATIVE:
            raise StoreRejected(
                f"{self.name} has pgvector {version}, and an index needs 0.8 or newer",
                "before that, a search with a filter gives up too early",
                "ALTER EXTENSION vector UPDATE, or leave `index` out of the store's settings",
            )
        return str(home)
