"""An embedding model whose tokens are counted by a tokenizer that somebody named for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from undrift.ports.embedder import Embedder, TokenCount
from undrift.ports.tokenizer import Tokenizer


def counted(embedder: Embedder, tokenizer: Tokenizer) -> Embedder:
    """Return a model that counts with a tokenizer."""
    return cast(Embedder, CountingEmbedder(embedder, tokenizer))


class CountingEmbedder:
    """The model as it is, but that it counts tokens instead of estimating them."""

    def __init__(self, embedder: Embedder, tokenizer: Tokenizer) -> None:
        """Stand in front of a model, with the tokenizer that its provider bills by."""
        self._embedder = embedder
        self._tokenizer = tokenizer

    def __getattr__(self, name: str) -> Any:
        """Pass everything else on."""
        return getattr(self._embedder, name)

    def count_tokens(self, texts: Sequence[str]) -> TokenCount:
        """Count with the tokenizer."""
        return TokenCount(tokens=sum(self._tokenizer.count(texts)), exact=True)
