"""The bracket around a write: open, close, reap."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import apsw

from undrift.adapters.ledgers.sqlite.session import DIRTY, Session, first, rows
from undrift.adapters.sqlite import Durability
from undrift.domain.checkpoint import Lag
from undrift.domain.client import ClientId
from undrift.domain.operation import Foreign, Held, Opened, OpenResult, OperationId, Passive
from undrift.domain.record import DocumentId
from undrift.domain.route import AliasName, FieldKey, Mode


class JournalTables(Session):
    """Dirty documents and the operations that make them so. A row in `op` exists exactly while an operation is open."""

    def open(self, alias: AliasName, keys: Sequence[DocumentId], *, client: ClientId, deadline_s: float) -> OpenResult:
        """Mark documents dirty before the store is asked to change them."""
        listed = json.dumps(keys)
        # FULL: a mark that a power loss takes back, while the store keeps the write, would be a lost update.
        with self._write(Durability.FULL) as connection:
            route, sequence = self._route(alias)
            if route.mode is Mode.PASSIVE:
                return Passive(route=route)
            if route.mode is Mode.HOLD:
                return Held(route=route)
            foreign = rows(
                connection,
                "SELECT dirty.key FROM json_each(?) AS given JOIN dirty ON dirty.key = given.value "
                "WHERE alias = ? AND state = ? AND source != ?",
                (listed, alias, DIRTY, route.serving.key),
            )
            if foreign:
                return Foreign(route=route, keys=tuple(DocumentId(key) for (key,) in foreign))
            sequence += 1
            now = self._time()
            connection.execute("UPDATE alias SET sequence = ? WHERE name = ?", (sequence, alias))
            connection.execute(
                "INSERT INTO op (alias, client, epoch, field, deadline, keys) VALUES (?, ?, ?, ?, ?, ?)",
                (alias, client, route.epoch, route.serving.key, now + deadline_s, listed),
            )
            operation = OperationId(connection.last_insert_rowid())
            connection.execute(
                "INSERT INTO dirty (alias, key, state, source, seq, open, since) "
                "SELECT ?1, value, 1, ?2, ?3, 1, ?4 FROM json_each(?5) WHERE true "
                "ON CONFLICT (alias, key) DO UPDATE SET state = 1, source = excluded.source, seq = excluded.seq, "
                "open = open + 1, since = iif(state = 1, since, excluded.since), "
                "retry_at = iif(attempts > 0, 0, retry_at), attempts = 0",
                (alias, route.serving.key, sequence, now, listed),
            )
        return Opened(operation=operation, route=route, sequence=sequence)

    def close(self, alias: AliasName, operation: OperationId, keys: Sequence[DocumentId]) -> bool:
        """End an operation, or mark its documents again when somebody else already ended it."""
        # NORMAL: a close that a power loss takes back leaves an open operation, which is reaped.
        with self._write(Durability.NORMAL) as connection:
            row = first(connection, "DELETE FROM op WHERE id = ? AND alias = ? RETURNING keys", (operation, alias))
            if row is None:
                route, _ = self._route(alias)
                if route.follower is not None:
                    self._mark(connection, alias, keys, route.serving.key, bump_dirty=True)
                return False
            self._end(connection, alias, row[0])
        return True

    def reap(self, alias: AliasName, settle_s: float) -> int:
        """Close operations that can have no request in flight any more."""
        now = self._time()
        if not self._read("SELECT 1 FROM op WHERE alias = ? AND deadline + ? < ? LIMIT 1", (alias, settle_s, now)):
            return 0
        with self._write(Durability.NORMAL) as connection:
            reaped = rows(
                connection, "DELETE FROM op WHERE alias = ? AND deadline + ? < ? RETURNING keys", (alias, settle_s, now)
            )
            for (keys,) in reaped:
                self._end(connection, alias, keys)
        return len(reaped)

    def mark(self, alias: AliasName, keys: Sequence[DocumentId], *, source: FieldKey | None = None) -> None:
        """Make documents dirty to heal a difference."""
        with self._write(Durability.NORMAL) as connection:
            route, _ = self._route(alias)
            self._mark(connection, alias, keys, source or route.serving.key, bump_dirty=False)

    def journal_state(self, alias: AliasName, keys: Iterable[DocumentId]) -> dict[DocumentId, tuple[bool, int]]:
        """Return which of the keys were touched."""
        rows = self._read(
            "SELECT dirty.key, state, seq FROM json_each(?) AS given JOIN dirty ON dirty.key = given.value WHERE "
            "alias = ?",
            (json.dumps(list(keys)), alias),
        )
        return {DocumentId(key): (state == DIRTY, seq) for key, state, seq in rows}

    def touched(self, alias: AliasName, *, after: int) -> int:
        """Return how many documents have a later number."""
        ((count,),) = self._read("SELECT count(*) FROM dirty WHERE alias = ? AND seq > ?", (alias, after))
        return int(count)

    def require_reconcile(self, alias: AliasName, reason: str, *, sequence: int) -> None:
        """Keep a cutover from happening before both fields were compared, and never give out a number twice."""
        with self._write(Durability.FULL) as connection:
            connection.execute(
                "UPDATE alias SET needs_reconcile = ?, sequence = max(sequence, ?) WHERE name = ?",
                (reason, sequence, alias),
            )

    def reconciled(self, alias: AliasName) -> None:
        """Record that both fields were compared and are equal."""
        with self._write(Durability.FULL) as connection:
            connection.execute("UPDATE alias SET needs_reconcile = '' WHERE name = ?", (alias,))

    def lag(self, alias: AliasName) -> Lag:
        """Return how far the follower is behind, at one moment."""
        with self._snapshot():
            route, _ = self._route(alias)
            ((dirty, foreign, oldest),) = self._read(
                "SELECT count(*), coalesce(sum(source != ?), 0), min(since) FROM dirty "
                "WHERE alias = ? AND state = 1 AND ?",
                (route.serving.key, alias, route.follower is not None),
            )
            ((operations,),) = self._read("SELECT count(*) FROM op WHERE alias = ?", (alias,))
            longest = self._read(
                "SELECT client, deadline FROM op WHERE alias = ? ORDER BY deadline DESC LIMIT 1", (alias,)
            )
        now = self._time()
        age = None if oldest is None else max(0.0, now - oldest)
        slowest, deadline = longest[0] if longest else ("", now)
        return Lag(
            dirty=dirty,
            foreign=foreign,
            open=operations,
            oldest_s=age,
            slowest=slowest,
            slowest_s=deadline - now,
        )

    def _end(self, connection: apsw.Connection, alias: AliasName, keys: str) -> None:
        """CLOSE BUMPS SEQ: a worker that read the store before this write landed may not clear the mark after it."""
        sequence = self._bump(connection, alias)
        connection.execute(
            "UPDATE dirty SET seq = ?, open = max(open - 1, 0), "
            "retry_at = iif(open <= 1 AND attempts = 0, 0, retry_at) "
            "WHERE alias = ? AND key IN (SELECT value FROM json_each(?))",
            (sequence, alias, keys),
        )

    def _mark(
        self,
        connection: apsw.Connection,
        alias: AliasName,
        keys: Sequence[DocumentId],
        source: FieldKey,
        *,
        bump_dirty: bool,
    ) -> None:
        sequence = self._bump(connection, alias)
        connection.execute(
            "INSERT INTO dirty (alias, key, state, source, seq, open, since) "
            "SELECT ?1, value, 1, ?2, ?3, 0, ?4 FROM json_each(?5) WHERE true "
            "ON CONFLICT (alias, key) DO UPDATE SET source = iif(state = 1, source, excluded.source), "
            "seq = iif(state = 1 AND NOT ?6, seq, excluded.seq), since = iif(state = 1, since, excluded.since), "
            "state = 1, attempts = 0, retry_at = 0",
            (alias, source, sequence, self._time(), json.dumps(keys), bump_dirty),
        )

    def _bump(self, connection: apsw.Connection, alias: AliasName) -> int:
        ((sequence,),) = rows(
            connection, "UPDATE alias SET sequence = sequence + 1 WHERE name = ? RETURNING sequence", (alias,)
        )
        return int(sequence)
