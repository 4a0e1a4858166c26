"""Requests and answers of Mistral's batch API, as its own client 3.7.0 has them: pure functions of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from undrift.adapters.embedders.http.batch_dialect import ENDPOINT, KEY, BatchFlavour, name_of
from undrift.adapters.embedders.http.dialect import within
from undrift.domain.batch import JobId, Remote, RemoteJob

_HOURS = 24
#: Items on a page of a list; pages are counted from 0.
_PAGE = 100
_STATES = {
    "QUEUED": Remote.VALIDATING,
    "RUNNING": Remote.IN_PROGRESS,
    "SUCCESS": Remote.COMPLETED,
    "FAILED": Remote.FAILED,
    "TIMEOUT_EXCEEDED": Remote.EXPIRED,
    "CANCELLATION_REQUESTED": Remote.CANCELLING,
    "CANCELLED": Remote.CANCELLED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MistralBatches(BatchFlavour):
    """Jobs have a path and words of their own; their files are as OpenAI's."""

    jobs: str = "/batch/jobs"

    def line(self, key: str, body: Mapping[str, Any]) -> bytes:
        """Return the request for one text; the model is said of the job."""
        request = {"custom_id": key, "body": {name: value for name, value in body.items() if name != "model"}}
        return json.dumps(request, separators=(",", ":")).encode() + b"\n"

    def job(self, file: str, name: JobId, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return what begins a job of a file."""
        return {
            "input_files": [file],
            "endpoint": ENDPOINT,
            "model": body["model"],
            "timeout_hours": _HOURS,
            "metadata": {KEY: name},
        }

    def remote(self, value: Mapping[str, Any]) -> RemoteJob:
        """Read a job as the provider shows it; it is billed for the tokens of its answers.

        Raises:
            ValueError: it is none.
        """
        status = _STATES.get(str(value.get("status")))
        if status is None:
            raise ValueError(f"a job has the status {value.get('status')!r}, which is not known")
        created = float(value.get("created_at") or 0.0)
        errors = [one for one in value.get("errors") or [] if isinstance(one, Mapping)]
        files = value.get("input_files") or [""]
        return RemoteJob(
            id=name_of(value),
            status=status,
            job=str(within(value, "metadata", KEY) or ""),
            file=str(files[0]),
            results=tuple(str(value[name]) for name in ("output_file", "error_file") if value.get(name)),
            completed=int(value.get("succeeded_requests") or 0),
            failed=int(value.get("failed_requests") or 0),
            tokens=None,
            problem="; ".join(str(one.get("message")) for one in errors if one.get("message")),
            expires=datetime.fromtimestamp(created + _HOURS * 3600.0, UTC) if created else None,
            created=created,
        )

    def files_page(self) -> dict[str, str]:
        """Return what asks for the first page of the files."""
        return {"page": "0", "page_size": str(_PAGE), "purpose": "batch"}

    def jobs_page(self) -> dict[str, str]:
        """Return what asks for the first page of the jobs, the newest first."""
        return {"page": "0", "page_size": str(_PAGE), "order_by": "-created"}

    def next_page(self, asked: Mapping[str, str], page: Mapping[str, Any]) -> dict[str, str] | None:
        """Return what asks for the page after one; None after the last."""
        if len(page["data"]) < _PAGE:
            return None
        return {**asked, "page": str(int(asked["page"]) + 1)}
