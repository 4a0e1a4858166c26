"""An embedding model whose tokens are counted by a tokenizer that somebody named for it."""

from __future__ import annotations

from collections.abc import Sequence

from undrift.domain.notice import ModelNotice
from undrift.domain.space import Space
from undrift.ports.batch import BatchService
from undrift.ports.embedder import Embedder, EmbedderLimits, TokenCount
from undrift.ports.tokenizer import Tokenizer


def counted(embedder: Embedder, tokenizer: Tokenizer) -> Embedder:
    """Return a model that counts with a tokenizer."""
    return CountingEmbedder(embedder, tokenizer)


class CountingEmbedder:
    """The model as it is, but that it counts tokens instead of estimating them."""

    def __init__(self, embedder: Embedder, tokenizer: Tokenizer) -> None:
        """Stand in front of a model, with the tokenizer that its provider bills by."""
        self._embedder = embedder
        self._tokenizer = tokenizer
        # Handed on, not called: a text reaches a model through its door alone.
        self.embed_documents = embedder.embed_documents
        self.embed_query = embedder.embed_query
        self.close = embedder.close

    @property
    def space(self) -> Space:
        """The model's."""
        return self._embedder.space

    @property
    def limits(self) -> EmbedderLimits:
        """The model's."""
        return self._embedder.limits

    @property
    def batches(self) -> BatchService | None:
        """The batch API of the model's provider; None where it has none."""
        return getattr(self._embedder, "batches", None)

    @property
    def notices(self) -> Sequence[ModelNotice]:
        """What the provider said beside its answers."""
        notices: Sequence[ModelNotice] = getattr(self._embedder, "notices", ())
        return notices

    def count_tokens(self, texts: Sequence[str]) -> TokenCount:
        """Count with the tokenizer."""
        return TokenCount(tokens=sum(self._tokenizer.count(texts)), exact=True)
