"""A collection moves from one store to another, with its model or to another one, through its whole life."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.lifecycle.test_lifecycle import (
    DOCUMENTS,
    LONG,
    deletes_after,
    deletes_during,
    partial_updates,
    write_many,
    write_unicode,
)
from undrift import Document
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.domain.migration import Phase
from undrift.domain.record import Vectors
from undrift.testing.lifecycle import LifecycleCase, run_lifecycle
from undrift.testing.rig import ALIAS, Layout, Rig

COPY = LifecycleCase(name="", documents=DOCUMENTS, to=None, to_store="other")
CASES = [
    replace(COPY, name="plain"),
    replace(COPY, name="an empty collection", documents=()),
    replace(COPY, name="a collection of one", documents=DOCUMENTS[:1], after_cutover=deletes_after),
    replace(
        COPY,
        name="deletes and partial updates",
        after_start=deletes_during,
        after_cutover=partial_updates,
        after_rollback=deletes_after,
        after_completion=partial_updates,
    ),
    replace(
        COPY,
        name="a text without words, and one that is too long for a model",
        foreign=[Document(id="blank", text=" \n "), Document(id="long", text=LONG)],
        after_rollback=lambda stage: stage.delete("blank"),
        unfit=lambda document: not document.text.strip(),
    ),
    replace(
        COPY,
        name="a rollback in a hurry, with ids of every script",
        after_start=write_unicode,
        after_cutover=write_many,
        after_rollback=write_unicode,
        rollback_now=True,
    ),
    replace(
        COPY, name="another model as well", to="new", after_start=write_many, after_cutover=deletes_after, freeze_s=2.0
    ),
]
#: Where it begins, and the address of the other store.
WAYS = {
    "memory to sqlite-vec": (Layout.MEMORY, "sqlite-vec:other.db"),
    "one file with the ledger to memory": (Layout.ONE_FILE, "memory:other"),
    "sqlite-vec to the file of the ledger": (Layout.TWO_FILES, "sqlite-vec:ledger.db"),
}


class Counted(HashingEmbedder):
    """Remembers what it was asked for."""

    def __init__(self, seed: str, dimensions: int) -> None:
        super().__init__(seed=seed, dimensions=dimensions)
        self.asked: list[str] = []

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        self.asked += texts
        return super().embed_documents(texts)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "_"))
def test_both_stores_stay_true_through_the_whole_life(tmp_path: Path, case: LifecycleCase, way: str) -> None:
    layout, address = WAYS[way]
    run_lifecycle(case, Rig(folder=tmp_path, layout=layout, second=address))


def test_vectors_are_copied_bit_for_bit_and_no_model_is_asked(tmp_path: Path) -> None:
    model = Counted("old", 16)
    rig = Rig(folder=tmp_path, layout=Layout.TWO_FILES, models={"old": model}, second="sqlite-vec:other.db")
    try:
        app, operator, worker = rig.process("app"), rig.process("operator"), rig.process("worker")
        app.alias.upsert(DOCUMENTS)
        before = {id: record.vector.tobytes() for id, record in rig.records(rig.route().serving).items()}
        model.asked.clear()

        operator.plane.register(ALIAS, to_store="other")
        worker.work_to(Phase.READY)
        assert operator.plane.verify(ALIAS)["sample_min_cosine"] == 1.0
        assert operator.plane.cutover(ALIAS)["phase"] == "reversing"

        assert model.asked == []
        assert operator.plane.status(ALIAS)["cost"]["tokens"] == 0
        route = rig.route()
        assert route.serving.store == "other"
        assert {id: record.vector.tobytes() for id, record in rig.records(route.serving).items()} == before
        rig.clock.sleep(2)
        app.alias.upsert([Document(id="d00", text="a text written after the cutover"), Document(id="new", text="new")])
        while operator.plane.ledger.lag(ALIAS).dirty:
            worker.worker().tick()
        assert model.asked.count("a text written after the cutover") == model.asked.count("new") == 1
        assert route.follower is not None
        there, back = rig.records(route.serving), rig.records(route.follower)
        assert there.keys() == back.keys()
        assert all(np.array_equal(there[id].vector, back[id].vector) for id in there)
        model.asked.clear()
        assert operator.plane.rollback(ALIAS)["phase"] == "rolled_back"
        rig.clock.sleep(2)
        operator.plane.cutover(ALIAS)
        rig.clock.sleep(2)
        assert operator.plane.complete(ALIAS)["phase"] == "done"
        assert model.asked == []
        assert rig.route().follower is None
        assert len(app.alias.search("a text written after the cutover", k=1)) == 1
    finally:
        rig.close()
