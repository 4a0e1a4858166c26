"""Shards of Qdrant Edge that this process has open: folders, each locked by who has it open, shared by all threads."""

from __future__ import annotations

import json
import math
import os
import shutil
import threading
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

from undrift.adapters.listing import Listings
from undrift.errors import BadArgument, CollectionMissing, FieldInUse, StoreUnavailable, StoreUnusable

_LONGEST = 200
#: Folders that are being made or taken away begin so; no collection's does.
_PASSING = ".undrift-"


class OpenShard:
    """A shard, and who uses it right now."""

    def __init__(self, shard: Any) -> None:
        """Take an open shard."""
        self.shard = shard
        #: Updates take turns; the engine logs one at a time.
        self.writing = threading.Lock()
        self.written = 0


class Shards:
    """The shards of a folder, open once for all stores of this process that use the folder."""

    _all: dict[str, Shards] = {}  # noqa: RUF012 - all of this process share it
    _guard = threading.Lock()

    def __init__(self, folder: Path) -> None:
        """Use a folder; nothing is opened yet. Use `of` instead."""
        self.folder = folder
        self._lock = threading.RLock()
        self._open: dict[str, OpenShard] = {}
        self._users = 0
        #: True for as long as the files are open: nobody else can write then.
        self.listings = Listings(lambda: 0.0, math.inf)

    @classmethod
    def of(cls, folder: Path) -> Shards:
        """Return the shards of a folder, the same for everybody in this process."""
        key = os.path.realpath(folder)
        with cls._guard:
            return cls._all.setdefault(key, cls(Path(key)))

    def enter(self) -> None:
        """Begin to use them."""
        with self._lock:
            self._users += 1

    def leave(self) -> None:
        """End it; who is the last closes the files."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                while self._open:
                    collection, found = self._open.popitem()
                    found.shard.close()
                    self.listings.forget(collection)

    def opened(self, collection: str) -> OpenShard:
        """Return a collection's shard.

        Raises:
            CollectionMissing: there is none.
            StoreUnavailable: another process has it open.
            StoreUnusable: its files cannot be read.
        """
        import qdrant_edge

        with self._lock:
            found = self._open.get(collection)
            if found is None:
                folder = self._folder(collection)
                if not folder.is_dir():
                    raise CollectionMissing(f"{self.folder} has no collection {collection}")
                try:
                    found = self._open[collection] = OpenShard(qdrant_edge.EdgeShard.load(str(folder)))
                except Exception as error:
                    raise self._unopened(collection, error) from error
            return found

    def has(self, collection: str) -> bool:
        """Whether there is such a collection."""
        return self._folder(collection).is_dir()

    def config(self, collection: str) -> dict[str, Any]:
        """Return how a collection was made, as the engine keeps it.

        Raises:
            CollectionMissing: there is none.
        """
        try:
            found: dict[str, Any] = json.loads((self._folder(collection) / "edge_config.json").read_bytes())
        except FileNotFoundError as error:
            raise CollectionMissing(f"{self.folder} has no collection {collection}") from error
        return found

    def make(self, collection: str, config: Any) -> OpenShard:
        """Make an empty collection; it is there whole, or not at all.

        Raises:
            FieldInUse: there is one.
            StoreUnavailable: the folder cannot be written.
        """
        import qdrant_edge

        with self._lock:
            folder, new = self._folder(collection), self.folder / f"{_PASSING}{uuid.uuid4().hex}"
            try:
                if folder.exists():
                    raise FieldInUse(f"collection {collection} is in {self.folder} already")
                new.mkdir(parents=True)
                shard = qdrant_edge.EdgeShard.create(str(new), config)
                shard.close()
                # Refused where another process was first: a folder with something in it is not replaced.
                new.rename(folder)
            except OSError as error:
                if folder.exists():
                    raise FieldInUse(f"collection {collection} is in {self.folder} already") from error
                raise StoreUnavailable(f"{self.folder} cannot be written", str(error)) from error
            finally:
                shutil.rmtree(new, ignore_errors=True)
            return self.opened(collection)

    def remove(self, collection: str) -> None:
        """Take a collection away; it is there whole, or not at all."""
        with self._lock:
            folder, gone = self._folder(collection), self.folder / f"{_PASSING}{uuid.uuid4().hex}"
            if not folder.is_dir():
                return
            # Who has it open elsewhere would go on to write into files without a name.
            found = self.opened(collection)
            del self._open[collection]
            with found.writing:
                found.shard.close()
            try:
                folder.rename(gone)
            except OSError as error:
                raise StoreUnavailable(f"collection {collection} cannot be dropped", str(error)) from error
            shutil.rmtree(gone, ignore_errors=True)

    def _folder(self, collection: str) -> Path:
        name = quote(collection, safe=" -_=+,")
        if not collection or len(name.encode()) > _LONGEST:
            raise BadArgument(f"collection {collection!r} cannot be the name of a folder", f"{_LONGEST} bytes at most")
        return self.folder / name

    def _unopened(self, collection: str, error: Exception) -> StoreUnavailable | StoreUnusable:
        if "WouldBlock" in str(error) or "lock" in str(error).lower():
            return StoreUnavailable(
                f"collection {collection} in {self.folder} is open in another process",
                str(error),
                "Qdrant Edge is for one process at a time: end the other one, or use a Qdrant server",
            )
        return StoreUnusable(f"collection {collection} in {self.folder} cannot be read", str(error))
