"""Documents of indexes that other programs made: a text, an object of metadata, a vector, and nothing of undrift's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from undrift.adapters import llama_node
from undrift.adapters.stores.elastic.places import Places
from undrift.domain.record import Record, encode_metadata, is_tagged
from undrift.domain.shape import EVERYTHING_ELSE, NO_TEXT, TagPlace

#: Where the tag is, if it is in the document: beside what its writer knows.
TAG = ("undrift_space", "undrift_content", "undrift_sequence")
#: Puts keys into the metadata without looking into their values, which a partial update would merge.
_PUT = "ctx._source[params.at].putAll(params.changes)"
_PUT_BESIDE = "ctx._source.putAll(params.changes)"
_NUMBER = "; if (ctx._source.undrift_space != null) { ctx._source.undrift_sequence = params.sequence }"


def source(places: Places, record: Record) -> dict[str, Any]:
    """Return a document without its vector.

    Raises:
        StoreRejected: its metadata have something under a key of LlamaIndex that is no node.
    """
    encode_metadata(record.id, record.metadata)
    kept = dict(record.metadata)
    if _is_llama_index(places):
        kept = llama_node.written(record.id, "", kept)
    made: dict[str, Any] = kept if places.metadata == EVERYTHING_ELSE else {places.metadata: kept}
    if places.text != NO_TEXT:
        made[places.text] = record.text
    if places.shape is not None and places.shape.tags is TagPlace.PAYLOAD and is_tagged(record.tag):
        made |= dict(zip(TAG, (record.tag.space, record.tag.content, record.tag.sequence), strict=True))
    return made


def change(
    places: Places, id: str, stored: Mapping[str, Any], changes: Mapping[str, Any], *, sequence: int
) -> dict[str, Any]:
    """Return the script that puts keys into a document's metadata.

    Raises:
        StoreRejected: the changes have something under a key of LlamaIndex that is no node.
    """
    kept = dict(changes)
    if _is_llama_index(places):
        kept = llama_node.changed(id, _whole(places, stored), kept)
    beside = places.metadata == EVERYTHING_ELSE
    params: dict[str, Any] = {"changes": kept, "sequence": sequence, **({} if beside else {"at": places.metadata})}
    return {"lang": "painless", "source": (_PUT_BESIDE if beside else _PUT) + _NUMBER, "params": params}


def fields(places: Places, *, with_text: bool, with_vector: bool) -> list[str]:
    """Return which keys of a document have to be read; `*` for all."""
    if places.metadata == EVERYTHING_ELSE:
        return ["*"]
    named = [places.metadata, *TAG]
    if with_text and places.text != NO_TEXT:
        named.append(places.text)
    return [*named, places.vector] if with_vector else named


def metadata(places: Places, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of a document."""
    found = _whole(places, stored)
    return llama_node.read(found) if _is_llama_index(places) else found


def _whole(places: Places, stored: Mapping[str, Any]) -> dict[str, Any]:
    if places.metadata == EVERYTHING_ELSE:
        return {key: value for key, value in stored.items() if key not in {places.text, places.vector, *TAG}}
    found = stored.get(places.metadata)
    return dict(found) if isinstance(found, Mapping) else {}


def _is_llama_index(places: Places) -> bool:
    return places.shape is not None and places.shape.preset == "llama_index"
