"""The book of lineage in a real ledger: entries stay in their order, whoever writes them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from undrift.adapters.clock import boot_id
from undrift.adapters.ledgers.sqlite import SqliteLedger
from undrift.adapters.sqlite import Database
from undrift.domain.lineage import Checkpoint
from undrift.domain.space import SpaceId
from undrift.errors import BadArgument, StaleRoute, UnknownModel
from undrift.flow.lineage import LineageBook
from undrift.ports.ledger import Ledger
from undrift.testing.clock import VirtualClock


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = SqliteLedger(Database(tmp_path / "undrift.db"), VirtualClock(), boot_id=boot_id())
    yield made
    made.close_ledger()


def checkpoint(model: str, parent: str = "") -> Checkpoint:
    return Checkpoint(
        model=model,
        space=SpaceId(f"{model}-8-0"),
        hash="sha256-0123456789abcdef",
        origin="models",
        parent=parent,
        author="ada",
        moment=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_what_one_process_writes_another_reads(ledger: Ledger) -> None:
    first, second = checkpoint("a"), checkpoint("b", "a")
    LineageBook(ledger).add(first)
    returned = LineageBook(ledger).add(second)

    assert returned.entries == LineageBook(ledger).read().entries == (first, second)


def test_what_may_not_follow_is_not_written(ledger: Ledger) -> None:
    book = LineageBook(ledger)
    book.add(checkpoint("a"))

    with pytest.raises(UnknownModel):
        book.add(checkpoint("b", "nobody"))

    assert [entry.model for entry in book.read().entries] == ["a"]


def test_writers_at_the_same_time_lose_nothing_and_each_entry_is_checked_against_those_before_it(
    ledger: Ledger,
) -> None:
    book = LineageBook(ledger)
    for name in ("a", "b"):
        book.add(checkpoint(name))

    def make(model: str) -> str:
        # Each says that it comes from the other: whoever is second closes a circle.
        try:
            book.add(checkpoint(model, "b" if model == "a" else "a"))
        except BadArgument:
            return "refused"
        return "written"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(make, ("a", "b"))) == ["refused", "written"]
        list(pool.map(book.add, [checkpoint(f"m{number}") for number in range(10)]))

    assert len(book.read().checkpoints) == 12


def test_one_who_is_never_first_is_told(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "remember", lambda *_, **__: False)
    with pytest.raises(StaleRoute, match="others write all the time"):
        LineageBook(ledger).add(checkpoint("a"))


def test_what_only_another_version_knows_keeps_its_place(ledger: Ledger) -> None:
    book = LineageBook(ledger)
    book.add(checkpoint("a"))
    ledger.remember("lineage/00000002", '{"kind": "audit", "model": "a"}', version=0)

    book.add(checkpoint("b"))

    assert [entry.model for entry in book.read().entries] == ["a", "b"]
    assert ledger.recall("lineage/00000003") is not None
