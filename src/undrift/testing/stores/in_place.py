"""Promises about two vectors in one record: they share text and metadata, and each says of which text it was made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import pytest

from undrift.domain.record import DocumentId, Entry, content_hash
from undrift.domain.route import VectorField
from undrift.domain.shape import with_vector
from undrift.domain.space import Metric, SpaceId
from undrift.errors import CollectionMissing, FieldInUse, StoreRejected
from undrift.ports.store import FieldDescription, Layout, Part, SupportsInPlace, VectorStore
from undrift.testing.stores.bench import StoreBench, skip_for
from undrift.testing.stores.samples import (
    SPACE,
    assert_same,
    faulty_vector,
    ids_of,
    numbered,
    record,
    records,
    unit_vectors,
)

_ID, _OTHER = DocumentId("a"), DocumentId("b")
_LARGE = replace(SPACE, model="large")
#: A call of each method of the ability.
_CALLS: dict[str, Callable[[SupportsInPlace, VectorField], object]] = {
    "attach": lambda store, field: store.attach(field, [record(_ID, unit_vectors(1, 8)[0])]),
    "detach": lambda store, field: store.detach(field, [_ID]),
}


def _ids(entries: Sequence[Entry]) -> list[DocumentId]:
    return [entry.id for entry in entries]


class InPlaceTests(StoreBench):
    """Two fields in the same records."""

    @pytest.fixture
    def in_place(self, store: VectorStore) -> SupportsInPlace:
        """Return the store, if it can do this."""
        if Layout.IN_PLACE not in store.capabilities.layouts:
            skip_for("layouts", f"{store.capabilities.name} does not have in_place")
        return cast(SupportsInPlace, store)

    @pytest.fixture
    def large(
        self, store: VectorStore, field: VectorField, metric: Metric, in_place: SupportsInPlace
    ) -> Iterator[VectorField]:
        """Return a second field in the records of the first, which has two of them by then; of more dimensions."""
        del in_place
        store.upsert(field, records([_ID, _OTHER], self.dimensions))
        large = VectorField(store=field.store, collection=with_vector(field.collection, "large"), space=_LARGE.id)
        store.create(large, dimensions=self.dimensions + 4, metric=metric)
        yield large
        store.drop(large)

    def test_the_layout_and_the_ability_are_declared_together(self, store: VectorStore) -> None:
        """`Layout.IN_PLACE` is in the capabilities exactly when there are `attach` and `detach`.

        Failing? Declare the layout, or leave the methods out.
        """
        assert (Layout.IN_PLACE in store.capabilities.layouts) is isinstance(store, SupportsInPlace)

    def test_a_second_vector_gets_room_in_the_records_that_are_there(
        self, store: VectorStore, other: VectorStore, field: VectorField, large: VectorField, metric: Metric
    ) -> None:
        """`create` on an address with a vector adds an empty field to a collection, which keeps what it has.

        Failing? A field has the records that have its vector, and no others, whichever method asks.
        """
        dimensions = self.dimensions + 4

        assert store.describe(large) == FieldDescription(dimensions=dimensions, metric=metric, count=0)
        for one in (store, other):
            assert one.count(large) == 0
            assert one.ids(large, limit=9) == []
            assert one.scan(large, limit=9) == []
            assert one.fetch(large, [_ID]) == {}
            assert one.entries(large, [_ID]) == {}
            assert one.search(large, unit_vectors(1, dimensions)[0], k=3) == []
            assert one.count(field) == 2
        for wanted in records([_ID, _OTHER], self.dimensions):
            assert_same(store.fetch(field, [wanted.id]).get(wanted.id), wanted)

    def test_a_field_that_is_there_is_not_made_again(
        self, store: VectorStore, large: VectorField, metric: Metric
    ) -> None:
        """`create` on a vector that the records have raises FieldInUse and changes nothing.

        Failing? Look for the vector, not only for the collection.
        """
        with pytest.raises(FieldInUse):
            store.create(large, dimensions=self.dimensions, metric=metric)

        described = store.describe(large)
        assert described is not None
        assert described.dimensions == self.dimensions + 4

    def test_an_address_with_a_vector_can_be_made_from_nothing(
        self, store: VectorStore, missing: VectorField, metric: Metric, in_place: SupportsInPlace
    ) -> None:
        """`create` makes the collection with that vector when there is none.

        Failing? A collection of undrift's own may be configured with the name of its vector.
        """
        del in_place
        named = replace(missing, collection=with_vector(missing.collection, "small"))
        try:
            store.create(named, dimensions=self.dimensions, metric=metric)
            assert store.describe(missing) is None
            (there,) = records([_ID], self.dimensions)
            store.upsert(named, [there])
            assert_same(store.fetch(named, [_ID]).get(_ID), there)
        finally:
            store.drop(named)
        assert store.describe(named) is None

    def test_what_is_attached_stands_beside_the_first_vector(
        self,
        store: VectorStore,
        other: VectorStore,
        in_place: SupportsInPlace,
        field: VectorField,
        large: VectorField,
    ) -> None:
        """`attach` keeps vector and tag; text and metadata are those of the record, whatever comes with the vector.

        Failing? Write the vector and its own tag only.
        """
        first = store.fetch(field, [_ID])[_ID]
        (vector,) = unit_vectors(1, self.dimensions + 4, seed=3)
        in_place.attach(large, [record(_ID, vector, metadata={"other": 1}, sequence=5, space=_LARGE)])

        for one in (store, other):
            found = one.fetch(large, [_ID]).get(_ID)
            wanted = record(_ID, vector, metadata=first.metadata, sequence=5, space=_LARGE)
            assert_same(found, wanted)
            assert_same(one.fetch(field, [_ID]).get(_ID), first)
            assert one.entries(large, [_ID, _OTHER])[_ID].tag == wanted.tag
            assert _ids(one.scan(large, limit=9, parts=Part.TEXT)) == one.ids(large, limit=9) == [_ID]
            assert one.count(large) == 1

    def test_only_the_text_it_was_made_of_gets_a_vector(
        self, store: VectorStore, in_place: SupportsInPlace, field: VectorField, large: VectorField
    ) -> None:
        """A record that is not there is not made, and one whose text is another one by now is left alone.

        Failing? Compare the text in the same request that writes: what was read before may be old (R21).
        """
        ids = [_ID, _OTHER, "nobody"]
        given = records(ids, self.dimensions + 4)
        store.upsert(field, [record(_ID, unit_vectors(1, self.dimensions)[0], text="another text")])

        in_place.attach(large, given)

        assert store.ids(large, limit=9) == [_OTHER]
        assert store.ids(field, limit=9) == [_ID, _OTHER]
        assert store.fetch(field, [_ID])[_ID].text == "another text"

    def test_attaching_again_replaces_the_vector_of_this_field_only(
        self, store: VectorStore, in_place: SupportsInPlace, field: VectorField, large: VectorField
    ) -> None:
        """A repeated call leaves what the last one brought; an empty one does nothing.

        Failing? Every step of a migration can be repeated.
        """
        before = store.fetch(field, [_ID])[_ID]
        old, new = unit_vectors(2, self.dimensions + 4, seed=9)
        in_place.attach(large, [])
        in_place.attach(large, [record(_ID, old)])
        in_place.attach(large, [record(_ID, new, sequence=2)])

        found = store.fetch(large, [_ID])[_ID]
        assert found.vector.tobytes() == new.tobytes()
        assert found.tag.sequence == 2
        assert_same(store.fetch(field, [_ID])[_ID], before)

    def test_a_write_through_one_field_leaves_the_other_visibly_behind(
        self, store: VectorStore, in_place: SupportsInPlace, field: VectorField, large: VectorField
    ) -> None:
        """`upsert` keeps the vectors of other fields with their tags, so that these name the text they were made of.

        Failing? Never let a tag say more than is true of its vector, and never lose the other vector.
        """
        (vector,) = unit_vectors(1, self.dimensions + 4)
        in_place.attach(large, [record(_ID, vector, space=_LARGE)])
        written = record(_ID, unit_vectors(2, self.dimensions)[1], text="a new text", metadata={"new": True})
        store.upsert(field, [written])

        assert_same(store.fetch(field, [_ID])[_ID], written)
        behind = store.fetch(large, [_ID]).get(_ID)
        assert behind is not None, "the vector of the other field is lost"
        assert (behind.text, dict(behind.metadata)) == ("a new text", {"new": True})
        assert behind.tag.content == content_hash(f"text of {_ID}")
        assert behind.tag.space == _LARGE.id
        assert behind.vector.tobytes() == vector.tobytes()

    def test_either_field_can_serve(
        self, store: VectorStore, in_place: SupportsInPlace, field: VectorField, large: VectorField
    ) -> None:
        """A record that is written through the second field is not one of the first, until a vector is attached there.

        Failing? After a cutover the roles turn round: nothing may count on the first vector.
        """
        new, old = (record("c", unit_vectors(1, self.dimensions + more)[0], text="new") for more in (4, 0))
        changed = record(_OTHER, unit_vectors(2, self.dimensions + 4)[1], text="changed")
        store.upsert(large, [new, changed])

        assert store.ids(large, limit=9) == [_OTHER, new.id]
        assert store.ids(field, limit=9) == [_ID, _OTHER]
        assert store.count(field) == 2
        assert store.fetch(field, [_OTHER])[_OTHER].text == "changed"
        assert store.fetch(field, [_OTHER])[_OTHER].tag.content == content_hash(f"text of {_OTHER}")
        assert new.id not in [hit.id for hit in store.search(field, old.vector, k=9)]
        in_place.attach(field, [old])
        assert_same(store.fetch(field, [new.id]).get(new.id), old)
        assert_same(store.fetch(large, [new.id]).get(new.id), new)

    @pytest.mark.parametrize("through", ["first", "second"])
    def test_a_delete_reaches_every_vector(
        self, store: VectorStore, in_place: SupportsInPlace, field: VectorField, large: VectorField, through: str
    ) -> None:
        """`delete` removes the record, through whichever field, also one that has no vector of that field.

        Failing? A vector that is left behind comes back as a document that was deleted.
        """
        in_place.attach(large, records([_ID], self.dimensions + 4))
        store.upsert(large, [record("c", unit_vectors(1, self.dimensions + 4)[0])])
        used = field if through == "first" else large

        store.delete(used, [_ID], filter={"n": 77})
        assert store.fetch(field, [_ID]).keys() == store.fetch(large, [_ID]).keys() == {_ID}
        store.delete(used, [_ID, _OTHER, DocumentId("c"), DocumentId("never")])

        assert store.ids(field, limit=9) == store.ids(large, limit=9) == []

    def test_metadata_is_shared_and_tags_are_not(
        self, store: VectorStore, in_place: SupportsInPlace, field: VectorField, large: VectorField
    ) -> None:
        """`merge_metadata` through one field is seen through both, and sets the sequence in the tag of that field.

        Failing? A record without a vector of the field is none of its records, and is not changed.
        """
        in_place.attach(large, [record(_ID, unit_vectors(1, self.dimensions + 4)[0], sequence=3)])
        store.merge_metadata(field, {_ID: {"lang": "en"}}, sequence=8)
        store.merge_metadata(large, {_OTHER: {"lang": "en"}}, sequence=9)

        first, second = store.fetch(field, [_ID])[_ID], store.fetch(large, [_ID])[_ID]
        assert first.metadata["lang"] == second.metadata["lang"] == "en"
        assert (first.tag.sequence, second.tag.sequence) == (8, 3)
        assert "lang" not in store.fetch(field, [_OTHER])[_OTHER].metadata

    def test_what_is_detached_leaves_the_record(
        self, store: VectorStore, in_place: SupportsInPlace, field: VectorField, large: VectorField
    ) -> None:
        """`detach` takes a vector out of one field; unknown ids and those without such a vector are no error.

        Failing? A document that a model cannot take must not be lost from the field that has it.
        """
        in_place.attach(large, records([_ID, _OTHER], self.dimensions + 4))
        before = store.fetch(field, [_ID])[_ID]

        in_place.detach(large, [_ID, DocumentId("never")])
        in_place.detach(large, [_ID])
        in_place.detach(large, [])

        assert store.ids(large, limit=9) == [_OTHER]
        assert store.count(large) == 1
        assert_same(store.fetch(field, [_ID]).get(_ID), before)

    def test_each_field_is_searched_by_its_own_vectors(
        self, store: VectorStore, in_place: SupportsInPlace, field: VectorField, large: VectorField
    ) -> None:
        """`search` compares with the vectors of the field, and finds only records that have one.

        Failing? A vector that is not there is no hit, whatever the filter.
        """
        ids = numbered(20)
        store.upsert(field, records(ids, self.dimensions))
        given = records(ids[:12], self.dimensions + 4, seed=4)
        in_place.attach(large, given)
        query = given[5].vector

        wanted = sorted(given, key=lambda one: -float(np.dot(one.vector, query)))
        if self.exact:
            assert [hit.id for hit in store.search(large, query, k=5)] == ids_of(wanted)[:5]
        found = store.search(large, query, k=20)
        assert {hit.id for hit in found} == set(ids[:12])
        assert found[0].tag == given[5].tag
        few = store.search(large, query, k=20, filter={"n": {"$gte": 10}})
        assert {hit.id for hit in few} == {ids[10], ids[11]}
        assert store.count(large, {"n": {"$gte": 10}}) == 2

    def test_a_scan_passes_over_records_without_the_vector(
        self, store: VectorStore, in_place: SupportsInPlace, field: VectorField, large: VectorField
    ) -> None:
        """A page is full of records of the field, however many others lie between them.

        Failing? Fewer than the limit means that there are no more.
        """
        ids = numbered(30)
        store.upsert(field, records(ids, self.dimensions))
        every_third = ids[::3]
        in_place.attach(large, records(every_third, self.dimensions + 4))

        pages, after = [], ""
        while page := store.scan(large, after=after, limit=4):
            pages.append(_ids(page))
            after = page[-1].id
        assert pages == [every_third[:4], every_third[4:8], every_third[8:]]
        assert store.ids(large, after=every_third[1], limit=2) == every_third[2:4]

    @pytest.mark.parametrize("fault", ["too short", "no number", "float64"])
    def test_a_vector_that_cannot_be_compared_is_not_attached(
        self, store: VectorStore, in_place: SupportsInPlace, large: VectorField, fault: str
    ) -> None:
        """One faulty vector refuses the whole call, as with `upsert`.

        Failing? Check before anything is sent.
        """
        good = record(_OTHER, unit_vectors(1, self.dimensions + 4)[0])

        with pytest.raises(StoreRejected, match=_ID):
            in_place.attach(large, [good, record(_ID, faulty_vector(fault, self.dimensions + 4))])

        assert store.count(large) == 0

    def test_two_records_of_one_id_are_not_attached(
        self, store: VectorStore, in_place: SupportsInPlace, large: VectorField
    ) -> None:
        """Ids within one call are distinct, as with `upsert`.

        Failing? Which vector wins is not to be left to chance.
        """
        with pytest.raises(StoreRejected):
            in_place.attach(large, [record(_ID, vector) for vector in unit_vectors(2, self.dimensions + 4)])

        assert store.count(large) == 0

    @pytest.mark.parametrize("dropped", ["first", "second"])
    def test_dropping_one_field_leaves_the_other(
        self,
        store: VectorStore,
        in_place: SupportsInPlace,
        field: VectorField,
        large: VectorField,
        dropped: str,
    ) -> None:
        """`drop` takes the vectors of one field, and the records stay for the other; the last one takes all.

        Failing? A completion drops the field that served before, and must not take what serves now.
        """
        in_place.attach(large, [record(_ID, unit_vectors(1, self.dimensions + 4)[0], space=_LARGE)])
        gone, kept = (field, large) if dropped == "first" else (large, field)
        before = store.fetch(kept, [_ID])[_ID]
        described = store.describe(gone)
        assert described is not None
        metric = described.metric

        for _ in range(2):
            # A plan that was killed takes its step again.
            store.drop(gone)
            assert store.describe(gone) is None
            assert_same(store.fetch(kept, [_ID]).get(_ID), before)
        with pytest.raises(CollectionMissing):
            store.count(gone)
        if gone is large:
            store.create(large, dimensions=self.dimensions + 1, metric=metric)
            assert store.describe(large) == FieldDescription(dimensions=self.dimensions + 1, metric=metric, count=0)
        else:
            store.upsert(large, records(["later"], self.dimensions + 4))
            assert store.count(large) == 2
            third = replace(large, collection=with_vector(field.collection, "third"), space=SpaceId("third"))
            store.create(third, dimensions=3, metric=metric)
            assert store.count(third) == 0
            store.drop(third)

    @pytest.mark.parametrize("call", sorted(_CALLS))
    def test_a_field_that_is_not_there_is_missing(
        self, in_place: SupportsInPlace, missing: VectorField, field: VectorField, call: str
    ) -> None:
        """Attaching to what is not there raises CollectionMissing, whether the collection is missing or the vector.

        Failing? Translate the back-end's error, also for a vector that it does not know.
        """
        for place in (missing, replace(field, collection=with_vector(field.collection, "nobody"))):
            with pytest.raises(CollectionMissing, match=place.collection.partition("?")[0]):
                _CALLS[call](in_place, place)
