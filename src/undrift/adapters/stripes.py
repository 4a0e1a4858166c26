"""Locks of one process for the records of a store that knows no condition on a write."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

_STRIPES = 64


class Stripes:
    """Locks, of which many records share one."""

    #: By place: two stores of one process may be two clients of one database, and know nothing of one another.
    _known: dict[str, Stripes] = {}  # noqa: RUF012 - all of this process share it
    _guard = threading.Lock()

    def __init__(self) -> None:
        """Hold none."""
        self._locks = [threading.Lock() for _ in range(_STRIPES)]

    @classmethod
    def of(cls, place: str) -> Stripes:
        """Return the locks of a database in this process."""
        with cls._guard:
            return cls._known.setdefault(place, cls())

    @contextmanager
    def hold(self, ids: Iterable[str] | None) -> Iterator[None]:
        """Hold the locks of some records, or of all; always in the same order, so that nobody waits in a circle."""
        numbers = range(_STRIPES) if ids is None else sorted({hash(id) % _STRIPES for id in ids})
        with ExitStack() as stack:
            for number in numbers:
                stack.enter_context(self._locks[number])
            yield
