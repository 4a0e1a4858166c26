"""What happens to a process in the middle of what it does, and a store to which it can happen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from undrift.adapters.stores.memory import MemoryStore, StoredRecord
from undrift.domain.record import DocumentId, Entry, Metadata, Record, tag_from_stored
from undrift.domain.route import VectorField
from undrift.errors import StoreUnavailable
from undrift.ports.store import Filter, StoreCapabilities
from undrift.testing.faults import When

#: Calls of a store that change something.
WRITES = frozenset(
    f"store.{name}" for name in ("create", "drop", "upsert", "insert_absent", "delete", "merge_metadata")
)
BEFORE, AFTER = When.BEFORE, When.AFTER


@dataclass(frozen=True)
class Dies:
    """It is killed at one of its calls."""

    place: int
    when: When


@dataclass(frozen=True)
class Loses:
    """A call of a name fails: it does not arrive, or its answer is lost."""

    call: str
    when: When
    skip: int = 0


@dataclass(frozen=True)
class Stands:
    """It stands still at one of its calls, while others go on; awake, its heart beats, and it goes on soon by itself.

    Attributes:
        when: before the call, or after it.
        call: what the name of the call begins with.
        place: how many of such calls pass first.
        awake: whether its heart beats.
    """

    when: When
    call: str = ""
    place: int = 0
    awake: bool = False


@dataclass(frozen=True)
class Late:
    """A write of it gets no answer, and arrives later: within its deadline and the fence horizon."""

    skip: int = 0


Trouble = Dies | Loses | Stands | Late | None


def troubles(most_calls: int, *, stands: bool = True) -> st.SearchStrategy[Trouble]:
    """Nothing, half of the time; a death or a halt between any two of so many calls; an answer that is lost or late."""
    places, sides = st.integers(0, most_calls), st.sampled_from(When)
    calls = st.sampled_from(["store.", "ledger.", "ledger.open", "ledger.close", "store.upsert", "store.delete"])
    well: st.SearchStrategy[Trouble] = st.none()
    some = [st.builds(Dies, places, sides), st.builds(Loses, calls, sides, places)]
    if stands:
        names = st.sampled_from(["", "", "store.", "store.upsert", "store.entries", "ledger.open", "ledger.publish"])
        some += [st.builds(Stands, sides, names, places, st.booleans()), st.builds(Late, st.integers(0, 1))]
    return st.one_of(well, *([well] if not stands else [well, well]), *some)


class DisturbedStore(MemoryStore):
    """A store that takes a part of a batch, or lets a write arrive later, when it is told to; strangers write to it."""

    def __init__(self) -> None:
        super().__init__()
        self.takes: int | None = None
        self.is_remote = False
        #: How long a scan misses what was inserted; by whose clock.
        self.lag_s = 0.0
        self.monotonic: Callable[[], float] = lambda: 0.0
        self.inserted: dict[tuple[str, DocumentId], float] = {}
        #: Takes the next write in the store's place.
        self.postpone: Callable[[Callable[[], None]], None] | None = None

    @property
    def capabilities(self) -> StoreCapabilities:
        return replace(super().capabilities, requests_die_with_process=not self.is_remote, scans_lag_s=self.lag_s)

    def scan(self, field: VectorField, *, limit: int, **asked: Any) -> list[Entry]:
        now, found = self.monotonic(), super().scan(field, limit=10**6, **asked)
        return [entry for entry in found if now - self.inserted.get((field.collection, entry.id), -1e9) >= self.lag_s][
            :limit
        ]

    def ids(self, field: VectorField, *, after: str = "", limit: int) -> list[DocumentId]:
        return [entry.id for entry in self.scan(field, after=after, limit=limit)]

    def upsert(self, field: VectorField, records: Sequence[Record]) -> None:
        self._send(lambda: self._put(super(DisturbedStore, self).upsert, field, records[: self.takes]))

    def insert_absent(self, field: VectorField, records: Sequence[Record]) -> None:
        self._send(lambda: self._put(super(DisturbedStore, self).insert_absent, field, records[: self.takes]))

    def delete(self, field: VectorField, ids: Sequence[DocumentId], *, filter: Filter | None = None) -> None:
        self._send(lambda: super(DisturbedStore, self).delete(field, ids[: self.takes], filter=filter))

    def merge_metadata(self, field: VectorField, changes: Mapping[DocumentId, Metadata], *, sequence: int) -> None:
        self._send(lambda: super(DisturbedStore, self).merge_metadata(field, changes, sequence=sequence))

    @contextmanager
    def seen_as_it_is(self) -> Iterator[None]:
        """Let whoever looks from outside see everything."""
        lag_s, self.lag_s = self.lag_s, 0.0
        try:
            yield
        finally:
            self.lag_s = lag_s

    def bypass(self, field: VectorField, key: str, text: str | None) -> None:
        """Write as somebody who knows nothing of undrift: no tag, and a vector of no model; None deletes."""
        collection, id = self.collections[field.collection], DocumentId(key)
        if text is not None:
            vector = self._ones(collection.dimensions)
            if id not in collection.rows:
                self.inserted[field.collection, id] = self.monotonic()
            collection.put(id, StoredRecord(text=text, metadata="{}", vector=vector, tag=tag_from_stored("", "", 0)))
        elif id in collection.rows:
            collection.remove(id)

    def _put(
        self, put: Callable[[VectorField, Sequence[Record]], None], field: VectorField, records: Sequence[Record]
    ) -> None:
        collection, now = self.collections.get(field.collection), self.monotonic()
        fresh = [one.id for one in records if collection is not None and one.id not in collection.rows]
        put(field, records)
        self.inserted.update({(field.collection, id): now for id in fresh})

    def _send(self, act: Callable[[], None]) -> None:
        if self.postpone is not None:
            postpone, self.postpone = self.postpone, None
            postpone(act)
            raise StoreUnavailable("the store does not answer")
        act()
        if self.takes is not None:
            self.takes = None
            raise StoreUnavailable("the store took a part, and then does not answer")

    @staticmethod
    def _ones(dimensions: int) -> NDArray[np.float32]:
        ones = np.ones(dimensions, dtype=np.float32)
        ones.flags.writeable = False
        return ones
