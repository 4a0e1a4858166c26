"""Notices that a ledger's tables are not where they were: restored from a backup, moved, or on a server that took over.

Whatever was committed since the backup, or had not reached the server that took over, is forgotten, and nothing in the
tables says so. So they keep what names their place, which no copy of them has.
"""

from __future__ import annotations

import json
from typing import Any

#: A standby, and whoever may only read, can record nothing.
_KEPT = (
    "SELECT (SELECT value FROM undrift.ledger_meta WHERE key = 'home'), "
    "pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on'"
)
_TABLES = (
    "SELECT (SELECT oid::text FROM pg_database WHERE datname = current_database()), "
    "'undrift.alias'::regclass::oid::text"
)
#: The server, and its timeline, which a recovery and a standby that takes over begin anew.
_SERVER = "SELECT system_identifier::text, left(pg_walfile_name(pg_current_wal_lsn()), 8) FROM pg_control_system()"
#: What was given out since the backup is never given out twice.
_GAP = 1_000_000_000
_REASON = (
    "the tables of the ledger are not where they were: they were restored from a backup, or another server took over, "
    "and which documents were dirty may be forgotten; after a cutover that the backup does not know, first: "
    "undrift export ALIAS --field follower"
)


def notice(connection: Any, lock: str) -> None:
    """Want every alias reconciled when the tables are not where they were the last time.

    Args:
        connection: in autocommit mode, outside any transaction.
        lock: the statement that lets one process at a time change what all of the ledger's tables are.
    """
    ((text, is_read_only),) = connection.execute(_KEPT).fetchall()
    if is_read_only:
        return
    present = _home(connection)
    if text is not None and json.loads(text).items() >= present.items():
        return
    connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
    try:
        connection.execute(lock)
        ((text, _),) = connection.execute(_KEPT).fetchall()
        known = {} if text is None else json.loads(text)
        if any(known.get(part, place) != place for part, place in present.items()):
            _want_reconciled(connection)
        connection.execute(
            "INSERT INTO undrift.ledger_meta (key, value) VALUES ('home', %s) "
            "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (json.dumps({**known, **present}),),
        )
        connection.execute("COMMIT")
    except BaseException:
        if not connection.closed:
            connection.rollback()
        raise


def _home(connection: Any) -> dict[str, str]:
    """Return what names the place of the tables, as far as this user and this kind of server tell."""
    import psycopg

    home = dict(zip(("database", "table"), connection.execute(_TABLES).fetchone(), strict=True))
    try:
        home.update(zip(("server", "timeline"), connection.execute(_SERVER).fetchone(), strict=True))
    except psycopg.Error as error:
        # Some hosted servers have no such functions, or keep them for themselves.
        if error.sqlstate is None or error.sqlstate[:2] not in {"42", "0A"}:
            raise
    return home


def _want_reconciled(connection: Any) -> None:
    connection.execute("SELECT 1 FROM undrift.alias ORDER BY name FOR NO KEY UPDATE")
    connection.execute(
        "UPDATE undrift.alias SET needs_reconcile = replace(%s, 'ALIAS', name), sequence = sequence + %s",
        (_REASON, _GAP),
    )
    connection.execute(
        "INSERT INTO undrift.history (at, alias, who, action, epoch, detail) "
        "SELECT to_timestamp(undrift.now()), name, '', 'ledger_restored', epoch, needs_reconcile FROM undrift.alias "
        "ORDER BY name"
    )
