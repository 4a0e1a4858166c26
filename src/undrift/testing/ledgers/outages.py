"""A ledger that cannot be reached, and one that many processes use at once."""

from __future__ import annotations

import inspect
import multiprocessing
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from undrift.domain.checkpoint import Chunk, Claim
from undrift.domain.gate import VerificationReport
from undrift.domain.migration import Phase, RunStatus
from undrift.domain.operation import OperationId
from undrift.domain.pace import SeenLimits
from undrift.domain.pacing import Ask, PaceLimits
from undrift.domain.record import NO_TAG
from undrift.domain.route import FieldKey, Mode, Route
from undrift.domain.space import ProvenSpace, Space
from undrift.errors import ControlUnavailable
from undrift.ports.ledger import Ledger
from undrift.testing.ledgers import contention
from undrift.testing.ledgers.batches import a_job
from undrift.testing.ledgers.bench import (
    ALIAS,
    LEASE_S,
    ME,
    SETTLE_S,
    SOURCE,
    TARGET,
    LedgerBench,
    a_migration,
    begin,
    ids,
    migration_of,
    write,
)

_CHUNK = Chunk(number=0, lo="", hi="b", count=1, fence=1)
_CLAIM = Claim(key=ids("a")[0], source=FieldKey("main/kb"), sequence=1, attempts=0, taken_at=0.0)
_MIGRATION = a_migration()
_ROUTE = Route(alias=ALIAS, epoch=2, mode=Mode.JOURNAL, serving=SOURCE, follower=TARGET)
_PROVEN = ProvenSpace(
    space=Space(channel="kit", model="small", revision="1", dimensions=2), model="m", probes=np.ones((1, 2), np.float32)
)
_REPORT = VerificationReport(
    compared=0,
    missing=0,
    extra=0,
    mismatched=0,
    requeued=0,
    explained=0,
    unverifiable=0,
    sampled=0,
    sample_min_cosine=None,
    samples=(),
    max_sequence=0,
    epoch=1,
    finished=datetime(2026, 1, 1, tzinfo=UTC),
)
#: How each method is called; `transaction_with` and `close_ledger` touch no file.
_JOB = a_job("j1")
_CALLS: dict[str, Callable[[Ledger], Any]] = {
    "record_space": lambda it: it.record_space(_PROVEN),
    "space": lambda it: it.space(_PROVEN.space.id),
    "spaces": lambda it: it.spaces(),
    "create_alias": lambda it: it.create_alias(ALIAS, SOURCE, model="old", mirror="journal"),
    "alias": lambda it: it.alias(ALIAS),
    "aliases": lambda it: it.aliases(),
    "route": lambda it: it.route(ALIAS),
    "register_client": lambda it: it.register_client(ME, host="h", pid=1, role="r", version="1", lease_s=1.0),
    "join": lambda it: it.join(ME, ALIAS),
    "renew": lambda it: it.renew(ME, {ALIAS: 1}, 1.0),
    "leave": lambda it: it.leave(ME),
    "bury": lambda it: it.bury(ME),
    "clients": lambda it: it.clients(ALIAS),
    "unacknowledged": lambda it: it.unacknowledged(ALIAS, 1, 1.0),
    "open": lambda it: it.open(ALIAS, ids("a"), client=ME, deadline_s=1.0),
    "close": lambda it: it.close(ALIAS, OperationId(1), ids("a")),
    "reap": lambda it: it.reap(ALIAS, 1.0),
    "add_chunks": lambda it: it.add_chunks(_MIGRATION.id, [_CHUNK], complete=True),
    "last_chunk": lambda it: it.last_chunk(_MIGRATION.id),
    "lease_chunk": lambda it: it.lease_chunk(ALIAS, _MIGRATION.id, owner=ME, lease_s=LEASE_S, settle_s=SETTLE_S),
    "publish": lambda it: it.publish(ALIAS, _CHUNK, ids("a"), owner=ME, lease_s=LEASE_S),
    "published": lambda it: it.published(ALIAS, _CHUNK, owner=ME),
    "prolong_chunk": lambda it: it.prolong_chunk(ALIAS, _CHUNK, owner=ME, lease_s=LEASE_S),
    "release_chunk": lambda it: it.release_chunk(ALIAS, _CHUNK, owner=ME),
    "published_over_time": lambda it: it.published_over_time(_MIGRATION.id),
    "shares": lambda it: it.shares(_MIGRATION.id),
    "chunk_progress": lambda it: it.chunk_progress(_MIGRATION.id),
    "claim": lambda it: it.claim(ALIAS, owner=ME, limit=1, lease_s=LEASE_S, settle_s=SETTLE_S),
    "clear": lambda it: it.clear(ALIAS, [_CLAIM], owner=ME),
    "postpone": lambda it: it.postpone(ALIAS, [_CLAIM], owner=ME, delay_s=1.0, error=""),
    "mark": lambda it: it.mark(ALIAS, ids("a")),
    "journal_state": lambda it: it.journal_state(ALIAS, ids("a")),
    "touched": lambda it: it.touched(ALIAS, after=0),
    "require_reconcile": lambda it: it.require_reconcile(ALIAS, "restored", sequence=1),
    "reconciled": lambda it: it.reconciled(ALIAS),
    "lag": lambda it: it.lag(ALIAS),
    "in_flight": lambda it: it.in_flight(ALIAS, 1.0),
    "quarantine": lambda it: it.quarantine(ALIAS, dict.fromkeys(ids("a"), ("r", ""))),
    "release": lambda it: it.release(ALIAS, ids("a")),
    "quarantined": lambda it: it.quarantined(ALIAS),
    "quarantined_count": lambda it: it.quarantined_count(ALIAS),
    "register_migration": lambda it: it.register_migration(_MIGRATION, who=""),
    "coordinate": lambda it: it.coordinate(_MIGRATION.id, owner=ME, lease_s=1.0),
    "yield_coordination": lambda it: it.yield_coordination(_MIGRATION.id, owner=ME),
    "save_phase": lambda it: it.save_phase(_MIGRATION, was=Phase.BACKFILL, who=""),
    "save_run_status": lambda it: it.save_run_status(_MIGRATION.id, RunStatus.PAUSED, reason="", who=""),
    "enter": lambda it: it.enter(ALIAS, who="", action="", detail=""),
    "spend": lambda it: it.spend(_MIGRATION.id, 1),
    "reserve": lambda it: it.reserve(_MIGRATION.id, 1, owner=ME),
    "settle": lambda it: it.settle(_MIGRATION.id, reserved=1, billed=1, owner=ME),
    "spending": lambda it: it.spending(_MIGRATION.id),
    "raise_price": lambda it: it.raise_price(_MIGRATION.id, 1.0, who=""),
    "take_pace": lambda it: it.take_pace("a", Ask(owner="me", limits=PaceLimits(), tokens=1)),
    "pace_refused": lambda it: it.pace_refused("a", SeenLimits(), PaceLimits()),
    "paces": lambda it: it.paces("a"),
    "add_job": lambda it: it.add_job(_JOB, [0], after={}, queue_tokens=None),
    "jobs": lambda it: it.jobs(ALIAS),
    "pieces_of": lambda it: it.pieces_of(_JOB.id),
    "lease_job": lambda it: it.lease_job(_JOB.id, owner=ME, lease_s=1.0),
    "save_job": lambda it: it.save_job(_JOB, owner=ME),
    "free_pieces": lambda it: it.free_pieces(ALIAS, limit=1),
    "set_budget": lambda it: it.set_budget(_MIGRATION.id, tokens=1, usd=None),
    "change_mode": lambda it: it.change_mode(_ROUTE, Mode.JOURNAL, migration=_MIGRATION, was=Phase.BACKFILL, who=""),
    "hold": lambda it: it.hold(_ROUTE, 1.0),
    "flip": lambda it: it.flip(
        _ROUTE, migration=_MIGRATION, was=Phase.BACKFILL, who="", max_dirty=None, max_quarantined=None
    ),
    "save_verification": lambda it: it.save_verification(ALIAS, _REPORT),
    "verification": lambda it: it.verification(ALIAS),
    "save_bookmark": lambda it: it.save_bookmark(ALIAS, "verify", {}),
    "bookmark": lambda it: it.bookmark(ALIAS, "verify"),
    "tune": lambda it: it.tune(ALIAS, {"a": "b"}),
    "tuning": lambda it: it.tuning(ALIAS),
    "save_golden": lambda it: it.save_golden("g", {}),
    "golden": lambda it: it.golden("g"),
    "put_tags": lambda it: it.put_tags(SOURCE.key, dict.fromkeys(ids("a"), NO_TAG)),
    "tags_of": lambda it: it.tags_of(SOURCE.key, ids("a")),
    "settle_tags": lambda it: it.settle_tags(SOURCE.key, dict.fromkeys(ids("a"), NO_TAG.content), older_than_s=0.0),
    "number_tags": lambda it: it.number_tags(SOURCE.key, ids("a"), sequence=1),
    "forget_tags": lambda it: it.forget_tags(SOURCE.key, ids("a"), older_than_s=0.0),
    "drop_tags": lambda it: it.drop_tags(SOURCE.key),
    "golden_names": lambda it: it.golden_names(),
    "history": lambda it: it.history(ALIAS),
    "recall": lambda it: it.recall("k"),
    "recall_all": lambda it: it.recall_all("k"),
    "remember": lambda it: it.remember("k", "", version=0),
    "forget": lambda it: it.forget("k", version=1),
    "observe": lambda it: it.observe("s", _MIGRATION.started, "", keep=1),
    "observed": lambda it: it.observed("s"),
}


class OutageRules:
    """What happens when the ledger is out of reach."""

    def test_the_kit_calls_every_method_of_the_port(self) -> None:
        """A method that is added to the port is added here."""
        port = {name for name, _ in inspect.getmembers(Ledger, inspect.isfunction) if not name.startswith("_")}

        assert port - {"transaction_with", "close_ledger"} == set(_CALLS)

    @pytest.mark.parametrize("method", sorted(_CALLS))
    def test_a_ledger_out_of_reach_is_said_to_be(self, bench: LedgerBench, method: str) -> None:
        """Every method raises `ControlUnavailable`, and works again when the ledger is back."""
        begin(bench.ledger)
        write(bench.ledger, "a")

        with bench.cut_off(), pytest.raises(ControlUnavailable):
            _CALLS[method](bench.ledger)

        assert migration_of(bench.ledger).phase is Phase.BACKFILL


class ContentionRules:
    """Several processes on the machine's own clock: writers, a worker, and nothing lost."""

    def test_what_processes_write_at_once_is_carried_over_whole(self, bench: LedgerBench, tmp_path: Path) -> None:
        """Two writers change the same documents while two workers carry them; in the end both sides are equal.

        The documents are files, so that each change has a moment of its own at which it happens.
        """
        begin(bench.ledger)
        here, there = tmp_path / "here", tmp_path / "there"
        here.mkdir()
        there.mkdir()
        context = multiprocessing.get_context("spawn")
        done = context.Event()
        task = (bench.opener(), here, there)
        workers = [context.Process(target=contention.carry, args=(*task, done, name)) for name in ("w1", "w2")]
        writers = [context.Process(target=contention.write, args=(*task, name)) for name in ("c1", "c2")]
        for process in (*workers, *writers):
            process.start()
        for process in writers:
            process.join()
        done.set()
        for process in workers:
            process.join()

        assert [process.exitcode for process in (*workers, *writers)] == [0, 0, 0, 0]
        assert bench.operations(ALIAS) == 0
        assert bench.ledger.lag(ALIAS).dirty == 0
        marks = [bench.mark(ALIAS, key) for key in contention.KEYS]
        assert all(mark is not None and mark.open == 0 for mark in marks)
        assert contention.content(there) == contention.content(here)
        assert len(contention.content(here)) == len(contention.KEYS)
