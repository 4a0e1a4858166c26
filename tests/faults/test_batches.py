"""Texts that a provider's batch API embeds: what becomes of those that it refuses, that expire, or that change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.faults.batches import DOCUMENTS, Scene, scene
from tests.unit.migrate.test_fleet import FakePool
from undrift.control.pooling import open_hand
from undrift.domain.batch import JobState
from undrift.domain.migration import Migration, Phase, RunStatus
from undrift.domain.space import Space
from undrift.errors import BudgetExhausted, EmbedderRejected
from undrift.flow.splitting import combined
from undrift.migrate.fleet import Fleet
from undrift.ports.pool import Errand
from undrift.release import VERSION
from undrift.testing.provider import Outcome
from undrift.testing.rig import ALIAS, documents

EVERY_TEXT = {document.text: 1 for document in DOCUMENTS}


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("undrift.migrate.engine._IDLE_S", 5.0)


def halted(world: Scene) -> str:
    migration = world.rig.migration()
    assert migration is not None
    assert migration.run_status is RunStatus.HALTED
    return migration.reason


def test_what_expires_is_kept_as_far_as_it_came_and_the_rest_goes_into_another_job(folder: Path) -> None:
    with scene(folder) as world:
        world.provider.batches.script(Outcome(expires_after=5))
        world.begin()

        world.work_to(Phase.CATCHUP)

        first, second = world.provider.batches.jobs
        assert (first.status, second.status) == ("expired", "completed")
        assert world.batched == EVERY_TEXT
        assert not world.online
        assert not world.faults()


def test_what_expires_again_and_again_is_embedded_online_at_last(folder: Path) -> None:
    with scene(folder) as world:
        world.provider.batches.script(*[Outcome(expires_after=1)] * 5)
        world.begin()

        world.work_to(Phase.CATCHUP)

        assert len(world.provider.batches.jobs) == 3
        assert sum(world.batched.values()) == 3
        assert world.batched + world.online == EVERY_TEXT
        assert not world.faults()


def test_a_text_that_the_batch_refuses_is_tried_online_and_set_aside_with_its_reason(folder: Path) -> None:
    bad, odd = replace(DOCUMENTS[3], text="too many words " * 4000), DOCUMENTS[5]
    with scene(folder, [*DOCUMENTS[:3], bad, *DOCUMENTS[4:]]) as world:
        world.provider.batches.refuses = {odd.text}
        world.begin()

        world.work_to(Phase.CATCHUP)

        assert {one.key: one.reason for one in world.rig.ledger_within().quarantined(ALIAS)} == {
            bad.id: "text_too_long"
        }
        assert world.online == {odd.text: 1}
        assert not world.faults()
        (job,) = world.jobs()
        assert (job.completed, job.failed) == (10, 2)
        assert "this text is refused" in job.reason or "maximum input length" in job.reason


def test_a_text_that_is_too_long_for_the_batch_is_embedded_in_parts_where_the_model_says_so(folder: Path) -> None:
    """The parts go online, and are counted; the rest is paid for in the batch, each text once."""
    long = replace(DOCUMENTS[3], text=" ".join(f"word{number}" for number in range(12_000)))
    with scene(folder, [*DOCUMENTS[:3], long, *DOCUMENTS[4:]], truncation="split") as world:
        world.begin()

        world.work_to(Phase.CATCHUP)

        migration = world.rig.migration()
        assert migration is not None
        record = world.rig.records(migration.target)[long.id]
        parts = list(world.online)
        assert world.rig.process("operator").plane.status(ALIAS)["overlong"] == {"cut": 0, "split": 1}
        assert world.rig.ledger_within().quarantined_count(ALIAS) == 0
        assert set(world.batched.values()) == set(world.online.values()) == {1}
        assert (len(world.batched), " ".join(parts).split()) == (len(DOCUMENTS) - 1, long.text.split())
        vectors = [world.rig.vector(migration.target.space, part) for part in parts]
        assert (record.text, len(parts)) == (long.text, 2)
        np.testing.assert_allclose(record.vector, combined(vectors, parts, record_space(world)), atol=1e-5)


def record_space(world: Scene) -> Space:
    return world.rig.models["new"].space


@pytest.mark.parametrize("batch", ["true", "auto"])
def test_a_pool_has_nothing_to_do_with_jobs_and_carries_what_is_embedded_online(folder: Path, batch: str) -> None:
    """What a job brings lies in the cache of this host: the worker carries it. With auto, these texts are too few."""
    with scene(folder) as world:
        world.begin(batch=batch)
        worker, pool = world.rig.process("worker").worker(sample=0), FakePool(world.rig.process("pool"))
        shop = worker.workshop

        def errand(migration: Migration) -> Errand:
            return Errand(configuration="", alias=ALIAS, migration=migration.id, caller=shop.me, version=VERSION)

        worker.fleet = Fleet(workshop=shop, pool=pool, opener=open_hand, errand_of=errand)
        worker.run(lambda migration: migration is not None and migration.phase is Phase.CATCHUP)

        paid, carried = (world.batched, worker.carried) if batch == "true" else (world.online, pool.hand.carried)
        assert (paid, carried) == (EVERY_TEXT, len(DOCUMENTS))
        assert bool(pool.begun) == (batch == "auto")
        assert not world.faults()


def test_a_batch_that_refuses_every_text_is_not_paid_for_online_instead(folder: Path) -> None:
    with scene(folder) as world:
        world.provider.batches.refuses = {document.text for document in DOCUMENTS}
        world.begin()

        with pytest.raises(EmbedderRejected, match="refused batch job"):
            world.work_to(Phase.CATCHUP)

        assert "this text is refused" in halted(world)
        assert not world.online
        migration = world.rig.migration()
        assert migration is not None
        assert migration.tokens_before == 0, "what jobs have cost"


def test_a_job_that_the_provider_refuses_stops_the_work_with_its_words(folder: Path) -> None:
    with scene(folder) as world:
        world.provider.batches.script(Outcome(problem=("billing_hard_limit_reached", "Billing hard limit reached")))
        world.begin()

        with pytest.raises(EmbedderRejected):
            world.work_to(Phase.CATCHUP)

        assert "Billing hard limit reached" in halted(world)
        world.rig.process("operator").plane.resume(ALIAS)
        world.work_to(Phase.CATCHUP)
        assert world.batched == EVERY_TEXT


def test_the_limit_of_the_queue_is_learned_from_a_refusal_and_kept(folder: Path) -> None:
    """Three pieces of four texts of five tokens each, by the provider's count: two of them do not fit at a time."""
    with scene(folder) as world:
        world.provider.batches.queue_tokens = 30
        world.begin()

        world.work_to(Phase.CATCHUP)

        done = [job.status for job in world.provider.batches.jobs]
        assert done.count("completed") > 1
        assert done.count("failed") == 1
        assert world.batched == EVERY_TEXT
        assert not world.online
        assert not world.faults()


def test_with_auto_what_the_queue_does_not_take_is_embedded_online_meanwhile(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("undrift.migrate.packing.LEAST_ITEMS", 2)
    with scene(folder, settings={"batch_queue_tokens": 20}) as world:
        world.provider.batches.script(Outcome(looks=10))
        world.begin(batch="auto")

        world.work_to(Phase.CATCHUP)

        assert len(world.batched) == 4
        assert world.batched + world.online == EVERY_TEXT
        assert not world.faults()


def test_what_was_embedded_online_promises_no_end_for_a_job_that_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("undrift.migrate.packing.LEAST_ITEMS", 2)
    with scene(folder, settings={"batch_queue_tokens": 20}) as world:
        world.provider.batches.script(Outcome(looks=1000))
        world.begin(batch="auto")
        operator, worker = world.rig.process("operator"), world.rig.process("worker")
        worker.work(lambda _: operator.plane.status(ALIAS)["progress"]["done"] > 0)
        world.rig.clock.sleep(1.0)

        progress = operator.plane.status(ALIAS)["progress"]

        assert 0 < progress["done"] < progress["total"]
        assert (progress["rate_per_s"], progress["eta_s"], progress["eta_most_s"]) == (None, None, None)


def test_with_auto_a_few_texts_are_not_worth_the_wait(folder: Path) -> None:
    with scene(folder, settings={"batch": "auto"}) as world:
        world.begin(batch="none")

        world.work_to(Phase.CATCHUP)

        assert not world.provider.batches.jobs
        assert world.online == EVERY_TEXT


def test_documents_that_change_while_the_batch_runs_get_the_vector_of_their_text(folder: Path) -> None:
    changed = replace(DOCUMENTS[2], text="another text altogether")
    with scene(folder) as world:
        world.begin()
        worker = world.rig.process("worker")
        shown = []

        def on_call(name: str) -> None:
            if name == "batch.show" and not shown:
                shown.append(name)
                world.write(changed)

        worker.faults.on_call = on_call
        world.work_to(Phase.CATCHUP, worker)

        assert world.online == {changed.text: 1}
        assert not world.faults()
        (job,) = world.jobs()
        assert job.unused == 1


def test_texts_that_stand_in_several_documents_are_paid_for_once(folder: Path) -> None:
    same = documents(*(f"one of three texts: {number % 3}" for number in range(12)))
    with scene(folder, same) as world:
        world.begin()

        world.work_to(Phase.CATCHUP)

        assert world.batched == dict.fromkeys({document.text for document in same}, 1)
        assert not world.online
        assert not world.faults()


def test_jobs_that_run_are_called_off_with_the_migration(folder: Path) -> None:
    with scene(folder) as world:
        world.provider.batches.script(Outcome(looks=1000))
        world.begin()
        worker = world.rig.process("worker")
        worker.work(lambda _: any(job.state is JobState.RUNNING for job in world.jobs()))

        status = world.rig.process("operator").plane.cancel(ALIAS)

        (job,) = world.provider.batches.jobs
        assert job.status == "cancelled"
        assert status["phase"] == "aborted"
        assert status["batches"][0]["state"] == "done"
        assert status["batches"][0]["tokens"] == job.tokens > 0, "what was done until then is billed"
        assert not world.provider.batches.files


def test_a_budget_that_is_too_small_for_a_job_sends_none(folder: Path) -> None:
    with scene(folder) as world:
        world.begin(budget_tokens=40)

        with pytest.raises(BudgetExhausted):
            world.work_to(Phase.CATCHUP)

        assert not world.provider.batches.jobs
        assert not world.online


def test_where_the_vectors_are_lost_they_are_read_once_more_and_not_paid_for(folder: Path) -> None:
    """The worker that had brought them is gone, with its machine and its cache."""
    with scene(folder) as world:
        world.begin()
        first = world.rig.process("worker")
        first.plane._spool._folder = folder / "elsewhere" / "batches"
        first.work(lambda _: any(job.state is JobState.BROUGHT for job in world.jobs()))
        world.rig.kill(first)
        (folder / "ledger.db-vectors").unlink()
        world.rig.clock.sleep(100.0)

        world.work_to(Phase.CATCHUP)

        assert world.batched == EVERY_TEXT
        assert not world.online
        assert not world.faults()


def test_a_pause_is_kept_and_the_work_goes_on_after_it(folder: Path) -> None:
    with scene(folder) as world:
        world.begin()
        worker = world.rig.process("worker")
        worker.work(lambda _: any(job.state is JobState.RUNNING for job in world.jobs()))
        operator = world.rig.process("operator")
        operator.plane.pause(ALIAS)
        asked = len(world.provider.batches.calls)
        for _ in range(20):
            worker.worker().tick()
            world.rig.clock.sleep(60.0)
        assert len(world.provider.batches.calls) == asked

        operator.plane.resume(ALIAS)
        world.work_to(Phase.CATCHUP)

        assert world.batched == EVERY_TEXT
