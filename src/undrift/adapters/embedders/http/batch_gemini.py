"""The batch API of the Gemini API: a file of requests, a job of it, and a file of answers.

As Google's client google-genai 3.4.0 has it, and Google's notebook Batch_mode of 2026-07-21 with real answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from undrift.adapters.embedders.http.batch_wire import FILE_TIMEOUT_S, BatchModel, Wire
from undrift.adapters.embedders.http.dialect import Side, named, parse, stacked, whole, within
from undrift.domain.batch import JobId, Remote, RemoteJob
from undrift.domain.space import Truncation
from undrift.errors import EmbedderRejected, EmbedderUnavailable
from undrift.ports.batch import Answered, BatchLimits

#: Google names no number of texts, only the size of a file.
_LIMITS = BatchLimits(items=50_000, size=2_000_000_000, price=0.5)
#: A job that waits or runs for longer is given up, and its files are deleted about then.
_WINDOW = timedelta(hours=48)
#: Jobs or files on a page of a list.
_PAGE = "100"
_MIME = "application/jsonl"
#: Jobs and files are named so, and the names go into addresses.
_NAME = re.compile(r"(?:batches|files)/[\w-]+")
#: A request in a file has the names that Google's own examples have.
_NAMES_IN_FILES = {"taskType": "task_type", "outputDimensionality": "output_dimensionality"}
#: Tokens around a text that may be counted with it or not.
_MARKS = 8
#: Stands behind the key of a text that may be longer than the model takes.
_MAY_BE_LONG = ":long"
_STATES = {
    "PENDING": Remote.VALIDATING,
    "RUNNING": Remote.IN_PROGRESS,
    "SUCCEEDED": Remote.COMPLETED,
    "FAILED": Remote.FAILED,
    "CANCELLED": Remote.CANCELLED,
    "EXPIRED": Remote.EXPIRED,
}


class GeminiBatches:
    """`asyncBatchEmbedContent`, with files through the Files API, for one model.

    A job carries our name as its display name, by which the list of jobs has it again when an answer was lost. A text
    that the model would cut without a word is not taken from a job's answers: online it is counted first.
    """

    def __init__(self, wire: Wire, model: BatchModel) -> None:
        """Use the connections of a model."""
        self._wire, self._dialect, self._confirm = wire, model.dialect, model.confirm
        self._longest = None if model.space.truncation is Truncation.CUT else model.longest

    @property
    def limits(self) -> BatchLimits:
        """What it takes and costs."""
        return _LIMITS

    def line(self, key: str, text: str) -> bytes:
        """Return the request for one text as it would be sent online; the model is said of the job."""
        online = self._dialect.request([text], Side.DOCUMENT).body["requests"][0]
        request = {_NAMES_IN_FILES.get(name, name): value for name, value in online.items() if name != "model"}
        # A token is at least a byte.
        may_be_long = self._longest is not None and len(text.encode()) > self._longest
        line = {"key": key + _MAY_BE_LONG if may_be_long else key, "request": request}
        return json.dumps(line, separators=(",", ":")).encode() + b"\n"

    def upload(self, name: str, path: Path) -> str:
        """Ask where a file may go, and send it there as it is read, once."""
        before, _, version = self._wire.url.rpartition("/")
        size = str(path.stat().st_size)
        begun = self._wire.send(
            "POST",
            f"{before}/upload/{version}/files",
            json={"file": {"displayName": name, "mimeType": _MIME}},
            headers={
                "X-Goog-Upload-Protocol": "resumable",
                "X-Goog-Upload-Command": "start",
                "X-Goog-Upload-Header-Content-Length": size,
                "X-Goog-Upload-Header-Content-Type": _MIME,
            },
        )
        target = urlsplit(begun.headers.get("x-goog-upload-url", ""))
        if not target.path:
            raise self._wire.malformed(ValueError("it does not say where a file goes"))
        # The key goes along, so it stays with the host that it is for.
        here = urlsplit(self._wire.url)
        with path.open("rb") as content:
            answer = self._wire.call(
                "POST",
                target._replace(scheme=here.scheme, netloc=here.netloc).geturl(),
                content=content,
                headers={
                    "X-Goog-Upload-Command": "upload, finalize",
                    "X-Goog-Upload-Offset": "0",
                    "Content-Length": size,
                },
                timeout=FILE_TIMEOUT_S,
            )
        return self._name(within(answer, "file", "name"))

    def files(self, prefix: str) -> dict[str, str]:
        """Return the files at Google whose display names begin so."""
        found = (one for page in self._pages("/files", "files") for one in page)
        return {
            self._name(one.get("name")): str(one.get("displayName"))
            for one in found
            if str(one.get("displayName", "")).startswith(prefix)
        }

    def create(self, file: str, job: JobId) -> RemoteJob:
        """Begin a job; sent once. For a full queue and too many jobs in a while Google has the words of any limit."""
        path = self._dialect.request([""], Side.DOCUMENT).path.partition(":")[0]
        body = {"batch": {"displayName": job, "inputConfig": {"fileName": file}}}
        try:
            return self._remote(self._wire.call("POST", f"{path}:asyncBatchEmbedContent", json=body))
        except (EmbedderRejected, EmbedderUnavailable) as error:
            if "RESOURCE_EXHAUSTED" not in error.detail:
                raise
            raise EmbedderUnavailable(
                f"{self._wire.host} takes no more batches of model {self._wire.model} at the moment",
                f"too many jobs, more enqueued tokens than the account may have, or no money: {error.detail}",
            ) from error

    def find(self, job: JobId, *, since: float) -> list[RemoteJob]:
        """Return the jobs under our name, the oldest first; Google does not say in which order it lists them."""
        found = []
        for page in self._pages("/batches", "operations"):
            jobs = [self._remote(one) for one in page]
            found += [remote for remote in jobs if remote.job == job]
            if jobs and all(remote.created and remote.created < since for remote in jobs):
                break
        return sorted(found, key=lambda remote: (remote.created, remote.id))

    def show(self, batch: str) -> RemoteJob:
        """Return how a job stands; also raises `ModelChanged` when it is another model's."""
        value = self._wire.again(lambda: self._wire.call("GET", f"/{self._name(batch)}"))
        self._confirm(named(within(value, "metadata", "model")))
        return self._remote(value)

    def cancel(self, batch: str) -> None:
        """Call a job off."""
        try:
            self._wire.again(lambda: self._wire.call("POST", f"/{self._name(batch)}:cancel", json={}))
        except (EmbedderRejected, EmbedderUnavailable):
            # It may have come to its end a moment before.
            if not self.show(batch).is_over:
                raise

    def results(self, file: str) -> Iterator[Answered]:
        """Read a file of answers as it comes; one that Google has deleted has none."""
        try:
            for text in self._wire.lines(f"/{self._name(file)}:download?alt=media"):
                yield self._answered(text)
        except EmbedderRejected as error:
            if not _is_gone(error):
                raise

    def remove(self, file: str) -> None:
        """Delete a file; files of answers have names too long for Google to delete, and go by themselves."""
        try:
            self._wire.call("DELETE", f"/{self._name(file)}")
        except EmbedderRejected as error:
            if not _is_gone(error) and "40 characters" not in error.detail:
                raise

    def _answered(self, text: str) -> Answered:
        try:
            value = parse(text.encode())
            key, answer = value.get("key"), value.get("response")
            if not isinstance(key, str):
                raise ValueError("a line has no `key`")
            may_be_long, key = key.endswith(_MAY_BE_LONG), key.removesuffix(_MAY_BE_LONG)
            if not isinstance(answer, Mapping) or "embedding" not in answer:
                return Answered(key=key, problem=_words(value.get("error") or within(value, "response", "error")))
            tokens = _count(answer.get("tokenCount"))
            vector = stacked([within(answer, "embedding", "values")], 1)[0]
        except ValueError as error:
            raise self._wire.malformed(error) from error
        if may_be_long and self._longest is not None and not 0 < tokens < self._longest - _MARKS:
            problem = f"it may be longer than the {self._longest} tokens that the model takes, and cut without a word"
            return Answered(key=key, tokens=tokens, problem=problem)
        return Answered(key=key, vector=vector, tokens=tokens)

    def _remote(self, value: Mapping[str, Any]) -> RemoteJob:
        try:
            return remote_job(value)
        except (TypeError, ValueError) as error:
            raise self._wire.malformed(error) from error

    def _pages(self, path: str, key: str) -> Iterator[list[dict[str, Any]]]:
        asked = {"pageSize": _PAGE}
        while True:
            page = self._wire.again(partial(self._wire.call, "GET", path, params=asked))
            items = page.get(key) or []
            if not isinstance(items, list) or not all(isinstance(one, dict) for one in items):
                raise self._wire.malformed(ValueError(f"a list has no `{key}`"))
            yield items
            if not (token := page.get("nextPageToken")):
                return
            asked = {**asked, "pageToken": str(token)}

    def _name(self, found: object) -> str:
        if not isinstance(found, str) or not _NAME.fullmatch(found):
            raise self._wire.malformed(ValueError(f"{found!r:.80} is no name of a job or a file"))
        return found


def remote_job(value: Mapping[str, Any]) -> RemoteJob:
    """Read a job as Google shows it: an operation whose metadata are the job; its tokens are told with its answers.

    Raises:
        ValueError: it is none.
    """
    shown = value.get("metadata")
    if not isinstance(shown, Mapping):
        raise ValueError("a job has no `metadata`")
    name = value.get("name") or shown.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError("a job has no `name`")
    state = str(shown.get("state"))
    status = _STATES.get(state.rpartition("_")[2])
    if status is None:
        raise ValueError(f"a job has the state {state!r}, which is not known")
    created = datetime.fromisoformat(str(shown.get("createTime"))).astimezone(UTC)
    stats = shown.get("batchStats") or {}
    results = within(shown, "output", "responsesFile") or within(value, "response", "responsesFile")
    return RemoteJob(
        id=name,
        status=status,
        job=str(shown.get("displayName") or ""),
        file=str(within(shown, "inputConfig", "fileName") or ""),
        results=(str(results),) if results else (),
        completed=_count(stats.get("successfulRequestCount")),
        failed=_count(stats.get("failedRequestCount")),
        tokens=None,
        problem=_words(value["error"]) if value.get("error") else "",
        expires=created + _WINDOW,
        created=created.timestamp(),
    )


def _count(number: object) -> int:
    """Return a count, which Google writes as a text; 0 for anything that is none."""
    return int(number) if isinstance(number, str) and number.isdecimal() else whole(number)


def _words(error: object) -> str:
    if not isinstance(error, Mapping):
        return str(error or "there is no vector")
    return ": ".join(str(error[name]) for name in ("status", "code", "message") if error.get(name)) or str(dict(error))


def _is_gone(error: EmbedderRejected) -> bool:
    """Whether something is not there; of files Google says that they are not ours, or may not exist."""
    return error.detail.startswith("HTTP 404") or "may not exist" in error.detail
