"""A project of Pinecone: how it is asked, and what its refusals mean."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from undrift.adapters.stripes import Stripes
from undrift.errors import CollectionMissing, MissingExtra, StoreRejected, StoreUnavailable, UndriftError

_T = TypeVar("_T")
#: One try of a request is given up after so long.
TIMEOUT_S = 10
_KEY = "look at `api_key_env` of the store"


class Session:
    """Requests of one process; safe between threads."""

    def __init__(self, controller: str, api_key: str) -> None:
        """Connect to nothing yet."""
        self._controller = controller
        self._api_key = api_key
        self._guard = threading.Lock()
        self._client: tuple[int, Any] | None = None
        self._indexes: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """What messages call this store."""
        return f"store pinecone at {self._controller}"

    @property
    def locks(self) -> Stripes:
        """The locks of the records of this controller's projects in this process."""
        return Stripes.of(self._controller)

    def ask(self, collection: str, work: Callable[[Any], _T]) -> _T:
        """Do something with the client of the control plane, which makes indexes and says where they are.

        Args:
            collection: what it is about, for messages.
            work: is given the client.

        Raises:
            StoreUnavailable: there was no answer, or Pinecone cannot answer now.
            CollectionMissing: there is no such index.
            StoreRejected: Pinecone will not do this.
        """
        with self._translated(collection):
            return work(self._open())

    def call(self, collection: str, host: str, work: Callable[[Any], _T]) -> _T:
        """Do something with the client of one index.

        Args:
            collection: what it is about, for messages.
            host: where the index is.
            work: is given the client.

        Raises:
            StoreUnavailable: there was no answer, or the index cannot answer now.
            CollectionMissing: there is no such index.
            StoreRejected: the index will not do this.
        """
        with self._translated(collection):
            client = self._open()
            with self._guard:
                if host not in self._indexes:
                    self._indexes[host] = client.index(host=host)
                index = self._indexes[host]
            return work(index)

    def missing(self, collection: str) -> CollectionMissing:
        """Return what to say of a collection that is not there."""
        return CollectionMissing(f"{self.name} has no collection {collection}")

    def close(self) -> None:
        """Let go of the connections of this process; a later call makes others."""
        with self._guard:
            known, self._client = self._client, None
            indexes, self._indexes = self._indexes, {}
        if known is not None and known[0] == os.getpid():
            for index in indexes.values():
                index.close()
            known[1].close()

    def _open(self) -> Any:
        """Return the client of this process; a child has one of its own."""
        with self._guard:
            if self._client is None or self._client[0] != os.getpid():
                pinecone = _imported()
                self._indexes = {}
                retries = pinecone.RetryConfig(max_retries=0)
                client = pinecone.Pinecone(
                    api_key=self._api_key, host=self._controller, timeout=TIMEOUT_S, retry_config=retries
                )
                self._client = (os.getpid(), client)
            return self._client[1]

    @contextmanager
    def _translated(self, collection: str) -> Iterator[None]:
        """Turn failures of the client into undrift's."""
        errors = _imported().errors
        if not self._api_key:
            raise StoreRejected("Pinecone wants to know who asks", hint="put the key into PINECONE_API_KEY")
        try:
            yield
        except UndriftError:
            raise
        except errors.ApiError as error:
            raise self._meaning(int(error.status_code), str(error.message), collection) from error
        except (errors.PineconeValueError, errors.PineconeTypeError) as error:
            raise StoreRejected(f"{self.name} does not take this", str(error)) from error
        except (errors.PineconeError, OSError) as error:
            raise StoreUnavailable(
                f"{self.name} did not answer", str(error), "look whether the network and the address are right"
            ) from error

    def _meaning(self, status: int, said: str, collection: str) -> UndriftError:
        match status:
            case 401 | 403:
                return StoreRejected(f"{self.name} does not let this key do that", said, _KEY)
            case 404:
                return self.missing(collection)
            case 400 | 402 | 409 | 412 | 413 | 422:
                return StoreRejected(f"{self.name} does not do this", said)
            case _:
                return StoreUnavailable(f"{self.name} cannot do this now", f"{status}: {said}", "try again later")


def _imported() -> Any:
    try:
        import pinecone
        import pinecone.errors
    except ImportError as error:
        raise MissingExtra("the store pinecone needs pinecone", hint="pip install 'undrift[pinecone]'") from error
    return pinecone
