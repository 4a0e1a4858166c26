"""Records as objects of Weaviate, and back."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from undrift.adapters.stores.weaviate.collections import VECTOR
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
from undrift.ports.store import Part

#: The properties that are always read.
_ALWAYS = ("doc_id", "metadata", "space", "content", "sequence")


def key_of(id: str) -> str:
    """Return the UUID that stands for an id: the one that `generate_uuid5` of the vendor's client makes of it."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, id))


def properties(parts: Part) -> list[str]:
    """Return which properties of an object have to be read."""
    return [*_ALWAYS, *(["text"] if Part.TEXT in parts else [])]


def shortened(word: str) -> str:
    """Return a word as a value that Weaviate takes as it is: it trims white space off what it indexes."""
    return hashlib.sha256(word.encode()).hexdigest()[:24]


def described(id: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties that say what the metadata are."""
    return {
        "metadata": encode_metadata(id, metadata),
        "filter_words": [shortened(word) for word in words(metadata)],
    }


def object_of(record: Record, vector: Vector, collection: str) -> Any:
    """Return a record as the message that a batch has of it.

    Args:
        record: the record.
        vector: its vector: float32, shape (d,).
        collection: what Weaviate calls the collection.
    """
    from weaviate.proto.v1 import base_pb2, batch_pb2

    said = described(record.id, record.metadata)
    made = batch_pb2.BatchObject(collection=collection, uuid=key_of(record.id))
    made.properties.non_ref_properties.update(
        {
            "doc_id": record.id,
            "text": record.text,
            "metadata": said["metadata"],
            "space": record.tag.space,
            "content": record.tag.content,
            "sequence": record.tag.sequence,
        }
    )
    if said["filter_words"]:
        made.properties.text_array_properties.add(prop_name="filter_words", values=said["filter_words"])
    else:
        made.properties.empty_list_props.append("filter_words")
    single = base_pb2.Vectors.VECTOR_TYPE_SINGLE_FP32
    made.vectors.add(name=VECTOR, vector_bytes=vector.astype("<f4").tobytes(), type=single)
    return made


def id_of(result: Any) -> DocumentId:
    """Return the id of an object that was found."""
    # Somebody else may have written an object without it.
    return DocumentId(_text(_values(result), "doc_id") or str(uuid.UUID(bytes=result.metadata.id_as_bytes)))


def metadata_of(result: Any) -> dict[str, Any]:
    """Return the metadata of an object that was found."""
    return decode_metadata(_text(_values(result), "metadata") or "{}")


def entry_from(result: Any, parts: Part) -> Entry:
    """Return the entry of an object that was found."""
    values = _values(result)
    tag = _tag(values)
    return Entry(
        id=id_of(result),
        text=_text(values, "text") if Part.TEXT in parts else None,
        metadata=metadata_of(result),
        tag=tag if is_tagged(tag) else None,
    )


def record_from(result: Any) -> Record | None:
    """Return the record of an object that was found with text and vector; None when it has no vector."""
    vector = vector_of(result)
    if vector is None:
        return None
    values = _values(result)
    return Record(
        id=id_of(result),
        text=_text(values, "text"),
        metadata=metadata_of(result),
        vector=vector,
        tag=_tag(values),
    )


def hit_from(result: Any, score: float) -> Hit:
    """Return the hit of an object that was found with its text."""
    entry = entry_from(result, Part.TEXT)
    return Hit(id=entry.id, score=score, text=entry.text or "", metadata=entry.metadata, tag=entry.tag)


def vector_of(result: Any) -> Vector | None:
    """Return the vector of an object that was found: float32, shape (d,)."""
    found: Iterable[Any] = result.metadata.vectors
    for one in found:
        if one.name == VECTOR:
            return np.frombuffer(one.vector_bytes, "<f4").astype(np.float32)
    return None


def _values(result: Any) -> Any:
    return result.properties.non_ref_props.fields


def _text(values: Any, name: str) -> str:
    return str(values[name].text_value) if name in values else ""


def _tag(values: Any) -> SpaceTag:
    sequence = int(values["sequence"].int_value) if "sequence" in values else 0
    return tag_from_stored(_text(values, "space"), _text(values, "content"), sequence)
