"""Records as rows of Arrow, and back."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from undrift.adapters.stores.lancedb.tables import Table
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
    is_tagged,
    tag_from_stored,
)
from undrift.domain.space import Metric
from undrift.domain.vectors import stacked
from undrift.errors import StoreRejected

#: Integers outside of these would come back as floats, or not at all.
_LEAST, _MOST = -(2**63), 2**64 - 1
#: How many digits an integer has that may be outside.
_DIGITS = 19


def block(records: Sequence[Record], table: Table) -> Any:
    """Return records as a `pyarrow.Table` that can be merged into a collection.

    Raises:
        StoreRejected: two of them have the same id, a vector does not fit, or a number of the metadata would change.
        BadDocument: the metadata of one is not JSON.
    """
    texts = [metadata_text(record.id, record.metadata) for record in records]
    if len({record.id for record in records}) != len(records):
        raise StoreRejected("one call has two records of the same id", "nothing of it was written")
    vectors = stacked(records, dimensions=table.dimensions, metric=table.metric)
    columns: dict[str, list[Any]] = {
        "id": [record.id for record in records],
        "text": [record.text for record in records],
        "space": [record.tag.space for record in records],
        "content": [record.tag.content for record in records],
        "sequence": [record.tag.sequence for record in records],
        "revision": [secrets.randbits(62) for _ in records],
    }
    return _table(columns, texts, vectors, table)


def changed_block(
    found: Sequence[Mapping[str, Any]],
    changes: Mapping[DocumentId, Metadata],
    sequence: int,
    step: int,
    table: Table,
) -> Any:
    """Return rows with keys put into their metadata, each with a new revision.

    Args:
        found: whole rows as they were read.
        changes: the keys for each.
        sequence: the new sequence of their tags.
        step: how much greater the new revisions are.
        table: the collection.
    """
    texts = [
        metadata_text(row["id"], {**decode_metadata(row["metadata"]), **changes[DocumentId(row["id"])]})
        for row in found
    ]
    columns: dict[str, list[Any]] = {name: [row[name] for row in found] for name in ("id", "text", "space", "content")}
    columns["sequence"] = [sequence] * len(found)
    columns["revision"] = [row["revision"] + step for row in found]
    vectors = np.array([row["vector"] for row in found], np.float32).reshape(len(found), table.dimensions)
    return _table(columns, texts, vectors, table)


def metadata_text(id: str, metadata: Metadata) -> str:
    """Return metadata as JSON that LanceDB gives back as the same values.

    Raises:
        StoreRejected: there is an integer in them that LanceDB would change.
        BadDocument: they are not JSON.
    """
    text = encode_metadata(id, metadata)
    if sum(map(str.isdigit, text)) >= _DIGITS and _has_huge_integer(metadata):
        raise StoreRejected(
            f"the metadata of document {id!r} have an integer of more than 64 bits, which LanceDB does not keep",
            "nothing of this call was written",
            "write it as a string, or as a float",
        )
    return text


def record_from(row: Mapping[str, Any]) -> Record:
    """Return the record of a row."""
    return Record(
        id=DocumentId(row["id"]),
        text=row.get("text", ""),
        metadata=decode_metadata(row["metadata"]),
        vector=np.array(row["vector"], np.float32),
        tag=_tag(row) or NO_TAG,
    )


def entry_from(row: Mapping[str, Any]) -> Entry:
    """Return the entry of a row, with a text if it was read."""
    metadata = decode_metadata(row["metadata"])
    return Entry(id=DocumentId(row["id"]), text=row.get("text"), metadata=metadata, tag=_tag(row))


def hit_from(row: Mapping[str, Any], metric: Metric) -> Hit:
    """Return the hit of a row with its distance."""
    distance = row["_distance"]
    return Hit(
        id=row["id"],
        score=-math.sqrt(max(distance, 0.0)) if metric is Metric.L2 else 1.0 - distance,
        text=row.get("text", ""),
        metadata=decode_metadata(row["metadata"]),
        tag=_tag(row),
    )


def tagging_block(entries: Sequence[Entry], table: Table) -> Any:
    """Return the tags of entries, with the texts that they are of, as a `pyarrow.Table` that can be merged."""
    import pyarrow as pa

    named = [(one, one.tag) for one in entries if is_tagged(one.tag)]
    values = {
        "id": [one.id for one, _ in named],
        "text": [one.text for one, _ in named],
        "space": [tag.space for _, tag in named],
        "content": [tag.content for _, tag in named],
        "sequence": [tag.sequence for _, tag in named],
        # A change of metadata that has read the row is made again.
        "revision": [secrets.randbits(62) for _ in named],
    }
    return pa.table(values, schema=pa.schema([table.schema.field(name).remove_metadata() for name in values]))


def _tag(row: Mapping[str, Any]) -> SpaceTag | None:
    if not row["space"]:
        return None
    return tag_from_stored(row["space"], row["content"], row["sequence"])


def _table(columns: dict[str, list[Any]], metadata: list[str], vectors: Any, table: Table) -> Any:
    import pyarrow as pa

    arrays = {
        **columns,
        "metadata": pa.ExtensionArray.from_storage(pa.json_(), pa.array(metadata, pa.string())),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), table.dimensions),
    }
    ours = pa.schema(
        [
            pa.field(field.name, pa.json_()) if field.name == "metadata" else field.remove_metadata()
            for field in table.schema
            if field.name in arrays
        ]
    )
    return pa.table(arrays, schema=ours)


def _has_huge_integer(value: object) -> bool:
    if isinstance(value, int):
        return not _LEAST <= value <= _MOST
    if isinstance(value, Mapping):
        return any(map(_has_huge_integer, value.values()))
    return isinstance(value, list | tuple) and any(map(_has_huge_integer, value))
