"""Records to try a store with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from undrift.domain.record import Document, DocumentId, Metadata, Record, Vector, Vectors, stamp
from undrift.domain.space import Metric, Space

SPACE = Space(channel="kit", model="sample", revision="1", dimensions=8, metric=Metric.COSINE)
#: Ids whose order by code point is not that of a locale, of UTF-16, or of their length.
UNICODE_IDS = tuple(
    DocumentId(id)
    for id in (
        *(" ", "!", "#a", "-1", "0", "00", "1", "10", "2", "A", "B", "Z", "_", "a", "a b", "aa", "ab", "b", "z", "~"),
        *(
            "'; --",
            '"q"',
            "%",
            "a%b",
            "a_b",
            "a/b",
            "a\\b",
            "\u00c4",
            "\u00df",
            "\u00e9",
            "e\u0301",
            "\u0416",
            "\u4e2d",
        ),
        *("\u200b", "\ufb01", "\ue000", "\ufffd", "\uffff", "\U00010000", "\U0001f600", "x" * 512, "\u4e2d" * 170),
    )
)


def unit_vectors(count: int, dimensions: int, *, seed: int = 0) -> Vectors:
    """Return random vectors of length 1: float32, shape (count, dimensions); the same for the same seed."""
    vectors = np.random.default_rng(seed).standard_normal((count, dimensions))
    normalized: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return normalized


def record(
    id: str,
    vector: Vector,
    *,
    text: str | None = None,
    metadata: Metadata | None = None,
    sequence: int = 0,
    space: Space = SPACE,
) -> Record:
    """Return a record with a tag, as `stamp` makes it.

    Args:
        id: its id.
        vector: float32, shape (d,).
        text: its text; made of the id when there is none.
        metadata: its metadata.
        sequence: the sequence in its tag.
        space: the space in its tag, whose dimensions do not matter here.
    """
    document = Document(id=id, text=f"text of {id}" if text is None else text, metadata=metadata or {})
    block = np.zeros((1, space.dimensions), np.float32)
    (made,) = stamp([document], block, space=space, sequences={DocumentId(id): sequence})
    return Record(id=made.id, text=made.text, metadata=made.metadata, vector=vector, tag=made.tag)


def records(ids: Iterable[str], dimensions: int, *, seed: int = 0, sequence: int = 0) -> list[Record]:
    """Return a record for each id, each with a vector of its own."""
    names = list(ids)
    vectors = unit_vectors(len(names), dimensions, seed=seed)
    return [
        record(name, vector, metadata={"n": number, "seed": seed}, sequence=sequence)
        for number, (name, vector) in enumerate(zip(names, vectors, strict=True))
    ]


def numbered(count: int) -> list[DocumentId]:
    """Return ids that sort as their numbers do."""
    return [DocumentId(f"doc-{number:05d}") for number in range(count)]


def assert_same(found: Record | None, wanted: Record) -> None:
    """Pass when both are the same record: every part of it, and the vector bit for bit."""
    assert found is not None, f"{wanted.id!r} is not there"
    assert found.id == wanted.id
    assert found.text == wanted.text
    assert_same_json(found.metadata, wanted.metadata)
    assert found.tag == wanted.tag
    assert found.vector.dtype == np.float32
    assert found.vector.shape == wanted.vector.shape
    assert found.vector.tobytes() == wanted.vector.tobytes()


def assert_same_json(found: object, wanted: object) -> None:
    """Pass when both are the same JSON value; `True` is not `1`, and a tuple is a list."""
    if isinstance(wanted, dict):
        assert isinstance(found, dict)
        assert sorted(found) == sorted(wanted)
        for key, value in wanted.items():
            assert_same_json(found[key], value)
    elif isinstance(wanted, list | tuple):
        assert isinstance(found, list)
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert_same_json(one, other)
    else:
        assert isinstance(found, bool) is isinstance(wanted, bool)
        assert found == wanted


def ids_of(found: Sequence[Record]) -> list[DocumentId]:
    """Return the ids of records."""
    return [record.id for record in found]


def faulty_vector(fault: str, dimensions: int) -> Vector:
    """Return a vector that no store may take."""
    good = unit_vectors(1, dimensions)[0]
    faulty: dict[str, Any] = {
        "too short": good[:-1],
        "too long": np.append(good, np.float32(1)),
        "no number": np.where(np.arange(dimensions) == 1, np.float32(np.nan), good),
        "infinite": np.where(np.arange(dimensions) == 1, np.float32(-np.inf), good),
        "float64": good.astype(np.float64),
        "two rows": np.stack([good, good]),
    }
    vector: Vector = faulty[fault]
    return vector
