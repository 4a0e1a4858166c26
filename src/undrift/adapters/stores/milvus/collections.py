"""How collections are made in Milvus, and what is read back of them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from undrift.domain.space import Metric
from undrift.errors import BadArgument, BadConfig

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
    """

    name: str
    number: int
    dimensions: int
    metric: Metric
    index: str


def physical(name: str) -> str:
    """Return what a collection is called in Milvus, whose names have only letters, digits and underscores.

    Another name gets underscores for its other characters, and a part of its hash, so that no two become the same.

    Raises:
        BadConfig: it has the shape that other software gives it, which this store does not know.
    """
    if "?" in name:
        raise BadConfig(
            f"store milvus cannot use {name}: it knows its own collections only, and none in another shape",
            hint="carry its documents over with `undrift put`",
        )
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
    if not LEAST_DIMENSIONS <= dimensions <= MOST_DIMENSIONS:
        raise BadArgument(
            f"collection {name} cannot have {dimensions} dimensions",
            f"store milvus takes {LEAST_DIMENSIONS} to {MOST_DIMENSIONS}",
            "choose another model, or another store",
        )


def make(client: Any, name: str, *, dimensions: int, metric: Metric, index: Hnsw | None, timeout: float) -> None:
    """Make a collection with its index, and load it."""
    from pymilvus import DataType

    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=_MOST_ID_BYTES)
    schema.add_field("text", DataType.VARCHAR, max_length=MOST_BYTES)
    schema.add_field("metadata", DataType.JSON)
    schema.add_field("space", DataType.VARCHAR, max_length=256)
    schema.add_field("content", DataType.VARCHAR, max_length=64)
    schema.add_field("sequence", DataType.INT64)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimensions)
    indexes = client.prepare_index_params()
    parameters = {} if index is None else {"M": index.m, "efConstruction": index.ef_construction}
    kind = "FLAT" if index is None else "HNSW"
    indexes.add_index("vector", index_type=kind, metric_type=METRICS[metric], params=parameters)
    client.create_collection(name, schema=schema, index_params=indexes, consistency_level="Strong", timeout=timeout)


def described(client: Any, name: str, *, timeout: float) -> Collection | None:
    """Return a collection that undrift made, or None if there is none."""
    if not client.has_collection(name, timeout=timeout):
        return None
    said = client.describe_collection(name, timeout=timeout)
    fields = {field["name"]: field for field in said["fields"]}
    if fields.keys() != {*FIELDS, "vector"}:
        return None
    index = client.describe_index(name, "vector", timeout=timeout)
    kinds = {kind: metric for metric, kind in METRICS.items()}
    return Collection(
        name=name,
        number=int(said.get("collection_id") or 0),
        dimensions=int(fields["vector"]["params"]["dim"]),
        metric=kinds[index["metric_type"]],
        index=index["index_type"],
    )
