"""Jobs of a provider's batch API, and the pieces of a back-fill that wait for them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import apsw

from undrift.adapters.ledgers.sqlite.backfill import chunk_from
from undrift.adapters.ledgers.sqlite.migrations import migration_from, select_migration
from undrift.adapters.ledgers.sqlite.session import KEEPING, KEPT, PENDING, PUBLISHED, Session, first, rows
from undrift.adapters.sqlite import Durability
from undrift.domain.batch import IN_QUEUE, BatchJob, JobId, JobState, charged, require_affordable
from undrift.domain.checkpoint import Chunk
from undrift.domain.client import ClientId
from undrift.domain.migration import MigrationId, Phase, RunStatus
from undrift.domain.route import AliasName
from undrift.errors import LeaseLost, StaleRoute

_QUEUED = ", ".join(sorted(f"'{state.value}'" for state in IN_QUEUE))
_COLUMNS = "id, alias, migration, account, state, vault, queued, tokens, price, content, fence, changed"
_PIECES = "number IN (SELECT number FROM batch_piece WHERE job = ?)"
_PRESENT = "(SELECT migration FROM alias WHERE name = ?)"


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
        with self._write(Durability.FULL) as connection:
            found = first(connection, "SELECT phase, run_status FROM migration WHERE id = ?", (job.migration,))
            if found != (Phase.BACKFILL.value, RunStatus.RUNNING.value):
                raise StaleRoute(f"the migration of {job.alias} does not back-fill any more")
            ((queued,),) = rows(
                connection,
                f"SELECT coalesce(sum(queued), 0) FROM batch_job WHERE account = ? AND state IN ({_QUEUED})",
                (job.account,),
            )
            if queue_tokens is not None and queued + job.queued > queue_tokens:
                return False
            connection.execute(
                f"UPDATE chunk SET state = {KEPT} WHERE migration = ? AND state = {PENDING} "
                "AND number IN (SELECT value FROM json_each(?))",
                (job.migration, json.dumps(list(pieces))),
            )
            if connection.changes() != len(pieces):
                raise StaleRoute(f"another worker has taken a piece of {job.alias} meanwhile")
            self._charge(connection, job.migration, job.tokens, job.usd_per_million_tokens)
            now = self._time()
            connection.execute(
                f"INSERT INTO batch_job ({_COLUMNS}, owner, expires, recorded) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, NULL, 0, ?)",
                (*_values(job), now, now),
            )
            waits = [(number, job.id) for number in pieces]
            waits += [(number, other) for other, numbers in after.items() for number in numbers]
            connection.executemany(
                "INSERT OR IGNORE INTO batch_piece (migration, number, job) VALUES (?, ?, ?)",
                [(job.migration, number, of) for number, of in waits],
            )
        return True

    def jobs(self, alias: AliasName) -> list[BatchJob]:
        """Return the jobs of an alias, the oldest first."""
        now = self._time()
        found = self._read(
            f"SELECT {_COLUMNS} FROM batch_job WHERE alias = ?1 AND (migration = {_PRESENT.replace('?', '?1')} "
            f"OR state != '{JobState.DONE.value}') ORDER BY recorded, id",
            (alias,),
        )
        return [_job(row, now) for row in found]

    def pieces_of(self, job: JobId) -> dict[Chunk, bool]:
        """Return the pieces that wait for a job, and whether each is published."""
        found = self._read(
            "SELECT c.number, c.lo, c.hi, c.count, c.fence, c.state FROM batch_piece AS p "
            "JOIN chunk AS c ON c.migration = p.migration "
            "AND c.number = p.number WHERE p.job = ? ORDER BY p.number",
            (job,),
        )
        return {chunk_from(*piece): state == PUBLISHED for *piece, state in found}

    def lease_job(self, job: JobId, *, owner: ClientId, lease_s: float) -> BatchJob | None:
        """Take a job for one step."""
        now = self._time()
        with self._write(Durability.FULL) as connection:
            row = first(
                connection,
                "UPDATE batch_job SET owner = ?1, fence = fence + 1, expires = ?2 WHERE id = ?3 "
                f"AND state != '{JobState.DONE.value}' AND (owner IS NULL OR owner = ?1 OR expires < ?4) "
                f"RETURNING {_COLUMNS}",
                (owner, now + lease_s, job, now),
            )
        return _job(row, now) if row else None

    def save_job(self, job: BatchJob, *, owner: ClientId, keep: bool = True, without: Iterable[int] = ()) -> None:
        """Record what became of a job, and let go of the pieces that it kept."""
        with self._write(Durability.FULL) as connection:
            was = first(
                connection,
                "SELECT state, tokens FROM batch_job WHERE id = ? AND fence = ? AND owner = ?",
                (job.id, job.fence, owner),
            )
            if was is None:
                raise LeaseLost(f"batch job {job.id} of {job.alias} is not this worker's any more")
            state, tokens = was
            if job.tokens != tokens:
                self._charge(connection, job.migration, job.tokens - tokens, job.usd_per_million_tokens, check=False)
            values = _values(job)
            connection.execute(
                "UPDATE batch_job SET state = ?, vault = ?, queued = ?, tokens = ?, price = ?, content = ?, owner = ?, "
                "changed = iif(state = ?, changed, ?) WHERE id = ?",
                (*values[4:], owner if keep else None, values[4], self._time(), job.id),
            )
            gone = json.dumps(list(without))
            self._keep_or_free(connection, job, forgotten=gone)
            connection.execute(
                "DELETE FROM batch_piece WHERE job = ? AND number IN (SELECT value FROM json_each(?))", (job.id, gone)
            )
            if state != job.state.value:
                self._keep_or_free(connection, job, forgotten="[]")

    def free_pieces(self, alias: AliasName, *, limit: int) -> list[Chunk]:
        """Return pieces that nobody works on and that are in no job."""
        found = self._read(
            "SELECT number, lo, hi, count, fence FROM chunk WHERE migration = (SELECT migration FROM alias WHERE "
            f"name = ?) AND state = {PENDING} AND NOT EXISTS (SELECT 1 FROM batch_piece AS p "
            "WHERE p.migration = chunk.migration AND p.number = chunk.number) ORDER BY number LIMIT ?",
            (alias, limit),
        )
        return [chunk_from(*row) for row in found]

    def _keep_or_free(self, connection: apsw.Connection, job: BatchJob, *, forgotten: str) -> None:
        """Set the pieces of a job to what the jobs say that they wait for; a forgotten one waits for this no more."""
        connection.execute(
            "UPDATE chunk SET state = iif(EXISTS (SELECT 1 FROM batch_piece AS p JOIN batch_job AS j ON j.id = p.job "
            f"WHERE p.migration = chunk.migration AND p.number = chunk.number AND j.state IN ({KEEPING}) "
            "AND NOT (p.job = ?2 AND p.number IN (SELECT value FROM json_each(?3)))), "
            f"{KEPT}, {PENDING}) WHERE migration = ?1 AND state IN ({PENDING}, {KEPT}) "
            f"AND {_PIECES.replace('?', '?2')}",
            (job.migration, job.id, forgotten),
        )

    def _charge(
        self, connection: apsw.Connection, migration: MigrationId, tokens: int, price: float, *, check: bool = True
    ) -> None:
        """Count tokens at a price of their own.

        Raises:
            BudgetExhausted: they are more than the budget has left.
        """
        row = first(connection, select_migration("id = ?"), (migration,))
        if row is None:
            return
        found = migration_from(row)
        if check:
            require_affordable(found, tokens, price)
        after = charged(found, tokens, price)
        connection.execute("UPDATE migration SET tokens = ? WHERE id = ?", (after.tokens, migration))
        connection.execute(
            "INSERT OR REPLACE INTO repriced (migration, tokens, usd) VALUES (?, ?, ?)",
            (migration, after.tokens_before, after.usd_before),
        )


def _values(job: BatchJob) -> tuple[Any, ...]:
    """Return the first columns of a job's row."""
    return (
        *(job.id, job.alias, job.migration, job.account, job.state.value, job.vault),
        *(job.queued, job.tokens, job.usd_per_million_tokens, json.dumps(job.content())),
    )


def _job(row: tuple[Any, ...], now: float) -> BatchJob:
    """Read back a row."""
    id, alias, migration, account, state, vault, queued, tokens, price, content, fence, changed = row
    values = json.loads(content)
    return BatchJob.from_content(
        values,
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
        age_s=max(0.0, now - changed),
    )
