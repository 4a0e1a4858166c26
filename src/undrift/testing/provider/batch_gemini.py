"""The batch API of the Gemini API, from Google's side: files in two steps, and jobs that are operations."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote

from undrift.testing.provider.batch_speech import Page, Said, Sheets, Shown, StoredFile, Wanted, asked_of
from undrift.testing.provider.clouds import GeminiSpeech
from undrift.testing.provider.faults import Refuse
from undrift.testing.provider.server import Arrived
from undrift.testing.provider.speech import Asked, Speech

_STATES = {
    "validating": "PENDING",
    "in_progress": "RUNNING",
    "finalizing": "RUNNING",
    "completed": "SUCCEEDED",
    "failed": "FAILED",
    "expired": "EXPIRED",
    # Google has no word for it: a job that is being called off runs.
    "cancelling": "RUNNING",
    "cancelled": "CANCELLED",
}
#: Longest name of a file that can be deleted; those of files of answers are longer.
_LONGEST_NAME = 40


class GeminiBatchSpeech:
    """`asyncBatchEmbedContent`, `/batches` and the Files API."""

    words: Speech = GeminiSpeech()
    keeps_expired = False
    is_queue_told_at_once = True
    _UPLOAD = re.compile(r"/upload/v1beta/files")
    _FILE = re.compile(r"/v1beta/files(?:/([\w-]+))?(:download)?")
    _CREATE = re.compile(r"/v1beta/models/([^/:]+):asyncBatchEmbedContent")
    _JOB = re.compile(r"/v1beta/batches(?:/([\w-]+))?(:cancel)?")

    def understand(self, arrived: Arrived) -> Wanted | None:
        """Read a request for files or jobs."""
        place, asked = asked_of(arrived)
        page: dict[str, Any] = {"after": asked.get("pageToken", ""), "most": int(asked.get("pageSize", 50))}
        if self._UPLOAD.fullmatch(place):
            if "upload_id" in asked:
                return Wanted(call="upload", name=unquote(asked["upload_id"]), content=arrived.content)
            return Wanted(call="begin", name=str(json.loads(arrived.content)["file"].get("displayName", "")))
        if found := self._FILE.fullmatch(place):
            if not found[1]:
                return Wanted(call="files", **page)
            removes = "remove" if len(found[1]) <= _LONGEST_NAME else "keep"
            call = removes if arrived.method == "DELETE" else "content" if found[2] else "file"
            return Wanted(call=call, id=found[1])
        if found := self._CREATE.fullmatch(unquote(place)):
            batch = json.loads(arrived.content)["batch"]
            config = batch["inputConfig"]
            file = str(config.get("fileName") or config.get("file_name")).removeprefix("files/")
            metadata = {"displayName": str(batch.get("displayName"))}
            return Wanted(call="create", file=file, metadata=metadata, options={"model": found[1]})
        if found := self._JOB.fullmatch(place):
            if not found[1]:
                return Wanted(call="list", **page)
            return Wanted(call="cancel" if found[2] else "show", id=found[1])
        return None

    def say(self, wanted: Wanted, found: Any, arrived: Arrived) -> Said:
        """Write Google's objects."""
        if wanted.call == "begin":
            host = arrived.headers.get("host", "")
            target = f"http://{host}/upload/v1beta/files?upload_id={quote(wanted.name)}&upload_protocol=resumable"
            return 200, {"X-Goog-Upload-URL": target, "X-Goog-Upload-Status": "active"}, {}
        if wanted.call == "keep":
            words = f"File ID (name after '/' ) may only contain up to {_LONGEST_NAME} characters"
            found = Refuse(status=400, message=f"* DeleteFileRequest.name: {words}")
        if isinstance(found, Refuse):
            if found.status == 404 and wanted.call in ("file", "content", "remove"):
                words = f"You do not have permission to access the File {wanted.id} or it may not exist."
                found = Refuse(status=403, message=words)
            status = 400 if found.status == 409 else found.status
            return status, {}, self.words.say(replace(found, status=status))[1]
        match found:
            case Page():
                kind = "files" if wanted.call == "files" else "operations"
                shown: dict[str, Any] = {kind: [self._shown(one) for one in found.items]} if found.items else {}
                return 200, {}, {**shown, "nextPageToken": found.items[-1].id} if found.has_more else shown
            case bytes():
                return 200, {}, found
            case None:
                return 200, {}, {}
            case _:
                shown = self._shown(found) if wanted.call != "cancel" else {}
                return 200, {"X-Goog-Upload-Status": "final"}, {"file": shown} if wanted.call == "upload" else shown

    def read(self, line: Mapping[str, Any], options: Mapping[str, str]) -> tuple[str, Asked | None]:
        """Read a request, whose names are written in either of Google's two ways."""
        request = {
            re.sub(r"_(\w)", lambda found: found[1].upper(), name): line["request"][name] for name in line["request"]
        }
        path = f"/v1beta/models/{options['model']}:batchEmbedContents"
        return str(line["key"]), self.words.understand(path, {"requests": [request]})

    def row(self, key: str, status: int, answer: Mapping[str, Any], tokens: int) -> dict[str, Any]:
        """Write a vector with its tokens, or an error."""
        if status != 200:
            return {"error": answer["error"], "key": key}
        return {"response": {"tokenCount": str(tokens), "embedding": answer["embeddings"][0]}, "key": key}

    def expired(self, key: str) -> dict[str, Any]:
        """Write that there was no time, which nobody gets to see."""
        return {"error": {"code": 4, "message": "the time was up"}, "key": key}

    def sheets(self, answers: list[dict[str, Any]], errors: list[dict[str, Any]]) -> Sheets:
        """Put errors among the answers."""
        return {"responsesFile": answers + errors}

    def file_id(self, job: str, number: int) -> str:
        """Name it after its job, as Google does."""
        return f"batch-{job}-{number:0>{_LONGEST_NAME}}"

    def _shown(self, one: StoredFile | Shown) -> dict[str, Any]:
        if isinstance(one, StoredFile):
            return {"name": f"files/{one.id}", "displayName": one.name, "state": "ACTIVE"}
        name, made = f"batches/{one.id}", datetime.fromtimestamp(one.created, UTC)
        stats = {
            "requestCount": one.counts["total"],
            "successfulRequestCount": one.counts["completed"],
            "failedRequestCount": one.counts["failed"],
        }
        output = {kind: f"files/{file}" for kind, file in one.files.items()}
        job: dict[str, Any] = {
            "name": name,
            "metadata": {
                "model": f"models/{one.options['model']}",
                **one.metadata,
                # A nanosecond is Google's unit.
                "createTime": made.strftime("%Y-%m-%dT%H:%M:%S.%f000Z"),
                # A count of 0 is not written.
                "batchStats": {stat: str(count) for stat, count in stats.items() if count},
                "state": f"BATCH_STATE_{_STATES[one.status]}",
                "name": name,
                **({"output": output} if output else {}),
            },
        }
        if one.errors:
            job["error"] = {"code": 3, "message": "; ".join(error["message"] for error in one.errors)}
        return {**job, "done": True, "response": output} if output else job
