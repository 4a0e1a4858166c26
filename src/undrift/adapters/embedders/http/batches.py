"""The batch API of OpenAI for one model: files, jobs and their answers, over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undrift.adapters.embedders.http import batch_dialect
from undrift.adapters.embedders.http.batch_dialect import BatchFlavour
from undrift.adapters.embedders.http.batch_wire import FILE_TIMEOUT_S, BatchApi, BatchModel, Wire
from undrift.adapters.embedders.http.dialect import Dialect, Side
from undrift.adapters.embedders.http.identity import Identity
from undrift.adapters.embedders.http.refusal import Refusal
from undrift.domain.batch import JobId, RemoteJob
from undrift.domain.space import Space
from undrift.errors import EmbedderRejected, EmbedderUnavailable
from undrift.ports.batch import Answered, BatchLimits, BatchService

if TYPE_CHECKING:
    import httpx2


class HasBatches:
    """The part of a model over HTTP that leads to its provider's batch API."""

    _base_url: str
    _host: str
    _space: Space
    _dialect: Dialect
    _identity: Identity
    _longest: int | None
    _batch_api: BatchApi | None
    _client: Callable[[], httpx2.Client]
    _refusal: Callable[[int, httpx2.Response], Refusal]
    _masked: Callable[[str], str]
    _sleep: Callable[[float], None]

    @property
    def batches(self) -> BatchService | None:
        """The provider's batch API, on the model's connections; None where it has none that is known."""
        if self._batch_api is None:
            return None
        wire = Wire(
            url=self._base_url,
            host=self._host,
            model=self._space.model,
            client=self._client,
            refused=self._refusal,
            masked=self._masked,
            sleep=self._sleep,
        )
        confirm, longest = self._identity.confirm, self._longest
        return self._batch_api(
            wire, BatchModel(space=self._space, dialect=self._dialect, confirm=confirm, longest=longest)
        )


def openai_batches(flavour: BatchFlavour) -> BatchApi:
    """Return what makes the batch API of OpenAI, in the form of one provider, where the address ends as OpenAI's."""

    def made(wire: Wire, model: BatchModel) -> BatchService | None:
        path = model.dialect.request([""], Side.DOCUMENT).path
        if not path.endswith("/embeddings"):
            return None
        return HttpBatches(replace(wire, url=wire.url + path.removesuffix("/embeddings")), model, flavour)

    return made


class HttpBatches:
    """`/files` and `/batches`, as OpenAI has them and others have taken them over, some with words of their own."""

    def __init__(self, wire: Wire, model: BatchModel, flavour: BatchFlavour) -> None:
        """Use the connections of a model, in the form of one provider."""
        self._wire, self._dialect, self._confirm = wire, model.dialect, model.confirm
        self._flavour = flavour

    @property
    def limits(self) -> BatchLimits:
        """What it takes and costs."""
        flavour = self._flavour
        return BatchLimits(items=flavour.most_items, size=flavour.most_bytes, price=flavour.price)

    def line(self, key: str, text: str) -> bytes:
        """Return a text as one line of a job's file."""
        return self._flavour.line(key, self._dialect.request([text], Side.DOCUMENT).body)

    def upload(self, name: str, path: Path) -> str:
        """Send a file as it is read, once."""
        with path.open("rb") as content:
            answer = self._wire.call(
                "POST",
                "/files",
                data={"purpose": "batch"},
                files={"file": (name, content, "application/jsonl")},
                timeout=FILE_TIMEOUT_S,
            )
        try:
            return batch_dialect.name_of(answer)
        except ValueError as error:
            raise self._wire.malformed(error) from error

    def files(self, prefix: str) -> dict[str, str]:
        """Return the files at the provider whose names begin so."""
        return {
            str(one.get("id")): str(one.get("filename"))
            for one in self._list("/files", self._flavour.files_page())
            if str(one.get("filename", "")).startswith(prefix)
        }

    def create(self, file: str, job: JobId) -> RemoteJob:
        """Begin a job; sent once."""
        body = self._flavour.job(file, job, self._dialect.request([""], Side.DOCUMENT).body)
        return self._remote(self._wire.call("POST", self._flavour.jobs, json=body))

    def find(self, job: JobId, *, since: float) -> list[RemoteJob]:
        """Return the jobs at the provider under our name, the oldest first."""
        found = []
        for one in self._list(self._flavour.jobs, self._flavour.jobs_page()):
            remote = self._remote(one)
            if remote.created and remote.created < since:
                break
            if remote.job == job:
                found.append(remote)
        return sorted(found, key=lambda remote: (remote.created, remote.id))

    def show(self, batch: str) -> RemoteJob:
        """Return how a job stands."""
        return self._remote(self._wire.again(lambda: self._wire.call("GET", f"{self._flavour.jobs}/{batch}")))

    def cancel(self, batch: str) -> None:
        """Call a job off."""
        try:
            self._wire.again(lambda: self._wire.call("POST", f"{self._flavour.jobs}/{batch}/cancel"))
        except (EmbedderRejected, EmbedderUnavailable):
            # It may have come to its end a moment before.
            if not self.show(batch).is_over:
                raise

    def results(self, file: str) -> Iterator[Answered]:
        """Read a file of answers or errors as it comes."""
        return map(self._answered, self._wire.lines(f"/files/{file}/content"))

    def remove(self, file: str) -> None:
        """Delete a file."""
        try:
            self._wire.call("DELETE", f"/files/{file}")
        except EmbedderRejected as error:
            if "404" not in (error.detail or ""):
                raise

    def _answered(self, text: str) -> Answered:
        try:
            line = batch_dialect.read_line(text)
            if line.body is None:
                return Answered(key=line.key, problem=line.problem)
            answer = self._dialect.answer(line.body, 1)
        except ValueError as error:
            raise self._wire.malformed(error) from error
        self._confirm(answer.model)
        return Answered(key=line.key, vector=answer.vectors[0], tokens=self._dialect.tokens(line.body, {}))

    def _remote(self, value: dict[str, Any]) -> RemoteJob:
        try:
            return self._flavour.remote(value)
        except (KeyError, TypeError, ValueError) as error:
            raise self._wire.malformed(error) from error

    def _list(self, path: str, parameters: dict[str, str]) -> Iterator[dict[str, Any]]:
        """Read a list page by page, the newest first."""
        asked: dict[str, str] | None = parameters
        while asked is not None:
            page = self._wire.again(partial(self._wire.call, "GET", path, params=asked))
            items = page.get("data")
            if not isinstance(items, list) or not all(isinstance(one, dict) for one in items):
                raise self._wire.malformed(ValueError("a list has no `data`"))
            yield from items
            asked = self._flavour.next_page(asked, page)
