"""Collections of Weaviate: how they are made, and what is read back of them."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from undrift.adapters.asked import require_dimensions
from undrift.adapters.known import Known
from undrift.adapters.stores.weaviate.session import Session
from undrift.domain.route import VectorField
from undrift.domain.shape import own_name
from undrift.domain.space import Metric
from undrift.errors import BadArgument, CollectionMissing, FieldInUse, StoreRejected

#: What Weaviate calls the metrics.
DISTANCES = {Metric.COSINE: "cosine", Metric.DOT: "dot", Metric.L2: "l2-squared"}
_METRICS = {name: metric for metric, name in DISTANCES.items()}
MAX_DIMENSIONS = 65_535
#: The named vector of undrift's own collections.
VECTOR = "embedding"
_FORMAT = 1
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,199}")
_OTHER = re.compile(r"[^A-Za-z0-9_]")
#: Stands before what undrift notes in the description of a collection: it keeps no dimensions and no notes elsewhere.
_NOTED = "Kept by undrift, which needs this note: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """How vectors are indexed, and how often they are kept.

    Attributes:
        method: `hnsw`, or `flat` when a search compares with all.
        m: connections of a vector in each layer.
        ef_construction: how many candidates are looked at when a vector is put in.
        ef_search: how many are looked at by a search; -1 when the server decides.
        replicas: how many nodes keep an object; None when the server decides.
        shards: how many parts a collection has; None when the server decides.
    """

    method: str
    m: int
    ef_construction: int
    ef_search: int
    replicas: int | None
    shards: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A collection as the server has it.

    Attributes:
        name: what Weaviate calls it.
        dimensions: of its vectors.
        metric: how they are compared.
        is_exact: whether a search compares with every record.
        replicas: how many nodes keep an object.
    """

    name: str
    dimensions: int
    metric: Metric
    is_exact: bool
    replicas: int


def physical(name: str) -> str:
    """Return what a collection is called in Weaviate: a capital first, then letters, digits and underscores.

    Another name gets underscores for its other characters, and a part of its hash, so that no two become the same.
    """
    if _NAME.fullmatch(name):
        return name[:1].upper() + name[1:]
    return f"C_{_OTHER.sub('_', name)[:150]}_{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:12]}"


class Collections:
    """The collections of a server that are undrift's."""

    def __init__(self, session: Session, index: Index) -> None:
        """Know none yet."""
        self._session = session
        self._index = index
        self.known = Known(self._find, lambda field: session.missing(own_name(field.collection)))

    def create(self, field: VectorField, *, dimensions: int, metric: Metric) -> None:
        """Make a collection.

        Raises:
            FieldInUse: a collection of that name is there.
            BadArgument: there can be no such vectors, or no such name.
        """
        name = own_name(field.collection)
        if not name or not name.isprintable():
            raise BadArgument(f"a collection of store weaviate cannot be called {name!r}", hint="choose another name")
        require_dimensions(name, dimensions, most=MAX_DIMENSIONS, who="Weaviate")
        self.known.forget(field)
        said = self._said(name, dimensions, metric)
        try:
            self._session.ask(name, lambda client: client.collections.create_from_dict(said))
        except StoreRejected as error:
            if "already exists" in error.detail:
                raise FieldInUse(
                    f"collection {name} is in {self._session.place.name} already",
                    hint="choose another name, or drop it if nobody uses it",
                ) from error
            raise

    def drop(self, field: VectorField) -> None:
        """Delete a collection with everything in it; one that is not there is no error.

        Raises:
            FieldInUse: undrift did not make it.
        """
        found = self.known.find(field)
        self.known.forget(field)
        if found is not None:
            self._session.ask(own_name(field.collection), lambda client: client.collections.delete(found.name))

    def _find(self, field: VectorField) -> Found | None:
        """Look a collection up; None when there is none.

        Raises:
            FieldInUse: there is one of that name that undrift did not make, or an alias.
        """
        name = own_name(field.collection)
        try:
            said = self._session.ask(name, lambda client: client.collections.export_config(physical(name)))
        except CollectionMissing:
            return None
        return self._described(name, said)

    def point(self, alias: str, found: Found) -> None:
        """Let an alias of the server stand for a collection, in one step.

        Raises:
            StoreRejected: the server has no aliases, or a collection is called so.
        """
        self._session.require_aliases()
        name = physical(alias)
        there = self._session.ask(alias, lambda client: client.alias.get(alias_name=name))
        if there is not None and there.collection == found.name:
            return
        if there is None:
            self._session.ask(alias, lambda client: client.alias.create(alias_name=name, target_collection=found.name))
        else:
            self._session.ask(
                alias, lambda client: client.alias.update(alias_name=name, new_target_collection=found.name)
            )

    def _said(self, name: str, dimensions: int, metric: Metric) -> dict[str, Any]:
        """Return the definition of a collection, as REST takes it."""
        index: dict[str, Any] = {"distance": DISTANCES[metric], "skipDefaultQuantization": True}
        if self._index.method == "hnsw":
            index |= {"maxConnections": self._index.m, "efConstruction": self._index.ef_construction}
            index["ef"] = self._index.ef_search
        # A deletion wins or loses by its time where replicas do not agree, and is not undone by one that missed it.
        replication: dict[str, Any] = {"deletionStrategy": "TimeBasedResolution"}
        if self._index.replicas is not None:
            replication["factor"] = self._index.replicas
        note = json.dumps({"format": _FORMAT, "name": name, "dimensions": dimensions}, separators=(",", ":"))
        definition: dict[str, Any] = {
            "class": physical(name),
            "description": _NOTED + note,
            "properties": [
                _property("doc_id", tokenization="field", indexFilterable=True),
                _property("text", tokenization="word", indexSearchable=True),
                _property("metadata", tokenization="field"),
                _property("filter_words", "text[]", tokenization="field", indexFilterable=True),
                _property("space", tokenization="field", indexFilterable=True),
                _property("content", tokenization="field"),
                _property("sequence", "int"),
            ],
            "vectorConfig": {
                VECTOR: {
                    "vectorizer": {"none": {}},
                    "vectorIndexType": self._index.method,
                    "vectorIndexConfig": index,
                }
            },
            "replicationConfig": replication,
        }
        if self._index.shards is not None:
            definition["shardingConfig"] = {"desiredCount": self._index.shards}
        return definition

    def _described(self, name: str, said: Any) -> Found:
        """Return what the client read of a definition."""
        note = _note(said.description)
        if said.name != physical(name) or note is None or note.get("name") != name:
            what = f"an alias of {said.name}" if said.name != physical(name) else "not one of undrift's"
            raise FieldInUse(
                f"{physical(name)} of {self._session.place.name} is {what}, and not collection {name}",
                hint="choose another name",
            )
        vectors = said.vector_config or {}
        if note.get("format") != _FORMAT or VECTOR not in vectors:
            raise StoreRejected(
                f"collection {name} has been made by another version of undrift",
                f"its format is {note.get('format')}, this version knows {_FORMAT}",
                "pip install --upgrade undrift",
            )
        index = vectors[VECTOR].vector_index_config
        return Found(
            name=said.name,
            dimensions=int(note["dimensions"]),
            metric=_METRICS[index.distance_metric.value],
            is_exact=type(index).__name__.endswith("Flat"),
            replicas=int(said.replication_config.factor),
        )


def _property(name: str, kind: str = "text", **said: Any) -> dict[str, Any]:
    return {"name": name, "dataType": [kind], "indexFilterable": False, "indexSearchable": False, **said}


def _note(description: str | None) -> dict[str, Any] | None:
    if description is None or not description.startswith(_NOTED):
        return None
    try:
        note = json.loads(description.removeprefix(_NOTED))
    except ValueError:
        return None
    return note if isinstance(note, dict) and isinstance(note.get("dimensions"), int) else None
