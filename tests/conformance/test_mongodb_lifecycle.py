"""Two vectors in one document of MongoDB, on a double of it: migrations go through their lives in one collection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("pymongo")

import undrift
from tests.conformance.doubles.mongodb import MongoDb, serving
from undrift import Document
from undrift.domain.migration import Phase
from undrift.domain.reconcile import FOREIGN_WRITE
from undrift.domain.route import AliasName
from undrift.ports.store import Layout

_CONFIG = """
ledger = "sqlite:///undrift.db"
[stores.main]
url = "mongodb://127.0.0.1:{port}/vectors"
listing_s = 0
[models.old]
provider = "hashing"
dimensions = 16
[models.new]
provider = "hashing"
dimensions = 24
[aliases.kb]
store = "main"
model = "old"
[timing]
poll_s = 0.05
deadline_s = 1
fence_horizon_s = 1
lease_s = 3
work_lease_s = 3
"""


@pytest.fixture
def double() -> MongoDb:
    return MongoDb()


@pytest.fixture
def plane(tmp_path: Path, double: MongoDb) -> Iterator[undrift.ControlPlane]:
    with serving(double) as port:
        (tmp_path / "undrift.toml").write_text(_CONFIG.format(port=port), encoding="utf-8")
        with undrift.open(tmp_path / "undrift.toml") as plane:
            plane.alias("kb").upsert([Document(id=f"d{number}", text=f"text {number}") for number in range(9)])
            yield plane


def moved(plane: undrift.ControlPlane, to: str, layout: Layout) -> None:
    plane.register("kb", to, layout=layout)
    plane.work("kb", lambda migration: migration is not None and migration.phase is Phase.READY)
    plane.cutover("kb")


def test_a_collection_is_migrated_in_place_again_and_again(plane: undrift.ControlPlane, double: MongoDb) -> None:
    kb = plane.alias("kb")
    (first,) = double.collections.keys() - {"undrift_fields"}
    for turn, (to, layout) in enumerate(
        (("new", Layout.IN_PLACE), ("old", Layout.IN_PLACE), ("new", Layout.COLLECTION))
    ):
        moved(plane, to, layout)
        kb.upsert([Document(id=f"later {turn}", text=f"written after {to} began to serve")])
        plane.work("kb", lambda _: not plane.ledger.lag(AliasName("kb")).dirty)
        plane.complete("kb")
        assert kb.count() == len(kb.search("text 4", k=99)) == 10 + turn
        assert kb.search("text 4", k=1)[0].id == "d4"
        vectors = {
            key for one in double.collections.get(first, double.stored("none")).documents.values() for key in one
        }
        # What served before is gone from every document, and nothing of it is left in their tags.
        assert len(vectors - {"_id", "text", "metadata", "filter_words", "tags"}) == (layout is Layout.IN_PLACE)
        assert len(double.collections["undrift_fields"].documents) == 1
    # The last one went to a collection of its own, and took the first one away.
    assert first not in double.collections


def test_a_stranger_s_update_after_the_cutover_is_set_aside_and_adopted(
    plane: undrift.ControlPlane, double: MongoDb
) -> None:
    moved(plane, "new", Layout.IN_PLACE)
    (name,) = double.collections.keys() - {"undrift_fields"}
    double.collections[name].documents["d3"]["text"] = "of a stranger"

    assert plane.reconcile("kb")["held"] == 1
    assert [one.reason for one in plane.ledger.quarantined(AliasName("kb"))] == [FOREIGN_WRITE]
    assert plane.adopt("kb", ["d3"])["adopted"] == ["d3"]

    assert plane.alias("kb").search("of a stranger", k=1)[0].id == "d3"
