"""Vectors that are kept to be compared with later ones, as text for the ledger's memory."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from undrift.domain.record import Vectors
from undrift.domain.space import SpaceId


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Vectors of one space.

    In the ledger 4,000 vectors of 384 dimensions are 4.1 MB, of 1,536 dimensions 16.4 MB: 8/3 bytes a value.

    Attributes:
        space: what the vectors are of; those of another one are never compared with them.
        moment: when they were taken, ISO 8601.
        vectors: float32, shape (n, d), exact to 3 decimal digits.
        labels: of each vector, such as `lang=en`; empty where nobody asked for any.
        more: what else is remembered of them, as JSON values.
    """

    space: SpaceId
    moment: str
    vectors: Vectors
    labels: Sequence[Sequence[str]] = ()
    more: dict[str, Any] = field(default_factory=dict)

    def as_text(self) -> str:
        """Return the form that the ledger keeps."""
        return json.dumps(
            {
                "space": self.space,
                "moment": self.moment,
                "dimensions": self.vectors.shape[1],
                "vectors": packed(self.vectors),
                "labels": [list(one) for one in self.labels],
                "more": self.more,
            },
            ensure_ascii=False,
        )

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read that form back."""
        values = json.loads(text)
        return cls(
            space=values["space"],
            moment=values["moment"],
            vectors=unpacked(values["vectors"], values["dimensions"]),
            labels=tuple(values["labels"]),
            more=values["more"],
        )

    def of_label(self, label: str) -> NDArray[np.intp]:
        """Return the rows that have a label."""
        return np.flatnonzero(np.array([label in one for one in self.labels], dtype=bool))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """What of queries may be kept.

    Attributes:
        texts: their texts too, which may be private.
        labels: keys of the filter by which they are divided, such as the language.
    """

    texts: bool = False
    labels: Sequence[str] = ()


def labels_of(values: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    """Return the labels that some keys of metadata, or of a filter, make: `lang=en`."""
    found = {key: values.get(key) for key in keys}
    return [f"{key}={value}" for key, value in found.items() if isinstance(value, str | int)]


def packed(vectors: Vectors) -> str:
    """Return vectors as text: float16, which is exact enough for every statistic here.

    They get length 1 before, so that long ones do not overflow; one that is no number stays so.
    """
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    with np.errstate(invalid="ignore"):
        units = vectors / np.maximum(lengths, 1e-300)[:, None]
    return base64.b64encode(units.astype("<f2").tobytes()).decode("ascii")


def unpacked(text: str, dimensions: int) -> Vectors:
    """Return vectors of that form, float32, shape (n, dimensions)."""
    return np.frombuffer(base64.b64decode(text), dtype="<f2").astype(np.float32).reshape(-1, dimensions)


def as_kept(vectors: Vectors) -> Vectors:
    """Return vectors as they would be read back: a text that stands twice has one vector, whenever it was kept."""
    return unpacked(packed(vectors), vectors.shape[1])
