"""The batch endpoints of the provider: files, jobs that take their time, and answers that get lost."""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.parser import BytesParser
from typing import Any

from undrift.testing.provider.server import Arrived

#: From the request for one text to status, answer and tokens.
Embed = Callable[[Mapping[str, Any]], tuple[int, dict[str, Any], int]]
#: Status and JSON, or bytes as they are; None to hang up.
Reply = tuple[int, Any] | None

_BATCH = re.compile(r"(?:/v1)?/batches(?:/([\w-]+))?(/cancel)?")
_MISTRAL = re.compile(r"(?:/v1)?/batch/jobs(?:/([\w-]+))?(/cancel)?")
#: What Mistral calls the states of a job.
_WORDS = {
    "validating": "QUEUED",
    "in_progress": "RUNNING",
    "finalizing": "RUNNING",
    "completed": "SUCCESS",
    "failed": "FAILED",
    "expired": "TIMEOUT_EXCEEDED",
    "cancelling": "CANCELLATION_REQUESTED",
    "cancelled": "CANCELLED",
}
_FILE = re.compile(r"(?:/v1)?/files(?:/([\w-]+))?(/content)?")
_WINDOW_S = 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What becomes of a job.

    Attributes:
        looks: how often it is looked at before it is over.
        expires_after: so many texts are answered, and the time is up for the rest; None for all of them.
        problem: code and message with which it fails as a whole.
    """

    looks: int = 1
    expires_after: int | None = None
    problem: tuple[str, str] | None = None


@dataclass(slots=True, kw_only=True)
class _File:
    id: str
    name: str
    content: bytes
    purpose: str


@dataclass(slots=True, kw_only=True)
class Job:
    """A job as the provider has it; `billed` counts its texts that were answered."""

    id: str
    file: str
    metadata: dict[str, str]
    created: float
    options: dict[str, str] = field(default_factory=dict)
    outcome: Outcome
    status: str = "validating"
    looks: int = 0
    tokens: int = 0
    queued: int = 0
    billed: Counter[str] = field(default_factory=Counter)
    counts: dict[str, int] = field(default_factory=lambda: {"total": 0, "completed": 0, "failed": 0})
    files: dict[str, str] = field(default_factory=dict)
    errors: list[dict[str, str]] = field(default_factory=list)


class BatchEndpoints:
    """`/files` and `/batches` as OpenAI has them, and `/batch/jobs` as Mistral, over the models of the provider.

    Attributes:
        queue_tokens: most tokens of all jobs that are not over; None for any number.
        refuses: texts that get an error instead of a vector.
        hidden_s: so long after it was made, a job is not in the list yet.
        now: the time, in seconds since 1970.
    """

    def __init__(self, embed: Embed) -> None:
        """Have no files and no jobs."""
        self.queue_tokens: int | None = None
        self.refuses: set[str] = set()
        self.hidden_s = 0.0
        self.now: Callable[[], float] = time.time
        self._embed = embed
        self._files: dict[str, _File] = {}
        self._jobs: dict[str, Job] = {}
        self._outcomes: deque[Outcome] = deque()
        self._lost: Counter[str] = Counter()
        self._calls: list[str] = []
        self._order = random.Random(7)
        self._made = 0
        self._lock = threading.RLock()

    @property
    def jobs(self) -> list[Job]:
        """Every job that was ever made, the oldest first."""
        with self._lock:
            return list(self._jobs.values())

    @property
    def billed(self) -> Counter[str]:
        """How often each text was answered, and so paid for."""
        with self._lock:
            return sum((job.billed for job in self._jobs.values()), Counter[str]())

    @property
    def calls(self) -> list[str]:
        """What was asked for, in order: `upload`, `files`, `content`, `remove`, `create`, `list`, `show`, `cancel`."""
        with self._lock:
            return list(self._calls)

    @property
    def files(self) -> list[str]:
        """The names of the files that are there."""
        with self._lock:
            return [file.name for file in self._files.values()]

    def script(self, *outcomes: Outcome) -> None:
        """Say what becomes of the next jobs, one each; those after them are done at the second look."""
        with self._lock:
            self._outcomes.extend(outcomes)

    def lose(self, call: str, times: int = 1) -> None:
        """Do what is asked for by a call, and hang up instead of answering."""
        with self._lock:
            self._lost[call] += times

    def answer(self, arrived: Arrived) -> tuple[int, Mapping[str, str], bytes] | None:
        """Answer a request, or hang up."""
        reply = self._reply(arrived.method, arrived.path, arrived.headers, arrived.content)
        if reply is None:
            return None
        status, found = reply
        return status, {}, found if isinstance(found, bytes) else json.dumps(found).encode()

    def _reply(self, method: str, path: str, headers: Mapping[str, str], content: bytes) -> Reply:
        place, _, query = path.partition("?")
        asked = dict(pair.partition("=")[::2] for pair in query.split("&") if pair)
        with self._lock:
            if (found := _BATCH.fullmatch(place)) is not None:
                call, reply = self._batch(method, found[1], found[2], asked, content)
            elif (found := _MISTRAL.fullmatch(place)) is not None:
                call, reply = self._batch(method, found[1], found[2], _limits(asked), _from_mistral(content))
                reply = reply if reply is None else (reply[0], _as_mistral(reply[1]))
            elif (found := _FILE.fullmatch(place)) is not None and not found[1] and method == "POST":
                call, reply = "upload", (200, _named(self._keep(*_form(headers, content))))
            elif found is not None:
                call, reply = self._file(method, found[1], found[2], asked)
            else:
                return _missing("no such endpoint")
            self._calls.append(call)
            if self._lost[call]:
                self._lost[call] -= 1
                return None
            return reply

    def _batch(
        self, method: str, id: str | None, cancel: str | None, asked: Mapping[str, str], content: bytes
    ) -> tuple[str, Reply]:
        if id is None:
            return ("create", self._create(json.loads(content))) if method == "POST" else ("list", self._list(asked))
        job = self._jobs.get(id)
        if job is None:
            return "show", _missing(f"No batch found with id '{id}'.")
        if cancel:
            if job.status in ("completed", "failed", "expired", "cancelled"):
                return "cancel", (409, {"error": {"message": f"Cannot cancel a batch with status '{job.status}'."}})
            job.status = "cancelling"
            return "cancel", (200, self._shown(job))
        self._proceed(job)
        return "show", (200, self._shown(job))

    def _file(self, method: str, id: str | None, whole: str | None, asked: Mapping[str, str]) -> tuple[str, Reply]:
        if id is None:
            purpose = asked.get("purpose")
            shown = [_named(file) for file in self._files.values() if purpose in (None, file.purpose)]
            return "files", (200, _page(shown[::-1], asked))
        found = self._files.get(id)
        if found is None:
            return "content", _missing(f"No such File object: {id}")
        if method == "DELETE":
            del self._files[id]
            return "remove", (200, {"id": id, "deleted": True})
        return "content", (200, found.content if whole else {"id": id, "filename": found.name})

    def _create(self, body: Mapping[str, Any]) -> Reply:
        if body.get("input_file_id") not in self._files or body.get("endpoint") != "/v1/embeddings":
            return 400, {"error": {"code": "invalid_request", "message": "input_file_id or endpoint is not valid"}}
        id = f"batch_{len(self._jobs)}"
        self._jobs[id] = Job(
            id=id,
            file=body["input_file_id"],
            metadata=dict(body.get("metadata") or {}),
            options={"model": body["model"]} if "model" in body else {},
            created=self.now(),
            outcome=self._outcomes.popleft() if self._outcomes else Outcome(),
        )
        return 200, self._shown(self._jobs[id])

    def _list(self, asked: Mapping[str, str]) -> Reply:
        there = [job for job in self._jobs.values() if self.now() - job.created >= self.hidden_s]
        return 200, _page([self._shown(job) for job in there[::-1]], asked)

    def _proceed(self, job: Job) -> None:
        """Bring a job on by a look."""
        job.looks += 1
        match job.status:
            case "validating":
                job.status = "in_progress"
                lines = [json.loads(line) for line in self._files[job.file].content.splitlines()]
                job.counts["total"] = len(lines)
                job.queued = sum(len(str(line["body"]["input"])) // 4 for line in lines)
                busy = sum(other.queued for other in self._jobs.values() if other.status == "in_progress")
                if self.queue_tokens is not None and busy > self.queue_tokens:
                    words = (
                        f"Enqueued token limit reached for this model. Limit: {self.queue_tokens:,} enqueued tokens."
                    )
                    self._fail(job, "token_limit_exceeded", words)
                elif job.outcome.problem is not None:
                    self._fail(job, *job.outcome.problem)
            case "in_progress" if job.looks > job.outcome.looks:
                job.status = "finalizing"
                self._work(job, job.outcome.expires_after)
                job.status = "completed" if job.outcome.expires_after is None else "expired"
            case "cancelling":
                self._work(job, (job.counts["total"] + 1) // 2)
                job.status = "cancelled"
            case _:
                pass

    def _fail(self, job: Job, code: str, message: str) -> None:
        job.status, job.queued = "failed", 0
        job.errors = [{"code": code, "message": message}]

    def _work(self, job: Job, most: int | None) -> None:
        """Answer the texts of a job, in an order of its own."""
        lines = [json.loads(line) for line in self._files[job.file].content.splitlines()]
        self._order.shuffle(lines)
        answers: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        for number, line in enumerate(lines):
            if most is not None and number >= most:
                words = {"code": "batch_expired", "message": "This request could not be executed in time."}
                errors.append({"custom_id": line["custom_id"], "response": None, "error": words})
                continue
            text = line["body"]["input"][0]
            status, answer, tokens = self._embed({**job.options, **line["body"]})
            if text in self.refuses:
                status, answer = 400, {"error": {"code": "bad_text", "message": "this text is refused"}}
            response = {"status_code": status, "request_id": f"req_{number}", "body": answer}
            (answers if status == 200 else errors).append(
                {"id": f"batch_req_{number}", "custom_id": line["custom_id"], "response": response, "error": None}
            )
            if status == 200:
                job.tokens += tokens
                job.billed[text] += 1
        job.queued = 0
        job.counts |= {"completed": len(answers), "failed": len(errors)}
        for kind, found in (("output_file_id", answers), ("error_file_id", errors)):
            if found:
                content = "".join(json.dumps(one) + "\n" for one in found).encode()
                job.files[kind] = self._keep(f"{job.id}_{kind}.jsonl", "batch_output", content).id

    def _keep(self, name: str, purpose: str, content: bytes) -> _File:
        # Ids are never given twice, though files are deleted.
        self._made += 1
        file = _File(id=f"file-{self._made}", name=name, content=content, purpose=purpose)
        self._files[file.id] = file
        return file

    def _shown(self, job: Job) -> dict[str, Any]:
        over = job.status in ("completed", "expired", "cancelled")
        return {
            "id": job.id,
            "object": "batch",
            "endpoint": "/v1/embeddings",
            "input_file_id": job.file,
            "status": job.status,
            "created_at": int(job.created),
            "expires_at": int(job.created + _WINDOW_S),
            "request_counts": job.counts,
            "metadata": job.metadata or None,
            "errors": {"object": "list", "data": job.errors} if job.errors else None,
            "usage": {"input_tokens": job.tokens, "total_tokens": job.tokens} if over else None,
            **job.files,
        }


def _from_mistral(content: bytes) -> bytes:
    """Turn what begins a job at Mistral into what begins one at OpenAI."""
    body = json.loads(content) if content else {}
    return json.dumps({**body, "input_file_id": next(iter(body.get("input_files", ())), None)}).encode()


def _as_mistral(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """Show a job, or a list of them, in Mistral's words; what is an error is one."""
    if "data" in found:
        return {"object": "list", "data": [_as_mistral(one) for one in found["data"]], "total": len(found["data"])}
    if "status" not in found:
        return found
    counts = found["request_counts"]
    return {
        "id": found["id"],
        "object": "batch",
        "input_files": [found["input_file_id"]],
        "endpoint": found["endpoint"],
        "errors": [{"message": one["message"], "count": 1} for one in (found["errors"] or {}).get("data", ())],
        "status": _WORDS[found["status"]],
        "created_at": found["created_at"],
        "total_requests": counts["total"],
        "completed_requests": counts["completed"] + counts["failed"],
        "succeeded_requests": counts["completed"],
        "failed_requests": counts["failed"],
        "metadata": found["metadata"],
        "output_file": found.get("output_file_id"),
        "error_file": found.get("error_file_id"),
    }


def _limits(asked: Mapping[str, str]) -> dict[str, str]:
    """Let a list be as long as it is: pages are for those who have more jobs than a test."""
    return {**asked, "limit": "100"}


def _page(items: list[dict[str, Any]], asked: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of a list, after the item that is named."""
    ids = [item["id"] for item in items]
    start = ids.index(asked["after"]) + 1 if asked.get("after") in ids else 0
    most = int(asked.get("limit", 20))
    return {"object": "list", "data": items[start : start + most], "has_more": len(items) > start + most}


def _named(file: _File) -> dict[str, str]:
    return {"id": file.id, "object": "file", "filename": file.name, "purpose": file.purpose}


def _missing(words: str) -> Reply:
    return 404, {"error": {"message": words, "type": "invalid_request_error", "code": "not_found"}}


def _form(headers: Mapping[str, str], content: bytes) -> tuple[str, str, bytes]:
    """Read an upload: the file's name, its purpose, and what is in it."""
    head = f"Content-Type: {headers['content-type']}\r\n\r\n".encode()
    parts: list[Any] = list(BytesParser().parsebytes(head + content).walk())[1:]
    named = {str(part.get_param("name", header="content-disposition")): part for part in parts}
    purpose, file = named["purpose"].get_payload(decode=True), named["file"]
    return str(file.get_filename()), purpose.decode().strip(), file.get_payload(decode=True)
