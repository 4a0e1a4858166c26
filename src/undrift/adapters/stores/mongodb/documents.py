"""Records as documents of a collection, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from undrift.domain.record import (
    NO_TAG,
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
    is_tagged,
    tag_from_stored,
)
from undrift.domain.terms import words
from undrift.errors import StoreRejected
from undrift.ports.store import Part

ID, TEXT, METADATA, WORDS, TAGS = "_id", "text", "metadata", "filter_words", "tags"
#: Names that a vector cannot have.
TAKEN = frozenset({ID, TEXT, METADATA, WORDS, TAGS})
#: A document has at most 16 MiB, with everything that is in it.
MOST_BYTES = 16 * 1024 * 1024 - 16_384
MOST_TEXT, MOST_METADATA = 8 * 1024 * 1024, 3 * 1024 * 1024
#: What stands before the numbers of a vector of float32, as BSON keeps it.
_VECTOR_SUBTYPE, _FLOAT32 = 9, b"\x27\x00"


def shared(id: str, text: str, metadata: Metadata) -> dict[str, Any]:
    """Return the keys of a document that all its vectors share.

    Raises:
        StoreRejected: the text or the metadata are more than MongoDB keeps.
        BadDocument: the metadata are not JSON.
    """
    if len(text.encode()) > MOST_TEXT:
        raise _too_long("the text", id, MOST_TEXT)
    return {TEXT: text, **of_metadata(id, metadata)}


def of_metadata(id: str, metadata: Metadata) -> dict[str, Any]:
    """Return the keys of a document that its metadata are in.

    Raises:
        StoreRejected: they are more than MongoDB keeps.
        BadDocument: they are not JSON.
    """
    said = encode_metadata(id, metadata)
    if len(said.encode()) > MOST_METADATA:
        raise _too_long("the metadata", id, MOST_METADATA)
    return {METADATA: said, WORDS: words(metadata)}


def of_vector(name: str, vector: Vector, tag: SpaceTag) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the keys that a vector and its tag are in, and those that have to go."""
    at = f"{TAGS}.{name}"
    kept: dict[str, Any] = {name: binary(vector)}
    if not is_tagged(tag):
        return kept, {at: ""}
    return kept | {at: {"space": tag.space, "content": tag.content, "sequence": tag.sequence}}, {}


def require_room(id: str, document: Mapping[str, Any]) -> None:
    """Pass when a document is not larger than MongoDB keeps.

    Raises:
        StoreRejected: it is.
    """
    import bson

    if len(bson.encode({ID: id, **document})) > MOST_BYTES:
        raise _too_long("what is written", id, MOST_BYTES)


def binary(vector: Vector) -> Any:
    """Return a vector as BSON keeps it, bit for bit.

    Args:
        vector: float32, shape (d,).
    """
    from bson.binary import Binary

    return Binary(_FLOAT32 + vector.astype("<f4").tobytes(), _VECTOR_SUBTYPE)


def vector_from(stored: Any) -> Vector | None:
    """Return the vector of a document, None when there is none: float32, shape (d,)."""
    if isinstance(stored, bytes):
        if stored[:2] != _FLOAT32:
            return None
        return np.frombuffer(stored[2:], "<f4").astype(np.float32)
    return np.array(stored, np.float32) if isinstance(stored, list) and stored else None


def fields(name: str, parts: Part, *, with_vector: bool = False) -> dict[str, int]:
    """Return which keys of a document have to be read."""
    named = [METADATA, f"{TAGS}.{name}"]
    named += [TEXT] if Part.TEXT in parts else []
    return dict.fromkeys([*named, name] if with_vector else named, 1)


def metadata_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of a document."""
    return decode_metadata(document.get(METADATA) or "{}")


def record_from(name: str, document: Mapping[str, Any]) -> Record | None:
    """Return the record of a document; None when its vector is none of float32."""
    vector = vector_from(document.get(name))
    if vector is None:
        return None
    return Record(
        id=DocumentId(document[ID]),
        text=document.get(TEXT) or "",
        metadata=metadata_of(document),
        vector=vector,
        tag=tag_of(name, document) or NO_TAG,
    )


def entry_from(name: str, document: Mapping[str, Any], parts: Part) -> Entry:
    """Return the entry of a document."""
    text = (document.get(TEXT) or "") if Part.TEXT in parts else None
    return Entry(id=DocumentId(document[ID]), text=text, metadata=metadata_of(document), tag=tag_of(name, document))


def hit_from(name: str, document: Mapping[str, Any], score: float) -> Hit:
    """Return the hit of a document."""
    return Hit(
        id=document[ID],
        score=score,
        text=document.get(TEXT) or "",
        metadata=metadata_of(document),
        tag=tag_of(name, document),
    )


def tag_of(name: str, document: Mapping[str, Any]) -> SpaceTag | None:
    """Return the tag of one of the vectors of a document, None if it has none."""
    said = (document.get(TAGS) or {}).get(name) or {}
    if not said.get("space") or not said.get("content"):
        return None
    return tag_from_stored(said["space"], said["content"], int(said.get("sequence") or 0))


def written(records: Sequence[Record], block: Vectors, name: str) -> list[tuple[DocumentId, dict[str, Any]]]:
    """Return for each record what an update of it says.

    Args:
        records: n records.
        block: float32, shape (n, d), their vectors.
        name: of the vector.

    Raises:
        StoreRejected: one is too large.
    """
    made = []
    for record, row in zip(records, block, strict=True):
        kept, gone = of_vector(name, row, record.tag)
        kept = {**shared(record.id, record.text, record.metadata), **kept}
        require_room(record.id, kept)
        made.append((record.id, {"$set": kept, **({"$unset": gone} if gone else {})}))
    return made


def _too_long(what: str, id: str, most: int) -> StoreRejected:
    return StoreRejected(
        f"{what} of document {id!r} has more than {most} bytes, which is the most that MongoDB keeps",
        "nothing of this call was written",
        "split the document, or use another store",
    )
