"""What the ledger keeps of a back-fill: its pieces, who works on them, and what is published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from undrift.domain.checkpoint import Chunk
from undrift.domain.client import ClientId
from undrift.domain.forecast import Published, Share
from undrift.domain.migration import MigrationId
from undrift.domain.record import DocumentId
from undrift.domain.route import AliasName


class BackfillLedger(Protocol):
    """The pieces of back-fills."""

    def add_chunks(self, migration: MigrationId, chunks: Sequence[Chunk], *, complete: bool) -> None:
        """Append pieces of the back-fill; `complete` says that these were the last.

        Raises:
            StaleRoute: they do not begin where the last piece ended, because another process was first.
        """
        ...

    def last_chunk(self, migration: MigrationId) -> Chunk | None:
        """Return the piece with the highest number."""
        ...

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
        """Take the next piece that nobody has; None when there is none now.

        TAKEOVER WAITS D: an expired lease is taken at once, one that may have been writing only after the fence
        horizon. A piece that a job has brought the vectors of is taken only where they are: in the cache that jobs call
        `vault`. Without `unbatched`, none is taken that was never in a job.
        """
        ...

    def prolong_chunk(self, alias: AliasName, chunk: Chunk, *, owner: ClientId, lease_s: float) -> bool:
        """Prolong the lease of a piece of which nothing is written yet; False when another worker has it.

        A lease that has ended is prolonged as well while nobody has taken the piece.
        """
        ...

    def publish(
        self, alias: AliasName, chunk: Chunk, keys: Sequence[DocumentId], *, owner: ClientId, lease_s: float
    ) -> list[DocumentId]:
        """Begin to write a piece to the follower, and return those keys that may be written.

        PUBLISH SKIPS TOUCHED: a key with any journal row belongs to the journal.

        Raises:
            LeaseLost: another worker has the piece, or the migration does not back-fill any more.
        """
        ...

    def published(self, alias: AliasName, chunk: Chunk, *, owner: ClientId) -> None:
        """Record that a piece is in the follower.

        Raises:
            LeaseLost: another worker has the piece.
        """
        ...

    def release_chunk(self, alias: AliasName, chunk: Chunk, *, owner: ClientId) -> None:
        """Give back a piece of which nothing is written yet.

        Raises:
            LeaseLost: another worker has the piece.
        """
        ...

    def chunk_progress(self, migration: MigrationId) -> tuple[int, int, int]:
        """Return documents published, pieces published, and pieces in all."""
        ...

    def published_over_time(self, migration: MigrationId) -> Published:
        """Return when documents were published, as far as it is known: when each piece began to be written.

        The time ends with the last piece, or now where that was longer ago than a lease.
        """
        ...

    def shares(self, migration: MigrationId) -> dict[ClientId, Share]:
        """Return what each worker has done for the back-fill."""
        ...
