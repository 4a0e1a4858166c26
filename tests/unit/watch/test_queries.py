"""Queries are sampled, told and compared; so is whether searches find something."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from tests.unit.watch.memory import Memory
from tests.unit.watch.texts import vectors
from undrift.domain.finding import Finding, State
from undrift.domain.record import Hit
from undrift.domain.route import AliasName
from undrift.domain.space import SpaceId
from undrift.domain.window import Sampling
from undrift.flow.asked import KEPT, SAMPLE, SERIES, Asked
from undrift.testing.clock import VirtualClock
from undrift.watch import queries

SPACE = SpaceId("space-a")
KB = AliasName("kb")


class World:
    """An application that is asked, and a look-out."""

    def __init__(self, sampling: Sampling | None = None) -> None:
        self.memory, self.clock = Memory(), VirtualClock()
        self.asked = Asked(KB, sampling or Sampling(), memory=self.memory, clock=self.clock)

    def ask(
        self,
        found: np.ndarray,
        *,
        score: float | None = 0.7,
        space: SpaceId = SPACE,
        lang: str = "en",
        texts: Sequence[str] = (),
    ) -> None:
        hits = [Hit(id="d", score=score, text="", metadata={})] if score is not None else []
        for start in range(0, len(found), SAMPLE):
            for row, vector in enumerate(found[start : start + SAMPLE]):
                self.asked.saw(space, vector, hits, texts[start + row] if texts else "", {"lang": lang})
            self.clock.advance(61)
            self.asked.tell()

    def look(self, space: SpaceId = SPACE) -> dict[str, Finding]:
        self.clock.advance(1)
        return {one.subject: one for one in queries.look("kb", space, self.memory, moment=self.clock.now())}


def test_the_first_look_with_enough_takes_the_reference_and_the_next_wants_others() -> None:
    world = World()
    assert "250 more are needed" in world.look()["kb"].words
    world.ask(vectors(1, 640))

    assert "640 queries of kb are the reference" in world.look()["kb"].words
    found = world.look()["kb"]
    assert found.state is State.UNKNOWN
    assert "250 more are needed" in found.words


def test_queries_as_before_are_good_and_each_look_has_a_window_of_its_own() -> None:
    world = World()
    world.ask(vectors(1, 640))
    world.look()
    world.ask(vectors(2, 320))

    found = world.look()

    assert (found["kb"].state, found["kb/answers"].state) == (State.GOOD, State.GOOD)
    assert world.look()["kb"].state is State.UNKNOWN


def test_new_questions_are_bad_and_show_their_texts_only_where_those_may_be_kept() -> None:
    for sampling, shown in ((Sampling(), False), (Sampling(texts=True), True)):
        world = World(sampling)
        world.ask(vectors(1, 640), texts=["old"] * 640)
        world.look()
        world.ask(vectors(2, 320, novel=0.3), texts=[*["how to fly"] * 96, *["old"] * 224])

        found = world.look()["kb"]

        assert found.state is State.BAD
        assert ("such as: how to fly" in found.detail) is shown
        assert any("how to fly" in one.text for one in world.memory.observed(f"{SERIES}kb")) is shown


def test_a_label_is_taken_from_the_filter_of_the_search() -> None:
    world = World(Sampling(labels=("lang",)))
    world.ask(vectors(1, 640))
    world.ask(vectors(3, 640), lang="de")
    world.look()
    world.ask(vectors(4, 320))
    world.ask(vectors(5, 320, novel=0.4), lang="de")

    found = world.look()

    assert found["kb/lang=de"].state is State.BAD
    assert found["kb/lang=en"].state is State.GOOD


def test_searches_that_find_nothing_more_often_are_bad() -> None:
    world = World()
    world.ask(vectors(1, 640))
    world.look()
    world.ask(vectors(2, 256))
    world.ask(vectors(3, 64), score=None)

    found = world.look()["kb/answers"]

    assert found.state is State.BAD
    assert "20.0% of searches find nothing" in found.words


def test_first_scores_that_fall_are_bad() -> None:
    world = World()
    world.ask(vectors(1, 320), score=0.7)
    world.ask(vectors(2, 320), score=0.72)
    world.look()
    world.ask(vectors(3, 320), score=0.65)

    found = world.look()["kb/answers"]

    assert found.state is State.BAD
    assert "the first score is 0.650 on average, 0.710 before" in found.words


def test_queries_of_another_space_never_meet_the_reference() -> None:
    world = World()
    world.ask(vectors(1, 640))
    world.look()
    world.ask(vectors(2, 320)[:, :8], space=SpaceId("space-b"))

    assert "250 more are needed" in world.look()["kb"].words
    assert "320 queries of kb are the reference" in world.look(SpaceId("space-b"))["kb"].words


def test_what_is_told_is_bounded_and_seldom() -> None:
    world = World()
    for _ in range(3):
        for vector in vectors(1, 900):
            world.asked.saw(SPACE, vector, [], "", None)
        world.asked.tell()
    assert not world.memory.observed(f"{SERIES}kb")

    world.clock.advance(61)
    world.asked.tell()

    told = [json.loads(one.text) for one in world.memory.observed(f"{SERIES}kb")]
    assert len(told) == 1
    assert told[0]["asked"] == 512
    assert len(told[0]["labels"]) == len(told[0]["texts"]) == 0
    world.ask(vectors(2, SAMPLE * (KEPT + 5)))
    assert len(world.memory.observed(f"{SERIES}kb")) == KEPT


def test_a_ledger_that_does_not_answer_costs_the_sample_and_nothing_else() -> None:
    from undrift.errors import ControlUnavailable

    class Deaf(Memory):
        def observe(self, *_: object, **__: object) -> None:
            raise ControlUnavailable("the ledger does not answer")

    world = World()
    world.asked = Asked(KB, Sampling(), memory=Deaf(), clock=world.clock)

    world.ask(vectors(1, 64))
    world.asked._memory = world.memory
    world.ask(vectors(2, 32))

    assert len(world.memory.observed(f"{SERIES}kb")) == 1
