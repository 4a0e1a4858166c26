"""Files of batch jobs on this machine: what is sent to a provider, and which texts are in it."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from undrift.domain.batch import JobId
from undrift.domain.record import ContentHash

#: Bytes of a text's hash.
_HASH = 16


class FileSpool:
    """A folder beside the cache, with a few files a job.

    Losing it costs time, never data: a job whose file is gone before the provider has it is made again.
    """

    def __init__(self, folder: Path, *, capacity: int) -> None:
        """Remember the folder; it is made when something is put into it.

        Args:
            folder: where the files are.
            capacity: bytes that the cache beside it keeps.
        """
        self._folder = folder.absolute()
        self._capacity = capacity

    @property
    def vault(self) -> str:
        """Names the cache they belong to: host and folder."""
        return f"{socket.gethostname()}:{self._folder}"

    @property
    def capacity(self) -> int:
        """Bytes that the cache keeps."""
        return self._capacity

    def write(self, job: JobId, lines: Iterable[bytes]) -> tuple[int, str]:
        """Write a job's file and return its size and its SHA-256."""
        self._folder.mkdir(parents=True, exist_ok=True)
        size, digest = 0, hashlib.sha256()
        unfinished = self._file(job, "unfinished")
        with unfinished.open("wb") as file:
            for line in lines:
                file.write(line)
                digest.update(line)
                size += len(line)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self._file(job, "jsonl"))
        return size, digest.hexdigest()

    def path(self, job: JobId) -> Path | None:
        """Return where a job's file is; None when it is not there, or not whole."""
        path = self._file(job, "jsonl")
        return path if path.exists() else None

    def note(self, job: JobId, what: str, hashes: Sequence[ContentHash]) -> None:
        """Add hashes of texts to a list of a job."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._file(job, what).open("ab") as file:
            file.write(bytes.fromhex("".join(hashes)))

    def noted(self, job: JobId, what: str) -> set[ContentHash]:
        """Return a list of a job; what a crash has left half written at its end is left out."""
        try:
            text = self._file(job, what).read_bytes().hex()
        except FileNotFoundError:
            return set()
        step = 2 * _HASH
        return {ContentHash(text[at : at + step]) for at in range(0, len(text) - step + 1, step)}

    def remove(self, job: JobId) -> None:
        """Delete everything of a job."""
        for path in self._folder.glob(f"{job}.*"):
            with suppress(FileNotFoundError):
                path.unlink()

    def jobs(self, prefix: str) -> set[JobId]:
        """Return the jobs of which there is something, whose names begin so."""
        return {JobId(path.name.partition(".")[0]) for path in self._folder.glob(f"{prefix}*")}

    def _file(self, job: JobId, kind: str) -> Path:
        return self._folder / f"{job}.{kind}"
