"""The identity of the coordinate system in which vectors may be compared."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, NewType

import numpy as np
from numpy.typing import NDArray

SpaceId = NewType("SpaceId", str)

#: Grows when the canonical form below changes, so that old and new ids never collide.
FINGERPRINT_VERSION = 1


class Metric(Enum):
    """How two vectors are compared."""

    #: 1 - cosine of the angle; length is ignored.
    COSINE = "cosine"
    #: Inner product; length matters.
    DOT = "dot"
    #: Euclidean distance.
    L2 = "l2"


class Truncation(Enum):
    """What happens to a text that is longer than the model takes."""

    #: The text is refused with an error that names it.
    REFUSE = "refuse"
    #: The model cuts the text at its limit; declared, and part of the space.
    CUT = "cut"
    #: The text is embedded in parts, and has the mean of their vectors; declared, and part of the space.
    SPLIT = "split"


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Everything that makes two vectors comparable; two equal spaces, and only those, may meet.

    Attributes:
        channel: who computes the vectors (`openai`, `wordllama`, `callable`, …).
        model: the model's name at that channel.
        revision: its immutable version: a commit, a dated release, a hash of the weights.
        dimensions: length d of every vector.
        metric: how vectors are compared.
        normalized: whether every vector has Euclidean length 1.
        cut: dimensions kept of a longer native vector, or None when the vector is native.
        document_prefix: text put in front of every document before it is embedded.
        query_prefix: text put in front of every query before it is embedded.
        document_task: the provider's task or input type for documents; empty when it has none.
        query_task: the provider's task or input type for queries.
        max_tokens: the longest text in tokens, or None when the model has no limit.
        truncation: what happens to a longer text.
        dtype: the number format in which the model computes (`float32`, `int8`, …).
        text_form: version of the rule that turns a document into the text that is hashed and embedded.
    """

    channel: str
    model: str
    revision: str
    dimensions: int
    metric: Metric = Metric.COSINE
    normalized: bool = True
    cut: int | None = None
    document_prefix: str = ""
    query_prefix: str = ""
    document_task: str = ""
    query_task: str = ""
    max_tokens: int | None = None
    truncation: Truncation = Truncation.REFUSE
    dtype: str = "float32"
    text_form: int = 1

    @property
    def id(self) -> SpaceId:
        """A readable name and 12 hexadecimal digits of the fingerprint."""
        name = re.sub(r"[^a-z0-9]+", "-", self.model.lower()).strip("-")[:32] or "model"
        return SpaceId(f"{name}-{self.dimensions}-{self.fingerprint[:12]}")

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the canonical JSON form of every attribute."""
        return _fingerprint(self)

    def as_dict(self) -> dict[str, Any]:
        """Return the attributes as JSON-ready values."""
        return {key: value.value if isinstance(value, Enum) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Space:
        """Rebuild a space from `as_dict`."""
        return cls(**{**values, "metric": Metric(values["metric"]), "truncation": Truncation(values["truncation"])})


@lru_cache(maxsize=256)
def _fingerprint(space: Space) -> str:
    canonical = json.dumps(
        {"v": FINGERPRINT_VERSION, **space.as_dict()}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    return hashlib.sha256(canonical.encode()).hexdigest()


def differences(left: Space, right: Space) -> list[str]:
    """Name what keeps two spaces apart, one `attribute: left, not right` a line."""
    mine, theirs = left.as_dict(), right.as_dict()
    return [f"{key}: {mine[key]!r}, not {theirs[key]!r}" for key in mine if mine[key] != theirs[key]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenSpace:
    """A space, the model that computes it, and the vectors that its probe texts had when it was recorded.

    Attributes:
        space: the identity.
        model: name of the model in the configuration.
        probes: float32, shape (p, d), one row per probe text.
    """

    space: Space
    model: str
    probes: NDArray[np.float32]
