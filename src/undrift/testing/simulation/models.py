"""Models whose vectors say which model made them, and of which text."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from undrift.domain.record import ContentHash, Vector, Vectors
from undrift.domain.space import Space, SpaceId
from undrift.ports.embedder import EmbedderLimits, TokenCount

#: The same for every model, so that a mix-up is not noticed by the length of a vector.
DIMENSIONS = 8
#: What the first component of every vector of a model is; by its sign, two models are told apart.
_MARK = 0.6


class SpeakingModel:
    """A model without meaning: equal vectors are of the same model and the same text."""

    def __init__(self, name: str, *, sign: int) -> None:
        """Make the model; `asked` counts the texts of documents that it was sent, for whoever counts them.

        Args:
            name: its name.
            sign: 1 or -1; the sign of every vector's first component.
        """
        self.space = Space(channel="simulation", model=name, revision="1", dimensions=DIMENSIONS)
        self.limits = EmbedderLimits(batch_size=64, concurrency=64)
        self.asked: Counter[str] = Counter()
        self._sign = sign

    def vector(self, text: str) -> Vector:
        """Return the vector of a text; float32, shape (8,)."""
        return _vector(self.space.model, self._sign, text)

    def made(self, vector: Vector) -> bool:
        """Whether a vector is one of this model's."""
        return bool(float(vector[0]) * self._sign > 0)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Embed texts; float32, shape (n, 8)."""
        return np.stack([self.vector(text) for text in texts])

    def embed_query(self, text: str) -> Vector:
        """Embed a query; float32, shape (8,)."""
        return self.vector(text)

    def count_tokens(self, texts: Sequence[str]) -> TokenCount:
        """Count each text as one."""
        return TokenCount(tokens=len(texts), exact=True)

    def close(self) -> None:
        """Let go of nothing."""


@lru_cache(maxsize=4096)
def _vector(model: str, sign: int, text: str) -> Vector:
    digest = hashlib.blake2b(f"{model}\n{text}".encode(), digest_size=2 * (DIMENSIONS - 1)).digest()
    rest = np.frombuffer(digest, dtype="<u2").astype(np.float64) + 1.0
    rest *= (1 - _MARK**2) ** 0.5 / float(np.linalg.norm(rest))
    vector: Vector = np.concatenate([[_MARK * sign], rest]).astype(np.float32)
    vector.flags.writeable = False
    return vector


class DictCache:
    """A cache of vectors in memory, shared by all simulated processes."""

    def __init__(self) -> None:
        """Begin empty."""
        self._kept: dict[tuple[SpaceId, ContentHash], Vector] = {}

    def get(self, space: SpaceId, hashes: Iterable[ContentHash]) -> dict[ContentHash, Vector]:
        """Return those vectors that are there."""
        return {key: self._kept[space, key] for key in hashes if (space, key) in self._kept}

    def put(self, space: SpaceId, hashes: Sequence[ContentHash], vectors: Vectors) -> None:
        """Keep vectors."""
        for key, vector in zip(hashes, vectors, strict=True):
            self._kept.setdefault((space, key), vector)

    def close(self) -> None:
        """Let go of nothing."""
