"""Promises about collections: they are made, described, kept apart and dropped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from undrift.domain.record import DocumentId
from undrift.domain.route import VectorField
from undrift.domain.space import Metric
from undrift.errors import BadArgument, CollectionMissing, FieldInUse
from undrift.ports.store import FieldDescription, VectorStore
from undrift.testing.stores.bench import MakeField, StoreBench, new_field, skip_for
from undrift.testing.stores.samples import assert_same, record, records, unit_vectors

_ID = DocumentId("a")
#: A call of every method that needs the collection.
CALLS: dict[str, Callable[[VectorStore, VectorField], object]] = {
    "upsert": lambda store, field: store.upsert(field, [record(_ID, unit_vectors(1, 8)[0])]),
    "delete": lambda store, field: store.delete(field, [_ID]),
    "merge_metadata": lambda store, field: store.merge_metadata(field, {_ID: {"a": 1}}, sequence=1),
    "fetch": lambda store, field: store.fetch(field, [_ID]),
    "entries": lambda store, field: store.entries(field, [_ID]),
    "scan": lambda store, field: store.scan(field, limit=1),
    "ids": lambda store, field: store.ids(field, limit=1),
    "count": lambda store, field: store.count(field),
    "search": lambda store, field: store.search(field, unit_vectors(1, 8)[0], k=1),
}


class FieldTests(StoreBench):
    """Collections."""

    def test_a_new_collection_is_empty_and_described(
        self, store: VectorStore, make_field: MakeField, metric: Metric
    ) -> None:
        """`create` makes an empty collection with these dimensions and this metric.

        Failing? Read dimensions and metric back from the back-end; do not keep them in the adapter's memory.
        """
        field = make_field(12, metric)

        assert store.describe(field) == FieldDescription(dimensions=12, metric=metric, count=0)

    def test_every_declared_metric_can_be_had(self, store: VectorStore, make_field: MakeField) -> None:
        """A metric in the capabilities can be created.

        Failing? Take the metric out of the capabilities, or map it to the name that the back-end knows it by.
        """
        for metric in store.capabilities.metrics:
            described = store.describe(make_field(self.dimensions, metric))
            assert described is not None
            assert described.metric is metric

    def test_names_that_undrift_makes_up_can_be_had(
        self, store: VectorStore, missing: VectorField, request: pytest.FixtureRequest
    ) -> None:
        """A name within `capabilities.names` is taken.

        Failing? Declare what the back-end lets collections be called: marks, capitals, the first letter, the length.
        """
        rule, metric = store.capabilities.names, min(store.capabilities.metrics, key=lambda one: one.value)
        for alias in ("My.Docs-2", "2024", "_", "a" * 300, "\u00e9t\u00e9 \U0001f600"):
            name = rule.named(alias, missing.collection)
            assert len(name) <= rule.longest
            field = replace(missing, collection=name)
            request.addfinalizer(partial(store.drop, field))

            store.create(field, dimensions=self.dimensions, metric=metric)

            assert store.describe(field) == FieldDescription(dimensions=self.dimensions, metric=metric, count=0)

    @pytest.mark.parametrize("metric", list(Metric))
    def test_a_metric_that_is_not_declared_is_refused(
        self, store: VectorStore, missing: VectorField, metric: Metric
    ) -> None:
        """A metric that the store does not have is the caller's mistake, and nothing is made.

        Failing? Look at the capabilities before anything is sent; never put another metric in its place.
        """
        if metric in store.capabilities.metrics:
            skip_for("metrics", f"{store.capabilities.name} can search by {metric.value}")

        with pytest.raises(BadArgument, match=metric.value):
            store.create(missing, dimensions=self.dimensions, metric=metric)

        assert store.describe(missing) is None

    @pytest.mark.parametrize("beyond", [-1, 0, None])
    def test_dimensions_that_cannot_be_are_refused(
        self, store: VectorStore, missing: VectorField, metric: Metric, beyond: int | None
    ) -> None:
        """A vector has at least one dimension, and not more than the capabilities say.

        Failing? Raise BadArgument before anything is sent.
        """
        dimensions = store.capabilities.max_dimensions + 1 if beyond is None else beyond

        with pytest.raises(BadArgument, match=str(dimensions)):
            store.create(missing, dimensions=dimensions, metric=metric)

        assert store.describe(missing) is None

    def test_a_collection_that_is_there_is_left_alone(
        self, store: VectorStore, field: VectorField, metric: Metric
    ) -> None:
        """`create` on a collection that exists raises FieldInUse and changes nothing of it.

        Failing? Never create "if not exists", and never replace: it may be somebody's data.
        """
        (kept,) = records(["kept"], self.dimensions)
        store.upsert(field, [kept])

        with pytest.raises(FieldInUse, match=field.collection):
            store.create(field, dimensions=self.dimensions + 1, metric=metric)

        assert store.describe(field) == FieldDescription(dimensions=self.dimensions, metric=metric, count=1)
        assert_same(store.fetch(field, [kept.id]).get(kept.id), kept)

    def test_what_is_dropped_is_gone_and_can_be_made_anew(
        self, store: VectorStore, field: VectorField, metric: Metric
    ) -> None:
        """`drop` deletes a collection with everything in it; the next one of that name begins empty.

        Failing? Some back-ends drop in the background: wait for it before returning.
        """
        store.upsert(field, records(["a", "b"], self.dimensions))

        store.drop(field)

        assert store.describe(field) is None
        store.create(field, dimensions=self.dimensions + 4, metric=metric)
        assert store.describe(field) == FieldDescription(dimensions=self.dimensions + 4, metric=metric, count=0)
        assert store.ids(field, limit=10) == []
        assert store.fetch(field, [DocumentId("a")]) == {}

    def test_dropping_what_is_not_there_is_no_error(self, store: VectorStore, field: VectorField) -> None:
        """`drop` may be repeated, and a collection need not be there.

        Failing? A step of a migration is repeated after a crash: take "not found" for done.
        """
        store.drop(field)
        store.drop(field)
        store.drop(new_field())

        assert store.describe(field) is None

    def test_what_is_not_there_is_described_as_none(self, store: VectorStore, missing: VectorField) -> None:
        """`describe` answers None for a collection that is not there.

        Failing? It is the one call that may be asked about what does not exist.
        """
        assert store.describe(missing) is None

    @pytest.mark.parametrize("call", CALLS)
    def test_a_call_on_a_missing_collection_says_so(self, store: VectorStore, missing: VectorField, call: str) -> None:
        """Every other call on a collection that is not there raises CollectionMissing, and makes none.

        Failing? Some back-ends create on the first write, or answer an empty list: look first, or translate the error.
        """
        with pytest.raises(CollectionMissing, match=missing.collection):
            CALLS[call](store, missing)

        assert store.describe(missing) is None

    @pytest.mark.parametrize("call", CALLS)
    def test_a_call_on_a_dropped_collection_says_so(
        self, store: VectorStore, other: VectorStore, field: VectorField, call: str
    ) -> None:
        """A client notices that another one has dropped a collection.

        Failing? Handles of collections that are kept in memory go stale: check, or translate the back-end's error.
        """
        CALLS["count"](store, field)
        other.drop(field)

        with pytest.raises(CollectionMissing):
            CALLS[call](store, field)

    def test_collections_do_not_see_each_other(self, store: VectorStore, make_field: MakeField, metric: Metric) -> None:
        """The same id in two collections is two records.

        Failing? Everything an adapter keeps in memory or in shared tables must carry the collection in its key.
        """
        left, right = make_field(self.dimensions, metric), make_field(self.dimensions + 2, metric)
        (mine,), (theirs,) = records(["a"], self.dimensions), records(["a"], self.dimensions + 2, seed=1)
        store.upsert(left, [mine])
        store.upsert(right, [theirs])

        assert_same(store.fetch(left, [mine.id]).get(mine.id), mine)
        store.merge_metadata(left, {mine.id: {"only": "left"}}, sequence=1)
        assert_same(store.fetch(right, [theirs.id]).get(theirs.id), theirs)
        store.delete(left, [mine.id])

        assert store.count(left) == 0
        assert_same(store.fetch(right, [theirs.id]).get(theirs.id), theirs)

    def test_a_closed_store_opens_itself_again(self, store: VectorStore, field: VectorField) -> None:
        """`close` lets go of connections, may be repeated, and loses nothing; a later call opens them again.

        Failing? Connect at the first use, not in the constructor.
        """
        (kept,) = records(["kept"], self.dimensions)
        store.upsert(field, [kept])

        store.close()
        store.close()

        assert_same(store.fetch(field, [kept.id]).get(kept.id), kept)
