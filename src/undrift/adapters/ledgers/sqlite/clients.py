"""Processes that use an alias, their leases, and what they have acknowledged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from undrift.adapters.ledgers.sqlite.session import Session
from undrift.adapters.sqlite import Durability
from undrift.domain.client import ClientId, ClientInfo
from undrift.domain.route import AliasName, Route
from undrift.errors import UnknownAlias

_INFO = (
    "SELECT client.id, host, pid, role, version, ack.epoch, lease_expires - :now, process "
    "FROM ack JOIN client ON client.id = ack.client WHERE ack.alias = :alias"
)
#: A lease that no alias counts on any more is kept so long, for a client that is about to join.
_KEPT_S = 3600.0


class ClientTables(Session):
    """Leases. A row that is not there means: this client is not counted on, and may not write without asking."""

    def register_client(
        self, id: ClientId, *, host: str, pid: int, role: str, version: str, lease_s: float, process: str = ""
    ) -> None:
        """Begin or renew a lease."""
        expires = self._time() + lease_s
        with self._write(Durability.NORMAL) as connection:
            connection.execute(
                "INSERT INTO client (id, host, pid, role, version, process, lease_expires) VALUES (?, ?, ?, ?, "
                "?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET lease_expires = excluded.lease_expires",
                (id, host, pid, role, version, process, expires),
            )

    def join(self, client: ClientId, alias: AliasName) -> Route | None:
        """Use an alias from its present epoch on."""
        with self._write(Durability.NORMAL) as connection:
            try:
                route, _ = self._route(alias)
            except UnknownAlias:
                return None
            connection.execute(
                "INSERT INTO ack (alias, client, epoch) VALUES (?, ?, ?) ON CONFLICT (alias, client) DO NOTHING",
                (alias, client, route.epoch),
            )
        return route

    def renew(self, client: ClientId, acknowledged: Mapping[AliasName, int], lease_s: float) -> bool:
        """Prolong a lease and acknowledge epochs."""
        expires = self._time() + lease_s
        with self._write(Durability.NORMAL) as connection:
            connection.execute("UPDATE client SET lease_expires = ? WHERE id = ?", (expires, client))
            if not connection.changes():
                return False
            connection.execute(
                "UPDATE ack SET epoch = max(epoch, given.value) FROM json_each(?) AS given "
                "WHERE ack.client = ? AND ack.alias = given.key",
                (json.dumps(acknowledged), client),
            )
            # An alias that gave the client up does not count on it any more: it has to join again.
            return connection.changes() == len(acknowledged)

    def leave(self, client: ClientId) -> None:
        """End a lease."""
        with self._write(Durability.NORMAL) as connection:
            connection.execute("DELETE FROM ack WHERE client = ?", (client,))
            connection.execute("DELETE FROM client WHERE id = ?", (client,))

    def bury(self, client: ClientId) -> None:
        """End everything of a dead client."""
        with self._write(Durability.NORMAL) as connection:
            # Zero is before any fence horizon: whoever looks for work or for what to reap finds it at once.
            connection.execute("UPDATE chunk SET expires = 0 WHERE owner = ? AND state < 3", (client,))
            connection.execute("UPDATE dirty SET claim_expires = 0 WHERE state = 1 AND claim = ?", (client,))
            connection.execute("UPDATE op SET deadline = 0 WHERE client = ?", (client,))
            connection.execute("UPDATE batch_job SET expires = 0 WHERE owner = ?", (client,))
            connection.execute("UPDATE migration SET coordinator = NULL WHERE coordinator = ?", (client,))
            connection.execute("DELETE FROM ack WHERE client = ?", (client,))
            connection.execute("DELETE FROM client WHERE id = ?", (client,))

    def clients(self, alias: AliasName) -> list[ClientInfo]:
        """Return the clients of an alias, the oldest lease first."""
        rows = self._read(_INFO + " ORDER BY lease_expires", {"alias": alias, "now": self._time()})
        return [_info(*row) for row in rows]

    def unacknowledged(self, alias: AliasName, epoch: int, settle_s: float) -> list[ClientInfo]:
        """Return those who may still act on an older epoch, and forget those whose time is over."""
        now = self._time()
        with self._write(Durability.NORMAL) as connection:
            # A client that is forgotten here finds its row gone, and has to join again before it may write. Only this
            # alias forgets it: the store of another one may take longer to settle.
            connection.execute(
                "DELETE FROM ack WHERE alias = ? AND client IN (SELECT id FROM client WHERE lease_expires + ? < ?)",
                (alias, settle_s, now),
            )
            connection.execute(
                "DELETE FROM client WHERE lease_expires < ? AND id NOT IN (SELECT client FROM ack)", (now - _KEPT_S,)
            )
            rows = list(
                connection.execute(_INFO + " AND ack.epoch < :epoch", {"alias": alias, "now": now, "epoch": epoch})
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
