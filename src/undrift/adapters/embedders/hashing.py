"""An embedding model without weights: words and their letters, hashed into a fixed number of dimensions."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from undrift.domain.record import Vector, Vectors
from undrift.domain.space import Space
from undrift.errors import BadArgument
from undrift.ports.embedder import EmbedderLimits, TokenCount

#: Longer runs of letters are taken apart, so that a megabyte without a space costs what it should.
_WORD = re.compile(r"\w{1,64}")
#: Words whose features are remembered; real text repeats a few thousand of them.
_REMEMBERED_WORDS = 1 << 16
#: Share of a word's weight that its letters carry together; enough to find an inflected form.
_LETTERS_WEIGHT = 0.7
_MAX_DIMENSIONS = 1 << 14


class HashingEmbedder:
    """Signed feature hashing of lower-case words and their character trigrams; the same on every machine and version.

    It knows nothing of meaning: two texts are near when they share words or parts of words. It needs no download and
    embeds thousands of texts a second, so it stands in for a model in tests, and for the old model in the demo.
    (Weinberger et al. 2009, "Feature hashing for large scale multitask learning", for the signed hash.)
    """

    def __init__(self, *, name: str = "words-and-trigrams", dimensions: int = 256, seed: str = "") -> None:
        """Make the model.

        Args:
            name: what the model is called; another name makes another space of the same vectors.
            dimensions: length of the vectors, 2 to 16,384.
            seed: another seed gives another space of the same dimensions, unrelated to this one.

        Raises:
            BadArgument: the dimensions are out of range.
        """
        if not 2 <= dimensions <= _MAX_DIMENSIONS:
            raise BadArgument(f"a hashing model of {dimensions} dimensions cannot be made; 2 to {_MAX_DIMENSIONS} can")
        self._space = Space(
            channel="hashing",
            model=name,
            revision=f"1-{seed}" if seed else "1",
            dimensions=dimensions,
        )
        self._key = hashlib.blake2b(seed.encode("utf-8", "surrogatepass"), digest_size=32).digest()
        self._word_features = lru_cache(maxsize=_REMEMBERED_WORDS)(self._hash_word)

    @property
    def space(self) -> Space:
        """The space every vector belongs to."""
        return self._space

    @property
    def limits(self) -> EmbedderLimits:
        """Free, and cheaper to make again than to keep."""
        return EmbedderLimits(batch_size=256, concurrency=1, worth_keeping=False)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Embed texts; float32, shape (n, d), unit length."""
        return self._embed(texts)

    def embed_query(self, text: str) -> Vector:
        """Embed a query, exactly as a document; float32, shape (d,)."""
        vector: Vector = self._embed([text])[0]
        return vector

    def count_tokens(self, texts: Sequence[str]) -> TokenCount:
        """Count words, which are this model's tokens."""
        return TokenCount(tokens=sum(len(_words(text)) for text in texts), exact=True)

    def close(self) -> None:
        """Forget the words seen."""
        self._word_features.cache_clear()

    def _embed(self, texts: Sequence[str]) -> Vectors:
        rows: list[int] = []
        weights: list[float] = []
        columns: list[NDArray[np.int64]] = []
        values: list[NDArray[np.float64]] = []
        for row, text in enumerate(texts):
            for word, times in Counter(_words(text)).items():
                column, value = self._word_features(word)
                columns.append(column)
                values.append(value)
                rows.append(row)
                # A word said ten times is not ten times as much what the text is about.
                weights.append(1.0 + math.log(times))
        vectors = self._sum(len(texts), rows, weights, columns, values)
        lengths = np.linalg.norm(vectors, axis=1)
        for row, length in enumerate(lengths):
            if length < 1e-9:
                # Opposite signs have cancelled out, or there was nothing to hash: any fixed direction will do.
                vectors[row, self._slot(texts[row])[0]] = lengths[row] = 1.0
        return np.ascontiguousarray(vectors / lengths[:, None], dtype=np.float32)

    def _sum(
        self,
        count: int,
        rows: list[int],
        weights: list[float],
        columns: list[NDArray[np.int64]],
        values: list[NDArray[np.float64]],
    ) -> NDArray[np.float64]:
        """Add up weighted features, all texts at once."""
        dimensions = self._space.dimensions
        if not rows:
            return np.zeros((count, dimensions))
        sizes = np.fromiter(map(len, columns), dtype=np.int64, count=len(columns))
        cells = np.repeat(np.array(rows), sizes) * dimensions + np.concatenate(columns)
        summands = np.concatenate(values) * np.repeat(np.array(weights), sizes)
        sums = np.bincount(cells, weights=summands, minlength=count * dimensions)
        return np.asarray(sums, dtype=np.float64).reshape(count, dimensions)

    def _hash_word(self, word: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return where a word and its trigrams go, and with which weight and sign."""
        edged = f"^{word}$"
        trigrams = [edged[start : start + 3] for start in range(len(edged) - 2)]
        slots = [self._slot("w" + word), *(self._slot("t" + trigram) for trigram in trigrams)]
        # Each word weighs the same, however many trigrams it has.
        share = _LETTERS_WEIGHT / math.sqrt(len(trigrams))
        signs = [sign * (share if place else 1.0) for place, (_, sign) in enumerate(slots)]
        return np.array([slot for slot, _ in slots], dtype=np.int64), np.array(signs)

    def _slot(self, feature: str) -> tuple[int, float]:
        digest = hashlib.blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=8, key=self._key).digest()
        number = int.from_bytes(digest, "little")
        return (number >> 1) % self._space.dimensions, 1.0 if number & 1 else -1.0


def _words(text: str) -> list[str]:
    """Take a text apart; what has no letters or digits (a row of dashes, an emoji) counts by its blanks."""
    lower = text.lower()
    return _WORD.findall(lower) or [piece[:64] for piece in lower.split()]
