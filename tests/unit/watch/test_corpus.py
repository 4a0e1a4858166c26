"""Documents are compared with the reference: those that came since, in all and by label."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from tests.unit.watch.memory import Memory
from tests.unit.watch.texts import DIMENSIONS, NOW, vectors
from undrift.adapters.stores.memory import MemoryStore
from undrift.domain.finding import Finding, Severity, State
from undrift.domain.record import NO_TAG, DocumentId, Record
from undrift.domain.route import VectorField
from undrift.domain.space import Metric, SpaceId
from undrift.watch import corpus
from undrift.watch.corpus import Corpus

FIELD = VectorField(store="main", collection="docs", space=SpaceId("space-a"))


class World:
    def __init__(self) -> None:
        self.store, self.memory, self.looks, self.count = MemoryStore(), Memory(), 0, 0
        self.store.create(FIELD, dimensions=DIMENSIONS, metric=Metric.COSINE)
        self.corpus = Corpus(alias="kb", store=self.store, field=FIELD, labels=["lang"])

    def put(self, found: np.ndarray, *, lang: str = "en") -> None:
        records = [
            Record(
                id=DocumentId(f"d{self.count + row:05}"),
                text=f"text {self.count + row}",
                metadata={"lang": lang},
                vector=vector,
                tag=NO_TAG,
            )
            for row, vector in enumerate(found)
        ]
        self.store.upsert(FIELD, records)
        self.count += len(records)

    def look(self) -> dict[str, Finding]:
        self.looks += 1
        moment = NOW + timedelta(days=self.looks)
        return {one.subject: one for one in corpus.look(self.corpus, self.memory, moment=moment)}


@pytest.fixture
def world() -> World:
    world = World()
    world.put(vectors(1, 1200))
    return world


def test_the_first_look_takes_the_reference(world: World) -> None:
    found = world.look()["kb"]

    assert found.state is State.UNKNOWN
    assert "1,200 documents of kb are the reference" in found.words


def test_documents_as_before_are_good(world: World) -> None:
    world.look()
    world.put(vectors(2, 400))

    found = world.look()

    assert found["kb"].state is State.GOOD
    assert "400 documents that came since" in found["kb"].words


def test_a_new_topic_among_those_that_came_is_bad_with_texts_that_show_it(world: World) -> None:
    world.look()
    world.put(vectors(2, 400, novel=0.3))

    found = world.look()["kb"]

    assert (found.state, found.severity) == (State.BAD, Severity.ERROR)
    assert found.figures["novel_ratio"] > 0.2
    shown = [int(line.split()[-1]) for line in found.detail.splitlines() if line.startswith("such as: text")]
    assert shown
    assert all(1200 <= number < 1320 for number in shown)


def test_where_few_came_those_that_are_there_now_are_looked_at(world: World) -> None:
    world.look()
    world.put(vectors(2, 20))

    found = world.look()["kb"]

    assert found.state is State.GOOD
    assert "that are there now" in found.words


def test_a_label_that_changed_is_told_by_itself_and_one_with_too_few_says_how_many_are_missing(world: World) -> None:
    world.put(vectors(3, 400), lang="de")
    world.put(vectors(4, 100), lang="fr")
    world.look()
    world.put(vectors(5, 500))
    world.put(vectors(6, 300, novel=0.4), lang="de")
    world.put(vectors(7, 100), lang="fr")

    found = world.look()

    assert found["kb/lang=en"].state is State.GOOD
    assert found["kb/lang=de"].state is State.BAD
    assert found["kb/lang=fr"].state is State.UNKNOWN
    assert "150 more are needed" in found["kb/lang=fr"].words


def test_a_reference_of_another_space_never_meets_the_documents(world: World) -> None:
    world.look()
    other = VectorField(store="main", collection="docs", space=SpaceId("space-b"))
    world.corpus = Corpus(alias="kb", store=world.store, field=other)

    found = world.look()["kb"]

    assert found.state is State.UNKNOWN
    assert "are the reference from now on" in found.words


@pytest.mark.parametrize("count", [0, 249])
def test_too_few_documents_are_unknown_with_the_number_that_is_missing(count: int) -> None:
    world = World()
    world.put(vectors(1, count))

    found = world.look()["kb"]

    assert found.state is State.UNKNOWN
    assert f"{250 - count} more are needed" in found.words


def test_what_is_accepted_is_the_reference_from_then_on(world: World) -> None:
    world.look()
    world.put(vectors(2, 400, novel=0.3))
    assert world.look()["kb"].state is State.BAD

    corpus.accept(world.corpus, world.memory, moment=NOW + timedelta(days=9))

    assert world.look()["kb"].state is State.GOOD


def test_the_reference_is_bounded_and_what_came_is_still_told_from_what_was_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "KNOWN", 800)
    monkeypatch.setattr(corpus, "REFERENCE", 400)
    world.look()
    world.put(vectors(2, 1200, novel=0.5))

    found = world.look()["kb"]

    # Of 800 chosen among 2,400 about a half came since.
    assert found.state is State.BAD
    assert 250 <= int(found.words.split()[1]) <= 560


def test_texts_that_stand_many_times_are_no_drift() -> None:
    world = World()
    world.put(np.tile(vectors(1, 60), (10, 1)))
    world.look()
    world.put(np.tile(vectors(1, 60), (5, 1)))

    assert world.look()["kb"].state is State.GOOD


def test_a_value_that_is_no_number_is_an_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.look()
    broken = vectors(2, 400)
    world.put(broken)
    broken[7, 3] = np.nan
    # The stores refuse it; another program may still have written it.
    monkeypatch.setattr(corpus, "as_kept", lambda _: broken)

    found = world.look()["kb"]

    assert (found.state, found.severity) == (State.BAD, Severity.ERROR)
    assert "1 of 400 vectors in the documents of kb have a value that is no number" in found.words
