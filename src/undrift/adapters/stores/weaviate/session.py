"""A Weaviate server: how it is asked, and what its refusals mean.

Collections, aliases, single objects and changes of properties go over REST, by the client's own methods. Searches,
batches, deletions and counts go over gRPC, by the stub of the client's connection: the methods that the client has for
them repeat a request that could not be delivered, up to five times and for up to a minute, and cannot be told not to.
A write that lands long after it was given up is what a migration must be able to rule out.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from undrift.adapters.place import Place
from undrift.adapters.stripes import Stripes
from undrift.errors import BadConfig, CollectionMissing, MissingExtra, StoreRejected, StoreUnavailable, UndriftError

_T = TypeVar("_T")
#: A request that has no answer after so long is given up, and not sent again.
TIMEOUT_S = 10
#: Counts over gRPC came with this version.
_OLDEST = (1, 29)
#: A condition that is turned round, with this one.
_WITH_NOT = (1, 33)
_WITH_ALIASES = (1, 32)
_NO_COLLECTION = ("could not find class", "class not found", "given class does not exist")
#: How the server begins what it says of a request that it will never do, however often it is asked.
_REFUSED = ("no such prop", "vector lengths don't match", "invalid", "query maximum results", "unknown ", "parse ")
_KEY = "look at `api_key_env` of the store"


class Session:
    """Requests of one process; safe between threads."""

    def __init__(self, place: Place, grpc_host: str, grpc_port: int) -> None:
        """Connect to nothing yet.

        Raises:
            BadConfig: the address has a path, or both protocols have one port.
        """
        if place.path:
            raise BadConfig(
                f"the address of {place.name} has a path", hint=f"write {place.scheme}://{place.host}:{place.port}"
            )
        self.place = place
        self._grpc = (grpc_host or place.host, grpc_port)
        if self._grpc == (place.host, place.port):
            raise BadConfig(
                f"{place.name} has REST and gRPC at one port",
                "Weaviate serves them at two, 8080 and 50051 if nothing else was said",
                "grpc_port = 50051, or grpc_host where gRPC has a name of its own",
            )
        self._guard = threading.Lock()
        self._client: tuple[int, Any] | None = None

    @property
    def locks(self) -> Stripes:
        """The locks of this server's records in this process."""
        return Stripes.of(self.place.url)

    def ask(self, collection: str, work: Callable[[Any], _T]) -> _T:
        """Do something with the vendor's client.

        Args:
            collection: what it is about, for messages.
            work: is given the client.

        Raises:
            StoreUnavailable: there was no answer, or the server cannot answer now.
            CollectionMissing: there is no such collection.
            StoreRejected: the server will not do this.
        """
        with self._translated(collection):
            return work(self._open())

    def call(self, collection: str, method: str, request: Any) -> Any:
        """Make one call over gRPC, once.

        Args:
            collection: what it is about, for messages.
            method: `Search`, `BatchObjects`, `BatchDelete` or `Aggregate`.
            request: its message.

        Raises:
            StoreUnavailable: there was no answer, or the server cannot answer now.
            CollectionMissing: there is no such collection.
            StoreRejected: the server will not do this.
        """
        with self._translated(collection):
            connection = self._open()._connection  # noqa: SLF001 - the one way to the stub, see above
            stub = getattr(connection.grpc_stub, method)
            return stub(request, timeout=TIMEOUT_S, metadata=connection.grpc_headers())

    def knows_not(self) -> bool:
        """Whether a filter may turn a condition round."""
        return self._version() >= _WITH_NOT

    def require_aliases(self) -> None:
        """Pass when the server has aliases.

        Raises:
            StoreRejected: it is older.
        """
        if self._version() < _WITH_ALIASES:
            raise StoreRejected(
                f"{self.place.name} is older than Weaviate 1.32, and has no aliases",
                hint="upgrade it, or leave `follow_alias` out of the store's settings",
            )

    def close(self) -> None:
        """Let go of the connections of this process; a later call makes others."""
        with self._guard:
            known, self._client = self._client, None
        if known is not None and known[0] == os.getpid():
            known[1].close()

    def _version(self) -> tuple[int, ...]:
        said = self.ask("", lambda client: client._connection.server_version)  # noqa: SLF001 - nothing else keeps it
        return tuple(int(part) for part in said.split(".")[:2] if part.isdecimal())

    def _open(self) -> Any:
        """Return the client of this process; a child has one of its own."""
        with self._guard:
            if self._client is None or self._client[0] != os.getpid():
                self._client = (os.getpid(), self._connected())
            return self._client[1]

    def _connected(self) -> Any:
        weaviate = _imported()
        from weaviate.classes.init import AdditionalConfig, Auth, Timeout
        from weaviate.connect import ConnectionParams

        client = weaviate.WeaviateClient(
            connection_params=ConnectionParams.from_params(
                http_host=self.place.host,
                http_port=self.place.port,
                http_secure=self.place.tls,
                grpc_host=self._grpc[0],
                grpc_port=self._grpc[1],
                grpc_secure=self.place.tls,
            ),
            auth_client_secret=Auth.api_key(self.place.secret) if self.place.secret else None,
            additional_config=AdditionalConfig(timeout=Timeout(init=TIMEOUT_S, query=TIMEOUT_S, insert=TIMEOUT_S)),
            # It would ask a package registry whether it is the newest client.
            skip_init_checks=True,
        )
        try:
            client.connect()
            said = str(client._connection.server_version)  # noqa: SLF001 - nothing else keeps it
        except BaseException:
            client.close()
            raise
        if tuple(int(part) for part in said.split(".")[:2] if part.isdecimal()) < _OLDEST:
            client.close()
            raise StoreRejected(
                f"{self.place.name} is Weaviate {said}", "1.29 is the oldest that this version of undrift asks"
            )
        return client

    @contextmanager
    def _translated(self, collection: str) -> Iterator[None]:
        """Turn failures of the client and of what it is made of into undrift's."""
        _imported()
        import grpc
        import httpx
        from weaviate import exceptions

        try:
            yield
        except UndriftError:
            raise
        except grpc.RpcError as error:
            raise self._of_call(error, collection) from error
        except exceptions.UnexpectedStatusCodeError as error:
            raise self._of_status(int(error.status_code), _said(error), collection) from error
        except exceptions.AuthenticationFailedError as error:
            raise StoreRejected(f"{self.place.name} wants to know who asks", str(error), _KEY) from error
        except (exceptions.WeaviateBaseError, httpx.HTTPError, OSError, KeyError, ValueError) as error:
            raise self._silent(str(error)) from error

    def _of_call(self, error: Any, collection: str) -> UndriftError:
        import grpc

        code, said = error.code(), str(error.details())
        if code in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}:
            return StoreRejected(f"{self.place.name} does not let this user do that", said, _KEY)
        if said.startswith("extract auth"):
            return StoreRejected(f"{self.place.name} wants to know who asks", said, _KEY)
        if code is grpc.StatusCode.UNAVAILABLE:
            return self._silent(said, f"gRPC is asked at {self._grpc[0]}:{self._grpc[1]}: look at `grpc_port`")
        return self._of_text(said, collection)

    def _of_status(self, status: int, said: str, collection: str) -> UndriftError:
        if status in {401, 403}:
            return StoreRejected(f"{self.place.name} does not let this user do that", said, _KEY)
        if status == 404:
            return self.missing(collection)
        if status in {400, 405, 422}:
            return self._of_text(said, collection, otherwise=StoreRejected)
        return StoreUnavailable(f"{self.place.name} cannot do this now", f"{status}: {said}", "try again later")

    def _of_text(
        self, said: str, collection: str, otherwise: Callable[..., UndriftError] = StoreUnavailable
    ) -> UndriftError:
        if any(words in said for words in _NO_COLLECTION):
            return self.missing(collection)
        refused = any(said.startswith(words) or f": {words}" in said for words in _REFUSED)
        kind = StoreRejected if refused else otherwise
        return kind(f"{self.place.name} does not do this", said)

    def missing(self, collection: str) -> CollectionMissing:
        """Return what to say of a collection that is not there."""
        return CollectionMissing(f"{self.place.name} has no collection {collection}")

    def _silent(self, said: str, hint: str = "") -> StoreUnavailable:
        return StoreUnavailable(
            f"{self.place.name} did not answer",
            said,
            hint or "look whether the server runs, and whether the address is right",
        )


def _said(error: Any) -> str:
    """Return what a server says of an error."""
    body = error.error
    if isinstance(body, dict):
        parts = [str(part.get("message")) for part in body.get("error") or [] if isinstance(part, dict)]
        return "; ".join(parts) or str(body.get("message", body))
    return str(error)


def _imported() -> Any:
    try:
        import weaviate
    except ImportError as error:
        raise MissingExtra(
            "the store weaviate needs weaviate-client", hint="pip install 'undrift[weaviate]'"
        ) from error
    return weaviate
