"""What a document may be while several writes of it are under way: every order that explains what was told so far."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from undrift import Document

#: What a write does to a document, or to its absence.
Change = Callable[[Document | None], Document | None]


class Values:
    """The possible values of one document, each with the unfinished writes that it takes to have happened.

    A write that is under way may happen at any moment, once. When its sender is told that it was acknowledged, only
    what explains that stays: it has happened at some moment of its time.
    """

    def __init__(self, *values: Document | None) -> None:
        """Begin with what it may be now."""
        self._possible: list[tuple[Document | None, frozenset[int]]] = [(value, frozenset()) for value in values]
        self._under_way: dict[int, Change] = {}

    def begins(self, write: int, change: Change) -> None:
        """Let a write be under way."""
        self._under_way[write] = change

    def acknowledged(self, write: int) -> None:
        """Take note that a write has happened."""
        if write in self._under_way:
            self._keep((value, done) for value, done in self._explored() if write in done)
            self._end(write)

    def refused(self, write: int) -> None:
        """Take note that a write has not happened, and never will."""
        if write in self._under_way:
            self._keep((value, done) for value, done in self._explored() if write not in done)
            self._end(write)

    def over(self, write: int) -> None:
        """Take note that a write has happened or not, and will not any more."""
        if write in self._under_way:
            self._keep(self._explored())
            self._end(write)

    @property
    def is_settled(self) -> bool:
        """Whether no write is under way."""
        return not self._under_way

    def now(self) -> list[Document | None]:
        """Return what the document may be at this moment."""
        found: list[Document | None] = []
        for value, _ in self._explored():
            if value not in found:
                found.append(value)
        return found

    def _explored(self) -> list[tuple[Document | None, frozenset[int]]]:
        """Return the possible values, and those after any of the writes that are under way, in any order."""
        found = list(self._possible)
        for value, done in found:
            for write, change in self._under_way.items():
                after = (change(value), done | {write})
                if write not in done and after not in found:
                    found.append(after)
        return found

    def _keep(self, found: Iterable[tuple[Document | None, frozenset[int]]]) -> None:
        self._possible = list(found)

    def _end(self, write: int) -> None:
        del self._under_way[write]
        unique: list[tuple[Document | None, frozenset[int]]] = []
        for value, done in self._possible:
            if (value, done - {write}) not in unique:
                unique.append((value, done - {write}))
        self._possible = unique
