"""The pieces of a back-fill, and who works on them."""

from __future__ import annotations

from collections.abc import Sequence

from undrift.adapters.ledgers.sqlite.session import (
    KEEPING,
    LEASED,
    PENDING,
    PUBLISHED,
    PUBLISHING,
    Session,
    first,
)
from undrift.adapters.sqlite import Durability
from undrift.domain.batch import JobState
from undrift.domain.checkpoint import Chunk
from undrift.domain.client import ClientId
from undrift.domain.forecast import NONE, PARTS, Published, Share
from undrift.domain.migration import MigrationId, Phase, RunStatus
from undrift.domain.record import DocumentId
from undrift.domain.route import AliasName
from undrift.errors import LeaseLost, StaleRoute

#: A worker may take or publish a piece only while its migration back-fills and is not paused.
_WORKING = (
    f"EXISTS (SELECT 1 FROM migration WHERE id = chunk.migration AND phase = '{Phase.BACKFILL.value}' "
    f"AND run_status = '{RunStatus.RUNNING.value}')"
)
#: A piece as its worker knows it: alias, number, fence, owner, state.
_MINE = (
    "migration = (SELECT migration FROM alias WHERE name = ?) AND number = ? AND fence = ? AND owner = ? AND state = ?"
)
#: A piece that jobs have brought the vectors of is taken where they are; the value ?5 names that, and ?6 says whether
#: one that was in no job may be taken.
_OF_JOBS = (
    "FROM batch_piece AS p JOIN batch_job AS j ON j.id = p.job WHERE p.migration = ?1 AND p.number = chunk.number"
)
_BROUGHT = f"j.state = '{JobState.BROUGHT.value}'"
_MAY_BE_TAKEN = (
    f"CASE WHEN EXISTS (SELECT 1 {_OF_JOBS}) THEN NOT EXISTS (SELECT 1 {_OF_JOBS} AND j.state IN ({KEEPING})) "
    f"AND (EXISTS (SELECT 1 {_OF_JOBS} AND {_BROUGHT} AND j.vault = ?5) OR NOT EXISTS (SELECT 1 {_OF_JOBS} AND "
    f"{_BROUGHT})) ELSE ?6 END"
)


class BackfillTables(Session):
    """Pieces are leased, published under a fence, and done; all of it may be lost to a power cut and is done again."""

    def add_chunks(self, migration: MigrationId, chunks: Sequence[Chunk], *, complete: bool) -> None:
        """Append pieces that begin where the last one ended."""
        with self._write(Durability.NORMAL) as connection:
            last = self.last_chunk(migration)
            number, hi = (last.number, last.hi) if last else (-1, "")
            # Two coordinators that lay out from different readings would leave a gap between their pieces.
            if chunks and (chunks[0].number, chunks[0].lo) != (number + 1, hi):
                raise StaleRoute(f"another process has laid out the back-fill up to piece {number}")
            connection.executemany(
                "INSERT INTO chunk (migration, number, lo, hi, count, state, fence, expires) VALUES (?, ?, ?, ?, "
                "?, 0, 0, 0)",
                [(migration, chunk.number, chunk.lo, chunk.hi, chunk.count) for chunk in chunks],
            )
            connection.execute(
                "UPDATE migration SET planned = planned OR ?1, "
                "total = (SELECT coalesce(sum(count), 0) FROM chunk WHERE migration = ?2) WHERE id = ?2",
                (complete, migration),
            )

    def last_chunk(self, migration: MigrationId) -> Chunk | None:
        """Return the piece with the highest number."""
        rows = self._read(
            "SELECT number, lo, hi, count, fence FROM chunk WHERE migration = ? ORDER BY number DESC LIMIT 1",
            (migration,),
        )
        return chunk_from(*rows[0]) if rows else None

    def lease_chunk(
        self,
        alias: AliasName,
        migration: MigrationId,
        *,
        owner: ClientId,
        lease_s: float,
        settle_s: float,
        vault: str = "",
        unbatched: bool = True,
    ) -> Chunk | None:
        """Take the next piece that nobody works on."""
        now = self._time()
        with self._write(Durability.NORMAL) as connection:
            row = first(
                connection,
                "SELECT number, lo, hi, count, fence FROM chunk WHERE migration = ?1 AND state < 3 AND "
                "(state = 0 OR (state = 1 AND expires < ?2) OR (state = 2 AND expires + ?3 < ?2)) AND "
                f"?1 = (SELECT migration FROM alias WHERE name = ?4) AND {_WORKING} AND {_MAY_BE_TAKEN} "
                "ORDER BY number LIMIT 1",
                (migration, now, settle_s, alias, vault, unbatched),
            )
            if row is None:
                return None
            connection.execute(
                "UPDATE chunk SET state = ?, owner = ?, fence = fence + 1, expires = ? WHERE migration = ? AND "
                "number = ?",
                (LEASED, owner, now + lease_s, migration, row[0]),
            )
        number, lo, hi, count, fence = row
        return chunk_from(number, lo, hi, count, fence + 1)

    def prolong_chunk(self, alias: AliasName, chunk: Chunk, *, owner: ClientId, lease_s: float) -> bool:
        """Prolong the lease of a piece; the fence tells whether anybody has taken it meanwhile."""
        with self._write(Durability.NORMAL) as connection:
            connection.execute(
                f"UPDATE chunk SET expires = ? WHERE {_MINE}",
                (self._time() + lease_s, alias, chunk.number, chunk.fence, owner, LEASED),
            )
            return connection.changes() > 0

    def publish(
        self, alias: AliasName, chunk: Chunk, keys: Sequence[DocumentId], *, owner: ClientId, lease_s: float
    ) -> list[DocumentId]:
        """Begin to write a piece; from here, no dirty document in its range is carried over by anybody else."""
        with self._write(Durability.NORMAL) as connection:
            connection.execute(
                f"UPDATE chunk SET state = ?, expires = ? WHERE {_MINE} AND {_WORKING}",
                (PUBLISHING, self._time() + lease_s, alias, chunk.number, chunk.fence, owner, LEASED),
            )
            if not connection.changes():
                raise LeaseLost(f"chunk {chunk.number} of {alias} is not this worker's any more")
            touched = {
                key
                for (key,) in connection.execute(
                    "SELECT key FROM dirty WHERE alias = ? AND key > ? AND key <= ?", (alias, chunk.lo, chunk.hi)
                )
            }
        return [key for key in keys if key not in touched]

    def published(self, alias: AliasName, chunk: Chunk, *, owner: ClientId) -> None:
        """Record that a piece is in the follower."""
        self._give_back(alias, chunk, owner, was=PUBLISHING, now=PUBLISHED)

    def release_chunk(self, alias: AliasName, chunk: Chunk, *, owner: ClientId) -> None:
        """Give back a piece of which nothing is written."""
        self._give_back(alias, chunk, owner, was=LEASED, now=PENDING)

    def chunk_progress(self, migration: MigrationId) -> tuple[int, int, int]:
        """Return documents published, pieces published, and pieces in all."""
        ((documents, done, pieces),) = self._read(
            "SELECT coalesce(sum(iif(state = 3, count, 0)), 0), coalesce(sum(state = 3), 0), count(*) FROM chunk "
            "WHERE migration = ?",
            (migration,),
        )
        return documents, done, pieces

    def published_over_time(self, migration: MigrationId) -> Published:
        """Return when documents were published: a piece keeps the end of its last lease, of the same length for all.

        When the last lease would be over and nothing came after it, that is a part of the time as well.
        """
        found = self._read(
            "WITH piece AS (SELECT expires AS at, count FROM chunk WHERE migration = :migration AND state = 3), "
            "span AS (SELECT min(at) AS first, max(max(at), :now) AS last FROM piece) "
            "SELECT last - first, min(:parts - 1, CAST((at - first) * :parts / (last - first) AS INTEGER)), sum(count) "
            "FROM piece, span WHERE at > first GROUP BY 2",
            {"migration": migration, "parts": PARTS, "now": self._time()},
        )
        counts = {part: count for _, part, count in found}
        return Published(seconds=found[0][0], parts=[counts.get(part, 0) for part in range(PARTS)]) if found else NONE

    def shares(self, migration: MigrationId) -> dict[ClientId, Share]:
        """Return what each worker has done for the back-fill."""
        found = self._read(
            "SELECT owner, sum(iif(state = 3, count, 0)), sum(state IN (1, 2)) FROM chunk "
            "WHERE migration = ? AND state > 0 AND owner IS NOT NULL GROUP BY owner",
            (migration,),
        )
        return {ClientId(owner): Share(documents=documents, in_hand=in_hand) for owner, documents, in_hand in found}

    def _give_back(self, alias: AliasName, chunk: Chunk, owner: ClientId, *, was: int, now: int) -> None:
        with self._write(Durability.NORMAL) as connection:
            connection.execute(
                f"UPDATE chunk SET state = ? WHERE {_MINE}",
                (now, alias, chunk.number, chunk.fence, owner, was),
            )
            if not connection.changes():
                raise LeaseLost(f"chunk {chunk.number} of {alias} is not this worker's any more")


def chunk_from(number: int, lo: str, hi: str, count: int, fence: int) -> Chunk:
    """Read back a piece."""
    return Chunk(number=number, lo=lo, hi=hi, count=count, fence=fence)
