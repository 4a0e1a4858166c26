"""How collections are made: the extension, the schema, the table and its index, in one transaction."""

from __future__ import annotations

from undrift.adapters.postgres import Database
from undrift.adapters.stores.pgvector import capture, tables
from undrift.adapters.stores.pgvector.session import Session, Statement
from undrift.adapters.stores.pgvector.tables import Hnsw, Table, creation, indexing, quoted
from undrift.domain.route import VectorField
from undrift.domain.space import Metric
from undrift.errors import BadArgument, BadConfig, StoreRejected

#: From this version on a search in an index goes on until enough of what it finds match a filter.
_ITERATIVE = (0, 8)


class Collections(Session):
    """Makes collections, and lets them tell the ledger what others write."""

    def __init__(self, database: Database, schema: str, *, captures: bool) -> None:
        """Use a schema of a database."""
        super().__init__(database, schema)
        self._captures = captures
        self._captured: set[int] = set()

    def _make(self, field: VectorField, *, dimensions: int, metric: Metric, index: Hnsw | None) -> None:
        """Make an empty collection.

        Raises:
            FieldInUse: a table of that name is there.
            StoreRejected: the user may not make it, or there is no pgvector, or one that is too old for an index.
        """
        if self._captures:
            self._require_ledger(field)
        home = self._extension(field, index)
        named = {"schema": self._schema, "collection": field.collection, "home": home}
        statements: list[Statement] = [(tables.LOCK, ())]
        if not self._read([("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = %s", (self._schema,))], field):
            # Only then: to ask for it needs a right, even where it is there.
            statements.append((f"CREATE SCHEMA IF NOT EXISTS {quoted(self._schema)}", ()))
        statements += [(sql, ()) for sql in creation(**named, dimensions=dimensions, metric=metric)]
        if index is not None:
            statements.append((indexing(index, **named, dimensions=dimensions, metric=metric), ()))
        self._forget(field)
        self._write(statements, field)
        if self._captures:
            self._find(field)

    def _found(self, field: VectorField, table: Table) -> None:
        """Let the table tell the ledger what others write, if it shall and does not."""
        if not self._captures or table.number in self._captured or self.database.joined:
            return
        self._require_ledger(field)
        told = self._read([(capture.TOLD, (table.number,))], field)
        if told != [(field.key.encode() + b"\0",)]:
            self._write([(tables.LOCK, ()), *capture.installation(table, self._schema, field.key)], field)
        self._captured.add(table.number)

    def _require_ledger(self, field: VectorField) -> None:
        ((there,),) = self._read([(capture.LEDGER, ())], field)
        if not there:
            raise BadConfig(
                f"{self.name} cannot capture writes: there is no ledger in this database",
                'capture = "trigger" marks documents in the ledger, in the transaction that writes them',
                "let `ledger` name the same database, or leave `capture` out of the store's settings",
            )

    def _extension(self, field: VectorField, index: Hnsw | None) -> str:
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
        if index is not None and tuple(int(part) for part in version.split(".")[:2]) < _ITERATIVE:
            raise StoreRejected(
                f"{self.name} has pgvector {version}, and an index needs 0.8 or newer",
                "before that, a search with a filter gives up too early",
                "ALTER EXTENSION vector UPDATE, or leave `index` out of the store's settings",
            )
        return str(home)


def require_creatable(field: VectorField, *, dimensions: int, most: int, index: Hnsw | None) -> None:
    """Pass when there can be such a collection.

    Raises:
        BadArgument: PostgreSQL takes no such name, or pgvector no such vectors.
    """
    size = len(field.collection.encode(errors="replace"))
    if not field.collection or "\0" in field.collection or size > tables.LONGEST_NAME:
        raise BadArgument(
            f"a collection of store pgvector cannot be called {field.collection!r}",
            f"it is the name of a table, and has 1 to {tables.LONGEST_NAME} bytes; this one has {size}",
            "choose a shorter name",
        )
    if not 1 <= dimensions <= most:
        raise BadArgument(
            f"collection {field.collection} cannot have {dimensions} dimensions",
            f"store pgvector takes 1 to {most}"
            + (f" with an index, and up to {tables.MOST} without" if index is not None else ""),
            "choose a model with fewer dimensions, or another store",
        )
