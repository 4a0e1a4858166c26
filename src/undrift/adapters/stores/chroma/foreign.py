"""Records of collections that other programs made: text, flat metadata and nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from undrift.adapters import llama_node
from undrift.adapters.stores.chroma.flat import INT64, OURS, Flat, is_key
from undrift.domain.record import Metadata, Record, SpaceTag, encode_metadata, tag_from_stored
from undrift.domain.shape import NO_TEXT, Shape, TagPlace
from undrift.errors import StoreRejected

#: The three parts of a tag, which such a record has in keys of their own.
SPACE, CONTENT, SEQUENCE = f"{OURS}space", f"{OURS}content", f"{OURS}sequence"
#: Followed by the key of a fraction.
_EXACT = f"{OURS}exact:"
_FEW, _MANY = 1e-7, 1e22


def encoded(record: Record, shape: Shape) -> tuple[Flat, str | None]:
    """Return the metadata and the document of a record.

    Raises:
        StoreRejected: its metadata have something that Chroma cannot keep as it is.
    """
    flat = kept(record.id, record.metadata, shape)
    if _has_nodes(shape):
        flat = llama_node.written(record.id, "", flat)
    if shape.tags is TagPlace.PAYLOAD and record.tag.space:
        flat |= {SPACE: record.tag.space, CONTENT: record.tag.content, SEQUENCE: record.tag.sequence}
    if shape.text == NO_TEXT:
        return flat, None
    if shape.text:
        flat[shape.text] = record.text
        return flat, None
    return flat, record.text


def kept(id: str, metadata: Metadata, shape: Shape) -> Flat:
    """Return metadata as Chroma keeps them.

    Raises:
        StoreRejected: there is something that it cannot keep as it is.
    """
    encode_metadata(id, metadata)
    for key, value in metadata.items():
        fault = _fault(key, value, shape)
        if fault:
            raise StoreRejected(
                f"the metadata key {key!r} of document {id!r} cannot be kept in a collection of another program",
                f"it {fault}; Chroma keeps str, int of 64 bits, float, bool, and lists of one of these\n"
                "nothing of this call was written",
                "change the metadata, or use a collection of undrift's own, which keeps all JSON",
            )
    return dict(metadata)


def changed(id: str, stored: Mapping[str, Any], changes: Flat, shape: Shape, *, sequence: int) -> Flat:
    """Return the keys that change when metadata are put into a record.

    Raises:
        StoreRejected: the changes have something under a key of LlamaIndex that is no node.
    """
    flat = llama_node.changed(id, _said(stored, shape), changes) if _has_nodes(shape) else dict(changes)
    if shape.tags is TagPlace.PAYLOAD and SPACE in stored:
        flat[SEQUENCE] = sequence
    return flat


def exactly(flat: Flat) -> Flat:
    """Return keys that say what fractions are that Chroma's server may read from JSON with another last digit.

    It reads up to fifteen digits as they are, where the power of ten that they are multiplied by is exact, too.
    """
    return {f"{_EXACT}{key}": json.dumps(value) if _is_long(value) else None for key, value in flat.items()}


def metadata_from(stored: Mapping[str, Any], shape: Shape) -> dict[str, Any]:
    """Return the metadata of a record."""
    metadata = _said(stored, shape)
    return llama_node.read(metadata) if _has_nodes(shape) else metadata


def text_from(stored: Mapping[str, Any], document: str | None, shape: Shape) -> str:
    """Return the text of a record, empty when it is not in the store."""
    if shape.text:
        return str(stored.get(shape.text, ""))
    return document or ""


def tag_of(stored: Mapping[str, Any], shape: Shape) -> SpaceTag | None:
    """Return the tag of a record, None if it is not in the record."""
    if shape.tags is TagPlace.LEDGER or SPACE not in stored or CONTENT not in stored:
        return None
    return tag_from_stored(str(stored[SPACE]), str(stored[CONTENT]), int(stored.get(SEQUENCE, 0)))


def _has_nodes(shape: Shape) -> bool:
    return shape.preset == "llama_index"


def _said(stored: Mapping[str, Any], shape: Shape) -> dict[str, Any]:
    """Return what the writer of a record said of it, without its text."""
    return {
        key: _exact(value, stored.get(f"{_EXACT}{key}"))
        for key, value in stored.items()
        if not key.startswith(OURS) and key != shape.text
    }


def _is_long(value: object) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_is_long, value))
    if not isinstance(value, float) or not value:
        return False
    return float(f"{value:.15g}") != value or not _FEW < abs(value) < _MANY


def _exact(stored: Any, said: str | None) -> Any:
    """Return what was meant, where what is stored differs by no more than a misreading from it."""
    if said is None:
        return stored
    meant = json.loads(said)
    left, right = ([value] if isinstance(value, float) else value for value in (meant, stored))
    is_meant = isinstance(right, list) and len(left) == len(right) and all(map(_is_near, left, right))
    return meant if is_meant else stored


def _is_near(meant: object, stored: object) -> bool:
    return isinstance(meant, float) and isinstance(stored, float) and math.isclose(meant, stored, rel_tol=1e-13)


def _fault(key: str, value: object, shape: Shape) -> str:
    if not is_key(key) or key == shape.text:
        return "is a name that Chroma, undrift or the text has for itself"
    if isinstance(value, list | tuple):
        kinds = {type(one) for one in value}
        if len(kinds) != 1 or any(not _is_scalar(one) for one in value):
            return "is a list that is empty or has values of different types"
        return ""
    return "" if _is_scalar(value) else f"is of type {type(value).__name__}"


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | bool | float) or (isinstance(value, int) and value in INT64)
