"""The pieces of a back-fill, and who works on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from undrift.adapters.ledgers.postgres.session import (
    KEEPING,
    LEASED,
    PENDING,
    PUBLISHED,
    PUBLISHING,
    Session,
    lock,
)
from undrift.domain.batch import JobState
from undrift.domain.checkpoint import Chunk
from undrift.domain.client import ClientId
from undrift.domain.forecast import NONE, PARTS, Published, Share
from undrift.domain.migration import MigrationId, Phase, RunStatus
from undrift.domain.record import DocumentId
from undrift.domain.route import AliasName
from undrift.errors import LeaseLost, StaleRoute

#: A worker may take or publish a piece only while its migration back-fills and is not paused. Lock 2 keeps the phase as
#: it is: an abort that was committed finds every piece that is being published.
_WORKING = (
    "EXISTS (SELECT 1 FROM undrift.migration AS m WHERE m.id = chunk.migration "
    f"AND m.phase = '{Phase.BACKFILL.value}' AND m.run_status = '{RunStatus.RUNNING.value}')"
)
#: A piece that jobs have brought the vectors of is taken where they are.
_OF_JOBS = (
    "FROM undrift.batch_piece AS p JOIN undrift.batch_job AS j ON j.id = p.job "
    "WHERE p.migration = chunk.migration AND p.number = chunk.number"
)
_BROUGHT = f"j.state = '{JobState.BROUGHT.value}'"
_MAY_BE_TAKEN = (
    f"CASE WHEN EXISTS (SELECT 1 {_OF_JOBS}) THEN NOT EXISTS (SELECT 1 {_OF_JOBS} AND j.state IN ({KEEPING})) "
    f"AND (EXISTS (SELECT 1 {_OF_JOBS} AND {_BROUGHT} AND j.vault = %(vault)s) "
    f"OR NOT EXISTS (SELECT 1 {_OF_JOBS} AND {_BROUGHT})) ELSE %(unbatched)s END"
)
_OF_ALIAS = "migration = (SELECT a.migration FROM undrift.alias AS a WHERE a.name = %(alias)s)"
#: A piece as its worker knows it.
_MINE = f"{_OF_ALIAS} AND number = %(number)s AND fence = %(fence)s AND owner = %(owner)s AND state = %(state)s"
_LAST = "SELECT number, lo, hi, count, fence FROM undrift.chunk WHERE migration = %s ORDER BY number DESC LIMIT 1"


class BackfillTables(Session):
    """Pieces are leased, published under a fence, and done; all of it may be lost to a power cut and is done again."""

    def add_chunks(self, migration: MigrationId, chunks: Sequence[Chunk], *, complete: bool) -> None:
        """Append pieces that begin where the last one ended."""

        def work(connection: Any) -> None:
            connection.execute("SELECT 1 FROM undrift.migration WHERE id = %s FOR NO KEY UPDATE", (migration,))
            row = connection.execute(_LAST, (migration,)).fetchone()
            number, hi = (row[0], row[2]) if row else (-1, "")
            # Two coordinators that lay out from different readings would leave a gap between their pieces.
            if chunks and (chunks[0].number, chunks[0].lo) != (number + 1, hi):
                raise StaleRoute(f"another process has laid out the back-fill up to piece {number}")
            connection.execute(
                "INSERT INTO undrift.chunk (migration, number, lo, hi, count, state, fence, expires) "
                "SELECT %s, given.number, given.lo, given.hi, given.count, 0, 0, 0 "
                "FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::bigint[]) AS given (number, lo, hi, count)",
                (
                    migration,
                    [chunk.number for chunk in chunks],
                    [chunk.lo for chunk in chunks],
                    [chunk.hi for chunk in chunks],
                    [chunk.count for chunk in chunks],
                ),
            )
            connection.execute(
                "UPDATE undrift.migration SET planned = planned OR %(complete)s, total = "
                "(SELECT coalesce(sum(count), 0) FROM undrift.chunk WHERE migration = %(id)s) WHERE id = %(id)s",
                {"complete": complete, "id": migration},
            )

        self._transact(work, durable=False)

    def last_chunk(self, migration: MigrationId) -> Chunk | None:
        """Return the piece with the highest number."""
        rows = self._read(_LAST, (migration,))
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
        _, rows = self._run(
            lock(alias, 2, exclusive=False),
            (
                "WITH clock AS MATERIALIZED (SELECT undrift.now() AS now), next AS (SELECT number FROM undrift.chunk "
                "  WHERE migration = %(migration)s AND state < 3 AND (state = 0 "
                "    OR (state = 1 AND expires < (SELECT now FROM clock)) "
                "    OR (state = 2 AND expires + %(settle)s < (SELECT now FROM clock))) "
                f"  AND {_OF_ALIAS} AND {_WORKING} AND {_MAY_BE_TAKEN} "
                "  ORDER BY number LIMIT 1 FOR NO KEY UPDATE OF chunk SKIP LOCKED) "
                "UPDATE undrift.chunk AS c SET state = %(leased)s, owner = %(owner)s, fence = c.fence + 1, "
                "expires = (SELECT now FROM clock) + %(lease)s FROM next "
                "WHERE c.migration = %(migration)s AND c.number = next.number "
                "RETURNING c.number, c.lo, c.hi, c.count, c.fence",
                {
                    "alias": alias,
                    "migration": migration,
                    "settle": float(settle_s),
                    "leased": LEASED,
                    "owner": owner,
                    "lease": float(lease_s),
                    "vault": vault,
                    "unbatched": unbatched,
                },
            ),
        )
        return chunk_from(*rows[0]) if rows else None

    def prolong_chunk(self, alias: AliasName, chunk: Chunk, *, owner: ClientId, lease_s: float) -> bool:
        """Prolong the lease of a piece; the fence tells whether anybody has taken it meanwhile."""
        (mine,) = self._run(
            (
                f"UPDATE undrift.chunk SET expires = undrift.now() + %(lease)s WHERE {_MINE} RETURNING 1",
                {**_held(alias, chunk, owner, LEASED), "lease": float(lease_s)},
            )
        )
        return bool(mine)

    def publish(
        self, alias: AliasName, chunk: Chunk, keys: Sequence[DocumentId], *, owner: ClientId, lease_s: float
    ) -> list[DocumentId]:
        """Begin to write a piece; from here, no dirty document in its range is carried over by anybody else."""
        # Exclusive: a claim that has begun is seen as a touched document, one that begins later sees this piece.
        _, mine, touched = self._run(
            lock(alias, 2, exclusive=True),
            (
                "UPDATE undrift.chunk SET state = %(publishing)s, expires = undrift.now() + %(lease)s "
                f"WHERE {_MINE} AND {_WORKING} RETURNING 1",
                {**_held(alias, chunk, owner, LEASED), "publishing": PUBLISHING, "lease": float(lease_s)},
            ),
            (
                "SELECT key FROM undrift.dirty WHERE alias = %s AND key > %s AND key <= %s",
                (alias, chunk.lo, chunk.hi),
            ),
        )
        if not mine:
            raise _lost(alias, chunk)
        skipped = {key for (key,) in touched}
        return [key for key in keys if key not in skipped]

    def published(self, alias: AliasName, chunk: Chunk, *, owner: ClientId) -> None:
        """Record that a piece is in the follower."""
        self._hand_back(alias, chunk, owner, was=PUBLISHING, now=PUBLISHED)

    def release_chunk(self, alias: AliasName, chunk: Chunk, *, owner: ClientId) -> None:
        """Give back a piece of which nothing is written."""
        self._hand_back(alias, chunk, owner, was=LEASED, now=PENDING)

    def chunk_progress(self, migration: MigrationId) -> tuple[int, int, int]:
        """Return documents published, pieces published, and pieces in all."""
        ((documents, done, pieces),) = self._read(
            "SELECT coalesce(sum(count) FILTER (WHERE state = 3), 0)::bigint, count(*) FILTER (WHERE state = 3), "
            "count(*) FROM undrift.chunk WHERE migration = %s",
            (migration,),
        )
        return documents, done, pieces

    def published_over_time(self, migration: MigrationId) -> Published:
        """Return when documents were published: a piece keeps the end of its last lease, of the same length for all.

        When the last lease would be over and nothing came after it, that is a part of the time as well.
        """
        found = self._read(
            "WITH piece AS (SELECT expires AS at, count FROM undrift.chunk "
            "  WHERE migration = %(migration)s AND state = 3), "
            "span AS (SELECT min(at) AS first, greatest(max(at), undrift.now()) AS last FROM piece) "
            "SELECT last - first, least(%(parts)s - 1, floor((at - first) * %(parts)s / (last - first)))::int, "
            "sum(count)::bigint FROM piece, span WHERE at > first GROUP BY 1, 2",
            {"migration": migration, "parts": PARTS},
        )
        counts = {part: count for _, part, count in found}
        return Published(seconds=found[0][0], parts=[counts.get(part, 0) for part in range(PARTS)]) if found else NONE

    def shares(self, migration: MigrationId) -> dict[ClientId, Share]:
        """Return what each worker has done for the back-fill."""
        found = self._read(
            "SELECT owner, coalesce(sum(count) FILTER (WHERE state = 3), 0)::bigint, "
            "count(*) FILTER (WHERE state IN (1, 2)) FROM undrift.chunk "
            "WHERE migration = %s AND state > 0 AND owner IS NOT NULL GROUP BY owner",
            (migration,),
        )
        return {ClientId(owner): Share(documents=documents, in_hand=in_hand) for owner, documents, in_hand in found}

    def _hand_back(self, alias: AliasName, chunk: Chunk, owner: ClientId, *, was: int, now: int) -> None:
        (mine,) = self._run(
            (
                f"UPDATE undrift.chunk SET state = %(now)s WHERE {_MINE} RETURNING 1",
                {**_held(alias, chunk, owner, was), "now": now},
            )
        )
        if not mine:
            raise _lost(alias, chunk)


def _held(alias: AliasName, chunk: Chunk, owner: ClientId, state: int) -> dict[str, Any]:
    return {"alias": alias, "number": chunk.number, "fence": chunk.fence, "owner": owner, "state": state}


def _lost(alias: AliasName, chunk: Chunk) -> LeaseLost:
    return LeaseLost(f"chunk {chunk.number} of {alias} is not this worker's any more")


def chunk_from(number: int, lo: str, hi: str, count: int, fence: int) -> Chunk:
    """Read back a piece."""
    return Chunk(number=number, lo=lo, hi=hi, count=count, fence=fence)
