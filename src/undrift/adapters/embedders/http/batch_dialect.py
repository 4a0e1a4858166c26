"""Requests and answers of OpenAI's batch API: pure functions between JSON and what a job is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from undrift.adapters.embedders.http import dialect
from undrift.domain.batch import JobId, Remote, RemoteJob
from undrift.ports.batch import Answered

#: What a job may hold, by OpenAI's documentation: texts (not only requests), and bytes of its file.
MOST_ITEMS = 50_000
MOST_BYTES = 200_000_000
_ENDPOINT = "/v1/embeddings"
#: The pair by which a job is found again whose answer was lost.
_KEY = "undrift"
#: Words by which providers that speak this dialect call the same states.
_STATUS = {"canceled": Remote.CANCELLED, "cancelling": Remote.CANCELLING, "queued": Remote.VALIDATING}


def line(key: str, body: Mapping[str, Any]) -> bytes:
    """Return one request of a job's file, the line's end included."""
    request = {"custom_id": key, "method": "POST", "url": _ENDPOINT, "body": body}
    # ASCII only: no reader can take a separator within a text for the end of a line.
    return json.dumps(request, separators=(",", ":")).encode() + b"\n"


def job_body(file: str, job: JobId) -> dict[str, Any]:
    """Return what begins a job."""
    return {"input_file_id": file, "endpoint": _ENDPOINT, "completion_window": "24h", "metadata": {_KEY: job}}


def name_of(value: Mapping[str, Any]) -> str:
    """Return the provider's name for something it has made.

    Raises:
        ValueError: there is none.
    """
    found = value.get("id")
    if not isinstance(found, str) or not found:
        raise ValueError("it has no `id`")
    return found


def remote_job(value: Mapping[str, Any]) -> RemoteJob:
    """Read a job as the provider shows it.

    Raises:
        ValueError: it is none.
    """
    status = str(value.get("status", ""))
    counts = value.get("request_counts") or {}
    usage = value.get("usage") or {}
    tokens = usage.get("total_tokens") or usage.get("input_tokens")
    errors = (value.get("errors") or {}).get("data") or []
    expires = value.get("expires_at")
    return RemoteJob(
        id=name_of(value),
        status=_STATUS.get(status) or Remote(status),
        job=str((value.get("metadata") or {}).get(_KEY, "")),
        file=str(value.get("input_file_id") or ""),
        results=tuple(str(value[name]) for name in ("output_file_id", "error_file_id") if value.get(name)),
        completed=int(counts.get("completed") or 0),
        failed=int(counts.get("failed") or 0),
        tokens=tokens if isinstance(tokens, int) and tokens > 0 else None,
        problem="; ".join(_problem(one) for one in errors if isinstance(one, dict)),
        expires=datetime.fromtimestamp(expires, UTC) if isinstance(expires, int | float) else None,
        created=float(value.get("created_at") or 0.0),
    )


def answered(text: str) -> tuple[Answered, object]:
    """Read a line of a file of answers or errors.

    Returns:
        What became of one text, and the model that the answer names.

    Raises:
        ValueError: it is none, or its vector cannot be read.
    """
    value = dialect.parse(text.encode())
    key = value.get("custom_id")
    if not isinstance(key, str):
        raise ValueError("a line has no `custom_id`")
    response = value.get("response") or {}
    body = response.get("body") or {}
    error = value.get("error") or body.get("error")
    status = response.get("status_code")
    if error or not isinstance(status, int) or status >= 400:
        words = _problem(error) if isinstance(error, dict) else str(error or f"status {status}")
        return Answered(key=key, problem=words), None
    vector = dialect.vectors(body, 1)[0]
    return Answered(key=key, vector=vector, tokens=dialect.billed_tokens(body)), body.get("model")


def _problem(error: Mapping[str, Any]) -> str:
    return ": ".join(str(error[name]) for name in ("code", "message") if error.get(name)) or str(dict(error))
