"""Chroma's client below its collections: the calls that take vectors as they are.

The `Collection` above them makes the embedding function that a collection was configured with, which may need a key or
a package that undrift has no use for, and looks at every value of every record once more.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from undrift.adapters.stores.chroma import folder_lock
from undrift.adapters.stores.chroma.places import Folder, Server
from undrift.errors import MissingExtra

#: A connection is given up after this long; so is the answer to a write, and to a search or a scan.
CONNECT_S, WRITE_S, READ_S = 5, 20, 60
_WRITES = ("/add", "/upsert", "/update", "/delete")
#: How many records go into one write where Chroma names no limit.
_MOST = 1000
#: Chroma counts who uses a folder, and two that begin or end at once would be lost count of.
_opening = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A connected client.

    Attributes:
        api: Chroma's own.
        where: tenant and database, the arguments that every call has.
        most: how many records one write may have.
        pid: the process that it belongs to.
        stop: lets go of it.
    """

    api: Any
    where: dict[str, str]
    most: int
    pid: int
    stop: Callable[[], None]

    def find(self, name: str) -> Any:
        """Return what Chroma knows of a collection."""
        return self.api.get_collection(name, **self.where)

    def create(self, name: str, *, metadata: dict[str, Any]) -> Any:
        """Make a collection."""
        return self.api.create_collection(name, metadata=metadata, **self.where)

    def drop(self, name: str) -> None:
        """Delete a collection."""
        self.api.delete_collection(name, **self.where)

    def count(self, number: Any) -> int:
        """Return how many records there are."""
        return int(self.api._count(number, **self.where))

    def get(self, number: Any, *, ids: list[str] | None, where: Any, include: Sequence[str]) -> Any:
        """Return records by id, those that meet a filter, or all of them."""
        return self.api._get(number, ids=ids, where=where, include=list(include), **self.where)

    def query(self, number: Any, vector: Any, *, most: int, where: Any, include: Sequence[str]) -> Any:
        """Return the nearest records that meet a filter."""
        return self.api._query(number, [vector], n_results=most, where=where, include=list(include), **self.where)

    def add(self, number: Any, **columns: Any) -> None:
        """Write the records that are not there."""
        self.api._add(collection_id=number, **columns, **self.where)

    def upsert(self, number: Any, **columns: Any) -> None:
        """Write records; what is there of them stays where nothing is said of it."""
        self.api._upsert(collection_id=number, **columns, **self.where)

    def update(self, number: Any, *, ids: list[str], metadatas: list[dict[str, Any]]) -> None:
        """Change metadata of the records that are there."""
        self.api._update(number, ids, metadatas=metadatas, **self.where)

    def delete(self, number: Any, *, ids: list[str], where: Any) -> None:
        """Delete those records that meet a filter."""
        self.api._delete(number, ids=ids, where=where, **self.where)


def connected(place: Server | Folder, *, tenant: str, database: str) -> Client:
    """Return a client that has been answered once.

    Raises:
        StoreUnusable: another process has the folder.
        MissingExtra: Chroma's client is not installed.
        Exception: whatever that client raises when it is not let in, or not answered.
    """
    try:
        import chromadb  # noqa: F401 - only whether it is installed
    except ImportError as error:
        raise MissingExtra(
            "store chroma needs the package chromadb, which is not installed",
            str(error),
            "pip install 'undrift[chroma]', or chromadb-client where a server has the vectors",
        ) from error
    where = {"tenant": tenant, "database": database}
    api, stop = _of_folder(place, where) if isinstance(place, Folder) else _of_server(place)
    try:
        most = int(api.get_max_batch_size())
    except BaseException:
        stop()
        raise
    return Client(api=api, where=where, most=most if most > 0 else _MOST, pid=os.getpid(), stop=stop)


def _of_folder(folder: Folder, where: dict[str, str]) -> tuple[Any, Callable[[], None]]:
    import chromadb

    folder_lock.acquire(folder.path)
    try:
        # The public way: whoever opens the folder in this process as well shares its state.
        with _opening:
            opened = chromadb.PersistentClient(str(folder.path), **where)
    except BaseException:
        folder_lock.release(folder.path)
        raise

    def stop() -> None:
        with _opening:
            opened.close()
        folder_lock.release(folder.path)

    return opened._server, stop


def _of_server(server: Server) -> tuple[Any, Callable[[], None]]:
    from chromadb.api import ServerAPI
    from chromadb.config import Settings, System

    settings = Settings(
        chroma_api_impl="chromadb.api.fastapi.FastAPI",
        chroma_server_host=server.host,
        chroma_server_http_port=server.port,
        chroma_server_ssl_enabled=server.ssl,
        chroma_server_headers=dict(server.headers),
    )
    system = System(settings)
    api = system.instance(ServerAPI)
    _limit(api._session)
    system.start()

    def stop() -> None:
        system.stop()
        api._session.close()

    return api, stop


def _limit(session: Any) -> None:
    """Let no request wait for ever: a write must not be on its way longer than the capabilities say."""
    import httpx

    reading = httpx.Timeout(READ_S, connect=CONNECT_S).as_dict()
    writing = httpx.Timeout(WRITE_S, connect=CONNECT_S).as_dict()

    def limited(request: httpx.Request) -> None:
        request.extensions["timeout"] = writing if request.url.path.endswith(_WRITES) else reading

    session.event_hooks = {"request": [limited], "response": []}
