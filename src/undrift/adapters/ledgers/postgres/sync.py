"""Dirty documents that workers carry to the other field, and those that cannot be carried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from undrift.adapters.ledgers.postgres.session import PUBLISHING, Session, Statement, lock, moment, seconds_of
from undrift.domain.checkpoint import Claim, Quarantined
from undrift.domain.client import ClientId
from undrift.domain.migration import SYNCING, RunStatus
from undrift.domain.record import DocumentId
from undrift.domain.route import AliasName, FieldKey

#: A document that is being written all the time is carried anyway after this long, though it cannot be cleared yet.
PATIENCE_S = 5.0

_PHASES = ", ".join(f"'{phase.value}'" for phase in SYNCING)
#: SKIP LOCKED: a document that somebody changes at this moment is another time's work, and nobody waits in a circle.
_CLAIM = (
    "WITH clock AS MATERIALIZED (SELECT undrift.now() AS now), place AS MATERIALIZED ("
    "  SELECT a.serving_key, m.id, m.run_status = %(running)s AS running FROM undrift.alias AS a "
    f"  JOIN undrift.migration AS m ON m.id = a.migration WHERE a.name = %(alias)s AND m.phase IN ({_PHASES})), "
    "chosen AS (SELECT d.key, d.source = place.serving_key AS own, d.since FROM undrift.dirty AS d, place, clock "
    "  WHERE d.alias = %(alias)s AND d.state = 1 AND (d.claim IS NULL OR d.claim_expires + %(settle)s < clock.now) "
    "  AND d.retry_at <= clock.now AND (d.open = 0 OR d.since + %(patience)s < clock.now) "
    "  AND (%(only)s::text[] IS NULL OR d.key = ANY (%(only)s::text[])) "
    "  AND (place.running OR d.source <> place.serving_key OR %(only)s::text[] IS NOT NULL) "
    "  AND NOT EXISTS (SELECT 1 FROM undrift.chunk AS c WHERE c.migration = place.id AND c.state = %(publishing)s "
    "    AND d.key > c.lo AND d.key <= c.hi) "
    "  ORDER BY d.source = place.serving_key, d.since LIMIT %(limit)s FOR NO KEY UPDATE OF d SKIP LOCKED), "
    "taken AS (UPDATE undrift.dirty AS d SET claim = %(owner)s, claim_expires = (SELECT now FROM clock) + %(lease)s "
    "  FROM chosen WHERE d.alias = %(alias)s AND d.key = chosen.key "
    "  RETURNING d.key, d.source, d.seq, d.attempts, chosen.own, d.since) "
    "SELECT key, source, seq, attempts, (SELECT now FROM clock) FROM taken ORDER BY own, since"
)


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
        due = (
            "SELECT 1 FROM undrift.dirty WHERE alias = %s AND state = 1 AND retry_at <= (SELECT undrift.now()) LIMIT 1"
        )
        if not self._read(due, (alias,)):
            return []
        values = {
            "alias": alias,
            "settle": float(settle_s),
            "patience": PATIENCE_S,
            "publishing": PUBLISHING,
            "limit": limit,
            "only": None if only is None else list(only),
            "running": RunStatus.RUNNING.value,
            "owner": owner,
            "lease": float(lease_s),
        }
        # In a transaction of its own, so that no writer waits for the claim: what counts holds the row of the alias.
        self._run(
            (
                "SELECT undrift.settle(%(alias)s) WHERE EXISTS (SELECT 1 FROM undrift.ended WHERE alias = %(alias)s)",
                {"alias": alias},
            )
        )
        _, found = self._run(lock(alias, 2, exclusive=False), (_CLAIM, values))
        return [
            Claim(key=DocumentId(key), source=FieldKey(source), sequence=sequence, attempts=attempts, taken_at=taken_at)
            for key, source, sequence, attempts, taken_at in found
        ]

    def clear(self, alias: AliasName, claims: Sequence[Claim], *, owner: ClientId) -> int:
        """Give claims back; a document is clean when nothing was written to it since it was claimed.

        Another one is behind by what was written since the claim, and not by all that came before.
        """
        keys = [claim.key for claim in claims]
        _, cleared = self._run(
            _lock_keys(alias, keys),
            (
                "UPDATE undrift.dirty AS d SET claim = NULL, attempts = 0, last_error = '', "
                "since = greatest(d.since, given.taken_at), "
                "state = CASE WHEN d.seq = given.seq AND d.open = 0 THEN 0 ELSE 1 END "
                "FROM unnest(%s::text[], %s::bigint[], %s::float8[]) AS given (key, seq, taken_at) "
                "WHERE d.alias = %s AND d.key = given.key AND d.claim = %s RETURNING d.state = 0",
                (keys, [claim.sequence for claim in claims], [claim.taken_at for claim in claims], alias, owner),
            ),
        )
        return sum(flag for (flag,) in cleared)

    def postpone(
        self, alias: AliasName, claims: Sequence[Claim], *, owner: ClientId, delay_s: float, error: str
    ) -> None:
        """Give claims back undone."""
        keys = [claim.key for claim in claims]
        self._run(
            _lock_keys(alias, keys),
            (
                "UPDATE undrift.dirty SET claim = NULL, attempts = attempts + 1, "
                "retry_at = (SELECT undrift.now()) + %s, last_error = %s "
                "WHERE alias = %s AND claim = %s AND key = ANY (%s::text[])",
                (float(delay_s), _kept(error), alias, owner, keys),
            ),
        )

    def in_flight(self, alias: AliasName, settle_s: float) -> int:
        """Return how much may still be on its way to the follower."""
        ((count,),) = self._read(
            "WITH clock AS MATERIALIZED (SELECT undrift.now() - %(settle)s AS settled) "
            "SELECT (SELECT count(*) FROM undrift.chunk AS c JOIN undrift.alias AS a ON a.migration = c.migration "
            "  WHERE a.name = %(alias)s AND c.state = %(publishing)s AND c.expires >= (SELECT settled FROM clock)) "
            "+ (SELECT count(*) FROM undrift.dirty WHERE alias = %(alias)s AND state = 1 AND claim IS NOT NULL "
            "  AND claim_expires >= (SELECT settled FROM clock))",
            {"alias": alias, "settle": float(settle_s), "publishing": PUBLISHING},
        )
        return int(count)

    def quarantine(self, alias: AliasName, reasons: Mapping[DocumentId, tuple[str, str]]) -> None:
        """Set documents aside."""
        keys = sorted(reasons)
        self._run(
            (
                "INSERT INTO undrift.quarantine (alias, key, reason, detail, first_seen) "
                "SELECT %s, given.key, given.reason, given.detail, to_timestamp((SELECT undrift.now())) "
                "FROM unnest(%s::text[], %s::text[], %s::text[]) AS given (key, reason, detail) "
                "ON CONFLICT (alias, key) DO UPDATE SET reason = excluded.reason, detail = excluded.detail",
                (
                    alias,
                    keys,
                    [_kept(reasons[key][0]) for key in keys],
                    [_kept(reasons[key][1]) for key in keys],
                ),
            )
        )

    def release(self, alias: AliasName, keys: Sequence[DocumentId]) -> None:
        """Let documents out of quarantine."""
        if not keys or not self.quarantined_count(alias):
            return
        self._run(
            (
                "SELECT 1 FROM undrift.quarantine WHERE alias = %s AND key = ANY (%s::text[]) ORDER BY key FOR UPDATE",
                (alias, list(keys)),
            ),
            ("DELETE FROM undrift.quarantine WHERE alias = %s AND key = ANY (%s::text[])", (alias, list(keys))),
        )

    def quarantined(
        self, alias: AliasName, *, limit: int = 1000, only: Sequence[DocumentId] | None = None
    ) -> list[Quarantined]:
        """Return documents in quarantine."""
        held = self._read(
            f"SELECT key, reason, detail, {seconds_of('first_seen')} FROM undrift.quarantine WHERE alias = %s "
            "AND (%s::text[] IS NULL OR key = ANY (%s::text[])) ORDER BY key LIMIT %s",
            (alias, *[None if only is None else list(only)] * 2, limit),
        )
        return [
            Quarantined(key=DocumentId(key), reason=reason, detail=detail, first_seen=moment(seen))
            for key, reason, detail, seen in held
        ]

    def quarantined_count(self, alias: AliasName) -> int:
        """Return how many documents are in quarantine."""
        ((count,),) = self._read("SELECT count(*) FROM undrift.quarantine WHERE alias = %s", (alias,))
        return int(count)


def _lock_keys(alias: AliasName, keys: Sequence[DocumentId]) -> Statement:
    return (
        "SELECT 1 FROM undrift.dirty WHERE alias = %s AND key = ANY (%s::text[]) ORDER BY key FOR NO KEY UPDATE",
        (alias, list(keys)),
    )


def _kept(text: str) -> str:
    """Return a message of somebody else as PostgreSQL can keep it."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
