"""What is sent to a batch API, and what comes back, as the documentation of the providers has it."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import numpy as np
import pytest

from undrift.adapters.embedders.http import HttpEmbedder
from undrift.adapters.embedders.http.batch_dialect import BatchFlavour, read_line, remote_job
from undrift.domain.batch import JobId, Remote, is_queue_full, told_queue_tokens
from undrift.ports.batch import BatchService

FULL = (
    "Enqueued token limit reached for text-embedding-3-small in organization org-x. Limit: 20,000,000 enqueued tokens. "
    "Please try again once some in_progress batches have been completed."
)


def service(**options: object) -> BatchService:
    found = HttpEmbedder(**{"name": "text-embedding-3-small", "api_key": "k", **options}).batches  # type: ignore[arg-type] - options of any model
    assert found is not None
    return found


def test_a_line_is_the_request_that_would_be_sent_online() -> None:
    line = service(dimensions=512).line("k1", "a\u2028b")

    assert line.endswith(b"\n")
    assert line.isascii()
    assert json.loads(line) == {
        "custom_id": "k1",
        "method": "POST",
        "url": "/v1/embeddings",
        "body": {
            "model": "text-embedding-3-small",
            "input": ["a\u2028b"],
            "encoding_format": "base64",
            "dimensions": 512,
        },
    }


def test_a_job_carries_our_name_for_it() -> None:
    assert BatchFlavour().job("file-1", JobId("j1"), {"model": "m", "input": [""]}) == {
        "input_file_id": "file-1",
        "endpoint": "/v1/embeddings",
        "completion_window": "24h",
        "metadata": {"undrift": "j1"},
    }


def test_voyage_is_told_the_model_once_for_the_whole_job() -> None:
    batches = service(name="voyage-4", provider="voyage", dimensions=1024)

    assert json.loads(batches.line("k1", "a text")) == {"custom_id": "k1", "body": {"input": ["a text"]}}
    assert (batches.limits.items, batches.limits.size) == (100_000, 1_000_000_000)
    body = {"model": "voyage-4", "input": [""], "input_type": "document"}
    job = BatchFlavour(window="12h", is_model_of_job=True).job("f", JobId("j"), body)
    assert job["request_params"] == {"model": "voyage-4", "input_type": "document"}
    assert job["completion_window"] == "12h"


@pytest.mark.parametrize("provider", ["cohere", "jina", "ollama"])
def test_a_batch_api_that_is_not_known_to_the_last_word_is_not_used(provider: str) -> None:
    base = {"base_url": "http://localhost:1"} if provider == "ollama" else {}
    assert HttpEmbedder(name="m", provider=provider, api_key="k", dimensions=8, **base).batches is None  # type: ignore[arg-type] - options of any model


def test_a_job_that_ran_out_of_time_is_read_with_what_it_has() -> None:
    remote = remote_job(
        {
            "id": "batch_1",
            "object": "batch",
            "endpoint": "/v1/embeddings",
            "errors": None,
            "input_file_id": "file-1",
            "completion_window": "24h",
            "status": "expired",
            "output_file_id": "file-2",
            "error_file_id": "file-3",
            "created_at": 1711471533,
            "expires_at": 1711557933,
            "request_counts": {"total": 100, "completed": 95, "failed": 5},
            "usage": {"input_tokens": 1500, "total_tokens": 1500},
            "metadata": {"undrift": "j1"},
        }
    )

    assert (remote.status, remote.job, remote.results) == (Remote.EXPIRED, "j1", ("file-2", "file-3"))
    assert (remote.completed, remote.failed, remote.tokens) == (95, 5, 1500)
    assert remote.expires == datetime(2024, 3, 27, 16, 45, 33, tzinfo=UTC)
    assert remote.is_over


def test_a_full_queue_is_told_from_other_failures_with_its_limit() -> None:
    errors = {"object": "list", "data": [{"code": "token_limit_exceeded", "message": FULL, "line": None}]}
    remote = remote_job({"id": "b", "status": "failed", "errors": errors, "metadata": None})

    assert is_queue_full(remote.problem)
    assert told_queue_tokens(remote.problem) == 20_000_000
    assert not is_queue_full("invalid_json_line: This line is not parseable as valid JSON.")
    assert told_queue_tokens("token_limit_exceeded: too many") is None


@pytest.mark.parametrize("value", [{"status": "completed"}, {"id": "", "status": "completed"}, {"id": "b"}])
def test_what_is_no_job_is_refused(value: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"id|None"):
        remote_job(value)


def test_an_answer_in_base64_is_read() -> None:
    packed = base64.b64encode(np.array([0.6, 0.8], dtype="<f4").tobytes()).decode()
    body = {"object": "list", "data": [{"index": 0, "embedding": packed}], "model": "m", "usage": {"total_tokens": 3}}
    response = {"status_code": 200, "request_id": "r", "body": body}

    line = read_line(json.dumps({"id": "batch_req_1", "custom_id": "k1", "response": response, "error": None}))

    assert (line.key, line.body, line.problem) == ("k1", body, "")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            {"custom_id": "k", "response": None, "error": {"code": "batch_expired", "message": "in time"}},
            "batch_expired: in time",
        ),
        (
            {"custom_id": "k", "response": {"status_code": 400, "body": {"error": {"message": "no"}}}, "error": None},
            "no",
        ),
        ({"custom_id": "k", "response": {"status_code": 500, "body": {}}, "error": None}, "status 500"),
    ],
    ids=["expired", "refused", "broken"],
)
def test_a_text_without_a_vector_has_its_reason(line: dict[str, object], problem: str) -> None:
    found = read_line(json.dumps(line))

    assert (found.key, found.body, found.problem) == ("k", None, problem)


def test_a_line_of_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="custom_id"):
        read_line('{"response": {}}')
