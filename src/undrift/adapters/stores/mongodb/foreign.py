"""Documents of collections that other programs made, as undrift's own have them, and back.

What JSON does not have, a date or an ObjectId in the metadata, is read as extended JSON and written back as it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from undrift.adapters import llama_node
from undrift.adapters.stores.mongodb.documents import ID, METADATA, TAGS, TEXT
from undrift.adapters.stores.mongodb.ids import text_of
from undrift.domain.record import Metadata, Record, SpaceTag, Vector, encode_metadata, is_tagged
from undrift.domain.shape import EVERYTHING_ELSE, NO_TEXT, OWN, Shape, TagPlace, split_address
from undrift.errors import BadConfig, StoreRejected

#: Where a tag is, beside what the writer of the document knows.
TAG = "undrift"
#: Text, metadata and vector, as LangChain and LlamaIndex call them.
_PRESETS = {"langchain": ("text", EVERYTHING_ELSE, "embedding"), "llama_index": ("text", "metadata", "embedding")}
#: What both take for the name of the search index unless they are told.
INDEX = "vector_index"


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The keys of a document under which the parts of a record are.

    Attributes:
        text: the text; `-` when it is elsewhere.
        metadata: an object with all metadata, or `*` for whatever else the document has.
        vector: the vector.
        shape: what the address says.
    """

    text: str
    metadata: str
    vector: str
    shape: Shape

    @property
    def has_nodes(self) -> bool:
        """Whether the documents are nodes of LlamaIndex."""
        return self.shape.preset == "llama_index"

    def path(self, key: str) -> str:
        """Return where a key of the metadata is."""
        return key if self.metadata == EVERYTHING_ELSE else f"{self.metadata}.{key}"


def places_of(collection: str) -> tuple[str, Places | None]:
    """Return the name of a collection, and where the parts of a record are; None for undrift's own.

    Raises:
        BadConfig: there is no such shape.
    """
    name, shape = split_address(collection)
    if replace(shape, tags=TagPlace.PAYLOAD, vector="") == OWN:
        return name, None
    if shape.id or (shape.preset and shape.preset not in _PRESETS):
        raise BadConfig(
            f"collection {collection} of store mongodb cannot be read so",
            f"the id of a document is its _id, and as= can be {' or '.join(_PRESETS)}",
            f"write {name}?as=langchain, or {name}?text=KEY&vector=KEY",
        )
    text, metadata, vector = _PRESETS.get(shape.preset, ("text", EVERYTHING_ELSE, "embedding"))
    places = Places(
        text=shape.text or text, metadata=shape.metadata or metadata, vector=shape.vector or vector, shape=shape
    )
    return name, places


def row_from(places: Places, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document as undrift's own are."""
    row: dict[str, Any] = {ID: text_of(document[ID]), METADATA: json.dumps(_metadata(places, document))}
    if places.text != NO_TEXT:
        row[TEXT] = document.get(places.text) or ""
    if places.vector in document:
        row[places.vector] = document[places.vector]
    return row | {TAGS: {places.vector: document.get(TAG) or {}}}


def document_of(places: Places, record: Record, vector: Vector) -> dict[str, Any]:
    """Return the keys of a document for a record, without its id.

    Args:
        places: of their parts.
        record: the record.
        vector: its vector, float32, shape (d,).

    Raises:
        StoreRejected: the collection cannot keep something of it.
    """
    encode_metadata(record.id, record.metadata)
    kept = dict(record.metadata)
    if places.has_nodes:
        kept = llama_node.written(record.id, "", kept)
    taken = {ID, TAG, places.text, places.vector} if places.metadata == EVERYTHING_ELSE else set()
    kept = _stored(record.id, kept, taken)
    # Other programs read lists of numbers; a float32 is a double, bit for bit.
    made: dict[str, Any] = {places.vector: [float(value) for value in vector]}
    if places.text != NO_TEXT:
        made[places.text] = record.text
    made |= kept if places.metadata == EVERYTHING_ELSE else {places.metadata: kept}
    if places.shape.tags is TagPlace.PAYLOAD and is_tagged(record.tag):
        made[TAG] = tag_value(record.tag)
    return made


def update_of(places: Places, record: Record, vector: Vector) -> dict[str, Any]:
    """Return what an update says of a record: a new document where all of it is the record's, else the keys that are.

    Raises:
        StoreRejected: the collection cannot keep something of it.
    """
    made = document_of(places, record, vector)
    if places.metadata == EVERYTHING_ELSE:
        return made
    return {"$set": made, **({} if TAG in made else {"$unset": {TAG: ""}})}


def tag_value(tag: SpaceTag) -> dict[str, Any]:
    """Return a tag as a document has it."""
    return {"space": tag.space, "content": tag.content, "sequence": tag.sequence}


def same_metadata(places: Places, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the query for a document that still has the metadata which were read."""
    if places.metadata != EVERYTHING_ELSE:
        return {places.metadata: {"$eq": document.get(places.metadata)}}
    return {key: {"$eq": value} for key, value in _raw(places, document).items()}


def changed(
    places: Places, document: Mapping[str, Any], changes: Metadata, *, sequence: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the query for a document as it was read, and the update that puts keys into its metadata.

    Raises:
        StoreRejected: the collection cannot keep something of it.
    """
    id = text_of(document[ID])
    taken = {ID, TAG, places.text, places.vector} if places.metadata == EVERYTHING_ELSE else set()
    kept = dict(changes)
    if places.has_nodes:
        kept = llama_node.changed(id, _as_json(places, document), kept)
    said = {places.path(key): value for key, value in _stored(id, kept, taken).items()}
    if (document.get(TAG) or {}).get("space"):
        said[f"{TAG}.sequence"] = sequence
    return {ID: document[ID], **same_metadata(places, document)}, {"$set": said}


def _metadata(places: Places, document: Mapping[str, Any]) -> dict[str, Any]:
    found = _as_json(places, document)
    return llama_node.read(found) if places.has_nodes else found


def _as_json(places: Places, document: Mapping[str, Any]) -> dict[str, Any]:
    from bson.json_util import RELAXED_JSON_OPTIONS, dumps

    return dict(json.loads(dumps(_raw(places, document), json_options=RELAXED_JSON_OPTIONS)))


def _raw(places: Places, document: Mapping[str, Any]) -> dict[str, Any]:
    if places.metadata != EVERYTHING_ELSE:
        found = document.get(places.metadata)
        return dict(found) if isinstance(found, Mapping) else {}
    taken = {ID, TAG, places.text, places.vector}
    return {key: value for key, value in document.items() if key not in taken}


def _stored(id: str, metadata: Mapping[str, Any], taken: set[str]) -> dict[str, Any]:
    """Return metadata as a document keeps them, with extended JSON turned back into what it stands for."""
    from bson.json_util import RELAXED_JSON_OPTIONS, loads

    try:
        found: Any = loads(json.dumps(metadata, ensure_ascii=False), json_options=RELAXED_JSON_OPTIONS)
    except (ValueError, TypeError) as error:
        raise _refused(id, str(error)) from error
    bad = sorted(set(found) & taken) if isinstance(found, dict) else ["metadata"]
    if bad:
        raise _refused(id, f"the key {bad[0]!r} is taken by the record itself")
    _require_keys(id, found)
    return dict(found)


def _require_keys(id: str, value: Any) -> None:
    """Pass when every key can be one of a document, and a path to it means that key only."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not key or key.startswith("$") or "." in key or "\0" in key:
                raise _refused(id, f"the key {key!r} is none that a document of MongoDB may have")
            _require_keys(id, inner)
    elif isinstance(value, list):
        for inner in value:
            _require_keys(id, inner)
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise _refused(id, "an integer has more than 64 bits")


def _refused(id: str, why: str) -> StoreRejected:
    return StoreRejected(
        f"the metadata of document {id!r} cannot be kept in a collection of another program",
        f"{why}; nothing of this call was written",
        "change the metadata, or use a collection of undrift's own, which keeps all JSON",
    )
