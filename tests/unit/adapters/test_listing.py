"""Lists of ids for stores without an order."""

from __future__ import annotations

import pytest

from undrift.adapters.listing import Listings
from undrift.domain.record import DocumentId


class Collection:
    def __init__(self, *ids: str) -> None:
        self.ids = [DocumentId(id) for id in ids]
        self.now = 0.0
        self.enumerated = 0
        self.listings = Listings(lambda: self.now, age_s=10)

    def _enumerate(self) -> list[DocumentId]:
        self.enumerated += 1
        return self.ids

    def after(self, after: str = "", until: str | None = None, limit: int | None = None) -> list[str]:
        return list(self.listings.after("c", self._enumerate, after, until, limit))


def test_ids_come_in_order_between_the_bounds() -> None:
    collection = Collection("d", "b", "a", "c")

    assert collection.after() == ["a", "b", "c", "d"]
    assert collection.after("a", "c") == ["b", "c"]
    assert collection.after("aa") == ["b", "c", "d"]
    assert collection.enumerated == 1


def test_a_list_is_made_anew_when_it_is_too_old() -> None:
    collection = Collection("a")
    collection.after()
    collection.ids.append(DocumentId("b"))
    collection.now = 9.9
    assert collection.after() == ["a"]

    collection.now = 10
    assert collection.after() == ["a", "b"]


def test_what_this_process_writes_and_deletes_is_seen_at_once() -> None:
    collection = Collection("a", "c")
    collection.after()

    collection.listings.written("c", [DocumentId("b"), DocumentId("a")])
    collection.listings.deleted("c", [DocumentId("c")])
    assert collection.after() == ["a", "b"]

    collection.listings.written("c", [DocumentId("c")])
    assert collection.after() == ["a", "b", "c"]
    assert collection.enumerated == 1


def test_a_forgotten_collection_is_listed_anew() -> None:
    collection = Collection("a")
    collection.after()
    collection.ids.clear()

    collection.listings.forget("c")

    assert collection.after() == []


def test_a_page_has_as_many_as_asked_for_without_those_that_are_gone() -> None:
    collection = Collection(*"abcdefgh")
    collection.after()
    collection.listings.deleted("c", [DocumentId("b"), DocumentId("c")])

    assert collection.after(limit=3) == ["a", "d", "e"]
    assert collection.after("e", limit=3) == ["f", "g", "h"]
    assert collection.after("e", "g", limit=3) == ["f", "g"]
    assert collection.after("h", limit=3) == []


@pytest.mark.parametrize("many", [1, 15, 16, 500])
def test_however_many_are_written_they_are_listed_once_and_in_order(many: int) -> None:
    collection = Collection("id-000", "id-777")
    collection.after()
    new = [DocumentId(f"id-{(number * 7) % 997:03}") for number in range(many)]

    collection.listings.written("c", [*new, *new, DocumentId("id-777")])

    assert collection.after() == sorted({"id-000", "id-777", *new})
    assert collection.enumerated == 1
