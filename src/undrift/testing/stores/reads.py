"""Promises about reading: by id, in the order of ids, and in numbers."""

from __future__ import annotations

import pytest

from undrift.domain.record import DocumentId, Entry
from undrift.domain.route import VectorField
from undrift.ports.store import Part, VectorStore
from undrift.testing.stores.bench import SideDoor, StoreBench
from undrift.testing.stores.samples import UNICODE_IDS, assert_same, assert_same_json, ids_of, numbered, records


class ReadTests(StoreBench):
    """`fetch`, `entries`, `scan`, `ids` and `count`."""

    def test_unknown_ids_are_absent(self, store: VectorStore, field: VectorField) -> None:
        """`fetch` and `entries` answer what is there; unknown ids, doubled ids and no ids are no errors.

        Failing? Do not fill in for what was not found.
        """
        written = records(["a", "b"], self.dimensions)
        store.upsert(field, written)
        asked = [DocumentId(id) for id in ("b", "never", "a", "b", "A")]

        assert sorted(store.fetch(field, asked)) == ["a", "b"]
        assert sorted(store.entries(field, asked)) == ["a", "b"]
        assert store.fetch(field, []) == {}
        assert store.entries(field, []) == {}

    def test_many_records_can_be_asked_for_at_once(self, store: VectorStore, field: VectorField) -> None:
        """A call may name hundreds of ids; each answer belongs to its id.

        Failing? Split the list where the back-end limits the parameters of a call.
        """
        written = records(numbered(700), self.dimensions)
        store.upsert(field, written)
        asked = [*ids_of(written), *(DocumentId(f"never-{number}") for number in range(700))]

        found, entries = store.fetch(field, asked), store.entries(field, asked)

        assert sorted(found) == sorted(entries) == ids_of(written)
        for one in written[::50]:
            assert_same(found[one.id], one)
            assert entries[one.id].metadata == one.metadata

    def test_what_somebody_else_writes_is_read(
        self, store: VectorStore, side_door: SideDoor, field: VectorField
    ) -> None:
        """A read looks into the back-end every time: it sees what others insert, replace and delete.

        Failing? An adapter may keep no records in memory.
        """
        (old,), (new,) = records(["a"], self.dimensions), records(["a"], self.dimensions, seed=1, sequence=1)
        side_door.write(field, old)
        assert_same(store.fetch(field, [old.id]).get(old.id), old)
        assert store.count(field) == 1

        side_door.write(field, new)
        assert_same(store.fetch(field, [new.id]).get(new.id), new)
        assert [hit.id for hit in store.search(field, new.vector, k=3)] == ["a"]

        side_door.delete(field, new.id)
        assert store.fetch(field, [new.id]) == {}
        assert store.search(field, new.vector, k=3) == []
        assert store.count(field) == 0

    def test_entries_are_records_without_vectors(self, store: VectorStore, field: VectorField) -> None:
        """`entries` brings id, metadata and tag, and the text unless it was not asked for.

        Failing? Do not load the vector: entries are read for every document of a collection.
        """
        written = records(["a", "b"], self.dimensions, sequence=5)
        store.upsert(field, written)

        with_text = store.entries(field, ids_of(written))
        without = store.entries(field, ids_of(written), Part.NONE)

        for one in written:
            assert with_text[one.id].text == one.text
            assert without[one.id].text is None
            for entry in (with_text[one.id], without[one.id]):
                assert (entry.id, entry.tag) == (one.id, one.tag)
                assert_same_json(entry.metadata, one.metadata)

    def test_a_scan_follows_the_code_points(self, store: VectorStore, field: VectorField) -> None:
        """Ids come in the order of their code points, whatever alphabet a locale has; that is Python's own order.

        Failing? Ask for a binary collation of UTF-8 ("C" in PostgreSQL); UTF-16 orders the rare planes wrongly.
        """
        store.upsert(field, records(UNICODE_IDS, self.dimensions))
        wanted = sorted(UNICODE_IDS)

        assert store.ids(field, limit=1000) == wanted
        assert [entry.id for entry in store.scan(field, limit=1000)] == wanted
        for at, id in enumerate(wanted):
            assert store.ids(field, after=id, limit=2) == wanted[at + 1 : at + 3]
            assert [entry.id for entry in store.scan(field, after=id, limit=2)] == wanted[at + 1 : at + 3]
            assert [entry.id for entry in store.scan(field, until=id, limit=1000)] == wanted[: at + 1]

    def test_a_scan_brings_what_was_asked_for(self, store: VectorStore, field: VectorField) -> None:
        """A scanned entry has its metadata and tag, and its text only when it was asked for.

        Failing? A verification of millions of records must not move their texts.
        """
        written = records(numbered(5), self.dimensions, sequence=2)
        store.upsert(field, written)

        for parts in (Part.NONE, Part.TEXT):
            for entry, one in zip(store.scan(field, limit=10, parts=parts), written, strict=True):
                assert (entry.id, entry.tag) == (one.id, one.tag)
                assert_same_json(entry.metadata, one.metadata)
                assert entry.text == (one.text if parts else None)

    @pytest.mark.parametrize("limit", [1, 2, 3, 9, 10, 11, 100_000])
    def test_pages_cover_everything_once(self, store: VectorStore, field: VectorField, limit: int) -> None:
        """A page has as many as asked for unless there are no more; the next one begins after the last id.

        Failing? A short page means the end to every caller: fill it up, also where a filter leaves records out.
        """
        ids = numbered(10)
        store.upsert(field, records(ids, self.dimensions))

        for pages in (scanned(store, field, limit), listed(store, field, limit)):
            assert [id for page in pages for id in page] == ids
            assert all(len(page) == limit for page in pages[:-1])
            assert len(pages[-1]) < limit

    def test_a_scan_keeps_to_its_bounds(self, store: VectorStore, field: VectorField) -> None:
        """`after` is left out, `until` is in; neither has to be there.

        Failing? after < id <= until.
        """
        ids = numbered(10)
        store.upsert(field, records(ids, self.dimensions))

        def between(after: str, until: str | None, limit: int = 100) -> list[DocumentId]:
            return [entry.id for entry in store.scan(field, after=after, until=until, limit=limit)]

        assert between(ids[2], ids[5]) == ids[3:6]
        assert between("", ids[0]) == ids[:1]
        assert between(ids[9], None) == []
        assert between(ids[5], ids[5]) == []
        assert between(ids[5], ids[2]) == []
        assert between("doc-00002x", "doc-00005x") == ids[3:6]
        assert between("", "a") == []
        assert between("zzz", None) == []
        assert between(ids[0], ids[8], limit=3) == ids[1:4]

    def test_a_scan_with_a_filter_fills_its_pages(self, store: VectorStore, field: VectorField) -> None:
        """With a filter, at most `limit` matching records come, and fewer only at the end.

        Failing? Filter in the back-end, before the limit.
        """
        ids = numbered(30)
        store.upsert(field, records(ids, self.dimensions))
        wanted = ids[20:25]

        first = store.scan(field, limit=3, filter={"n": {"$gte": 20, "$lt": 25}})
        assert [entry.id for entry in first] == wanted[:3]

        rest = store.scan(field, after=first[-1].id, limit=3, filter={"n": {"$gte": 20, "$lt": 25}})
        assert [entry.id for entry in rest] == wanted[3:]

    def test_what_stays_is_scanned_exactly_once_while_others_come_and_go(
        self, store: VectorStore, other: VectorStore, field: VectorField
    ) -> None:
        """Between two pages records are inserted, replaced and deleted around the place where the scan stands.

        Failing? Go on by the last id, never by an offset or by a cursor that other writes move.
        """
        staying, passing = numbered(40)[::2], numbered(40)[1::2]
        other.upsert(field, records([*staying, *passing], self.dimensions))
        met: list[DocumentId] = []

        after = ""
        for round in range(1000):
            page = store.scan(field, after=after, limit=3)
            met += [entry.id for entry in page]
            if len(page) < 3:
                break
            after = page[-1].id
            if round % 2:
                other.upsert(field, records(passing, self.dimensions, seed=round))
            else:
                other.delete(field, passing)
            other.upsert(field, records(staying[round % 3 :: 3], self.dimensions, seed=round))

        assert [id for id in met if id in set(staying)] == staying
        assert len(met) == len(set(met))

    def test_a_count_is_the_number_of_records(self, store: VectorStore, field: VectorField) -> None:
        """`count` and `describe` say how many records there are now.

        Failing? Estimates from statistics are not counts; gates compare them.
        """
        for many in (0, 5, 12):
            store.upsert(field, records(numbered(many), self.dimensions))
            described = store.describe(field)
            assert described is not None
            assert store.count(field) == described.count == many
        store.delete(field, numbered(4))

        assert store.count(field) == 8
        assert store.count(field, {"n": {"$lt": 6}}) == 2
        assert store.count(field, {}) == 8


def scanned(store: VectorStore, field: VectorField, limit: int) -> list[list[DocumentId]]:
    """Return the ids of every page of a scan, the last, short one too."""
    pages: list[list[Entry]] = [store.scan(field, limit=limit)]
    while len(pages[-1]) == limit:
        pages.append(store.scan(field, after=pages[-1][-1].id, limit=limit))
    return [[entry.id for entry in page] for page in pages]


def listed(store: VectorStore, field: VectorField, limit: int) -> list[list[DocumentId]]:
    """Return every page of ids, the last, short one too."""
    pages = [store.ids(field, limit=limit)]
    while len(pages[-1]) == limit:
        pages.append(store.ids(field, after=pages[-1][-1], limit=limit))
    return pages
