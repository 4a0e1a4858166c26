"""Collections, and what is known of the vectors in them: a document of its own says it for each."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

from undrift.adapters.asked import require_dimensions
from undrift.adapters.stores.mongodb.documents import ID, MOST_METADATA, MOST_TEXT, TAGS, TAKEN, WORDS, vector_from
from undrift.adapters.stores.mongodb.foreign import INDEX, Places, places_of
from undrift.adapters.stores.mongodb.found import VECTOR, Found, named
from undrift.adapters.stores.mongodb.session import Session
from undrift.domain.route import VectorField
from undrift.domain.space import Metric
from undrift.errors import BadArgument, CollectionMissing, FieldInUse, StoreRejected, UndriftError
from undrift.ports.store import Layout, StoreCapabilities

_T = TypeVar("_T")
#: What Atlas calls those metrics that it takes vectors of any length for.
SIMILARITIES = {Metric.COSINE: "cosine", Metric.L2: "euclidean"}
MAX_DIMENSIONS = 8192
CAPABILITIES = StoreCapabilities(
    name="mongodb",
    metrics=frozenset(SIMILARITIES),
    max_dimensions=MAX_DIMENSIONS,
    layouts=frozenset({Layout.COLLECTION, Layout.IN_PLACE}),
    # A call is given up after 10 s, by the server as well. One that a member took in before another one was elected may
    # still come to be; we know of no election that takes a minute.
    settles_within_s=60.0,
    max_text_bytes=MOST_TEXT,
    max_metadata_bytes=MOST_METADATA,
)
#: The collection of the descriptions.
FIELDS = "undrift_fields"
_FORMAT = 1
_VECTOR_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")
_LONGEST_NAME = 200
#: What takes all documents of a collection may take longer than any other call.
_LONG_S = 120
_DUPLICATE = 11000


class Collections:
    """The collections of a database."""

    def __init__(self, session: Session, *, index: str) -> None:
        """Know none yet.

        Args:
            session: the database.
            index: how vectors of a field that is made are searched: `exact`, `hnsw` or `none`.
        """
        self._session = session
        self._index = index
        self._guard = threading.Lock()
        self._known: dict[str, Found] = {}

    def create(self, field: VectorField, *, dimensions: int, metric: Metric) -> None:
        """Make an empty collection, or room for another vector in one that is there.

        Raises:
            FieldInUse: there is one of that name, with such a vector; or another program made it.
            BadArgument: there can be no such collection.
            StoreRejected: the server has no vector search.
        """
        name, vector = named(field)
        places = places_of(field.collection)[1]
        _require_creatable(name, vector, dimensions=dimensions, metric=metric)
        with self._session.translated(name):
            database = self._session.database
            there = self._described(database, name, vector)
            if there is not None and there.get("dropping"):
                # Whoever dropped it was killed on the way.
                self._finish(database, there)
            elif there is not None and self._number_of(database, name) == there["number"]:
                raise self._in_use(field)
            elif there is not None:
                database[FIELDS].delete_one({ID: there[ID], "incarnation": there["incarnation"]})
            number, is_new = self._made(database, name, field, may_be_there=places is None)
            try:
                self._describe(database, field, number, dimensions=dimensions, metric=metric)
            except BaseException:
                # Whoever described it first has a field in it, although it was made here.
                if is_new and database[FIELDS].find_one({"collection": name, "number": number}) is None:
                    database.drop_collection(name)
                raise
        self.forget(field)

    def drop(self, field: VectorField) -> None:
        """Delete a field with its vectors, and the collection with the last one; one that is not there is no error."""
        name, vector = named(field)
        self.forget(field)
        with self._session.translated(name):
            database = self._session.database
            there = self._described(database, name, vector)
            if there is None and places_of(field.collection)[1] is not None:
                database.drop_collection(name)
            elif there is not None:
                # From here on it is not there for anybody; who is killed below leaves the rest to the next.
                database[FIELDS].update_one({ID: there[ID]}, {"$set": {"dropping": True}})
                self._finish(database, there)

    def get(self, field: VectorField) -> Found:
        """Return a field as it was last seen.

        Raises:
            CollectionMissing: there is none.
        """
        known = self._known.get(field.collection) or self.find(field)
        if known is None:
            raise self.missing(field)
        return known

    def on(self, field: VectorField, read: Callable[[Found], list[_T]]) -> list[_T]:
        """Read from a field as it was last seen; once more where it is another one by now, of the same name.

        Raises:
            CollectionMissing: it is not there any more.
        """
        found = self.get(field)
        done: list[_T] = []
        refusal: UndriftError | None = None
        try:
            done = read(found)
        except (BadArgument, StoreRejected) as error:
            refusal = error
        if done:
            return done
        # What is gone answers nothing, and what was made anew refuses other vectors.
        fresh = self.find(field)
        if fresh is None:
            raise self.missing(field)
        if fresh != found:
            return read(fresh)
        if refusal is not None:
            raise refusal
        return done

    def find(self, field: VectorField) -> Found | None:
        """Look a field up; None when it is not there.

        Raises:
            StoreRejected: another version of undrift made it.
        """
        (name, vector), places = named(field), places_of(field.collection)[1]
        with self._session.translated(name):
            database = self._session.database
            there = self._described(database, name, vector)
            number = self._number_of(database, name)
            if places is not None and number is not None and (there is None or there["number"] != number):
                there = self._learned(database, name, places, number)
            if there is None or there.get("dropping") or number != there["number"]:
                self.forget(field)
                return None
        if there["format"] != _FORMAT:
            raise StoreRejected(
                f"collection {name} has been made by another version of undrift",
                f"its format is {there['format']}, this version knows {_FORMAT}",
                "pip install --upgrade undrift",
            )
        found = Found(
            collection=name,
            vector=vector,
            incarnation=there["incarnation"],
            number=there["number"],
            dimensions=int(there["dimensions"]),
            metric=Metric(there["metric"]),
            index=there["index"],
            is_exact=bool(there["is_exact"]),
            places=places,
        )
        with self._guard:
            self._known[field.collection] = found
        return found

    def require(self, field: VectorField, found: Found) -> None:
        """Pass when a field is there still: a write to a collection that is not there would make it.

        Raises:
            CollectionMissing: it is not.
        """
        database = self._session.database
        if not found.is_own:
            if self._number_of(database, found.collection) != found.number:
                raise self.missing(field)
            return
        there = self._described(database, found.collection, found.vector)
        if there is None or there.get("dropping") or there["incarnation"] != found.incarnation:
            raise self.missing(field)

    def forget(self, field: VectorField) -> None:
        """Look a field up when it is used next."""
        with self._guard:
            self._known.pop(field.collection, None)

    def missing(self, field: VectorField) -> CollectionMissing:
        """Return the error for a field that is not there, and forget what was known of it."""
        self.forget(field)
        name, vector = named(field)
        beside = "" if vector == VECTOR else f" with a vector {vector}"
        return CollectionMissing(f"{self._session.place.name} has no collection {name}{beside}")

    def _learned(self, database: Any, name: str, places: Places, number: Any) -> Any:
        """Return what a collection that another program made says of itself, as undrift would have written it down.

        Raises:
            StoreRejected: nothing says what its vectors are.
        """
        kinds = {kind: metric for metric, kind in SIMILARITIES.items()} | {"dotProduct": Metric.DOT}
        for index in database[name].list_search_indexes() if self._index != "none" else ():
            for path in index.get("latestDefinition", {}).get("fields", []):
                if path.get("type") == "vector" and path.get("path") == places.vector:
                    return {
                        "format": _FORMAT,
                        "number": number,
                        "incarnation": "",
                        "dimensions": path["numDimensions"],
                        "metric": kinds[path["similarity"]].value,
                        "index": index["name"],
                        "is_exact": self._index == "exact",
                    }
        first = database[name].find_one({places.vector: {"$exists": True}}, {places.vector: 1})
        vector = None if first is None else vector_from(first[places.vector])
        if vector is None:
            raise StoreRejected(
                f"collection {name} of {self._session.place.name} has no vectors in {places.vector}",
                "neither a search index says so, nor has a document one",
                f"say which key has them: {name}?vector=KEY",
            )
        return {
            "format": _FORMAT,
            "number": number,
            "incarnation": "",
            "dimensions": len(vector),
            "metric": Metric.COSINE.value,
            "index": "",
            "is_exact": True,
        }

    def _made(self, database: Any, name: str, field: VectorField, *, may_be_there: bool) -> tuple[Any, bool]:
        """Return the number of the collection, and whether it was not there before."""
        from pymongo.errors import CollectionInvalid, OperationFailure

        number = self._number_of(database, name)
        if number is None:
            try:
                database.create_collection(name)
            except (CollectionInvalid, OperationFailure):
                number = self._number_of(database, name)
                if number is None:
                    raise
            else:
                return self._number_of(database, name), True
        is_ours = database[FIELDS].find_one({"collection": name, "number": number}) is not None
        if not may_be_there or (not is_ours and database[name].find_one({}, {ID: 1}) is not None):
            raise self._in_use(field)
        return number, False

    def _describe(self, database: Any, field: VectorField, number: Any, *, dimensions: int, metric: Metric) -> None:
        """Make the search index and the description; the field is there with the latter."""
        from pymongo.errors import DuplicateKeyError
        from pymongo.operations import SearchIndexModel

        name, vector = named(field)
        incarnation = uuid.uuid4().hex[:12]
        own = places_of(field.collection)[1] is None
        index = "" if self._index == "none" else f"undrift_{vector}_{incarnation}" if own else INDEX
        if index:
            path = {"type": "vector", "path": vector, "numDimensions": dimensions}
            paths = [{**path, "similarity": SIMILARITIES[metric]}]
            paths += [{"type": "filter", "path": WORDS}] if own else []
            model = SearchIndexModel(definition={"fields": paths}, name=index, type="vectorSearch")
            database[name].create_search_index(model)
        try:
            database[FIELDS].insert_one(
                {
                    ID: _description(name, vector),
                    "format": _FORMAT,
                    "collection": name,
                    "number": number,
                    "incarnation": incarnation,
                    "vector": vector,
                    "dimensions": dimensions,
                    "metric": metric.value,
                    "index": index,
                    "is_exact": self._index != "hnsw",
                }
            )
        except DuplicateKeyError as error:
            if index:
                self._drop_index(database, name, index)
            raise self._in_use(field) from error

    def _finish(self, database: Any, there: Any) -> None:
        """Take away what a field that is being dropped still has."""
        import pymongo

        name, vector = there["collection"], there["vector"]
        with pymongo.timeout(_LONG_S):
            if self._number_of(database, name) == there["number"]:
                others = {"collection": name, "number": there["number"], ID: {"$ne": there[ID]}}
                if database[FIELDS].find_one(others) is None:
                    database.drop_collection(name)
                else:
                    if there["index"]:
                        self._drop_index(database, name, there["index"])
                    with_vector = {vector: {"$exists": True}}
                    database[name].update_many(with_vector, {"$unset": {vector: "", f"{TAGS}.{vector}": ""}})
            database[FIELDS].delete_one({ID: there[ID], "incarnation": there["incarnation"]})

    def _drop_index(self, database: Any, name: str, index: str) -> None:
        from pymongo.errors import OperationFailure

        try:
            database[name].drop_search_index(index)
        except OperationFailure:
            # A try before this one may have come so far.
            if any(one["name"] == index for one in database[name].list_search_indexes()):
                raise

    def _described(self, database: Any, name: str, vector: str) -> Any:
        return database[FIELDS].find_one({ID: _description(name, vector)})

    def _number_of(self, database: Any, name: str) -> Any:
        """Return MongoDB's own number of a collection, None when there is none."""
        found = list(database.list_collections(filter={"name": name}))
        return bytes(found[0]["info"]["uuid"]) if found else None

    def _in_use(self, field: VectorField) -> FieldInUse:
        return FieldInUse(
            f"collection {field.collection} is in {self._session.place.name} already",
            hint="choose another name, or drop it if nobody uses it",
        )


def _description(name: str, vector: str) -> str:
    return f"{name}/{vector}"


def _require_creatable(name: str, vector: str, *, dimensions: int, metric: Metric) -> None:
    if not name or name.startswith(("system.", "undrift_")) or "$" in name or "\0" in name or name[0] == ".":
        raise BadArgument(
            f"a collection of store mongodb cannot be called {name!r}",
            "its name has no $ and does not begin with a full stop, `system.` or `undrift_`",
            "choose another name",
        )
    if len(name.encode(errors="replace")) > _LONGEST_NAME:
        raise BadArgument(
            f"a collection of store mongodb cannot be called {name[:20]!r}…",
            f"its name has at most {_LONGEST_NAME} bytes",
            "choose another name",
        )
    if not _VECTOR_NAME.fullmatch(vector) or vector in TAKEN:
        raise BadArgument(
            f"a vector of store mongodb cannot be called {vector!r}",
            f"it is a key of the documents: letters, digits, _ and -, and none of {', '.join(sorted(TAKEN))}",
            "choose another name",
        )
    require_dimensions(name, dimensions, most=MAX_DIMENSIONS, who="Atlas")
    if metric not in SIMILARITIES:
        raise BadArgument(
            f"collection {name} cannot be searched by {metric.value}",
            "Atlas takes an inner product of vectors of length 1 only, for which the cosine is the same",
            "choose cosine for the model",
        )
