"""Records as hashes, and back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from undrift.domain.record import (
    NO_TAG,
    DocumentId,
    Entry,
    Hit,
    Record,
    Vector,
    decode_metadata,
    encode_metadata,
    tag_from_stored,
)
from undrift.domain.terms import words
from undrift.ports.store import Part

#: What is always read: metadata and tag; the text and the vector stand behind them, if they are read.
_ALWAYS = ("metadata", "space", "content", "sequence")


def fields(parts: Part, *, with_vector: bool = False) -> list[str]:
    """Return which fields of a hash have to be read."""
    return [*_ALWAYS, *(["text"] if Part.TEXT in parts else []), *(["vector"] if with_vector else [])]


def pairs(record: Record, vector: Vector) -> list[Any]:
    """Return names and values of a record's fields."""
    return [
        *("text", record.text),
        *metadata_pairs(record.id, record.metadata),
        *("space", record.tag.space, "content", record.tag.content, "sequence", record.tag.sequence),
        *("vector", vector.astype("<f4").tobytes()),
    ]


def metadata_pairs(id: str, metadata: Mapping[str, Any]) -> list[Any]:
    """Return names and values of the fields that say what the metadata are."""
    return [
        *("metadata", encode_metadata(id, metadata)),
        *("words", ",".join(shortened(word) for word in words(metadata))),
    ]


def shortened(word: str) -> str:
    """Return a word as a tag: of letters and digits that need no escape, and short."""
    return hashlib.sha256(word.encode()).hexdigest()[:24]


def metadata_of(row: Sequence[Any]) -> dict[str, Any]:
    """Return the metadata of a row as `fields` reads it."""
    return decode_metadata((row[0] or b"{}").decode())


def record_from(id: str, row: Sequence[Any]) -> Record | None:
    """Return the record of a row with text and vector; None when it has no vector."""
    if row[5] is None:
        return None
    entry = entry_from(id, row, Part.TEXT)
    tag = entry.tag or NO_TAG
    return Record(id=entry.id, text=entry.text or "", metadata=entry.metadata, vector=vector_of(row), tag=tag)


def vector_of(row: Sequence[Any]) -> Vector:
    """Return the vector of a row with text and vector: float32, shape (d,)."""
    return np.frombuffer(row[5], "<f4").astype(np.float32)


def entry_from(id: str, row: Sequence[Any], parts: Part) -> Entry:
    """Return the entry of a row."""
    metadata, space, content, sequence, *text = row
    has_tag = bool(space) and bool(content)
    return Entry(
        id=DocumentId(id),
        text=(text[0] or b"").decode() if Part.TEXT in parts else None,
        metadata=decode_metadata((metadata or b"{}").decode()),
        tag=tag_from_stored(space.decode(), content.decode(), int(sequence or 0)) if has_tag else None,
    )


def hit_from(id: str, row: Sequence[Any], score: float) -> Hit:
    """Return the hit of a row with text."""
    entry = entry_from(id, row, Part.TEXT)
    return Hit(id=id, score=score, text=entry.text or "", metadata=entry.metadata, tag=entry.tag)
