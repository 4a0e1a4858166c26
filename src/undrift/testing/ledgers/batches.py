"""Batch jobs: recorded before anything is sent, one worker at a time, and their pieces are nobody else's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from undrift.domain.batch import BatchJob, JobId, JobState
from undrift.domain.checkpoint import Chunk
from undrift.domain.client import ClientId
from undrift.domain.migration import RunStatus
from undrift.errors import BudgetExhausted, LeaseLost, StaleRoute
from undrift.ports.ledger import Ledger
from undrift.testing.ledgers.bench import (
    ALIAS,
    LEASE_S,
    ME,
    MOMENT_S,
    SETTLE_S,
    TARGET,
    YOU,
    LedgerBench,
    a_migration,
    begin,
    lay_out,
    lease,
    migration_of,
    present,
)

_HERE = "host-a:/cache"


def a_job(name: str, **more: Any) -> BatchJob:
    """Return a job of the kit's migration that is recorded nowhere."""
    values: dict[str, Any] = {"vault": _HERE, "items": 3, "queued": 100, "tokens": 400, "usd_per_million_tokens": 1.0}
    return BatchJob(
        id=JobId(name),
        alias=ALIAS,
        migration=a_migration().id,
        account="somebody",
        space=TARGET.space,
        created=datetime(2026, 1, 1, tzinfo=UTC),
        **{**values, **more},
    )


def add(
    ledger: Ledger,
    name: str,
    *pieces: int,
    after: dict[str, list[int]] | None = None,
    queue: int | None = None,
    **more: Any,
) -> bool:
    """Record a job."""
    waits = {JobId(job): numbers for job, numbers in (after or {}).items()}
    return ledger.add_job(a_job(name, **more), pieces, after=waits, queue_tokens=queue)


def save(ledger: Ledger, name: str, *, without: tuple[int, ...] = (), **changes: Any) -> None:
    """Change a job as a worker does that has leased it."""
    job = present(ledger.lease_job(JobId(name), owner=ME, lease_s=LEASE_S))
    ledger.save_job(replace(job, **changes), owner=ME, keep=False, without=without)


def _taken(ledger: Ledger, *, vault: str = "", unbatched: bool = True) -> list[int]:
    """Lease every piece that can be had, and say which."""
    found: list[int] = []
    while True:
        piece = ledger.lease_chunk(
            ALIAS,
            migration_of(ledger).id,
            owner=ME,
            lease_s=LEASE_S,
            settle_s=SETTLE_S,
            vault=vault,
            unbatched=unbatched,
        )
        if piece is None:
            return found
        found.append(piece.number)


class BatchRules:
    """What those may count on who embed through a provider's batch API."""

    def test_a_job_is_kept_whole_and_is_seen_by_every_process(self, bench: LedgerBench) -> None:
        """Everything that is needed to go on with it; its age is counted from its last change of state."""
        begin(bench.ledger)
        lay_out(bench.ledger, "b", "d")
        assert add(bench.ledger, "j1", 0, 1, file="f", results=("o", "e"), expires=datetime(2026, 1, 2, tzinfo=UTC))
        bench.clock.advance(5.0)

        (found,) = bench.other.jobs(ALIAS)

        assert found.age_s == pytest.approx(5.0)
        wanted = a_job("j1", file="f", results=("o", "e"), expires=datetime(2026, 1, 2, tzinfo=UTC))
        assert replace(found, age_s=0.0) == wanted
        pieces = bench.other.pieces_of(JobId("j1"))
        assert [(piece.number, piece.lo, piece.hi, done) for piece, done in pieces.items()] == [
            (0, "", "b", False),
            (1, "b", "d", False),
        ]

    def test_pieces_of_a_job_are_nobodys_until_it_has_brought_their_vectors_and_then_only_of_those_who_have_them(
        self, bench: LedgerBench
    ) -> None:
        """Whoever takes them elsewhere would pay again."""
        begin(bench.ledger)
        lay_out(bench.ledger, "b", "d", "f")
        add(bench.ledger, "j1", 0, 2)
        assert _taken(bench.other, vault=_HERE, unbatched=False) == []
        assert _taken(bench.other, vault=_HERE) == [1]

        save(bench.ledger, "j1", state=JobState.BROUGHT)

        assert _taken(bench.other, vault="host-b:/cache") == []
        assert _taken(bench.other, vault=_HERE, unbatched=False) == [0, 2]

    def test_a_piece_that_waits_for_two_jobs_waits_for_both(self, bench: LedgerBench) -> None:
        """One of its texts is in the file of another job."""
        begin(bench.ledger)
        lay_out(bench.ledger, "b", "d")
        add(bench.ledger, "j1", 0)
        add(bench.ledger, "j2", 1, after={"j1": [1]})
        save(bench.ledger, "j2", state=JobState.BROUGHT)
        assert _taken(bench.ledger, vault=_HERE) == []

        save(bench.ledger, "j1", state=JobState.BROUGHT)

        assert _taken(bench.ledger, vault=_HERE) == [0, 1]

    def test_pieces_that_a_job_gives_up_are_free_for_another_one(self, bench: LedgerBench) -> None:
        """The others stay its own."""
        begin(bench.ledger)
        lay_out(bench.ledger, "b", "d")
        add(bench.ledger, "j1", 0, 1)
        assert bench.other.free_pieces(ALIAS, limit=9) == []

        save(bench.ledger, "j1", state=JobState.BROUGHT, without=(1,))

        assert bench.other.free_pieces(ALIAS, limit=9) == [Chunk(number=1, lo="b", hi="d", count=10)]
        assert _taken(bench.ledger, vault=_HERE, unbatched=False) == [0]

    def test_a_piece_that_is_not_free_makes_the_whole_job_void(self, bench: LedgerBench) -> None:
        """Another worker has it, or another job."""
        begin(bench.ledger)
        lay_out(bench.ledger, "b", "d", "f")
        present(lease(bench.ledger))
        add(bench.ledger, "j1", 1)

        for pieces in ((0, 2), (1, 2)):
            with pytest.raises(StaleRoute):
                add(bench.other, "j2", *pieces)

        assert [job.id for job in bench.ledger.jobs(ALIAS)] == ["j1"]
        assert [piece.number for piece in bench.ledger.free_pieces(ALIAS, limit=9)] == [2]
        assert migration_of(bench.ledger).tokens == 400

    def test_no_job_begins_while_the_migration_is_paused(self, bench: LedgerBench) -> None:
        """An operator's word comes first."""
        begin(bench.ledger)
        lay_out(bench.ledger, "b")
        bench.ledger.save_run_status(migration_of(bench.ledger).id, RunStatus.PAUSED, reason="", who="kit")

        with pytest.raises(StaleRoute):
            add(bench.ledger, "j1", 0)

    def test_the_queue_of_an_account_is_not_filled_beyond_its_limit(self, bench: LedgerBench) -> None:
        """What has ended is out of it; what is too much is not recorded."""
        begin(bench.ledger)
        lay_out(bench.ledger, "b", "d")
        assert add(bench.ledger, "j1", 0, queue=150)
        assert not add(bench.other, "j2", 1, queue=150)
        assert [piece.number for piece in bench.ledger.free_pieces(ALIAS, limit=9)] == [1]

        save(bench.ledger, "j1", state=JobState.ENDED)

        assert add(bench.other, "j2", 1, queue=150)

    def test_tokens_are_put_aside_at_the_price_of_a_batch_and_settled_at_what_was_billed(
        self, bench: LedgerBench
    ) -> None:
        """A dollar goes twice as far there; what is spent otherwise keeps its own price."""
        begin(bench.ledger, migration=a_migration(budget_usd=0.001, price=2.0))
        lay_out(bench.ledger, "b", "d", "f")
        bench.ledger.spend(migration_of(bench.ledger).id, 100)
        add(bench.ledger, "j1", 0, tokens=800)
        assert migration_of(bench.other).usd == pytest.approx(0.001)
        with pytest.raises(BudgetExhausted):
            add(bench.other, "j2", 1, tokens=1)

        save(bench.ledger, "j1", state=JobState.ENDED, tokens=300)

        after = migration_of(bench.other)
        assert after.tokens == 400
        assert after.usd == pytest.approx(0.0005)
        assert add(bench.other, "j2", 1, tokens=500)
        with pytest.raises(BudgetExhausted):
            bench.ledger.spend(after.id, 1)

    def test_a_budget_in_tokens_counts_those_of_batches_too(self, bench: LedgerBench) -> None:
        """Whatever they cost."""
        begin(bench.ledger, migration=a_migration(budget_tokens=500))
        lay_out(bench.ledger, "b", "d")
        add(bench.ledger, "j1", 0, tokens=400)

        with pytest.raises(BudgetExhausted):
            add(bench.ledger, "j2", 1, tokens=101)
        assert add(bench.ledger, "j2", 1, tokens=100)

    def test_a_job_has_one_worker_and_a_late_one_changes_nothing(self, bench: LedgerBench) -> None:
        """Its lease is over at last, and its fence tells."""
        begin(bench.ledger)
        lay_out(bench.ledger, "b")
        add(bench.ledger, "j1", 0)
        mine = present(bench.ledger.lease_job(JobId("j1"), owner=ME, lease_s=LEASE_S))
        assert bench.other.lease_job(JobId("j1"), owner=YOU, lease_s=LEASE_S) is None
        bench.clock.advance(LEASE_S + MOMENT_S)

        assert bench.other.lease_job(JobId("j1"), owner=YOU, lease_s=LEASE_S) is not None

        with pytest.raises(LeaseLost):
            bench.ledger.save_job(replace(mine, state=JobState.CREATING), owner=ME)
        assert bench.other.jobs(ALIAS)[0].state is JobState.PREPARED

    def test_a_dead_workers_job_is_taken_over_at_once(self, bench: LedgerBench) -> None:
        """It is buried with everything it held."""
        begin(bench.ledger)
        lay_out(bench.ledger, "b")
        add(bench.ledger, "j1", 0)
        bench.ledger.register_client(ME, host="h", pid=1, role="worker", version="1", lease_s=LEASE_S)
        present(bench.ledger.lease_job(JobId("j1"), owner=ME, lease_s=LEASE_S))

        bench.other.bury(ME)

        assert bench.other.lease_job(JobId("j1"), owner=YOU, lease_s=LEASE_S) is not None

    def test_a_job_that_is_done_is_taken_by_nobody(self, bench: LedgerBench) -> None:
        """Nothing of it is left to do; it is still shown."""
        begin(bench.ledger)
        lay_out(bench.ledger, "b")
        add(bench.ledger, "j1", 0)
        save(bench.ledger, "j1", state=JobState.DONE, without=(0,))

        assert bench.other.lease_job(JobId("j1"), owner=YOU, lease_s=LEASE_S) is None
        assert [job.state for job in bench.other.jobs(ALIAS)] == [JobState.DONE]
        assert [piece.number for piece in bench.other.free_pieces(ALIAS, limit=9)] == [0]

    def test_of_many_workers_one_gets_a_job(self, bench: LedgerBench) -> None:
        """At the same moment, from several connections."""
        begin(bench.ledger)
        lay_out(bench.ledger, "b")
        add(bench.ledger, "j1", 0)
        owners = [ClientId(f"w{number}") for number in range(6)]
        handles = [bench.handle() for _ in owners]
        try:
            with ThreadPoolExecutor(len(owners)) as pool:
                found = list(
                    pool.map(
                        lambda pair: pair[0].lease_job(JobId("j1"), owner=pair[1], lease_s=LEASE_S),
                        zip(handles, owners, strict=True),
                    )
                )
        finally:
            for handle in handles:
                handle.close_ledger()
        assert len([job for job in found if job is not None]) == 1
