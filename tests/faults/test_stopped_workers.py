"""A worker whose model is slow keeps its piece; one that is stopped loses it, and writes nothing when it wakes."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

import undrift
from tests.faults.one_worker import DOCUMENTS, PATIENCE_S, begin_worker, configure
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.control import ControlPlane
from undrift.domain.migration import Migration, Phase
from undrift.domain.record import Vectors
from undrift.testing.provider import EmbeddingProvider


class Slow(HashingEmbedder):
    """A model whose first answer about documents waits until it is let go."""

    def __init__(self) -> None:
        super().__init__(dimensions=24, seed="new")
        self.asked, self.let_go = threading.Event(), threading.Event()
        self.answers = 0

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        if any(text.startswith("text of number") for text in texts):
            self.answers += 1
            if self.answers == 1:
                self.asked.set()
                assert self.let_go.wait(PATIENCE_S)
        return super().embed_documents(texts)


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.fixture
def model() -> Slow:
    return Slow()


@pytest.fixture
def plane(tmp_path: Path, model: Slow) -> Iterator[ControlPlane]:
    with (
        EmbeddingProvider({"new": model}) as provider,
        undrift.open(configure(tmp_path, provider.url, lease_s=6)) as plane,
    ):
        yield plane


def test_a_slow_model_costs_a_worker_nothing_and_a_stopped_worker_publishes_nothing(
    tmp_path: Path, model: Slow, plane: ControlPlane
) -> None:
    plane.alias("kb").upsert(DOCUMENTS)
    migration = plane.register("kb", "new")
    worker = begin_worker(tmp_path)
    try:
        assert model.asked.wait(PATIENCE_S)
        ends = _lease_end(tmp_path)
        wait_for(lambda: _lease_end(tmp_path) > ends + 5.0)
        assert model.answers == 1

        worker.send_signal(signal.SIGSTOP)
        plane.work("kb", _is_carried)
        assert model.answers == 2, "the other worker has embedded the piece"
        worker.send_signal(signal.SIGCONT)
        model.let_go.set()
        assert worker.wait(PATIENCE_S) == 0
    finally:
        worker.kill()
        worker.wait(PATIENCE_S)
        model.let_go.set()

    shares = plane.ledger.shares(migration.id)
    assert [share.documents for share in shares.values()] == [len(DOCUMENTS)]
    assert plane.router.client in shares
    found = plane.store_of(migration.target).fetch(migration.target, [document.id for document in DOCUMENTS])
    assert {id: record.text for id, record in found.items()} == {one.id: one.text for one in DOCUMENTS}


def _is_carried(migration: Migration | None) -> bool:
    return migration is not None and migration.phase is Phase.CATCHUP


def _lease_end(folder: Path) -> float:
    """Return when the lease of the piece ends, past the product."""
    import apsw

    connection = apsw.Connection(str(folder / "undrift.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return max(float(row[0]) for row in connection.execute("SELECT expires FROM chunk"))
    finally:
        connection.close()
