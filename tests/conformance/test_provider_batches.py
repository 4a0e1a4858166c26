"""Every batch API against a server that speaks it: its vectors are those of the same model online."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.adapters.embedders.http import HttpEmbedder
from undrift.domain.batch import JobId, Remote
from undrift.errors import ModelChanged, ModelUnavailable
from undrift.ports.batch import BatchService
from undrift.testing.provider import EmbeddingProvider, Outcome

KEY = "secret-of-the-account"
#: Those whose requests, files or jobs differ.
SERVICES = ("openai", "mistral", "voyage", "gemini")
TEXTS = {"k1": "a text", "k2": "another\u2028text", "k3": "grüße, 世界"}


@contextmanager
def served(service: str, *, api_key: str = KEY) -> Iterator[tuple[EmbeddingProvider, HttpEmbedder]]:
    """A model of 64 dimensions that is asked for 32 of them."""
    with EmbeddingProvider({"toy": HashingEmbedder(dimensions=64)}, api_key=KEY) as provider:
        url = provider.root if service == "gemini" else provider.url
        model = HttpEmbedder(
            name="toy", provider=service, base_url=url, api_key=api_key, dimensions=32, native_dimensions=64
        )
        model._sleep = lambda _: None
        try:
            yield provider, model
        finally:
            model.close()


def batches_of(model: HttpEmbedder) -> BatchService:
    found = model.batches
    assert found is not None
    return found


def uploaded(batches: BatchService, folder: Path) -> str:
    path = folder / "job.jsonl"
    path.write_bytes(b"".join(batches.line(key, text) for key, text in TEXTS.items()))
    return batches.upload("undrift-j1-x.jsonl", path)


@pytest.mark.parametrize("service", SERVICES)
def test_vectors_of_a_job_are_those_that_the_model_gives_online(service: str, tmp_path: Path) -> None:
    with served(service) as (provider, model):
        batches = batches_of(model)
        file = uploaded(batches, tmp_path)
        job = batches.create(file, JobId("j1"))
        while not job.is_over:
            job = batches.show(job.id)
        answers = {one.key: one for one in batches.results(job.results[0])}
        online = model.embed_documents(list(TEXTS.values()))

        assert (job.status, job.job, job.completed, job.failed) == (Remote.COMPLETED, "j1", 3, 0)
        assert answers.keys() == TEXTS.keys()
        for key, vector in zip(TEXTS, online, strict=True):
            found = answers[key].vector
            assert found is not None, answers[key].problem
            np.testing.assert_array_equal(found, vector)
        assert provider.batches.jobs[0].tasks == {provider.requests[-1].task}
        assert sum(one.tokens for one in answers.values()) == provider.requests[-1].tokens


@pytest.mark.parametrize("service", SERVICES)
def test_files_are_found_by_name_and_deleted(service: str, tmp_path: Path) -> None:
    with served(service) as (provider, model):
        batches = batches_of(model)
        file = uploaded(batches, tmp_path)

        assert batches.files("undrift-j1-") == {file: "undrift-j1-x.jsonl"}
        assert batches.files("undrift-j2-") == {}
        batches.remove(file)
        batches.remove(file)
        assert not provider.batches.files


@pytest.mark.parametrize("service", ["openai", "gemini"])
def test_a_job_is_found_on_whatever_page_of_the_list_it_stands(service: str, tmp_path: Path) -> None:
    with served(service) as (provider, model):
        batches = batches_of(model)
        file = uploaded(batches, tmp_path)
        now = iter(range(1_700_000_000, 1_800_000_000, 60))
        provider.batches.now = lambda: float(next(now))
        first = batches.create(file, JobId("j1"))
        for number in range(105):
            batches.create(file, JobId(f"other{number}"))
        provider.batches.now = lambda: 1_800_000_000.0

        assert [found.id for found in batches.find(JobId("j1"), since=0.0)] == [first.id]
        assert batches.find(JobId("j1"), since=1_790_000_000.0) == []


@pytest.mark.parametrize("service", SERVICES)
def test_a_key_that_is_not_accepted_is_told_and_not_shown(service: str, tmp_path: Path) -> None:
    with (
        served(service, api_key="another-secret-key") as (_, model),
        pytest.raises(ModelUnavailable, match="does not accept the key") as refused,
    ):
        uploaded(batches_of(model), tmp_path)

    assert "another-secret-key" not in str(refused.value)


def test_a_job_of_another_model_is_not_ours(tmp_path: Path) -> None:
    with served("gemini") as (provider, model):
        batches = batches_of(model)
        job = batches.create(uploaded(batches, tmp_path), JobId("j1"))
        provider.batches.jobs[0].options = {"model": "another"}

        with pytest.raises(ModelChanged, match="with model models/another"):
            batches.show(job.id)


@pytest.mark.parametrize("service", SERVICES)
def test_a_job_that_is_over_is_not_called_off(service: str, tmp_path: Path) -> None:
    with served(service) as (provider, model):
        provider.batches.script(Outcome(looks=0))
        batches = batches_of(model)
        job = batches.create(uploaded(batches, tmp_path), JobId("j1"))
        while not batches.show(job.id).is_over:
            pass

        batches.cancel(job.id)

        assert batches.show(job.id).status is Remote.COMPLETED


def test_answers_of_gemini_that_nobody_can_delete_are_left_to_go_by_themselves(tmp_path: Path) -> None:
    with served("gemini") as (provider, model):
        batches = batches_of(model)
        job = batches.create(uploaded(batches, tmp_path), JobId("j1"))
        while not job.is_over:
            job = batches.show(job.id)

        batches.remove(job.results[0])

        assert len(list(batches.results(job.results[0]))) == 3
        provider.batches.forget_files()
        assert not list(batches.results(job.results[0]))
