"""Batch APIs that have words of their own: the jobs fare like all others."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.faults.batches import DOCUMENTS, SERVICES, Scene, scene
from undrift.domain.batch import JobState
from undrift.domain.migration import Phase
from undrift.errors import EmbedderRejected
from undrift.testing.provider import Outcome
from undrift.testing.rig import ALIAS

EVERY_TEXT = {document.text: 1 for document in DOCUMENTS}
OTHERS = ("mistral", "gemini")


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("undrift.migrate.engine._IDLE_S", 5.0)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for takes half an hour, not seconds."""
    monkeypatch.setattr("undrift.migrate.engine._IDLE_S", 25.0)


def paid_once(world: Scene) -> None:
    assert world.batched == EVERY_TEXT
    assert not world.online
    assert not world.faults()
    assert not world.litter
    migration = world.rig.migration()
    assert migration is not None
    billed = sum(job.tokens for job in world.provider.batches.jobs)
    assert migration.tokens_before == billed, "the answers say what they cost, the job does not"


@pytest.mark.parametrize("lost", ["", "create", "content"])
def test_a_job_is_made_found_again_and_carried_over(folder: Path, lost: str) -> None:
    with scene(folder, service="mistral") as world:
        if lost:
            world.provider.batches.lose(lost)
        world.begin()

        world.work_to(Phase.CATCHUP)

        assert [job.state for job in world.jobs()] == [JobState.DONE]
        assert len(world.provider.batches.jobs) == 1
        paid_once(world)


@pytest.mark.parametrize(("service", "answered"), [("mistral", 5), ("gemini", 0)])
def test_what_expires_goes_into_another_job(folder: Path, service: str, answered: int) -> None:
    """At Gemini nothing is left of it, however far it came."""
    with scene(folder, service=service) as world:
        world.provider.batches.script(Outcome(expires_after=5))
        world.begin()

        world.work_to(Phase.CATCHUP)

        assert [job.completed for job in world.jobs()] == [answered, len(DOCUMENTS) - answered]
        paid_once(world)


@pytest.mark.parametrize("service", OTHERS)
def test_a_job_that_fails_stops_the_work_with_the_provider_s_words(folder: Path, service: str) -> None:
    with scene(folder, service=service) as world:
        world.provider.batches.script(Outcome(problem=("bad_file", "a line is not JSON")))
        world.begin()

        with pytest.raises(EmbedderRejected):
            world.work_to(Phase.CATCHUP)

        migration = world.rig.migration()
        assert migration is not None
        assert "a line is not JSON" in migration.reason
        assert not world.batched


@pytest.mark.parametrize("service", OTHERS)
def test_jobs_are_called_off_with_the_migration(folder: Path, service: str) -> None:
    with scene(folder, service=service) as world:
        world.provider.batches.script(Outcome(looks=1000))
        world.begin()
        worker = world.rig.process("worker").worker(sample=0)
        worker.run(lambda _: any(job.state is JobState.RUNNING for job in world.jobs()))

        world.rig.process("operator").plane.cancel(ALIAS)

        assert [job.status for job in world.provider.batches.jobs] == ["cancelled"]


@pytest.mark.parametrize("service", OTHERS)
def test_a_text_that_a_job_refuses_is_tried_online(folder: Path, service: str) -> None:
    odd = DOCUMENTS[5]
    with scene(folder, service=service) as world:
        world.provider.batches.refuses = {odd.text}
        world.begin()

        world.work_to(Phase.CATCHUP)

        (job,) = world.jobs()
        assert (job.completed, job.failed) == (len(DOCUMENTS) - 1, 1)
        assert "this text is refused" in job.reason
        assert world.online == {odd.text: 1}
        assert not world.faults()


@pytest.mark.usefixtures("slow")
def test_a_queue_without_room_that_is_told_at_once_makes_smaller_jobs(folder: Path) -> None:
    """Three pieces of four texts of five tokens each: two of them do not fit at a time, and Google names no number."""
    with scene(folder, service="gemini") as world:
        world.provider.batches.queue_tokens = 30
        world.begin()

        world.work_to(Phase.CATCHUP)

        assert len(world.provider.batches.jobs) == 3
        assert any("enqueued tokens" in job.reason for job in world.jobs())
        assert world.provider.batches.calls.count("create") < 50, "asked for half an hour, ever less often"
        paid_once(world)


@pytest.mark.usefixtures("slow")
def test_a_provider_that_takes_no_jobs_for_a_while_is_waited_for_with_the_same_job(folder: Path) -> None:
    """Of Google it is told that a limit on jobs is over after 20 minutes."""
    with scene(folder, service="gemini") as world:
        world.provider.batches.queue_tokens = 0
        world.begin()
        worker = world.rig.process("worker")
        worker.work(lambda _: any("no more batches" in job.reason for job in world.jobs()))
        until = world.rig.clock.now() + timedelta(minutes=20)
        worker.work(lambda _: world.rig.clock.now() >= until)
        world.provider.batches.queue_tokens = None

        world.work_to(Phase.CATCHUP)

        (job,) = world.jobs()
        assert (job.state, job.reason) == (JobState.DONE, "")
        paid_once(world)


@pytest.mark.parametrize("service", SERVICES)
def test_a_file_that_the_provider_has_deleted_is_sent_again(folder: Path, service: str) -> None:
    with scene(folder, service=service) as world:
        world.begin()
        worker = world.rig.process("worker")
        worker.work(lambda _: any(job.state is JobState.UPLOADED for job in world.jobs()))
        world.provider.batches.forget_files()

        world.work_to(Phase.CATCHUP, worker)

        assert world.provider.batches.calls.count("upload") == 2
        assert len(world.provider.batches.jobs) == 1
        paid_once(world)


def test_a_text_that_gemini_would_cut_without_a_word_gets_no_vector_of_a_job(folder: Path) -> None:
    """It is billed there, and then counted and refused online. One that is merely long has its vector."""
    long = replace(DOCUMENTS[3], text="too many words " * 4000)
    fits = replace(DOCUMENTS[4], text="many words " * 1500)
    with scene(folder, [*DOCUMENTS[:3], long, fits, *DOCUMENTS[5:]], service="gemini", max_tokens=8192) as world:
        world.begin()

        world.work_to(Phase.CATCHUP)

        quarantined = world.rig.ledger_within().quarantined(ALIAS)
        assert {one.key: one.reason for one in quarantined} == {long.id: "text_too_long"}
        (job,) = world.jobs()
        assert (job.completed, job.failed) == (len(DOCUMENTS) - 1, 1)
        assert "cut without a word" in job.reason
        assert not world.online
        assert not world.faults()


def test_a_text_is_cut_by_a_job_where_the_model_says_so(folder: Path) -> None:
    long = replace(DOCUMENTS[3], text=("too many words " * 4000).strip())
    documents = [*DOCUMENTS[:3], long, *DOCUMENTS[4:]]
    with scene(folder, documents, service="gemini", max_tokens=8192, truncation="cut") as world:
        world.begin()

        world.work_to(Phase.CATCHUP)

        assert world.batched == {document.text: 1 for document in documents}
        assert not world.online
        assert not world.faults()


def test_answers_that_google_has_deleted_go_into_another_job_and_are_counted_as_paid(folder: Path) -> None:
    """Files are kept for 48 hours: a worker that was away for longer comes too late."""
    with scene(folder, service="gemini") as world:
        world.begin(budget_tokens=100_000)
        first = world.rig.process("first")
        first.work(lambda _: any(job.state is JobState.ENDED for job in world.jobs()))
        world.rig.kill(first)
        world.rig.bury_the_killed()
        world.provider.batches.forget_files()

        world.work_to(Phase.CATCHUP)

        late, again = world.jobs()
        assert (late.completed, again.completed) == (0, len(DOCUMENTS))
        assert "12 of its texts have no answer" in late.reason
        assert set(world.batched.values()) == {2}
        assert not world.online
        assert not world.faults()
        migration = world.rig.migration()
        assert migration is not None
        assert migration.tokens_before >= sum(job.tokens for job in world.provider.batches.jobs)
