"""Whether every search was answered, and whether a query's vector only ever met vectors of its own space."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from undrift.demo.history import Outcome, Search
from undrift.domain.record import Vector, Vectors

#: A score that is made again differs by rounding only; that of a vector of another space differs by far more.
SCORE_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One of the two models: it makes vectors of a question, shape (d,), and of texts, shape (n, d)."""

    question: Callable[[str], Vector]
    documents: Callable[[Sequence[str]], Vectors]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What became of the searches.

    Attributes:
        searches: how many there were.
        failed: those that raised, never ended, or found fewer documents than there certainly were.
        wrong_space: answers in which a space met another, by a tag, by the route, or by a score made again.
    """

    searches: int
    failed: int
    wrong_space: int


def examine(
    searches: Sequence[Search], *, at_least: int, space_at: Mapping[int, str], models: Mapping[str, Model]
) -> Answers:
    """Look at every search.

    Args:
        searches: what the searchers wrote down.
        at_least: hits that every search must have.
        space_at: the space that served at each epoch, as seen by whoever changed the route.
        models: the model of each space.
    """
    answered = [search for search in searches if search.outcome is Outcome.ACKNOWLEDGED]
    failed = len(searches) - len(answered) + sum(len(search.spaces) < at_least for search in answered)
    scores = _Scores(models, answered)
    wrong = sum(_is_wrong(search, space_at) or not scores.agree(search) for search in answered)
    return Answers(searches=len(searches), failed=failed, wrong_space=wrong)


def _is_wrong(search: Search, space_at: Mapping[int, str]) -> bool:
    if search.dropped or space_at.get(search.epoch) != search.space:
        return True
    return any(space != search.space for space in search.spaces)


class _Scores:
    """Scores made again from texts, each text embedded once for each space."""

    def __init__(self, models: Mapping[str, Model], searches: Iterable[Search]) -> None:
        texts: dict[str, set[str]] = {space: set() for space in models}
        questions: dict[str, set[str]] = {space: set() for space in models}
        for search in searches:
            if search.space in models:
                texts[search.space].update([search.nearest] if search.spaces else [])
                questions[search.space].add(search.question)
        self._texts: dict[tuple[str, str], Vector] = {}
        self._questions: dict[tuple[str, str], Vector] = {}
        for space, model in models.items():
            listed = sorted(texts[space])
            for text, vector in zip(listed, model.documents(listed) if listed else (), strict=True):
                self._texts[space, text] = vector
            for question in questions[space]:
                self._questions[space, question] = model.question(question)

    def agree(self, search: Search) -> bool:
        """Whether the nearest hit's score is that of the question and the text in the answer's space."""
        question = self._questions.get((search.space, search.question))
        if question is None:
            return False
        if not search.spaces:
            return True
        text = self._texts[search.space, search.nearest]
        cosine = float(question @ text / (np.linalg.norm(question) * np.linalg.norm(text)))
        return abs(cosine - search.score) <= SCORE_TOLERANCE
