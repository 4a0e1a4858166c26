"""Where a point's payload has what a record has, in undrift's own shape and in those of others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from undrift.adapters import llama_node
from undrift.adapters.stores.qdrant.conditions import quoted
from undrift.adapters.stores.qdrant.numbers import BESIDE, gathered, spread
from undrift.adapters.stores.qdrant.points import OWN_VECTOR, Filter, Point, document_id, keeps_its_id
from undrift.domain.record import (
    DocumentId,
    Metadata,
    Record,
    SpaceTag,
    decode_metadata,
    encode_metadata,
    tag_from_stored,
)
from undrift.domain.shape import EVERYTHING_ELSE, NO_TEXT, Shape, TagPlace
from undrift.errors import BadConfig, StoreRejected

#: Keys of the payload, or of the metadata in it, that are undrift's.
ID, SPACE, CONTENT, SEQUENCE = "undrift_id", "undrift_space", "undrift_content", "undrift_sequence"
#: In points that have several vectors: which write replaced the record last, and which changed anything of it last.
MADE, VERSION = "undrift_made", "undrift_version"
_TAGS = frozenset({SPACE, CONTENT, SEQUENCE})
_OURS = _TAGS | {ID, MADE, VERSION}
_OWN = "undrift_"
#: Keys of text and metadata by who wrote the collection.
_PRESETS = {"": ("text", "metadata"), "langchain": ("page_content", "metadata"), "llama_index": ("", "")}


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadShape:
    """How records are laid out in payloads.

    Attributes:
        text: the key of the text; empty when it is not in the payload, or in the node.
        metadata: the key of the metadata; empty when they are keys of the payload itself.
        vector: the name of the vector; empty for the one without a name. Each vector has a tag of its own, under keys
            that end in its name.
        is_node: whether text and metadata are in a node of LlamaIndex as well.
        has_tags: whether the tag is in the payload: beside the metadata, so that one request changes both.
    """

    text: str
    metadata: str
    vector: str
    is_node: bool
    has_tags: bool

    def packed(self, record: Record, *, keeps_floats: bool) -> dict[str, Any]:
        """Return the payload of a record.

        Raises:
            StoreRejected: a key of the metadata is undrift's.
            BadDocument: the metadata are not JSON.
        """
        metadata = self._spread(record.id, record.metadata, keeps_floats=keeps_floats)
        if self.has_tags:
            metadata |= self.tagged(record.tag)
        if self.is_node:
            said = decode_metadata(encode_metadata(record.id, record.metadata))
            payload = llama_node.written(record.id, record.text, said) | metadata
        elif self.metadata:
            payload = {self.metadata: metadata}
        else:
            payload = metadata
        if self.text:
            payload[self.text] = record.text
        if not keeps_its_id(record.id):
            payload[ID] = record.id
        return payload

    def change(self, id: DocumentId, change: Metadata, sequence: int, *, keeps_floats: bool) -> dict[str, Any]:
        """Return what is to be put beside the metadata that are there."""
        made = self._spread(id, change, keeps_floats=keeps_floats, merging=True)
        return made | ({self._tag_keys[2]: sequence} if self.has_tags else {})

    def changed_node(self, point: Point, change: Metadata) -> dict[str, Any]:
        """Return the keys of LlamaIndex's node after a change of its metadata.

        Raises:
            StoreRejected: the change has something under a key of LlamaIndex that is no node.
        """
        made = llama_node.changed(self.id_of(point), self._node(point), change)
        return {key: value for key, value in made.items() if key in llama_node.KEYS}

    def id_of(self, point: Point) -> DocumentId:
        """Return the id of a point's document."""
        named = point.payload.get(ID)
        return DocumentId(str(named)) if named is not None else document_id(point.id)

    def text_of(self, point: Point) -> str:
        """Return the text; empty where there is none."""
        text = llama_node.text_in(point.payload) if self.is_node else point.payload.get(self.text)
        return text if isinstance(text, str) else ""

    def metadata_of(self, point: Point) -> dict[str, Any]:
        """Return the metadata, without what is undrift's."""
        if self.is_node:
            return llama_node.read(self._node(point))
        return self._said(point)

    def tag_of(self, point: Point) -> SpaceTag:
        """Return the tag; one that says nothing where there is none."""
        found = self._stored(point) if self.has_tags else {}
        space, content, sequence = map(found.get, self._tag_keys)
        if not isinstance(space, str) or not isinstance(content, str):
            return tag_from_stored("", "", 0)
        return tag_from_stored(space, content, sequence if isinstance(sequence, int) else 0)

    def tagged(self, tag: SpaceTag | None) -> dict[str, Any]:
        """Return the keys of a tag; with nulls, which remove them, for none."""
        parts = (None, None, None) if tag is None else (tag.space, tag.content, tag.sequence)
        return dict(zip(self._tag_keys, parts, strict=True))

    def marks_of(self, point: Point) -> tuple[str | None, str | None]:
        """Return which write made the record, and which changed it last; None where nobody said so."""
        found = self._stored(point)
        made, version = (value if isinstance(value, str) else None for value in map(found.get, (MADE, VERSION)))
        return made, version

    def kept_of(self, point: Point) -> dict[str, Any]:
        """Return the tags of other vectors, which a write through this one has to leave."""
        own = self._tag_keys
        stored = self._stored(point).items()
        return {key: value for key, value in stored if key.partition(":")[0] in _TAGS and key not in own}

    def beside_metadata(self, payload: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
        """Return a payload with more keys where the tags are."""
        return payload | ({self.metadata: payload[self.metadata] | more} if self.metadata else dict(more))

    def path(self, key: str) -> str:
        """Return the path of a key that is where the tags are."""
        return f"{self.root}.{quoted(key)}" if self.metadata else quoted(key)

    @property
    def root(self) -> str:
        """The path under which tags and metadata are; empty for the payload itself."""
        return quoted(self.metadata) if self.metadata else ""

    @property
    def keeps_texts(self) -> bool:
        """Whether the texts are in the payload."""
        return self.is_node or bool(self.text)

    @property
    def tag_path(self) -> str:
        """The path of a key that every tag of this vector has."""
        return self.path(self._tag_keys[0])

    def has_version(self, version: str | None) -> Filter:
        """Return the condition that nobody has changed a record since it had this version."""
        path = self.path(VERSION)
        return {"is_empty": {"key": path}} if version is None else {"key": path, "match": {"value": version}}

    def has_text(self, point: Point) -> Filter | None:
        """Return the condition that a point still has the text that it was read with; None where texts are elsewhere.

        A node has its text among other things; whoever changes one of these changes the node.
        """
        if self.is_node:
            node = point.payload.get(llama_node.NODE)
            is_text = isinstance(node, str)
            return (
                {"key": llama_node.NODE, "match": {"value": node}}
                if is_text
                else {"is_empty": {"key": llama_node.NODE}}
            )
        if not self.text:
            return None
        text = self.text_of(point)
        same = {"key": quoted(self.text), "match": {"value": text}}
        return same if text else {"should": [same, {"is_empty": {"key": quoted(self.text)}}]}

    @property
    def _tag_keys(self) -> tuple[str, str, str]:
        end = "" if self.vector in ("", OWN_VECTOR) else f":{self.vector}"
        return SPACE + end, CONTENT + end, SEQUENCE + end

    @property
    def without_text(self) -> bool | list[str]:
        """What to ask for of a payload when the text is not needed."""
        return [ID, quoted(self.metadata)] if self.metadata else True

    def _node(self, point: Point) -> dict[str, Any]:
        """Return what LlamaIndex reads: the metadata in the node, which has them exactly, and its own keys."""
        inside = llama_node.metadata_in(point.payload)
        own = {key: value for key, value in point.payload.items() if key in llama_node.KEYS}
        return (self._said(point) if inside is None else inside) | own

    def _said(self, point: Point) -> dict[str, Any]:
        """Return the metadata that are not in a node."""
        found = gathered(self._stored(point))
        text = None if self.metadata else self.text
        return {key: value for key, value in found.items() if key != text and key.partition(":")[0] not in _OURS}

    def _stored(self, point: Point) -> Mapping[str, Any]:
        found = point.payload.get(self.metadata, {}) if self.metadata else point.payload
        return found if isinstance(found, Mapping) else {}

    def _spread(self, id: str, metadata: Metadata, *, keeps_floats: bool, merging: bool = False) -> dict[str, Any]:
        taken = [key for key in metadata if key.startswith(_OWN)]
        if not self.metadata and self.text and self.text in metadata:
            taken.append(self.text)
        if taken:
            raise StoreRejected(
                f"the metadata of document {id!r} have the key {taken[0]!r}, which means something else here",
                "nothing of this call was written",
                "give it another name",
            )
        shown = {key: value for key, value in metadata.items() if not (self.is_node and key in llama_node.KEYS)}
        made = spread(id, shown, keeps_floats=keeps_floats, merging=merging)
        # A node has its metadata exactly, in its own text.
        return {key: value for key, value in made.items() if not (self.is_node and key.startswith(BESIDE))}


def new_mark() -> str:
    """Return a word that nobody has used before."""
    return uuid4().hex


def payload_shape(name: str, shape: Shape) -> PayloadShape:
    """Return how the records of a collection are laid out.

    Raises:
        BadConfig: there is no such preset, or a part cannot be where the shape says.
    """
    if shape.preset not in _PRESETS:
        known = ", ".join(sorted(filter(None, _PRESETS)))
        raise BadConfig(
            f"collection {name} cannot be in the shape {shape.preset!r}",
            f"Qdrant's collections can be in those of {known}",
            "or name the keys: text=…&metadata=…&vector=…",
        )
    text, metadata = _PRESETS[shape.preset]
    is_node = shape.preset == "llama_index"
    if shape.id:
        raise BadConfig(
            f"collection {name} cannot have its ids in {shape.id!r}", "in Qdrant a document has the id of its point"
        )
    if is_node and (shape.text or shape.metadata):
        raise BadConfig(f"collection {name} is in the shape of llama_index, which has its own keys", hint="leave them")
    if shape.text:
        text = "" if shape.text == NO_TEXT else shape.text
    if shape.metadata:
        metadata = "" if shape.metadata == EVERYTHING_ELSE else shape.metadata
    if any('"' in key or "\\" in key for key in (text, metadata, shape.vector)):
        raise BadConfig(
            f"collection {name} has a key with a quotation mark or a backslash, which Qdrant has no path to"
        )
    return PayloadShape(
        text=text,
        metadata=metadata,
        vector=shape.vector,
        is_node=is_node,
        has_tags=shape.tags is TagPlace.PAYLOAD,
    )
