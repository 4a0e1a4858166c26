"""A store with a typical bug does not pass the kit: each is planted into the one in memory, and a test falls."""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.conformance.test_memory import MemorySideDoor
from undrift.adapters.stores.memory import MemoryStore
from undrift.domain.record import DocumentId, Entry, Hit, Metadata, Record, Vector, tag_from_stored
from undrift.domain.route import VectorField
from undrift.domain.shape import is_beside, with_vector
from undrift.domain.space import Metric
from undrift.errors import CollectionMissing, StoreRejected, UndriftError
from undrift.ports.store import Filter, Part
from undrift.testing.stores import StoreConformance
from undrift.testing.stores.bench import new_field
from undrift.testing.stores.samples import records


class Unlocked(MemoryStore):
    """Reads, is on the way for a while, and writes back what was read."""

    def merge_metadata(self, field: VectorField, changes: Mapping[DocumentId, Metadata], *, sequence: int) -> None:
        found = self.fetch(field, list(changes))
        time.sleep(0.002)
        self.upsert(
            field,
            [
                replace(
                    one,
                    metadata={**one.metadata, **changes[id]},
                    tag=tag_from_stored(one.tag.space, one.tag.content, sequence),
                )
                for id, one in found.items()
            ],
        )


class ForgetsTheSequence(MemoryStore):
    def merge_metadata(self, field: VectorField, changes: Mapping[DocumentId, Metadata], *, sequence: int) -> None:
        super().merge_metadata(field, changes, sequence=0)


class MergesDeeply(MemoryStore):
    def merge_metadata(self, field: VectorField, changes: Mapping[DocumentId, Metadata], *, sequence: int) -> None:
        def deep(old: Any, new: Any) -> Any:
            if isinstance(old, dict) and isinstance(new, dict):
                return {**old, **{key: deep(old.get(key), value) for key, value in new.items()}}
            return new

        found = self.fetch(field, list(changes))
        merged = {id: deep(found[id].metadata, changes[id]) for id in found}
        super().merge_metadata(field, merged, sequence=sequence)


class MakesWhatIsMissing(MemoryStore):
    def merge_metadata(self, field: VectorField, changes: Mapping[DocumentId, Metadata], *, sequence: int) -> None:
        vector = np.ones(self.collections[field.collection].dimensions, np.float32)
        tag = tag_from_stored(field.space, "", sequence)
        self.insert_absent(field, [Record(id=id, text="", metadata={}, vector=vector, tag=tag) for id in changes])
        super().merge_metadata(field, changes, sequence=sequence)


class KeepsOldKeys(MemoryStore):
    def upsert(self, field: VectorField, records: Sequence[Record]) -> None:
        old = self.fetch(field, [one.id for one in records])
        super().upsert(
            field,
            [
                replace(one, metadata={**old[one.id].metadata, **one.metadata}) if one.id in old else one
                for one in records
            ],
        )


class WritesOneByOne(MemoryStore):
    def upsert(self, field: VectorField, records: Sequence[Record]) -> None:
        for one in records:
            super().upsert(field, [one])
        self.count(field)


class SkipsWhatLooksTheSame(MemoryStore):
    def upsert(self, field: VectorField, records: Sequence[Record]) -> None:
        old = self.entries(field, [one.id for one in records])
        super().upsert(field, [one for one in records if one.id not in old or old[one.id].tag != one.tag])


class Rounds(MemoryStore):
    def upsert(self, field: VectorField, records: Sequence[Record]) -> None:
        rounded = [replace(one, vector=np.round(one.vector, 6)) for one in records]
        super().upsert(field, rounded)


class Trims(MemoryStore):
    def upsert(self, field: VectorField, records: Sequence[Record]) -> None:
        super().upsert(field, [replace(one, text=one.text.strip()) for one in records])


class HandsOutItsOwn(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.known: dict[DocumentId, Record] = {}

    def fetch(self, field: VectorField, ids: Sequence[DocumentId]) -> dict[DocumentId, Record]:
        return {id: self.known.setdefault(id, one) for id, one in super().fetch(field, ids).items()}


class PagesByNumber(MemoryStore):
    """Goes on by how many it has given out, as an offset does."""

    given = 0

    def scan(
        self,
        field: VectorField,
        *,
        after: str = "",
        until: str | None = None,
        limit: int,
        parts: Part = Part.NONE,
        filter: Filter | None = None,
    ) -> list[Entry]:
        everything = super().scan(field, limit=10**6, parts=parts, filter=filter)
        self.given = self.given if after else 0
        page = everything[self.given : self.given + limit]
        self.given += len(page)
        return page


class IgnoresUntil(MemoryStore):
    def scan(
        self,
        field: VectorField,
        *,
        after: str = "",
        until: str | None = None,
        limit: int,
        parts: Part = Part.NONE,
        filter: Filter | None = None,
    ) -> list[Entry]:
        return super().scan(field, after=after, until=None, limit=limit, parts=parts, filter=filter)


class FiltersAfterTheLimit(MemoryStore):
    def scan(
        self,
        field: VectorField,
        *,
        after: str = "",
        until: str | None = None,
        limit: int,
        parts: Part = Part.NONE,
        filter: Filter | None = None,
    ) -> list[Entry]:
        page = super().scan(field, after=after, until=until, limit=limit, parts=parts)
        wanted = {one.id for one in super().scan(field, limit=10**6, filter=filter)}
        return [entry for entry in page if entry.id in wanted]


class OrdersLikeUtf16(MemoryStore):
    def ids(self, field: VectorField, *, after: str = "", limit: int) -> list[DocumentId]:
        ordered = sorted(super().ids(field, limit=10**6), key=lambda id: id.encode("utf-16-be"))
        return [id for id in ordered if id.encode("utf-16-be") > after.encode("utf-16-be")][:limit]


class FiltersAfterTheSearch(MemoryStore):
    def search(self, field: VectorField, vector: Vector, *, k: int, filter: Filter | None = None) -> list[Hit]:
        wanted = {one.id for one in self.scan(field, limit=10**6, filter=filter)}
        return [hit for hit in super().search(field, vector, k=k) if hit.id in wanted]


class BreaksTiesAsItLikes(MemoryStore):
    def search(self, field: VectorField, vector: Vector, *, k: int, filter: Filter | None = None) -> list[Hit]:
        hits = super().search(field, vector, k=10**6, filter=filter)
        return sorted(sorted(hits, key=lambda hit: hit.id[::-1]), key=lambda hit: -hit.score)[:k]


class ScoresByDistance(MemoryStore):
    def search(self, field: VectorField, vector: Vector, *, k: int, filter: Filter | None = None) -> list[Hit]:
        return [replace(hit, score=1 - hit.score) for hit in super().search(field, vector, k=k, filter=filter)]


class TakesTrueForOne(MemoryStore):
    def count(self, field: VectorField, filter: Filter | None = None) -> int:
        if filter is not None and any(value is True for value in filter.values()):
            return super().count(field, {"$or": [filter, dict.fromkeys(filter, 1)]})
        return super().count(field, filter)


class DeletesWithoutLooking(MemoryStore):
    def delete(self, field: VectorField, ids: Sequence[DocumentId], *, filter: Filter | None = None) -> None:
        super().delete(field, ids)


class CreatesIfNotExists(MemoryStore):
    def create(self, field: VectorField, *, dimensions: int, metric: Metric) -> None:
        if field.collection not in self.collections:
            super().create(field, dimensions=dimensions, metric=metric)


class AnswersNothingForMissing(MemoryStore):
    def ids(self, field: VectorField, *, after: str = "", limit: int) -> list[DocumentId]:
        try:
            return super().ids(field, after=after, limit=limit)
        except CollectionMissing:
            return []


class MixesCollections(MemoryStore):
    def fetch(self, field: VectorField, ids: Sequence[DocumentId]) -> dict[DocumentId, Record]:
        everywhere = {id: row for one in self.collections.values() for id, row in one.rows.items()}
        wanted = super().fetch(field, ids)
        return {
            id: replace(one, text=everywhere[id].text, metadata=json.loads(everywhere[id].metadata))
            for id, one in wanted.items()
        }


class InsertsOverOthers(MemoryStore):
    def insert_absent(self, field: VectorField, records: Sequence[Record]) -> None:
        self.upsert(field, records)


class TakesAnyVector(MemoryStore):
    def upsert(self, field: VectorField, records: Sequence[Record]) -> None:
        try:
            super().upsert(field, records)
        except StoreRejected:
            return


class AttachesToAnyText(MemoryStore):
    def attach(self, field: VectorField, records: Sequence[Record]) -> None:
        there = {id: row for one in self.collections.values() for id, row in one.rows.items()}
        super().attach(field, [replace(one, text=there[one.id].text) for one in records if one.id in there])


class AttachesToNothing(MemoryStore):
    def attach(self, field: VectorField, records: Sequence[Record]) -> None:
        self.insert_absent(field, records)
        super().attach(field, records)


class AttachesWholeRecords(MemoryStore):
    def attach(self, field: VectorField, records: Sequence[Record]) -> None:
        there = {id for one in self.collections.values() for id in one.rows}
        self.upsert(field, [one for one in records if one.id in there])


class ForgetsOtherVectors(MemoryStore):
    def upsert(self, field: VectorField, records: Sequence[Record]) -> None:
        for other in self._beside(field):
            for one in records:
                other.rows.pop(one.id, None)
                other.order[:] = [id for id in other.order if id != one.id]
        super().upsert(field, records)


class DeletesOneVector(MemoryStore):
    def delete(self, field: VectorField, ids: Sequence[DocumentId], *, filter: Filter | None = None) -> None:
        if self._beside(field):
            self.detach(field, ids)
        else:
            super().delete(field, ids, filter=filter)


class DetachesByDeleting(MemoryStore):
    def detach(self, field: VectorField, ids: Sequence[DocumentId]) -> None:
        self.delete(field, ids)


class DropsTheRecords(MemoryStore):
    def drop(self, field: VectorField) -> None:
        for name in [name for name in self.collections if is_beside(name, field.collection)]:
            del self.collections[name]
        super().drop(field)


BUGS: list[tuple[type[MemoryStore], str]] = [
    (Unlocked, "test_a_change_of_metadata_does_not_bring_a_deleted_record_back"),
    (Unlocked, "test_changes_of_metadata_do_not_get_lost"),
    (ForgetsTheSequence, "test_each_record_gets_its_own_change"),
    (MergesDeeply, "test_metadata_are_put_in_key_by_key[an object for an object]"),
    (MakesWhatIsMissing, "test_metadata_of_a_missing_record_make_none"),
    (KeepsOldKeys, "test_a_record_is_replaced_whole"),
    (WritesOneByOne, "test_a_vector_that_does_not_fit_is_refused_and_nothing_is_written[no number]"),
    (SkipsWhatLooksTheSame, "test_a_vector_alone_may_change"),
    (Rounds, "test_vectors_come_back_bit_for_bit[8]"),
    (Trims, "test_a_text_comes_back_as_it_was[white space around]"),
    (HandsOutItsOwn, "test_what_is_written_is_copied"),
    (PagesByNumber, "test_what_stays_is_scanned_exactly_once_while_others_come_and_go"),
    (IgnoresUntil, "test_a_scan_keeps_to_its_bounds"),
    (FiltersAfterTheLimit, "test_a_scan_with_a_filter_fills_its_pages"),
    (OrdersLikeUtf16, "test_a_scan_follows_the_code_points"),
    (FiltersAfterTheSearch, "test_a_filter_does_not_shorten_the_answer"),
    (BreaksTiesAsItLikes, "test_equally_near_records_come_in_the_order_of_their_ids[Metric.COSINE]"),
    (ScoresByDistance, "test_the_nearest_come_first_with_their_scores[10-Metric.COSINE]"),
    (TakesTrueForOne, "test_every_filter_is_understood_as_the_language_says"),
    (DeletesWithoutLooking, "test_deletion_with_a_filter_spares_what_does_not_match"),
    (CreatesIfNotExists, "test_a_collection_that_is_there_is_left_alone"),
    (CreatesIfNotExists, "test_only_one_can_create_a_collection"),
    (AnswersNothingForMissing, "test_a_call_on_a_missing_collection_says_so[ids]"),
    (MixesCollections, "test_collections_do_not_see_each_other"),
    (InsertsOverOthers, "test_insert_absent_leaves_alone_what_is_there"),
    (AttachesToAnyText, "test_only_the_text_it_was_made_of_gets_a_vector"),
    (AttachesToNothing, "test_only_the_text_it_was_made_of_gets_a_vector"),
    (AttachesWholeRecords, "test_what_is_attached_stands_beside_the_first_vector"),
    (ForgetsOtherVectors, "test_a_write_through_one_field_leaves_the_other_visibly_behind"),
    (DeletesOneVector, "test_a_delete_reaches_every_vector[first]"),
    (DetachesByDeleting, "test_what_is_detached_leaves_the_record"),
    (DropsTheRecords, "test_dropping_one_field_leaves_the_other[second]"),
    (TakesAnyVector, "test_a_vector_that_does_not_fit_is_refused_and_nothing_is_written[too long]"),
]
#: What the parts in brackets stand for.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "an object for an object": {"case": "an object for an object"},
    "no number": {"fault": "no number"},
    "too long": {"fault": "too long"},
    "8": {"dimensions": 8},
    "white space around": {"kind": "white space around"},
    "Metric.COSINE": {"metric": Metric.COSINE},
    "10-Metric.COSINE": {"k": 10, "metric": Metric.COSINE},
    "ids": {"call": "ids"},
    "first": {"through": "first"},
    "second": {"dropped": "second"},
}


@pytest.mark.parametrize(("bug", "test"), BUGS, ids=[f"{bug.__name__}: {test}" for bug, test in BUGS])
def test_a_planted_bug_is_found(bug: type[MemoryStore], test: str) -> None:
    with pytest.raises((AssertionError, UndriftError, pytest.fail.Exception)):
        run(bug(), test)


@pytest.mark.parametrize("test", sorted({test for _, test in BUGS}))
def test_without_the_bug_it_passes(test: str) -> None:
    run(MemoryStore(), test)


def run(store: MemoryStore, test: str) -> None:
    """Call a test of the kit with the fixtures that it asks for."""
    name, _, bracket = test.rstrip("]").partition("[")
    method: Callable[..., None] = getattr(StoreConformance(), name)
    with fixtures(store) as at_hand:
        asked = inspect.signature(method).parameters
        if "large" in asked:
            at_hand["large"] = second_of(store, at_hand["field"])
        given = {**at_hand, **ARGUMENTS.get(bracket, {})}
        method(**{name: given[name] for name in asked})


def second_of(store: MemoryStore, field: VectorField) -> VectorField:
    """Make a second field in the records of the first, as the kit's own fixture does."""
    store.upsert(field, records(["a", "b"], StoreConformance.dimensions))
    large = replace(field, collection=with_vector(field.collection, "large"))
    store.create(large, dimensions=StoreConformance.dimensions + 4, metric=Metric.COSINE)
    return large


@contextmanager
def fixtures(store: MemoryStore) -> Iterator[dict[str, Any]]:
    def make(dimensions: int, metric: Metric) -> VectorField:
        field = new_field()
        store.create(field, dimensions=dimensions, metric=metric)
        return field

    yield {
        "store": store,
        "other": store,
        "in_place": store,
        "side_door": MemorySideDoor(store),
        "make_field": make,
        "metric": Metric.COSINE,
        "field": make(StoreConformance.dimensions, Metric.COSINE),
        "missing": new_field(),
    }
