"""Dirty documents that workers carry to the other field, and those that cannot be carried."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from undrift.adapters.ledgers.sqlite.session import PUBLISHING, Session, rows
from undrift.adapters.sqlite import Durability
from undrift.domain.checkpoint import Claim, Quarantined
from undrift.domain.client import ClientId
from undrift.domain.migration import SYNCING, RunStatus
from undrift.domain.record import DocumentId
from undrift.domain.route import AliasName, FieldKey

#: A document that is being written all the time is carried anyway after this long, though it cannot be cleared yet.
PATIENCE_S = 5.0


class SyncTables(Session):
    """Claims on dirty documents, and the quarantine."""

    def claim(
        self,
        alias: AliasName,
        *,
        owner: ClientId,
        limit: int,
        lease_s: float,
        settle_s: float,
        only: Sequence[DocumentId] | None = None,
    ) -> list[Claim]:
        """Take dirty documents: those that writers wait for first, then the oldest."""
        now = self._time()
        if not self._read("SELECT 1 FROM dirty WHERE alias = ? AND state = 1 AND retry_at <= ? LIMIT 1", (alias, now)):
            return []
        values = {
            "alias": alias,
            "now": now,
            "settled": now - settle_s,
            "impatient": now - PATIENCE_S,
            "publishing": PUBLISHING,
            "limit": limit,
            "only": None if only is None else json.dumps(only),
            "running": RunStatus.RUNNING.value,
            "owner": owner,
            "expires": now + lease_s,
        }
        with self._write(Durability.NORMAL) as connection:
            route, _ = self._route(alias)
            values["serving"] = route.serving.key
            phases = ", ".join(f"'{phase.value}'" for phase in SYNCING)
            found = rows(
                connection,
                "SELECT key, source, seq, attempts FROM dirty WHERE alias = :alias AND state = 1 "
                "AND (claim IS NULL OR claim_expires < :settled) AND retry_at <= :now "
                "AND (open = 0 OR since < :impatient) "
                "AND (:only IS NULL OR key IN (SELECT value FROM json_each(:only))) "
                "AND NOT EXISTS (SELECT 1 FROM chunk WHERE migration = (SELECT migration FROM alias WHERE name = "
                ":alias) "
                "  AND chunk.state = :publishing AND dirty.key > chunk.lo AND dirty.key <= chunk.hi) "
                "AND EXISTS (SELECT 1 FROM migration JOIN alias ON alias.migration = migration.id WHERE "
                "alias.name = :alias "
                f"  AND phase IN ({phases}) AND (run_status = :running OR dirty.source != :serving OR :only IS "
                f"NOT NULL)) "
                "ORDER BY source = :serving, since LIMIT :limit",
                values,
            )
            claims = [
                Claim(key=DocumentId(key), source=FieldKey(source), sequence=sequence, attempts=attempts, taken_at=now)
                for key, source, sequence, attempts in found
            ]
            connection.execute(
                "UPDATE dirty SET claim = :owner, claim_expires = :expires WHERE alias = :alias "
                "AND key IN (SELECT value FROM json_each(:keys))",
                {**values, "keys": json.dumps([claim.key for claim in claims])},
            )
        return claims

    def clear(self, alias: AliasName, claims: Sequence[Claim], *, owner: ClientId) -> int:
        """Give claims back; a document is clean when nothing was written to it since it was claimed.

        One that is still being written could be carried again and again without ever being clean: it waits a while, or
        until that write ends. It is behind by what was written since the claim, and not by all that came before.
        """
        given = json.dumps([[claim.key, claim.sequence, claim.taken_at] for claim in claims])
        with self._write(Durability.NORMAL) as connection:
            cleared = rows(
                connection,
                "UPDATE dirty SET claim = NULL, attempts = 0, last_error = '', retry_at = iif(open > 0, ?, 0), "
                "since = max(since, json_extract(given.value, '$[2]')), "
                "state = iif(seq = json_extract(given.value, '$[1]') AND open = 0, 0, 1) FROM json_each(?) AS given "
                "WHERE alias = ? AND dirty.key = json_extract(given.value, '$[0]') AND claim = ? RETURNING state = 0",
                (self._time() + PATIENCE_S, given, alias, owner),
            )
        return sum(flag for (flag,) in cleared)

    def postpone(
        self, alias: AliasName, claims: Sequence[Claim], *, owner: ClientId, delay_s: float, error: str
    ) -> None:
        """Give claims back undone."""
        with self._write(Durability.NORMAL) as connection:
            connection.execute(
                "UPDATE dirty SET claim = NULL, attempts = attempts + 1, retry_at = ?, last_error = ? "
                "WHERE alias = ? AND claim = ? AND key IN (SELECT value FROM json_each(?))",
                (self._time() + delay_s, error, alias, owner, json.dumps([claim.key for claim in claims])),
            )

    def in_flight(self, alias: AliasName, settle_s: float) -> int:
        """Return how much may still be on its way to the follower."""
        settled = self._time() - settle_s
        ((count,),) = self._read(
            "SELECT (SELECT count(*) FROM chunk WHERE migration = (SELECT migration FROM alias WHERE name = ?1) "
            "AND state = ?2 AND expires >= ?3) + "
            "(SELECT count(*) FROM dirty WHERE alias = ?1 AND state = 1 AND claim IS NOT NULL AND claim_expires >= ?3)",
            (alias, PUBLISHING, settled),
        )
        return int(count)

    def quarantine(self, alias: AliasName, reasons: Mapping[DocumentId, tuple[str, str]]) -> None:
        """Set documents aside."""
        with self._write(Durability.NORMAL) as connection:
            connection.executemany(
                "INSERT INTO quarantine (alias, key, reason, detail, first_seen) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (alias, key) DO UPDATE SET reason = excluded.reason, detail = excluded.detail",
                [(alias, key, reason, detail, self._wall()) for key, (reason, detail) in reasons.items()],
            )

    def release(self, alias: AliasName, keys: Sequence[DocumentId]) -> None:
        """Let documents out of quarantine."""
        if not keys or not self.quarantined_count(alias):
            return
        with self._write(Durability.NORMAL) as connection:
            connection.execute(
                "DELETE FROM quarantine WHERE alias = ? AND key IN (SELECT value FROM json_each(?))",
                (alias, json.dumps(keys)),
            )

    def quarantined(
        self, alias: AliasName, *, limit: int = 1000, only: Sequence[DocumentId] | None = None
    ) -> list[Quarantined]:
        """Return documents in quarantine."""
        held = self._read(
            "SELECT key, reason, detail, first_seen FROM quarantine WHERE alias = ?1 "
            "AND (?3 IS NULL OR key IN (SELECT value FROM json_each(?3))) ORDER BY key LIMIT ?2",
            (alias, limit, None if only is None else json.dumps(only)),
        )
        return [
            Quarantined(key=DocumentId(key), reason=reason, detail=detail, first_seen=datetime.fromisoformat(seen))
            for key, reason, detail, seen in held
        ]

    def quarantined_count(self, alias: AliasName) -> int:
        """Return how many documents are in quarantine."""
        ((count,),) = self._read("SELECT count(*) FROM quarantine WHERE alias = ?", (alias,))
        return int(count)
