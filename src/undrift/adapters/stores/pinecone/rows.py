"""Records as vectors of Pinecone, and back."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from undrift.domain.record import (
    DocumentId,
    Entry,
    Hit,
    Record,
    SpaceTag,
    Vector,
    decode_metadata,
    encode_metadata,
    is_tagged,
    tag_from_stored,
)
from undrift.domain.terms import words
from undrift.errors import StoreRejected
from undrift.ports.store import Part

#: What a text, and metadata as JSON, may have in bytes: Pinecone keeps 40 KB of both together with everything else, and
#: what has to be escaped in JSON takes more room there than here.
MAX_TEXT_BYTES, MAX_METADATA_BYTES = 16_000, 8_000
_MOST_BYTES = 40_000
#: Ids that Pinecone takes as they are; others are called by their hash, and stand in the metadata only.
_PLAIN = re.compile(r"[A-Za-z0-9_.:/@ -]{1,200}")
_HASHED = "~"
#: Stands among the words of a record that has none: a list without values cannot take the place of one with some.
_NO_WORD = "-"


def key_of(id: str) -> str:
    """Return what a record is called in Pinecone, whose ids are of ASCII."""
    return id if _PLAIN.fullmatch(id) else _HASHED + hashlib.sha256(id.encode()).hexdigest()


def plain_id(key: str) -> DocumentId | None:
    """Return the id that a record of this name has, or None when only its metadata say."""
    return None if key.startswith(_HASHED) else DocumentId(key)


def shortened(word: str) -> str:
    """Return a word as a value that is short."""
    return hashlib.sha256(word.encode()).hexdigest()[:24]


def described(id: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys that say what the metadata are.

    Raises:
        StoreRejected: they are more than Pinecone keeps.
        BadDocument: they are not JSON.
    """
    text = encode_metadata(id, metadata)
    if len(text.encode()) > MAX_METADATA_BYTES:
        raise _too_large(id, "metadata", MAX_METADATA_BYTES)
    return {"metadata": text, "words": [shortened(word) for word in words(metadata)] or [_NO_WORD]}


def row_of(record: Record, vector: Vector) -> dict[str, Any]:
    """Return a record as a request has it.

    Args:
        record: the record.
        vector: its vector: float32, shape (d,).

    Raises:
        StoreRejected: it has more than Pinecone keeps.
        BadDocument: its metadata are not JSON.
    """
    if len(record.text.encode()) > MAX_TEXT_BYTES:
        raise _too_large(record.id, "a text", MAX_TEXT_BYTES)
    kept = {
        "doc_id": record.id,
        "text": record.text,
        **described(record.id, record.metadata),
        "space": record.tag.space,
        "content": record.tag.content,
        "sequence": record.tag.sequence,
    }
    if len(json.dumps(kept, ensure_ascii=False).encode()) > _MOST_BYTES:
        raise _too_large(record.id, "text and metadata together", _MOST_BYTES)
    return {"id": key_of(record.id), "values": vector.astype(np.float64).tolist(), "metadata": kept}


def id_of(found: Any) -> DocumentId:
    """Return the id of a vector that was found."""
    return DocumentId(str(_said(found, "doc_id") or found.id))


def metadata_of(found: Any) -> dict[str, Any]:
    """Return the metadata of a vector that was found."""
    return decode_metadata(str(_said(found, "metadata") or "{}"))


def vector_of(found: Any) -> Vector:
    """Return the vector of what was found: float32, shape (d,)."""
    return np.array(found.values, np.float64).astype(np.float32)


def record_from(found: Any) -> Record:
    """Return the record of a vector that was found."""
    return Record(
        id=id_of(found),
        text=str(_said(found, "text") or ""),
        metadata=metadata_of(found),
        vector=vector_of(found),
        tag=_tag(found),
    )


def entry_from(found: Any, parts: Part) -> Entry:
    """Return the entry of a vector that was found."""
    tag = _tag(found)
    return Entry(
        id=id_of(found),
        text=str(_said(found, "text") or "") if Part.TEXT in parts else None,
        metadata=metadata_of(found),
        tag=tag if is_tagged(tag) else None,
    )


def hit_from(found: Any, score: float) -> Hit:
    """Return the hit of a vector that was found."""
    entry = entry_from(found, Part.TEXT)
    return Hit(id=entry.id, score=score, text=entry.text or "", metadata=entry.metadata, tag=entry.tag)


def _tag(found: Any) -> SpaceTag:
    space, content = str(_said(found, "space") or ""), str(_said(found, "content") or "")
    # Numbers come back as fractions.
    return tag_from_stored(space, content, int(_said(found, "sequence") or 0))


def _said(found: Any, key: str) -> Any:
    """Return a value of what was found, which somebody else may have written without it."""
    return (found.metadata or {}).get(key)


def _too_large(id: str, what: str, most: int) -> StoreRejected:
    return StoreRejected(
        f"document {id!r} has {what} of more than {most} bytes, which Pinecone does not keep",
        "nothing of this call was written",
        "split the document, or use another store",
    )
