"""Texts in a table of a SQLite file or a PostgreSQL database."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import apsw

from undrift.adapters.postgres import Owner, address_from
from undrift.domain.record import DocumentId, Entry
from undrift.errors import BadConfig, StoreUnavailable

#: Stands in the query for the ids, as in `SELECT id, body FROM pages WHERE id IN (:ids)`.
IDS = ":ids"


class SqlSource:
    """Runs a query for some ids; its first column is the id, its second the text. Safe from several threads."""

    def __init__(self, address: str, query: str, resolve: Callable[[str], Path]) -> None:
        """Remember where to ask, and what.

        Args:
            address: `sqlite:///PATH` or `postgresql://…`.
            query: has `:ids` where the ids belong.
            resolve: turns a configured path into an absolute one.

        Raises:
            BadConfig: the address is none of these, or has a password in it, or the query has no `:ids`.
            MissingExtra: the driver of PostgreSQL is not installed.
        """
        scheme = address.partition("://")[0]
        if scheme not in ("sqlite", "postgresql", "postgres") or IDS not in query:
            raise BadConfig(
                "the source of texts is not written as sql:ADDRESS QUERY",
                "an address is sqlite:///PATH or postgresql://USER@HOST/DATABASE, and the query has :ids in it",
                "sql:sqlite:///pages.db SELECT id, body FROM pages WHERE id IN (:ids)",
            )
        self._ask = (
            _sqlite(resolve(address.partition("://")[2].removeprefix("/")))
            if scheme == "sqlite"
            else (_postgres(address))
        )
        self._query = query

    def texts(self, entries: Sequence[Entry]) -> dict[DocumentId, str]:
        """Return the texts that the query finds.

        Raises:
            StoreUnavailable: the database does not answer.
            BadConfig: the query does not return ids and texts.
        """
        if not entries:
            return {}
        wanted = {str(entry.id): entry.id for entry in entries}
        rows = self._ask(self._query, list(wanted))
        if rows and len(rows[0]) != 2:
            raise BadConfig(f"the query for texts returns {len(rows[0])} columns, not id and text", self._query)
        return {wanted[str(id)]: text for id, text in rows if str(id) in wanted and isinstance(text, str)}


def _sqlite(path: Path) -> Callable[[str, list[str]], list[tuple[Any, ...]]]:
    def ask(query: str, ids: list[str]) -> list[tuple[Any, ...]]:
        try:
            connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
            try:
                connection.set_busy_timeout(5000)
                sql = query.replace(IDS, "SELECT value FROM json_each(?1)")
                return list(connection.execute(sql, (json.dumps(ids),)))
            finally:
                connection.close()
        except apsw.SQLError as error:
            raise BadConfig(f"the query for texts fails in {path}", f"{error}: {query}") from error
        except apsw.Error as error:
            raise StoreUnavailable(f"the texts in {path} cannot be read", str(error)) from error

    return ask


def _postgres(address: str) -> Callable[[str, list[str]], list[tuple[Any, ...]]]:
    place = address_from(address, Owner.TEXTS)

    def ask(query: str, ids: list[str]) -> list[tuple[Any, ...]]:
        import psycopg

        try:
            with psycopg.connect(place.conninfo) as connection:
                # A query is the user's: it may read, and nothing else.
                connection.read_only = True
                sql = query.replace("%", "%%").replace(IDS, "SELECT unnest(%s::text[])")
                return list(connection.execute(sql, (ids,)))
        except psycopg.OperationalError as error:
            raise StoreUnavailable(f"{place.name} did not answer", str(error), place.hint) from error
        except psycopg.Error as error:
            raise BadConfig(f"the query for texts fails in {place.url}", f"{error}: {query}") from error

    return ask
