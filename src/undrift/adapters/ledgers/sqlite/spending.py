"""What migrations spend, and the pace of the accounts that they spend it on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeVar

import apsw

from undrift.adapters.ledgers.sqlite.migrations import migration_from, select_migration
from undrift.adapters.ledgers.sqlite.session import Session, first, rows
from undrift.adapters.sqlite import Durability
from undrift.domain import pacing
from undrift.domain.budget import PROOFS, Room, Spending, exhausted, room_for, spending_of
from undrift.domain.client import ClientId
from undrift.domain.migration import Migration, MigrationId
from undrift.domain.pace import SeenLimits
from undrift.domain.pacing import Ask, Pace, PaceLimits, Slice

_UNDER_WAY = (
    "SELECT coalesce(sum(reservation.tokens), 0) FROM reservation JOIN client ON client.id = reservation.client "
    "WHERE reservation.migration = ? AND client.lease_expires > ?"
)
_PROOFS = "SELECT coalesce(sum(tokens), 0) FROM reservation WHERE migration = ? AND client = ?"
_T = TypeVar("_T")


class SpendingTables(Session):
    """One row a migration and client for what is put aside; `migration.tokens` counts it from the beginning."""

    def spend(self, migration: MigrationId, tokens: int) -> None:
        """Count tokens; against a budget they are reserved, durably, before they are sent."""
        with self._write(self._durability(migration)) as connection:
            found = _migration(connection, migration)
            if tokens > 0 and room_for(found, tokens, under_way=0) is not Room.NOW:
                raise exhausted(found, tokens)
            _add(connection, migration, tokens)

    def reserve(self, migration: MigrationId, tokens: int, *, owner: ClientId) -> bool:
        """Put tokens aside for a request."""
        with self._write(self._durability(migration)) as connection:
            found = _migration(connection, migration)
            room = room_for(found, tokens, under_way=self._under_way(connection, migration))
            if room is Room.NEVER:
                raise exhausted(found, tokens)
            if room is Room.LATER:
                return False
            _add(connection, migration, tokens)
            _put_aside(connection, migration, owner, tokens)
        return True

    def settle(self, migration: MigrationId, *, reserved: int, billed: int, owner: ClientId) -> None:
        """Replace what was put aside; less of it may be forgotten by a power loss, more may not."""
        with self._write(Durability.FULL if billed > reserved else Durability.NORMAL) as connection:
            _add(connection, migration, billed - reserved)
            _put_aside(connection, migration, owner, -reserved)

    def spending(self, migration: MigrationId) -> Spending:
        """Return what is spent, put aside and left."""
        with self._snapshot():
            (row,) = self._read(select_migration("id = ?"), (migration,))
            ((under_way,),) = self._read(_UNDER_WAY, (migration, self._time()))
            ((proofs,),) = self._read(_PROOFS, (migration, PROOFS))
        return spending_of(migration_from(row), under_way=under_way, proofs=proofs)

    def set_budget(self, migration: MigrationId, *, tokens: int | None, usd: float | None) -> None:
        """Change what a migration may spend."""
        with self._write(Durability.FULL) as connection:
            connection.execute(
                "UPDATE migration SET budget_tokens = ?, budget_usd = ? WHERE id = ?", (tokens, usd, migration)
            )

    def raise_price(self, migration: MigrationId, usd_per_million_tokens: float, *, who: str) -> bool:
        """Reckon with a higher price from now on."""
        with self._write(Durability.FULL) as connection:
            found = _migration(connection, migration)
            if usd_per_million_tokens <= found.usd_per_million_tokens:
                return False
            dearer = found.dearer(usd_per_million_tokens, reserved=self._under_way(connection, migration))
            connection.execute("UPDATE migration SET price = ? WHERE id = ?", (usd_per_million_tokens, migration))
            connection.execute(
                "INSERT OR REPLACE INTO repriced (migration, tokens, usd) VALUES (?, ?, ?)",
                (migration, dearer.tokens_before, dearer.usd_before),
            )
            route, _ = self._route(found.alias)
            self._enter(
                connection,
                alias=found.alias,
                who=who,
                action="price_rose",
                epoch=route.epoch,
                detail=f"from {found.usd_per_million_tokens:g} to {usd_per_million_tokens:g} dollars a million tokens",
            )
            return True

    def take_pace(self, account: str, ask: Ask) -> Slice:
        """Grant a slice of an account's pace."""
        return self._paced(account, lambda pace, now: pacing.take(pace, now, ask))

    def pace_refused(self, account: str, seen: SeenLimits, limits: PaceLimits) -> None:
        """Take note that a request was refused for the pace."""
        self._paced(account, lambda pace, now: (pacing.refused(pace, now, seen, limits), None))

    def paces(self, beginning: str) -> dict[str, Pace]:
        """Return what is known of the pace of accounts."""
        found = self._read(
            "SELECT account, content FROM pace WHERE substr(account, 1, length(?1)) = ?1 ORDER BY account", (beginning,)
        )
        return {account: Pace.from_dict(json.loads(content)) for account, content in found}

    def _paced(self, account: str, work: Callable[[Pace, float], tuple[Pace, _T]]) -> _T:
        """Change what is known of an account; nobody else does at the same time."""
        with self._write(Durability.NORMAL) as connection:
            row = first(connection, "SELECT content FROM pace WHERE account = ?", (account,))
            pace, answer = work(Pace.from_dict(json.loads(row[0])) if row else Pace(), self._time())
            connection.execute(
                "INSERT OR REPLACE INTO pace (account, content, moment) VALUES (?, ?, ?)",
                (account, json.dumps(pace.as_dict()), pace.moment),
            )
        return answer

    def _durability(self, migration: MigrationId) -> Durability:
        (row,) = self._read(select_migration("id = ?"), (migration,))
        return Durability.NORMAL if migration_from(row).token_limit is None else Durability.FULL

    def _under_way(self, connection: apsw.Connection, migration: MigrationId) -> int:
        ((tokens,),) = rows(connection, _UNDER_WAY, (migration, self._time()))
        return int(tokens)


def _migration(connection: apsw.Connection, migration: MigrationId) -> Migration:
    (row,) = rows(connection, select_migration("id = ?"), (migration,))
    return migration_from(row)


def _add(connection: apsw.Connection, migration: MigrationId, tokens: int) -> None:
    connection.execute("UPDATE migration SET tokens = tokens + ? WHERE id = ?", (tokens, migration))


def _put_aside(connection: apsw.Connection, migration: MigrationId, owner: ClientId, tokens: int) -> None:
    connection.execute(
        "INSERT INTO reservation (migration, client, tokens) VALUES (?, ?, ?) "
        "ON CONFLICT (migration, client) DO UPDATE SET tokens = tokens + excluded.tokens",
        (migration, owner, tokens),
    )
