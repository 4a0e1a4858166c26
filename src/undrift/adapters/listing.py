"""The ids of a collection in the order of their code points, for stores that keep no such order themselves."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from threading import Lock

from undrift.domain.record import DocumentId

#: From so many new ids on they are merged into a list at once.
_FEW = 16


@dataclass(slots=True)
class _Listed:
    taken: float
    #: In order, each once; a set beside it would cost as much memory again.
    ids: list[DocumentId]
    #: Those of them that this process deleted since.
    gone: set[DocumentId] = field(default_factory=set)


class Listings:
    """Lists each collection at most every so often, and keeps the lists true to what this process writes itself.

    What other processes insert may be missing from a list for `age_s` seconds, which the store's capabilities must
    declare as `scans_lag_s`; what they delete may still be in it, so whoever uses an id looks whether it is there.
    """

    def __init__(self, monotonic: Callable[[], float], age_s: float) -> None:
        """List nothing yet.

        Args:
            monotonic: the source of time, in seconds.
            age_s: how old a list may be; with 0, every scan lists anew.
        """
        self._monotonic = monotonic
        self._age_s = age_s
        self._lists: dict[str, _Listed] = {}
        self._lock = Lock()

    def after(
        self,
        collection: str,
        enumerate_ids: Callable[[], Iterable[DocumentId]],
        after: str,
        until: str | None,
        limit: int | None = None,
    ) -> Sequence[DocumentId]:
        """Return the ids with after < id <= until, in order, and without those that this process deleted.

        Args:
            collection: whose ids.
            enumerate_ids: reads all of them from the store, in any order; called when the list is too old.
            after: ids up to this one are left out.
            until: ids behind this one are left out; None for none.
            limit: at most so many; fewer mean that there are no more. None for all, which costs as much as there are.
        """
        with self._lock:
            listed = self._lists.get(collection)
            if listed is None or self._monotonic() - listed.taken >= self._age_s:
                # As old as when it was begun: what came during the enumeration may be missing.
                taken = self._monotonic()
                listed = self._lists[collection] = _Listed(taken, sorted(set(enumerate_ids())))
            begin = bisect_right(listed.ids, after)
            end = len(listed.ids) if until is None else bisect_right(listed.ids, until)
            there = (listed.ids[at] for at in range(begin, end) if listed.ids[at] not in listed.gone)
            return list(islice(there, limit))

    def pages(
        self,
        collection: str,
        enumerate_ids: Callable[[], Iterable[DocumentId]],
        after: str,
        until: str | None,
        size: int,
    ) -> Iterator[Sequence[DocumentId]]:
        """Yield the ids with after < id <= until in order, so many at a time, as `after` has them."""
        while page := self.after(collection, enumerate_ids, after, until, size):
            yield page
            if len(page) < size:
                return
            after = page[-1]

    def written(self, collection: str, ids: Iterable[DocumentId]) -> None:
        """Take note of records that this process has written."""
        with self._lock:
            listed = self._lists.get(collection)
            if listed is None:
                return
            new = []
            for id in ids:
                listed.gone.discard(id)
                at = bisect_left(listed.ids, id)
                if at == len(listed.ids) or listed.ids[at] != id:
                    new.append(id)
            if len(new) < _FEW:
                for id in dict.fromkeys(new):
                    insort(listed.ids, id)
            else:
                # Two runs in order are merged in one go; one by one, each would move all that are behind it.
                listed.ids += sorted(set(new))
                listed.ids.sort()

    def deleted(self, collection: str, ids: Iterable[DocumentId]) -> None:
        """Take note of records that this process has deleted."""
        with self._lock:
            listed = self._lists.get(collection)
            if listed is not None:
                listed.gone.update(ids)

    def forget(self, collection: str) -> None:
        """Forget a collection, as when it is made or dropped."""
        with self._lock:
            self._lists.pop(collection, None)
