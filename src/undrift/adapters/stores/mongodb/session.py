"""A MongoDB deployment: how it is asked, and what its refusals mean."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from undrift.adapters.stores.mongodb.places import Place
from undrift.errors import (
    BadArgument,
    CollectionMissing,
    FieldInUse,
    MissingExtra,
    StoreRejected,
    StoreUnavailable,
    UndriftError,
)

#: A call that has no answer after so long is given up; the server is told so, too, and stops.
TIMEOUT_S = 10
_NOTHING = "nothing of this call was written"
_NAMESPACE_EXISTS, _NAMESPACE_MISSING = 48, 26
_NOT_KNOWN = frozenset({18, 8000})
_NOT_ALLOWED = frozenset({13})
#: A member that is away, shuts down, is none that writes, or has not heard from the others in time.
_AWAY = frozenset({6, 7, 64, 89, 91, 133, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436})
#: How servers without Atlas Search answer whoever asks for an index of it.
_NO_SEARCH = frozenset({59, 115, 31082, 40324, 6047401})
_TOO_LARGE = frozenset({10334, 17280, 17419})


class Session:
    """The client of one process; safe between threads."""

    def __init__(self, place: Place) -> None:
        """Connect to nothing yet."""
        self.place = place
        self._guard = threading.Lock()
        self._client: tuple[int, Any] | None = None

    @property
    def database(self) -> Any:
        """The database: what is written is on most members before it is acknowledged, and only such is read."""
        from pymongo.read_concern import ReadConcern
        from pymongo.write_concern import WriteConcern

        return self._open().get_database(
            self.place.database, read_concern=ReadConcern("majority"), write_concern=WriteConcern("majority")
        )

    def close(self) -> None:
        """Close the connections of this process."""
        with self._guard:
            known, self._client = self._client, None
        if known is not None and known[0] == os.getpid():
            known[1].close()

    @contextmanager
    def translated(self, collection: str) -> Iterator[None]:
        """Turn failures of the client into undrift's.

        Raises:
            UndriftError: what a failure means.
        """
        try:
            # Without the client there is nothing to translate.
            self._open()
            from bson.errors import BSONError
            from pymongo.errors import PyMongoError
        except ImportError as error:
            raise _missing() from error
        try:
            yield
        except PyMongoError as error:
            raise self._refused(error, collection) from error
        except (BSONError, OverflowError, UnicodeEncodeError) as error:
            raise BadArgument(f"{self.place.name} cannot be sent this: {error}") from error

    def _refused(self, error: Any, collection: str) -> UndriftError:
        code, said = _code_of(error), str(error)
        if code == _NAMESPACE_EXISTS:
            return FieldInUse(
                f"collection {collection} is in {self.place.name} already",
                hint="choose another name, or drop it if nobody uses it",
            )
        if code == _NAMESPACE_MISSING:
            return CollectionMissing(f"{self.place.name} has no collection {collection}")
        if code in _NOT_KNOWN:
            return StoreUnavailable(
                f"{self.place.name} does not know who asks",
                said,
                "look at user, auth_source, api_key_env and api_key_file of the store",
            )
        if code in _NOT_ALLOWED:
            return StoreRejected(
                f"{self.place.name} does not allow that", f"{said}; {_NOTHING}", "look at the user's roles"
            )
        if code in _NO_SEARCH:
            return StoreRejected(
                f"{self.place.name} has no vector search",
                f"{said}; {_NOTHING}",
                'use Atlas, or set index = "none": every search then reads all vectors',
            )
        if code in _TOO_LARGE or type(error).__name__ == "DocumentTooLarge":
            return StoreRejected(f"{self.place.name} takes no document of that size", _NOTHING, "split the document")
        if code not in _AWAY and type(error).__name__ in {
            "OperationFailure",
            "WriteError",
            "InvalidDocument",
            "InvalidName",
        }:
            return StoreRejected(f"{self.place.name} does not take this: {said}", _NOTHING)
        return StoreUnavailable(
            f"{self.place.name} did not answer", said, "look whether it runs, and whether this machine may ask it"
        )

    def _open(self) -> Any:
        # The client's threads are not in a process that was forked.
        with self._guard:
            if self._client is None or self._client[0] != os.getpid():
                self._client = (os.getpid(), _connected(self.place))
            return self._client[1]


def _code_of(error: Any) -> int | None:
    """Return the server's code of an error; of several in one answer, that of the first."""
    details = getattr(error, "details", None) or {}
    errors = details.get("writeErrors") or []
    code = errors[0].get("code") if errors else getattr(error, "code", None)
    return code if isinstance(code, int) else None


def _connected(place: Place) -> Any:
    try:
        from pymongo import MongoClient
    except ImportError as error:
        raise _missing() from error
    from pymongo.errors import ConfigurationError, InvalidURI

    options: dict[str, Any] = {} if place.tls is None else {"tls": place.tls}
    if place.ca_file:
        options["tlsCAFile"] = place.ca_file
    if place.user:
        options |= {"username": place.user, "password": place.secret, "authSource": place.auth_source}
    try:
        return MongoClient(
            place.url,
            appname="undrift",
            # Of every call: what was given up is neither sent again nor gone on with by the server.
            timeoutMS=TIMEOUT_S * 1000,
            serverSelectionTimeoutMS=TIMEOUT_S * 1000,
            connectTimeoutMS=TIMEOUT_S * 1000,
            retryWrites=False,
            **options,
        )
    except (ConfigurationError, InvalidURI) as error:
        raise StoreUnavailable(f"{place.name} cannot be found", str(error), "look at its address") from error


def _missing() -> MissingExtra:
    return MissingExtra("pymongo is not installed", "it speaks to MongoDB", "pip install 'undrift[mongodb]'")
