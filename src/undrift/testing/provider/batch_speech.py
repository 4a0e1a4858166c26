"""The batch APIs of OpenAI and of Mistral, from the provider's side: what is asked for, and how it is answered."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.parser import BytesParser
from typing import Any, Protocol

from undrift.testing.provider.faults import Refuse
from undrift.testing.provider.server import Arrived
from undrift.testing.provider.speech import Asked, OpenAiSpeech, Speech

#: Rows of an answer's file that belong into one file, by what a job calls the file.
Sheets = dict[str, list[dict[str, Any]]]
#: Status, headers and JSON, or bytes as they are.
Said = tuple[int, Mapping[str, str], Any]
_WINDOW_S = 24 * 3600.0


@dataclass(slots=True, kw_only=True)
class StoredFile:
    """A file that the provider has."""

    id: str
    name: str
    content: bytes
    purpose: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked of the batch endpoints, whatever it was written in.

    Attributes:
        call: `upload`, `files`, `file`, `content`, `remove`, `create`, `list`, `show` or `cancel`; `begin` and
            `keep` for what comes before an upload, or is refused, and changes nothing.
        id: of the file or the job that is meant.
        name: what a file is called by whoever sends it.
        metadata: what is kept with a job, and shown with it.
        purpose: what a file is for; empty in a list for all.
        content: what is in a file that is sent.
        file: the file that a job is made of.
        options: what is said once for all texts of a job.
        after: the last item of the page before.
        most: items on a page.
    """

    call: str
    id: str = ""
    name: str = ""
    purpose: str = ""
    content: bytes = b""
    file: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    after: str = ""
    most: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A part of a list, and whether there is more behind it."""

    items: Sequence[Any]
    has_more: bool


class Shown(Protocol):
    """A job, as it is shown to whoever asks for it."""

    id: str
    file: str
    metadata: Mapping[str, str]
    options: Mapping[str, str]
    status: str
    created: float
    tokens: int
    counts: dict[str, int]
    files: dict[str, str]
    errors: list[dict[str, str]]


class BatchSpeech(Protocol):
    """One provider's batch API, from its side."""

    #: The dialect in which single texts are answered and refused.
    words: Speech
    #: Whether a job whose time was up has answers as far as it came.
    keeps_expired: bool
    #: Whether a queue without room is told at once, and not by a job that fails.
    is_queue_told_at_once: bool

    def understand(self, arrived: Arrived) -> Wanted | None:
        """Return what is asked for, or None when it is no request of this API."""
        ...

    def say(self, wanted: Wanted, found: Any, arrived: Arrived) -> Said:
        """Answer with what was found: a file, a job, a page of either, bytes, a refusal, or nothing."""
        ...

    def read(self, line: Mapping[str, Any], options: Mapping[str, str]) -> tuple[str, Asked | None]:
        """Return the key and the request of a line of a job's file."""
        ...

    def row(self, key: str, status: int, answer: Mapping[str, Any], tokens: int) -> dict[str, Any]:
        """Return a line of a file of answers; the answer is one of `words`."""
        ...

    def expired(self, key: str) -> dict[str, Any]:
        """Return the line of a text for which there was no time."""
        ...

    def sheets(self, answers: list[dict[str, Any]], errors: list[dict[str, Any]]) -> Sheets:
        """Return lines by the files that they go into."""
        ...

    def file_id(self, job: str, number: int) -> str:
        """Return what a file of answers of a job is called; the number is nobody else's."""
        ...


class OpenAiBatchSpeech:
    """`/files` and `/batches`, of Voyage too."""

    words: Speech = OpenAiSpeech()
    keeps_expired = True
    is_queue_told_at_once = False
    _JOB = re.compile(r"(?:/v1)?/batches(?:/([\w-]+))?(/cancel)?")
    _FILE = re.compile(r"(?:/v1)?/files(?:/([\w-]+))?(/content)?")

    def understand(self, arrived: Arrived) -> Wanted | None:
        """Read a request for files or jobs."""
        place, asked = asked_of(arrived)
        if (found := self._JOB.fullmatch(place)) is not None:
            return self._job(arrived, asked, found[1], found[2])
        if (found := self._FILE.fullmatch(place)) is None:
            return None
        if found[1]:
            call = "remove" if arrived.method == "DELETE" else "content" if found[2] else "file"
            return Wanted(call=call, id=found[1])
        if arrived.method == "POST":
            name, purpose, content = form(arrived)
            return Wanted(call="upload", name=name, purpose=purpose, content=content)
        return Wanted(call="files", purpose=asked.get("purpose", ""), **_paging(asked))

    def say(self, wanted: Wanted, found: Any, arrived: Arrived) -> Said:
        """Write OpenAI's objects."""
        del arrived
        match found:
            case None if wanted.call == "remove":
                return 200, {}, {"id": wanted.id, "deleted": True}
            case Refuse():
                return found.status, {}, self.words.say(found)[1]
            case Page():
                shown = [self._shown(one) for one in found.items]
                return 200, {}, {"object": "list", "data": shown, "has_more": found.has_more}
            case bytes():
                return 200, {}, found
            case _:
                return 200, {}, self._shown(found)

    def read(self, line: Mapping[str, Any], options: Mapping[str, str]) -> tuple[str, Asked | None]:
        """Read a request as it would be online."""
        return str(line["custom_id"]), self.words.understand("/v1/embeddings", {**options, **line["body"]})

    def row(self, key: str, status: int, answer: Mapping[str, Any], tokens: int) -> dict[str, Any]:
        """Write an answer as it would be online, or its error."""
        del tokens
        response = {"status_code": status, "request_id": f"req_{key}", "body": answer}
        return {"id": f"batch_req_{key}", "custom_id": key, "response": response, "error": None}

    def expired(self, key: str) -> dict[str, Any]:
        """Write that there was no time."""
        words = {"code": "batch_expired", "message": "This request could not be executed in time."}
        return {"custom_id": key, "response": None, "error": words}

    def sheets(self, answers: list[dict[str, Any]], errors: list[dict[str, Any]]) -> Sheets:
        """Part answers from errors."""
        return {"output_file_id": answers, "error_file_id": errors}

    def file_id(self, job: str, number: int) -> str:
        """Name it as any other file."""
        del job
        return f"file-{number}"

    def _job(self, arrived: Arrived, asked: Mapping[str, str], id: str | None, cancel: str | None) -> Wanted:
        if id is not None:
            return Wanted(call="cancel" if cancel else "show", id=id)
        if arrived.method == "POST":
            body = json.loads(arrived.content)
            file = str(body.get("input_file_id")) if body.get("endpoint") == "/v1/embeddings" else ""
            # Voyage is told the model, and all that is asked of it, once for the whole job.
            options = body.get("request_params") or {}
            return Wanted(call="create", file=file, metadata=body.get("metadata") or {}, options=options)
        return Wanted(call="list", **_paging(asked))

    def _shown(self, one: StoredFile | Shown) -> dict[str, Any]:
        if isinstance(one, StoredFile):
            return {"id": one.id, "object": "file", "filename": one.name, "purpose": one.purpose}
        over = one.status in ("completed", "expired", "cancelled")
        return {
            "id": one.id,
            "object": "batch",
            "endpoint": "/v1/embeddings",
            "input_file_id": one.file,
            "status": one.status,
            "created_at": int(one.created),
            "expires_at": int(one.created + _WINDOW_S),
            "request_counts": one.counts,
            "metadata": one.metadata or None,
            "errors": {"object": "list", "data": one.errors} if one.errors else None,
            "usage": {"input_tokens": one.tokens, "total_tokens": one.tokens} if over else None,
            **one.files,
        }


class MistralBatchSpeech(OpenAiBatchSpeech):
    """`/files` as OpenAI has them, and `/batch/jobs`."""

    _JOB = re.compile(r"(?:/v1)?/batch/jobs(?:/([\w-]+))?(/cancel)?")
    _STATES: Mapping[str, str] = {
        "validating": "QUEUED",
        "in_progress": "RUNNING",
        "finalizing": "RUNNING",
        "completed": "SUCCESS",
        "failed": "FAILED",
        "expired": "TIMEOUT_EXCEEDED",
        "cancelling": "CANCELLATION_REQUESTED",
        "cancelled": "CANCELLED",
    }

    def _job(self, arrived: Arrived, asked: Mapping[str, str], id: str | None, cancel: str | None) -> Wanted:
        if id is not None or arrived.method != "POST":
            # A list is as long as it is: pages are for those who have more jobs than a test.
            return super()._job(arrived, {**asked, "limit": "100"}, id, cancel)
        body = json.loads(arrived.content)
        file = next(iter(body.get("input_files", ())), "") if body.get("endpoint") == "/v1/embeddings" else ""
        options = {"model": str(body.get("model"))}
        return Wanted(call="create", file=file, metadata=body.get("metadata") or {}, options=options)

    def _shown(self, one: StoredFile | Shown) -> dict[str, Any]:
        if isinstance(one, StoredFile):
            return super()._shown(one)
        return {
            "id": one.id,
            "object": "batch",
            "input_files": [one.file],
            "endpoint": "/v1/embeddings",
            "errors": [{"message": error["message"], "count": 1} for error in one.errors],
            "status": self._STATES[one.status],
            "created_at": int(one.created),
            "total_requests": one.counts["total"],
            "completed_requests": one.counts["completed"] + one.counts["failed"],
            "succeeded_requests": one.counts["completed"],
            "failed_requests": one.counts["failed"],
            "metadata": one.metadata or None,
            "output_file": one.files.get("output_file_id"),
            "error_file": one.files.get("error_file_id"),
        }


def asked_of(arrived: Arrived) -> tuple[str, dict[str, str]]:
    """Return the path of a request, and what is asked behind it."""
    place, _, query = arrived.path.partition("?")
    return place, dict(pair.partition("=")[::2] for pair in query.split("&") if pair)


def form(arrived: Arrived) -> tuple[str, str, bytes]:
    """Read an upload: the file's name, its purpose, and what is in it."""
    head = f"Content-Type: {arrived.headers['content-type']}\r\n\r\n".encode()
    parts: list[Any] = list(BytesParser().parsebytes(head + arrived.content).walk())[1:]
    named = {str(part.get_param("name", header="content-disposition")): part for part in parts}
    purpose, file = named["purpose"].get_payload(decode=True), named["file"]
    return str(file.get_filename()), purpose.decode().strip(), file.get_payload(decode=True)


def _paging(asked: Mapping[str, str]) -> dict[str, Any]:
    return {"after": asked.get("after", ""), "most": int(asked.get("limit", 20))}
