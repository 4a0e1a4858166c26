"""What goes into one request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

_T = TypeVar("_T")
#: Bytes in one request that writes, about; a server takes 32 MiB.
_WRITTEN = 8 * 2**20


def portions(items: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    """Return them so many at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))


def spans(sizes: Sequence[int], *, most: int | None = None) -> Iterator[tuple[int, int]]:
    """Return from where to where the requests go of which each has so much; at most so many points each."""
    start = total = 0
    for at, size in enumerate(sizes):
        if at > start and (total + size > _WRITTEN or at - start == most):
            yield start, at
            start, total = at, 0
        total += size
    yield start, len(sizes)
