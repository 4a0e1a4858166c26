"""Records as rows of SQLite, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from undrift.domain.record import DocumentId, Entry, Hit, Record, decode_metadata, encode_metadata, tag_from_stored
from undrift.domain.space import Metric
from undrift.errors import StoreRejected

#: The columns of a row without its text, in the order in which the functions below take them.
COLUMNS = "r.id, r.metadata, r.space, r.content, r.sequence"


#: Sequence, space, content, metadata and text of a record.
Row: TypeAlias = tuple[int, str, str, str, str]


def encoded(records: Sequence[Record]) -> dict[DocumentId, Row]:
    """Return records without their vectors as they are written.

    Raises:
        StoreRejected: two of them have the same id.
        BadDocument: the metadata of one is not JSON.
    """
    rows: dict[DocumentId, Row] = {
        record.id: (
            record.tag.sequence,
            record.tag.space,
            record.tag.content,
            encode_metadata(record.id, record.metadata),
            record.text,
        )
        for record in records
    }
    if len(rows) != len(records):
        raise StoreRejected("one call has two records of the same id", "nothing of it was written")
    return rows


def record_from(row: tuple[Any, ...]) -> Record:
    """Return the record of a row: `COLUMNS`, text, vector."""
    id, metadata, space, content, sequence, text, vector = row
    return Record(
        id=DocumentId(id),
        text=text,
        metadata=decode_metadata(metadata),
        vector=np.frombuffer(vector, dtype=np.float32).copy(),
        tag=tag_from_stored(space, content, sequence),
    )


def entry_from(row: tuple[Any, ...]) -> Entry:
    """Return the entry of a row: `COLUMNS`, text or NULL."""
    id, metadata, space, content, sequence, text = row
    return Entry(
        id=DocumentId(id),
        text=text,
        metadata=decode_metadata(metadata),
        tag=tag_from_stored(space, content, sequence),
    )


def hit_from(row: tuple[Any, ...], metric: Metric) -> Hit:
    """Return the hit of a row: `COLUMNS`, text, distance."""
    id, metadata, space, content, sequence, text, distance = row
    return Hit(
        id=id,
        score=1.0 - distance if metric is Metric.COSINE else -distance,
        text=text,
        metadata=decode_metadata(metadata),
        tag=tag_from_stored(space, content, sequence),
    )
