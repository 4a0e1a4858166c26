"""What migrations spend, and the pace of the accounts that they spend it on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from undrift.adapters.ledgers.postgres.migrations import migration_columns, migration_from
from undrift.adapters.ledgers.postgres.session import Session, Statement, enter
from undrift.domain import pacing
from undrift.domain.budget import PROOFS, Room, Spending, exhausted, room_for, spending_of
from undrift.domain.client import ClientId
from undrift.domain.migration import Migration, MigrationId
from undrift.domain.pace import SeenLimits
from undrift.domain.pacing import Ask, Pace, PaceLimits, Slice

_UNDER_WAY = (
    "SELECT coalesce(sum(r.tokens), 0)::bigint FROM undrift.reservation AS r "
    "JOIN undrift.client AS c ON c.id = r.client WHERE r.migration = %s AND c.lease_expires > (SELECT undrift.now())"
)
_PROOFS = (
    "SELECT coalesce(sum(p.tokens), 0)::bigint FROM undrift.reservation AS p WHERE p.migration = %s AND p.client = %s"
)
_SELECT = f"SELECT {migration_columns('m')} FROM undrift.migration AS m WHERE m.id = %s"
#: Its waiter sees what was committed meanwhile only in a statement that begins afterwards.
_LOCK = "SELECT 1 FROM undrift.migration WHERE id = %s FOR NO KEY UPDATE"
_COUNT = (
    "WITH counted AS (UPDATE undrift.migration SET tokens = tokens + %s "
    "WHERE id = %s AND budget_tokens IS NULL AND budget_usd IS NULL RETURNING 1) SELECT count(*) FROM counted"
)
_PACE = "SELECT content, undrift.now() FROM undrift.pace WHERE account = %s FOR NO KEY UPDATE"

_T = TypeVar("_T")


class SpendingTables(Session):
    """One row a migration and client for what is put aside; `migration.tokens` counts it from the beginning."""

    def spend(self, migration: MigrationId, tokens: int) -> None:
        """Count tokens; against a budget they are reserved, durably, before they are sent."""
        # Where there is no budget, there is nothing to look at before.
        ((counted,),) = self._run((_COUNT, (tokens, migration)))[0]
        if counted:
            return

        def work(connection: Any) -> None:
            found = _locked(connection, migration)
            if tokens > 0 and room_for(found, tokens, under_way=0) is not Room.NOW:
                raise exhausted(found, tokens)
            connection.execute(*_add(migration, tokens))

        self._transact(work, durable=self._is_limited(migration))

    def reserve(self, migration: MigrationId, tokens: int, *, owner: ClientId) -> bool:
        """Put tokens aside for a request."""

        def work(connection: Any) -> bool:
            found = _locked(connection, migration)
            room = room_for(found, tokens, under_way=_under_way(connection, migration))
            if room is Room.NEVER:
                raise exhausted(found, tokens)
            if room is Room.NOW:
                connection.execute(*_add(migration, tokens))
                connection.execute(*_put_aside(migration, owner, tokens))
            return room is Room.NOW

        return self._transact(work, durable=self._is_limited(migration))

    def settle(self, migration: MigrationId, *, reserved: int, billed: int, owner: ClientId) -> None:
        """Replace what was put aside; less of it may be forgotten by a power loss, more may not."""
        self._run(
            _add(migration, billed - reserved), _put_aside(migration, owner, -reserved), durable=billed > reserved
        )

    def spending(self, migration: MigrationId) -> Spending:
        """Return what is spent, put aside and left."""
        *row, under_way, proofs = self._read(
            f"SELECT {migration_columns('m')}, ({_UNDER_WAY}), ({_PROOFS}) FROM undrift.migration AS m WHERE m.id = %s",
            (migration, migration, PROOFS, migration),
        )[0]
        return spending_of(migration_from(tuple(row)), under_way=under_way, proofs=proofs)

    def set_budget(self, migration: MigrationId, *, tokens: int | None, usd: float | None) -> None:
        """Change what a migration may spend."""
        self._run(
            (
                "UPDATE undrift.migration SET budget_tokens = %s, budget_usd = %s WHERE id = %s",
                (tokens, usd, migration),
            ),
            durable=True,
        )

    def raise_price(self, migration: MigrationId, usd_per_million_tokens: float, *, who: str) -> bool:
        """Reckon with a higher price from now on."""

        def work(connection: Any) -> bool:
            found = _locked(connection, migration)
            if usd_per_million_tokens <= found.usd_per_million_tokens:
                return False
            dearer = found.dearer(usd_per_million_tokens, reserved=_under_way(connection, migration))
            connection.execute(
                "UPDATE undrift.migration SET price = %s WHERE id = %s", (usd_per_million_tokens, migration)
            )
            connection.execute(
                "INSERT INTO undrift.repriced (migration, tokens, usd) VALUES (%s, %s, %s) "
                "ON CONFLICT (migration) DO UPDATE SET tokens = excluded.tokens, usd = excluded.usd",
                (migration, dearer.tokens_before, dearer.usd_before),
            )
            ((epoch,),) = connection.execute(
                "SELECT epoch FROM undrift.alias WHERE name = %s", (found.alias,)
            ).fetchall()
            prices = f"from {found.usd_per_million_tokens:g} to {usd_per_million_tokens:g} dollars a million tokens"
            line = enter(alias=found.alias, who=who, action="price_rose", epoch=epoch, detail=prices)
            connection.execute(*line)
            return True

        return self._transact(work, durable=True)

    def take_pace(self, account: str, ask: Ask) -> Slice:
        """Grant a slice of an account's pace."""
        return self._paced(account, lambda pace, now: pacing.take(pace, now, ask))

    def pace_refused(self, account: str, seen: SeenLimits, limits: PaceLimits) -> None:
        """Take note that a request was refused for the pace."""
        self._paced(account, lambda pace, now: (pacing.refused(pace, now, seen, limits), None))

    def paces(self, beginning: str) -> dict[str, Pace]:
        """Return what is known of the pace of accounts."""
        found = self._read(
            "SELECT account, content FROM undrift.pace WHERE starts_with(account, %s) ORDER BY account", (beginning,)
        )
        return {account: Pace.from_dict(json.loads(content)) for account, content in found}

    def _paced(self, account: str, work: Callable[[Pace, float], tuple[Pace, _T]]) -> _T:
        """Change what is known of an account; nobody else does at the same time."""

        def change(connection: Any) -> _T:
            row = connection.execute(_PACE, (account,)).fetchone()
            if row is None:
                connection.execute(
                    "INSERT INTO undrift.pace (account, content) VALUES (%s, '{}') ON CONFLICT (account) DO NOTHING",
                    (account,),
                )
                row = connection.execute(_PACE, (account,)).fetchone()
            content, now = row
            pace, answer = work(Pace.from_dict(json.loads(content)), now)
            connection.execute(
                "UPDATE undrift.pace SET content = %s WHERE account = %s", (json.dumps(pace.as_dict()), account)
            )
            return answer

        return self._transact(change, durable=False)

    def _is_limited(self, migration: MigrationId) -> bool:
        (row,) = self._read(_SELECT, (migration,))
        return migration_from(row).token_limit is not None


def _locked(connection: Any, migration: MigrationId) -> Migration:
    connection.execute(_LOCK, (migration,))
    return migration_from(connection.execute(_SELECT, (migration,)).fetchone())


def _under_way(connection: Any, migration: MigrationId) -> int:
    ((tokens,),) = connection.execute(_UNDER_WAY, (migration,)).fetchall()
    return int(tokens)


def _add(migration: MigrationId, tokens: int) -> Statement:
    return "UPDATE undrift.migration SET tokens = tokens + %s WHERE id = %s", (tokens, migration)


def _put_aside(migration: MigrationId, owner: ClientId, tokens: int) -> Statement:
    return (
        "INSERT INTO undrift.reservation AS r (migration, client, tokens) VALUES (%s, %s, %s) "
        "ON CONFLICT (migration, client) DO UPDATE SET tokens = r.tokens + excluded.tokens",
        (migration, owner, tokens),
    )
