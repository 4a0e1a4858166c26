"""Processes that stand still in the middle of a call, and requests that land long after they were sent."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from undrift.testing.rig import BeatingClock


class Course:
    """Something that a process does on a thread of its own, so that it can stand still anywhere in it.

    One thread runs at a time: whoever lets it go on waits until it stands still again, or is over.
    """

    def __init__(self, act: Callable[[], None]) -> None:
        """Begin it at the next `go_on`."""
        self._act = act
        self._baton, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, name="undrift-course", daemon=True)
        self._begun = False
        self.is_standing = True
        self.over = False
        self.error: BaseException | None = None

    def go_on(self) -> None:
        """Let it go on until it stands still again or is over; raise what it raised."""
        if self.over or not self.is_standing:
            # Whoever let it go on waits for it already, further up.
            return
        self.is_standing = False
        if self._begun:
            self._baton.release()
        else:
            self._begun = True
            self._thread.start()
        self._back.acquire()
        if self.over:
            self._thread.join()
        if self.error is not None:
            error, self.error = self.error, None
            raise error

    def stand_still(self) -> None:
        """Stand still, where this is called on its thread."""
        self.is_standing = True
        self._back.release()
        self._baton.acquire()

    @property
    def is_here(self) -> bool:
        """Whether this is its thread."""
        return threading.current_thread() is self._thread

    def _run(self) -> None:
        try:
            self._act()
        except BaseException as error:
            self.error = error
        self.over = True
        self._back.release()


@dataclass(kw_only=True, eq=False)
class Request:
    """A write that has not arrived yet.

    Attributes:
        lands: lets it take effect.
        latest: when it has at the latest, in seconds.
        sender: the process; where requests die with it, this one does.
        write: the number of the client's write that it is of; None for a worker's.
    """

    lands: Callable[[], None]
    latest: float
    sender: str
    write: int | None


class EventfulClock(BeatingClock):
    """Virtual time in which things happen when theirs has come, whoever lets it pass."""

    def __init__(self) -> None:
        """Begin with nothing to come."""
        super().__init__()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, time: float, act: Callable[[], None]) -> None:
        """Let something happen at a time."""
        self._count += 1
        self._due.append((time, self._count, act))

    def advance(self, seconds: float) -> None:
        """Move the time on, from one thing that happens to the next."""
        until = self.monotonic() + seconds
        while due := [one for one in self._due if one[0] <= until]:
            first = min(due, key=lambda one: one[:2])
            self._due.remove(first)
            super().advance(max(0.0, first[0] - self.monotonic()))
            first[2]()
        super().advance(max(0.0, until - self.monotonic()))
