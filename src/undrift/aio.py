"""The same alias from asyncio: every call runs in a thread, and a cancelled call still ends its write properly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from undrift.control import ControlPlane, open_plane
from undrift.domain.record import Document, Hits, Metadata, Receipt, Vector
from undrift.domain.space import SpaceId
from undrift.flow.alias import Alias
from undrift.ports.store import Filter

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")

#: Documents that a scan fetches ahead of the loop.
_AHEAD = 100


class AsyncAlias:
    """An `Alias` whose calls are awaited; see there for what each does."""

    def __init__(self, alias: Alias) -> None:
        """Wrap an alias."""
        self.sync = alias

    async def upsert(self, documents: Sequence[Document]) -> Receipt:
        """Insert documents, replacing those with the same id whole."""
        return await _in_thread(self.sync.upsert, documents)

    async def delete(self, ids: Sequence[str] | None = None, *, filter: Filter | None = None) -> Receipt:
        """Remove documents by id, or those that match a filter now."""
        return await _in_thread(self.sync.delete, ids, filter=filter)

    async def replace(self, documents: Sequence[Document], *, filter: Filter) -> Receipt:
        """Make documents the only ones that match a filter."""
        return await _in_thread(self.sync.replace, documents, filter=filter)

    async def update_metadata(self, id: str, changes: Metadata) -> Receipt:
        """Put keys into a document's metadata; costs no embedding."""
        return await _in_thread(self.sync.update_metadata, id, changes)

    async def search(self, text: str, k: int = 10, filter: Filter | None = None) -> Hits:
        """Return the k documents nearest to a text, of those that match the filter."""
        return await _in_thread(self.sync.search, text, k, filter)

    async def search_vector(self, vector: Vector, *, space: SpaceId, k: int = 10, filter: Filter | None = None) -> Hits:
        """Return the k documents nearest to a vector, float32 of shape (d,), of the space that the caller names."""
        return await _in_thread(self.sync.search_vector, vector, space=space, k=k, filter=filter)

    async def get(self, ids: Sequence[str]) -> list[Document]:
        """Return the documents that exist, in the order asked for."""
        return await _in_thread(self.sync.get, ids)

    async def count(self, filter: Filter | None = None) -> int:
        """Return how many documents there are, or match the filter."""
        return await _in_thread(self.sync.count, filter)

    async def scan(self, filter: Filter | None = None) -> AsyncIterator[Document]:
        """Yield every document, or those that match the filter, in the order of their ids."""
        documents = self.sync.scan(filter)

        def some() -> list[Document]:
            return [document for _, document in zip(range(_AHEAD), documents, strict=False)]

        while page := await _in_thread(some):
            for document in page:
                yield document


class AsyncControlPlane:
    """A `ControlPlane` for applications on an event loop; the operator's verbs are on `.sync`."""

    def __init__(self, plane: ControlPlane) -> None:
        """Wrap a control plane."""
        self.sync = plane

    async def alias(self, name: str) -> AsyncAlias:
        """Return an alias to read and write; one that is configured but new is made."""
        return AsyncAlias(await _in_thread(self.sync.alias, name))

    async def alias_for(self, name: str, domain: str | None = None) -> AsyncAlias:
        """Return the one alias that answers the queries of a domain."""
        return AsyncAlias(await _in_thread(self.sync.alias_for, name, domain))

    async def close(self) -> None:
        """End this process's lease and let go of every connection."""
        await _in_thread(self.sync.close)

    async def __aenter__(self) -> Self:
        """Use it as a context, which closes it."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await self.close()


async def open(path: str | Path | None = None) -> AsyncControlPlane:
    """Open what a configuration file names; see `undrift.open`."""
    return AsyncControlPlane(await _in_thread(open_plane, path))


async def _in_thread(
    call: Callable[Arguments, Answer], *arguments: Arguments.args, **options: Arguments.kwargs
) -> Answer:
    """Run a call in a thread. A task that is cancelled leaves it to end by itself, so that no write stays open."""
    return await asyncio.shield(asyncio.to_thread(call, *arguments, **options))
