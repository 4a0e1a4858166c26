"""Records of undrift's own collections as Chroma keeps them.

Chroma has no write that replaces a record's metadata: every write is merged into what is there, key by key, in the
order in which it arrives. So that records are replaced whole all the same, and changes of metadata are never lost:

- A whole write has all metadata in one key, as JSON, and a new mark of its generation. What it leaves behind of older
  generations is not read any more; it says what it knows to be left over, too, so that it is deleted.
- A change of metadata adds keys that carry the generation it was made for, one for each key that it changes. When
  another whole write was faster, they belong to no generation and count for nothing: the change came before it.
- Scalars stand beside that as they are, for filters and for other programs. A filter may find too much by them, and
  never too little: a record whose key was changed since is marked for that key. What is found is looked at again.
- A vector is read from another place than its metadata, a moment later. The metadata have a hash of it, so that the
  two are known to belong together.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np

from undrift.adapters.stores.chroma.flat import OURS, Flat, flattened, is_key, sought
from undrift.domain.record import (
    Metadata,
    Record,
    SpaceTag,
    Vector,
    Vectors,
    decode_metadata,
    encode_metadata,
    tag_from_stored,
)
from undrift.domain.space import Metric

SPACE, CONTENT, SEQUENCE = f"{OURS}space", f"{OURS}content", f"{OURS}sequence"
_GENERATION, _METADATA = f"{OURS}generation", f"{OURS}metadata"
#: Hash of the vector as it was sent, and the vector itself where another one was sent in its place.
_HASH, _VECTOR = f"{OURS}vector_hash", f"{OURS}vector"
#: Followed by a generation, and by a generation and a key.
_CHANGED_SEQUENCE, _CHANGED = f"{OURS}changed_sequence:", f"{OURS}changed:"
#: Followed by a key that was changed in some generation.
CHANGED_KEY = f"{OURS}has_changed:"
#: A vector of this much more or less than length 1 is compared as it is.
_UNIT = 1e-6


def encoded(records: Sequence[Record], *, tagged: bool) -> list[Flat]:
    """Return the metadata of records as a whole write has them.

    Args:
        records: the records.
        tagged: whether the tag is kept beside the vector.

    Raises:
        BadDocument: the metadata of one is not JSON.
    """
    generation = os.urandom(8).hex()
    return [
        {
            **flattened(record.metadata),
            _GENERATION: generation,
            _METADATA: encode_metadata(record.id, record.metadata),
            **(_tag(record.tag) if tagged else {}),
        }
        for record in records
    ]


def sent_vectors(block: Vectors, rows: list[Flat], metric: Metric) -> Vectors:
    """Return vectors as they are sent, and say in their rows what they are known by.

    Chroma gives back the vectors that it searches by the cosine with other last bits. It gets them with length 1, and
    to be searched by distance, which puts them in the same order; those of another length are kept a second time.

    Args:
        block: float32, shape (n, d).
        rows: the metadata of the n records.
        metric: of the field.

    Returns:
        float32, shape (n, d).
    """
    sent = block
    if metric is Metric.COSINE and len(block):
        wide = block.astype(np.float64)
        lengths = np.linalg.norm(wide, axis=1, keepdims=True)
        off = np.abs(lengths[:, 0] - 1) > _UNIT
        if off.any():
            sent = np.where(off[:, None], wide / lengths, block).astype(np.float32)
        for at in np.flatnonzero(off):
            rows[at][_VECTOR] = base64.b64encode(block[at].astype("<f4").tobytes()).decode()
    for row, vector in zip(rows, sent, strict=True):
        row[_HASH] = _hash(vector)
    return sent


def change(stored: Mapping[str, Any], changes: Metadata, *, sequence: int, id: str) -> Flat:
    """Return the keys that a change of metadata adds to a record of a generation.

    Raises:
        BadDocument: a value is not JSON.
    """
    encode_metadata(id, changes)
    generation = stored.get(_GENERATION)
    if generation is None:
        # Another program wrote it, and it has only what Chroma keeps.
        return {**{key: sought(value) for key, value in changes.items() if is_key(key)}, SEQUENCE: sequence}
    added: Flat = {f"{_CHANGED_SEQUENCE}{generation}": sequence}
    for key, value in changes.items():
        added[f"{_CHANGED}{generation}:{key}"] = json.dumps(value, ensure_ascii=False)
        if is_key(key):
            added[f"{CHANGED_KEY}{key}"] = True
            added[key] = sought(value)
    return added


def metadata_from(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of a record, with the changes of its generation."""
    if _METADATA not in stored:
        return {key: value for key, value in stored.items() if not key.startswith(OURS)}
    metadata = decode_metadata(stored[_METADATA])
    changed = f"{_CHANGED}{stored.get(_GENERATION)}:"
    for key, value in stored.items():
        if key.startswith(changed):
            metadata[key.removeprefix(changed)] = json.loads(value)
    return metadata


def tag_of(stored: Mapping[str, Any]) -> SpaceTag | None:
    """Return the tag of a record, None if it has none."""
    if SPACE not in stored or CONTENT not in stored:
        return None
    changed = stored.get(f"{_CHANGED_SEQUENCE}{stored.get(_GENERATION)}")
    return tag_from_stored(
        str(stored[SPACE]), str(stored[CONTENT]), int(stored.get(SEQUENCE, 0) if changed is None else changed)
    )


def vector_from(stored: Mapping[str, Any], embedding: Any) -> Vector | None:
    """Return the vector of a record, or None when it is not the one that its metadata were written with.

    Args:
        stored: the metadata as Chroma has them.
        embedding: what Chroma gave back as the vector, d numbers.
    """
    vector = np.asarray(embedding, dtype=np.float32)
    if stored.get(_HASH, (found := _hash(vector))) != found:
        return None
    kept = stored.get(_VECTOR)
    if kept is not None:
        return np.frombuffer(base64.b64decode(kept), dtype="<f4").astype(np.float32)
    return vector


def _tag(tag: SpaceTag) -> Flat:
    return {SPACE: tag.space, CONTENT: tag.content, SEQUENCE: tag.sequence}


def _hash(vector: Vector) -> str:
    return blake2b(np.ascontiguousarray(vector, dtype="<f4").tobytes(), digest_size=8).hexdigest()
