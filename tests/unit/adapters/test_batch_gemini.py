"""What is sent to Gemini's batch API, and what comes back, as google-genai 3.4.0 and Google's notebook have it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from undrift.adapters.embedders.http import HttpEmbedder
from undrift.adapters.embedders.http.batch_gemini import GeminiBatches, remote_job
from undrift.domain.batch import JobId, Remote, is_queue_full, told_queue_tokens
from undrift.errors import EmbedderRejected, EmbedderUnavailable
from undrift.ports.batch import BatchService

URL = "https://generativelanguage.googleapis.com"
QUOTA = "You exceeded your current quota, please check your plan and billing details. limit: 12"


def gemini(**options: Any) -> HttpEmbedder:
    return HttpEmbedder(**{"name": "gemini-embedding-001", "provider": "gemini", "api_key": "key-of-ours", **options})


def answering(
    answer: Callable[[httpx2.Request], httpx2.Response], **options: Any
) -> tuple[BatchService, list[httpx2.Request]]:
    """The batch API of a model whose connections lead to a function; what it is asked is kept."""
    model, seen = gemini(**options), list[httpx2.Request]()

    def handle(request: httpx2.Request) -> httpx2.Response:
        request.read()
        seen.append(request)
        return answer(request)

    client = httpx2.Client(transport=httpx2.MockTransport(handle), headers={"x-goog-api-key": "key-of-ours"})
    model._client = lambda: client  # type: ignore[method-assign] - the connections of a test
    model._sleep = lambda _: None
    found = model.batches
    assert found is not None
    return found, seen


def shown(state: str, **more: Any) -> dict[str, Any]:
    """A job as Google shows it."""
    metadata = {
        "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.EmbedContentBatch",
        "model": "models/gemini-embedding-001",
        "displayName": "j1",
        "createTime": "2026-08-19T14:34:12.267870162Z",
        "updateTime": "2026-08-19T14:34:12.267870162Z",
        "batchStats": {"requestCount": "100", "successfulRequestCount": "95", "failedRequestCount": "5"},
        "state": f"BATCH_STATE_{state}",
        "name": "batches/31u18uq6dr4ods",
    }
    return {"name": "batches/31u18uq6dr4ods", "metadata": metadata, **more}


def test_a_line_is_the_request_that_would_be_sent_online_in_the_names_of_files() -> None:
    batches = gemini(dimensions=768).batches
    assert batches is not None

    line = batches.line("k1", "a\u2028b")

    assert line.endswith(b"\n")
    assert line.isascii()
    assert json.loads(line) == {
        "key": "k1",
        "request": {
            "content": {"parts": [{"text": "a\u2028b"}]},
            "task_type": "RETRIEVAL_DOCUMENT",
            "output_dimensionality": 768,
        },
    }


def test_a_model_that_ignores_tasks_is_told_none() -> None:
    batches = gemini(name="gemini-embedding-2").batches
    assert batches is not None

    assert json.loads(batches.line("k1", "x")) == {"key": "k1", "request": {"content": {"parts": [{"text": "x"}]}}}


@pytest.mark.parametrize(
    ("truncation", "key"), [("refuse", "k1:long"), ("split", "k1:long"), ("cut", "k1")], ids=["refuse", "split", "cut"]
)
def test_a_text_that_may_be_too_long_is_marked_unless_it_may_be_cut(truncation: str, key: str) -> None:
    batches = gemini(truncation=truncation).batches
    assert batches is not None

    assert json.loads(batches.line("k1", "x" * 2049))["key"] == key
    assert json.loads(batches.line("k1", "x" * 2048))["key"] == "k1"


@pytest.mark.parametrize(
    ("answer", "is_taken"),
    [
        ({"tokenCount": "2039"}, True),
        ({"tokenCount": "2040"}, False),
        ({"tokenCount": "2048"}, False),
        ({}, False),
    ],
    ids=["fits", "around-the-limit", "at-the-limit", "nobody-knows"],
)
def test_a_vector_that_may_be_of_a_part_of_its_text_is_not_taken(answer: dict[str, str], is_taken: bool) -> None:
    row = {"response": {**answer, "embedding": {"values": [0.6, 0.8]}}, "key": "k1:long"}
    batches, _ = answering(lambda _: httpx2.Response(200, content=json.dumps(row).encode() + b"\n"))

    (found,) = batches.results("files/batch-1")

    assert found.key == "k1"
    assert found.tokens == int(answer.get("tokenCount", 0))
    assert (found.vector is not None, "cut without a word" not in found.problem) == (is_taken, is_taken)


def test_answers_and_errors_are_read_from_one_file() -> None:
    rows = [
        {"response": {"tokenCount": "1", "embedding": {"values": [-0.034119852, 0.0025719088]}}, "key": "k1"},
        {"error": {"code": 3, "message": "no content"}, "key": "k2"},
        {"response": {}, "key": "k3"},
    ]
    content = "\n".join(map(json.dumps, rows)).encode()
    batches, seen = answering(lambda _: httpx2.Response(200, content=content))

    one, two, three = batches.results("files/batch-31u18uq6dr4ods")

    assert str(seen[0].url) == f"{URL}/v1beta/files/batch-31u18uq6dr4ods:download?alt=media"
    assert one.vector is not None
    assert (one.key, one.tokens, one.vector.tolist()) == ("k1", 1, pytest.approx([-0.034119852, 0.0025719088]))
    assert (two.key, two.vector, two.problem) == ("k2", None, "3: no content")
    assert (three.key, three.vector, three.problem) == ("k3", None, "there is no vector")


def test_a_job_is_begun_of_a_file_under_our_name() -> None:
    batches, seen = answering(lambda _: httpx2.Response(200, json=shown("PENDING")))

    remote = batches.create("files/abc", JobId("j1"))

    assert str(seen[0].url) == f"{URL}/v1beta/models/gemini-embedding-001:asyncBatchEmbedContent"
    assert json.loads(seen[0].content) == {"batch": {"displayName": "j1", "inputConfig": {"fileName": "files/abc"}}}
    assert (remote.id, remote.status, remote.job) == ("batches/31u18uq6dr4ods", Remote.VALIDATING, "j1")


def test_a_file_goes_in_two_steps_and_the_key_to_no_other_host(tmp_path: Path) -> None:
    path = tmp_path / "job.jsonl"
    path.write_bytes(b'{"key":"k1"}\n')

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.headers["x-goog-upload-command"] == "start":
            return httpx2.Response(200, headers={"X-Goog-Upload-URL": "https://elsewhere.example/upload/x?upload_id=1"})
        return httpx2.Response(200, json={"file": {"name": "files/abc", "displayName": "undrift-j1-x.jsonl"}})

    batches, seen = answering(answer)

    assert batches.upload("undrift-j1-x.jsonl", path) == "files/abc"
    begun, sent = seen
    assert str(begun.url) == f"{URL}/upload/v1beta/files"
    assert json.loads(begun.content)["file"]["displayName"] == "undrift-j1-x.jsonl"
    assert begun.headers["x-goog-upload-header-content-length"] == "13"
    assert str(sent.url) == f"{URL}/upload/x?upload_id=1"
    assert (sent.headers["x-goog-upload-command"], sent.headers["content-length"]) == ("upload, finalize", "13")
    assert sent.content == path.read_bytes()


def test_a_job_is_read_with_what_it_has() -> None:
    output = {"responsesFile": "files/batch-31u18uq6dr4ods"}
    value = shown("SUCCEEDED", done=True, response=output)

    remote = remote_job(value)

    assert (remote.status, remote.results, remote.tokens) == (Remote.COMPLETED, ("files/batch-31u18uq6dr4ods",), None)
    assert (remote.completed, remote.failed) == (95, 5)
    assert remote.expires == datetime(2026, 8, 21, 14, 34, 12, 267870, tzinfo=UTC)
    value["metadata"]["output"] = {"responsesFile": "files/another"}
    assert remote_job(value).results == ("files/another",)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("PENDING", Remote.VALIDATING),
        ("RUNNING", Remote.IN_PROGRESS),
        ("SUCCEEDED", Remote.COMPLETED),
        ("FAILED", Remote.FAILED),
        ("CANCELLED", Remote.CANCELLED),
        ("EXPIRED", Remote.EXPIRED),
    ],
)
def test_every_word_of_google_s_is_understood(word: str, state: Remote) -> None:
    assert remote_job(shown(word)).status is state


def test_a_job_that_failed_has_its_reason() -> None:
    assert remote_job(shown("FAILED", error={"code": 3, "message": "bad file"})).problem == "3: bad file"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"state": "BATCH_STATE_PAUSED"}, "PAUSED"),
        ({"createTime": "yesterday"}, "yesterday"),
        ({"createTime": None}, "None"),
        ({"state": None}, "None"),
    ],
    ids=["unknown-state", "no-time", "without-time", "without-state"],
)
def test_what_is_no_job_is_refused(change: dict[str, Any], words: str) -> None:
    value = shown("RUNNING")

    with pytest.raises(ValueError, match=words):
        remote_job({**value, "metadata": {**value["metadata"], **change}})


@pytest.mark.parametrize("value", [{}, {"metadata": []}, {**shown("RUNNING"), "name": "../x"}], ids=str)
def test_an_answer_that_is_no_job_is_told_as_one_that_cannot_be_read(value: dict[str, Any]) -> None:
    batches, _ = answering(lambda _: httpx2.Response(200, json=value))

    with pytest.raises(EmbedderUnavailable, match="cannot be read"):
        batches.create("files/abc", JobId("j1"))


@pytest.mark.parametrize("words", [QUOTA, "Resource has been exhausted (e.g. check quota)."], ids=["plan", "resource"])
def test_whatever_google_has_too_much_of_may_be_a_full_queue_and_nothing_was_begun(words: str) -> None:
    error = {"code": 429, "message": words, "status": "RESOURCE_EXHAUSTED"}
    batches, seen = answering(lambda _: httpx2.Response(429, json={"error": error}))

    with pytest.raises(EmbedderUnavailable, match="takes no more batches") as refused:
        batches.create("files/abc", JobId("j1"))

    assert len(seen) == 1

    words = f"{refused.value.message}: {refused.value.detail}"
    assert is_queue_full(words)
    assert told_queue_tokens(words) is None, "the limit may be of anything"


def test_other_refusals_of_a_job_stay_what_they_are() -> None:
    error = {"code": 400, "message": "File files/abc is not in an ACTIVE state.", "status": "FAILED_PRECONDITION"}
    batches, _ = answering(lambda _: httpx2.Response(400, json={"error": error}))

    with pytest.raises(EmbedderRejected, match="refused a request") as refused:
        batches.create("files/abc", JobId("j1"))

    assert not is_queue_full(f"{refused.value.message}: {refused.value.detail}")


def test_the_list_is_read_until_everything_on_a_page_is_too_old() -> None:
    old = {**shown("RUNNING")["metadata"], "createTime": "2025-01-01T00:00:00Z"}
    pages = [
        {"operations": [{**shown("RUNNING"), "metadata": old}, shown("RUNNING")], "nextPageToken": "p2"},
        {"operations": [{**shown("RUNNING"), "metadata": old}], "nextPageToken": "p3"},
    ]
    batches, seen = answering(lambda _: httpx2.Response(200, json=pages[len(seen) - 1]))

    found = batches.find(JobId("j1"), since=datetime(2026, 1, 1, tzinfo=UTC).timestamp())

    assert len(found) == 3
    assert [request.url.params.get("pageToken") for request in seen] == [None, "p2"]


def test_an_empty_list_has_nothing() -> None:
    batches, _ = answering(lambda _: httpx2.Response(200, json={}))

    assert isinstance(batches, GeminiBatches)
    assert batches.find(JobId("j1"), since=0.0) == []
    assert batches.files("undrift-") == {}
