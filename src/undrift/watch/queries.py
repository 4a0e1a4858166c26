"""Whether people still ask what they asked when the reference was taken, and whether they still find something."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import sqrt
from typing import Any

import numpy as np

from undrift.domain.finding import Finding, Severity, State
from undrift.domain.space import SpaceId
from undrift.domain.window import Window, unpacked
from undrift.domain.wording import plural
from undrift.errors import ConflictError
from undrift.flow.asked import KEPT, SERIES
from undrift.ports.memory import MemoryLedger
from undrift.quality.chances import binomial_at_least, normal_above
from undrift.quality.drift import CHANCE, LEAST, REFERENCE, WINDOW
from undrift.watch.comparison import findings, taken, too_few

CHECK = "queries"
_MEMO, _LOOKED = "watch/queries/reference/", "watch/queries/looked/"
#: A larger share of searches without a result, and a change of the first score by more of its standard deviation, are
#: worth a word where they are certain.
_WITHOUT, _SCORE = 0.01, 0.25


@dataclass(frozen=True, slots=True)
class _Seen:
    """Queries of some samples, put together."""

    window: Window
    texts: Sequence[str]
    scores: Sequence[float]
    asked: int
    without_result: int


def look(alias: str, space: SpaceId, memory: MemoryLedger, *, moment: datetime) -> Iterable[Finding]:
    """Compare the queries since the last look with the reference; those of another space than is served are left out.

    The first look that finds `LEAST` sampled queries takes them as the reference.
    """
    memo = memory.recall(_MEMO + alias)
    reference = Window.from_text(memo.text) if memo is not None else None
    if reference is None or reference.space != space:
        return [accept(alias, space, memory, moment=moment)]
    mark = memory.recall(_LOOKED + alias)
    since = max(reference.moment, mark.text if mark is not None else "")
    seen = _seen(memory, alias, space, since=since, most=WINDOW)
    if seen is None or len(seen.window.vectors) < LEAST:
        count = len(seen.window.vectors) if seen is not None else 0
        return [too_few(CHECK, alias, "sampled since the last look", count, moment)]
    # Each look has a window of its own, so that a second one confirms something.
    memory.remember(_LOOKED + alias, moment.isoformat(), version=mark.version if mark is not None else 0)
    compared = findings(
        CHECK,
        alias,
        reference,
        seen.window,
        what=f"{len(seen.window.vectors):,} sampled queries",
        moment=moment,
        text_of=lambda row: seen.texts[row] if seen.texts else "",
    )
    return [*compared, _answered(alias, reference.more, seen, moment)]


def accept(alias: str, space: SpaceId, memory: MemoryLedger, *, moment: datetime) -> Finding:
    """Take the queries that are sampled now as the reference.

    Raises:
        ConflictError: another process did the same at this moment.
    """
    memo = memory.recall(_MEMO + alias)
    seen = _seen(memory, alias, space, since="", most=REFERENCE)
    if seen is None or len(seen.window.vectors) < LEAST:
        count = len(seen.window.vectors) if seen is not None else 0
        return too_few(CHECK, alias, "sampled so far", count, moment)
    scores = np.array(seen.scores or [0.0])
    more = {
        "asked": seen.asked,
        "without_result": seen.without_result,
        "score": [float(scores.mean()), float(scores.std()), len(seen.scores)],
    }
    window = Window(
        space=space,
        moment=moment.isoformat(),
        vectors=seen.window.vectors,
        labels=seen.window.labels,
        more=more,
    )
    if not memory.remember(_MEMO + alias, window.as_text(), version=memo.version if memo is not None else 0):
        raise ConflictError(f"the reference of the queries of {alias} was taken by another process at this moment")
    return taken(CHECK, alias, len(window.vectors), plural(len(window.vectors), "query", "queries"), moment)


def _seen(memory: MemoryLedger, alias: str, space: SpaceId, *, since: str, most: int) -> _Seen | None:
    """Return the newest queries of a space that were sampled after a moment; None where there are none."""
    samples: list[dict[str, Any]] = []
    count = 0
    for one in memory.observed(f"{SERIES}{alias}", limit=KEPT):
        if one.moment.isoformat() <= since or count >= most:
            break
        content = json.loads(one.text)
        if content["space"] == space:
            samples.append(content)
            count += len(content["vectors"]) * 3 // 8 // content["dimensions"]
    if not samples:
        return None
    vectors = np.concatenate([unpacked(one["vectors"], one["dimensions"]) for one in samples])[:most]
    labels = [labels for one in samples for labels in one["labels"]][:most]
    texts = [text for one in samples for text in one["texts"]][:most]
    return _Seen(
        Window(
            space=space,
            moment=since,
            vectors=vectors,
            labels=labels if len(labels) == len(vectors) else (),
        ),
        texts if len(texts) == len(vectors) else (),
        [score for one in samples for score in one["scores"]],
        sum(one["asked"] for one in samples),
        sum(one["without_result"] for one in samples),
    )


def _answered(alias: str, before: dict[str, Any], seen: _Seen, moment: datetime) -> Finding:
    """Return whether searches find nothing more often, and whether the first scores have changed."""
    was = (before["without_result"] + 1) / (before["asked"] + 2)
    # The share before is itself only known from a sample: its upper bound counts.
    bound = was + 3.09 * sqrt(was * (1 - was) / (before["asked"] + 2))
    share = seen.without_result / seen.asked
    words = []
    if share >= was + _WITHOUT and binomial_at_least(seen.without_result, seen.asked, bound) <= CHANCE:
        words.append(f"{share:.1%} of searches find nothing, {was:.1%} did before")
    mean, spread, count = before["score"]
    change = 0.0
    if seen.scores and count:
        scores = np.array(seen.scores)
        change = float(scores.mean()) - mean
        error = sqrt(spread**2 / count + float(scores.var()) / len(scores))
        certain = 2 * normal_above(abs(change) / max(error, 1e-9)) <= CHANCE
        if certain and abs(change) >= _SCORE * max(spread, 1e-9):
            words.append(f"the first score is {mean + change:.3f} on average, {mean:.3f} before")
    return Finding(
        check=CHECK,
        subject=f"{alias}/answers",
        state=State.BAD if words else State.GOOD,
        severity=Severity.WARNING if words else Severity.INFO,
        moment=moment,
        words=f"searches of {alias} are answered otherwise: {'; '.join(words)}"
        if words
        else f"searches of {alias} are answered as before: {share:.1%} find nothing",
        hint=f"undrift drift {alias} --accept {CHECK}" if words else "",
        figures={"without_result_ratio": share, "top_score_change": change},
    )
