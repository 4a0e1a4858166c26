"""The names of everything undrift counts, the counters of this process, and the spans of its work."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from enum import Enum

#: Makes the context of a span, from its name and what is known of it.
Tracer = Callable[[str, dict[str, str | int]], AbstractContextManager[object]]


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


_tracer: Tracer | None = None


def trace_with(tracer: Tracer | None) -> None:
    """Let every span of this process be made so; None for none."""
    global _tracer  # noqa: PLW0603 - one process has one way to trace, as it has one set of counters
    _tracer = tracer


def span(name: str, **known: str | int) -> AbstractContextManager[object]:
    """Return the context of a piece of work; it costs nothing while nobody traces.

    Args:
        name: what is done, in few words that are always the same.
        known: of what; a double underscore in a name stands for a dot.
    """
    if _tracer is None:
        return nullcontext()
    return _tracer(name, {key.replace("__", "."): value for key, value in known.items()})
