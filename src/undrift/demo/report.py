"""The outcome of a demo: counts and measures, in the shape that other programs rely on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from undrift.demo.answers import Answers
from undrift.demo.check import Findings
from undrift.demo.history import Delete, Histories, Outcome, Search
from undrift.domain.migration import Migration

#: What must be zero, or the demo has found a fault.
FAULTS = ("failed_searches", "lost", "resurrected", "stale", "mixed", "wrong_space_answers")
_SHOWN = 5


def result(
    *,
    loaded: int,
    documents: int,
    histories: Histories,
    answers: Answers,
    findings: Findings,
    kills: int,
    quality: tuple[Mapping[str, Any] | None, Mapping[str, Any] | None],
    migration: Migration,
    acts: Sequence[tuple[str, float]],
) -> dict[str, Any]:
    """Put the counts together, in the documented JSON shape without `seconds`.

    Args:
        loaded: documents that were there before anything was changed.
        documents: documents that are there in the end.
        histories: what the actors did.
        answers: what became of the searches.
        findings: what became of the documents.
        kills: how many processes were killed.
        quality: measures before and after, None for a corpus without questions.
        migration: the migration in the end.
        acts: name and monotonic beginning of each act; the last one is not timed.
    """
    acknowledged = [one for one in histories.operations if one.outcome is Outcome.ACKNOWLEDGED]
    effects = [effect for operation in acknowledged for effect in operation.effects.values()]
    deletes = sum(isinstance(effect, Delete) for effect in effects)
    before, after = quality
    during = [start for name, start in acts if name in ("back-fill", "count")]
    return {
        "documents": documents,
        "searches": answers.searches,
        "failed_searches": answers.failed,
        "writes": len(effects) - deletes,
        "deletes": deletes,
        "kills": kills,
        "lost": len(findings.lost),
        "resurrected": len(findings.resurrected),
        "stale": len(findings.stale),
        "mixed": len(findings.mixed),
        "wrong_space_answers": answers.wrong_space,
        "ndcg_at_10": _measure("ndcg_at_10", before, after),
        "recall_at_10": _measure("recall_at_10", before, after),
        "tokens": migration.tokens,
        "loaded": loaded,
        "checked": findings.checked,
        "repeated_writes": len(histories.operations) - len(acknowledged),
        "unknown_outcomes": sum(one.outcome is Outcome.UNKNOWN for one in histories.operations),
        "examples": {
            name: sorted(getattr(findings, name))[:_SHOWN] for name in ("lost", "resurrected", "stale", "mixed")
        },
        "search_ms": {
            "before": _latencies(one for one in histories.searches if one.ended <= during[0]),
            "during": _latencies(one for one in histories.searches if during[0] < one.began and one.ended <= during[1]),
        },
        "acts": [{"act": name, "seconds": round(end - start, 1)} for (name, start), (_, end) in pairwise(acts)],
    }


def is_faultless(result: Mapping[str, Any]) -> bool:
    """Whether nothing was lost, resurrected, stale, mixed, or answered wrongly or not at all."""
    return not any(result[fault] for fault in FAULTS)


def _measure(name: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> dict[str, float | None]:
    return {"before": before[name] if before else None, "after": after[name] if after else None}


def _latencies(searches: Iterable[Search]) -> dict[str, float | None]:
    times = [1000 * (one.ended - one.began) for one in searches if one.outcome is Outcome.ACKNOWLEDGED]
    if not times:
        return {"p50": None, "p99": None}
    median, slowest = np.percentile(times, [50, 99])
    return {"p50": round(float(median), 2), "p99": round(float(slowest), 2)}
