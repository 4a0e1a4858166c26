"""Promises about calls at the same time: what comes out is what some order of them, one by one, would have left."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from undrift.domain.record import DocumentId, Record
from undrift.domain.route import VectorField
from undrift.domain.space import Metric
from undrift.errors import FieldInUse
from undrift.ports.store import VectorStore
from undrift.testing.stores.bench import SideDoor, StoreBench
from undrift.testing.stores.samples import assert_same, ids_of, numbered, records
from undrift.testing.stores.writes import inserting

_ROUNDS = 15


class RaceTests(StoreBench):
    """Threads, and two clients of one back-end."""

    def test_writes_of_different_records_do_not_get_lost(
        self, store: VectorStore, other: VectorStore, field: VectorField
    ) -> None:
        """Records that several clients write at the same time are all there, each once.

        Failing? Nothing of a write may depend on what was read before it outside its transaction.
        """
        ids = numbered(4 * 60)
        written = records(ids, self.dimensions)

        def write(client: VectorStore, part: int) -> Callable[[], None]:
            def run() -> None:
                for start in range(part * 60, part * 60 + 60, 5):
                    client.upsert(field, written[start : start + 5])

            return run

        race(*(write((store, other)[part % 2], part) for part in range(4)))

        assert store.ids(field, limit=1000) == ids
        assert store.count(field) == len(ids)
        found = store.fetch(field, ids)
        for one in written:
            assert_same(found.get(one.id), one)

    def test_writes_of_the_same_records_leave_one_of_them_whole(
        self, store: VectorStore, other: VectorStore, side_door: SideDoor, field: VectorField
    ) -> None:
        """Of several writes of an id one is left, and nothing of the others is in it.

        Failing? Vector and payload are written together, or the last writer of each may differ.
        """
        for round in range(_ROUNDS):
            versions = [
                records(["a", "b"], self.dimensions, seed=10 * round + part, sequence=10 * round + part)
                for part in range(4)
            ]
            race(*(partial((store, other)[part % 2].upsert, field, version) for part, version in enumerate(versions)))
            for at in (0, 1):
                assert_one_of(side_door.read(field, versions[0][at].id), [version[at] for version in versions])
        assert store.count(field) == 2

    def test_a_reader_never_sees_a_record_half_written(
        self, store: VectorStore, other: VectorStore, field: VectorField
    ) -> None:
        """While a record is replaced again and again, every read of it is one of its versions, whole.

        Failing? Read all parts of a record at one moment: in one statement or one snapshot.
        """
        versions = [records(["a"], self.dimensions, seed=seed, sequence=seed)[0] for seed in range(30)]
        other.upsert(field, versions[:1])
        done = threading.Event()

        def write() -> None:
            try:
                for version in versions:
                    other.upsert(field, [version])
            finally:
                done.set()

        def read() -> None:
            while not done.is_set():
                assert_one_of(store.fetch(field, [versions[0].id]).get(versions[0].id), versions)
                (hit,) = store.search(field, versions[0].vector, k=3)
                assert hit.tag is not None
                assert hit.metadata == versions[hit.tag.sequence].metadata

        race(write, read, read)

        assert_same(store.fetch(field, [versions[0].id])[versions[0].id], versions[-1])

    def test_changes_of_metadata_do_not_get_lost(
        self, store: VectorStore, other: VectorStore, side_door: SideDoor, field: VectorField
    ) -> None:
        """Several clients put different keys into one record, and all keys are in it.

        Failing? To read, merge and write back loses changes: do it in one statement or transaction of the back-end.
        """
        (written,) = records(["a"], self.dimensions)
        store.upsert(field, [written])

        def put(client: VectorStore, part: int) -> Callable[[], None]:
            def run() -> None:
                for number in range(_ROUNDS):
                    client.merge_metadata(field, {written.id: {f"{part}-{number}": number}}, sequence=part)

            return run

        race(*(put((store, other)[part % 2], part) for part in range(4)))

        found = side_door.read(field, written.id)
        assert found is not None
        wanted = {f"{part}-{number}": number for part in range(4) for number in range(_ROUNDS)}
        assert found.metadata == {**written.metadata, **wanted}
        assert found.vector.tobytes() == written.vector.tobytes()
        assert found.tag.sequence in range(4)

    def test_a_change_of_metadata_and_a_write_happen_one_after_the_other(
        self, store: VectorStore, other: VectorStore, side_door: SideDoor, field: VectorField
    ) -> None:
        """`merge_metadata` at the same time as `upsert` leaves what one of the two orders leaves.

        Never the old text or vector, and never the new record without the change but with its sequence. Failing? The
        change may write the metadata and the sequence only, and must have read them under the same lock.
        """
        for round in range(_ROUNDS):
            (old,), (new,) = (
                records(["a"], self.dimensions, seed=seed, sequence=seed) for seed in (2 * round, 2 * round + 1)
            )
            store.upsert(field, [old])
            race(
                partial(store.upsert, field, [new]),
                partial(other.merge_metadata, field, {old.id: {"put": "in"}}, sequence=1000),
            )
            found = side_door.read(field, old.id)
            assert found is not None
            assert (found.text, found.vector.tobytes()) == (new.text, new.vector.tobytes())
            assert (found.tag.space, found.tag.content) == (new.tag.space, new.tag.content)
            assert (dict(found.metadata), found.tag.sequence) in (
                (new.metadata, new.tag.sequence),
                ({**new.metadata, "put": "in"}, 1000),
            )

    def test_a_change_of_metadata_does_not_bring_a_deleted_record_back(
        self, store: VectorStore, other: VectorStore, side_door: SideDoor, field: VectorField
    ) -> None:
        """A deletion at the same time as `merge_metadata` wins in either order.

        Failing? The change must be an update of what is there, never a write of a whole record.
        """
        for round in range(_ROUNDS):
            (written,) = records(["a"], self.dimensions, seed=round)
            store.upsert(field, [written])
            race(
                partial(store.delete, field, [written.id]),
                partial(other.merge_metadata, field, {written.id: {"put": "in"}}, sequence=1),
            )
            assert side_door.read(field, written.id) is None
            assert store.count(field) == 0

    def test_only_one_can_insert_what_is_absent(
        self, store: VectorStore, other: VectorStore, side_door: SideDoor, field: VectorField
    ) -> None:
        """Of several `insert_absent` of an id the first one is left; a write at the same time is not undone by it.

        Failing? "Look, then insert" lets the second overwrite the first: use the back-end's own condition.
        """
        clients = [inserting(client) for client in (store, other)]
        for round in range(_ROUNDS):
            (mine,), (theirs,), (upserted,) = (
                records(["a"], self.dimensions, seed=3 * round + part, sequence=part) for part in range(3)
            )
            race(
                partial(clients[0].insert_absent, field, [mine]),
                partial(clients[1].insert_absent, field, [theirs]),
            )
            assert_one_of(side_door.read(field, mine.id), [mine, theirs])
            store.delete(field, [mine.id])

            race(
                partial(clients[0].insert_absent, field, [mine]),
                partial(other.upsert, field, [upserted]),
            )
            assert_same(side_door.read(field, mine.id), upserted)
            store.delete(field, [mine.id])

    def test_only_one_can_create_a_collection(
        self, store: VectorStore, other: VectorStore, missing: VectorField, metric: Metric
    ) -> None:
        """Of several that create a collection one succeeds, and the others get FieldInUse.

        Failing? "Look, then create" lets two succeed: let the back-end refuse the second one.
        """
        made: list[int] = []

        def create(client: VectorStore, dimensions: int) -> Callable[[], None]:
            def run() -> None:
                try:
                    client.create(missing, dimensions=dimensions, metric=metric)
                except FieldInUse:
                    return
                made.append(dimensions)

            return run

        race(*(create((store, other)[part % 2], 8 + part) for part in range(4)))

        assert len(made) == 1
        described = store.describe(missing)
        assert described is not None
        assert described.dimensions == made[0]

    def test_what_stays_is_scanned_exactly_once_while_others_write(
        self, store: VectorStore, other: VectorStore, field: VectorField
    ) -> None:
        """Records that are there during the whole scan are met once each, whatever writers do meanwhile.

        Failing? See the test of the same name that takes turns.
        """
        staying, passing = numbered(300)[::2], numbered(300)[1::2]
        other.upsert(field, records(staying, self.dimensions))
        done = threading.Event()

        def write() -> None:
            round = 0
            while not done.is_set():
                other.upsert(field, records(passing[round % 2 :: 2], self.dimensions))
                other.delete(field, passing)
                round += 1

        def scan() -> None:
            try:
                for _ in range(3):
                    met: list[DocumentId] = []
                    while len(page := store.ids(field, after=met[-1] if met else "", limit=7)) == 7:
                        met += page
                    met += page
                    assert [id for id in met if id in set(staying)] == staying
                    assert met == sorted(set(met))
            finally:
                done.set()

        race(write, scan)

    def test_a_call_is_written_all_at_once_or_in_some_order(
        self, store: VectorStore, other: VectorStore, field: VectorField
    ) -> None:
        """Two calls on the same records leave, for every record, one of the two versions; none is missing or mixed.

        Failing? A call that fails half way must say so, not go on.
        """
        ids = numbered(30)
        left, right = (
            records(ids, self.dimensions, seed=1, sequence=1),
            records(ids, self.dimensions, seed=2, sequence=2),
        )
        for _ in range(3):
            race(
                partial(store.upsert, field, left),
                partial(other.upsert, field, list(reversed(right))),
            )
            found = store.fetch(field, ids_of(left))
            for mine, theirs in zip(left, right, strict=True):
                assert_one_of(found.get(mine.id), [mine, theirs])


def race(*calls: Callable[[], object]) -> None:
    """Run the calls at the same time, and raise the first error of any."""
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], object]) -> None:
        start.wait()
        call()

    with ThreadPoolExecutor(len(calls)) as pool:
        for future in [pool.submit(run, call) for call in calls]:
            future.result()


def assert_one_of(found: Record | None, versions: list[Record]) -> None:
    """Pass when a record is one of its versions, whole."""
    assert found is not None, "the record is not there"
    fitting = [version for version in versions if version.tag == found.tag]
    if not fitting:
        pytest.fail(f"the tag {found.tag} is of no version")
    assert_same(found, fitting[0])
