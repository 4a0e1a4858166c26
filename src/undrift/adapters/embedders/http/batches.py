"""The batch API of OpenAI for one model: files, jobs and their answers, over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undrift.adapters.embedders.http import batch_dialect
from undrift.adapters.embedders.http.batch_dialect import BatchFlavour
from undrift.adapters.embedders.http.dialect import Dialect, Side, parse
from undrift.adapters.embedders.http.identity import Identity
from undrift.adapters.embedders.http.refusal import Refusal
from undrift.domain.batch import JobId, RemoteJob
from undrift.domain.space import Space
from undrift.errors import EmbedderRejected, EmbedderUnavailable, UndriftError
from undrift.ports.batch import Answered, BatchLimits
from undrift.ports.embedder import BEFORE_RETRY

if TYPE_CHECKING:
    import httpx2

#: How often is asked what changes nothing, and the first wait between, in seconds.
_ATTEMPTS = 5
_FIRST_PAUSE_S = 0.5
#: Longest waits for an answer, in seconds; a file may have 200 megabytes.
_TIMEOUT_S = 60.0
_FILE_TIMEOUT_S = 600.0


class HasBatches:
    """The part of a model over HTTP that leads to its provider's batch API."""

    _base_url: str
    _host: str
    _space: Space
    _dialect: Dialect
    _identity: Identity
    _batch_flavour: BatchFlavour | None
    _client: Callable[[], httpx2.Client]
    _refusal: Callable[[int, httpx2.Response], Refusal]
    _masked: Callable[[str], str]
    _sleep: Callable[[float], None]

    @property
    def batches(self) -> HttpBatches | None:
        """The provider's batch API, on the model's connections; None where it has none that is known."""
        path = self._dialect.request([""], Side.DOCUMENT).path
        if self._batch_flavour is None or not path.endswith("/embeddings"):
            return None
        return HttpBatches(
            url=self._base_url + path.removesuffix("/embeddings"),
            host=self._host,
            model=self._space.model,
            dialect=self._dialect,
            flavour=self._batch_flavour,
            confirm=self._identity.confirm,
            client=self._client,
            refused=self._refusal,
            masked=self._masked,
            sleep=self._sleep,
        )


class HttpBatches:
    """`/files` and `/batches`, as OpenAI has them and others have taken them over, some with words of their own."""

    def __init__(
        self,
        *,
        url: str,
        host: str,
        model: str,
        dialect: Dialect,
        flavour: BatchFlavour,
        confirm: Callable[[str], None],
        client: Callable[[], httpx2.Client],
        refused: Callable[[int, httpx2.Response], Refusal],
        masked: Callable[[str], str],
        sleep: Callable[[float], None],
    ) -> None:
        """Use the connections of a model.

        Args:
            url: what comes before `/files` and the path of the jobs.
            host: the provider's name, for messages.
            model: the model's, for the same.
            dialect: how it is asked for vectors, and answers.
            flavour: how its batch API differs from OpenAI's.
            confirm: refuses the name of another model.
            client: gives the connections of this process.
            refused: says what an answer means that is no success.
            masked: takes keys out of a text.
            sleep: waits between two attempts.
        """
        self._url, self._host, self._model = url, host, model
        self._dialect, self._flavour, self._confirm = dialect, flavour, confirm
        self._client, self._refused, self._masked, self._sleep = client, refused, masked, sleep

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
            answer = self._call(
                "POST",
                "/files",
                data={"purpose": "batch"},
                files={"file": (name, content, "application/jsonl")},
                timeout=_FILE_TIMEOUT_S,
            )
        try:
            return batch_dialect.name_of(answer)
        except ValueError as error:
            raise self._malformed(error) from error

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
        return self._remote(self._call("POST", self._flavour.jobs, json=body))

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
        return self._remote(self._again(lambda: self._call("GET", f"{self._flavour.jobs}/{batch}")))

    def cancel(self, batch: str) -> None:
        """Call a job off."""
        try:
            self._again(lambda: self._call("POST", f"{self._flavour.jobs}/{batch}/cancel"))
        except EmbedderRejected:
            # It may have come to its end a moment before.
            if not self.show(batch).is_over:
                raise

    def results(self, file: str) -> Iterator[Answered]:
        """Read a file of answers or errors as it comes."""
        import httpx2

        request = self._client().build_request("GET", f"{self._url}/files/{file}/content", timeout=_FILE_TIMEOUT_S)
        with self._speaking():
            response = self._client().send(request, stream=True)
        try:
            if not response.is_success:
                response.read()
                raise self._refused(response.status_code, response).error
            # Not in one context with what the caller does between two lines.
            lines = response.iter_lines()
            while True:
                try:
                    line = next(lines, None)
                except (httpx2.RequestError, httpx2.StreamError) as error:
                    raise self._silent(error) from None
                if line is None:
                    return
                if line.strip():
                    yield self._answered(line)
        finally:
            response.close()

    def remove(self, file: str) -> None:
        """Delete a file."""
        try:
            self._call("DELETE", f"/files/{file}")
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
            raise self._malformed(error) from error
        self._confirm(answer.model)
        return Answered(key=line.key, vector=answer.vectors[0], tokens=self._dialect.tokens(line.body, {}))

    def _remote(self, value: dict[str, Any]) -> RemoteJob:
        try:
            return self._flavour.remote(value)
        except (KeyError, TypeError, ValueError) as error:
            raise self._malformed(error) from error

    def _list(self, path: str, parameters: dict[str, str]) -> Iterator[dict[str, Any]]:
        """Read a list page by page, the newest first."""
        asked: dict[str, str] | None = parameters
        while asked is not None:
            page = self._again(partial(self._call, "GET", path, params=asked))
            items = page.get("data")
            if not isinstance(items, list) or not all(isinstance(one, dict) for one in items):
                raise self._malformed(ValueError("a list has no `data`"))
            yield from items
            asked = self._flavour.next_page(asked, page)

    def _again(self, send: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Send what costs nothing to be sent twice, until it is answered."""
        pause_s = _FIRST_PAUSE_S
        for _ in range(_ATTEMPTS - 1):
            try:
                return send()
            except EmbedderUnavailable as error:
                BEFORE_RETRY.get()(f"{error.message}; tried again in {pause_s:.0f} s")
                self._sleep(pause_s)
                BEFORE_RETRY.get()("")
                pause_s *= 2
        return send()

    def _call(self, method: str, path: str, *, timeout: float = _TIMEOUT_S, **content: Any) -> dict[str, Any]:
        """Send one request, once.

        Raises:
            EmbedderUnavailable: it was not answered, or may be answered later.
            EmbedderRejected: it is refused for good.
        """
        with self._speaking():
            response = self._client().request(method, self._url + path, timeout=timeout, **content)
        if not response.is_success:
            raise self._refused(response.status_code, response).error
        try:
            return parse(response.content)
        except ValueError as error:
            raise self._malformed(error) from error

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        import httpx2

        try:
            yield
        except httpx2.RequestError as error:
            raise self._silent(error) from None

    def _silent(self, error: Exception) -> UndriftError:
        detail = self._masked(f"{type(error).__name__}: {error}")
        return EmbedderUnavailable(f"{self._host} did not answer for a batch of model {self._model}", detail)

    def _malformed(self, error: Exception) -> UndriftError:
        detail = self._masked(f"{type(error).__name__}: {error}")
        return EmbedderUnavailable(f"{self._host} gave an answer about a batch that cannot be read", detail)
