"""A sample of the queries that this process answers, told to the look-out off the way of a search."""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from undrift.domain.record import Hit, Vector
from undrift.domain.route import AliasName
from undrift.domain.space import SpaceId
from undrift.domain.window import Sampling, labels_of, packed
from undrift.errors import UndriftError
from undrift.ports.memory import MemoryLedger
from undrift.ports.runtime import Clock

#: Where the samples are, by the name of the alias.
SERIES = "watch/queries/asked/"
#: Samples that are kept, and queries in each at most: 4,096 in all, 4.2 MB for 384 dimensions, 16.8 MB for 1,536.
KEPT, SAMPLE = 128, 32
#: Queries that may wait; in a busier minute the oldest are dropped.
_WAITING = 512
#: How often a process tells, in seconds.
_TELL_EVERY_S = 60.0


class Asked:
    """The queries of one alias in this process, of which each minute a few are told."""

    def __init__(self, alias: AliasName, sampling: Sampling, *, memory: MemoryLedger, clock: Clock) -> None:
        """Know of no query yet."""
        self._alias = alias
        self._sampling = sampling
        self._memory = memory
        self._clock = clock
        self._waiting: deque[tuple[SpaceId, Vector, float | None, str, list[str]]] = deque(maxlen=_WAITING)
        self._chance = random.Random()
        self._next = clock.monotonic() + _TELL_EVERY_S

    def saw(
        self, space: SpaceId, vector: Vector, hits: Sequence[Hit], text: str, filter: Mapping[str, Any] | None
    ) -> None:
        """Take note of a query and its answer; nothing is computed or written now."""
        labels = labels_of(filter or {}, self._sampling.labels)
        kept = text if self._sampling.texts else ""
        self._waiting.append((space, vector, hits[0].score if hits else None, kept, labels))

    def tell(self) -> None:
        """Leave a sample for the look-out, if it is time; what does not arrive is dropped."""
        now = self._clock.monotonic()
        if now < self._next or not self._waiting:
            return
        self._next = now + _TELL_EVERY_S
        waiting = [self._waiting.popleft() for _ in range(len(self._waiting))]
        # After a cutover some may still be of the space before; they are few, and dropped.
        space = waiting[-1][0]
        asked = [one for one in waiting if one[0] == space]
        sample = self._chance.sample(asked, min(SAMPLE, len(asked)))
        content = {
            "space": space,
            "dimensions": len(sample[0][1]),
            "vectors": packed(np.stack([vector for _, vector, _, _, _ in sample])),
            "scores": [score for _, _, score, _, _ in sample if score is not None],
            "asked": len(asked),
            "without_result": sum(score is None for _, _, score, _, _ in asked),
            "texts": [text for _, _, _, text, _ in sample] if self._sampling.texts else [],
            "labels": [labels for _, _, _, _, labels in sample] if self._sampling.labels else [],
        }
        with suppress(UndriftError):
            text = json.dumps(content, ensure_ascii=False)
            self._memory.observe(f"{SERIES}{self._alias}", self._clock.now(), text, keep=KEPT)
