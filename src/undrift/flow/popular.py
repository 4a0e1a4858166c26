"""Which documents searches return most, in bounded memory and off the way of a search."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable

#: Answers that may wait to be counted; in a busier second some are not, which changes nothing about what is popular.
_WAITING = 2_000
#: So many times more documents are counted than are asked for: what is counted wrong is then too small to matter.
_SPARE = 4


class Popular:
    """Counts by the summary of Misra and Gries (1982), in its mergeable form.

    With room for m documents, a count is too small by at most n / m of n documents returned, and never too large
    (Agarwal et al., Mergeable summaries, PODS 2012). So what is returned much more often than that is never missed.
    """

    def __init__(self, most: int) -> None:
        """Know of nothing yet.

        Args:
            most: how many documents will be asked for.
        """
        self._most = most
        self._room = most * _SPARE
        self._counts: Counter[str] = Counter()
        self._waiting: deque[tuple[str, ...]] = deque(maxlen=_WAITING)

    def saw(self, ids: Iterable[str]) -> None:
        """Take note of an answer; it is counted later, by whoever calls `fold`."""
        self._waiting.append(tuple(ids))

    def fold(self) -> None:
        """Count what is waiting; by one thread at a time."""
        for _ in range(len(self._waiting)):
            self._counts.update(self._waiting.popleft())
            # Seldom: twice the room is filled first.
            if len(self._counts) > 2 * self._room:
                self._shrink()

    def top(self) -> dict[str, int]:
        """Return the documents that were returned most, with their counts."""
        return dict(self._counts.most_common(self._most))

    def _shrink(self) -> None:
        (*_, (_, least)) = self._counts.most_common(self._room + 1)
        self._counts = Counter({id: count - least for id, count in self._counts.items() if count > least})
