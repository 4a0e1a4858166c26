"""Vectors of an unrelated model are found from the vectors alone, and hardly any of the own is taken for one."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from undrift.domain.record import Vectors
from undrift.quality.foreign import LEAST, REFERENCE, learn


def unit(vectors: np.ndarray) -> Vectors:
    return np.ascontiguousarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def model(count: int, dimensions: int, *, seed: int, frame: int) -> Vectors:
    """Vectors as of a text model: a centre, and directions that vary less and less; `frame` says whose coordinates."""
    rng = np.random.default_rng(seed)
    scale = (1 + np.arange(dimensions)) ** -1.0
    vectors = rng.standard_normal((count, dimensions)) * scale
    vectors[:, 0] += 1.0
    turn, _ = np.linalg.qr(np.random.default_rng(frame).standard_normal((dimensions, dimensions)))
    return unit(vectors @ turn)


def turned(vectors: Vectors, seed: int) -> Vectors:
    """The same texts in the coordinates of a model that has nothing to do with the first."""
    turn, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((vectors.shape[1], vectors.shape[1])))
    return unit(vectors @ turn)


def mixed(own: Vectors, foreign: Vectors, share: float, seed: int) -> tuple[Vectors, np.ndarray]:
    """Put the foreign vectors of some texts in the place of their own; return the mixture, and which they are."""
    rng = np.random.default_rng(seed)
    which = np.zeros(len(own), dtype=bool)
    which[rng.permutation(len(own))[: round(share * len(own))]] = True
    return np.where(which[:, None], foreign, own), which


def found(vectors: Vectors, *, seed: int = 0) -> np.ndarray:
    chosen = np.random.default_rng(seed).permutation(len(vectors))[:REFERENCE]
    detector = learn(vectors[chosen])
    assert detector is not None
    assert detector.can_tell
    return detector.scores(vectors) > 0


def test_nothing_is_found_in_a_pure_collection() -> None:
    assert found(model(1200, 64, seed=1, frame=1)).mean() <= 0.001


@pytest.mark.parametrize("share", [0.002, 0.01, 0.05])
def test_an_unrelated_model_is_found(share: float) -> None:
    own = model(1200, 64, seed=1, frame=1)
    vectors, which = mixed(own, turned(own, 5), share, seed=2)

    said = found(vectors)

    assert said[which].mean() >= 0.95
    assert said[~which].mean() <= 0.001


def test_with_some_that_are_proven_most_of_a_large_foreign_part_is_found() -> None:
    own = model(1200, 64, seed=1, frame=1)
    foreign = turned(model(1200, 64, seed=3, frame=1), 5)
    vectors, which = mixed(own, foreign, 0.2, seed=2)

    detector = learn(vectors, trusted=own[~which][:200])

    assert detector is not None
    assert detector.can_tell
    said = detector.scores(vectors) > 0
    assert said[which].mean() >= 0.8
    assert said[~which].mean() <= 0.001


def test_vectors_that_were_not_normalised_are_found_among_those_that_were() -> None:
    vectors = model(600, 32, seed=1, frame=1)
    vectors[7] *= 3.5

    detector = learn(vectors)

    assert detector is not None
    assert np.flatnonzero(detector.scores(vectors) > 0).tolist() == [7]


def test_lengths_that_vary_anyway_are_no_matter() -> None:
    vectors = model(600, 32, seed=1, frame=1)
    vectors *= np.random.default_rng(0).uniform(0.5, 2.0, (600, 1)).astype(np.float32)

    detector = learn(vectors)

    assert detector is not None
    assert (detector.scores(vectors) > 0).mean() <= 0.005


def test_what_does_not_stand_apart_is_not_guessed_at() -> None:
    """Vectors without any structure look the same in every frame."""
    ball = unit(np.random.default_rng(1).standard_normal((800, 16)))

    detector = learn(ball)

    assert detector is not None
    assert not detector.can_tell
    assert not (detector.scores(turned(ball, 3)) > 0).any()


def test_too_few_vectors_teach_nothing() -> None:
    assert learn(model(LEAST - 1, 16, seed=1, frame=1)) is None


def test_vectors_that_are_all_equal_are_no_error() -> None:
    detector = learn(np.repeat(unit(np.ones((1, 8))), 100, axis=0))

    assert detector is not None
    assert not (detector.scores(unit(np.ones((3, 8)))) > 0).any()


def test_a_fine_tune_cannot_be_seen_in_this_way() -> None:
    """What the documentation says it cannot do, it does not pretend to do."""
    own = model(1200, 64, seed=1, frame=1)
    noise = np.random.default_rng(4).standard_normal(own.shape) * 0.02
    vectors, which = mixed(own, unit(own + noise), 0.3, seed=2)

    detector = learn(vectors)

    assert detector is not None
    assert (detector.scores(vectors) > 0)[which].mean() < 0.5


# On two real corpora, each embedded by two real models that have nothing to do with each other.


def minilm(folder: Path, name: str) -> tuple[list[str], Vectors]:
    kept = np.load(folder / "vectors" / f"{name}.npz")
    return [str(id) for id in kept["doc_ids"]], unit(kept["docs"].astype(np.float64))


def texts_of(folder: Path, name: str, ids: list[str]) -> list[str]:
    with gzip.open(folder / name / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = {
            row["id"]: f"{row.get('title') or ''} {row.get('text') or ''}".strip() for row in map(json.loads, lines)
        }
    return [rows[id] for id in ids]


@pytest.mark.parametrize("name", ["cacm", pytest.param("nfcorpus", marks=pytest.mark.long)])
@pytest.mark.parametrize("serves", ["wordllama", "minilm"])
def test_one_in_a_hundred_is_found_among_real_vectors(shared_data: Path, name: str, serves: str) -> None:
    pytest.importorskip("wordllama")
    from undrift.adapters.embedders.wordllama import WordLlamaEmbedder

    ids, native = minilm(shared_data, name)
    texts = texts_of(shared_data, name, ids)
    kept = [row for row, text in enumerate(texts) if text]
    # Both models have 256 dimensions: one by nature, one by its first ones.
    other = unit(native[kept, :256])
    embedder = WordLlamaEmbedder()
    words = np.concatenate(
        [embedder.embed_documents([texts[row] for row in kept[at : at + 256]]) for at in range(0, len(kept), 256)]
    )
    own, foreign = (words, other) if serves == "wordllama" else (other, words)
    vectors, which = mixed(own, foreign, 0.01, seed=11)

    said = found(vectors, seed=3)

    assert said[which].mean() >= 0.95
    assert said[~which].mean() <= 0.001
