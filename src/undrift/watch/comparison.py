"""What a comparison of two windows of vectors becomes: findings, for all of them and for each label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial

import numpy as np
from numpy.typing import NDArray

from undrift.domain.finding import Finding, Severity, State
from undrift.domain.window import Window
from undrift.quality.drift import LEAST, NOVEL_SHARE, Drift, Lane, compare, learn

#: Labels that are looked at, the most frequent ones.
LABELS = 16
#: Characters of a text that stands as an example.
_SHOWN = 80
#: Share of novel vectors from which somebody has to act soon.
_MUCH = 4 * NOVEL_SHARE

_DRIVEN = {
    Lane.MIX: "the mix of topics has shifted",
    Lane.NOVELTY: "some of them are about what was not there before, or of another model",
    Lane.AXES: "axes that never varied do now: some vectors are of another model",
}


def findings(
    check: str,
    alias: str,
    reference: Window,
    window: Window,
    *,
    what: str,
    moment: datetime,
    text_of: Callable[[int], str],
) -> Iterable[Finding]:
    """Yield what differs between a reference and a later window of the same space: in all, and for each label.

    Args:
        check: `documents` or `queries`.
        alias: whose they are.
        reference: the earlier vectors.
        window: the later ones.
        what: what the later ones are, in words: `1,000 documents that came since`.
        moment: when it is looked.
        text_of: returns the text of a row of the window, empty where it is not known.
    """
    labels = [label for label, _ in Counter(label for labels in window.labels for label in labels).most_common(LABELS)]
    rows = {label: (reference.of_label(label), window.of_label(label)) for label in labels}
    full = [label for label in labels if min(map(len, rows[label])) >= LEAST]
    tests = 1 + len(full)
    for vectors, name in ((reference.vectors, "the reference of "), (window.vectors, "")):
        broken = int((~np.isfinite(vectors).all(axis=1)).sum())
        if broken:
            yield _broken(check, alias, f"{broken} of {len(vectors)} vectors in {name}the {check} of {alias}", moment)
            return
    drift = compare(learn(reference.vectors), window.vectors)
    yield _finding(check, alias, drift, tests, moment, what=what, text_of=text_of)
    for label in labels:
        subject, (earlier, later) = f"{alias}/{label}", rows[label]
        if label not in full:
            where = "in the reference" if len(earlier) < LEAST else "now"
            yield too_few(check, subject, where, min(len(earlier), len(later)), moment)
            continue
        drift = compare(learn(reference.vectors[earlier]), window.vectors[later])
        texts = partial(_text_within, text_of, later)
        yield _finding(check, subject, drift, tests, moment, what=f"{len(later):,} of the {what}", text_of=texts)


def _text_within(text_of: Callable[[int], str], rows: NDArray[np.intp], row: int) -> str:
    return text_of(int(rows[row]))


def too_few(check: str, subject: str, where: str, count: int, moment: datetime) -> Finding:
    """Return that nothing can be said, and how many vectors are missing."""
    return Finding(
        check=check,
        subject=subject,
        state=State.UNKNOWN,
        severity=Severity.INFO,
        moment=moment,
        words=f"{count} vectors of {subject} {where} are too few to tell drift: {LEAST - count} more are needed",
        figures={"vectors": count},
    )


def taken(check: str, alias: str, count: int, what: str, moment: datetime) -> Finding:
    """Return that a reference was taken, which says nothing yet."""
    return Finding(
        check=check,
        subject=alias,
        state=State.UNKNOWN,
        severity=Severity.INFO,
        moment=moment,
        words=f"{what} of {alias} are the reference from now on",
        figures={"vectors": count},
    )


def _broken(check: str, alias: str, which: str, moment: datetime) -> Finding:
    return Finding(
        check=check,
        subject=alias,
        state=State.BAD,
        severity=Severity.ERROR,
        moment=moment,
        words=f"{which} have a value that is no number",
        hint=f"undrift alias audit {alias}",
    )


def _finding(
    check: str,
    subject: str,
    drift: Drift,
    tests: int,
    moment: datetime,
    *,
    what: str,
    text_of: Callable[[int], str],
) -> Finding:
    alias = subject.partition("/")[0]
    figures = {
        "p_value": min(1.0, drift.chance * tests),
        "novel_ratio": drift.novel_share,
        "shift_radii": drift.shift_radii,
    }
    chance = figures["p_value"]
    moved = (
        f"moved by {drift.shift_radii:.2f} radii" if np.isfinite(drift.shift_radii) else "left a cloud without extent"
    )
    numbers = (
        f"p {chance:.1g} for {tests} tests (mix {drift.mix:.1g}, novelty {drift.novelty:.1g}); "
        f"{drift.novel_share:.1%} novel; the middle {moved}"
    )
    if not drift.is_remarkable_among(tests):
        return Finding(
            check=check,
            subject=subject,
            state=State.GOOD,
            severity=Severity.INFO,
            moment=moment,
            words=f"{subject}: {what} are as the reference",
            detail=numbers,
            figures=figures,
        )
    examples = _examples(drift.examples, text_of)
    is_foreign = drift.lane is Lane.AXES
    return Finding(
        check=check,
        subject=subject,
        state=State.BAD,
        severity=Severity.ERROR if is_foreign or drift.novel_share >= _MUCH else Severity.WARNING,
        moment=moment,
        words=f"{subject}: {what} differ from the reference: {_DRIVEN[drift.lane]}",
        detail="\n".join([numbers, *examples]),
        hint=f"undrift alias audit {alias}"
        if drift.lane is not Lane.MIX
        else f"undrift drift {alias} --accept {check}",
        figures=figures,
    )


def _examples(rows: Sequence[int], text_of: Callable[[int], str]) -> list[str]:
    texts = dict.fromkeys(" ".join(text_of(row).split()) for row in rows)
    return [f"such as: {text[:_SHOWN]}{'…' if len(text) > _SHOWN else ''}" for text in texts if text]
