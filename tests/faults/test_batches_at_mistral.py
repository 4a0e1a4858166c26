"""Mistral's batch API has a path and words of its own; the jobs fare like all others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.faults.batches import DOCUMENTS, Scene, scene
from undrift.adapters.embedders.http.batch_mistral import MistralBatches
from undrift.domain.batch import JobId, JobState, Remote
from undrift.domain.migration import Phase
from undrift.errors import EmbedderRejected
from undrift.testing.provider import Outcome
from undrift.testing.rig import ALIAS

EVERY_TEXT = {document.text: 1 for document in DOCUMENTS}


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("undrift.migrate.engine._IDLE_S", 5.0)


def paid_once(world: Scene) -> None:
    assert world.batched == EVERY_TEXT
    assert not world.online
    assert not world.faults()
    assert not world.provider.batches.files
    migration = world.rig.migration()
    assert migration is not None
    billed = sum(job.tokens for job in world.provider.batches.jobs)
    assert migration.tokens_before == billed, "the answers say what they cost, the job does not"


@pytest.mark.parametrize("lost", ["", "create", "content"])
def test_a_job_is_made_found_again_and_carried_over(folder: Path, lost: str) -> None:
    with scene(folder, provider="mistral") as world:
        if lost:
            world.provider.batches.lose(lost)
        world.begin()

        world.work_to(Phase.CATCHUP)

        assert [job.state for job in world.jobs()] == [JobState.DONE]
        assert len(world.provider.batches.jobs) == 1
        paid_once(world)


def test_what_expires_goes_into_another_job(folder: Path) -> None:
    with scene(folder, provider="mistral") as world:
        world.provider.batches.script(Outcome(expires_after=5))
        world.begin()

        world.work_to(Phase.CATCHUP)

        assert [job.completed for job in world.jobs()] == [5, len(DOCUMENTS) - 5]
        paid_once(world)


def test_a_job_that_fails_stops_the_work_with_the_provider_s_words(folder: Path) -> None:
    with scene(folder, provider="mistral") as world:
        world.provider.batches.script(Outcome(problem=("bad_file", "a line is not JSON")))
        world.begin()

        with pytest.raises(EmbedderRejected):
            world.work_to(Phase.CATCHUP)

        migration = world.rig.migration()
        assert migration is not None
        assert "a line is not JSON" in migration.reason
        assert not world.batched


def test_jobs_are_called_off_with_the_migration(folder: Path) -> None:
    with scene(folder, provider="mistral") as world:
        world.provider.batches.script(Outcome(looks=1000))
        world.begin()
        worker = world.rig.process("worker").worker(sample=0)
        worker.run(lambda _: any(job.state is JobState.RUNNING for job in world.jobs()))

        world.rig.process("operator").plane.cancel(ALIAS)

        assert [job.status for job in world.provider.batches.jobs] == ["cancelled"]


def test_requests_are_as_mistral_documents_them() -> None:
    """As in the client `mistralai` 3.7.0: models/createbatchjobrequest.py and models/batchjob.py."""
    flavour, body = MistralBatches(), {"model": "mistral-embed", "input": ["a\u2028b"]}

    line = flavour.line("k1", body)
    job = flavour.job("file-1", JobId("j1"), body)

    assert json.loads(line) == {"custom_id": "k1", "body": {"input": ["a\u2028b"]}}
    assert line.isascii()
    assert job == {
        "input_files": ["file-1"],
        "endpoint": "/v1/embeddings",
        "model": "mistral-embed",
        "timeout_hours": 24,
        "metadata": {"undrift": "j1"},
    }


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("QUEUED", Remote.VALIDATING),
        ("RUNNING", Remote.IN_PROGRESS),
        ("SUCCESS", Remote.COMPLETED),
        ("FAILED", Remote.FAILED),
        ("TIMEOUT_EXCEEDED", Remote.EXPIRED),
        ("CANCELLATION_REQUESTED", Remote.CANCELLING),
        ("CANCELLED", Remote.CANCELLED),
    ],
)
def test_every_word_of_mistral_s_is_understood(word: str, state: Remote) -> None:
    shown: dict[str, Any] = {"id": "b1", "status": word, "created_at": 1_700_000_000, "input_files": ["file-1"]}

    assert MistralBatches().remote(shown).status is state


def test_a_word_that_is_not_known_is_no_state() -> None:
    with pytest.raises(ValueError, match="PAUSED"):
        MistralBatches().remote({"id": "b1", "status": "PAUSED"})


def test_lists_are_read_to_their_last_page() -> None:
    flavour, full = MistralBatches(), {"data": [{}] * 100}
    first = flavour.jobs_page()

    second = flavour.next_page(first, full)

    assert (first["page"], second) == ("0", {**first, "page": "1"})
    assert flavour.next_page(second or {}, {"data": [{}] * 99}) is None
