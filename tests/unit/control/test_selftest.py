"""A selftest is a real migration that never cuts over, finds every difference, and leaves nothing but its history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.migrate.scene import DOCUMENTS, TIMING
from undrift import Document
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.domain.migration import Phase
from undrift.domain.record import DocumentId
from undrift.domain.route import Mode, VectorField
from undrift.errors import BudgetExhausted, BudgetRequired, FieldInUse, StaleRoute, UndriftError
from undrift.ports.embedder import EmbedderLimits
from undrift.testing.faults import Killed
from undrift.testing.rig import ALIAS, Layout, Process, Rig


class Paid(HashingEmbedder):
    """A model that somebody is billed for."""

    @property
    def limits(self) -> EmbedderLimits:
        return replace(super().limits, paid=True, usd_per_million_tokens=1.0)


def rig_in(folder: Path, **more: Any) -> Rig:
    rig = Rig(folder=folder, timing=TIMING, **more)
    rig.process("app").alias.upsert(DOCUMENTS)
    return rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = rig_in(tmp_path)
    yield made
    made.close()


def collections(rig: Rig) -> set[str]:
    """Return those collections that are there, of the alias's and every one that a selftest may have made."""
    stem = f"kb__selftest__{rig.route().serving.space}"
    names = ("kb", stem, f"{stem}_2", scratch(rig).collection)
    places = (replace(rig.route().serving, collection=name) for name in names)
    return {place.collection for place in places if rig.store().describe(place) is not None}


def scratch(rig: Rig) -> VectorField:
    migration = rig.migration()
    assert migration is not None
    return migration.target


def when(process: Process, call: str, act: Any, *, nth: int = 1) -> None:
    """Let something happen just before a call of a process is made for the n-th time."""
    seen = 0

    def on_call(name: str) -> None:
        nonlocal seen
        seen += name == call
        if name == call and seen == nth:
            act()

    process.faults.on_call = on_call


@pytest.mark.parametrize("layout", [Layout.MEMORY, Layout.TWO_FILES], ids=lambda layout: layout.value)
def test_a_selftest_finds_no_difference_and_drops_its_scratch_field_only(tmp_path: Path, layout: Layout) -> None:
    if layout is not Layout.MEMORY:
        pytest.importorskip("sqlite_vec")
    rig = rig_in(tmp_path, layout=layout)
    before = rig.records(rig.route().serving)
    operator = rig.process("operator")

    found = operator.plane.selftest(ALIAS)

    assert (found["verdict"], found["compared"], found["differing"], found["healed_rounds"]) == ("pass", 12, 0, 0)
    assert found["worst_cosine"] == pytest.approx(1.0)
    assert found["scratch"] == scratch(rig).key != rig.route().serving.key
    assert collections(rig) == {"kb"}
    after = rig.records(rig.route().serving)
    assert {id: (one.text, one.tag, one.vector.tobytes()) for id, one in after.items()} == {
        id: (one.text, one.tag, one.vector.tobytes()) for id, one in before.items()
    }
    assert rig.route().mode is Mode.PASSIVE
    actions = [entry.action for entry in reversed(operator.plane.ledger.history(ALIAS))]
    assert actions == [
        *("alias_created", "migration_registered", "journaling", "backfill", "catchup", "verify", "ready"),
        *("aborting", "aborted"),
    ]
    rig.close()


def test_writes_go_on_during_a_selftest_and_are_compared_too(rig: Rig) -> None:
    app, operator = rig.process("app"), rig.process("operator")
    turns = []

    def write() -> None:
        turns.append(1)
        app.alias.upsert([Document(id=f"live{len(turns) % 5}", text=f"turn {len(turns)}"), DOCUMENTS[1]])
        app.alias.delete([f"live{(len(turns) + 2) % 5}"])

    def on_call(name: str) -> None:
        if name in ("model.embed_documents", "store.scan", "store.upsert", "store.fetch") and len(turns) < 25:
            write()

    operator.faults.on_call = on_call

    found = operator.plane.selftest(ALIAS)

    assert len(turns) == 25
    assert (found["verdict"], found["differing"]) == ("pass", 0)
    assert found["compared"] >= 12
    assert len(operator.plane.ledger.history(ALIAS)) == 9


def test_a_model_that_does_not_give_the_same_vector_again_is_found(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """For one text in a dozen, and not for the probes: only a comparison of every vector finds it."""
    operator = rig.process("operator")
    model, wrong = rig.models["old"], DOCUMENTS[7].text
    plain = model.embed_documents

    def embed(texts: Any) -> Any:
        return plain([text if text != wrong else "something else" for text in texts])

    monkeypatch.setattr(model, "embed_documents", embed)

    found = operator.plane.selftest(ALIAS, sample=0)

    assert (found["verdict"], found["differing"], found["kinds"]) == ("fail", 1, {"vector": 1})
    assert found["samples"] == [{"kind": "vector", "id": "d07"}]
    assert found["worst_cosine"] < 0.999
    assert collections(rig) == {"kb"}


@pytest.mark.parametrize(
    ("kind", "act"),
    [
        ("missing", lambda rig, place: rig.memory.delete(place, [DocumentId("d04")])),
        (
            "stale_text",
            lambda rig, place: rig.memory.upsert(place, [replace(rig.records(place)["d04"], text="something else")]),
        ),
        (
            "stale_metadata",
            lambda rig, place: rig.memory.upsert(place, [replace(rig.records(place)["d04"], metadata={"a": 1})]),
        ),
        (
            "extra",
            lambda rig, place: rig.memory.upsert(place, [replace(rig.records(place)["d04"], id=DocumentId("x"))]),
        ),
    ],
)
def test_every_other_difference_is_found(rig: Rig, kind: str, act: Any) -> None:
    """Also one that comes after the verification was content."""
    operator = rig.process("operator")
    when(operator, "store.ids", lambda: act(rig, scratch(rig)), nth=2)

    found = operator.plane.selftest(ALIAS)

    assert (found["verdict"], found["kinds"]) == ("fail", {kind: 1})


def test_a_difference_that_a_verification_healed_counts_all_the_same(rig: Rig) -> None:
    """What heals hides the defect that made it."""
    operator = rig.process("operator")

    def lose() -> None:
        migration = rig.migration()
        if migration is not None and migration.phase is Phase.VERIFY:
            rig.memory.delete(migration.target, [DocumentId("d04")])
            operator.faults.on_call = lambda _: None

    operator.faults.on_call = lambda name: lose() if name == "store.scan" else None

    found = operator.plane.selftest(ALIAS)

    assert (found["verdict"], found["differing"], found["healed_rounds"]) == ("fail", 0, 1)


def test_it_never_cuts_over(rig: Rig) -> None:
    """Not even when somebody asks for it, and the gates say why."""
    operator, other = rig.process("operator"), rig.process("other")
    refused: list[str] = []

    def ask() -> None:
        for attempt in (lambda: other.plane.cutover(ALIAS), lambda: other.plane.register(ALIAS, "old")):
            with pytest.raises(UndriftError) as told:
                attempt()
            refused.append(str(told.value))
        shown = other.plane.status(ALIAS)
        refused.append(f"{shown['waiting_for']} {shown['next_steps']}")

    when(operator, "store.ids", ask, nth=2)

    assert operator.plane.selftest(ALIAS)["verdict"] == "pass"
    assert "a selftest, which never cuts over" in refused[0]
    assert "alias kb has a selftest already" in refused[1]
    assert "undrift selftest kb" in refused[1]
    assert "undrift selftest kb" in refused[2]
    assert Phase.REVERSING.value not in {entry.action for entry in operator.plane.ledger.history(ALIAS)}


@pytest.mark.parametrize("call", ["store.create", "ledger.change_mode", "ledger.published", "store.ids", "store.drop"])
def test_a_selftest_that_is_killed_goes_on_and_leaves_nothing(rig: Rig, call: str) -> None:
    first = rig.process("operator")
    when(first, call, first.faults.kill)
    with pytest.raises(Killed):
        first.plane.selftest(ALIAS)
    rig.kill(first)
    rig.clock.advance(100)

    found = rig.process("operator").plane.selftest(ALIAS)

    assert (found["verdict"], found["compared"]) == ("pass", 12)
    assert collections(rig) == {"kb"}
    assert rig.route().mode is Mode.PASSIVE


def test_a_selftest_waits_until_a_migration_is_over(rig: Rig) -> None:
    operator = rig.process("operator")
    operator.plane.register(ALIAS, "new")

    with pytest.raises(StaleRoute, match="has a migration to new, in phase registered; a selftest waits"):
        operator.plane.selftest(ALIAS)

    assert rig.migration().target_model == "new"  # type: ignore[union-attr]


def test_a_migration_begins_as_usual_after_a_selftest(rig: Rig) -> None:
    operator = rig.process("operator")
    operator.plane.selftest(ALIAS)
    operator.plane.register(ALIAS, "new")
    operator.work_to(Phase.READY)

    assert operator.plane.cutover(ALIAS)["phase"] == "reversing"


def test_a_paid_model_wants_a_budget_and_keeps_to_it(tmp_path: Path) -> None:
    models = {"old": Paid(dimensions=16, seed="old"), "new": HashingEmbedder(dimensions=24, seed="new")}
    rig = rig_in(tmp_path, models=models)
    operator = rig.process("operator")
    with pytest.raises(BudgetRequired) as refused:
        operator.plane.selftest(ALIAS)
    assert "undrift selftest kb --budget-usd N" in refused.value.hint
    assert rig.migration() is None

    with pytest.raises(BudgetExhausted):
        operator.plane.selftest(ALIAS, budget_tokens=3)
    assert collections(rig) == {"kb"}
    found = operator.plane.selftest(ALIAS, budget_tokens=100_000, sample=4)

    assert found["verdict"] == "pass"
    assert 0 < found["tokens"] < 100_000
    rig.close()


def test_a_collection_that_somebody_else_made_is_never_dropped(rig: Rig) -> None:
    """Not even if it appears under the scratch's name between its naming and its making."""
    operator = rig.process("operator")

    def make() -> None:
        place = scratch(rig)
        space = rig.models["old"].space
        rig.memory.create(place, dimensions=space.dimensions, metric=space.metric)
        rig.memory.upsert(place, list(rig.records(rig.route().serving).values())[:1])

    when(operator, "store.create", make)

    with pytest.raises(FieldInUse):
        operator.plane.selftest(ALIAS)

    assert len(rig.records(scratch(rig))) == 1
    assert rig.route().mode is Mode.PASSIVE


def test_the_last_comparison_reads_no_more_in_a_second_than_it_may(rig: Rig) -> None:
    operator = rig.process("operator")
    seen: list[int] = []
    times: list[float] = []

    def tell(progress: Any) -> None:
        seen.append(progress.done)
        times.append(rig.clock.monotonic())

    operator.plane.selftest(ALIAS, rate=3, on_progress=tell)

    assert seen[:4] == [3, 6, 9, 12]
    assert times[3] - times[0] >= 3
