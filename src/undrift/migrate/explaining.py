"""Find out what stored vectors are when they are not what a model gives: which model, which text, which cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from undrift.domain.record import Record, Vectors
from undrift.errors import UndriftError
from undrift.flow.embed import EmbeddingDoor
from undrift.migrate.sampling import Allowance
from undrift.quality.sameness import distances

#: Records that a guess is tried on, and the share of them that has to fit.
TRIED, _FITTING = 12, 0.8
#: Prefixes that models in wide use want in front of documents or queries.
PREFIXES = (
    "",
    "passage: ",
    "query: ",
    "search_document: ",
    "search_query: ",
    "title: none | text: ",
    "task: search result | query: ",
    "Represent this sentence for searching relevant passages: ",
    "clustering: ",
    "classification: ",
)
#: Keys of metadata that are often embedded in front of a text.
_TITLES = ("title", "heading", "name", "header", "summary", "question")


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What some vectors turned out to be.

    Attributes:
        kind: a word for programs: `query_side`, `prefix`, `text_form`, `cut`, `other_model`, `length`.
        detail: a sentence.
        matched: how many of the records that were tried fit.
        tried: how many were.
        cure: what to do.
    """

    kind: str
    detail: str
    matched: int
    tried: int
    cure: str

    def as_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "kind": self.kind,
            "detail": self.detail,
            "matched": self.matched,
            "tried": self.tried,
            "cure": self.cure,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Guess:
    kind: str
    detail: str
    cure: str
    make: Callable[[], Vectors]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The records that are to be explained.

    Attributes:
        records: n of them.
        texts: their texts.
        model: the claimed model's name in the configuration.
        door: the claimed model.
        allowance: what asking it may cost.
        limit: the distance up to which two vectors are the same.
    """

    records: Sequence[Record]
    texts: Sequence[str]
    model: str
    door: EmbeddingDoor
    allowance: Allowance
    limit: float

    def first(self) -> Subject:
        """Return as many as guesses are tried on."""
        return Subject(
            records=self.records[:TRIED],
            texts=self.texts[:TRIED],
            model=self.model,
            door=self.door,
            allowance=self.allowance,
            limit=self.limit,
        )


def explain(subject: Subject, others: Mapping[str, EmbeddingDoor]) -> list[Explanation]:
    """Return what fits the stored vectors, the simplest first; empty when nothing does.

    Args:
        subject: the records.
        others: other models that may be asked as well, by their names in the configuration.
    """
    subject = subject.first()
    if not subject.records:
        return []
    stored = np.stack([record.vector for record in subject.records])
    found = []
    for guess in [*_of_the_model(subject, stored), *_of_others(subject, stored, others)]:
        with suppress(UndriftError):
            matched = _fits(stored, guess.make(), subject.limit)
            if matched >= _FITTING * len(stored):
                found.append(
                    Explanation(
                        kind=guess.kind, detail=guess.detail, matched=matched, tried=len(stored), cure=guess.cure
                    )
                )
                # What else fits is the same seen from another side.
                break
    return found


def _fits(stored: Vectors, made: Vectors, limit: float) -> int:
    """Return how many rows are the same, as far as the shorter of both reaches."""
    shared = min(stored.shape[1], made.shape[1])
    return int((distances(stored[:, :shared], made[:, :shared]) <= limit).sum())


def _of_the_model(subject: Subject, stored: Vectors) -> Iterator[_Guess]:
    door, name, texts, allowance = subject.door, subject.model, list(subject.texts), subject.allowance
    has, wants = stored.shape[1], door.space.dimensions
    if has != wants:
        yield _Guess(
            kind="cut",
            detail=f"they are the {'first ' if has < wants else ''}{has} dimensions of what model {name} gives"
            + ("" if has < wants else f", which is configured with the first {wants} of them"),
            cure=f"set dimensions = {has} for model {name}",
            make=lambda: door.otherwise(texts, prefix=door.space.document_prefix, purse=allowance),
        )
        return

    def queries() -> Vectors:
        allowance.reserve(door.count_tokens(texts)[0])
        return np.stack([door.query(text) for text in texts])

    for kind, form in _text_forms(subject):
        yield _Guess(
            kind="text_form",
            detail=f"they were made of {kind}, not of the text alone",
            cure="give the alias a source that returns the text as it was embedded: --text python:MODULE:FUNCTION",
            make=lambda form=form: door.otherwise(form, prefix=door.space.document_prefix, purse=allowance),  # type: ignore[misc]
        )
    if door.space.document_prefix:
        yield _with_prefix(subject, "")
    yield _Guess(
        kind="query_side",
        detail=f"they were made as queries are: model {name} treats documents and queries differently",
        cure="configure a model whose documents are embedded as this one's queries, and adopt with that",
        make=queries,
    )
    for prefix in PREFIXES:
        if prefix != door.space.document_prefix:
            yield _with_prefix(subject, prefix)


def _with_prefix(subject: Subject, prefix: str) -> _Guess:
    door, name, texts, allowance = subject.door, subject.model, list(subject.texts), subject.allowance
    said = f"the prefix {prefix!r}" if prefix else "no prefix"
    has = repr(door.space.document_prefix) if door.space.document_prefix else "none"
    return _Guess(
        kind="prefix",
        detail=f"they were made with {said} in front of each text; model {name} has {has}",
        cure=f"set document_prefix = {prefix!r} for the model, under another name, and adopt with that",
        make=lambda: door.otherwise(texts, prefix=prefix, purse=allowance),
    )


def _of_others(subject: Subject, stored: Vectors, others: Mapping[str, EmbeddingDoor]) -> Iterator[_Guess]:
    has, texts = stored.shape[1], list(subject.texts)
    for name, door in others.items():
        wants = door.space.dimensions
        cut = "" if has == wants else f", cut to {has} dimensions" if has < wants else f", of which it keeps {wants}"
        yield _Guess(
            kind="other_model",
            detail=f"they are what model {name} gives{cut}",
            cure=f"adopt with --model {name}" + (f", after setting dimensions = {has} for it" if cut else ""),
            make=lambda door=door: door.otherwise(texts, prefix=door.space.document_prefix),  # type: ignore[misc]
        )
        if has == wants:
            yield _Guess(
                kind="other_model",
                detail=f"they are what model {name} gives for queries",
                cure="configure a model whose documents are embedded as that one's queries, and adopt with that",
                make=lambda door=door: np.stack([door.query(text) for text in texts]),  # type: ignore[misc]
            )


def _text_forms(subject: Subject) -> Iterator[tuple[str, list[str]]]:
    """Yield what frameworks and scripts embed instead of the bare text, as far as the records have it."""
    metadata = [record.metadata for record in subject.records]
    for key in _TITLES:
        values = [one.get(key) for one in metadata]
        if all(isinstance(value, str) and value for value in values):
            for join, shown in (("\n", "a line end"), (" ", "a blank"), ("\n\n", "two line ends"), (": ", "a colon")):
                yield (
                    f"metadata {key}, {shown} and the text",
                    [f"{value}{join}{text}" for value, text in zip(values, subject.texts, strict=True)],
                )
    if all(metadata):
        lines = ["\n".join(f"{key}: {value}" for key, value in one.items()) for one in metadata]
        yield (
            "all metadata as `key: value` lines, an empty line and the text, as LlamaIndex does",
            [f"{line}\n\n{text}" for line, text in zip(lines, subject.texts, strict=True)],
        )
    yield "the text in lower case", [text.lower() for text in subject.texts]
