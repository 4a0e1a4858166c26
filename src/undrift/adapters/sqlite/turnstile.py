"""A queue of processes and threads in front of one file."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

#: How often a place is looked at; far above a lock's cost, far below a transaction's.
POLL_S = 0.0005


class Turnstile:
    """Gives one at a time the turn to write.

    SQLite lets waiting writers race and sleep ever longer, which starves some of them for seconds. Here are two locks,
    one behind the other: whoever holds the first is alone in waiting for the second, so nobody overtakes who already
    waits at the front. They only order the writers; that there is one writer at a time is SQLite's own business.
    """

    def __init__(self, path: Path) -> None:
        """Stand in front of a file; the lock files beside it are made at the first turn."""
        self._paths = (f"{path}-queue0", f"{path}-queue1")
        self._descriptors: tuple[int, ...] = ()

    def __del__(self) -> None:
        """Close the lock files of a database that nobody closed, as SQLite does with its own."""
        self.close()

    @contextmanager
    def turn(self, deadline: float) -> Iterator[None]:
        """Wait for the turn, at most until `deadline` of the monotonic clock, and keep it meanwhile.

        Raises:
            apsw.BusyError: the turn did not come in time.
        """
        if not self._descriptors:
            self._descriptors = self._open()
        front, inside = self._descriptors
        _lock(front, deadline)
        try:
            _lock(inside, deadline)
        finally:
            fcntl.flock(front, fcntl.LOCK_UN)
        try:
            yield
        finally:
            # A child that was forked meanwhile has closed them.
            if self._descriptors:
                fcntl.flock(inside, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the lock files; another turn opens them again."""
        descriptors, self._descriptors = self._descriptors, ()
        for descriptor in descriptors:
            os.close(descriptor)

    def _open(self) -> tuple[int, ...]:
        opened: list[int] = []
        for path in self._paths:
            try:
                opened.append(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666))
            except OSError as error:
                for descriptor in opened:
                    os.close(descriptor)
                read_only = error.errno in (errno.EROFS, errno.EACCES, errno.EPERM)
                kind = apsw.ReadOnlyError if read_only else apsw.CantOpenError
                raise kind(f"{path}: {error.strerror}") from error
        return tuple(opened)


def _lock(descriptor: int, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EINTR):
                raise
        else:
            return
        if time.monotonic() > deadline:
            raise apsw.BusyError("another process writes for too long")
        time.sleep(POLL_S)
