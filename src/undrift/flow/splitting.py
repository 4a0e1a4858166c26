"""Texts that are longer than their model takes, where its space says to split them: halved until the model takes them.

Where a text is split depends on nothing but the text and what the model refuses, so every host gets the same vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from undrift.domain.record import Vector, Vectors, canonical_text
from undrift.domain.space import Space, Truncation
from undrift.errors import TextTooLong


def halves_of(text: str) -> tuple[str, str] | None:
    """Split a text in canonical form at the white space nearest to its middle; None where nothing is left to split.

    A text without white space in its middle half is split in the middle.
    """
    middle = len(text) // 2
    for distance in range(len(text) // 4 + 1):
        for place in (middle - distance, middle + distance):
            if place < len(text) and text[place].isspace():
                return _two(text[:place], text[place:])
    return _two(text[:middle], text[middle:])


def combined(vectors: Vectors | Sequence[Vector], texts: Sequence[str], space: Space) -> Vector:
    """Return the vector of a text from those of its halves.

    It is their mean, weighted by their characters, which every host counts the same; of length 1 where the vectors of
    the space are.

    Args:
        vectors: float32, shape (n, d), or n of shape (d,).
        texts: what each is the vector of.
        space: their space.
    """
    mean = np.average(np.asarray(vectors, dtype=np.float64), axis=0, weights=[len(text) for text in texts])
    length = float(np.linalg.norm(mean))
    if space.normalized and length > 0:
        mean /= length
    vector: Vector = mean.astype(np.float32)
    return vector


def whole(texts: Sequence[str], space: Space, embed: Callable[[Sequence[str]], Vectors]) -> Vectors:
    """Embed texts past the cache, and the halves of those that are too long, where the space says so.

    Raises:
        TextTooLong: one is too long, and the space says something else, or nothing is left to split.
    """
    try:
        return embed(texts)
    except TextTooLong:
        if space.truncation is not Truncation.SPLIT:
            raise
        if len(texts) > 1:
            return np.concatenate([whole([text], space, embed) for text in texts])
        halves = halves_of(texts[0])
        if halves is None:
            raise
    return combined(whole(halves, space, embed), halves, space)[None, :]


def _two(left: str, right: str) -> tuple[str, str] | None:
    left, right = canonical_text(left), canonical_text(right)
    return (left, right) if left and right else None
