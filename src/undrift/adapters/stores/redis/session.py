"""A Redis server: how it is asked, and what its refusals mean."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from undrift.adapters.place import Place
from undrift.errors import BadConfig, CollectionMissing, MissingExtra, StoreRejected, StoreUnavailable, UndriftError

_T = TypeVar("_T")
#: A command that has no answer after so long is given up, and not sent again.
TIMEOUT_S = 10
#: How often a transaction is tried that another one got in the way of.
_TRIES = 200
_NOTHING = "nothing of this call was written"
#: How servers of different ages say that there is no such index.
_NO_INDEX = ("unknown index name", "no such index", "search_index_not_found")
#: The client makes classes of some codes, and leaves the code out of the text.
_NOT_KNOWN = frozenset({"AuthenticationError", "AuthenticationWrongNumberOfArgsError"})
_NOT_ALLOWED = frozenset({"NoPermissionError", "ReadOnlyError"})
_LATER = frozenset({"BusyLoadingError", "TryAgainError", "ClusterDownError", "MasterDownError"})
_LATER_CODES = ("BUSY", "MISCONF", "NOREPLICAS", "Timeout")
#: The client says the same when a transaction was undone, and when the connection was lost in the middle of one.
_UNDONE = "Watched variable changed"


class Session:
    """Commands and transactions of one process; safe between threads."""

    def __init__(self, place: Place, database: int) -> None:
        """Connect to nothing yet."""
        self.place = place
        self._database = database
        self._guard = threading.Lock()
        self._client: tuple[int, Any] | None = None

    def run(self, *words: Any) -> Any:
        """Run one command.

        Raises:
            StoreUnavailable: there was no answer, or the server cannot answer now.
            CollectionMissing: there is no such search index.
            StoreRejected: the server will not do this.
        """
        with self._translated():
            return self._open().execute_command(*words)

    def together(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Run reads at one moment, and return their answers."""
        with self._translated(), self._open().pipeline(transaction=True) as pipeline:
            for words in commands:
                pipeline.execute_command(*words)
            answers: list[Any] = pipeline.execute()
            return answers

    def transaction(self, watched: Sequence[str], work: Callable[[Any], _T]) -> _T:
        """Carry out a transaction that is undone, and tried again, when a watched key is changed meanwhile.

        Args:
            watched: keys that `work` reads before it calls `multi`.
            work: reads, then queues what is to be written; the commit follows.

        Raises:
            StoreUnavailable: others changed the same keys all the time, or there was no answer.
        """
        from redis.exceptions import WatchError

        for _ in range(_TRIES):
            with self._translated(), self._open().pipeline(transaction=True) as pipeline:
                try:
                    pipeline.watch(*watched)
                    done = work(pipeline)
                    pipeline.execute()
                    return done
                except WatchError as error:
                    # Who takes a lost connection for an undone transaction writes twice.
                    if not str(error).startswith(_UNDONE) or error.__context__ is not None:
                        raise
        raise StoreUnavailable(f"{self.place.name} is busy: others change the same documents all the time", _NOTHING)

    def close(self) -> None:
        """Close the connections of this process."""
        with self._guard:
            known, self._client = self._client, None
        if known is not None and known[0] == os.getpid():
            known[1].close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        from redis.exceptions import RedisError

        try:
            yield
        except RedisError as error:
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> UndriftError:
        from redis.exceptions import ResponseError

        kind, said = type(error).__name__, str(error)
        if any(words in said.lower() for words in _NO_INDEX):
            return CollectionMissing(f"{self.place.name} has no such index")
        if kind == "OutOfMemoryError" or said.startswith("OOM "):
            return StoreRejected(f"{self.place.name} has no memory left", f"{said}; {_NOTHING}", "raise maxmemory")
        if kind in _NOT_KNOWN:
            return StoreUnavailable(
                f"{self.place.name} does not know who asks",
                said,
                "look at user, api_key_env and api_key_file of the store",
            )
        if said.lower().startswith("unknown command") and "ft." in said.lower():
            return StoreRejected(
                f"{self.place.name} has no query engine", said, "use Redis 8, or Redis Stack with an older one"
            )
        if kind in _NOT_ALLOWED:
            return StoreRejected(f"{self.place.name} does not allow that", f"{said}; {_NOTHING}", "look at ACL LIST")
        if any(name in f"{kind} {said}" for name in _LATER) or said.startswith(_LATER_CODES):
            return StoreUnavailable(f"{self.place.name} cannot answer now", said, "look at its log")
        if isinstance(error, ResponseError):
            return StoreRejected(f"{self.place.name} does not take this: {said}", _NOTHING)
        return StoreUnavailable(f"{self.place.name} did not answer", said or kind, "look whether it runs")

    def _open(self) -> Any:
        # A process that was forked may not use the sockets of its parent.
        with self._guard:
            if self._client is None or self._client[0] != os.getpid():
                self._client = (os.getpid(), _connected(self.place, self._database))
            return self._client[1]


def database_from(place: Place) -> int:
    """Return the number of the database that an address names; 0 without one.

    Raises:
        BadConfig: it is no number.
    """
    said = place.path.removeprefix("/")
    if said and not said.isdecimal():
        raise BadConfig(f"{place.name} is not an address", f"{said!r} is no number", "write redis://HOST:6379/0")
    return int(said or 0)


def _connected(place: Place, database: int) -> Any:
    try:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise MissingExtra("redis is not installed", "it speaks to Redis", "pip install 'undrift[redis]'") from error
    options: dict[str, Any] = {"ssl_ca_certs": place.ca_file} if place.tls and place.ca_file else {}
    return Redis(
        host=place.host,
        port=place.port,
        db=database,
        username=place.user or None,
        password=place.secret,
        ssl=place.tls,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        # A write that was given up is not sent again by itself: it would undo what others have written since.
        retry=Retry(NoBackoff(), 0),
        # Only this version of the protocol tells that a search was cut short.
        protocol=3,
        **options,
    )
