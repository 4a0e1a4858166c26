"""Requests and answers of OpenAI's batch API, and of those that took it over: pure functions of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from undrift.adapters.embedders.http import dialect
from undrift.adapters.embedders.http.dialect import within
from undrift.domain.batch import JobId, Remote, RemoteJob

ENDPOINT = "/v1/embeddings"
#: The pair by which a job is found again whose answer was lost.
KEY = "undrift"
#: Jobs on a page of the provider's list.
_PAGE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFlavour:
    """How one provider's batch API differs from OpenAI's.

    Attributes:
        most_items: texts in a job; not only requests.
        most_bytes: bytes of its file.
        price: its price, as a part of that of other requests.
        window: how long the provider may take.
        is_model_of_job: whether model and options are said once, of the job, and not in every line.
        jobs: the path of its jobs.
    """

    most_items: int = 50_000
    most_bytes: int = 200_000_000
    price: float = 0.5
    window: str = "24h"
    is_model_of_job: bool = False
    jobs: str = "/batches"

    def line(self, key: str, body: Mapping[str, Any]) -> bytes:
        """Return the request for one text as a line of a job's file, the line's end included."""
        if self.is_model_of_job:
            request: dict[str, Any] = {"custom_id": key, "body": {"input": body["input"]}}
        else:
            request = {"custom_id": key, "method": "POST", "url": ENDPOINT, "body": dict(body)}
        # ASCII only: no reader can take a separator within a text for the end of a line.
        return json.dumps(request, separators=(",", ":")).encode() + b"\n"

    def job(self, file: str, name: JobId, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return what begins a job of a file.

        Args:
            file: the provider's name for the file.
            name: our name for the job.
            body: the request for any text.
        """
        job = {
            "input_file_id": file,
            "endpoint": ENDPOINT,
            "completion_window": self.window,
            "metadata": {KEY: name},
        }
        if self.is_model_of_job:
            job["request_params"] = {key: value for key, value in body.items() if key != "input"}
        return job

    def remote(self, value: Mapping[str, Any]) -> RemoteJob:
        """Read a job as the provider shows it.

        Raises:
            ValueError: it is none.
        """
        return remote_job(value)

    def files_page(self) -> dict[str, str]:
        """Return what asks for the first page of the files."""
        return {"purpose": "batch", "limit": "10000"}

    def jobs_page(self) -> dict[str, str]:
        """Return what asks for the first page of the jobs, the newest first."""
        return {"limit": str(_PAGE)}

    def next_page(self, asked: Mapping[str, str], page: Mapping[str, Any]) -> dict[str, str] | None:
        """Return what asks for the page after one, which has a list in `data`; None after the last."""
        if not page["data"] or not page.get("has_more"):
            return None
        return {**asked, "after": str(page["data"][-1].get("id"))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a file of answers or errors.

    Attributes:
        key: the text's key.
        body: the answer, as it would be to a request of its own; None when there is none.
        problem: why there is none.
    """

    key: str
    body: Mapping[str, Any] | None = None
    problem: str = ""


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
    counts = value.get("request_counts") or {}
    errors = within(value, "errors", "data") or []
    expires = value.get("expires_at")
    return RemoteJob(
        id=name_of(value),
        status=Remote(value.get("status")),
        job=str(within(value, "metadata", KEY) or ""),
        file=str(value.get("input_file_id") or ""),
        results=tuple(str(value[name]) for name in ("output_file_id", "error_file_id") if value.get(name)),
        completed=int(counts.get("completed") or 0),
        failed=int(counts.get("failed") or 0),
        tokens=dialect.whole(within(value, "usage", "total_tokens")) or None,
        problem="; ".join(_problem(one) for one in errors if isinstance(one, Mapping)),
        expires=datetime.fromtimestamp(expires, UTC) if isinstance(expires, int | float) else None,
        created=float(value.get("created_at") or 0.0),
    )


def read_line(text: str) -> Line:
    """Read a line of a file of answers or errors.

    Raises:
        ValueError: it is none.
    """
    value = dialect.parse(text.encode())
    key = value.get("custom_id")
    if not isinstance(key, str):
        raise ValueError("a line has no `custom_id`")
    body = within(value, "response", "body")
    status = within(value, "response", "status_code")
    error = value.get("error") or within(value, "response", "body", "error")
    if error or not isinstance(body, Mapping) or not isinstance(status, int) or status >= 400:
        return Line(
            key=key, problem=_problem(error) if isinstance(error, Mapping) else str(error or f"status {status}")
        )
    return Line(key=key, body=body)


def _problem(error: Mapping[str, Any]) -> str:
    return ": ".join(str(error[name]) for name in ("code", "message") if error.get(name)) or str(dict(error))
