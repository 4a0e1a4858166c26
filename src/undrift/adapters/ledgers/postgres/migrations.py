"""Migrations, and the only statements that change what an alias means."""

from __future__ import annotations

from typing import Any

from undrift.adapters.ledgers.postgres.session import (
    ROUTE,
    Session,
    enter,
    field_from,
    field_text,
    lock,
    moment,
    seconds_of,
    unknown,
)
from undrift.domain.batch import JobState
from undrift.domain.client import ClientId
from undrift.domain.gate import Gate, Verdict, require
from undrift.domain.migration import FINAL, Migration, MigrationId, Phase, RunStatus
from undrift.domain.route import AliasName, Mode, Route
from undrift.errors import StaleRoute

_COLUMNS = (
    *("id", "alias", "source", "target", "target_model", "phase", "run_status", "reason", "total", "planned", "tokens"),
    *("budget_tokens", "budget_usd", "price", "started", "finished"),
)
#: Columns of what was spent before the price rose.
_BEFORE = ("tokens", "usd")


class MigrationTables(Session):
    """One row a migration. Every change names the state it was decided in, so that a late one changes nothing."""

    def register_migration(self, migration: Migration, *, who: str) -> None:
        """Record a new migration on an empty journal."""
        alias = migration.alias

        def work(connection: Any) -> None:
            _lock_route(connection, alias)
            serving, _, mode, epoch = _route_row(connection, alias)
            running = connection.execute(
                "SELECT phase FROM undrift.migration WHERE alias = %s AND finished IS NULL", (alias,)
            ).fetchone()
            open_operations = connection.execute(
                "SELECT 1 FROM undrift.op WHERE alias = %s LIMIT 1", (alias,)
            ).fetchone()
            changed = field_from(serving) != migration.source or mode != Mode.PASSIVE.value
            if running or open_operations or changed:
                raise StaleRoute(
                    f"a migration of {alias} cannot begin now",
                    f"another one is {running[0]}" if running else "writes of the last one are still open",
                    f"undrift status {alias}",
                )
            for table in ("chunk", "bookmark", "reservation", "repriced"):
                connection.execute(
                    f"DELETE FROM undrift.{table} WHERE migration IN "
                    "(SELECT id FROM undrift.migration WHERE alias = %s)",
                    (alias,),
                )
            for table in ("dirty", "ended", "quarantine", "tuning"):
                connection.execute(f"DELETE FROM undrift.{table} WHERE alias = %s", (alias,))
            # Those that are still open at the provider stay, so that they are called off.
            gone = f"SELECT id FROM undrift.batch_job WHERE alias = %s AND state = '{JobState.DONE.value}'"
            connection.execute(f"DELETE FROM undrift.batch_piece WHERE job IN ({gone})", (alias,))
            connection.execute(f"DELETE FROM undrift.batch_job WHERE id IN ({gone})", (alias,))
            connection.execute(
                f"INSERT INTO undrift.migration ({', '.join(_COLUMNS)}) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s, '', 0, false, 0, %s, %s, %s, %s, NULL)",
                (
                    *(migration.id, alias, field_text(migration.source), field_text(migration.target)),
                    *(migration.target_model, migration.phase.value, migration.run_status.value),
                    *(migration.budget_tokens, migration.budget_usd, migration.usd_per_million_tokens),
                    migration.started,
                ),
            )
            connection.execute("UPDATE undrift.alias SET migration = %s WHERE name = %s", (migration.id, alias))
            line = enter(alias=alias, who=who, action="migration_registered", epoch=epoch, detail=migration.target.key)
            connection.execute(*line)

        self._transact(work, durable=True)

    def coordinate(self, migration: MigrationId, *, owner: ClientId, lease_s: float) -> bool:
        """Take or prolong the coordinator's lease."""
        (taken,) = self._run(
            (
                "UPDATE undrift.migration SET coordinator = %(owner)s, coordinator_expires = undrift.now() + %(lease)s "
                "WHERE id = %(id)s AND (coordinator IS NULL OR coordinator = %(owner)s "
                "OR coordinator_expires < undrift.now()) RETURNING 1",
                {"owner": owner, "lease": float(lease_s), "id": migration},
            )
        )
        return bool(taken)

    def yield_coordination(self, migration: MigrationId, *, owner: ClientId) -> None:
        """Give the coordinator's lease back."""
        self._run(
            ("UPDATE undrift.migration SET coordinator = NULL WHERE id = %s AND coordinator = %s", (migration, owner))
        )

    def save_phase(self, migration: Migration, *, was: Phase, who: str, detail: str = "") -> None:
        """Record a phase that leaves the route as it is."""

        def work(connection: Any) -> None:
            connection.execute(*lock(migration.alias, 2, exclusive=True))
            *_, epoch = _route_row(connection, migration.alias)
            _save_phase(connection, migration, was=was, who=who, epoch=epoch, detail=detail)

        self._transact(work, durable=True)

    def save_run_status(
        self, migration: MigrationId, status: RunStatus, *, reason: str, who: str, was: RunStatus | None = None
    ) -> bool:
        """Record whether the workers work."""

        def work(connection: Any) -> bool:
            # A pause that was committed is seen by whoever claims or publishes afterwards.
            connection.execute("SELECT undrift.lock(alias, 2, true) FROM undrift.migration WHERE id = %s", (migration,))
            row = connection.execute(
                "UPDATE undrift.migration SET run_status = %(status)s, reason = %(reason)s "
                "WHERE id = %(id)s AND (run_status <> %(status)s OR reason <> %(reason)s) "
                "AND (%(was)s::text IS NULL OR run_status = %(was)s) RETURNING alias",
                {"status": status.value, "reason": reason, "id": migration, "was": was.value if was else None},
            ).fetchone()
            if row:
                *_, epoch = _route_row(connection, AliasName(row[0]))
                connection.execute(*enter(alias=row[0], who=who, action=status.value, epoch=epoch, detail=reason))
            return row is not None

        return self._transact(work, durable=True)

    def change_mode(self, route: Route, mode: Mode, *, migration: Migration, was: Phase, who: str) -> Route:
        """Make writers journal, or stop it."""
        follower = migration.target if mode is Mode.JOURNAL else None
        changed = Route(alias=route.alias, epoch=route.epoch + 1, mode=mode, serving=route.serving, follower=follower)

        def work(connection: Any) -> None:
            _lock_route(connection, route.alias)
            _change_route(connection, route, changed, migration, was=was, who=who)

        self._transact(work, durable=True)
        return changed

    def hold(self, route: Route, seconds: float) -> None:
        """Make writers wait."""
        _, changed = self._run(
            lock(route.alias, 1, exclusive=True),
            (
                "UPDATE undrift.alias SET hold_until = "
                "CASE WHEN %(seconds)s = 0 THEN 0 ELSE undrift.now() + %(seconds)s END "
                "WHERE name = %(alias)s AND epoch = %(epoch)s RETURNING 1",
                {"seconds": float(seconds), "alias": route.alias, "epoch": route.epoch},
            ),
        )
        if not changed:
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
        changed = Route(
            alias=route.alias,
            epoch=route.epoch + 1,
            mode=Mode.JOURNAL,
            serving=route.follower,
            follower=route.serving,
        )

        def work(connection: Any) -> None:
            _lock_route(connection, route.alias)
            _recheck(connection, route.alias, max_dirty, max_quarantined)
            _change_route(connection, route, changed, migration, was=was, who=who)

        self._transact(work, durable=True)
        return changed


def migration_columns(table: str) -> str:
    """Return the columns that `migration_from` reads, of a table by its name in the query."""
    names = [f"{table}.{column}" for column in _COLUMNS]
    before = [f"(SELECT r.{column} FROM undrift.repriced AS r WHERE r.migration = {table}.id)" for column in _BEFORE]
    return ", ".join([*names[:-2], *map(seconds_of, names[-2:]), *before])


def migration_from(row: tuple[Any, ...]) -> Migration:
    """Read back the columns of `migration_columns`."""
    values = dict(zip((*_COLUMNS, "tokens_before", "usd_before"), row, strict=True))
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
        planned=values["planned"],
        tokens=values["tokens"],
        budget_tokens=values["budget_tokens"],
        budget_usd=values["budget_usd"],
        usd_per_million_tokens=values["price"],
        tokens_before=values["tokens_before"] or 0,
        usd_before=values["usd_before"] or 0.0,
        started=moment(values["started"]),
        finished=moment(values["finished"]) if values["finished"] else None,
    )


def _lock_route(connection: Any, alias: AliasName) -> None:
    """Keep out whoever begins on a route, carries or publishes, and whoever may make a document dirty."""
    for place in (1, 2):
        connection.execute(*lock(alias, place, exclusive=True))
    connection.execute("SELECT 1 FROM undrift.alias WHERE name = %s FOR NO KEY UPDATE", (alias,))


def _route_row(connection: Any, alias: AliasName) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = connection.execute(
        f"SELECT {ROUTE} FROM undrift.alias WHERE name = %s", (alias,)
    ).fetchone()
    if row is None:
        raise unknown(alias)
    return row


def _recheck(connection: Any, alias: AliasName, max_dirty: int | None, max_quarantined: int | None) -> None:
    """Look once more, within the flip's transaction, at what may have grown since the gates were read."""
    dirty, quarantined = connection.execute(
        "SELECT (SELECT count(*) FROM undrift.dirty WHERE alias = %(alias)s AND state = 1), "
        "(SELECT count(*) FROM undrift.quarantine WHERE alias = %(alias)s)",
        {"alias": alias},
    ).fetchone()
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


def _change_route(connection: Any, route: Route, changed: Route, migration: Migration, *, was: Phase, who: str) -> None:
    done = connection.execute(
        "UPDATE undrift.alias SET serving = %s, serving_key = %s, follower = %s, mode = %s, epoch = %s, hold_until = 0 "
        "WHERE name = %s AND epoch = %s",
        (
            *(field_text(changed.serving), changed.serving.key),
            *(field_text(changed.follower) if changed.follower else None, changed.mode.value, changed.epoch),
            *(route.alias, route.epoch),
        ),
    )
    if not done.rowcount:
        raise _stale(route)
    detail = f"{changed.serving.key} serves"
    _save_phase(connection, migration, was=was, who=who, epoch=changed.epoch, detail=detail)


def _save_phase(connection: Any, migration: Migration, *, was: Phase, who: str, epoch: int, detail: str) -> None:
    done = connection.execute(
        "UPDATE undrift.migration SET phase = %s, finished = CASE WHEN %s THEN to_timestamp(undrift.now()) END "
        "WHERE id = %s AND phase = %s",
        (migration.phase.value, migration.phase in FINAL, migration.id, was.value),
    )
    if not done.rowcount:
        raise StaleRoute(
            f"the migration of {migration.alias} is not {was.value} any more; another process was first",
            hint=f"undrift status {migration.alias}",
        )
    connection.execute(*enter(alias=migration.alias, who=who, action=migration.phase.value, epoch=epoch, detail=detail))


def _stale(route: Route) -> StaleRoute:
    return StaleRoute(
        f"the route of {route.alias} is not at epoch {route.epoch} any more; another process was first",
        hint=f"undrift status {route.alias}",
    )
