"""Vectors as texts of some topics give them."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

NOW = datetime(2026, 11, 23, tzinfo=UTC)
DIMENSIONS, TOPICS = 24, 5
_MIDDLES = np.random.default_rng(0).standard_normal((TOPICS + 1, DIMENSIONS))


def vectors(seed: int, count: int, *, novel: float = 0.0) -> NDArray[np.float32]:
    """Draw vectors of length 1; a share of them, the first ones, is of a topic that is not among the others."""
    rng = np.random.default_rng(seed)
    topics = rng.integers(TOPICS, size=count)
    topics[: round(novel * count)] = TOPICS
    found = _MIDDLES[topics] + rng.standard_normal((count, DIMENSIONS)) * np.geomspace(1.5, 0.1, DIMENSIONS)
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)
