"""Writes to documents whose truth is still in the other field."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from undrift.config import parse
from undrift.control.plane import ControlPlane
from undrift.domain.migration import Phase
from undrift.domain.record import Document
from undrift.errors import WriteTimeout
from undrift.testing.clock import VirtualClock

pytest.importorskip("sqlite_vec")

SETTINGS = {
    "ledger": "sqlite:///undrift.db",
    "stores": {"main": {"url": "sqlite-vec:./vectors.db"}},
    "models": {"old": {"provider": "hashing", "dimensions": 16}, "new": {"provider": "hashing", "dimensions": 32}},
    "aliases": {"kb": {"store": "main", "model": "old"}},
}


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def other(tmp_path: Path, clock: VirtualClock) -> Iterator[ControlPlane]:
    """A process that hears of nothing unless it asks."""
    with ControlPlane(parse(SETTINGS, tmp_path / "undrift.toml"), clock=clock, heartbeat=False) as other:
        yield other


@pytest.fixture
def plane(tmp_path: Path, clock: VirtualClock, other: ControlPlane) -> Iterator[ControlPlane]:
    """Three documents, and a migration that is cut over without the other process hearing of it."""
    with ControlPlane(parse(SETTINGS, tmp_path / "undrift.toml"), clock=clock, heartbeat=False) as plane:
        plane.alias("kb").upsert([Document(id=f"d{n}", text=f"document {n}") for n in range(3)])
        plane.register("kb", "new")
        plane.work("kb", lambda migration: migration is not None and migration.phase is Phase.READY)
        other.router.join(plane.alias("kb").name)
        plane.cutover("kb")
        yield plane


def test_the_metadata_of_a_document_that_is_still_in_the_other_field_is_not_acknowledged_and_lost(
    plane: ControlPlane,
) -> None:
    """It was inserted after the cutover and is not yet in the field that serves again; it is not "no such document"."""
    kb = plane.alias("kb")
    kb.upsert([Document(id="new", text="inserted after the cutover")])
    refused: list[str] = []

    def before_it_is_carried_back(step: str) -> None:
        if "truth" in step:
            plane.router.refresh(kb.name)
            assert kb.get(["new"]) == []
            # Nobody carries it back meanwhile, so the write has to wait in vain.
            with pytest.raises(WriteTimeout) as error:
                kb.update_metadata("new", {"seen": 1})
            refused.append(error.value.message)

    plane.rollback("kb", now=True, on_step=before_it_is_carried_back)
    kb.update_metadata("new", {"seen": 2})

    assert len(refused) == 1
    assert kb.get(["new"]) == [Document(id="new", text="inserted after the cutover", metadata={"seen": 2})]


def test_a_document_that_is_in_no_field_is_not_made_and_not_marked(plane: ControlPlane) -> None:
    """A mark without a write would carry an absence to the other field."""
    kb = plane.alias("kb")

    assert kb.update_metadata("nobody", {"seen": 1}).ids == ()
    assert plane.ledger.journal_state(kb.name, ["nobody"]) == {}  # type: ignore[list-item]
    assert kb.get(["nobody"]) == []


def test_a_delete_by_filter_waits_for_matches_that_are_still_in_the_other_field(plane: ControlPlane) -> None:
    """Ids that are asked of a field which has just begun to serve would miss them, and they would stay."""
    kb = plane.alias("kb")
    kb.upsert([Document(id="new", text="inserted after the cutover", metadata={"lang": "en"})])
    refused: list[str] = []

    def before_it_is_carried_back(step: str) -> None:
        if "truth" in step:
            plane.router.refresh(kb.name)
            with pytest.raises(WriteTimeout) as error:
                kb.delete(filter={"lang": "en"})
            refused.append(error.value.hint)

    plane.rollback("kb", now=True, on_step=before_it_is_carried_back)
    assert refused == ["undrift worker"]

    assert kb.delete(filter={"lang": "en"}).ids == ("new",)
    assert kb.get(["new"]) == []


def test_a_delete_by_filter_finds_what_others_wrote_after_a_flip_that_this_process_has_not_heard_of(
    plane: ControlPlane, other: ControlPlane
) -> None:
    plane.alias("kb").upsert([Document(id="new", text="inserted after the cutover", metadata={"lang": "en"})])
    assert other.alias("kb").get(["new"]) == [], "it still reads the old field"

    assert other.alias("kb").delete(filter={"lang": "en"}).ids == ("new",)
    assert plane.alias("kb").get(["new"]) == []
