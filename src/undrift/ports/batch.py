"""A provider's batch API, the durable memory of its jobs, and where their texts wait."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from undrift.domain.batch import BatchJob, JobId, RemoteJob
from undrift.domain.checkpoint import Chunk
from undrift.domain.client import ClientId
from undrift.domain.record import ContentHash, Vector
from undrift.domain.route import AliasName
from undrift.domain.space import Space
from undrift.ports.embedder import EmbedderLimits, TokenCount


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """What a batch API takes and costs.

    Attributes:
        items: most texts in a job.
        size: most bytes in its file.
        price: its price, as a part of that of other requests.
    """

    items: int
    size: int
    price: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What became of one text of a job.

    Attributes:
        key: the text's key.
        vector: float32, shape (d,); None when there is none.
        tokens: what it is billed for, where that is said.
        problem: why there is no vector.
    """

    key: str
    vector: Vector | None = None
    tokens: int = 0
    problem: str = ""


class BatchService(Protocol):
    """The batch API of one model; only `flow.batch` calls it. Errors are those of `Embedder`.

    A method is tried again by itself only where that can cost nothing.
    """

    @property
    def limits(self) -> BatchLimits:
        """What it takes and costs."""
        ...

    def line(self, key: str, text: str) -> bytes:
        """Return a text as one line of a job's file, the line's end included."""
        ...

    def upload(self, name: str, path: Path) -> str:
        """Send a file, and return the provider's name for it. Sent once: one whose answer is lost is in the list."""
        ...

    def files(self, prefix: str) -> dict[str, str]:
        """Return the files at the provider whose names begin so: the provider's names for them to ours."""
        ...

    def create(self, file: str, job: JobId) -> RemoteJob:
        """Begin a job of a file that is there. Sent once, whatever becomes of it.

        Raises:
            EmbedderRejected: the provider refuses it, and nothing was begun.
            EmbedderUnavailable: whether it was begun is not known; it was not when the words are of a full queue.
        """
        ...

    def find(self, job: JobId, *, since: float) -> list[RemoteJob]:
        """Return the jobs at the provider that were begun under our name, the oldest first.

        Args:
            job: our name.
            since: nothing older is looked at, in seconds since 1970.
        """
        ...

    def show(self, batch: str) -> RemoteJob:
        """Return how a job stands."""
        ...

    def cancel(self, batch: str) -> None:
        """Call a job off; one that is over already is left alone."""
        ...

    def results(self, file: str) -> Iterator[Answered]:
        """Read a file of answers or errors as it comes, in any order; one that the provider has deleted has none.

        Raises:
            ModelChanged: another model has answered.
        """
        ...

    def remove(self, file: str) -> None:
        """Delete a file; one that is gone already is no error."""
        ...


class SupportsBatches(Protocol):
    """An embedder whose provider has a batch API for its model."""

    @property
    def space(self) -> Space:
        """The space of its vectors."""
        ...

    @property
    def limits(self) -> EmbedderLimits:
        """What its other requests take and cost."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> TokenCount:
        """As `Embedder`."""
        ...

    @property
    def batches(self) -> BatchService | None:
        """The batch API; None where this server has none."""
        ...


class BatchLedger(Protocol):
    """The part of the durable memory that keeps jobs. Every change is durable before it returns."""

    def add_job(
        self,
        job: BatchJob,
        pieces: Sequence[int],
        *,
        after: Mapping[JobId, Sequence[int]],
        queue_tokens: int | None,
    ) -> bool:
        """Record a job before anything of it is sent, with its tokens put aside at its price.

        Its pieces are nobody's to carry over until it has brought their vectors, nor are those until the others have.

        Args:
            job: the job.
            pieces: numbers of the pieces of the back-fill that wait for it.
            after: which of these pieces wait for other jobs too.
            queue_tokens: most tokens of all jobs of its account that are in the queue.

        Returns:
            False when the queue has no room for it; nothing is recorded.

        Raises:
            BudgetExhausted: it may cost more than is left; nothing is recorded.
            StaleRoute: a piece is not free, or the migration does not back-fill any more.
        """
        ...

    def jobs(self, alias: AliasName) -> list[BatchJob]:
        """Return the jobs of an alias, the oldest first: those of its present migration, and older ones still open."""
        ...

    def pieces_of(self, job: JobId) -> dict[Chunk, bool]:
        """Return the pieces that wait, or waited, for a job, in their order, and whether each is published."""
        ...

    def lease_job(self, job: JobId, *, owner: ClientId, lease_s: float) -> BatchJob | None:
        """Take a job for one step; None while another process has it, or when nothing of it is left to do."""
        ...

    def save_job(self, job: BatchJob, *, owner: ClientId, keep: bool = True, without: Iterable[int] = ()) -> None:
        """Record what became of a job; its migration is charged the difference of its tokens.

        Args:
            job: the job as it is now.
            owner: who leased it.
            keep: whether the job stays leased.
            without: pieces that do not wait for it any more, and may go into another job.

        Raises:
            LeaseLost: another process has taken it since.
        """
        ...

    def free_pieces(self, alias: AliasName, *, limit: int) -> list[Chunk]:
        """Return pieces of the present back-fill that nobody works on and that are in no job, in their order."""
        ...


class Spool(Protocol):
    """Files of jobs on this machine, beside the cache; losing them costs time, never data."""

    @property
    def vault(self) -> str:
        """Names the cache they belong to: host and file."""
        ...

    @property
    def capacity(self) -> int:
        """Bytes that the cache keeps."""
        ...

    def write(self, job: JobId, lines: Iterable[bytes]) -> tuple[int, str]:
        """Write a job's file and return its size and its SHA-256."""
        ...

    def path(self, job: JobId) -> Path | None:
        """Return where a job's file is; None when it is not there, or not whole."""
        ...

    def note(self, job: JobId, what: str, hashes: Sequence[ContentHash]) -> None:
        """Add hashes of texts to a list of a job."""
        ...

    def noted(self, job: JobId, what: str) -> set[ContentHash]:
        """Return a list of a job."""
        ...

    def remove(self, job: JobId) -> None:
        """Delete everything of a job."""
        ...

    def jobs(self, prefix: str) -> set[JobId]:
        """Return the jobs of which there is something, whose names begin so."""
        ...
