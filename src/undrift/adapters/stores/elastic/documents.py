"""Records as documents of an index, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from undrift.domain.record import (
    DocumentId,
    Entry,
    Hit,
    Record,
    SpaceTag,
    Vector,
    Vectors,
    decode_metadata,
    encode_metadata,
    tag_from_stored,
)
from undrift.domain.terms import words
from undrift.ports.store import Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The keys of a document under which the parts of a record are.

    Attributes:
        id: the id once more, because an index does not order by its own.
        text: the text.
        metadata: all metadata, as one JSON text: exact, of any depth, and without a type for every key.
        words: what `domain.terms` makes of the metadata, for filters.
        vector: the vector.
    """

    id: str
    text: str
    metadata: str
    words: str
    vector: str


OWN_PLACES = Places(id="id", text="text", metadata="metadata", words="filter_words", vector="embedding")
_SPACE, _CONTENT, _SEQUENCE = "space", "content", "sequence"


def properties(vector: Mapping[str, Any]) -> dict[str, Any]:
    """Return the mapping of an index; what is not named is kept and not indexed."""
    places = OWN_PLACES
    return {
        places.id: {"type": "keyword"},
        # Not for undrift, but for whoever searches by words too.
        places.text: {"type": "text"},
        places.words: {"type": "keyword"},
        _SPACE: {"type": "keyword"},
        _SEQUENCE: {"type": "long"},
        places.vector: dict(vector),
    }


def lines(places: Places, records: Sequence[Record], block: Vectors, action: str) -> list[bytes]:
    """Return what a bulk request says of records: two lines each.

    Args:
        places: of their parts.
        records: n records.
        block: float32, shape (n, d), their vectors.
        action: `index` replaces what is there, `create` does not.
    """
    made = []
    for record, row in zip(records, block.tolist(), strict=True):
        source = {
            places.id: record.id,
            places.text: record.text,
            **_of_metadata(places, record.id, record.metadata),
            _SPACE: record.tag.space,
            _CONTENT: record.tag.content,
            _SEQUENCE: record.tag.sequence,
        }
        # Nine digits are all that a float32 has; Python would write seventeen. What has no point is an integer in
        # JSON, and no integer is minus nothing.
        vector = ",".join([f"{value:.9g}" if value else str(value) for value in row])
        body = f'{_text(source)[:-1]},"{places.vector}":[{vector}]}}'
        made.append(f"{_text({action: {'_id': record.id}})}\n{body}\n".encode())
    return made


def change(
    places: Places, id: DocumentId, metadata: Mapping[str, Any], *, sequence: int, at: Mapping[str, Any]
) -> bytes:
    """Return what a bulk request says of a document's new metadata, for the version of it that was read."""
    action = {"update": {"_id": id, "if_seq_no": at["_seq_no"], "if_primary_term": at["_primary_term"]}}
    return f"{_text(action)}\n{_text({'doc': {**_of_metadata(places, id, metadata), _SEQUENCE: sequence}})}\n".encode()


def deletion(id: DocumentId, at: Mapping[str, Any] | None = None) -> bytes:
    """Return what a bulk request says of a document to be deleted; of one version of it only, if one is given."""
    version = {} if at is None else {"if_seq_no": at["_seq_no"], "if_primary_term": at["_primary_term"]}
    return f"{_text({'delete': {'_id': id, **version}})}\n".encode()


def fields(places: Places, parts: Part, *, with_vector: bool = False) -> list[str]:
    """Return which keys of a document have to be read."""
    named = [places.id, places.metadata, _SPACE, _CONTENT, _SEQUENCE]
    if Part.TEXT in parts:
        named.append(places.text)
    return [*named, places.vector] if with_vector else named


def metadata_of(places: Places, source: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of a document."""
    return decode_metadata(source.get(places.metadata) or "{}")


def record_from(places: Places, id: str, source: Mapping[str, Any]) -> Record | None:
    """Return the record of a document; None when it has no vector, which no record of undrift lacks."""
    vector = source.get(places.vector)
    if vector is None:
        return None
    tag = _tag(source) or tag_from_stored("", "", 0)
    return Record(
        id=DocumentId(id),
        text=source.get(places.text) or "",
        metadata=metadata_of(places, source),
        vector=_vector(vector),
        tag=tag,
    )


def entry_from(places: Places, id: str, source: Mapping[str, Any], parts: Part) -> Entry:
    """Return the entry of a document."""
    text = (source.get(places.text) or "") if Part.TEXT in parts else None
    return Entry(id=DocumentId(id), text=text, metadata=metadata_of(places, source), tag=_tag(source))


def hit_from(places: Places, id: str, source: Mapping[str, Any], score: float) -> Hit:
    """Return the hit of a document."""
    return Hit(
        id=id,
        score=score,
        text=source.get(places.text) or "",
        metadata=metadata_of(places, source),
        tag=_tag(source),
    )


def _of_metadata(places: Places, id: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {places.metadata: encode_metadata(id, metadata), places.words: words(metadata)}


def _tag(source: Mapping[str, Any]) -> SpaceTag | None:
    space, content = source.get(_SPACE), source.get(_CONTENT)
    if not isinstance(space, str) or not isinstance(content, str):
        return None
    return tag_from_stored(space, content, int(source.get(_SEQUENCE) or 0))


def _vector(stored: Sequence[float]) -> Vector:
    return np.array(stored, np.float32)


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
