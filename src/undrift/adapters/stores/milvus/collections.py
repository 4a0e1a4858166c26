"""How collections are made in Milvus, and what is read back of them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import Any

from undrift.adapters.asked import require_dimensions
from undrift.adapters.stores.milvus.foreign import Places, places_of
from undrift.domain.shape import EVERYTHING_ELSE, NO_TEXT, split_address
from undrift.domain.space import Metric
from undrift.errors import BadArgument, StoreRejected

#: What Milvus calls the metrics.
METRICS = {Metric.COSINE: "COSINE", Metric.DOT: "IP", Metric.L2: "L2"}
LEAST_DIMENSIONS, MOST_DIMENSIONS = 2, 32_768
#: The longest string, in bytes of UTF-8, and the longest JSON.
MOST_BYTES = 65_535
#: Everything of a record but its vector.
FIELDS = ("id", "text", "metadata", "space", "content", "sequence")
_MOST_ID_BYTES = 512
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_OTHER = re.compile(r"[^A-Za-z0-9_]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hnsw:
    """The parameters of an HNSW index.

    Attributes:
        m: connections of a vector in each layer.
        ef_construction: how many candidates are looked at when a vector is put in.
        ef_search: how many candidates a search looks at.
    """

    m: int
    ef_construction: int
    ef_search: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """A collection as it is now.

    Attributes:
        name: what Milvus calls it.
        number: Milvus' own number of it, which no later one of that name has; 0 where it gives none.
        dimensions: of its vectors.
        metric: what it is searched by.
        index: the kind of its index.
        places: where the parts of a record are, of a collection that another program made; None for undrift's own.
    """

    name: str
    number: int
    dimensions: int
    metric: Metric
    index: str
    places: Places | None = None


def physical(collection: str) -> str:
    """Return what a collection is called in Milvus, whose names have only letters, digits and underscores.

    Another name gets underscores for its other characters, and a part of its hash, so that no two become the same.
    """
    name = split_address(collection)[0] if "?" in collection else collection
    if _NAME.fullmatch(name):
        return name
    return f"c_{_OTHER.sub('_', name)[:200]}_{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:12]}"


def require_creatable(name: str, *, dimensions: int) -> None:
    """Pass when there can be such a collection.

    Raises:
        BadArgument: it has no name, or Milvus takes no such vectors.
    """
    if not name:
        raise BadArgument("a collection of store milvus has to have a name")
    require_dimensions(name, dimensions, most=MOST_DIMENSIONS, who="store milvus", least=LEAST_DIMENSIONS)


def make(client: Any, address: str, *, dimensions: int, metric: Metric, index: Hnsw | None, timeout: float) -> None:
    """Make a collection with its index, in the shape that its address names, and load it."""
    places = places_of(address)
    schema = _own_schema(client, dimensions) if places is None else _foreign_schema(client, places, dimensions)
    indexes = client.prepare_index_params()
    parameters = {} if index is None else {"M": index.m, "efConstruction": index.ef_construction}
    kind, field = "FLAT" if index is None else "HNSW", "vector" if places is None else places.vector
    indexes.add_index(field, index_type=kind, metric_type=METRICS[metric], params=parameters)
    client.create_collection(
        physical(address), schema=schema, index_params=indexes, consistency_level="Strong", timeout=timeout
    )


def described(client: Any, address: str, *, timeout: float) -> Collection | None:
    """Return a collection as its address says that it is, or None if there is none.

    Raises:
        StoreRejected: it does not look so.
    """
    name, places = physical(address), places_of(address)
    if not client.has_collection(name, timeout=timeout):
        return None
    said = client.describe_collection(name, timeout=timeout)
    fields = {field["name"]: field for field in said["fields"]}
    if places is not None:
        places = _fitted(places, name, said, fields)
    elif fields.keys() != {*FIELDS, "vector"}:
        return None
    vector = "vector" if places is None else places.vector
    index = client.describe_index(name, vector, timeout=timeout)
    kinds = {kind: metric for metric, kind in METRICS.items()}
    if not index or index["metric_type"] not in kinds:
        raise StoreRejected(f"the vectors of collection {name} have no index that undrift could search by")
    if places is not None:
        # Who made it may not have loaded it since the server began.
        client.load_collection(name, timeout=timeout)
    return Collection(
        name=name,
        number=int(said.get("collection_id") or 0),
        dimensions=int(fields[vector]["params"]["dim"]),
        metric=kinds[index["metric_type"]],
        index=index["index_type"],
        places=places,
    )


def _own_schema(client: Any, dimensions: int) -> Any:
    from pymilvus import DataType

    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=_MOST_ID_BYTES)
    schema.add_field("text", DataType.VARCHAR, max_length=MOST_BYTES)
    schema.add_field("metadata", DataType.JSON)
    schema.add_field("space", DataType.VARCHAR, max_length=256)
    schema.add_field("content", DataType.VARCHAR, max_length=64)
    schema.add_field("sequence", DataType.INT64)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimensions)
    return schema


def _foreign_schema(client: Any, places: Places, dimensions: int) -> Any:
    """Return the schema of a collection that takes whatever metadata come; LangChain and LlamaIndex use it so."""
    from pymilvus import DataType

    schema = client.create_schema(auto_id=False, enable_dynamic_field=True)
    schema.add_field(places.id, DataType.VARCHAR, is_primary=True, max_length=MOST_BYTES)
    if places.shape.preset == "llama_index":
        schema.add_field("doc_id", DataType.VARCHAR, max_length=MOST_BYTES)
    if places.text != NO_TEXT:
        schema.add_field(places.text, DataType.VARCHAR, max_length=MOST_BYTES)
    if places.metadata != EVERYTHING_ELSE:
        schema.add_field(places.metadata, DataType.JSON)
    schema.add_field(places.vector, DataType.FLOAT_VECTOR, dim=dimensions)
    return schema


def _fitted(places: Places, name: str, said: Any, fields: dict[str, Any]) -> Places:
    """Return the places with what is known of the collection."""
    from pymilvus import DataType

    of_vectors = {one for one, field in fields.items() if "VECTOR" in DataType(field["type"]).name}
    is_flat = fields.get(places.vector, {}).get("type") == DataType.FLOAT_VECTOR
    named = [one for one in (places.id, places.text, places.metadata) if one not in (NO_TEXT, EVERYTHING_ELSE)]
    is_dynamic = bool(said.get("enable_dynamic_field"))
    missing = [one for one in named if one not in fields and (one == places.id or not is_dynamic)]
    missing += [] if is_flat else [places.vector]
    key = fields.get(places.id, {})
    if missing or not key.get("is_primary"):
        raise StoreRejected(
            f"collection {name} does not look as its address says",
            f"it has the fields {', '.join(fields)}; missing: {', '.join(missing) or f'{places.id} is not its key'}",
            f"name its fields: {name}?id=FIELD&text=FIELD&vector=FIELD",
        )
    return replace(
        places,
        fields=tuple(one for one in fields if one not in of_vectors),
        is_dynamic=is_dynamic,
        has_numbers=key["type"] == DataType.INT64,
        numbers_itself=bool(said.get("auto_id") or key.get("auto_id")),
    )
