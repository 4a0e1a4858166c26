"""Migrations, and the only statements that change what an alias means."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import apsw

from undrift.adapters.ledgers.sqlite.session import Session, field_from, field_text, first, rows
from undrift.adapters.sqlite import Durability
from undrift.domain.batch import JobState
from undrift.domain.client import ClientId
from undrift.domain.gate import Gate, Verdict, require
from undrift.domain.migration import FINAL, Migration, MigrationId, Phase, RunStatus
from undrift.domain.route import AliasName, Mode, Route
from undrift.errors import StaleRoute

_OWN = (
    *("id", "alias", "source", "target", "target_model", "phase", "run_status", "reason", "total", "planned", "tokens"),
    *("budget_tokens", "budget_usd", "price", "started", "finished"),
)
_COLUMNS = (*_OWN, "tokens_before", "usd_before")
#: What `migration_from` takes, of `migration` and `repriced`.
MIGRATION_COLUMNS = ", ".join([*(f"migration.{name}" for name in _OWN), "repriced.tokens", "repriced.usd"])


class MigrationTables(Session):
    """One row a migration. Every change names the state it was decided in, so that a late one changes nothing."""

    def register_migration(self, migration: Migration, *, who: str) -> None:
        """Record a new migration on an empty journal."""
        alias = migration.alias
        with self._write(Durability.FULL) as connection:
            route, _ = self._route(alias)
            running = first(connection, "SELECT phase FROM migration WHERE alias = ? AND finished IS NULL", (alias,))
            open_operations = first(connection, "SELECT 1 FROM op WHERE alias = ?", (alias,))
            if running or open_operations or route.serving != migration.source or route.mode is not Mode.PASSIVE:
                raise StaleRoute(
                    f"a migration of {alias} cannot begin now",
                    f"another one is {running[0]}" if running else "writes of the last one are still open",
                    f"undrift status {alias}",
                )
            for table in ("dirty", "quarantine", "tuning"):
                connection.execute(f"DELETE FROM {table} WHERE alias = ?", (alias,))
            for table in ("chunk", "bookmark", "reservation", "repriced"):
                connection.execute(
                    f"DELETE FROM {table} WHERE migration IN (SELECT id FROM migration WHERE alias = ?)", (alias,)
                )
            # Those that are still open at the provider stay, so that they are called off.
            gone = f"SELECT id FROM batch_job WHERE alias = ? AND state = '{JobState.DONE.value}'"
            connection.execute(f"DELETE FROM batch_piece WHERE job IN ({gone})", (alias,))
            connection.execute(f"DELETE FROM batch_job WHERE id IN ({gone})", (alias,))
            connection.execute(
                "INSERT INTO migration (id, alias, source, target, target_model, phase, run_status, reason, "
                "total, planned, "
                "tokens, budget_tokens, budget_usd, price, started) VALUES (?, ?, ?, ?, ?, ?, ?, '', 0, 0, 0, ?, "
                "?, ?, ?)",
                (
                    *(migration.id, alias, field_text(migration.source), field_text(migration.target)),
                    *(migration.target_model, migration.phase.value, migration.run_status.value),
                    *(migration.budget_tokens, migration.budget_usd, migration.usd_per_million_tokens),
                    migration.started.isoformat(),
                ),
            )
            connection.execute("UPDATE alias SET migration = ? WHERE name = ?", (migration.id, alias))
            self._enter(
                connection,
                alias=alias,
                who=who,
                action="migration_registered",
                epoch=route.epoch,
                detail=migration.target.key,
            )

    def coordinate(self, migration: MigrationId, *, owner: ClientId, lease_s: float) -> bool:
        """Take or prolong the coordinator's lease."""
        now = self._time()
        with self._write(Durability.NORMAL) as connection:
            connection.execute(
                "UPDATE migration SET coordinator = ?1, coordinator_expires = ?2 WHERE id = ?3 "
                "AND (coordinator IS NULL OR coordinator = ?1 OR coordinator_expires < ?4)",
                (owner, now + lease_s, migration, now),
            )
            return bool(connection.changes())

    def yield_coordination(self, migration: MigrationId, *, owner: ClientId) -> None:
        """Give the coordinator's lease back."""
        with self._write(Durability.NORMAL) as connection:
            connection.execute(
                "UPDATE migration SET coordinator = NULL WHERE id = ? AND coordinator = ?", (migration, owner)
            )

    def save_phase(self, migration: Migration, *, was: Phase, who: str, detail: str = "") -> None:
        """Record a phase that leaves the route as it is."""
        with self._write(Durability.FULL) as connection:
            route, _ = self._route(migration.alias)
            self._save_phase(connection, migration, was=was, who=who, epoch=route.epoch, detail=detail)

    def save_run_status(
        self, migration: MigrationId, status: RunStatus, *, reason: str, who: str, was: RunStatus | None = None
    ) -> bool:
        """Record whether the workers work."""
        with self._write(Durability.FULL) as connection:
            row = first(
                connection,
                "UPDATE migration SET run_status = ?1, reason = ?2 WHERE id = ?3 "
                "AND (run_status != ?1 OR reason != ?2) AND (?4 IS NULL OR run_status = ?4) RETURNING alias",
                (status.value, reason, migration, was.value if was else None),
            )
            if row:
                route, _ = self._route(AliasName(row[0]))
                self._enter(connection, alias=row[0], who=who, action=status.value, epoch=route.epoch, detail=reason)
            return row is not None

    def change_mode(self, route: Route, mode: Mode, *, migration: Migration, was: Phase, who: str) -> Route:
        """Make writers journal, or stop it."""
        follower = migration.target if mode is Mode.JOURNAL else None
        return self._change_route(
            route, serving=route.serving, follower=follower, mode=mode, migration=migration, was=was, who=who
        )

    def hold(self, route: Route, seconds: float) -> None:
        """Make writers wait."""
        with self._write(Durability.NORMAL) as connection:
            until = self._time() + seconds if seconds else 0
            connection.execute(
                "UPDATE alias SET hold_until = ? WHERE name = ? AND epoch = ?", (until, route.alias, route.epoch)
            )
            if not connection.changes():
                raise _stale(route)

    def flip(
        self,
        route: Route,
        *,
        migration: Migration,
        was: Phase,
        who: str,
        max_dirty: int | None,
        max_quarantined: int | None,
    ) -> Route:
        """Swap serving and follower in one compare-and-swap."""
        if route.follower is None:
            raise StaleRoute(
                f"alias {route.alias} has no second field to flip to", hint=f"undrift status {route.alias}"
            )
        with self._write(Durability.FULL) as connection:
            self._recheck(connection, route.alias, max_dirty, max_quarantined)
            return self._change_route(
                route,
                serving=route.follower,
                follower=route.serving,
                mode=Mode.JOURNAL,
                migration=migration,
                was=was,
                who=who,
            )

    def _recheck(
        self, connection: apsw.Connection, alias: AliasName, max_dirty: int | None, max_quarantined: int | None
    ) -> None:
        """Look once more, within the flip's transaction, at what may have grown since the gates were read."""
        ((dirty, quarantined),) = rows(
            connection,
            "SELECT (SELECT count(*) FROM dirty WHERE alias = ?1 AND state = 1), (SELECT count(*) FROM "
            "quarantine WHERE alias = ?1)",
            (alias,),
        )
        gates = [
            Gate(
                name=name,
                verdict=Verdict.PASS if limit is None or count <= limit else Verdict.FAIL,
                detail=f"{count} documents, at most {limit} are allowed",
                hint=f"undrift status {alias}",
            )
            for name, count, limit in (("lag", dirty, max_dirty), ("quarantine", quarantined, max_quarantined))
        ]
        require(gates, verb="the flip", alias=alias)

    def _change_route(
        self, route: Route, *, serving: Any, follower: Any, mode: Mode, migration: Migration, was: Phase, who: str
    ) -> Route:
        changed = Route(alias=route.alias, epoch=route.epoch + 1, mode=mode, serving=serving, follower=follower)
        with self._write(Durability.FULL) as connection:
            connection.execute(
                "UPDATE alias SET serving = ?, follower = ?, mode = ?, epoch = epoch + 1, hold_until = 0 "
                "WHERE name = ? AND epoch = ?",
                (
                    *(field_text(serving), field_text(follower) if follower else None, mode.value),
                    *(route.alias, route.epoch),
                ),
            )
            if not connection.changes():
                raise _stale(route)
            self._save_phase(
                connection, migration, was=was, who=who, epoch=changed.epoch, detail=f"{serving.key} serves"
            )
        return changed

    def _save_phase(
        self, connection: apsw.Connection, migration: Migration, *, was: Phase, who: str, epoch: int, detail: str
    ) -> None:
        finished = self._wall() if migration.phase in FINAL else None
        connection.execute(
            "UPDATE migration SET phase = ?, finished = ? WHERE id = ? AND phase = ?",
            (migration.phase.value, finished, migration.id, was.value),
        )
        if not connection.changes():
            raise StaleRoute(
                f"the migration of {migration.alias} is not {was.value} any more; another process was first",
                hint=f"undrift status {migration.alias}",
            )
        self._enter(
            connection, alias=migration.alias, who=who, action=migration.phase.value, epoch=epoch, detail=detail
        )


def select_migration(where: str) -> str:
    """Return the statement that reads what `migration_from` takes."""
    joined = "migration LEFT JOIN repriced ON repriced.migration = migration.id"
    return f"SELECT {MIGRATION_COLUMNS} FROM {joined} WHERE {where}"


def migration_from(row: tuple[Any, ...]) -> Migration:
    """Read back a row of `MIGRATION_COLUMNS`."""
    values = dict(zip(_COLUMNS, row, strict=True))
    finished = values["finished"]
    return Migration(
        id=MigrationId(values["id"]),
        alias=AliasName(values["alias"]),
        source=field_from(values["source"]),
        target=field_from(values["target"]),
        target_model=values["target_model"],
        phase=Phase(values["phase"]),
        run_status=RunStatus(values["run_status"]),
        reason=values["reason"],
        total=values["total"],
        planned=bool(values["planned"]),
        tokens=values["tokens"],
        budget_tokens=values["budget_tokens"],
        budget_usd=values["budget_usd"],
        usd_per_million_tokens=values["price"],
        tokens_before=values["tokens_before"] or 0,
        usd_before=values["usd_before"] or 0.0,
        started=datetime.fromisoformat(values["started"]),
        finished=datetime.fromisoformat(finished) if finished else None,
    )


def _stale(route: Route) -> StaleRoute:
    return StaleRoute(
        f"the route of {route.alias} is not at epoch {route.epoch} any more; another process was first",
        hint=f"undrift status {route.alias}",
    )
