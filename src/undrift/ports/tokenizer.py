"""What a tokenizer must do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Tokenizer(Protocol):
    """A model's own way to take texts apart, on this machine; safe to use from several threads."""

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the tokens of each text, as the model's provider bills them."""
        ...
