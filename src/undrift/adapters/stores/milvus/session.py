"""One Milvus database: its client, and what its failures mean."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from undrift.adapters.stripes import Stripes
from undrift.errors import (
    BadConfig,
    CollectionMissing,
    FieldInUse,
    MissingExtra,
    StoreRejected,
    StoreUnavailable,
    UndriftError,
)

#: The client gives a request up after so long.
TIMEOUT_S = 10.0
_MISSING = ("not found", "can't find collection", "not exist")
#: What a server calls a parameter that it does not take.
_INVALID = range(1100, 1200)


class Session:
    """A client that is made by the first call, and anew after a fork."""

    def __init__(self, place: str, *, api_key: str = "", database: str = "") -> None:
        """Connect to nothing yet.

        Args:
            place: `//HOST:PORT`, or the path of a file that ends in `.db`.
            api_key: `user:password` or a key, where the server wants one.
            database: the name of a database of the server.

        Raises:
            BadConfig: it names neither a server nor a file.
        """
        self.is_file = not place.startswith("//")
        if not place.strip("/") or (self.is_file and not place.endswith(".db")):
            raise BadConfig(
                f"milvus:{place} is no place of Milvus",
                "it is a server, or a file of Milvus Lite",
                "write it as milvus://HOST:PORT, or as milvus:PATH.db",
            )
        if "@" in place:
            raise BadConfig(
                "the address of store milvus has a user or a password in it",
                hint="put USER:PASSWORD into the environment, and name the variable in `api_key_env`",
            )
        self.place = str(Path(place).absolute()) if self.is_file else f"http:{place}"
        self.name = f"store milvus at {place.removeprefix('//')}"
        self._api_key = api_key
        self._database = database
        self._lock = threading.Lock()
        self._client: Any = None
        self._process = 0

    @property
    def locks(self) -> Stripes:
        """The locks of this database in this process."""
        return Stripes.of(f"{self.place}/{self._database}")

    def client(self) -> Any:
        """Return the client of this process.

        Raises:
            MissingExtra: it is not installed.
            StoreUnavailable: the server does not answer.
        """
        with self._lock:
            if self._client is None or self._process != os.getpid():
                missing = [
                    name for name in ("pymilvus", *(["milvus_lite"] if self.is_file else [])) if not find_spec(name)
                ]
                if missing:
                    raise MissingExtra("the store milvus needs pymilvus", hint="pip install 'undrift[milvus]'")
                # It writes a traceback for every error, also for those that are expected and dealt with.
                logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
                from pymilvus import MilvusClient

                with self.translated(""):
                    self._client = MilvusClient(
                        uri=self.place, token=self._api_key, db_name=self._database, timeout=TIMEOUT_S
                    )
                self._process = os.getpid()
            return self._client

    def close(self) -> None:
        """Let go of the connection; a later call makes another."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None and self._process == os.getpid():
            client.close()

    @contextmanager
    def translated(self, collection: str) -> Iterator[None]:
        """Turn failures of the client into undrift's."""
        from pymilvus.exceptions import MilvusException

        try:
            yield
        except MilvusException as error:
            raise self._meaning(error, collection) from error
        except UndriftError:
            raise
        except (OSError, ValueError, RuntimeError) as error:
            raise StoreUnavailable(f"{self.name} did not do what was asked", str(error)) from error

    def _meaning(self, error: Any, collection: str) -> UndriftError:
        text = str(error.message)
        if "already exist" in text:
            return FieldInUse(
                f"collection {collection} is in {self.name} already",
                hint="choose another name, or drop it if nobody uses it",
            )
        if collection and "collection" in text and any(word in text for word in _MISSING):
            return CollectionMissing(f"{self.name} has no collection {collection}")
        if any(word in text.lower() for word in ("unauthenticated", "auth check", "permission")):
            return StoreRejected(
                f"{self.name} does not let this user do that", text, "look at `api_key_env` of the store"
            )
        if error.code in _INVALID or "exceeds max" in text:
            return StoreRejected(f"{self.name} does not take this: {text}", "nothing of this call was written")
        return StoreUnavailable(
            f"{self.name} did not answer", text, "look whether the server runs, and whether the address is right"
        )
