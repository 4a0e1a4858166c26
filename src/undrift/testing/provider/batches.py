"""The batch endpoints of the provider: files, jobs that take their time, and answers that get lost."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from undrift.testing.provider.batch_gemini import GeminiBatchSpeech
from undrift.testing.provider.batch_speech import (
    BatchSpeech,
    MistralBatchSpeech,
    OpenAiBatchSpeech,
    Page,
    StoredFile,
    Wanted,
)
from undrift.testing.provider.faults import Refuse
from undrift.testing.provider.server import Arrived
from undrift.testing.provider.speech import Asked, Speech

#: From one text, asked for in a dialect, to status, answer and tokens.
Embed = Callable[[Asked | None, Speech], tuple[int, dict[str, Any], int]]
#: What is told when the queue has no room, by those who tell it at once.
_QUOTA = "You exceeded your current quota, please check your plan and billing details."


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
class Job:
    """A job as the provider has it; `billed` counts its texts that were answered."""

    id: str
    file: str
    created: float
    speech: BatchSpeech
    metadata: Mapping[str, str]
    options: Mapping[str, str]
    outcome: Outcome
    status: str = "validating"
    looks: int = 0
    tokens: int = 0
    queued: int = 0
    tasks: set[str] = field(default_factory=set)
    billed: Counter[str] = field(default_factory=Counter)
    counts: dict[str, int] = field(default_factory=lambda: {"total": 0, "completed": 0, "failed": 0})
    files: dict[str, str] = field(default_factory=dict)
    errors: list[dict[str, str]] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        """Whether nothing becomes of it any more."""
        return self.status in ("completed", "failed", "expired", "cancelled")


class BatchEndpoints:
    """Files and jobs over the models of the provider, as OpenAI, Mistral, Voyage and the Gemini API have them.

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
        self._speeches: tuple[BatchSpeech, ...] = (GeminiBatchSpeech(), MistralBatchSpeech(), OpenAiBatchSpeech())
        self._files: dict[str, StoredFile] = {}
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

    def forget_files(self) -> None:
        """Delete every file, as providers do after some time."""
        with self._lock:
            self._files.clear()

    def speech_for(self, arrived: Arrived) -> Speech | None:
        """Return the dialect of a request that is for these endpoints."""
        return next((speech.words for speech in self._speeches if speech.understand(arrived) is not None), None)

    def answer(self, arrived: Arrived) -> tuple[int, Mapping[str, str], bytes] | None:
        """Answer a request, or hang up."""
        found = ((speech, speech.understand(arrived)) for speech in self._speeches)
        speech, wanted = next((speech, wanted) for speech, wanted in found if wanted is not None)
        with self._lock:
            done = self._do(wanted, speech)
            self._calls.append(wanted.call)
            if self._lost[wanted.call]:
                self._lost[wanted.call] -= 1
                return None
            status, headers, said = speech.say(wanted, done, arrived)
        return status, headers, said if isinstance(said, bytes) else json.dumps(said).encode()

    def _do(self, wanted: Wanted, speech: BatchSpeech) -> Any:
        """Do what is asked for, and return what there is to say of it."""
        match wanted.call:
            case "upload":
                return self._keep(wanted.name, wanted.purpose, wanted.content)
            case "files":
                files = [file for file in self._files.values() if wanted.purpose in ("", file.purpose)]
                return _page(files[::-1], wanted)
            case "file" | "content" | "remove":
                return self._file(wanted)
            case "create":
                return self._create(wanted, speech)
            case "list":
                there = [job for job in self._jobs.values() if self.now() - job.created >= self.hidden_s]
                return _page(there[::-1], wanted)
            case "show" | "cancel":
                return self._job(wanted)
            case _:
                return None

    def _file(self, wanted: Wanted) -> StoredFile | bytes | Refuse | None:
        found = self._files.get(wanted.id)
        if found is None:
            return Refuse(status=404, code="not_found", message=f"No such File object: {wanted.id}")
        if wanted.call == "remove":
            del self._files[wanted.id]
            return None
        return found.content if wanted.call == "content" else found

    def _job(self, wanted: Wanted) -> Job | Refuse:
        job = self._jobs.get(wanted.id)
        if job is None:
            return Refuse(status=404, code="not_found", message=f"No batch found with id '{wanted.id}'.")
        if wanted.call == "show":
            self._proceed(job)
        elif job.is_over:
            return Refuse(status=409, message=f"Cannot cancel a batch with status '{job.status}'.")
        else:
            job.status = "cancelling"
        return job

    def _create(self, wanted: Wanted, speech: BatchSpeech) -> Job | Refuse:
        if wanted.file not in self._files:
            return Refuse(status=400, code="invalid_request", message="the file or the endpoint is not valid")
        job = Job(
            id=f"batch_{len(self._jobs)}",
            file=wanted.file,
            created=self.now(),
            speech=speech,
            metadata=wanted.metadata,
            options=wanted.options,
            outcome=Outcome(),
        )
        if speech.is_queue_told_at_once and self._is_too_much(job):
            return Refuse(status=429, message=_QUOTA)
        if self._outcomes:
            job.outcome = self._outcomes.popleft()
        self._jobs[job.id] = job
        return job

    def _proceed(self, job: Job) -> None:
        """Bring a job on by a look."""
        job.looks += 1
        match job.status:
            case "validating":
                job.status = "in_progress"
                job.counts["total"] = len(self._lines(job))
                if self._is_too_much(job):
                    words = (
                        f"Enqueued token limit reached for this model. Limit: {self.queue_tokens:,} enqueued tokens."
                    )
                    self._fail(job, "token_limit_exceeded", words)
                elif job.outcome.problem is not None:
                    self._fail(job, *job.outcome.problem)
            case "in_progress" if job.looks > job.outcome.looks:
                job.status = "completed" if job.outcome.expires_after is None else "expired"
                self._work(job, job.outcome.expires_after)
            case "cancelling":
                job.status = "cancelled"
                self._work(job, (job.counts["total"] + 1) // 2)
            case _:
                pass

    def _is_too_much(self, job: Job) -> bool:
        """Whether the queue has no room for a job's tokens; they are in it otherwise."""
        texts = [asked.texts[0] for _, asked in self._lines(job) if asked is not None and asked.texts]
        job.queued = sum((len(text) + 4) // 4 for text in texts)
        busy = sum(other.queued for other in self._jobs.values() if other.id != job.id and not other.is_over)
        return self.queue_tokens is not None and busy + job.queued > self.queue_tokens

    def _lines(self, job: Job) -> list[tuple[str, Asked | None]]:
        """Return keys and requests of a job's file."""
        lines = (json.loads(line) for line in self._files[job.file].content.splitlines())
        return [job.speech.read(line, job.options) for line in lines]

    def _fail(self, job: Job, code: str, message: str) -> None:
        job.status, job.queued = "failed", 0
        job.errors = [{"code": code, "message": message}]

    def _work(self, job: Job, most: int | None) -> None:
        """Answer the texts of a job, in an order of its own."""
        job.queued = 0
        if most is not None and not job.speech.keeps_expired:
            return
        lines = self._lines(job)
        self._order.shuffle(lines)
        answers: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        for number, (key, asked) in enumerate(lines):
            if most is not None and number >= most:
                errors.append(job.speech.expired(key))
                continue
            text = asked.texts[0] if asked is not None and asked.texts else ""
            status, answer, tokens = self._embed(asked, job.speech.words)
            if text in self.refuses:
                refused = Refuse(status=400, code="bad_text", message="this text is refused")
                status, answer = 400, job.speech.words.say(refused)[1]
            (answers if status == 200 else errors).append(job.speech.row(key, status, answer, tokens))
            if status == 200 and asked is not None:
                job.tokens += tokens
                job.billed[text] += 1
                job.tasks.add(asked.task)
        job.counts |= {"completed": len(answers), "failed": len(errors)}
        for kind, rows in job.speech.sheets(answers, errors).items():
            if rows:
                self._made += 1
                content = _jsonl(rows)
                file = self._keep(
                    f"{job.id}_{kind}.jsonl", "batch_output", content, job.speech.file_id(job.id, self._made)
                )
                job.files[kind] = file.id

    def _keep(self, name: str, purpose: str, content: bytes, id: str = "") -> StoredFile:
        # Ids are never given twice, though files are deleted.
        self._made += 1
        file = StoredFile(id=id or f"file-{self._made}", name=name, content=content, purpose=purpose)
        self._files[file.id] = file
        return file


def _jsonl(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _page(items: list[Any], wanted: Wanted) -> Page:
    """Return a page of a list, after the item that is named."""
    ids = [item.id for item in items]
    start = ids.index(wanted.after) + 1 if wanted.after in ids else 0
    return Page(items=items[start : start + wanted.most], has_more=len(items) > start + wanted.most)
