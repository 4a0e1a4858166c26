"""One SQLite file as a ledger: its schema, its time, and how it is read and written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import apsw

from undrift.adapters.sqlite import Database, Durability, Owner, translating
from undrift.domain.batch import KEEPS_PIECES
from undrift.domain.route import AliasName, Mode, Route, VectorField
from undrift.domain.space import SpaceId
from undrift.errors import LedgerUnusable, UnknownAlias
from undrift.ports.runtime import Clock

#: Grows with every change that an older undrift would not understand; it refuses the file then.
SCHEMA_VERSION = 1
#: Grows with every table that is added: an older undrift knows nothing of it and goes on working.
SCHEMA_MINOR = 5

_SCHEMA = """
CREATE TABLE IF NOT EXISTS ledger_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS boot (id TEXT PRIMARY KEY, offset REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS space (
    id TEXT PRIMARY KEY, definition TEXT NOT NULL, model TEXT NOT NULL, probes BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alias (
    name TEXT PRIMARY KEY, serving TEXT NOT NULL, follower TEXT, mode TEXT NOT NULL, epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL DEFAULT 0, hold_until REAL NOT NULL DEFAULT 0, migration TEXT,
    model TEXT NOT NULL, mirror TEXT NOT NULL, needs_reconcile TEXT NOT NULL DEFAULT '') WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS client (
    id TEXT PRIMARY KEY, host TEXT NOT NULL, pid INTEGER NOT NULL, role TEXT NOT NULL, version TEXT NOT NULL,
    process TEXT NOT NULL, lease_expires REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ack (
    alias TEXT NOT NULL, client TEXT NOT NULL, epoch INTEGER NOT NULL, PRIMARY KEY (alias, client)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS op (
    id INTEGER PRIMARY KEY AUTOINCREMENT, alias TEXT NOT NULL, client TEXT NOT NULL, epoch INTEGER NOT NULL,
    field TEXT NOT NULL, deadline REAL NOT NULL, keys TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS op_by_alias ON op (alias, deadline);
CREATE TABLE IF NOT EXISTS dirty (
    alias TEXT NOT NULL, key TEXT NOT NULL, state INTEGER NOT NULL, source TEXT NOT NULL, seq INTEGER NOT NULL,
    open INTEGER NOT NULL, since REAL NOT NULL, claim TEXT, claim_expires REAL NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0, retry_at REAL NOT NULL DEFAULT 0, last_error TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (alias, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS dirty_now ON dirty (alias, since) WHERE state = 1;
CREATE TABLE IF NOT EXISTS chunk (
    migration TEXT NOT NULL, number INTEGER NOT NULL, lo TEXT NOT NULL, hi TEXT NOT NULL, count INTEGER NOT NULL,
    state INTEGER NOT NULL, owner TEXT, fence INTEGER NOT NULL, expires REAL NOT NULL,
    PRIMARY KEY (migration, number)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS chunk_todo ON chunk (migration, state, number) WHERE state < 3;
CREATE TABLE IF NOT EXISTS quarantine (
    alias TEXT NOT NULL, key TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL, first_seen TEXT NOT NULL,
    PRIMARY KEY (alias, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS migration (
    id TEXT PRIMARY KEY, alias TEXT NOT NULL, source TEXT NOT NULL, target TEXT NOT NULL, target_model TEXT NOT NULL,
    phase TEXT NOT NULL, run_status TEXT NOT NULL, reason TEXT NOT NULL, total INTEGER NOT NULL,
    planned INTEGER NOT NULL, tokens INTEGER NOT NULL, budget_tokens INTEGER, budget_usd REAL, price REAL NOT NULL,
    started TEXT NOT NULL, finished TEXT, coordinator TEXT, coordinator_expires REAL NOT NULL DEFAULT 0,
    verification TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tuning (
    alias TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (alias, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS golden (name TEXT PRIMARY KEY, content TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS history (
    id INTEGER PRIMARY KEY, at TEXT NOT NULL, alias TEXT NOT NULL, who TEXT NOT NULL, action TEXT NOT NULL,
    epoch INTEGER NOT NULL, detail TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS history_by_alias ON history (alias, id);
CREATE TABLE IF NOT EXISTS bookmark (
    migration TEXT NOT NULL, name TEXT NOT NULL, content TEXT NOT NULL, PRIMARY KEY (migration, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tag (
    field TEXT NOT NULL, key TEXT NOT NULL, content TEXT NOT NULL, space TEXT NOT NULL, sequence INTEGER NOT NULL,
    written REAL NOT NULL, PRIMARY KEY (field, key, content)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reservation (
    migration TEXT NOT NULL, client TEXT NOT NULL, tokens INTEGER NOT NULL, PRIMARY KEY (migration, client))
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS repriced (
    migration TEXT PRIMARY KEY, tokens INTEGER NOT NULL, usd REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pace (
    account TEXT PRIMARY KEY, content TEXT NOT NULL, moment REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batch_job (
    id TEXT PRIMARY KEY, alias TEXT NOT NULL, migration TEXT NOT NULL, account TEXT NOT NULL, state TEXT NOT NULL,
    vault TEXT NOT NULL, queued INTEGER NOT NULL, tokens INTEGER NOT NULL, price REAL NOT NULL,
    content TEXT NOT NULL, owner TEXT, fence INTEGER NOT NULL, expires REAL NOT NULL, recorded REAL NOT NULL,
    changed REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batch_piece (
    migration TEXT NOT NULL, number INTEGER NOT NULL, job TEXT NOT NULL, PRIMARY KEY (migration, number, job))
    WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS batch_piece_by_job ON batch_piece (job);
CREATE TABLE IF NOT EXISTS memo (
    version INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS observation (
    id INTEGER PRIMARY KEY AUTOINCREMENT, series TEXT NOT NULL, moment REAL NOT NULL, text TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS observation_by_series ON observation (series, moment, id);
"""

#: A wall clock may have been set back while the machine was off. Everything that was to end some time has ended by a
#: new boot, because nobody has lived through it.
_FIX_OFFSET = """
INSERT INTO boot (id, offset) SELECT ?1, max(?2, coalesce(max(moment), 0) - ?3) FROM (
    SELECT max(lease_expires) AS moment FROM client UNION ALL SELECT max(deadline) FROM op
    UNION ALL SELECT max(hold_until) FROM alias UNION ALL SELECT max(expires) FROM chunk WHERE state < 3
    UNION ALL SELECT max(claim_expires) FROM dirty UNION ALL SELECT max(since) FROM dirty
    UNION ALL SELECT max(coordinator_expires) FROM migration UNION ALL SELECT max(written) FROM tag
    UNION ALL SELECT max(moment) FROM pace UNION ALL SELECT max(max(expires, changed)) FROM batch_job)
WHERE true ON CONFLICT (id) DO NOTHING
"""

#: States of a dirty row: a clean one still means that the document was touched.
CLEAN, DIRTY = 0, 1
#: States of a chunk; a kept one waits for a job, and an older undrift leaves it alone.
PENDING, LEASED, PUBLISHING, PUBLISHED, KEPT = 0, 1, 2, 3, 4
#: States in which the pieces of a job are nobody's, as SQL.
KEEPING = ", ".join(sorted(f"'{state.value}'" for state in KEEPS_PIECES))


class Session:
    """How every part of the ledger reads and writes the file."""

    def __init__(self, database: Database, clock: Clock, *, boot_id: str = "") -> None:
        """Use a file as a ledger.

        Args:
            database: the file; shared with a store in the same file, so that both can be in one transaction.
            clock: the source of time.
            boot_id: names this start of the machine; leases are counted from it, whatever the wall clock does.
        """
        self.database = database
        self._clock = clock
        self._boot_id = boot_id
        self._offset: float | None = None
        database.also_prepare(_prepare)

    @property
    def path(self) -> Path:
        """The ledger's file."""
        return self.database.path

    def transaction_with(self, store: object) -> AbstractContextManager[None] | None:
        """Return a common transaction when the store lives in the same file."""
        if getattr(store, "database", None) is not self.database:
            return None
        return self._joint()

    def close_ledger(self) -> None:
        """Close the connections of this process."""
        self.database.close()

    @contextmanager
    def _joint(self) -> Iterator[None]:
        self._time()
        with translating(self.path, Owner.LEDGER), self.database.transaction(Durability.FULL):
            yield

    def _read(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> list[tuple[Any, ...]]:
        with translating(self.path, Owner.LEDGER):
            return self.database.read(sql, values)

    @contextmanager
    def _write(self, durability: Durability) -> Iterator[apsw.Connection]:
        self._time()
        with translating(self.path, Owner.LEDGER), self.database.transaction(durability) as connection:
            yield connection

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """Let several reads see the same moment."""
        self._time()
        with translating(self.path, Owner.LEDGER), self.database.snapshot():
            yield

    def _time(self) -> float:
        """Return seconds that all processes agree on and that a jump of the wall clock does not change.

        The suspend-aware clock of the machine starts anew at every boot, so each boot gets an offset, fixed by the
        first process that asks. It asks before any transaction: one that is undone would take the offset with it.
        """
        if self._offset is None:
            self._offset = self._boot_offset()
        return self._clock.monotonic() + self._offset

    def _boot_offset(self) -> float:
        select = "SELECT offset FROM boot WHERE id = ?"
        known = self._read(select, (self._boot_id,))
        if not known:
            with translating(self.path, Owner.LEDGER), self.database.transaction(Durability.FULL) as connection:
                monotonic = self._clock.monotonic()
                connection.execute(_FIX_OFFSET, (self._boot_id, self._clock.now().timestamp() - monotonic, monotonic))
            known = self._read(select, (self._boot_id,))
        return float(known[0][0])

    def _wall(self) -> str:
        return self._clock.now().isoformat()

    def _route(self, name: AliasName) -> tuple[Route, int]:
        """Return a route and the journal's sequence, within a transaction or outside one."""
        rows = self._read(
            "SELECT serving, follower, mode, epoch, hold_until, sequence FROM alias WHERE name = ?", (name,)
        )
        if not rows:
            raise UnknownAlias(f"the ledger knows no alias {name}", hint=f"undrift alias create {name}")
        *route, sequence = rows[0]
        return self._route_from(name, route), sequence

    def _route_from(self, name: AliasName, row: Sequence[Any]) -> Route:
        serving, follower, mode, epoch, hold_until = row
        held = hold_until and hold_until > self._time()
        return Route(
            alias=name,
            epoch=epoch,
            mode=Mode.HOLD if held else Mode(mode),
            serving=field_from(serving),
            follower=field_from(follower) if follower else None,
        )

    def _enter(
        self, connection: apsw.Connection, *, alias: str, who: str, action: str, epoch: int, detail: str
    ) -> None:
        connection.execute(
            "INSERT INTO history (at, alias, who, action, epoch, detail) VALUES (?, ?, ?, ?, ?, ?)",
            (self._wall(), alias, who, action, epoch, detail),
        )


def rows(connection: apsw.Connection, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> list[tuple[Any, ...]]:
    """Run a statement to its end and return its rows."""
    return list(connection.execute(sql, values))


def first(connection: apsw.Connection, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> tuple[Any, ...] | None:
    """Run a statement to its end and return its first row."""
    return next(iter(rows(connection, sql, values)), None)


def field_text(field: VectorField) -> str:
    """Return the stored form of a field."""
    return json.dumps({"store": field.store, "collection": field.collection, "space": field.space})


@lru_cache(maxsize=256)
def field_from(text: str) -> VectorField:
    """Read back a field."""
    values = json.loads(text)
    return VectorField(store=values["store"], collection=values["collection"], space=SpaceId(values["space"]))


def _prepare(connection: apsw.Connection) -> None:
    """Make the tables, or refuse a ledger that a newer version wrote."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'ledger_meta'").fetchone()
    if known:
        facts = {str(key): str(value) for key, value in connection.execute("SELECT key, value FROM ledger_meta")}
        version, minor = facts.get("schema_version", "0"), facts.get("schema_minor", "0")
        if int(version) > SCHEMA_VERSION:
            raise LedgerUnusable(
                f"ledger {connection.filename} was written by a newer undrift",
                f"its schema is {version}, this version knows {SCHEMA_VERSION}",
                "pip install --upgrade undrift",
            )
        if int(version) == SCHEMA_VERSION and int(minor) >= SCHEMA_MINOR:
            return
    with connection:
        connection.execute(_SCHEMA)
        connection.executemany(
            "INSERT INTO ledger_meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            [("schema_version", str(SCHEMA_VERSION)), ("schema_minor", str(SCHEMA_MINOR))],
        )
