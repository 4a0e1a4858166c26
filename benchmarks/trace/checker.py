"""The checker: what a field holds against what was acknowledged. It knows nothing of any contestant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.trace.events import SINCE_CUTOVER, Moment

#: Vectors of one text by one model are equal but for what a store's rounding does to them.
_VECTOR_TOLERANCE = 1e-5
_SCORE_TOLERANCE = 1e-4

#: Makes the vectors of texts by the model that a field should be of; shape (n, d).
Embed = Callable[[Sequence[str]], NDArray[np.float32]]
State = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A document as a field has it: the text, the metadata, and the vector that stands for them."""

    text: str
    metadata: Mapping[str, Any]
    vector: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A hit of a search: the text that was found, and the cosine that the store says it has."""

    text: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Ids of documents that are not as they must be.

    Attributes:
        lost: there should be a document, and there is none.
        resurrected: there is one whose delete was acknowledged.
        stale: there is one, and an acknowledged change of its text or its metadata is missing.
        mixed: its vector is not what the field's model gives for the text beside it.
    """

    lost: frozenset[str]
    resurrected: frozenset[str]
    stale: frozenset[str]
    mixed: frozenset[str]

    @property
    def wrong(self) -> frozenset[str]:
        """Those whose last write is not what stands there."""
        return self.lost | self.resurrected | self.stale


def compare(truth: Mapping[str, State], field: Mapping[str, Stored], embed: Embed) -> Findings:
    """Compare a field with what was acknowledged, and every vector with the text beside it."""
    there = [id for id in truth if id in field]
    stale = {id for id in there if (field[id].text, dict(field[id].metadata)) != (truth[id][0], dict(truth[id][1]))}
    again = embed([stored.text for stored in field.values()])
    mixed = {
        id
        for (id, stored), vector in zip(field.items(), again, strict=True)
        if stored.vector is None or not float(np.abs(stored.vector - vector).max()) <= _VECTOR_TOLERANCE
    }
    return Findings(
        lost=frozenset(truth.keys() - field.keys()),
        resurrected=frozenset(field.keys() - truth.keys()),
        stale=frozenset(stale),
        mixed=frozenset(mixed),
    )


def crosses_models(question: str, answers: Sequence[Answer], models: Sequence[Embed]) -> bool:
    """Whether some hit's score compares vectors of two models; told by the answer alone.

    A score that no pair of models explains is that of a vector of another text; it counts where vectors are compared.
    """
    if not answers:
        return False
    asked = [embed([question])[0] for embed in models]
    found = [embed([answer.text for answer in answers]) for embed in models]
    for row, answer in enumerate(answers):
        straight = [_cosine(asked[model], found[model][row]) for model in range(len(models))]
        if any(abs(score - answer.score) <= _SCORE_TOLERANCE for score in straight):
            continue
        crossed = (
            _cosine(asked[one], found[other][row])
            for one in range(len(models))
            for other in range(len(models))
            if one != other
        )
        if any(abs(score - answer.score) <= _SCORE_TOLERANCE for score in crossed):
            return True
    return False


def _cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What a contestant did to one trace; less is better, and all but the last two should be 0.

    Attributes:
        lost: documents that were missing after the cutover.
        resurrected: deleted documents that were there.
        stale: documents with an older text or older metadata.
        mixed: vectors of another model or another text than the one beside them.
        wrong_model: searches whose answer compared vectors of two models.
        undone: documents whose last write came after the cutover, and which the rollback threw back.
        paid_twice: tokens that the restarted process embedded although the dead one had.
        failed: calls of the application that raised an error.
        held_back: writes that had to wait for the end of the migration.
        tokens: everything that was embedded, by both models and by everybody.
    """

    lost: int
    resurrected: int
    stale: int
    mixed: int
    wrong_model: int
    undone: int
    paid_twice: int
    failed: int
    held_back: int
    tokens: int

    @property
    def faults(self) -> dict[str, int]:
        """All that should be 0."""
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name != "tokens"}


def undone_by_rollback(after_rollback: Findings, written: Mapping[str, Moment]) -> frozenset[str]:
    """Return the documents that are wrong after a rollback and were last written since the cutover."""
    return frozenset(id for id in after_rollback.wrong if written.get(id) in SINCE_CUTOVER)
