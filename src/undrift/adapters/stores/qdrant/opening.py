"""A client of the vendor's, for a server or for a folder of its own."""

from __future__ import annotations

import threading
from typing import Any

from undrift.adapters.stores.qdrant.place_of_server import IN_MEMORY, Where


def opened(place: Where, *, api_key: str | None, grpc_port: int | None, timeout_s: int) -> Any:
    """Return a client; nothing is sent yet.

    Args:
        place: the server, or the folder.
        api_key: the server's key.
        grpc_port: where it speaks gRPC; None to speak REST.
        timeout_s: how long it may take to answer.
    """
    import qdrant_client

    if place.folder:
        where = {"location": place.folder} if place.folder == IN_MEMORY else {"path": place.folder}
        return _OneByOne(qdrant_client.QdrantClient(**where, force_disable_check_same_thread=True))
    # The key goes as a header: for `api_key` without TLS the client warns on every start.
    return qdrant_client.QdrantClient(
        url=place.url,
        headers={"api-key": api_key} if api_key else None,
        grpc_port=grpc_port or 6334,
        prefer_grpc=grpc_port is not None,
        timeout=timeout_s,
        check_compatibility=False,
    )


class _OneByOne:
    """Lets threads use a client's own folder one after the other."""

    def __init__(self, client: Any) -> None:
        self._inner = client
        self._lock = threading.RLock()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        def call(*args: Any, **options: Any) -> Any:
            with self._lock:
                return method(*args, **options)

        return call
