"""Jobs of a provider's batch API, and the pieces of a back-fill that wait for them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from undrift.adapters.ledgers.postgres.backfill import chunk_from
from undrift.adapters.ledgers.postgres.migrations import migration_columns, migration_from
from undrift.adapters.ledgers.postgres.session import KEEPING, KEPT, PENDING, PUBLISHED, Session, lock
from undrift.domain.batch import IN_QUEUE, BatchJob, JobId, JobState, charged, require_affordable
from undrift.domain.checkpoint import Chunk
from undrift.domain.client import ClientId
from undrift.domain.migration import MigrationId, Phase, RunStatus
from undrift.domain.route import AliasName
from undrift.errors import LeaseLost, StaleRoute

_QUEUED = ", ".join(sorted(f"'{state.value}'" for state in IN_QUEUE))
_DONE = JobState.DONE.value
_STORED = "id, alias, migration, account, state, vault, queued, tokens, price, content, fence"
_COLUMNS = f"{_STORED}, greatest(0, undrift.now() - changed)"


class BatchTables(Session):
    """One row a job, and one for each piece and job that it waits for."""

    def add_job(
        self,
        job: BatchJob,
        pieces: Sequence[int],
        *,
        after: Mapping[JobId, Sequence[int]],
        queue_tokens: int | None,
    ) -> bool:
        """Record a job and put aside what it takes."""
        waits = [(number, job.id) for number in pieces]
        waits += [(number, other) for other, numbers in after.items() for number in numbers]

        def work(connection: Any) -> bool:
            # Lock 2 keeps the phase as it is; the lock of the account keeps others from filling the same room.
            connection.execute(*lock(job.alias, 2, exclusive=False))
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))", (job.account,))
            found = connection.execute(
                "SELECT phase, run_status FROM undrift.migration WHERE id = %s", (job.migration,)
            ).fetchone()
            if found != (Phase.BACKFILL.value, RunStatus.RUNNING.value):
                raise StaleRoute(f"the migration of {job.alias} does not back-fill any more")
            ((queued,),) = connection.execute(
                "SELECT coalesce(sum(queued), 0)::bigint FROM undrift.batch_job "
                f"WHERE account = %s AND state IN ({_QUEUED})",
                (job.account,),
            ).fetchall()
            if queue_tokens is not None and queued + job.queued > queue_tokens:
                return False
            kept = connection.execute(
                f"UPDATE undrift.chunk SET state = {KEPT} WHERE migration = %s AND state = {PENDING} "
                "AND number = ANY(%s::bigint[])",
                (job.migration, list(pieces)),
            )
            if kept.rowcount != len(pieces):
                raise StaleRoute(f"another worker has taken a piece of {job.alias} meanwhile")
            _charge(connection, job.migration, job.tokens, job.usd_per_million_tokens)
            connection.execute(
                f"INSERT INTO undrift.batch_job ({_STORED}, expires, recorded, changed) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 0, 0, undrift.now(), undrift.now())",
                _values(job),
            )
            connection.execute(
                "INSERT INTO undrift.batch_piece (migration, number, job) "
                "SELECT %s, number, job FROM unnest(%s::bigint[], %s::text[]) AS given (number, job) "
                "ON CONFLICT DO NOTHING",
                (job.migration, [number for number, _ in waits], [of for _, of in waits]),
            )
            return True

        return self._transact(work, durable=True)

    def jobs(self, alias: AliasName) -> list[BatchJob]:
        """Return the jobs of an alias, the oldest first."""
        found = self._read(
            f"SELECT {_COLUMNS} FROM undrift.batch_job WHERE alias = %(alias)s AND (state <> '{_DONE}' "
            "OR migration = (SELECT a.migration FROM undrift.alias AS a WHERE a.name = %(alias)s)) "
            "ORDER BY recorded, id",
            {"alias": alias},
        )
        return [_job(row) for row in found]

    def pieces_of(self, job: JobId) -> dict[Chunk, bool]:
        """Return the pieces that wait for a job, and whether each is published."""
        found = self._read(
            "SELECT c.number, c.lo, c.hi, c.count, c.fence, c.state FROM undrift.batch_piece AS p "
            "JOIN undrift.chunk AS c ON c.migration = p.migration AND c.number = p.number WHERE p.job = %s "
            "ORDER BY p.number",
            (job,),
        )
        return {chunk_from(*piece): state == PUBLISHED for *piece, state in found}

    def lease_job(self, job: JobId, *, owner: ClientId, lease_s: float) -> BatchJob | None:
        """Take a job for one step."""
        (rows,) = self._run(
            (
                "UPDATE undrift.batch_job SET owner = %(owner)s, fence = fence + 1, "
                f"expires = undrift.now() + %(lease)s WHERE id = %(id)s AND state <> '{_DONE}' "
                "AND (owner IS NULL OR owner = %(owner)s OR expires < undrift.now()) "
                f"RETURNING {_COLUMNS}",
                {"owner": owner, "lease": float(lease_s), "id": job},
            ),
            durable=True,
        )
        return _job(rows[0]) if rows else None

    def save_job(self, job: BatchJob, *, owner: ClientId, keep: bool = True, without: Iterable[int] = ()) -> None:
        """Record what became of a job, and let go of the pieces that it kept."""
        gone = list(without)

        def work(connection: Any) -> None:
            was = connection.execute(
                "SELECT state, tokens FROM undrift.batch_job WHERE id = %s AND fence = %s AND owner = %s "
                "FOR NO KEY UPDATE",
                (job.id, job.fence, owner),
            ).fetchone()
            if was is None:
                raise LeaseLost(f"batch job {job.id} of {job.alias} is not this worker's any more")
            state, tokens = was
            if job.tokens != tokens:
                _charge(connection, job.migration, job.tokens - tokens, job.usd_per_million_tokens, check=False)
            now_state, vault, _, now_tokens, price, content = _values(job)[4:10]
            connection.execute(
                "UPDATE undrift.batch_job SET state = %(state)s, vault = %(vault)s, tokens = %(tokens)s, "
                "price = %(price)s, content = %(content)s, owner = %(owner)s, "
                "changed = CASE WHEN state = %(state)s THEN changed ELSE undrift.now() END WHERE id = %(id)s",
                {
                    "state": now_state,
                    "vault": vault,
                    "tokens": now_tokens,
                    "price": price,
                    "content": content,
                    "owner": owner if keep else None,
                    "id": job.id,
                },
            )
            if gone:
                _keep_or_free(connection, job, forgotten=gone)
                connection.execute(
                    "DELETE FROM undrift.batch_piece WHERE job = %s AND number = ANY(%s::bigint[])", (job.id, gone)
                )
            if state != job.state.value:
                _keep_or_free(connection, job, forgotten=[])

        self._transact(work, durable=True)

    def free_pieces(self, alias: AliasName, *, limit: int) -> list[Chunk]:
        """Return pieces that nobody works on and that are in no job."""
        found = self._read(
            "SELECT number, lo, hi, count, fence FROM undrift.chunk AS c WHERE c.migration = "
            f"(SELECT a.migration FROM undrift.alias AS a WHERE a.name = %s) AND c.state = {PENDING} "
            "AND NOT EXISTS (SELECT 1 FROM undrift.batch_piece AS p WHERE p.migration = c.migration "
            "AND p.number = c.number) ORDER BY number LIMIT %s",
            (alias, limit),
        )
        return [chunk_from(*row) for row in found]


def _keep_or_free(connection: Any, job: BatchJob, *, forgotten: Sequence[int]) -> None:
    """Set the pieces of a job to what the jobs say that they wait for; a forgotten one waits for this no more."""
    connection.execute(
        "UPDATE undrift.chunk AS c SET state = CASE WHEN EXISTS (SELECT 1 FROM undrift.batch_piece AS p "
        "JOIN undrift.batch_job AS j ON j.id = p.job WHERE p.migration = c.migration AND p.number = c.number "
        f"AND j.state IN ({KEEPING}) AND NOT (p.job = %(job)s AND p.number = ANY(%(gone)s::bigint[]))) "
        f"THEN {KEPT} ELSE {PENDING} END WHERE c.migration = %(migration)s AND c.state IN ({PENDING}, {KEPT}) "
        "AND c.number IN (SELECT number FROM undrift.batch_piece WHERE job = %(job)s)",
        {"job": job.id, "gone": list(forgotten), "migration": job.migration},
    )


def _charge(connection: Any, migration: MigrationId, tokens: int, price: float, *, check: bool = True) -> None:
    """Count tokens at a price of their own.

    Raises:
        BudgetExhausted: they are more than the budget has left.
    """
    connection.execute("SELECT 1 FROM undrift.migration WHERE id = %s FOR NO KEY UPDATE", (migration,))
    row = connection.execute(
        f"SELECT {migration_columns('m')} FROM undrift.migration AS m WHERE m.id = %s", (migration,)
    ).fetchone()
    if row is None:
        return
    found = migration_from(row)
    if check:
        require_affordable(found, tokens, price)
    after = charged(found, tokens, price)
    connection.execute("UPDATE undrift.migration SET tokens = %s WHERE id = %s", (after.tokens, migration))
    connection.execute(
        "INSERT INTO undrift.repriced (migration, tokens, usd) VALUES (%s, %s, %s) "
        "ON CONFLICT (migration) DO UPDATE SET tokens = excluded.tokens, usd = excluded.usd",
        (migration, after.tokens_before, after.usd_before),
    )


def _values(job: BatchJob) -> tuple[Any, ...]:
    """Return the first columns of a job's row."""
    return (
        *(job.id, job.alias, job.migration, job.account, job.state.value, job.vault),
        *(job.queued, job.tokens, job.usd_per_million_tokens, json.dumps(job.content())),
    )


def _job(row: tuple[Any, ...]) -> BatchJob:
    """Read back a row."""
    id, alias, migration, account, state, vault, queued, tokens, price, content, fence, age_s = row
    return BatchJob.from_content(
        json.loads(content),
        id=JobId(id),
        alias=AliasName(alias),
        migration=MigrationId(migration),
        account=account,
        state=JobState(state),
        vault=vault,
        queued=queued,
        tokens=tokens,
        usd_per_million_tokens=price,
        fence=fence,
        age_s=float(age_s),
    )
