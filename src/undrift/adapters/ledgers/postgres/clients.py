"""Processes that use an alias, their leases, and what they have acknowledged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from undrift.adapters.ledgers.postgres.session import ROUTE, Session, lock, route_from
from undrift.domain.client import ClientId, ClientInfo
from undrift.domain.route import AliasName, Route

_INFO = (
    "SELECT c.id, c.host, c.pid, c.role, c.version, k.epoch, c.lease_expires - (SELECT undrift.now()), c.process "
    "FROM undrift.ack AS k JOIN undrift.client AS c ON c.id = k.client WHERE k.alias = %s"
)
#: A lease that no alias counts on any more is kept so long, for a client that is about to join.
_KEPT_S = 3600.0


class ClientTables(Session):
    """Leases. A row that is not there means: this client is not counted on, and may not write without asking."""

    def register_client(
        self, id: ClientId, *, host: str, pid: int, role: str, version: str, lease_s: float, process: str = ""
    ) -> None:
        """Begin or renew a lease."""
        self._run(
            (
                "INSERT INTO undrift.client (id, host, pid, role, version, process, lease_expires) "
                "VALUES (%s, %s, %s, %s, %s, %s, undrift.now() + %s) "
                "ON CONFLICT (id) DO UPDATE SET lease_expires = excluded.lease_expires",
                (id, host, pid, role, version, process, float(lease_s)),
            )
        )

    def join(self, client: ClientId, alias: AliasName) -> Route | None:
        """Use an alias from its present epoch on."""
        # Without the lock, the epoch could be an old one that nobody waits for, because it was not there to be seen.
        _, rows = self._run(
            lock(alias, 1, exclusive=False),
            (
                f"WITH present AS (SELECT {ROUTE} FROM undrift.alias WHERE name = %(alias)s), "
                "joined AS (INSERT INTO undrift.ack (alias, client, epoch) "
                "  SELECT %(alias)s, %(client)s, epoch FROM present "
                "  ON CONFLICT (alias, client) DO NOTHING) SELECT * FROM present",
                {"alias": alias, "client": client},
            ),
        )
        return route_from(alias, *rows[0]) if rows else None

    def renew(self, client: ClientId, acknowledged: Mapping[AliasName, int], lease_s: float) -> bool:
        """Prolong a lease and acknowledge epochs."""
        known, kept = self._run(
            (
                "UPDATE undrift.client SET lease_expires = undrift.now() + %s WHERE id = %s RETURNING 1",
                (float(lease_s), client),
            ),
            (
                "UPDATE undrift.ack AS k SET epoch = greatest(k.epoch, given.epoch) "
                "FROM unnest(%s::text[], %s::bigint[]) AS given (alias, epoch) "
                "WHERE k.client = %s AND k.alias = given.alias "
                "AND EXISTS (SELECT 1 FROM undrift.client WHERE id = k.client) RETURNING 1",
                (list(acknowledged), list(acknowledged.values()), client),
            ),
        )
        # An alias that gave the client up does not count on it any more: it has to join again.
        return bool(known) and len(kept) == len(acknowledged)

    def leave(self, client: ClientId) -> None:
        """End a lease."""
        self._run(
            ("DELETE FROM undrift.client WHERE id = %s", (client,)),
            ("DELETE FROM undrift.ack WHERE client = %s", (client,)),
        )

    def bury(self, client: ClientId) -> None:
        """End everything of a dead client."""
        # Zero is before any fence horizon: whoever looks for work or for what to reap finds it at once.
        self._run(
            ("UPDATE undrift.migration SET coordinator = NULL WHERE coordinator = %s", (client,)),
            ("SELECT 1 FROM undrift.op WHERE client = %s ORDER BY id FOR NO KEY UPDATE", (client,)),
            ("UPDATE undrift.op SET deadline = 0 WHERE client = %s", (client,)),
            ("UPDATE undrift.batch_job SET expires = 0 WHERE owner = %s", (client,)),
            (
                "SELECT 1 FROM undrift.chunk WHERE owner = %s AND state < 3 ORDER BY migration, number "
                "FOR NO KEY UPDATE",
                (client,),
            ),
            ("UPDATE undrift.chunk SET expires = 0 WHERE owner = %s AND state < 3", (client,)),
            (
                "SELECT 1 FROM undrift.dirty WHERE state = 1 AND claim = %s ORDER BY alias, key FOR NO KEY UPDATE",
                (client,),
            ),
            ("UPDATE undrift.dirty SET claim_expires = 0 WHERE state = 1 AND claim = %s", (client,)),
            ("DELETE FROM undrift.client WHERE id = %s", (client,)),
            ("DELETE FROM undrift.ack WHERE client = %s", (client,)),
        )

    def clients(self, alias: AliasName) -> list[ClientInfo]:
        """Return the clients of an alias, the oldest lease first."""
        return [_info(*row) for row in self._read(_INFO + " ORDER BY c.lease_expires", (alias,))]

    def unacknowledged(self, alias: AliasName, epoch: int, settle_s: float) -> list[ClientInfo]:
        """Return those who may still act on an older epoch, and forget those whose time is over."""
        # A client that is forgotten here finds its row gone, and has to join again before it may write. Only this alias
        # forgets it: the store of another one may take longer to settle. Its lease is locked meanwhile, so that it
        # cannot be renewed with success at the same moment.
        *_, rows = self._run(
            (
                "WITH gone AS (SELECT c.id FROM undrift.client AS c "
                "  WHERE c.lease_expires + %s < (SELECT undrift.now()) "
                "  AND EXISTS (SELECT 1 FROM undrift.ack AS k WHERE k.client = c.id AND k.alias = %s) "
                "  ORDER BY c.id FOR UPDATE) "
                "DELETE FROM undrift.ack AS k USING gone WHERE k.client = gone.id AND k.alias = %s",
                (float(settle_s), alias, alias),
            ),
            (
                "DELETE FROM undrift.client AS c WHERE c.lease_expires < (SELECT undrift.now()) - %s "
                "AND NOT EXISTS (SELECT 1 FROM undrift.ack AS k WHERE k.client = c.id)",
                (_KEPT_S,),
            ),
            (_INFO + " AND k.epoch < %s", (alias, epoch)),
        )
        return [_info(*row) for row in rows]


def _info(*row: Any) -> ClientInfo:
    id, host, pid, role, version, epoch, left, process = row
    return ClientInfo(
        id=ClientId(id),
        host=host,
        pid=pid,
        role=role,
        version=version,
        acknowledged_epoch=epoch,
        lease_left_s=left,
        process=process,
    )
