"""Records as rows of Milvus, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from undrift.adapters.stores.milvus.collections import MOST_BYTES, Collection
from undrift.adapters.stores.milvus.foreign import own_row, stored_row
from undrift.domain.record import (
    NO_TAG,
    DocumentId,
    Entry,
    Hit,
    Metadata,
    Record,
    SpaceTag,
    decode_metadata,
    encode_metadata,
    tag_from_stored,
)
from undrift.domain.space import Metric
from undrift.domain.vectors import stacked
from undrift.errors import StoreRejected

_INT64 = range(-(2**63), 2**63)


def rows_of(records: Sequence[Record], collection: Collection) -> list[dict[str, Any]]:
    """Return records as Milvus takes them.

    Raises:
        StoreRejected: two have the same id, a vector does not fit, or a text or metadata are more than Milvus keeps.
        BadDocument: the metadata of one is not JSON.
    """
    if len({record.id for record in records}) != len(records):
        raise StoreRejected("one call has two records of the same id", "nothing of it was written")
    vectors = stacked(records, dimensions=collection.dimensions, metric=collection.metric)
    rows = []
    for record, vector in zip(records, vectors, strict=True):
        if len(record.text.encode()) > MOST_BYTES:
            raise _too_long("the text", record.id)
        rows.append(own_row(record, vector, kept_metadata(record.id, record.metadata)))
    return [written(row, collection) for row in rows]


def written(row: dict[str, Any], collection: Collection) -> dict[str, Any]:
    """Return what is written for a row, in a collection of undrift's own or in another one."""
    return row if collection.places is None else stored_row(collection.places, row)


def kept_metadata(id: str, metadata: Metadata) -> dict[str, Any]:
    """Return metadata as they are kept: JSON values only.

    Raises:
        StoreRejected: they are more than Milvus keeps, or have an integer of more than 64 bits.
        BadDocument: they are not JSON.
    """
    text = encode_metadata(id, metadata)
    if len(text.encode()) > MOST_BYTES:
        raise _too_long("the metadata", id)
    if _has_huge_integer(metadata):
        raise StoreRejected(
            f"the metadata of document {id!r} have an integer of more than 64 bits, which Milvus does not keep",
            "nothing of this call was written",
            "write it as a string, or as a float",
        )
    return decode_metadata(text)


def changed_row(row: Mapping[str, Any], change: Metadata, sequence: int) -> dict[str, Any]:
    """Return a row with keys put into its metadata."""
    metadata = kept_metadata(row["id"], {**row["metadata"], **change})
    vector = np.array(row["vector"], np.float32)
    return {**{name: row[name] for name in row}, "metadata": metadata, "sequence": sequence, "vector": vector}


def record_from(row: Mapping[str, Any]) -> Record:
    """Return the record of a row with its vector."""
    return Record(
        id=DocumentId(row["id"]),
        text=row["text"],
        metadata=row["metadata"],
        vector=np.array(row["vector"], np.float32),
        tag=_tag(row) or NO_TAG,
    )


def entry_from(row: Mapping[str, Any]) -> Entry:
    """Return the entry of a row, with a text if it was read."""
    return Entry(id=DocumentId(row["id"]), text=row.get("text"), metadata=row["metadata"], tag=_tag(row))


def hit_from(row: Mapping[str, Any], distance: float, metric: Metric) -> Hit:
    """Return the hit of a row and what Milvus calls its distance."""
    # The square of the Euclidean distance; cosine and inner product grow with nearness already.
    score = -math.sqrt(max(distance, 0.0)) if metric is Metric.L2 else distance
    return Hit(id=row["id"], score=score, text=row["text"], metadata=row["metadata"], tag=_tag(row))


def _tag(row: Mapping[str, Any]) -> SpaceTag | None:
    if not row["space"]:
        return None
    return tag_from_stored(row["space"], row["content"], row["sequence"])


def _too_long(what: str, id: str) -> StoreRejected:
    return StoreRejected(
        f"{what} of document {id!r} has more than {MOST_BYTES} bytes, which is the most that Milvus keeps",
        "nothing of this call was written",
        "split the document, or use another store",
    )


def _has_huge_integer(value: object) -> bool:
    if isinstance(value, int):
        return value not in _INT64
    if isinstance(value, Mapping):
        return any(map(_has_huge_integer, value.values()))
    return isinstance(value, list | tuple) and any(map(_has_huge_integer, value))
