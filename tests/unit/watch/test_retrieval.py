"""Golden queries are asked again, and answers that change are told with the direction as far as it is known."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from tests.unit.watch.memory import Memory
from tests.unit.watch.texts import NOW
from undrift.domain.finding import Finding, Severity, State
from undrift.domain.space import SpaceId
from undrift.quality.golden import GoldenQuery, GoldenSet
from undrift.watch import retrieval
from undrift.watch.retrieval import Subject


class World:
    """A search whose scores can be disturbed, over 500 documents; query 7 is best answered by document 7."""

    def __init__(self, *, queries: int = 30, judged: bool = True) -> None:
        self.memory, self.looks, self.space = Memory(), 0, SpaceId("space-a")
        rng = np.random.default_rng(1)
        self.scores = rng.random((queries, 500)) * 0.8
        self.scores[np.arange(queries), np.arange(queries)] = 0.9
        self.golden = GoldenSet(
            name="support",
            queries=tuple(
                GoldenQuery(id=f"q{number}", text=str(number), relevant={f"d{number}": 1} if judged else {})
                for number in range(queries)
            ),
        )

    def search(self, text: str) -> list[tuple[str, float]]:
        row = self.scores[int(text)]
        return [(f"d{number}", float(row[number])) for number in np.argsort(-row)[:20]]

    def subject(self) -> Subject:
        return Subject(alias="kb", golden=self.golden, space=self.space, search=self.search, churn=0.05)

    def look(self) -> Finding:
        self.looks += 1
        return retrieval.look(self.subject(), self.memory, moment=NOW + timedelta(days=self.looks))

    def disturb(self, size: float) -> None:
        self.scores += size * np.random.default_rng(2).standard_normal(self.scores.shape)


def test_the_first_look_is_the_baseline_and_the_same_answers_are_good() -> None:
    world = World()

    assert "30 golden queries are the baseline" in world.look().words
    found = world.look()

    assert found.state is State.GOOD
    assert found.key == "retrieval/kb/support"
    assert found.figures["overlap_ratio"] == 1


def test_documents_that_come_and_go_are_good() -> None:
    world = World()
    world.look()
    world.scores[:, np.random.default_rng(3).permutation(np.arange(30, 500))[:12]] = -1

    found = world.look()

    assert found.state is State.GOOD
    assert found.figures["overlap_ratio"] < 1


def test_answers_that_became_worse_are_an_error_that_says_so() -> None:
    pytest.importorskip("pytrec_eval")
    world = World()
    world.look()
    world.disturb(0.3)

    found = world.look()

    assert (found.state, found.severity) == (State.BAD, Severity.ERROR)
    assert "they are worse: nDCG@10 -" in found.detail
    assert found.hint == "undrift golden run support kb"


def test_answers_that_changed_without_judgements_are_a_warning() -> None:
    world = World(judged=False)
    world.look()
    world.disturb(0.3)

    found = world.look()

    assert (found.state, found.severity) == (State.BAD, Severity.WARNING)
    assert "nobody knows" in found.detail


def test_a_lasting_change_is_told_with_its_day_and_the_trend_is_kept() -> None:
    world = World()
    world.look()
    world.look()
    world.disturb(0.3)
    for _ in range(3):
        found = world.look()

    assert "the trend has changed for good since 2026-11-26" in found.detail
    trend = retrieval.trend(world.memory, "kb", "support")
    assert [one["moment"][:10] for one in trend] == ["2026-11-25", "2026-11-26", "2026-11-27", "2026-11-28"]
    assert trend[0]["overlap"] == 1 > trend[1]["overlap"]


def test_answers_in_another_space_are_a_baseline_of_their_own() -> None:
    world = World()
    world.look()
    world.space = SpaceId("space-b")
    world.disturb(0.5)

    assert world.look().state is State.UNKNOWN
    assert world.look().state is State.GOOD


@pytest.mark.parametrize(("ids", "texts"), [("r", 0), ("q", 1)], ids=["other-ids", "other-words"])
def test_other_golden_queries_under_the_same_name_are_a_baseline_of_their_own(ids: str, texts: int) -> None:
    """No answer of theirs was seen before, so they have neither changed nor stayed."""
    world = World()
    world.look()
    world.look()
    others = [GoldenQuery(id=f"{ids}{number}", text=str((number + texts) % 30), relevant={}) for number in range(30)]
    world.golden = GoldenSet(name="support", queries=tuple(others))

    assert "30 golden queries are the baseline" in world.look().words
    assert world.look().state is State.GOOD


def test_a_query_that_was_put_in_other_words_is_left_out_of_the_comparison() -> None:
    world = World()
    world.look()
    first, *rest = world.golden.queries
    world.golden = GoldenSet(name="support", queries=(replace(first, text="29"), *rest))

    found = world.look()

    assert (found.state, found.figures["overlap_ratio"]) == (State.GOOD, 1.0)


def test_what_is_accepted_is_the_baseline_from_then_on() -> None:
    world = World()
    world.look()
    world.disturb(0.3)
    assert world.look().state is State.BAD

    retrieval.accept(world.subject(), world.memory, moment=NOW + timedelta(days=9))

    assert world.look().state is State.GOOD


def test_a_set_with_too_few_queries_says_how_many_are_missing() -> None:
    found = World(queries=19).look()

    assert found.state is State.UNKNOWN
    assert "1 more query needed" in found.words
