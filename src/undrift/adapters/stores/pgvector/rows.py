"""Records as values of PostgreSQL, and back."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np

from undrift.domain.record import (
    DocumentId,
    Entry,
    Hit,
    Metadata,
    Record,
    SpaceTag,
    Vector,
    Vectors,
    decode_metadata,
    encode_metadata,
)
from undrift.domain.record import tag_from_stored as tag_from
from undrift.domain.space import Metric
from undrift.errors import StoreRejected

#: Id, text, metadata, space, content and sequence of a record.
Row: TypeAlias = tuple[str, str, str, str, str, int]

#: From here on a float is written without a fraction, and would come back as an integer.
_WHOLE = 1e16
#: Bytes before the numbers of a vector: how many there are, and a reserved word.
_VECTOR_HEAD = 4


class Wire(bytes):
    """A value in PostgreSQL's binary form, of whatever type the statement casts it to."""


def encoded(records: Sequence[Record]) -> list[Row]:
    """Return records without their vectors as they are written.

    Raises:
        StoreRejected: two of them have the same id, or one has a NUL character, which PostgreSQL does not keep.
        BadDocument: the metadata of one is not JSON.
    """
    rows: list[Row] = [
        (
            record.id,
            record.text,
            metadata_text(record.id, record.metadata),
            record.tag.space,
            record.tag.content,
            record.tag.sequence,
        )
        for record in records
    ]
    if len({record.id for record in records}) != len(records):
        raise StoreRejected("one call has two records of the same id", "nothing of it was written")
    for record in records:
        if "\0" in record.text or "\0" in record.id:
            raise _nul("the text" if "\0" in record.text else "the id", record.id)
    return rows


def metadata_text(id: str, metadata: Metadata) -> str:
    """Return metadata as JSON that `jsonb` gives back as the same values.

    Raises:
        StoreRejected: there is a NUL character in them, which PostgreSQL does not keep.
        BadDocument: they are not JSON.
    """
    text = encode_metadata(id, metadata)
    if "\\u0000" in text and _has_nul(metadata):
        raise _nul("the metadata", id)
    # `jsonb` writes numbers without an exponent, and what has neither exponent nor point is read as an integer.
    return _with_whole_floats(metadata) if "e+" in text else text


def number_text(value: float) -> str:
    """Return a number as `jsonb` keeps its value and its type; a large float in all the digits that it has."""
    if isinstance(value, float) and abs(value) >= _WHOLE:
        return f"{Decimal(value):f}.0"
    return repr(value)


def packed_vectors(block: Vectors, *, element: int) -> Wire:
    """Return n vectors as one array in PostgreSQL's binary form.

    Args:
        block: float32, shape (n, d).
        element: the number under which the database knows the type `vector`.
    """
    count, dimensions = block.shape
    size = _VECTOR_HEAD + 4 * dimensions
    items = np.empty((count, 4 + size), np.uint8)
    items[:, :8] = np.frombuffer(struct.pack("!iHH", size, dimensions, 0), np.uint8)
    items[:, 8:] = block.astype(">f4").view(np.uint8).reshape(count, -1)
    return Wire(struct.pack("!iiIii", 1, 0, element, count, 1) + items.tobytes())


def packed_vector(vector: Vector) -> Wire:
    """Return a vector of shape (d,) in PostgreSQL's binary form."""
    return Wire(struct.pack("!HH", len(vector), 0) + vector.astype(">f4").tobytes())


def vector_from(stored: bytes) -> Vector:
    """Return a vector, float32 of shape (d,), from PostgreSQL's binary form."""
    return np.frombuffer(stored, dtype=">f4", offset=_VECTOR_HEAD).astype(np.float32)


def record_from(row: tuple[Any, ...]) -> Record:
    """Return the record of a row: `Table.selected`, text, vector; one that nobody tagged has an empty tag."""
    id, metadata, space, content, sequence, text, vector = row
    return Record(
        id=DocumentId(id),
        text=text or "",
        metadata=decode_metadata(metadata),
        vector=vector_from(vector),
        tag=tag_from(space or "", content or "", sequence or 0),
    )


def entry_from(row: tuple[Any, ...]) -> Entry:
    """Return the entry of a row: `Table.selected`, text or NULL."""
    id, metadata, space, content, sequence, text = row
    tag = _tag(space, content, sequence)
    return Entry(id=DocumentId(id), text=text, metadata=decode_metadata(metadata), tag=tag)


def hit_from(row: tuple[Any, ...], metric: Metric) -> Hit:
    """Return the hit of a row: `Table.selected`, text, distance."""
    id, metadata, space, content, sequence, text, distance = row
    return Hit(
        id=id,
        score=1.0 - distance if metric is Metric.COSINE else -distance,
        text=text or "",
        metadata=decode_metadata(metadata),
        tag=_tag(space, content, sequence),
    )


def _tag(space: str | None, content: str | None, sequence: int | None) -> SpaceTag | None:
    return None if space is None or content is None else tag_from(space, content, sequence or 0)


def _nul(what: str, id: str) -> StoreRejected:
    return StoreRejected(
        f"{what} of document {id!r} has a NUL character, which PostgreSQL does not keep",
        "nothing of this call was written",
        r"leave the character out: text.replace('\0', '')",
    )


def _has_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, Mapping):
        return any(_has_nul(part) for pair in value.items() for part in pair)
    return isinstance(value, list | tuple) and any(map(_has_nul, value))


def _with_whole_floats(value: object) -> str:
    if isinstance(value, Mapping):
        inside = (f"{json.dumps(key, ensure_ascii=False)}:{_with_whole_floats(part)}" for key, part in value.items())
        return f"{{{','.join(inside)}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_with_whole_floats, value))}]"
    if isinstance(value, float):
        return number_text(value)
    return json.dumps(value, ensure_ascii=False)
