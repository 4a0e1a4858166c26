"""The names of everything undrift counts, and the counters of this process."""

from __future__ import annotations

import threading
from collections import Counter
from enum import Enum


class Metric(Enum):
    """Each counter, with the sentence that explains it."""

    #: Hits whose tag named another space than the query's; must stay 0.
    MIS_TAGGED_HITS = "undrift_mis_tagged_hits_total"
    #: Texts sent to an embedding model.
    TEXTS_EMBEDDED = "undrift_texts_embedded_total"
    #: Texts whose vector came from the cache or from a field that already had it.
    TEXTS_REUSED = "undrift_texts_reused_total"
    #: Texts that a provider cut, as their model's declaration allows.
    TEXTS_CUT = "undrift_texts_cut_total"
    #: Texts that were embedded in parts, as their model's declaration says.
    TEXTS_SPLIT = "undrift_texts_split_total"
    #: Writes that waited because a document was still to be carried over from the other field.
    WRITES_WAITED = "undrift_writes_waited_total"
    #: Writes whose outcome could not be known.
    OUTCOMES_UNKNOWN = "undrift_outcomes_unknown_total"


_lock = threading.Lock()
_counts: Counter[Metric] = Counter()


def count(metric: Metric, by: int = 1) -> None:
    """Add to a counter of this process; safe from any thread."""
    with _lock:
        _counts[metric] += by


def counted(metric: Metric) -> int:
    """Return what a counter of this process stands at."""
    with _lock:
        return _counts[metric]
