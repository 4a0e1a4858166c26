"""A budget is never exceeded, and an account's pace is kept together, whoever is killed when."""

from __future__ import annotations

import multiprocessing
import random
import threading
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.faults import spenders
from tests.faults.spenders import BOOT, Till, spend_until_it_ends
from undrift.adapters.clock import SystemClock
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.adapters.ledgers.sqlite import SqliteLedger
from undrift.adapters.sqlite import Database, Durability
from undrift.domain.migration import Migration, MigrationId
from undrift.domain.route import AliasName, VectorField
from undrift.domain.space import SpaceId
from undrift.ports.ledger import Ledger
from undrift.testing.clock import VirtualClock
from undrift.testing.provider import AccountLimits, EmbeddingProvider

RUNS = 1000


def begin(ledger: Ledger, name: str, budget: int) -> MigrationId:
    """Record a migration of an alias of its own."""
    source = VectorField(store="main", collection=name, space=SpaceId("old-2-0"))
    ledger.create_alias(AliasName(name), source, model="old", mirror="journal")
    migration = Migration(
        id=MigrationId(name),
        alias=AliasName(name),
        source=source,
        target=VectorField(store="main", collection=f"{name}-new", space=SpaceId("new-2-1")),
        target_model="new",
        budget_tokens=budget,
        started=datetime(2026, 1, 1, tzinfo=UTC),
    )
    ledger.register_migration(migration, who="test")
    return migration.id


@pytest.mark.timeout(300)
def test_no_budget_is_exceeded_in_a_thousand_runs_with_workers_that_die(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers at a time; connections break, texts are refused, and bills are up to four times the estimate."""
    # The power does not fail here, and to wait for the disk so often takes minutes.
    monkeypatch.setattr(Durability.FULL, "_value_", "OFF")
    monkeypatch.setattr(Durability.NORMAL, "_value_", "OFF")
    clock, lives, chance = VirtualClock(), count(), random.Random(5)
    ledger = SqliteLedger(Database(tmp_path / "ledger.db"), clock, boot_id=BOOT)  # type: ignore[arg-type]
    exhausted = 0
    for run in range(RUNS):
        till = Till(budget=chance.choice([0, 1, 30, 200, 200, 600]))
        id = begin(ledger, f"run-{run}", till.budget)
        task = (ledger, id, till, clock)
        other = threading.Thread(target=spend_until_it_ends, args=(*task, 2 * run, lives))
        other.start()
        spend_until_it_ends(*task, 2 * run + 1, lives)
        other.join()

        spending = ledger.spending(id)
        assert till.worst <= till.budget, f"run {run}"
        assert till.billed <= spending.spent + spending.reserved <= till.budget, f"run {run}"
        exhausted += till.billed > till.budget / 2 > 0
    ledger.close_ledger()

    # Budgets were really used, so that they could have been exceeded.
    assert exhausted > RUNS / 8


def test_processes_that_are_killed_do_not_overspend_at_a_server_that_counts(tmp_path: Path) -> None:
    """Three processes embed until the budget is exhausted; one after another is killed, and begun anew."""
    budget, path = 6_000, tmp_path / "ledger.db"
    ledger = SqliteLedger(Database(path), SystemClock(), boot_id=BOOT)
    id = begin(ledger, "kb", budget)
    context = multiprocessing.get_context("spawn")
    chance = random.Random(7)
    with EmbeddingProvider({"toy": HashingEmbedder(dimensions=8)}, api_key="secret") as provider:
        numbers = count()

        def another() -> Any:
            process = context.Process(target=spenders.work, args=(path, id, provider.url, next(numbers)))
            process.start()
            return process

        crew = [another() for _ in range(3)]
        for kill in range(1, 4):
            seen = len(provider.requests)
            # Until some more requests were answered, or nobody sends any because nothing is left.
            while len(provider.requests) < seen + 3 and any(process.is_alive() for process in crew):
                crew[0].join(0.01)
            place = chance.randrange(3)
            crew[place].kill()
            crew[place].join()
            if kill < 3:
                crew[place] = another()
        for process in crew:
            process.join()
        billed = sum(request.tokens for request in provider.requests)

    assert 0 < billed <= ledger.spending(id).spent + ledger.spending(id).reserved <= budget
    ledger.close_ledger()


def test_three_processes_share_one_limit_that_none_of_them_was_told(tmp_path: Path) -> None:
    """They read it in the server's answers; hardly a request is refused, whichever of them sends it."""
    path = tmp_path / "ledger.db"
    limits = AccountLimits(requests_per_min=1200, tokens_per_min=200_000, bucket_s=10)
    context = multiprocessing.get_context("spawn")
    with EmbeddingProvider({"toy": HashingEmbedder(dimensions=8)}, api_key="secret", limits=limits) as provider:
        crew = [
            context.Process(target=spenders.send_for_a_while, args=(path, provider.url, number, 40))
            for number in range(3)
        ]
        for process in crew:
            process.start()
        for process in crew:
            process.join()
        answers = [request.status for request in provider.requests]

    ledger = SqliteLedger(Database(path), SystemClock(), boot_id=BOOT)
    pace = ledger.paces("local/toy")["local/toy"]
    ledger.close_ledger()
    assert [process.exitcode for process in crew] == [0, 0, 0]
    assert answers.count(200) == 120
    assert answers.count(429) <= 1
    assert (pace.requests_per_min, pace.tokens_per_min) == (1200, 200_000)
