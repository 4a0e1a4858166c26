"""Documents, the records made of them, and the tags that say which space a vector belongs to."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NewType, TypeGuard, overload

import numpy as np
from numpy.typing import NDArray

from undrift.domain.space import Space, SpaceId
from undrift.errors import BadDocument, MalformedVectors

DocumentId = NewType("DocumentId", str)
ContentHash = NewType("ContentHash", str)
Metadata = Mapping[str, Any]
#: float32, C-contiguous, shape (n, d).
Vectors = NDArray[np.float32]
#: float32, shape (d,).
Vector = NDArray[np.float32]

#: Longest id in UTF-8 bytes; what every supported store can keep as a key.
MAX_ID_BYTES = 512
#: How deep lists and objects in metadata may stand in one another; every store can read that back.
MAX_METADATA_DEPTH = 64
#: Made once: `json.dumps` with options makes an encoder for every call, which costs more than a small document.
_CANONICAL_JSON = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
#: `json.loads` also looks for what may stand around a value; here it is as it was written.
_DECODE = json.JSONDecoder().raw_decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The unit that is embedded.

    Attributes:
        id: its name in the collection; not empty, no control characters, at most 512 bytes of UTF-8.
        text: what is embedded; not blank.
        metadata: JSON values by key, kept beside the vector and usable in filters.
    """

    id: str
    text: str
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceTag:
    """The stamp beside a vector; made by `stamp` or, for vectors that were proven, by `tag_for`, and by nobody else.

    Attributes:
        space: the space the vector belongs to.
        content: hash of the text the vector was made of.
        sequence: the journal's number of the write, 0 for a write outside a migration.
    """

    space: SpaceId
    content: ContentHash
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a store keeps for a document: vector, payload and tag. `vector` has shape (d,)."""

    id: DocumentId
    text: str
    metadata: Metadata
    vector: Vector
    tag: SpaceTag


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A record without its vector and, unless it was asked for, without its text."""

    id: DocumentId
    text: str | None
    metadata: Metadata
    tag: SpaceTag | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What an acknowledged write did.

    Attributes:
        ids: the documents it was about.
        epoch: the route's number it was written under.
        space: the space of the field that serves them.
    """

    ids: tuple[DocumentId, ...]
    epoch: int
    space: SpaceId


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One answer of a search: the higher the score, the nearer."""

    id: str
    score: float
    text: str
    metadata: Metadata
    tag: SpaceTag | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits(Sequence[Hit]):
    """An answer: hits in order, the nearest first, all of one space.

    Attributes:
        hits: the hits.
        space: the space of the query's vector and of every hit.
        epoch: the number of the route it was answered under.
    """

    hits: tuple[Hit, ...]
    space: SpaceId
    epoch: int

    @overload
    def __getitem__(self, index: int) -> Hit: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Hit, ...]: ...

    def __getitem__(self, index: int | slice) -> Hit | tuple[Hit, ...]:
        """Return one hit, or some."""
        return self.hits[index]

    def __len__(self) -> int:
        """Return how many hits there are."""
        return len(self.hits)


def canonical_text(text: str) -> str:
    """Return the form of a text that is hashed: NFC, `\\n` line ends, no outer white space (text form 1)."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return unicodedata.normalize("NFC", text).strip()


def content_hash(text: str) -> ContentHash:
    """Return the hash that decides whether a text has to be embedded again (128 bits of SHA-256)."""
    return ContentHash(hashlib.sha256(canonical_text(text).encode("utf-8", "surrogatepass")).hexdigest()[:32])


def check_id(value: object) -> DocumentId:
    """Return a document id that every store can keep.

    Raises:
        BadDocument: it is not a string, empty, too long, or has characters that a key may not have.
    """
    if not isinstance(value, str):
        raise BadDocument(
            f"document id {value!r} is of type {type(value).__name__}, not str", hint="use str ids, such as str(number)"
        )
    if not value:
        raise BadDocument("a document has an empty id", hint="give every document an id of its own")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise BadDocument(f"document id {value!r} is not valid Unicode", str(error)) from error
    if size > MAX_ID_BYTES:
        raise BadDocument(f"document id {value[:40]!r}… is {size} bytes long; at most {MAX_ID_BYTES} are kept")
    # What can be printed has no control character, and that is quickly seen.
    if not value.isprintable() and any(unicodedata.category(char) == "Cc" for char in value):
        raise BadDocument(f"document id {value!r} has a control character in it")
    return DocumentId(value)


def check_document(document: Document) -> Document:
    """Return the document unchanged when it can be stored and embedded.

    Raises:
        BadDocument: its id, text or metadata cannot be; the message names the document.
    """
    check_id(document.id)
    if not isinstance(document.text, str) or not canonical_text(document.text):
        state = "no text" if not document.text else "a blank text" if isinstance(document.text, str) else "no str text"
        raise BadDocument(
            f"document {document.id!r} has {state}",
            "a text without words has no place in any space",
            "leave the document out, or delete it if its text is gone",
        )
    try:
        document.text.encode()
    except UnicodeEncodeError as error:
        raise BadDocument(f"the text of document {document.id!r} is not valid Unicode", str(error)) from error
    if not _is_plain(document.metadata):
        encode_metadata(document.id, document.metadata)
    return document


def decode_metadata(text: str) -> dict[str, Any]:
    """Return metadata from the JSON text in which a store kept what `encode_metadata` made of them."""
    if text == "{}":
        return {}
    metadata: dict[str, Any] = _DECODE(text)[0]
    return metadata


def encode_metadata(id: str, metadata: Metadata) -> str:
    """Return metadata as the canonical JSON text in which it is stored and compared.

    Raises:
        BadDocument: a key is not a string, a value is not JSON (NaN and infinity are not), not valid Unicode, or nested
            more than 64 deep.
    """
    if not isinstance(metadata, Mapping) or not all(isinstance(key, str) for key in metadata):
        raise BadDocument(f"the metadata of document {id!r} is not a mapping with str keys")
    try:
        text = _CANONICAL_JSON.encode(dict(metadata))
        if not text.isascii():
            text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise BadDocument(
            f"the metadata of document {id!r} is not JSON", str(error), "use str, int, float, bool, None, list and dict"
        ) from error
    # Few brackets cannot nest deeply, so the values are looked at only when there are many.
    if text.count("{") + text.count("[") > MAX_METADATA_DEPTH and _depth(metadata) > MAX_METADATA_DEPTH:
        raise BadDocument(f"the metadata of document {id!r} is nested more than {MAX_METADATA_DEPTH} deep")
    return text


def _is_plain(metadata: Metadata) -> bool:
    """Whether metadata is JSON as far as can be seen at a glance: flat, in ASCII, no fractions, no huge numbers."""
    if type(metadata) is not dict:
        return False
    for key, value in metadata.items():
        kind = type(value)
        is_plain = (kind is str and value.isascii()) or (kind is int and value.bit_length() < 64) or kind is bool
        if not is_plain or type(key) is not str or not key.isascii():
            return False
    return True


def _depth(value: object) -> int:
    """Return how deep lists and objects stand in one another."""
    level, depth = [value], 0
    while level := [value for value in level if isinstance(value, Mapping | list | tuple)]:
        depth += 1
        level = [inner for value in level for inner in (value.values() if isinstance(value, Mapping) else value)]
    return depth


def stamp(
    documents: Sequence[Document],
    vectors: Vectors,
    *,
    space: Space,
    sequences: Mapping[DocumentId, int],
    contents: Mapping[DocumentId, ContentHash] | None = None,
) -> list[Record]:
    """Turn documents and the vectors made of them into tagged records.

    Args:
        documents: n checked documents.
        vectors: float32, shape (n, space.dimensions), row i made of document i.
        space: the space the vectors were computed in.
        sequences: the journal's number of each write; ids that are absent get 0.
        contents: hashes of these very texts, where they have been computed already.

    Returns:
        n records in the order given.

    Raises:
        MalformedVectors: the shape is not (n, dimensions).
    """
    if vectors.shape != (len(documents), space.dimensions):
        raise MalformedVectors(
            f"vectors of shape {vectors.shape} cannot be records of space {space.id}",
            f"{len(documents)} documents of {space.dimensions} dimensions were expected",
        )
    space_id, known = space.id, contents or {}
    return [
        Record(
            id=DocumentId(document.id),
            text=document.text,
            metadata=document.metadata,
            vector=vector,
            tag=SpaceTag(
                space=space_id,
                content=known.get(DocumentId(document.id)) or content_hash(document.text),
                sequence=sequences.get(DocumentId(document.id), 0),
            ),
        )
        for document, vector in zip(documents, vectors, strict=True)
    ]


def tag_from_stored(space: str, content: str, sequence: int) -> SpaceTag:
    """Read back a tag that `stamp` made; for adapters of stores only."""
    return SpaceTag(space=SpaceId(space), content=ContentHash(content), sequence=sequence)


def tag_for(text: str, space: SpaceId) -> SpaceTag:
    """Return the tag of a vector that somebody else made of a text, once it is proven to be of a space."""
    return SpaceTag(space=space, content=content_hash(text), sequence=0)


#: What stands for the tag of a record that has none.
NO_TAG = SpaceTag(space=SpaceId(""), content=ContentHash(""), sequence=0)


def is_tagged(tag: SpaceTag | None) -> TypeGuard[SpaceTag]:
    """Whether a tag says anything; stores give None or `NO_TAG` for a record that nobody tagged."""
    return tag is not None and bool(tag.space and tag.content)
