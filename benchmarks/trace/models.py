"""The two models that all contestants use, and the bill of what each of them embedded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.adapters.embedders.wordllama import WordLlamaEmbedder
from undrift.domain.record import Vector, Vectors
from undrift.domain.space import Space
from undrift.ports.embedder import Embedder, EmbedderLimits, TokenCount

#: Of both models, so that a query of the wrong one is answered instead of refused.
DIMENSIONS = 256
OLD, NEW = "old", "new"
APPLICATION = "the application"


class Kept:
    """A model whose answers are remembered, so that every contestant has the very same vectors and none waits."""

    def __init__(self, embedder: Embedder) -> None:
        """Remember what a model says."""
        self.embedder = embedder
        self._vectors: dict[str, Vector] = {}
        self._tokens: dict[str, int] = {}

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of texts; float32, shape (n, 256)."""
        new = list(dict.fromkeys(text for text in texts if text not in self._vectors))
        size = self.embedder.limits.batch_size
        for start in range(0, len(new), size):
            part = new[start : start + size]
            self._vectors.update(zip(part, self.embedder.embed_documents(part), strict=True))
        return np.stack([self._vectors[text] for text in texts]) if texts else np.empty((0, DIMENSIONS), np.float32)

    def tokens(self, text: str) -> int:
        """Return how many tokens a text is billed for."""
        if text not in self._tokens:
            self._tokens[text] = self.embedder.count_tokens([text]).tokens
        return self._tokens[text]


def kept_models() -> dict[str, Kept]:
    """Return the models of the demo: words and letters before, WordLlama after."""
    return {
        OLD: Kept(HashingEmbedder(dimensions=DIMENSIONS)),
        NEW: Kept(WordLlamaEmbedder(dimensions=DIMENSIONS)),
    }


class Bill:
    """What a contestant had embedded: every text, by which model, and who asked."""

    def __init__(self, models: Mapping[str, Kept]) -> None:
        """Begin with nothing."""
        self._models = models
        self._asked: dict[tuple[str, str], Counter[str]] = {}
        self._spender = APPLICATION

    @contextmanager
    def of(self, spender: str) -> Iterator[None]:
        """Bill somebody else for a while."""
        before, self._spender = self._spender, spender
        try:
            yield
        finally:
            self._spender = before

    def vectors(self, model: str, texts: Sequence[str]) -> Vectors:
        """Embed texts, and write them down."""
        self._asked.setdefault((model, self._spender), Counter()).update(texts)
        return self._models[model].vectors(texts)

    def tokens(self) -> int:
        """Return the tokens of everything that was embedded."""
        return sum(
            self._models[model].tokens(text) * count
            for (model, _), texts in self._asked.items()
            for text, count in texts.items()
        )

    def tokens_again(self, first: str, second: str, *, before: Mapping[str, int], after: Mapping[str, int]) -> int:
        """Return the tokens that a second spender paid for documents of which the first one had paid already.

        Args:
            first: whoever died.
            second: whoever took over.
            before: how often some document had come to have a text when the first one died.
            after: the same in the end. Texts that are not in it, such as probes, do not count.
        """
        paid, asked = (self._asked.get((NEW, spender), Counter[str]()) for spender in (first, second))
        return sum(
            self._models[NEW].tokens(text) * max(0, count - _due(paid[text], before.get(text, 0), after[text]))
            for text, count in asked.items()
            if paid[text] and text in after
        )


class Billed:
    """A model as undrift takes one, on a bill.

    It stands for a provider that is paid: what was embedded is worth keeping until it is published.
    """

    def __init__(self, name: str, kept: Kept, bill: Bill) -> None:
        """Put a model on a bill."""
        self._name = name
        self._kept = kept
        self._bill = bill

    @property
    def space(self) -> Space:
        """The space of the model."""
        return self._kept.embedder.space

    @property
    def limits(self) -> EmbedderLimits:
        """One request for a batch of the back-fill."""
        return EmbedderLimits(batch_size=256, concurrency=1, worth_keeping=True)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Embed texts; float32, shape (n, 256)."""
        return self._bill.vectors(self._name, texts)

    def embed_query(self, text: str) -> Vector:
        """Embed a query, which both models do as they embed a document; float32, shape (256,)."""
        vector: Vector = self._bill.vectors(self._name, [text])[0]
        return vector

    def count_tokens(self, texts: Sequence[str]) -> TokenCount:
        """Count tokens."""
        return TokenCount(tokens=sum(map(self._kept.tokens, texts)), exact=True)

    def close(self) -> None:
        """Keep everything: the next process uses it as well."""


def _due(paid: int, before: int, after: int) -> int:
    """Return how many vectors of a text may still be needed: those that were not paid for, and those of later texts."""
    return max(0, before - paid) + after - before
