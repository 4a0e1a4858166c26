"""What an application holds: one name, whatever model is behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from undrift import Document
from undrift.domain.migration import Phase
from undrift.errors import (
    BadArgument,
    BadDocument,
    EmbedderUnavailable,
    MirrorTimeout,
    SpaceMismatch,
    StoreRejected,
    StoreUnavailable,
)
from undrift.flow.alias import WRITE_BATCH, Alias
from undrift.testing.rig import ALIAS, Process, Rig, documents

DOCUMENTS = documents(*(f"text {number}" for number in range(6)))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(folder=tmp_path)
    yield rig
    rig.close()


@pytest.fixture
def app(rig: Rig) -> Process:
    app = rig.process("app")
    app.alias.upsert(DOCUMENTS)
    app.faults.calls.clear()
    return app


@pytest.fixture
def alias(app: Process) -> Alias:
    return app.alias


def ready(rig: Rig) -> Process:
    operator = rig.process("operator")
    operator.plane.register(ALIAS, "new")
    operator.work_to(Phase.READY)
    return operator


def test_a_long_list_is_written_in_batches_and_receipted_whole(app: Process, alias: Alias) -> None:
    many = documents(*(f"text {number}" for number in range(2 * WRITE_BATCH + 1)), prefix="m")

    receipt = alias.upsert(many)

    assert receipt.ids == tuple(document.id for document in many)
    assert app.faults.calls.count("store.upsert") == 3
    assert alias.count() == len(many) + len(DOCUMENTS)


def test_a_bad_document_anywhere_in_the_list_leaves_nothing_written(app: Process, alias: Alias) -> None:
    many = documents(*(f"text {number}" for number in range(2 * WRITE_BATCH)), prefix="m")

    for wrong in (Document(id="w", text=" "), many[0]):
        with pytest.raises(BadDocument):
            alias.upsert([*many, wrong])

    assert "store.upsert" not in app.faults.calls
    assert alias.count() == len(DOCUMENTS)


def test_an_empty_call_writes_nothing_and_is_receipted(app: Process, alias: Alias) -> None:
    before = list(app.faults.calls)

    assert (alias.upsert([]).ids, alias.delete([]).ids, alias.delete(filter={"number": 99}).ids) == ((), (), ())
    assert alias.upsert([]).epoch == 1
    assert not {"store.upsert", "store.delete"} & set(app.faults.calls[len(before) :])


def test_documents_are_deleted_by_id_or_by_filter_not_by_both_or_neither(alias: Alias) -> None:
    assert alias.delete(["d00", "d00", "nobody"]).ids == ("d00", "nobody")
    assert alias.delete(filter={"number": {"$gte": 4}}).ids == ("d04", "d05")
    assert [document.id for document in alias.scan()] == ["d01", "d02", "d03"]
    with pytest.raises(BadArgument):
        alias.delete(["d01"], filter={"number": 1})
    with pytest.raises(BadArgument):
        alias.delete()
    assert alias.count() == 3


def test_a_change_of_metadata_asks_no_model(app: Process, alias: Alias) -> None:
    alias.update_metadata("d01", {"lang": "en"})

    assert alias.get(["d01"])[0].metadata == {"number": 1, "lang": "en"}
    assert not [call for call in app.faults.calls if call.startswith("model.")]


def test_metadata_of_a_document_that_is_not_there_makes_none(rig: Rig, app: Process, alias: Alias) -> None:
    operator = ready(rig)
    rig.clock.sleep(2)

    assert alias.update_metadata("nobody", {"lang": "en"}).ids == ()

    assert alias.get(["nobody"]) == []
    assert operator.plane.ledger.lag(ALIAS).dirty == 0


def test_bad_metadata_is_refused_before_anything_is_asked(app: Process, alias: Alias) -> None:
    with pytest.raises(BadDocument):
        alias.update_metadata("d01", {"n": float("inf")})
    with pytest.raises(BadDocument):
        alias.update_metadata("", {"n": 1})

    assert "store.merge_metadata" not in app.faults.calls


def test_the_route_is_told_and_spaces_are_guarded(rig: Rig, alias: Alias) -> None:
    assert alias.route() == rig.route()
    alias.guard(rig.route().serving.space)
    with pytest.raises(SpaceMismatch):
        alias.guard(rig.models["new"].space.id)


# mirror = "inline"


@pytest.fixture
def inline(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(folder=tmp_path, mirror="inline", timing={"write_timeout_s": 20.0, "lease_s": 5.0})
    yield rig
    rig.close()


def held(rig: Rig) -> list[str | None]:
    route = rig.route()
    assert route.follower is not None
    return [
        record.text if (record := rig.records(place).get("d00")) else None for place in (route.serving, route.follower)
    ]


def test_an_inline_write_is_in_both_fields_when_it_is_acknowledged(inline: Rig) -> None:
    app = inline.process("app")
    app.alias.upsert(DOCUMENTS)
    ready(inline)
    inline.clock.sleep(2)

    app.alias.upsert([Document(id="d00", text="another text")])
    assert held(inline) == ["another text", "another text"]
    app.alias.update_metadata("d01", {"lang": "en"})
    app.alias.delete(["d00"])

    assert held(inline) == [None, None]
    route = inline.route()
    assert inline.records(route.follower)["d01"].metadata == {"number": 1, "lang": "en"}


def test_an_inline_write_waits_for_nothing_while_no_migration_runs_or_none_may_carry_yet(inline: Rig) -> None:
    app = inline.process("app")
    before = inline.clock.monotonic()
    app.alias.upsert(DOCUMENTS)
    operator = inline.process("operator")
    operator.plane.register(ALIAS, "new")
    app.alias.upsert([Document(id="d00", text="another text")])

    assert inline.clock.monotonic() == before


@pytest.mark.parametrize("call", ["store.", "model."])
def test_an_inline_write_outlasts_a_short_outage_of_the_other_side(inline: Rig, call: str) -> None:
    app = inline.process("app")
    app.alias.upsert(DOCUMENTS)
    ready(inline)
    inline.clock.sleep(2)
    alias = app.alias
    error = StoreUnavailable if call == "store." else EmbedderUnavailable
    # The write itself makes the first call of each.
    app.faults.fail(call, lambda: error("it does not answer"), skip=1, times=2)

    assert alias.upsert([Document(id="d00", text="another text")]).ids == ("d00",)
    assert held(inline) == ["another text", "another text"]


@pytest.mark.parametrize("error", [StoreUnavailable, StoreRejected])
def test_an_inline_write_that_cannot_be_mirrored_is_said_to_be_stored(
    inline: Rig, error: type[StoreUnavailable]
) -> None:
    """The application must not take it for a write that failed."""
    app = inline.process("app")
    app.alias.upsert(DOCUMENTS)
    operator = ready(inline)
    inline.clock.sleep(2)
    alias = app.alias
    app.faults.fail("store.fetch", lambda: error("it does not answer"), times=1000)

    with pytest.raises(MirrorTimeout, match="stored but not yet in the other field") as raised:
        alias.upsert([Document(id="d00", text="another text")])

    assert "it does not answer" in raised.value.detail
    assert held(inline) == ["another text", DOCUMENTS[0].text]
    worker = operator.worker()
    while operator.plane.ledger.lag(ALIAS).dirty:
        worker.tick()
        inline.clock.sleep(0.5)
    assert held(inline) == ["another text", "another text"]
