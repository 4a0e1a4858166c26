"""A collection travels through every store there is, and comes back with every bit that it had."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import undrift
from tests.conformance.engines import KINDS, Engines
from undrift import Document
from undrift.domain.migration import Phase
from undrift.domain.record import DocumentId, Record

pytestmark = pytest.mark.servers

_CONFIG = """
ledger = "sqlite:///all.db"
[models.only]
provider = "hashing"
dimensions = 24
[aliases.kb]
store = "sqlite-vec"
model = "only"
[timing]
deadline_s = 1
fence_horizon_s = 1
lease_s = 3
work_lease_s = 3
poll_s = 0.05
"""
#: Ids of every form, and payloads as documents of the world have them.
DOCUMENTS = [
    *(Document(id=f"d{number:02}", text=f"document number {number}", metadata={"n": number}) for number in range(40)),
    Document(id="7", text="a number as an id", metadata={"int": 7, "float": 0.1, "large": 2**53}),
    Document(id="3f2504e0-4f89-41d3-9a0c-0305e82c3301", text="a UUID as an id", metadata={"none": None, "yes": True}),
    Document(id="a/b#c?d=e&f", text="an address as an id", metadata={"a.b": 1, "a": {"b": 2}}),
    Document(id="ключ 鍵 🗝", text="an id of several scripts", metadata={"ключ": ["鍵", {"🗝": [[1, 2], []]}]}),
    Document(id="e\u0301", text="decomposed", metadata={"": ""}),
    Document(id="\u00e9", text="composed", metadata={}),
    Document(id="x" * 512, text="a long id", metadata={"deep": {"er": {"and": {"deeper": [{"still": 1}]}}}}),
    Document(id="'; DROP TABLE kb; --", text="a rude id", metadata={"quote": "'\"`\\"}),
    Document(id="large", text="word " * 2000, metadata={"rows": [{"cell": "x" * 100, "n": n} for n in range(300)]}),
]


@pytest.fixture
def engines(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Engines]:
    with Engines(tmp_path, request.getfixturevalue) as engines:
        yield engines


def records_of(plane: undrift.ControlPlane) -> dict[str, Record]:
    route = plane.alias("kb").route()
    store = plane.store_of(route.serving)
    found = store.fetch(route.serving, store.ids(route.serving, limit=1000))
    return {str(id): record for id, record in found.items()}


def parts(record: Record) -> tuple[Any, ...]:
    return record.text, record.metadata, record.vector.tobytes(), record.tag


def test_a_collection_comes_through_every_store_bit_for_bit(engines: Engines, tmp_path: Path) -> None:
    kinds = [kind for kind in KINDS if Engines.has(kind)]
    stores = "\n".join(f'[stores."{kind}"]\n{engines.store(kind)}' for kind in kinds)
    config = tmp_path / "undrift.toml"
    config.write_text(_CONFIG + stores, encoding="utf-8")
    with undrift.open(config) as plane:
        plane.alias("kb").upsert(DOCUMENTS)
        first = {id: parts(record) for id, record in records_of(plane).items()}
        for number, kind in enumerate([*kinds[1:], kinds[0]]):
            plane.register("kb", to_store=kind)
            plane.work("kb", lambda migration: migration is not None and migration.phase is Phase.READY)
            assert plane.ledger.quarantined(plane.alias("kb").name) == [], kind
            assert plane.cutover("kb", max_wait_s=20)["cost"]["tokens"] == 0
            plane.complete("kb")

            now = records_of(plane)
            assert now.keys() == first.keys(), kind
            assert [id for id, record in now.items() if parts(record) != first[id]] == [], kind
            alias = plane.alias("kb")
            text = f"written in {kind}"
            alias.upsert([Document(id="traveller", text=text, metadata={"kind": kind, "number": number})])
            assert alias.search(text, k=1)[0].id == "traveller"
            assert alias.count({"kind": kind}) == 1
            alias.replace([], filter={"number": number})
        assert plane.alias("kb").get([DocumentId("7")])[0].metadata == {"int": 7, "float": 0.1, "large": 2**53}
