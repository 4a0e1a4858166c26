"""A cheap look at a sample of a collection's vectors for those of another model: a hint to audit, never an alarm."""

from __future__ import annotations

from datetime import datetime
from functools import partial

import numpy as np

from undrift.domain.finding import Finding, Severity, State
from undrift.domain.record import Vectors
from undrift.domain.wording import plural
from undrift.quality import foreign, islands
from undrift.quality.chances import binomial_at_least

CHECK = "foreign"
#: Vectors that are asked for.
SAMPLE = islands.SAMPLE
#: Share of a pure collection's own vectors that seem foreign, at most, and how unlikely a larger share has to be:
#: measured on ten collections, at most 2 of 1,400 did.
_USUAL, _CHANCE = 0.002, 1e-3


def look(alias: str, vectors: Vectors, *, moment: datetime) -> Finding:
    """Look at a sample of an alias's vectors; no text is embedded.

    It sees vectors of an unrelated model, or of another pooling. What lies among the others, as the vectors of a
    fine-tune or without a prefix do, it does not see: only the audit does.

    Args:
        alias: the alias.
        vectors: float32, shape (n, d), a random choice of its serving field's; of more than `SAMPLE`, the first count.
        moment: when.
    """
    found = partial(Finding, check=CHECK, subject=alias, moment=moment)
    vectors, audit = vectors[:SAMPLE], f"undrift alias audit {alias}"
    figures = {"sampled": float(len(vectors))}
    broken = int((~np.isfinite(vectors).all(axis=1)).sum()) if len(vectors) else 0
    if broken:
        words = f"{plural(broken, 'vector')} of {len(vectors)} sampled from {alias} have a value that is no number"
        return found(state=State.BAD, severity=Severity.ERROR, words=words, hint=audit, figures=figures)
    narrows, detector = islands.narrowest(vectors), foreign.learn(vectors)
    if narrows is None or detector is None:
        missing = islands.LEAST - len(vectors)
        words = f"{alias} has too few vectors to look for foreign ones: {missing} more are needed"
        return found(state=State.UNKNOWN, severity=Severity.INFO, words=words, figures=figures)
    strange = int((detector.scores(vectors) > 0).sum())
    figures |= {"conductance": narrows.conductance, "strange_ratio": strange / len(vectors)}
    evidence = []
    if narrows.is_narrow:
        share = len(narrows.smaller) / len(vectors)
        evidence.append(
            f"the sample falls into two parts that hardly touch: {share:.1%} of it lies apart (conductance "
            f"{narrows.conductance:.3f}, below {islands.NARROW:g}; cosine between the middles {narrows.cosine:.2f})"
        )
    if binomial_at_least(strange, len(vectors), _USUAL) <= _CHANCE:
        evidence.append(f"{plural(strange, 'vector')} of {len(vectors)} lie where those of an unrelated model would")
    if evidence:
        return found(
            state=State.BAD,
            severity=Severity.INFO,
            words=f"some vectors of {alias} may be of another model",
            detail="\n".join([*evidence, "this is a hint, no proof: two languages or formats can look the same"]),
            hint=audit,
            figures=figures,
        )
    unsure = "; its own vectors vary so much that single foreign ones would not stand out"
    words = f"{len(vectors):,} sampled vectors of {alias} hang together as those of one model do"
    return found(
        state=State.GOOD,
        severity=Severity.INFO,
        words=words if detector.can_tell else words + unsure,
        figures=figures,
    )
