"""Promises about whole records: they are inserted, replaced and refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from undrift.domain.record import DocumentId, Metadata, Vector
from undrift.domain.route import VectorField
from undrift.domain.space import Metric, Space
from undrift.errors import StoreRejected
from undrift.ports.store import SupportsInsertAbsent, VectorStore
from undrift.testing.stores.bench import MakeField, SideDoor, StoreBench, skip_for
from undrift.testing.stores.samples import (
    UNICODE_IDS,
    assert_same,
    faulty_vector,
    ids_of,
    numbered,
    record,
    records,
    unit_vectors,
)

TEXTS = {
    "one letter": "x",
    "all planes of Unicode": "a\u00e9\u0416\u4e2d\ufffd\U0001f600 \u202eright to left\u202c e\u0301",
    "line ends and tabs": "one\r\ntwo\n\n\tthree\r",
    "white space around": "  \n padded \n ",
    "what looks like code": "'; DROP TABLE x; -- \" \\ %s {} $1 ?1 :a </script>",
    "a megabyte": "long text \u00e9 " * 87_000,
}
METADATA: dict[str, Metadata] = {
    "empty": {},
    "scalars": {
        "str": "x",
        "int": 1,
        "float": 1.5,
        "true": True,
        "false": False,
        "null": None,
        "zero": 0,
        "nothing": "",
    },
    "nested": {"list": [1, "two", None, [True, {"deep": [1.25]}]], "object": {"a": {"b": {"c": []}}, "empty": {}}},
    "awkward keys": {
        "": 1,
        " ": 2,
        "a.b": 3,
        "a[0]": 4,
        "$": 5,
        '"': 6,
        "\\": 7,
        "\u4e2d\U0001f600": 8,
        "A": 9,
        "a": 10,
    },
    "awkward strings": {"control": "\x01\x1f\x7f", "quotes": "\"'`\\", "number": "1", "true": "true"},
    "large numbers": {
        "most": 2**53 + 1,
        "least": -(2**63),
        "tiny": 5e-324,
        "huge": 1.7976931348623157e308,
        "exact": 0.1,
    },
}


def awkward_vector(dimensions: int) -> Vector:
    """Return a vector with values that a detour through text, float64 or float16 would change."""
    awkward = [1 / 3, -0.0, 0.0, 1e-38, -1e-45, 16_777_217.0, 65_504.5, np.nextafter(np.float32(1), np.float32(2))]
    return np.resize(np.array(awkward, np.float32), dimensions)


class WriteTests(StoreBench):
    """`upsert` and `insert_absent`."""

    def test_what_is_written_stands_in_the_back_end(
        self, store: VectorStore, side_door: SideDoor, field: VectorField
    ) -> None:
        """An acknowledged record is in the back-end with every part, as somebody else sees it.

        Failing? Vector, text, metadata and all three parts of the tag belong to what is sent.
        """
        written = records(["a", "b", "c"], self.dimensions, sequence=7)

        store.upsert(field, written)

        for one in written:
            assert_same(side_door.read(field, one.id), one)
        assert side_door.read(field, DocumentId("d")) is None

    def test_a_write_is_seen_at_once_by_every_client(
        self, store: VectorStore, other: VectorStore, field: VectorField
    ) -> None:
        """Acknowledged means visible to every later `fetch`, whoever asks.

        Failing? Ask for the strongest consistency in writes and in reads; wait for the acknowledgement. Where the
        back-end promises nothing, declare `strong_reads=False`: then no migration leads from or to the store.
        """
        for sequence in range(10):
            (written,) = records(["a"], self.dimensions, seed=sequence, sequence=sequence)
            store.upsert(field, [written])
            assert_same(other.fetch(field, [written.id]).get(written.id), written)

    def test_an_empty_write_does_nothing(self, store: VectorStore, field: VectorField) -> None:
        """An empty call is no error and changes nothing.

        Failing? Some clients refuse an empty list: return early.
        """
        store.upsert(field, [])

        assert store.count(field) == 0

    def test_a_record_is_replaced_whole(self, store: VectorStore, side_door: SideDoor, field: VectorField) -> None:
        """`upsert` replaces a record of the same id: what the new one does not have is gone.

        Failing? It must replace, not merge: metadata keys of the old record may not survive.
        """
        first, second = unit_vectors(2, self.dimensions)
        old = record("a", first, text="old", metadata={"old": 1, "both": "old"}, sequence=1)
        new = record("a", second, text="new", metadata={"both": "new"}, sequence=2, space=OTHER_SPACE)
        store.upsert(field, [old])

        store.upsert(field, [new])

        assert_same(side_door.read(field, new.id), new)
        assert store.count(field) == 1

    def test_a_write_may_be_repeated(self, store: VectorStore, side_door: SideDoor, field: VectorField) -> None:
        """The same write twice leaves what it left once: a client repeats what was not acknowledged.

        Failing? Never insert without looking: there must be one record of an id.
        """
        written = records(["a", "b"], self.dimensions)

        for _ in range(3):
            store.upsert(field, written)

        assert store.count(field) == 2
        for one in written:
            assert_same(side_door.read(field, one.id), one)

    def test_one_call_inserts_and_replaces(self, store: VectorStore, side_door: SideDoor, field: VectorField) -> None:
        """A call may have new ids among known ones, in any order.

        Failing? Look whether the rows of the one kind got the values of the other.
        """
        ids = numbered(40)
        store.upsert(field, records(ids[::3], self.dimensions))
        written = records(reversed(ids), self.dimensions, seed=1, sequence=2)

        store.upsert(field, written)

        assert store.count(field) == len(ids)
        for one in written:
            assert_same(side_door.read(field, one.id), one)

    def test_a_vector_alone_may_change(self, store: VectorStore, side_door: SideDoor, field: VectorField) -> None:
        """A record whose text and tag are as before gets its new vector all the same, and the other way round.

        Failing? A shortcut for "nothing has changed" has to compare the vector itself.
        """
        first, second = unit_vectors(2, self.dimensions)
        store.upsert(field, [record("a", first)])

        for written in (record("a", second), record("a", second, metadata={"changed": True}), record("a", first)):
            store.upsert(field, [written])
            assert_same(side_door.read(field, written.id), written)

    def test_what_is_written_is_copied(self, store: VectorStore, field: VectorField) -> None:
        """Neither the caller's objects nor those that it was given are the store's.

        Failing? Copy what is kept in memory, going in and coming out.
        """
        vector = unit_vectors(1, self.dimensions)[0].copy()
        metadata = {"list": [1]}
        store.upsert(field, [record("a", vector, metadata=metadata)])
        wanted = record("a", vector.copy(), metadata={"list": [1]})
        vector[:] = 0
        metadata["list"].append(2)

        found = store.fetch(field, [wanted.id])[wanted.id]
        assert_same(found, wanted)
        if found.vector.flags.writeable:
            found.vector[:] = 0
        found.metadata["list"].append(3)

        assert_same(store.fetch(field, [wanted.id])[wanted.id], wanted)

    @pytest.mark.parametrize("kind", TEXTS)
    def test_a_text_comes_back_as_it_was(
        self, store: VectorStore, side_door: SideDoor, field: VectorField, kind: str
    ) -> None:
        """A text is kept letter by letter.

        One that is longer than the capabilities say is refused. Failing? Do not trim, normalise or cut; send it as
        UTF-8, and as a parameter.
        """
        written = record("a", unit_vectors(1, self.dimensions)[0], text=TEXTS[kind])
        most = store.capabilities.max_text_bytes
        if most is not None and len(TEXTS[kind].encode()) > most:
            with pytest.raises(StoreRejected, match="'a'"):
                store.upsert(field, [written])
            assert store.count(field) == 0
            return

        store.upsert(field, [written])

        assert_same(side_door.read(field, written.id), written)
        assert_same(store.fetch(field, [written.id])[written.id], written)

    @pytest.mark.parametrize("kind", METADATA)
    def test_metadata_come_back_as_they_were(self, store: VectorStore, field: VectorField, kind: str) -> None:
        """Metadata are JSON values of any depth, kept as they are.

        Failing? Where the back-end knows only flat or typed metadata, keep the whole as one JSON text beside it.
        """
        written = record("a", unit_vectors(1, self.dimensions)[0], metadata=METADATA[kind])

        store.upsert(field, [written])

        assert_same(store.fetch(field, [written.id])[written.id], written)

    def test_ids_may_have_any_letters(self, store: VectorStore, side_door: SideDoor, field: VectorField) -> None:
        """Ids are strings of up to 512 bytes, told apart letter by letter.

        Failing? A collation that ignores case or accents makes one record of two; a back-end that wants UUIDs needs one
        made of the id, and the id beside it.
        """
        written = records(UNICODE_IDS, self.dimensions)

        store.upsert(field, written)

        assert store.count(field) == len(written)
        for one in written:
            assert_same(side_door.read(field, one.id), one)
        found = store.fetch(field, ids_of(written))
        for one in written:
            assert_same(found.get(one.id), one)

    @pytest.mark.parametrize("dimensions", [1, 8, 9, 384])
    def test_vectors_come_back_bit_for_bit(
        self, store: VectorStore, side_door: SideDoor, make_field: MakeField, metric: Metric, dimensions: int
    ) -> None:
        """A float32 vector is kept with all its bits.

        A store that declares that it keeps no length may give back a vector of another length than 1 as one of length
        1, if the metric is the cosine. Failing? Look for a detour through text, float16 or normalisation.
        """
        if dimensions < store.capabilities.min_dimensions:
            skip_for("min_dimensions", f"{store.capabilities.name} takes no vectors of {dimensions} dimensions")
        field = make_field(dimensions, metric)
        written = [
            record("awkward", awkward_vector(dimensions)),
            *records(["a", "b"], dimensions),
            record("strided", unit_vectors(2, 2 * dimensions)[1, ::2]),
        ]

        store.upsert(field, written)

        for one in written:
            length = float(np.linalg.norm(one.vector.astype(np.float64)))
            for found in (side_door.read(field, one.id), store.fetch(field, [one.id])[one.id]):
                if store.capabilities.keeps_length or metric is not Metric.COSINE or abs(length - 1) < 1e-7:
                    assert_same(found, one)
                else:
                    assert found is not None
                    assert_same(replace(found, vector=one.vector), one)
                    assert found.vector == pytest.approx(one.vector / length, rel=1e-5, abs=1e-7)

    @pytest.mark.parametrize("fault", ["too short", "too long", "no number", "infinite", "float64", "two rows"])
    def test_a_vector_that_does_not_fit_is_refused_and_nothing_is_written(
        self, store: VectorStore, field: VectorField, fault: str
    ) -> None:
        """A vector of another shape or type, or with a value that is no number, raises StoreRejected.

        The other records of the call are not written either. Failing? Check all vectors (`domain.vectors.stacked`)
        before the first is sent.
        """
        (kept,) = records(["kept"], self.dimensions)
        store.upsert(field, [kept])
        call = records(["kept", "first", "bad", "last"], self.dimensions, seed=1)
        call[2] = record("bad", faulty_vector(fault, self.dimensions))

        with pytest.raises(StoreRejected, match="bad"):
            store.upsert(field, call)

        assert store.ids(field, limit=10) == ["kept"]
        assert_same(store.fetch(field, [kept.id])[kept.id], kept)

    def test_a_vector_without_direction_is_refused_where_the_cosine_is_asked_for(
        self, store: VectorStore, make_field: MakeField
    ) -> None:
        """A vector of zeros has no cosine; kept, it would be anywhere in every answer.

        Failing? Check with `domain.vectors.stacked`.
        """
        if Metric.COSINE not in store.capabilities.metrics:
            skip_for("metrics", f"{store.capabilities.name} does not search by cosine")
        field = make_field(self.dimensions, Metric.COSINE)

        with pytest.raises(StoreRejected, match="bad"):
            store.upsert(field, [record("bad", np.zeros(self.dimensions, np.float32))])

        assert store.count(field) == 0

    def test_insert_absent_leaves_alone_what_is_there(
        self, store: VectorStore, side_door: SideDoor, field: VectorField
    ) -> None:
        """`insert_absent` writes the new ids of a call, and does not touch one byte of the others.

        Failing? The whole decision belongs to the back-end, in one statement or transaction.
        """
        writer = inserting(store)
        there = records(["b", "d"], self.dimensions, sequence=3)
        store.upsert(field, there)

        writer.insert_absent(field, records(["a", "b", "c", "d", "e"], self.dimensions, seed=1, sequence=9))
        writer.insert_absent(field, records(["a", "b"], self.dimensions, seed=2, sequence=11))

        assert store.ids(field, limit=10) == ["a", "b", "c", "d", "e"]
        for one in there:
            assert_same(side_door.read(field, one.id), one)
        wanted = records(["a", "b", "c", "d", "e"], self.dimensions, seed=1, sequence=9)
        for one in (wanted[0], wanted[2], wanted[4]):
            assert_same(side_door.read(field, one.id), one)

    def test_insert_absent_of_nothing_does_nothing(self, store: VectorStore, field: VectorField) -> None:
        """An empty call is no error.

        Failing? Return early.
        """
        inserting(store).insert_absent(field, [])

        assert store.count(field) == 0

    def test_insert_absent_refuses_what_upsert_refuses(self, store: VectorStore, field: VectorField) -> None:
        """A vector that does not fit raises StoreRejected, and nothing of the call is written.

        Failing? Share the check with `upsert`.
        """
        call = [*records(["first"], self.dimensions), record("bad", faulty_vector("too long", self.dimensions))]

        with pytest.raises(StoreRejected, match="bad"):
            inserting(store).insert_absent(field, call)

        assert store.count(field) == 0


OTHER_SPACE = Space(channel="kit", model="other", revision="2", dimensions=8)


def inserting(store: VectorStore) -> SupportsInsertAbsent:
    """Return the store when it can insert without replacing; the test is skipped otherwise."""
    if not isinstance(store, SupportsInsertAbsent):
        skip_for("insert_absent", f"{store.capabilities.name} does not have it")
    return store
