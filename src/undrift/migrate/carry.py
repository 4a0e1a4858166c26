"""Turn records of one field into records of the other, and write them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from undrift.domain.migration import Migration
from undrift.domain.overlong import Overlong, overlong_note
from undrift.domain.record import (
    ContentHash,
    Document,
    DocumentId,
    Entry,
    Record,
    canonical_text,
    content_hash,
    encode_metadata,
    stamp,
)
from undrift.domain.route import VectorField
from undrift.errors import StoreFull, StoreRejected
from undrift.flow.embed import EmbeddingDoor
from undrift.flow.texts import Embedded
from undrift.migrate.purse import purse_of
from undrift.migrate.workshop import Workshop
from undrift.ports.store import Part, StoreCapabilities

#: Why a document could not be carried: a word for programs and a sentence for people.
Failures = dict[DocumentId, tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Records for another field, what could not be made, and what has no tag of its text: somebody else wrote it."""

    records: list[Record]
    failures: Failures
    untagged: list[Entry] = field(default_factory=list)


def read_truth(
    workshop: Workshop, migration: Migration, place: VectorField, keys: Sequence[DocumentId]
) -> tuple[dict[DocumentId, Entry], list[Record] | None]:
    """Read documents from the field that holds their truth; where vectors are copied, as records with their vectors.

    Text and vector of a record are read in one call, so that no vector is ever copied to another text.
    """
    store = workshop.store_of(place)
    if not migration.copies:
        return store.entries(place, keys, Part.TEXT), None
    found = store.fetch(place, keys)
    entries = {
        key: Entry(id=record.id, text=record.text, metadata=record.metadata, tag=record.tag)
        for key, record in found.items()
    }
    return entries, list(found.values())


def make_records(
    workshop: Workshop,
    entries: Sequence[Entry],
    field: VectorField,
    *,
    have: Iterable[Record] = (),
    originals: Iterable[Record] | None = None,
) -> Made:
    """Turn records of one field into records of another.

    A vector that the other field has already of the same text is taken from there and not paid for again. What the
    store's own record says now is carried, also where its tag shows that somebody wrote it past us.

    Args:
        workshop: the means.
        entries: records as the field has them that holds their truth.
        field: the field to make records for.
        have: what that field holds of these documents now.
        originals: the records themselves, where both fields are of one space; else None. The vectors of those whose
            tag is of their text are copied bit for bit; a text that somebody changed past its vector is embedded.
    """
    texts = workshop.source.texts(entries)
    can = workshop.store_of(field).capabilities
    failures: Failures = {}
    documents: list[Document] = []
    for entry in entries:
        text = texts.get(entry.id)
        problem = _problem(entry, text) or _too_large(entry, text, can)
        if problem is not None:
            failures[entry.id] = problem
        elif text is not None:
            documents.append(Document(id=entry.id, text=text, metadata=entry.metadata))
    wanted = {document.id: content_hash(document.text) for document in documents}
    untagged = [
        entry
        for entry in entries
        if entry.id in wanted and (entry.tag is None or entry.tag.content != wanted[entry.id])
    ]
    contents = {DocumentId(id): content for id, content in wanted.items()}
    sequences = {entry.id: entry.tag.sequence for entry in entries if entry.tag is not None}
    copied = {record.id: record for record in originals or ()}
    # A copy asks no model for anything, unless there is a text to embed.
    door = workshop.door_of(field.space) if originals is None else None
    space = workshop.space_of(field.space) if door is None else door.space
    vectors = np.empty((len(documents), space.dimensions), dtype=np.float32)
    missing = _take_known(documents, vectors, [copied, {record.id: record for record in have}], field)
    if missing:
        embedded = _embed(workshop, door or workshop.door_of(field.space), [documents[row].text for row in missing])
        vectors[missing] = embedded.vectors
        for index, failure in embedded.failures.items():
            failures[DocumentId(documents[missing[index]].id)] = (failure.reason.value, failure.detail)
    keep = [row for row, document in enumerate(documents) if document.id not in failures]
    records = stamp(
        [documents[row] for row in keep], vectors[keep], space=space, sequences=sequences, contents=contents
    )
    return Made(records=records, failures=failures, untagged=untagged)


def _embed(workshop: Workshop, door: EmbeddingDoor, texts: Sequence[str]) -> Embedded:
    """Embed texts at the migration's expense: reserved before each request where that matters, else counted after."""
    migration = workshop.migration()
    if door.limits.paid or migration.token_limit is not None:
        purse = purse_of(workshop, migration, door)
        embedded = door.documents(texts, purse=purse, oversight=workshop.oversight)
    else:
        embedded = door.documents(texts, oversight=workshop.oversight)
        if embedded.tokens:
            workshop.ledger.spend(migration.id, embedded.tokens)
    if embedded.cut or embedded.split:
        more = Overlong(cut=embedded.cut, split=embedded.split)
        ledger, alias = workshop.ledger, workshop.alias
        ledger.tune(alias, overlong_note(ledger.tuning(alias), workshop.me, more))
    return embedded


def write_all(write: Callable[[Sequence[Record]], None], records: Sequence[Record]) -> Failures:
    """Write records, and single out those that the store will not take.

    Raises:
        StoreRejected: the store takes none of them, or has no room, so that no single document is to blame.
    """
    failures = _bisect(write, records)
    if failures and len(failures) == len(records) > 1:
        raise StoreRejected("the store takes no document at all", next(iter(failures.values()))[1])
    return failures


def _bisect(write: Callable[[Sequence[Record]], None], records: Sequence[Record]) -> Failures:
    try:
        write(records)
    except StoreFull:
        # To be tried again, all of it: with each document aside that found no room, none would come back by itself.
        raise
    except StoreRejected as error:
        if len(records) == 1:
            return {records[0].id: ("rejected_by_store", str(error))}
        middle = len(records) // 2
        return {**_bisect(write, records[:middle]), **_bisect(write, records[middle:])}
    return {}


def _problem(entry: Entry, text: str | None) -> tuple[str, str] | None:
    if text is None:
        return "source_missing", "the source has no text for a document that the store has"
    if not canonical_text(text):
        return "blank_text", "a text without words has no place in any space"
    # A text beside the vector is the truth, whoever wrote it; one from elsewhere has to be that of the record.
    if text != entry.text and entry.tag is not None and entry.tag.content != content_hash(text):
        return "hash_mismatch", "the text is not the one that the stored vector was made of"
    return None


def _too_large(entry: Entry, text: str | None, can: StoreCapabilities) -> tuple[str, str] | None:
    """Name the part of a document that is larger than the other store keeps; it is not even sent there."""
    sizes = [("id", entry.id, can.max_id_bytes), ("text", text or "", can.max_text_bytes)]
    if can.max_metadata_bytes is not None:
        sizes.append(("metadata", encode_metadata(entry.id, entry.metadata), can.max_metadata_bytes))
    for part, value, limit in sizes:
        if limit is not None and len(value.encode()) > limit:
            what = f"its {part} of {len(value.encode())} bytes"
            return "rejected_by_store", f"{what} is larger than the {limit} bytes that store {can.name} keeps"
    return None


def _take_known(
    documents: Sequence[Document],
    vectors: np.ndarray,
    known: Sequence[Mapping[DocumentId, Record]],
    field: VectorField,
) -> list[int]:
    """Fill in the vectors that are known of these very texts, the first there is; return the rows that are left."""
    if not any(known):
        return list(range(len(documents)))
    missing = []
    for row, document in enumerate(documents):
        content = content_hash(document.text)
        records = (some[DocumentId(document.id)] for some in known if document.id in some)
        vector = next((record.vector for record in records if _is_of(record, field, content)), None)
        if vector is None:
            missing.append(row)
        else:
            vectors[row] = vector
    return missing


def _is_of(record: Record, field: VectorField, content: ContentHash) -> bool:
    """Whether a record's vector is that of a text in a field's space; one that is no vector is of none."""
    tag = record.tag
    return tag.space == field.space and tag.content == content and bool(np.isfinite(record.vector).all())
