"""Golden queries asked again and again: whether the answers change more than documents that come and go make them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from undrift.domain.finding import Finding, Severity, State
from undrift.domain.space import SpaceId
from undrift.domain.wording import plural
from undrift.errors import ConflictError, MissingExtra
from undrift.ports.memory import MemoryLedger
from undrift.quality.golden import GoldenSet
from undrift.quality.paired import Gain
from undrift.quality.ranking import measure
from undrift.quality.ranks import DEPTH, LEAST, Answers, K, changed_since, compare, usual

#: Golden queries that are asked, at most: the first of the set.
MOST = 200
#: Looks that are remembered.
KEPT = 400
CHECK = "retrieval"
_BASELINE, _SERIES = "watch/retrieval/baseline/", "watch/retrieval/looks/"
_WORDS = {"overlap": "overlap of the first 10", "rank_biased": "rank-biased overlap", "top_score": "the first score"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is asked.

    Attributes:
        alias: the alias whose serving field is searched.
        golden: the queries.
        space: of the serving field; answers in another space are not compared.
        search: returns ids and scores of the nearest documents to a text, `DEPTH` of them, best first.
        churn: share of the documents that come or go between the baseline and a look.
    """

    alias: str
    golden: GoldenSet
    space: SpaceId
    search: Callable[[str], Sequence[tuple[str, float]]]
    churn: float

    @property
    def name(self) -> str:
        """What findings and memos call it."""
        return f"{self.alias}/{self.golden.name}"


def look(subject: Subject, memory: MemoryLedger, *, moment: datetime) -> Finding:
    """Ask the golden queries now, and compare the answers with those of the baseline.

    The first look is the baseline, and so is the first one in another space or with other queries.
    """
    queries = subject.golden.queries[:MOST]
    if len(queries) < LEAST:
        missing = plural(LEAST - len(queries), "more query", "more queries")
        return _finding(
            subject, moment, State.UNKNOWN, f"golden set {subject.golden.name} is too small: {missing} needed"
        )
    answers = {query.id: list(subject.search(query.text)) for query in queries}
    memo = memory.recall(_BASELINE + subject.name)
    baseline: dict[str, Any] = json.loads(memo.text) if memo is not None else {}
    before = _answers(baseline, subject.golden)
    if baseline.get("space") != subject.space or len(before) < LEAST:
        return _keep(subject, answers, memory, moment, version=memo.version if memo is not None else 0)
    change, noise = compare(before, answers), usual(before, churn=subject.churn)
    gain = _gain(subject.golden, before, answers)
    excess = noise.excess(change)
    seen_now = {**asdict(change), "excess": excess["overlap"], "baseline": baseline["moment"]}
    _observe(subject, memory, moment, seen_now, gain)
    beyond = noise.beyond(change)
    past = _looks(memory, subject, since=baseline["moment"])
    turn = changed_since([one["excess"] for one in past])
    figures = {
        "overlap_ratio": change.overlap,
        "rbo_ratio": change.rank_biased,
        "top_score_change": change.top_score,
        **({"ndcg_change_ratio": gain.mean} if gain is not None else {}),
    }
    seen = f"{change.overlap:.0%} of the first {K} hits are those of {baseline['moment'][:10]}"
    if not beyond and not turn.has_changed:
        return _finding(subject, moment, State.GOOD, f"golden set {subject.golden.name}: {seen}", figures=figures)
    detail = [
        f"{_WORDS[name]} is {excess[name]:.1f} standard deviations worse than documents that come and go make it"
        for name in beyond
    ]
    if turn.has_changed:
        detail.append(f"the trend has changed for good since {past[turn.since]['moment'][:16]} UTC")
    is_worse = gain is not None and gain.high < 0
    return _finding(
        subject,
        moment,
        State.BAD,
        f"answers of {subject.alias} have changed: {seen} (golden set {subject.golden.name})",
        severity=Severity.ERROR if is_worse else Severity.WARNING,
        detail="\n".join([*detail, _direction(gain)]),
        hint=f"undrift golden run {subject.golden.name} {subject.alias}",
        figures=figures,
    )


def accept(subject: Subject, memory: MemoryLedger, *, moment: datetime) -> Finding:
    """Ask the golden queries now and take their answers as the new baseline.

    Raises:
        ConflictError: another process did the same at this moment.
    """
    answers = {query.id: list(subject.search(query.text)) for query in subject.golden.queries[:MOST]}
    memo = memory.recall(_BASELINE + subject.name)
    return _keep(subject, answers, memory, moment, version=memo.version if memo is not None else 0)


def trend(memory: MemoryLedger, alias: str, golden: str) -> list[dict[str, Any]]:
    """Return what the looks found, the oldest first: overlap, and the change of nDCG with its 95 % interval."""
    series = memory.observed(f"{_SERIES}{alias}/{golden}", limit=KEPT)
    return [{"moment": one.moment.isoformat(), **json.loads(one.text)} for one in reversed(series)]


def _keep(subject: Subject, answers: Answers, memory: MemoryLedger, moment: datetime, *, version: int) -> Finding:
    texts = {query.id: query.text for query in subject.golden.queries[:MOST]}
    content = {"space": subject.space, "moment": moment.isoformat(), "answers": answers, "texts": texts}
    if not memory.remember(_BASELINE + subject.name, json.dumps(content, ensure_ascii=False), version=version):
        raise ConflictError(f"the baseline of {subject.name} was taken by another process at this moment")
    words = f"the answers to {plural(len(answers), 'golden query', 'golden queries')} are the baseline from now on"
    return _finding(subject, moment, State.UNKNOWN, words)


def _answers(baseline: Mapping[str, Any], golden: GoldenSet) -> Answers:
    """Return the answers of a baseline to the queries that are still asked in the same words."""
    texts = {query.id: query.text for query in golden.queries[:MOST]}
    return {
        query: [(id, score) for id, score in hits[:DEPTH]]
        for query, hits in baseline.get("answers", {}).items()
        if query in texts and baseline.get("texts", texts).get(query) == texts[query]
    }


def _looks(memory: MemoryLedger, subject: Subject, *, since: str) -> list[dict[str, Any]]:
    return [one for one in trend(memory, subject.alias, subject.golden.name) if one["baseline"] == since]


def _observe(
    subject: Subject, memory: MemoryLedger, moment: datetime, seen: Mapping[str, Any], gain: Gain | None
) -> None:
    content = {
        **seen,
        "ndcg_change": gain.mean if gain is not None else None,
        "ci95": [gain.low, gain.high] if gain is not None else None,
    }
    memory.observe(_SERIES + subject.name, moment, json.dumps(content), keep=KEPT)


def _gain(golden: GoldenSet, before: Answers, now: Answers) -> Gain | None:
    """Return how nDCG has changed; None where nobody judged, or nothing is installed that measures it."""
    judged = [query.id for query in golden.judged if query.id in before and query.id in now]
    if not judged:
        return None
    try:
        was, current = (measure(golden, answers, k=K).by_query for answers in (before, now))
    except MissingExtra:
        return None
    return Gain.of([current[id].ndcg - was[id].ndcg for id in judged])


def _direction(gain: Gain | None) -> str:
    if gain is None:
        return (
            "whether they are better or worse nobody knows: no query is judged, or `undrift[golden]` is not installed"
        )
    interval = f"nDCG@{K} {gain.mean:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})"
    if gain.high < 0:
        return f"they are worse: {interval}"
    if gain.low > 0:
        return f"they are better: {interval}"
    return f"whether they are better or worse does not show: {interval}"


def _finding(
    subject: Subject,
    moment: datetime,
    state: State,
    words: str,
    *,
    severity: Severity = Severity.INFO,
    detail: str = "",
    hint: str = "",
    figures: Mapping[str, float] | None = None,
) -> Finding:
    return Finding(
        check=CHECK,
        subject=subject.name,
        state=state,
        severity=severity,
        moment=moment,
        words=words,
        detail=detail,
        hint=hint,
        figures=figures or {},
    )
