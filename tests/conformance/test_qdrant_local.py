"""The store keeps every promise on the imitation of Qdrant in the vendor's client: the shape of the client's calls."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("qdrant_client")

from tests.conformance.qdrant_doors import ClientDoor
from undrift.adapters.stores.qdrant import QdrantStore
from undrift.domain.space import Metric
from undrift.ports.store import VectorStore
from undrift.testing.stores import StoreConformance
from undrift.testing.stores.bench import MakeField


class TestQdrantLocal(StoreConformance):
    @pytest.fixture
    def metric(self) -> Metric:
        """Not the cosine: the imitation makes every vector of length 1 anew, and so changes its last bits."""
        return Metric.DOT

    @pytest.mark.parametrize("metric", [Metric.DOT, Metric.L2])
    def test_equally_near_records_come_in_the_order_of_their_ids(
        self, store: VectorStore, make_field: MakeField, metric: Metric
    ) -> None:
        super().test_equally_near_records_come_in_the_order_of_their_ids(store, make_field, metric)

    @pytest.fixture
    def store(self) -> Iterator[QdrantStore]:
        store = QdrantStore("qdrant::memory:", index="none", listing_s=0)
        yield store
        store.close()

    @pytest.fixture
    def side_door(self, store: QdrantStore) -> ClientDoor:
        return ClientDoor(store._engine._connected())
