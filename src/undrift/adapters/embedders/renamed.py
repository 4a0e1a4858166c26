"""A model whose vectors belong to a space that its own was proved equal to."""

from __future__ import annotations

from typing import Any, cast

from undrift.domain.space import Space
from undrift.ports.embedder import Embedder


def in_space(embedder: Embedder, space: Space) -> Embedder:
    """Return a model whose vectors carry the tag of another space; a proof must have come before."""
    return cast(Embedder, RenamedEmbedder(embedder, space))


class RenamedEmbedder:
    """The model as it is, under the name of another space."""

    def __init__(self, embedder: Embedder, space: Space) -> None:
        """Stand in front of a model."""
        self._embedder = embedder
        self.space = space

    def __getattr__(self, name: str) -> Any:
        """Pass everything else on."""
        return getattr(self._embedder, name)
