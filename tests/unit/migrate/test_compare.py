"""A walk through both fields sees every document once and in order; and what two records say about each other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.migrate.scene import Scene
from undrift.domain.checkpoint import Progress
from undrift.domain.migration import Phase
from undrift.domain.record import DocumentId, Entry, content_hash, tag_from_stored
from undrift.domain.route import AliasName, Mode, Route, VectorField
from undrift.domain.space import SpaceId
from undrift.migrate.compare import Throttle, difference, is_readable, may_replace, quick_difference, walk
from undrift.migrate.reconcile import _Run, reconcile
from undrift.ports.store import Part
from undrift.testing.clock import VirtualClock

HERE = VectorField(store="main", collection="here", space=SpaceId("here-2-0"))
THERE = VectorField(store="main", collection="there", space=SpaceId("there-2-0"))
ROUTE = Route(alias=AliasName("kb"), epoch=2, mode=Mode.JOURNAL, serving=HERE, follower=THERE)
IDS = st.sets(st.text("abzä𐀀", min_size=1, max_size=3), max_size=25)


def entry(
    place: VectorField,
    id: str = "a",
    text: str = "a text",
    *,
    tagged: str | None = None,
    sequence: int = 0,
    **metadata: object,
) -> Entry:
    """A record of a field; `tagged` is the text that its tag is of, the empty one for no tag."""
    content = content_hash(text if tagged is None else tagged) if tagged != "" else ""
    space = place.space if tagged != "" else ""
    return Entry(id=DocumentId(id), text=text, metadata=metadata, tag=tag_from_stored(space, content, sequence))


@dataclass
class Shelf:
    """As much of a store and a workshop as a walk needs."""

    fields: dict[VectorField, list[str]]
    reads: int = 0

    def store_of(self, _: VectorField) -> Shelf:
        return self

    def scan(self, place: VectorField, *, after: str, limit: int, parts: Part) -> list[Entry]:
        assert parts is Part.NONE
        self.reads += 1
        return [entry(place, id) for id in sorted(self.fields[place]) if id > after][:limit]


@given(left=IDS, right=IDS, limit=st.integers(1, 7))
def test_a_walk_pairs_every_document_once_in_order(left: set[str], right: set[str], limit: int) -> None:
    shelf = Shelf({HERE: sorted(left), THERE: sorted(right)})

    pages = list(walk(shelf, ROUTE, THERE, after="", limit=limit, parts=Part.NONE))  # type: ignore[arg-type]

    seen = [(key, pair) for _, pairs in pages for key, pair in pairs.items()]
    assert [key for key, _ in seen] == sorted(left | right)
    assert all((pair[0] is not None, pair[1] is not None) == (key in left, key in right) for key, pair in seen)
    assert all(len(pairs) <= 2 * limit for _, pairs in pages)
    assert all(first < second for (first, _), (second, _) in pairwise(pages[:-1]))


@given(left=IDS, right=IDS, limit=st.integers(1, 5), stop=st.integers(0, 6))
def test_a_walk_that_stopped_anywhere_goes_on_without_a_gap(
    left: set[str], right: set[str], limit: int, stop: int
) -> None:
    shelf = Shelf({HERE: sorted(left), THERE: sorted(right)})
    pages = list(walk(shelf, ROUTE, THERE, after="", limit=limit, parts=Part.NONE))  # type: ignore[arg-type]
    done = pages[: min(stop, len(pages) - 1)]
    cursor = done[-1][0] if done else ""

    rest = walk(shelf, ROUTE, THERE, after=cursor, limit=limit + 1, parts=Part.NONE)  # type: ignore[arg-type]

    keys = [key for _, pairs in [*done, *rest] for key in pairs]
    assert keys == sorted(left | right)


A, B = entry(HERE), entry(THERE)


@pytest.mark.parametrize(
    ("left", "right", "quick", "whole"),
    [
        (A, B, "", ""),
        (None, B, "extra", "extra"),
        (A, None, "missing", "missing"),
        (None, None, "", ""),
        (A, entry(THERE, text="another"), "stale_text", "stale_text"),
        (entry(HERE, text="another", tagged="a text"), B, "", "stale_text"),
        (A, entry(THERE, text="another", tagged="a text"), "", "stale_text"),
        (entry(HERE, tagged="another"), B, "stale_text", ""),
        (entry(HERE, tagged=""), B, "stale_text", ""),
        (A, entry(THERE, tagged=""), "stale_text", "untagged"),
        (A, replace(B, tag=None), "untagged", "untagged"),
        (A, entry(HERE), "wrong_space", "wrong_space"),
        (entry(HERE, n=1), entry(THERE, n=2), "stale_metadata", "stale_metadata"),
    ],
)
def test_what_two_records_say_without_and_with_their_texts(
    left: Entry | None, right: Entry | None, quick: str, whole: str
) -> None:
    assert quick_difference((left, right), HERE, THERE) == quick
    assert difference((left, right), THERE) == whole


@pytest.mark.parametrize(
    ("left", "right", "allowed"),
    [
        (A, None, True),
        (None, B, False),
        (A, entry(THERE, text="older"), True),
        (A, entry(THERE, text="of a stranger", tagged="a text"), False),
        (A, entry(THERE, text="of a stranger", tagged=""), False),
        (A, entry(THERE, tagged=""), True),
        (entry(HERE, n=1), entry(THERE, tagged="", n=2), False),
        (entry(HERE, n=1, sequence=4), entry(THERE, n=2, sequence=4), False),
        (entry(HERE, n=1, sequence=5), entry(THERE, n=2, sequence=4), True),
    ],
)
def test_after_a_cutover_only_what_is_ours_may_be_replaced(
    left: Entry | None, right: Entry | None, allowed: bool
) -> None:
    assert may_replace((left, right), difference((left, right), THERE), HERE, THERE) is allowed


@pytest.mark.parametrize(
    ("left", "right", "allowed"),
    [
        (A, None, True),
        (entry(HERE, tagged=""), None, True),
        (None, B, False),
        (A, entry(THERE, tagged="older"), True),
        (A, entry(THERE, tagged=""), True),
        (entry(HERE, tagged="older"), entry(THERE, tagged="older"), False),
        (entry(HERE, tagged="older"), B, False),
    ],
)
def test_in_the_same_records_a_serving_vector_of_another_text_is_not_the_truth(
    left: Entry | None, right: Entry | None, allowed: bool
) -> None:
    beside = replace(THERE, collection=f"{HERE.collection}?vector=new")

    assert may_replace((left, right), difference((left, right), THERE), HERE, beside) is allowed


def test_a_forecast_is_by_the_pace_since_the_interruption() -> None:
    """What a process before this one did says nothing about how fast this one is."""
    clock = VirtualClock()
    told: list[Progress] = []
    throttle = Throttle(clock=clock, rate=None, done=400, total=1000, tell=told.append)
    clock.advance(10)

    throttle.passed(500)

    assert (told[0].done, told[0].total, told[0].rate_per_s, told[0].eta_s) == (500, 1000, 10.0, 50.0)


def test_more_documents_than_were_counted_do_not_spoil_the_forecast() -> None:
    told: list[Progress] = []
    throttle = Throttle(clock=VirtualClock(), rate=None, done=0, total=10, tell=told.append)

    throttle.passed(12)

    assert (told[0].total, told[0].eta_s) == (12, 0.0)


def test_a_bookmark_of_another_version_is_not_gone_on_with(tmp_path: Path) -> None:
    scene = Scene(tmp_path).begin(Phase.READY)
    assert not is_readable({"epoch": 2}, _Run)
    scene.ledger.save_bookmark(AliasName("kb"), "reconcile.run", {"epoch": scene.rig.route().epoch, "cursor": "z"})

    report = reconcile(scene.workshop)

    assert (report.compared, report.resumed) == (12, 0)
    scene.rig.close()
