"""Turn records of one field into records of the other, and write them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from undrift.domain.record import Document, DocumentId, Entry, Record, canonical_text, content_hash, stamp
from undrift.domain.route import VectorField
from undrift.errors import StoreRejected
from undrift.flow.embed import Embedded
from undrift.migrate.workshop import Workshop

#: Why a document could not be carried: a word for programs and a sentence for people.
Failures = dict[DocumentId, tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Records for another field, what could not be made, and what has no tag of its text: somebody else wrote it."""

    records: list[Record]
    failures: Failures
    untagged: list[Entry] = field(default_factory=list)


def make_records(
    workshop: Workshop, entries: Sequence[Entry], field: VectorField, *, have: Iterable[Record] = ()
) -> Made:
    """Turn records of one field into records of another.

    A vector that the other field has already of the same text is taken from there and not paid for again. What the
    store's own record says now is carried, also where its tag shows that somebody wrote it past us.

    Args:
        workshop: the means.
        entries: records as the field has them that holds their truth.
        field: the field to make records for.
        have: what that field holds of these documents now.
    """
    texts = workshop.source.texts(entries)
    failures: Failures = {}
    documents: list[Document] = []
    for entry in entries:
        text = texts.get(entry.id)
        problem = _problem(entry, text)
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
    space = workshop.door_of(field.space).space
    vectors = np.empty((len(documents), space.dimensions), dtype=np.float32)
    missing = _take_known(documents, vectors, {record.id: record for record in have}, field)
    embedded = _embed(workshop, field, [documents[row].text for row in missing])
    vectors[missing] = embedded.vectors
    for index, failure in embedded.failures.items():
        failures[DocumentId(documents[missing[index]].id)] = (failure.reason.value, failure.detail)
    keep = [row for row, document in enumerate(documents) if document.id not in failures]
    records = stamp(
        [documents[row] for row in keep], vectors[keep], space=space, sequences=sequences, contents=contents
    )
    return Made(records=records, failures=failures, untagged=untagged)


def _embed(workshop: Workshop, field: VectorField, texts: Sequence[str]) -> Embedded:
    """Embed texts at the migration's expense: reserved before each request where that matters, else counted after."""
    door = workshop.door_of(field.space)
    migration = workshop.migration()
    if door.limits.paid or migration.token_limit is not None:
        return door.documents(texts, spend=partial(workshop.ledger.spend, migration.id), oversight=workshop.oversight)
    embedded = door.documents(texts, oversight=workshop.oversight)
    if embedded.tokens:
        workshop.ledger.spend(migration.id, embedded.tokens)
    return embedded


def write_all(write: Callable[[Sequence[Record]], None], records: Sequence[Record]) -> Failures:
    """Write records, and single out those that the store will not take.

    Raises:
        StoreRejected: the store takes none of them, so that no single document is to blame.
    """
    failures = _bisect(write, records)
    if failures and len(failures) == len(records) > 1:
        raise StoreRejected("the store takes no document at all", next(iter(failures.values()))[1])
    return failures


def _bisect(write: Callable[[Sequence[Record]], None], records: Sequence[Record]) -> Failures:
    try:
        write(records)
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


def _take_known(
    documents: Sequence[Document], vectors: np.ndarray, known: dict[DocumentId, Record], field: VectorField
) -> list[int]:
    """Fill in the vectors that the field has of these very texts, and return the rows that are left."""
    missing = []
    for row, document in enumerate(documents):
        record = known.get(DocumentId(document.id))
        same = (
            record is not None and record.tag.space == field.space and record.tag.content == content_hash(document.text)
        )
        if record is not None and same:
            vectors[row] = record.vector
        else:
            missing.append(row)
    return missing
