"""Promises about changes of records that are there: deletion, and metadata put in."""

from __future__ import annotations

import pytest

from undrift.domain.record import DocumentId, Metadata, Record, tag_from_stored
from undrift.domain.route import VectorField
from undrift.errors import BadFilter
from undrift.ports.store import VectorStore
from undrift.testing.stores.bench import SideDoor, StoreBench
from undrift.testing.stores.samples import assert_same, ids_of, numbered, record, records, unit_vectors

#: Metadata before, the keys put in, and metadata afterwards.
MERGES: dict[str, tuple[Metadata, Metadata, Metadata]] = {
    "a new key": ({}, {"a": 1}, {"a": 1}),
    "a known key among others": ({"a": 1, "b": 2}, {"a": 3}, {"a": 3, "b": 2}),
    "no key": ({"a": 1}, {}, {"a": 1}),
    "null": ({"a": 1}, {"a": None}, {"a": None}),
    "another type": ({"a": 1}, {"a": "1"}, {"a": "1"}),
    "an object for an object": ({"a": {"x": 1, "y": 2}}, {"a": {"x": 3}}, {"a": {"x": 3}}),
    "a list for a list": ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
    "a key with a dot": ({"a.b": 1, "a": {"b": 2}}, {"a.b": 3}, {"a.b": 3, "a": {"b": 2}}),
    "awkward ones": (
        {"a": "x"},
        {"": 1.5, "b": {"\u4e2d": [None, "'"]}},
        {"a": "x", "": 1.5, "b": {"\u4e2d": [None, "'"]}},
    ),
}


class ChangeTests(StoreBench):
    """`delete` and `merge_metadata`."""

    def test_what_is_deleted_is_gone(
        self, store: VectorStore, other: VectorStore, side_door: SideDoor, field: VectorField
    ) -> None:
        """An acknowledged deletion is seen by everybody, and touches no other record.

        Failing? Wait for the acknowledgement; delete, do not mark.
        """
        left, gone = records(["a", "c"], self.dimensions), records(["b", "d"], self.dimensions, seed=1)
        store.upsert(field, [*left, *gone])

        store.delete(field, ids_of(gone))

        assert other.fetch(field, ids_of(gone)) == {}
        assert other.ids(field, limit=10) == ["a", "c"]
        for one in gone:
            assert side_door.read(field, one.id) is None
        for one in left:
            assert_same(side_door.read(field, one.id), one)

    def test_unknown_ids_can_be_deleted(self, store: VectorStore, field: VectorField) -> None:
        """Unknown ids, the same id twice, no ids, and the same call again are no errors.

        Failing? A deletion says what shall not be there; take "not found" for done.
        """
        store.upsert(field, records(["a", "b"], self.dimensions))

        store.delete(field, [])
        assert store.count(field) == 2
        for _ in range(2):
            store.delete(field, [DocumentId("a"), DocumentId("never"), DocumentId("a")])

        assert store.ids(field, limit=10) == ["b"]

    def test_a_deleted_record_can_be_written_again(
        self, store: VectorStore, side_door: SideDoor, field: VectorField
    ) -> None:
        """After a deletion an id is as new.

        Failing? Nothing of the old record may come back, and no mark of its deletion may hide the new one.
        """
        first, second = unit_vectors(2, self.dimensions)
        store.upsert(field, [record("a", first, metadata={"old": True})])
        store.delete(field, [DocumentId("a")])
        written = record("a", second, sequence=5)

        store.upsert(field, [written])

        assert_same(side_door.read(field, written.id), written)
        assert store.count(field) == 1

    def test_deletion_with_a_filter_spares_what_does_not_match(self, store: VectorStore, field: VectorField) -> None:
        """Of the ids given, those that match the filter are deleted; other records are not looked at.

        Failing? Both conditions must hold: the id is in the list, and the filter matches now, in the back-end.
        """
        ids = numbered(12)
        store.upsert(field, records(ids, self.dimensions))

        store.delete(field, [*ids[:8], DocumentId("never")], filter={"n": {"$gte": 4}})

        assert store.ids(field, limit=20) == [*ids[:4], *ids[8:]]
        store.delete(field, [], filter={"n": {"$gte": 4}})
        assert store.ids(field, limit=20) == [*ids[:4], *ids[8:]]

    def test_a_filter_that_asks_for_everything_spares_nothing(self, store: VectorStore, field: VectorField) -> None:
        """`{}` matches every record.

        Failing? An empty filter and no filter mean the same.
        """
        ids = numbered(3)
        store.upsert(field, records(ids, self.dimensions))

        store.delete(field, ids[:2], filter={})

        assert store.ids(field, limit=5) == ids[2:]

    def test_a_bad_filter_deletes_nothing(self, store: VectorStore, field: VectorField) -> None:
        """A filter that cannot be read raises BadFilter before anything is changed.

        Failing? Parse with `domain.filter.parse` first of all.
        """
        ids = numbered(3)
        store.upsert(field, records(ids, self.dimensions))

        with pytest.raises(BadFilter, match=r"\$like"):
            store.delete(field, ids, filter={"n": {"$like": 1}})

        assert store.count(field) == 3

    @pytest.mark.parametrize("many", [1, 63, 64, 65, 200])
    def test_many_come_and_go(self, store: VectorStore, side_door: SideDoor, field: VectorField, many: int) -> None:
        """Records that are deleted and inserted in turns leave exactly those that are there.

        Failing? Look at how the back-end uses the room of a deleted record again.
        """
        ids = numbered(3 * many)
        for round, start in enumerate((0, many, 2 * many, 0)):
            store.upsert(field, records(ids[start : start + many], self.dimensions, seed=round))
            store.delete(field, ids[start : start + many : 2])
            assert_same_records(store, field, ids)

        for one in records(ids[:many], self.dimensions, seed=3)[1::2]:
            assert_same(side_door.read(field, one.id), one)
            assert [hit.id for hit in store.search(field, one.vector, k=1)] == [one.id]

    @pytest.mark.parametrize("case", MERGES)
    def test_metadata_are_put_in_key_by_key(
        self, store: VectorStore, side_door: SideDoor, field: VectorField, case: str
    ) -> None:
        """Keys that are named are replaced with their whole value, others stay; vector and text are as before.

        The tag keeps space and content and gets the sequence. Failing? It is no deep merge, None is a value, and a key
        is no path.
        """
        before, change, after = MERGES[case]
        written = record("a", unit_vectors(1, self.dimensions)[0], metadata=before, sequence=1)
        bystander = record("b", unit_vectors(2, self.dimensions)[1], metadata=before, sequence=1)
        store.upsert(field, [written, bystander])

        store.merge_metadata(field, {written.id: change}, sequence=17)

        wanted = changed(written, after, sequence=17)
        assert_same(side_door.read(field, written.id), wanted)
        assert_same(store.fetch(field, [written.id])[written.id], wanted)
        assert_same(side_door.read(field, bystander.id), bystander)

    def test_each_record_gets_its_own_change(self, store: VectorStore, field: VectorField) -> None:
        """One call changes many records, each by its own keys; the same call again changes nothing more.

        Failing? Look whether the changes are applied in the order of the ids.
        """
        written = records(numbered(20), self.dimensions)
        store.upsert(field, written)
        changes = {one.id: {f"key{number % 3}": number} for number, one in enumerate(written) if number % 2}

        for _ in range(2):
            store.merge_metadata(field, changes, sequence=4)

        found = store.fetch(field, ids_of(written))
        for one in written:
            wanted = changed(one, {**one.metadata, **changes[one.id]}, sequence=4) if one.id in changes else one
            assert_same(found.get(one.id), wanted)

    def test_metadata_of_a_missing_record_make_none(
        self, store: VectorStore, side_door: SideDoor, field: VectorField
    ) -> None:
        """A record that is not there is not made, and those that are there get their change.

        Failing? Update, never upsert: a record without a vector belongs to no space.
        """
        (there,) = records(["there"], self.dimensions)
        store.upsert(field, [there])
        missing = DocumentId("missing")

        store.merge_metadata(field, {missing: {"a": 1}, there.id: {"a": 1}}, sequence=2)
        store.merge_metadata(field, {missing: {"a": 1}}, sequence=2)
        store.merge_metadata(field, {}, sequence=3)

        assert side_door.read(field, missing) is None
        assert store.ids(field, limit=5) == ["there"]
        assert_same(side_door.read(field, there.id), changed(there, {**there.metadata, "a": 1}, sequence=2))


def changed(record: Record, metadata: Metadata, *, sequence: int) -> Record:
    """Return the record as it is after its metadata have been changed."""
    tag = tag_from_stored(record.tag.space, record.tag.content, sequence)
    return Record(id=record.id, text=record.text, metadata=metadata, vector=record.vector, tag=tag)


def assert_same_records(store: VectorStore, field: VectorField, ids: list[DocumentId]) -> None:
    """Pass when every way of asking for the records names the same ones."""
    listed = store.ids(field, limit=len(ids) + 1)
    assert listed == [entry.id for entry in store.scan(field, limit=len(ids) + 1)]
    assert listed == sorted(store.fetch(field, ids))
    assert store.count(field) == len(listed)
