"""A Chroma, and the collections of it that have been seen."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from undrift.adapters.stores.chroma.client import Client, connected
from undrift.adapters.stores.chroma.places import Folder, Server
from undrift.adapters.stores.chroma.translation import translate
from undrift.domain.route import VectorField
from undrift.domain.shape import Shape, split_address
from undrift.domain.space import Metric
from undrift.errors import (
    BadArgument,
    BadConfig,
    CollectionMissing,
    StoreRejected,
    StoreUnavailable,
    UndriftError,
)

_T = TypeVar("_T")

#: How the records of undrift's own collections are laid out; another number means another version of undrift.
FORMAT = 1
#: Keys of a collection's metadata. Chroma learns the dimensions with the first vector only.
FORMAT_KEY, DIMENSIONS_KEY, METRIC_KEY = "undrift_format", "undrift_dimensions", "undrift_metric"
#: The names Chroma has for its distances.
SPACES = {Metric.COSINE: "cosine", Metric.L2: "l2", Metric.DOT: "ip"}
_METRICS = {space: metric for metric, space in SPACES.items()}
_RENAMED = "undrift-"
#: What Chroma says when it lacks the place of all collections, and what else that can be taken for.
_NO_HOME = re.compile(r"(Database|Tenant) \[.*\] (does not exist|not found)")
_ELSE = (CollectionMissing, BadArgument)
_NAME = re.compile(r"(?!.*\.\.)[a-zA-Z0-9][a-zA-Z0-9._-]{1,510}[a-zA-Z0-9]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A collection, as Chroma has it.

    Attributes:
        number: its UUID, which no later collection of that name has.
        shape: how its records look.
        dimensions: of its vectors; 0 while nobody knows.
        metric: what it is searched by.
        space: the name of the distance that Chroma computes.
    """

    number: Any
    shape: Shape
    dimensions: int
    metric: Metric
    space: str

    @property
    def is_own(self) -> bool:
        """Whether undrift lays its records out."""
        return not self.shape.preset and not self.shape.text


class Session:
    """A connection that is made at the first call, and anew after `close` and after a fork."""

    def __init__(self, place: Server | Folder, *, tenant: str, database: str) -> None:
        """Connect to nothing yet."""
        self._place = place
        self._tenant = tenant
        self._database = database
        self._guard = threading.Lock()
        self._client: Client | None = None
        self._seen: dict[str, Found] = {}

    @property
    def name(self) -> str:
        """What messages call this store."""
        return self._place.name

    @property
    def is_server(self) -> bool:
        """Whether it is on a server, and not in a folder."""
        return isinstance(self._place, Server)

    def ask(self, field: VectorField, request: Callable[[Client], _T], *, writing: bool = False) -> _T:
        """Return what Chroma answers.

        Raises:
            UndriftError: in place of whatever the client raises.
        """
        client = self.client()
        try:
            return request(client)
        except UndriftError:
            raise
        except Exception as error:
            if _NO_HOME.match(str(error)):
                raise self._homeless(error) from error
            raise translate(error, self.name, split_address(field.collection)[0], writing=writing) from error

    def find(self, field: VectorField) -> Found | None:
        """Look a collection up in Chroma.

        Raises:
            StoreUnavailable: another version of undrift made it.
            BadConfig: the field's address has a shape that Chroma has not.
        """
        name, shape = checked_shape(field)
        if not _NAME.fullmatch(name):
            return None
        try:
            model = self.ask(field, lambda client: client.find(name))
        except CollectionMissing:
            with self._guard:
                self._seen.pop(field.collection, None)
            return None
        found = self._found(model, name, shape)
        with self._guard:
            if found is None or not found.dimensions:
                self._seen.pop(field.collection, None)
            else:
                self._seen[field.collection] = found
        return found

    def on(self, field: VectorField, work: Callable[[Found], _T]) -> _T:
        """Do something with a collection as it was last seen, and once more when it is another one by now.

        Raises:
            CollectionMissing: there is none.
        """
        known = self._seen.get(field.collection)
        if known is None:
            return work(self._present(field))
        try:
            return work(known)
        except (CollectionMissing, StoreRejected, BadArgument):
            present = self._present(field)
            if present == known:
                raise
            return work(present)

    def close(self) -> None:
        """Let go of the connection, and of the folder."""
        with self._guard:
            client, self._client = self._client, None
            self._seen.clear()
        if client is not None and client.pid == os.getpid():
            client.stop()

    def client(self) -> Client:
        """Return the client, connected when it is not yet.

        Raises:
            StoreUnavailable: the server does not answer.
            StoreUnusable: another process has the folder.
            MissingExtra: Chroma's client is not installed.
        """
        client = self._client
        if client is not None and client.pid == os.getpid():
            return client
        with self._guard:
            if self._client is None or self._client.pid != os.getpid():
                self._seen.clear()
                self._client = self._connected()
            return self._client

    def _present(self, field: VectorField) -> Found:
        found = self.find(field)
        if found is None:
            raise CollectionMissing(f"{self.name} has no collection {split_address(field.collection)[0]}")
        return found

    def _found(self, model: Any, name: str, shape: Shape) -> Found | None:
        metadata = model.metadata or {}
        format = metadata.get(FORMAT_KEY)
        own = not shape.preset and not shape.text
        if own and format is None:
            return None
        if own and format != FORMAT:
            raise StoreUnavailable(
                f"collection {name} has been made by another version of undrift",
                f"its format is {format}, this version knows {FORMAT}",
                "pip install --upgrade undrift",
            )
        configured = model.configuration_json or {}
        space = str((configured.get("hnsw") or configured.get("spann") or {}).get("space") or "l2")
        metric = Metric(metadata[METRIC_KEY]) if own else _METRICS[space]
        dimensions = int(model.dimension or metadata.get(DIMENSIONS_KEY) or 0)
        return Found(number=model.id, shape=shape, dimensions=dimensions, metric=metric, space=space)

    def _connected(self) -> Client:
        try:
            return connected(self._place, tenant=self._tenant, database=self._database)
        except UndriftError:
            raise
        except Exception as error:
            translated = translate(error, self.name, "", writing=False)
            raise self._homeless(error) if isinstance(translated, _ELSE) else translated from error

    def _homeless(self, error: Exception) -> StoreUnavailable:
        return StoreUnavailable(
            f"{self.name} has no tenant {self._tenant} with a database {self._database}",
            str(error),
            "make them with Chroma's AdminClient, or change tenant and database of the store",
        )


def checked_shape(field: VectorField) -> tuple[str, Shape]:
    """Return the name that a field's collection has in Chroma, and its shape.

    Raises:
        BadConfig: Chroma has no such shape.
    """
    name, shape = split_address(field.collection)
    said = [word for word in ("id", "metadata", "vector") if getattr(shape, word) not in ("", "*")]
    if said:
        raise BadConfig(
            f"collection {name} of a Chroma store cannot be told its {', '.join(said)}",
            "in Chroma a record has one id, one vector and one set of metadata",
            "use as, text and tags",
        )
    if shape.preset not in ("", "langchain", "llama_index", "chroma"):
        raise BadConfig(
            f"collection {name} of a Chroma store cannot be read as {shape.preset}",
            hint="use as=langchain, as=llama_index, or as=chroma for any other program",
        )
    return name if shape.preset or shape.text else _own_name(name), shape


def _own_name(name: str) -> str:
    """Return the name of a collection of undrift's own in Chroma, which takes few letters and no short names."""
    if _NAME.fullmatch(name) and not name.startswith(_RENAMED):
        return name
    plain = "".join(letter if letter.isascii() and letter.isalnum() else _spelt(letter) for letter in name)
    return f"{_RENAMED}{plain}" if name else ""


def _spelt(letter: str) -> str:
    return "".join(f"-{byte:02x}" for byte in letter.encode("utf-8", "surrogatepass"))


def require_name(name: str) -> None:
    """Pass when a collection can be called so.

    Raises:
        BadArgument: Chroma takes no such name.
    """
    if not _NAME.fullmatch(name):
        raise BadArgument(
            f"a collection of store chroma cannot be called {name!r}",
            "it has 3 to 512 letters of a-z, A-Z, 0-9, '.', '_' and '-', begins and ends with a letter or digit, "
            "and has no two dots in a row",
            "choose another name",
        )
