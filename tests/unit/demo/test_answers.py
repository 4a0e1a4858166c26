from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.demo.answers import Answers, Model, examine
from undrift.demo.history import Outcome, Search
from undrift.flow.embed import EmbeddingDoor
from undrift.testing.clock import VirtualClock

#: Two spaces of the same dimensions: a query in the wrong one gets an answer, and it is nonsense.
OLD = EmbeddingDoor(HashingEmbedder(dimensions=64), clock=VirtualClock())
NEW = EmbeddingDoor(HashingEmbedder(dimensions=64, seed="another"), clock=VirtualClock())
MODELS = {str(door.space.id): Model(question=door.query, documents=door.fresh) for door in (OLD, NEW)}
SPACE_AT = {1: OLD.space.id, 2: OLD.space.id, 3: NEW.space.id}
QUESTION, TEXT = "how do I open a file?", "open(file) opens a file and returns a stream"


def score(asked: EmbeddingDoor, stored: EmbeddingDoor) -> float:
    """The cosine that a store finds between a question's vector and a text's."""
    question, text = asked.query(QUESTION), stored.fresh([TEXT])[0]
    return float(question @ text / np.linalg.norm(question) / np.linalg.norm(text))


RIGHT = Search(
    actor="searcher",
    question=QUESTION,
    began=1.0,
    ended=2.0,
    outcome=Outcome.ACKNOWLEDGED,
    space=NEW.space.id,
    epoch=3,
    spaces=[NEW.space.id] * 3,
    nearest=TEXT,
    score=score(NEW, NEW),
)


def examined(*searches: Search, at_least: int = 3) -> Answers:
    return examine(searches, at_least=at_least, space_at=SPACE_AT, models=MODELS)


def test_a_right_answer_is_counted_and_no_fault() -> None:
    assert examined(RIGHT, RIGHT) == Answers(searches=2, failed=0, wrong_space=0)


def test_right_answers_of_both_models_may_follow_each_other() -> None:
    before = replace(RIGHT, space=OLD.space.id, epoch=1, spaces=[OLD.space.id] * 3, score=score(OLD, OLD))

    assert examined(before, RIGHT) == Answers(searches=2, failed=0, wrong_space=0)


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.UNKNOWN])
def test_a_search_that_was_not_answered_has_failed(outcome: Outcome) -> None:
    assert examined(RIGHT, replace(RIGHT, outcome=outcome)) == Answers(searches=2, failed=1, wrong_space=0)


def test_an_answer_with_fewer_documents_than_there_are_has_failed() -> None:
    assert examined(replace(RIGHT, spaces=[NEW.space.id] * 2)) == Answers(searches=1, failed=1, wrong_space=0)


def test_an_empty_answer_of_an_empty_collection_is_no_fault() -> None:
    empty = replace(RIGHT, spaces=[], nearest="", score=0.0)

    assert examined(empty, at_least=0) == Answers(searches=1, failed=0, wrong_space=0)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(replace(RIGHT, spaces=[NEW.space.id, OLD.space.id, NEW.space.id]), id="a hit of another space"),
        pytest.param(replace(RIGHT, spaces=[NEW.space.id, None, NEW.space.id]), id="a hit without a tag"),
        pytest.param(replace(RIGHT, dropped=1), id="a foreign hit that the library left out"),
        pytest.param(replace(RIGHT, epoch=2), id="a space that did not serve at that epoch"),
        pytest.param(replace(RIGHT, epoch=9), id="an epoch that never was"),
        pytest.param(replace(RIGHT, score=score(OLD, NEW)), id="a question embedded by the other model"),
        pytest.param(replace(RIGHT, score=score(NEW, OLD)), id="a stored vector of the other model"),
        pytest.param(replace(RIGHT, nearest="another text"), id="a text that the stored vector is not of"),
        pytest.param(replace(RIGHT, space="nobody", spaces=["nobody"] * 3), id="a space that nobody computes"),
    ],
)
def test_a_wrong_answer_is_counted(wrong: Search) -> None:
    assert examined(RIGHT, wrong) == Answers(searches=2, failed=0, wrong_space=1)


def test_a_failed_search_is_not_wrong_as_well() -> None:
    assert examined(replace(RIGHT, outcome=Outcome.FAILED, space="", spaces=[])).wrong_space == 0
