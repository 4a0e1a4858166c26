"""A cheap look at a sample of a collection's vectors for those of another model: a hint to audit, never an alarm."""

from __future__ import annotations

from datetime import datetime

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
    vectors = vectors[:SAMPLE]
    hint = f"undrift alias audit {alias}"
    broken = int((~np.isfinite(vectors).all(axis=1)).sum()) if len(vectors) else 0
    if broken:
        return Finding(
            check=CHECK,
            subject=alias,
            state=State.BAD,
            severity=Severity.ERROR,
            moment=moment,
            words=f"{plural(broken, 'vector')} of {len(vectors)} sampled from {alias} have a value that is no number",
            hint=hint,
            figures={"sampled": len(vectors), "broken": broken},
        )
    if len(vectors) < islands.LEAST:
        missing = islands.LEAST - len(vectors)
        return Finding(
            check=CHECK,
            subject=alias,
            state=State.UNKNOWN,
            severity=Severity.INFO,
            moment=moment,
            words=f"{alias} has too few vectors to look for foreign ones: {missing} more are needed",
            figures={"sampled": len(vectors)},
        )
    narrows = islands.narrowest(vectors)
    detector = foreign.learn(vectors)
    can_tell = detector is not None and detector.can_tell
    strange = int((detector.scores(vectors) > 0).sum()) if detector is not None else 0
    figures = {
        "sampled": float(len(vectors)),
        "conductance": narrows.conductance if narrows is not None else 1.0,
        "strange_ratio": strange / len(vectors),
    }
    evidence = []
    if narrows is not None and narrows.is_narrow:
        share = len(narrows.smaller) / len(vectors)
        evidence.append(
            f"the sample falls into two parts that hardly touch: {share:.1%} of it lies apart (conductance "
            f"{narrows.conductance:.3f}, below {islands.NARROW:g}; cosine between the middles {narrows.cosine:.2f})"
        )
    if binomial_at_least(strange, len(vectors), _USUAL) <= _CHANCE:
        evidence.append(f"{plural(strange, 'vector')} of {len(vectors)} lie where those of an unrelated model would")
    if evidence:
        words = f"some vectors of {alias} may be of another model"
        detail = "\n".join([*evidence, "this is a hint, no proof: two languages or formats can look the same"])
        return Finding(
            check=CHECK,
            subject=alias,
            state=State.BAD,
            severity=Severity.INFO,
            moment=moment,
            words=words,
            detail=detail,
            hint=hint,
            figures=figures,
        )
    unsure = "" if can_tell else "; its own vectors vary so much that single foreign ones would not stand out"
    return Finding(
        check=CHECK,
        subject=alias,
        state=State.GOOD,
        severity=Severity.INFO,
        moment=moment,
        words=f"{len(vectors):,} sampled vectors of {alias} hang together as those of one model do{unsure}",
        figures=figures,
    )
