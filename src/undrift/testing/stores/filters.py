"""Promises about filters: every store answers what `domain.filter.matches` answers."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pytest

from undrift.domain.filter import matches, parse
from undrift.domain.record import DocumentId, Record
from undrift.domain.route import VectorField
from undrift.errors import BadFilter
from undrift.ports.store import VectorStore
from undrift.testing.stores.bench import StoreBench
from undrift.testing.stores.samples import record, unit_vectors

#: Values of every type, among them those that back-ends like to mix up.
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 1.0, 0.0, -0.0, 1.5, -2.5, 2**53, 2**53 + 1, -(2**63), 2**63 - 1, 1e300, 5e-324),
    *(
        "",
        "0",
        "1",
        "true",
        "null",
        "a",
        "A",
        "aa",
        "b",
        "\u00e9",
        "e\u0301",
        "\ue000",
        "\U0001f600",
        "a'b",
        'a"b',
        "a\\b",
        "%",
    ),
    *([], [1], ["a"], [None], {}, {"a": 1}, {"$eq": 1}),
)
#: What can be compared with.
SCALARS = tuple(value for value in VALUES if not isinstance(value, list | dict))
ORDERED = tuple(value for value in SCALARS if value is not None and not isinstance(value, bool))
AWKWARD_KEYS = ("a.b", "a b", "a[0]", 'a"b', "a'b", "a\\b", "\u4e2d", "A", "0", "#", "")

FILTERS: tuple[Mapping[str, Any], ...] = (
    {},
    *({"k": value} for value in SCALARS),
    *({"k": {"$ne": value}} for value in SCALARS),
    *({"k": {operator: value}} for operator in ("$gt", "$gte", "$lt", "$lte") for value in ORDERED),
    *({"k": {"$in": [*pair]}} for pair in itertools.pairwise(SCALARS)),
    *({"k": {"$nin": [*pair]}} for pair in itertools.pairwise(SCALARS)),
    {"k": {"$in": []}},
    {"k": {"$nin": []}},
    {"k": {"$in": [*SCALARS]}},
    {"k": {"$exists": True}},
    {"k": {"$exists": False}},
    {"k": {"$gt": 0, "$lt": 2}},
    {"k": {"$gte": "a", "$lt": "b"}},
    {"k": 1, "never": 1},
    {"k": 1, "even": True},
    {"never": {"$ne": 1}},
    {"never": None},
    {"never": {"$exists": False}},
    {"$not": {"k": 1}},
    {"$not": {"never": 1}},
    {"$not": {"$not": {"k": "a"}}},
    {"$and": [{"k": {"$gt": 0}}, {"even": True}]},
    {"$or": [{"k": 1}, {"k": "a"}, {"k": None}]},
    {"$or": [{"k": 1}], "even": True},
    {"$not": {"$or": [{"k": {"$gt": 0}}, {"k": {"$lt": "b"}}]}},
    {"$and": [{}, {"k": 1}]},
    {"$or": [{}, {"k": 1}]},
    {"$not": {}},
    *({key: 1} for key in AWKWARD_KEYS),
    *({key: {"$exists": True}} for key in AWKWARD_KEYS),
    {"a": {"$exists": True}},
    {"$or": [{"k": {"$gte": number}, "n": {"$lt": 30}} for number in range(60)]},
)

BAD_FILTERS: dict[str, Mapping[Any, Any]] = {
    "unknown operator": {"k": {"$regex": "a"}},
    "unknown combination": {"$nor": [{"k": 1}]},
    "list": {"k": [1]},
    "object": {"k": {"a": 1}},
    "order of null": {"k": {"$gt": None}},
    "empty list of filters": {"$or": []},
}


class FilterTests(StoreBench):
    """Filters in `count`, `scan`, `search` and `delete`."""

    def test_every_filter_is_understood_as_the_language_says(self, store: VectorStore, field: VectorField) -> None:
        """Hundreds of filters on values of every type find exactly what `matches` finds, in every method.

        Failing? The message lists the filters that differ and the values they differ in. Typical: a bool taken for a
        number, a missing key taken for null, a list compared with a scalar, a key with a dot taken for a path. What the
        back-end cannot say itself has to be checked by the adapter on what the back-end returns.
        """
        there = labelled(self.dimensions)
        store.upsert(field, there)

        differences: list[str] = []
        for filter in FILTERS:
            wanted = [one.id for one in there if matches(parse(filter), one.metadata)]
            answers: dict[str, list[str]] = {
                "scan": [entry.id for entry in store.scan(field, limit=1000, filter=filter)],
                "search": sorted(hit.id for hit in store.search(field, there[0].vector, k=1000, filter=filter)),
            }
            differences += [
                f"{method} of {filter!r:.200}: {values(there, set(found).symmetric_difference(wanted))}"
                for method, found in answers.items()
                if found != wanted
            ]
            if store.count(field, filter) != len(wanted):
                differences.append(f"count of {filter!r:.200}: {store.count(field, filter)}, not {len(wanted)}")

        assert not differences, "\n".join(differences)

    @pytest.mark.parametrize("filter", [{"k": 1}, {"k": {"$ne": "a"}}, {"$not": {"k": {"$exists": True}}}])
    def test_a_deletion_understands_filters_alike(
        self, store: VectorStore, field: VectorField, filter: Mapping[str, Any]
    ) -> None:
        """`delete` with a filter spares exactly what `matches` says does not match.

        Failing? Use the same translation as in `scan`.
        """
        there = labelled(self.dimensions)
        store.upsert(field, there)

        store.delete(field, [one.id for one in there], filter=filter)

        spared = [one.id for one in there if not matches(parse(filter), one.metadata)]
        assert store.ids(field, limit=1000) == spared

    @pytest.mark.parametrize("kind", BAD_FILTERS)
    def test_what_is_not_in_the_language_is_refused(self, store: VectorStore, field: VectorField, kind: str) -> None:
        """Every method that takes a filter raises BadFilter for one that cannot be read.

        Failing? Parse with `domain.filter.parse`; what goes through unread means something else in every back-end.
        """
        bad = BAD_FILTERS[kind]
        query = unit_vectors(1, self.dimensions)[0]

        with pytest.raises(BadFilter):
            store.count(field, bad)
        with pytest.raises(BadFilter):
            store.scan(field, limit=1, filter=bad)
        with pytest.raises(BadFilter):
            store.search(field, query, k=1, filter=bad)
        with pytest.raises(BadFilter):
            store.delete(field, [DocumentId("a")], filter=bad)


def labelled(dimensions: int) -> list[Record]:
    """Return a record for every value, in the order of their ids, and some with awkward keys and with none."""
    metadata: list[dict[str, Any]] = [
        *({"k": value, "n": number, "even": number % 2 == 0} for number, value in enumerate(VALUES)),
        *({key: 1} for key in AWKWARD_KEYS),
        {"a": {"b": 1}},
        {},
    ]
    vectors = unit_vectors(len(metadata), dimensions)
    return [
        record(f"doc-{number:03d}", vector, metadata=one)
        for number, (vector, one) in enumerate(zip(vectors, metadata, strict=True))
    ]


def values(there: list[Record], ids: set[str]) -> list[Any]:
    """Return what the metadata of some records are."""
    return [dict(one.metadata).get("k", one.metadata) for one in there if one.id in ids]
