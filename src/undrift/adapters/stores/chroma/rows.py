"""Records of undrift's own collections as Chroma keeps them.

Chroma has no write that replaces a record's metadata: every write is merged into what is there, key by key, in the
order in which it arrives. So that records are replaced whole all the same, and changes of metadata are never lost:

- A whole write has tag and metadata in one key, as JSON, with a new mark of its generation. What it leaves behind of
  older generations is not read any more; it says what it knows to be left over, too, so that it is deleted. (It is one
  key because each costs Chroma a row in a table with three indexes.)
- A change of metadata adds keys that carry the generation it was made for, one for each key that it changes. When
  another whole write was faster, they belong to no generation and count for nothing: the change came before it.
- Scalars stand beside that as they are, for filters and for other programs. A filter may find too much by them, and
  never too little: a record whose key was changed since is marked for that key. What is found is looked at again.
- A vector is read from another place than its metadata, a moment later. The JSON has a hash of it, so that the two are
  known to belong together.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    encode_metadata,
    tag_from_stored,
)
from undrift.domain.space import Metric

#: The one key of a whole write, and the keys in its JSON.
_RECORD = f"{OURS}record"
_GENERATION, _METADATA, _TAG, _HASH, _VECTOR = "generation", "metadata", "tag", "vector_hash", "vector"
#: Followed by a generation, and by a generation and a key.
_CHANGED_SEQUENCE, _CHANGED = f"{OURS}changed_sequence:", f"{OURS}changed:"
#: Followed by a key that was changed in some generation.
CHANGED_KEY = f"{OURS}has_changed:"
#: A vector of this much more or less than length 1 is compared as it is.
_UNIT = 1e-6


def encoded(records: Sequence[Record], block: Vectors, *, metric: Metric, tagged: bool) -> tuple[list[Flat], Vectors]:
    """Return the metadata and the vectors of records as a whole write has them.

    Chroma gives back the vectors that it searches by the cosine with other last bits. It gets them with length 1, and
    to be searched by distance, which puts them in the same order; those of another length are kept a second time.

    Args:
        records: n records.
        block: their vectors: float32, shape (n, d).
        metric: of the field.
        tagged: whether the tag is kept beside the vector.

    Returns:
        The metadata of each, and the vectors as they are sent: float32, shape (n, d).

    Raises:
        BadDocument: the metadata of one is not JSON.
    """
    generation = os.urandom(8).hex()
    sent, off = _sent(block, metric)
    return [
        {
            **flattened(record.metadata),
            _RECORD: _whole(
                encode_metadata(record.id, record.metadata),
                {
                    _GENERATION: generation,
                    _HASH: _hash(sent[at]),
                    **({_TAG: _packed(record.tag)} if tagged else {}),
                    **({_VECTOR: base64.b64encode(block[at].astype("<f4").tobytes()).decode()} if off[at] else {}),
                },
            ),
        }
        for at, record in enumerate(records)
    ], sent


def change(stored: Mapping[str, Any], changes: Metadata, *, sequence: int, id: str) -> Flat:
    """Return the keys that a change of metadata adds to a record of a generation.

    Raises:
        BadDocument: a value is not JSON.
    """
    encode_metadata(id, changes)
    if _RECORD not in stored:
        # Another program wrote it, and it has only what Chroma keeps.
        return {key: sought(value) for key, value in changes.items() if is_key(key)}
    generation = json.loads(stored[_RECORD])[_GENERATION]
    added: Flat = {f"{_CHANGED_SEQUENCE}{generation}": sequence}
    for key, value in changes.items():
        added[f"{_CHANGED}{generation}:{key}"] = json.dumps(value, ensure_ascii=False)
        if is_key(key):
            added[f"{CHANGED_KEY}{key}"] = True
            added[key] = sought(value)
    return added


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What the metadata of a record say.

    Attributes:
        metadata: its metadata, with the changes of its generation.
        tag: its tag, None if it has none.
        vector_hash: of the vector that was sent with it; empty if another program wrote it.
        vector: the vector, where another one was sent in its place; empty otherwise.
    """

    metadata: dict[str, Any]
    tag: SpaceTag | None = None
    vector_hash: str = ""
    vector: str = ""

    def vector_from(self, embedding: Any) -> Vector | None:
        """Return the vector of the record, or None when Chroma's is not the one that was written with it.

        Args:
            embedding: what Chroma gave back as the vector, d numbers.
        """
        vector = np.asarray(embedding, dtype=np.float32)
        if self.vector_hash and self.vector_hash != _hash(vector):
            return None
        return np.frombuffer(base64.b64decode(self.vector), dtype="<f4").astype(np.float32) if self.vector else vector


def decoded(stored: Mapping[str, Any]) -> Row:
    """Return what the metadata of a record say, whoever wrote it."""
    if _RECORD not in stored:
        return Row(metadata={key: value for key, value in stored.items() if not key.startswith(OURS)})
    whole = json.loads(stored[_RECORD])
    metadata: dict[str, Any] = whole[_METADATA]
    changed = f"{_CHANGED}{whole[_GENERATION]}:"
    for key, value in stored.items():
        if key.startswith(changed):
            metadata[key.removeprefix(changed)] = json.loads(value)
    tag = None
    if _TAG in whole:
        space, content, sequence = whole[_TAG]
        tag = tag_from_stored(space, content, stored.get(f"{_CHANGED_SEQUENCE}{whole[_GENERATION]}", sequence))
    return Row(metadata=metadata, tag=tag, vector_hash=whole[_HASH], vector=whole.get(_VECTOR, ""))


def _sent(block: Vectors, metric: Metric) -> tuple[Vectors, Any]:
    """Return vectors as they are sent, and for each whether it is another one."""
    if metric is not Metric.COSINE:
        return block, np.zeros(len(block), bool)
    wide = block.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1)
    off = np.abs(lengths - 1) > _UNIT
    return np.where(off[:, None], wide / lengths[:, None], block).astype(np.float32), off


def _whole(metadata: str, more: dict[str, Any]) -> str:
    """Return JSON with metadata that are JSON already."""
    return f'{json.dumps(more)[:-1]}, "{_METADATA}": {metadata}}}'


def _packed(tag: SpaceTag) -> list[Any]:
    return [tag.space, tag.content, tag.sequence]


def _hash(vector: Vector) -> str:
    return blake2b(np.ascontiguousarray(vector, dtype="<f4").tobytes(), digest_size=8).hexdigest()
