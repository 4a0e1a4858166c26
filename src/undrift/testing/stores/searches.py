"""Promises about search: the nearest first, all that match, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from undrift.domain.record import Record, Vector
from undrift.domain.route import VectorField
from undrift.domain.space import Metric
from undrift.errors import BadArgument
from undrift.ports.store import VectorStore
from undrift.testing.stores.bench import MakeField, StoreBench, skip_for
from undrift.testing.stores.samples import assert_same_json, faulty_vector, numbered, record, records, unit_vectors

_MANY = 300


class SearchTests(StoreBench):
    """`search`."""

    @pytest.mark.parametrize("metric", list(Metric))
    @pytest.mark.parametrize("k", [1, 10, 299, 300])
    def test_the_nearest_come_first_with_their_scores(
        self, store: VectorStore, make_field: MakeField, metric: Metric, k: int
    ) -> None:
        """Order and scores are those of an exact comparison in float64.

        The score is the cosine, the inner product, or minus the distance: the greater, the nearer. Failing? Turn the
        back-end's distance into the score; where the index may overlook records, say so with `exact = False`.
        """
        skip_unless(store, metric)
        field = make_field(self.dimensions, metric)
        there = spread(_MANY, self.dimensions, metric)
        store.upsert(field, there)

        for query in spread(3, self.dimensions, metric, seed=9):
            hits = store.search(field, query.vector, k=k)
            wanted: dict[str, float] = {one.id: score(query.vector, one.vector, metric) for one in there}
            best = sorted(wanted.values(), reverse=True)[:k]

            assert len(hits) == k
            assert len({hit.id for hit in hits}) == k
            for hit in hits:
                assert hit.score == pytest.approx(wanted[hit.id], abs=self.tolerance, rel=self.tolerance)
            assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
            if self.exact:
                assert [hit.score for hit in hits] == pytest.approx(best, abs=self.tolerance, rel=self.tolerance)
            else:
                assert np.mean([hit.score >= best[-1] - self.tolerance for hit in hits]) >= 0.9

    def test_a_hit_brings_the_record(self, store: VectorStore, field: VectorField) -> None:
        """A hit has text, metadata and tag of the record as it is now.

        Failing? Take them from the record, not from a copy beside the index.
        """
        written = records(numbered(5), self.dimensions, sequence=3)
        store.upsert(field, written)
        store.merge_metadata(field, {written[2].id: {"late": True}}, sequence=4)

        (hit,) = store.search(field, written[2].vector, k=1)

        assert (hit.id, hit.text) == (written[2].id, written[2].text)
        assert_same_json(hit.metadata, {**written[2].metadata, "late": True})
        assert hit.tag is not None
        assert (hit.tag.space, hit.tag.content) == (written[2].tag.space, written[2].tag.content)
        assert hit.tag.sequence == 4

    def test_fewer_come_when_there_are_fewer(self, store: VectorStore, field: VectorField) -> None:
        """K may be greater than the number of records; an empty collection answers nothing.

        Failing? No error, and no repetition, to fill up.
        """
        query = unit_vectors(1, self.dimensions)[0]
        assert store.search(field, query, k=10) == []
        store.upsert(field, records(numbered(7), self.dimensions))

        for k in (8, 5000):
            assert sorted(hit.id for hit in store.search(field, query, k=k)) == numbered(7)

    @pytest.mark.parametrize("metric", list(Metric))
    def test_equally_near_records_come_in_the_order_of_their_ids(
        self, store: VectorStore, make_field: MakeField, metric: Metric
    ) -> None:
        """Records with the same vector have the same score; their ids decide, also about who is in at the k-th place.

        Failing? Sort by score and id; and ask the back-end for more than k where the k-th and the next are equal.
        """
        skip_unless(store, metric)
        if not self.exact:
            skip_for("exact", "the index may overlook records")
        field = make_field(self.dimensions, metric)
        near, far, query = (one.vector for one in spread(3, self.dimensions, metric, seed=4))
        if score(query, near, metric) < score(query, far, metric):
            near, far = far, near
        ids = numbered(90)
        shuffled = [ids[(number * 37) % len(ids)] for number in range(len(ids))]
        store.upsert(field, [record(id, near if id in set(ids[30:60]) else far) for id in shuffled])
        wanted = [*ids[30:60], *ids[:30], *ids[60:]]

        for k in (1, 2, 29, 30, 31, 50, 89, 90, 200):
            assert [hit.id for hit in store.search(field, query, k=k)] == wanted[:k]
        assert [hit.id for hit in store.search(field, query, k=5, filter={})] == wanted[:5]

    def test_a_filter_does_not_shorten_the_answer(self, store: VectorStore, field: VectorField) -> None:
        """With a filter come the k nearest of those that match, if there are as many, however far they are.

        Failing? Filter inside the search, not afterwards on its k hits.
        """
        there = records(numbered(_MANY), self.dimensions)
        store.upsert(field, there)
        query = there[0].vector
        matching = there[-40:]
        by_nearness = sorted(matching, key=lambda one: -float(one.vector @ query))
        filter = {"n": {"$gte": _MANY - 40}}

        for k in (1, 10, 40, 100):
            found = [hit.id for hit in store.search(field, query, k=k, filter=filter)]
            assert len(found) == min(k, 40)
            assert set(found) <= {one.id for one in matching}
            if self.exact:
                assert found == [one.id for one in by_nearness[:k]]
        assert store.search(field, query, k=10, filter={"n": -1}) == []

    def test_what_is_deleted_or_replaced_is_not_found_where_it_was(
        self, store: VectorStore, field: VectorField
    ) -> None:
        """A search sees every acknowledged change of a vector.

        Failing? The index must be up to date when a write is acknowledged, or the search must look beside it.
        """
        there = records(numbered(50), self.dimensions)
        store.upsert(field, there)
        moved = record(there[1].id, -there[1].vector)

        store.delete(field, [there[0].id])
        store.upsert(field, [moved])

        assert there[0].id not in {hit.id for hit in store.search(field, there[0].vector, k=50)}
        assert store.search(field, moved.vector, k=1)[0].id == moved.id
        assert store.search(field, there[1].vector, k=49)[-1].id == moved.id

    @pytest.mark.parametrize("fault", ["too short", "too long", "no number", "float64", "two rows"])
    def test_a_query_that_does_not_fit_is_refused(self, store: VectorStore, field: VectorField, fault: str) -> None:
        """A query's vector of another shape or type, or with a value that is no number, raises BadArgument.

        Failing? Check it with `domain.vectors.checked_query`.
        """
        store.upsert(field, records(numbered(3), self.dimensions))

        with pytest.raises(BadArgument, match="query"):
            store.search(field, faulty_vector(fault, self.dimensions), k=1)

    def test_nothing_at_all_cannot_be_asked_for(self, store: VectorStore, field: VectorField) -> None:
        """K and limit below 1 raise BadArgument: no page of a scan would ever be short.

        Failing? Check before the back-end is asked.
        """
        query = unit_vectors(1, self.dimensions)[0]
        for number in (0, -1):
            with pytest.raises(BadArgument):
                store.search(field, query, k=number)
            with pytest.raises(BadArgument):
                store.scan(field, limit=number)
            with pytest.raises(BadArgument):
                store.ids(field, limit=number)


def spread(count: int, dimensions: int, metric: Metric, *, seed: int = 0) -> list[Record]:
    """Return records whose vectors are of length 1 for the cosine, and of all lengths otherwise."""
    vectors = unit_vectors(count, dimensions, seed=seed)
    if metric is not Metric.COSINE:
        vectors = vectors * np.linspace(0.2, 3, count, dtype=np.float32)[:, None]
    return [record(id, vector) for id, vector in zip(numbered(count), vectors, strict=True)]


def score(query: Vector, vector: Vector, metric: Metric) -> float:
    """Return the score by its definition, in float64."""
    left, right = query.astype(np.float64), vector.astype(np.float64)
    match metric:
        case Metric.COSINE:
            return float(left @ right / np.sqrt((left @ left) * (right @ right)))
        case Metric.DOT:
            return float(left @ right)
        case _:
            return -float(np.sqrt(((left - right) ** 2).sum()))


def skip_unless(store: VectorStore, metric: Metric) -> None:
    """Skip the test of a metric that the store does not declare."""
    if metric not in store.capabilities.metrics:
        skip_for("metrics", f"{store.capabilities.name} does not search by {metric.value}")
