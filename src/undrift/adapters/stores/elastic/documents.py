"""Records as documents of an index, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from undrift.adapters.stores.elastic import foreign
from undrift.adapters.stores.elastic.places import ID, OWN_PLACES, WORDS, Places
from undrift.domain.record import (
    NO_TAG,
    DocumentId,
    Entry,
    Hit,
    Record,
    SpaceTag,
    Vectors,
    decode_metadata,
    encode_metadata,
    tag_from_stored,
)
from undrift.domain.shape import NO_TEXT
from undrift.domain.terms import words
from undrift.ports.store import Part

_SPACE, _CONTENT, _SEQUENCE = TAG = ("space", "content", "sequence")


def properties(vector: Mapping[str, Any]) -> dict[str, Any]:
    """Return the mapping of an index; what is not named is kept and not indexed."""
    places = OWN_PLACES
    return {
        ID: {"type": "keyword"},
        # Not for undrift, but for whoever searches by words too.
        places.text: {"type": "text"},
        WORDS: {"type": "keyword"},
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
        source = _own_source(places, record) if places.shape is None else foreign.source(places, record)
        # Nine digits are all that a float32 has; Python would write seventeen. What has no point is an integer in
        # JSON, and no integer is minus nothing.
        vector = ",".join([f"{value:.9g}" if value else str(value) for value in row])
        body = f'{_text(source)[:-1]},"{places.vector}":[{vector}]}}'
        made.append(f"{_text({action: {'_id': record.id}})}\n{body}\n".encode())
    return made


def change(
    places: Places, id: DocumentId, changes: Mapping[str, Any], *, sequence: int, at: Mapping[str, Any]
) -> bytes:
    """Return what a bulk request says of a document whose metadata change, for the version of it that was read.

    Args:
        places: of their parts.
        id: the document's.
        changes: keys that are put into its metadata.
        sequence: the tag's.
        at: the document as it was read, with its version.
    """
    action = {"update": {"_id": id, "if_seq_no": at["_seq_no"], "if_primary_term": at["_primary_term"]}}
    if places.shape is None:
        merged = {**metadata_of(places, at["_source"]), **changes}
        said: dict[str, Any] = {"doc": {**_of_metadata(places, id, merged), _SEQUENCE: sequence}}
    else:
        said = {"script": foreign.change(places, id, at["_source"], changes, sequence=sequence)}
    return f"{_text(action)}\n{_text(said)}\n".encode()


def tagging(places: Places, id: DocumentId, tag: SpaceTag, *, at: Mapping[str, Any]) -> bytes:
    """Return what a bulk request says of a document that gets a tag, for the version of it that was read."""
    action = {"update": {"_id": id, "if_seq_no": at["_seq_no"], "if_primary_term": at["_primary_term"]}}
    names = TAG if places.shape is None else foreign.TAG
    said = dict(zip(names, (tag.space, tag.content, tag.sequence), strict=True))
    return f"{_text(action)}\n{_text({'doc': said})}\n".encode()


def deletion(id: DocumentId, at: Mapping[str, Any] | None = None) -> bytes:
    """Return what a bulk request says of a document to be deleted; of one version of it only, if one is given."""
    version = {} if at is None else {"if_seq_no": at["_seq_no"], "if_primary_term": at["_primary_term"]}
    return f"{_text({'delete': {'_id': id, **version}})}\n".encode()


def fields(places: Places, parts: Part, *, with_vector: bool = False) -> list[str]:
    """Return which keys of a document have to be read."""
    if places.shape is not None:
        return foreign.fields(places, with_text=Part.TEXT in parts, with_vector=with_vector)
    named = [ID, places.metadata, *TAG]
    if Part.TEXT in parts:
        named.append(places.text)
    return [*named, places.vector] if with_vector else named


def metadata_fields(places: Places) -> list[str]:
    """Return which keys of a document have to be read for its metadata."""
    return [places.metadata] if places.shape is None else foreign.fields(places, with_text=False, with_vector=False)


def text_of(places: Places, source: Mapping[str, Any]) -> str | None:
    """Return the text of a document, None when it is elsewhere."""
    return None if places.text == NO_TEXT else str(source.get(places.text) or "")


def metadata_of(places: Places, source: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of a document."""
    if places.shape is not None:
        return foreign.metadata(places, source)
    return decode_metadata(source.get(places.metadata) or "{}")


def record_from(places: Places, id: str, source: Mapping[str, Any]) -> Record | None:
    """Return the record of a document; None when it has no vector, which no record of undrift lacks."""
    vector = source.get(places.vector)
    if vector is None:
        return None
    return Record(
        id=DocumentId(id),
        text=text_of(places, source) or "",
        metadata=metadata_of(places, source),
        vector=np.array(vector, np.float32),
        tag=_tag(places, source) or NO_TAG,
    )


def entry_from(places: Places, id: str, source: Mapping[str, Any], parts: Part) -> Entry:
    """Return the entry of a document."""
    text = text_of(places, source) if Part.TEXT in parts else None
    return Entry(id=DocumentId(id), text=text, metadata=metadata_of(places, source), tag=_tag(places, source))


def hit_from(places: Places, id: str, source: Mapping[str, Any], score: float) -> Hit:
    """Return the hit of a document."""
    return Hit(
        id=id,
        score=score,
        text=text_of(places, source) or "",
        metadata=metadata_of(places, source),
        tag=_tag(places, source),
    )


def _own_source(places: Places, record: Record) -> dict[str, Any]:
    return {
        ID: record.id,
        places.text: record.text,
        **_of_metadata(places, record.id, record.metadata),
        _SPACE: record.tag.space,
        _CONTENT: record.tag.content,
        _SEQUENCE: record.tag.sequence,
    }


def _of_metadata(places: Places, id: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {places.metadata: encode_metadata(id, metadata), WORDS: words(metadata)}


def _tag(places: Places, source: Mapping[str, Any]) -> SpaceTag | None:
    names = TAG if places.shape is None else foreign.TAG
    space, content, sequence = (source.get(name) for name in names)
    if not space or not content:
        return None
    return tag_from_stored(str(space), str(content), int(sequence or 0))


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
