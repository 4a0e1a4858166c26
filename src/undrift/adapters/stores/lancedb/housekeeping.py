"""Keeping collections quick: small files are put together, old versions deleted, indexes made, in the background.

A write is one version and one small file, and every later call opens all files: without this, calls slow down with
every write. Mostly only files of few rows are touched, while writers wait: that takes as long as a few writes.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import timedelta
from typing import Any

from undrift.adapters.stores.lancedb.leases import LEASES, Leases
from undrift.adapters.stores.lancedb.places import places_of
from undrift.adapters.stores.lancedb.session import WRITE_S, Session, is_overtaken
from undrift.adapters.stores.lancedb.tables import DISTANCES, Table
from undrift.errors import StoreUnavailable, UndriftError

#: For how long nobody else begins, should this process be killed.
_LEASE_S = 120.0
#: Files of fewer rows are put together each time.
_SMALL = 1024
#: Seldom also larger ones, until there are about so many.
_FILES = 64
_SELDOM = 16
#: And those of which so much has been deleted.
_DELETED = 0.5
_TRIES = 3
_PAUSE_S = 0.05


class Housekeeper:
    """A thread that looks after the collections which this process has written often."""

    def __init__(self, session: Session, *, every: int, keep_s: float, index_from: int | None) -> None:
        """Do nothing yet.

        Args:
            session: the database.
            every: after how many writes a collection is looked after; 0 for never.
            keep_s: how old a version is that is deleted; 0 for none.
            index_from: of how many records on a collection gets an index; None for never.
        """
        self._session = session
        self._leases = Leases(session)
        self._every = every
        self._keep_s = keep_s
        self._index_from = index_from
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._writes: dict[str, int] = {}
        self._rounds: dict[str, int] = {}
        self._thread: threading.Thread | None = None
        self._process = 0
        self._stopped = False

    def wrote(self, collection: str) -> None:
        """Take note of a write; costs nothing but a lock."""
        if not self._every:
            return
        with self._lock:
            self._writes[collection] = self._writes.get(collection, 0) + 1
            if self._writes[collection] < self._every:
                return
            if self._thread is None or self._process != os.getpid() or self._stopped:
                self._begin()
        self._wake.set()

    def stop(self) -> None:
        """End the thread, after what it is doing now."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._stopped = True
        self._wake.set()
        if thread is not None and self._process == os.getpid():
            thread.join()

    def _begin(self) -> None:
        self._process, self._stopped, self._wake = os.getpid(), False, threading.Event()
        self._thread = threading.Thread(
            target=self._serve, args=(self._wake,), name="undrift-lancedb-tidy", daemon=True
        )
        self._thread.start()

    def _serve(self, wake: threading.Event) -> None:
        while True:
            wake.wait()
            wake.clear()
            if self._stopped:
                return
            with self._lock:
                due = [name for name, writes in self._writes.items() if writes >= self._every]
                for name in due:
                    self._writes[name] = 0
            for name in due:
                try:
                    self.look_after(name)
                except UndriftError:
                    # It was dropped, or somebody else was faster: the next writes come back to it.
                    continue

    def look_after(self, collection: str) -> bool:
        """Make a collection quick again, unless somebody else is at it; return whether it was done.

        Raises:
            UndriftError: the database did not answer.
        """
        if not self._session.run(lambda: self._leases.take(collection, _LEASE_S), WRITE_S, LEASES):
            return False
        try:
            self._rounds[collection] = self._rounds.get(collection, 0) + 1
            self._tidy(collection, seldom=self._rounds[collection] % _SELDOM == 0)
            self._tidy(LEASES, seldom=False)
            if self._index_from is not None:
                self._session.run(lambda: self._indexed(collection), _LEASE_S, collection)
        finally:
            self._session.run(lambda: self._leases.give_back(collection), WRITE_S, LEASES)
        return True

    def _tidy(self, collection: str, *, seldom: bool) -> None:
        async def small() -> None:
            async with self._session.alone(places_of(collection).table):
                await asyncio.to_thread(self._compact, collection, large=False)

        # Small files are put together in less time than a few writes take; what takes longer holds nobody up.
        works = [small, lambda: asyncio.to_thread(self._compact, collection, large=True)] if seldom else [small]
        for work in works:
            with suppress(StoreUnavailable):
                self._session.run(lambda: self._tried(work), _LEASE_S, collection)  # noqa: B023 - called at once

    async def _tried(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        for attempt in range(_TRIES):
            try:
                await work()
            except (RuntimeError, OSError, ValueError) as error:
                if not is_overtaken(error) or attempt + 1 == _TRIES:
                    raise
                await asyncio.sleep(_PAUSE_S * 2**attempt)
            else:
                return

    def _compact(self, collection: str, *, large: bool) -> None:
        import lance

        places = places_of(collection)
        place = f"{self._session.place}/{places.table}.lance"
        dataset = lance.dataset(place, storage_options=self._session.storage_options)
        dataset.optimize.compact_files(
            target_rows_per_fragment=max(_SMALL, dataset.count_rows() // _FILES) if large else _SMALL,
            materialize_deletions=large,
            materialize_deletions_threshold=_DELETED,
            num_threads=1,
        )
        # Other programs keep a table open, and read an old version of it for as long.
        if self._keep_s and places.shape is None:
            dataset.cleanup_old_versions(older_than=timedelta(seconds=self._keep_s), error_if_tagged_old_versions=False)

    async def _indexed(self, collection: str) -> None:
        """Make an index when there are enough records, and take later ones into it."""
        from lancedb.index import HnswSq

        table = await self._session.present(collection)
        for index in await table.handle.list_indices():
            if table.places.vector in index.columns:
                await self._take_in(table, index.name)
                return
        if await table.handle.count_rows() >= (self._index_from or 0):
            kind: Any = DISTANCES[table.metric]
            config = HnswSq(distance_type=kind)
            await table.handle.create_index(table.places.vector, config=config)

    async def _take_in(self, table: Table, index: str) -> None:
        stats = await table.handle.index_stats(index)
        if stats is not None and stats.num_unindexed_rows >= max(_SMALL, stats.num_indexed_rows // 10):
            await table.handle.optimize()
