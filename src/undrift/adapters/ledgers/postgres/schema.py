"""The tables of a PostgreSQL ledger, and how they grow from version to version.

A step of the same major number only adds: an older undrift that knows nothing of it goes on working, so half of the
hosts can be upgraded while the others run. What would break an older one gets a new major number: it waits until no
older process has a lease, and afterwards an older undrift refuses the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from undrift.adapters.ledgers.postgres.home import notice
from undrift.adapters.postgres import Address
from undrift.errors import LedgerUnusable

#: Held while the tables are made or changed, so that processes that begin at once begin the same.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('undrift/schema', 0))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One change of the tables.

    Attributes:
        version: major and minor number of what it makes.
        scripts: files of SQL beside this module.
        sql: statements that come after them.
    """

    version: tuple[int, int]
    scripts: tuple[str, ...] = ()
    sql: str = ""

    def text(self) -> str:
        """Return all of its statements."""
        folder = files("undrift.adapters.ledgers.postgres")
        return "\n".join([*(folder.joinpath(name).read_text(encoding="utf-8") for name in self.scripts), self.sql])


#: Every step, in order. A step that was released is never changed.
STEPS = (
    Step(version=(1, 0), scripts=("tables.sql", "functions.sql", "writers.sql")),
    Step(
        version=(1, 1),
        sql='CREATE TABLE undrift.bookmark (migration text COLLATE "C" NOT NULL, name text COLLATE "C" NOT NULL, '
        "content text NOT NULL, PRIMARY KEY (migration, name)) WITH (fillfactor = 50)",
    ),
    Step(version=(1, 2), scripts=("alone.sql",)),
    Step(
        version=(1, 3),
        sql='CREATE TABLE undrift.tag (field text COLLATE "C" NOT NULL, key text COLLATE "C" NOT NULL, '
        'content text COLLATE "C" NOT NULL, space text COLLATE "C" NOT NULL, sequence bigint NOT NULL, '
        "written double precision NOT NULL, PRIMARY KEY (field, key, content))",
    ),
    Step(version=(1, 4), scripts=("spending.sql",)),
    Step(version=(1, 5), scripts=("batches.sql",)),
    Step(version=(1, 6), scripts=("memory.sql",)),
    # Operations that have ended, of which it is not yet counted what that means for each of their documents.
    Step(
        version=(1, 7),
        scripts=("functions.sql",),
        sql='CREATE TABLE undrift.ended (alias text COLLATE "C" NOT NULL, migration text COLLATE "C", '
        "keys text[] NOT NULL)",
    ),
    Step(
        version=(1, 8),
        scripts=("functions.sql", "alone.sql"),
        sql="DROP FUNCTION IF EXISTS undrift.commit_waiting(boolean)",
    ),
)


def prepare(connection: Any, address: Address) -> None:
    """Make the tables or bring them up to date, or refuse a ledger that a newer undrift made.

    Raises:
        LedgerUnusable: it is newer, its database does not keep every text, or older processes still use it.
    """
    latest = STEPS[-1].version
    found = version_of(connection)
    if found is not None:
        _refuse_newer(found, latest, address)
        if found >= latest:
            notice(connection, _LOCK)
            return
    connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
    try:
        connection.execute(_LOCK)
        _upgrade(connection, address)
        connection.execute("COMMIT")
    except BaseException:
        if not connection.closed:
            connection.rollback()
        raise
    notice(connection, _LOCK)


def _upgrade(connection: Any, address: Address) -> None:
    found, latest = version_of(connection), STEPS[-1].version
    if found is None:
        ((encoding,),) = connection.execute("SELECT current_setting('server_encoding')").fetchall()
        if encoding != "UTF8":
            raise LedgerUnusable(
                f"{address.name} does not keep every text: its encoding is {encoding}",
                hint="createdb --encoding UTF8 --template template0 NAME",
            )
    else:
        _refuse_newer(found, latest, address)
        if found[0] < latest[0]:
            _refuse_while_used(connection, address)
    for step in STEPS:
        if found is None or step.version > found:
            connection.execute(step.text())
    for key, number in zip(("major", "minor"), max(found or latest, latest), strict=True):
        connection.execute(
            "INSERT INTO undrift.ledger_meta (key, value) VALUES (%s, %s) "
            "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (key, str(number)),
        )


def version_of(connection: Any) -> tuple[int, int] | None:
    """Return the version of the tables there are, or None."""
    # Not to_regclass: within a transaction it answers from a cache that a lock does not refresh.
    if not connection.execute(
        "SELECT 1 FROM pg_tables WHERE schemaname = 'undrift' AND tablename = 'ledger_meta'"
    ).fetchone():
        return None
    values = dict(connection.execute("SELECT key, value FROM undrift.ledger_meta").fetchall())
    return int(values.get("major", 0)), int(values.get("minor", 0))


def _refuse_newer(found: tuple[int, int], latest: tuple[int, int], address: Address) -> None:
    if found[0] > latest[0]:
        raise LedgerUnusable(
            f"{address.name} was written by a newer undrift",
            f"its schema is {found[0]}.{found[1]}, this version knows {latest[0]}.{latest[1]}",
            "pip install --upgrade undrift",
        )


def _refuse_while_used(connection: Any, address: Address) -> None:
    ((using,),) = connection.execute(
        "SELECT count(*) FROM undrift.client WHERE lease_expires > (SELECT undrift.now())"
    ).fetchall()
    if using:
        raise LedgerUnusable(
            f"{address.name} has to change in a way that an older undrift does not know",
            f"{using} processes of an older undrift may still use it",
            "upgrade and restart them, then try again",
        )
