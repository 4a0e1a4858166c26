"""One LanceDB database: how calls are sent to the engine, and what its failures mean."""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from undrift.adapters.stores.lancedb.places import Places, places_of
from undrift.adapters.stores.lancedb.tables import DISTANCES, Table, table_from
from undrift.domain.space import Metric
from undrift.errors import (
    BadArgument,
    BadConfig,
    CollectionMissing,
    FieldInUse,
    MissingExtra,
    StoreRejected,
    StoreUnavailable,
    UndriftError,
)

_T = TypeVar("_T")

#: A write is given up after so long, with all the times that it is tried; nothing of it lands later.
WRITE_S = 10.0
#: A scan or a search of a large collection may take longer.
READ_S = 60.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.01, 0.5
_LOOK_S = 0.002
#: What the engine says of a write that another one overtook, so that nothing of it was written.
_OVERTAKEN = ("commit conflict", "Too many concurrent writers", "preempted by concurrent", "was concurrently")
#: The place in the engine's own source, which says nothing to a user.
_SOURCE = re.compile(r", \S+\.rs:\d+:\d+")
_MISSING = ("was not found", "Not found:", "Dataset at path")


class Session:
    """Calls to an engine that runs inside this process, each with a limit of its time."""

    def __init__(self, place: str, *, storage_options: dict[str, str] | None = None) -> None:
        """Open nothing yet.

        Args:
            place: a folder, or the address of a bucket such as `s3://bucket/folder`.
            storage_options: what the client of an object store wants to know.

        Raises:
            BadConfig: it names no place, or LanceDB's own service.
        """
        if not place or place.startswith("db://"):
            raise BadConfig(
                f"lancedb:{place} is no database that this store can use",
                "it is a folder, or a bucket; LanceDB's own service answers other requests",
                "write it as lancedb:FOLDER, or as lancedb:s3://BUCKET/FOLDER",
            )
        self.is_local = "://" not in place
        # A relative path may look like an address: LanceDB takes what begins with `db` for its own service.
        self.place = str(Path(place).absolute()) if self.is_local else place
        self.storage_options = storage_options
        self.name = f"store lancedb at {place}"
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0
        self._database: Any = None

    def close(self) -> None:
        """Let go of files and of the thread; a later call begins anew."""
        with self._lock:
            loop, self._loop, self._database = self._loop, None, None
        if loop is not None and self._process == os.getpid():
            loop.call_soon_threadsafe(loop.stop)

    def run(self, work: Callable[[], Coroutine[Any, Any, _T]], seconds: float, collection: str) -> _T:
        """Wait for calls of the engine.

        Raises:
            UndriftError: what its failure means.
        """
        loop = self._running()
        future = asyncio.run_coroutine_threadsafe(asyncio.wait_for(work(), seconds), loop)
        try:
            return future.result()
        except UndriftError:
            raise
        except (TimeoutError, asyncio.CancelledError) as error:
            raise StoreUnavailable(
                f"{self.name} did not answer within {seconds:.0f} s", hint="try again when less is written at once"
            ) from error
        except UnicodeEncodeError as error:
            raise BadArgument(f"a text or an id that was given is not valid Unicode: {error}") from error
        except Exception as error:
            raise self.translated(error, collection) from error
        finally:
            future.cancel()

    async def database(self) -> Any:
        """Return the connection of this process."""
        if self._database is None:
            import lancedb

            # Every table is opened anew for every call, and sees what anybody has written before.
            self._database = await lancedb.connect_async(self.place, storage_options=self.storage_options)
        return self._database

    @asynccontextmanager
    async def alone(self, collection: str) -> AsyncIterator[None]:
        """Hold the lock of a collection where there are files; the limit is that of the whole call.

        Of two writes at once the engine does one again, and gives the putting together of files up for either. A killed
        process lets its locks go.
        """
        if not self.is_local:
            yield
            return
        path = Path(self.place) / f".{collection}.undrift-lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            while not _is_locked(descriptor):
                await asyncio.sleep(_LOOK_S * (0.5 + random.random()))
            yield
        finally:
            os.close(descriptor)

    async def present(self, collection: str) -> Table:
        """Open a collection.

        Raises:
            CollectionMissing: there is none.
            StoreRejected: it does not look as its address says.
        """
        return await self.opened(places_of(collection))

    async def opened(self, places: Places) -> Table:
        """Open a table whose columns are known."""
        handle = await (await self.database()).open_table(places.table)
        searched_by = None if places.shape is None else await _metric_of(handle, places.vector)
        found = table_from(handle, await handle.schema(), places, searched_by=searched_by)
        if found is None:
            raise CollectionMissing(
                f"table {places.table} in {self.name} is not undrift's",
                "one that another program made has an address that says how it looks",
                f"write {places.table}?as=langchain, ?as=llama_index, or ?metadata=* where keys have columns",
            )
        return found

    async def retried(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        """Do a write, again and again while others overtake it; the limit is that of the whole call."""
        pause = _FIRST_PAUSE_S
        while True:
            try:
                return await attempt()
            except Exception as error:
                if not is_overtaken(error):
                    raise
            await asyncio.sleep(pause * (0.5 + random.random()))
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def translated(self, error: Exception, collection: str) -> UndriftError:
        """Return what a failure of the engine means to who uses it as a store."""
        text = str(error)
        said = _SOURCE.sub("", text)
        if isinstance(error, ImportError):
            return missing()
        if "already exists" in text:
            return FieldInUse(
                f"collection {collection} is in {self.name} already",
                hint="choose another name, or drop it if nobody uses it",
            )
        if any(word in text for word in _MISSING):
            return CollectionMissing(f"{self.name} has no collection {collection}")
        if is_overtaken(error):
            return StoreUnavailable(f"{self.name} is busy: others write at the same time", said)
        if isinstance(error, OverflowError):
            return StoreRejected(f"{self.name} does not take this write: {said}", "nothing of this call was written")
        return StoreUnavailable(f"{self.name} did not do what was asked", said or type(error).__name__)

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._process != os.getpid():
                require_installed()
                # A forked process has none of its parent's threads.
                self._loop, self._database, self._process = asyncio.new_event_loop(), None, os.getpid()
                threading.Thread(target=_serve, args=(self._loop,), name="undrift-lancedb", daemon=True).start()
            return self._loop


def require_installed() -> None:
    """Pass when the engine can be used.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        # Here, because it takes longer on a busy machine than a write may.
        import lancedb
    except ImportError as error:
        raise missing() from error
    del lancedb
    if find_spec("lance") is None:
        raise missing()


def missing() -> MissingExtra:
    """Return the error that says that the engine is not installed."""
    return MissingExtra("the store lancedb needs LanceDB", hint="pip install 'undrift[lancedb]'")


def is_overtaken(error: Exception) -> bool:
    """Whether a write failed only because another one was faster."""
    return isinstance(error, RuntimeError | OSError | ValueError) and any(word in str(error) for word in _OVERTAKEN)


async def _metric_of(handle: Any, column: str) -> Metric | None:
    """Return what an index of vectors compares by, None without one."""
    for index in await handle.list_indices():
        if column in index.columns:
            stats = await handle.index_stats(index.name)
            kinds = {kind: metric for metric, kind in DISTANCES.items()}
            return None if stats is None else kinds.get(str(stats.distance_type))
    return None


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()
