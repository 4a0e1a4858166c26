"""What every batch API needs of a model's connections: requests sent once, or again, and files line by line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from undrift.adapters.embedders.http.dialect import Dialect, parse
from undrift.adapters.embedders.http.refusal import Refusal
from undrift.domain.space import Space
from undrift.errors import EmbedderUnavailable, UndriftError
from undrift.ports.batch import BatchService
from undrift.ports.embedder import BEFORE_RETRY

if TYPE_CHECKING:
    import httpx2

#: Longest wait for a file, which may have hundreds of megabytes. In seconds.
FILE_TIMEOUT_S = 600.0
#: The same for every other answer.
_TIMEOUT_S = 60.0
#: How often is asked what changes nothing, and the first wait between, in seconds.
_ATTEMPTS = 5
_FIRST_PAUSE_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchModel:
    """The model whose texts go into jobs.

    Attributes:
        space: the space of its vectors.
        dialect: how it is asked for them online.
        confirm: refuses the name of another model.
        longest: most tokens of a text; None where nobody knows.
    """

    space: Space
    dialect: Dialect
    confirm: Callable[[str], None]
    longest: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """The connections of a model, for its provider's batch API.

    Attributes:
        url: what comes before every path.
        host: the provider's name, for messages.
        model: the model's, for the same.
        client: gives the connections of this process.
        refused: says what an answer means that is no success.
        masked: takes keys out of a text.
        sleep: waits between two attempts.
    """

    url: str
    host: str
    model: str
    client: Callable[[], httpx2.Client]
    refused: Callable[[int, httpx2.Response], Refusal]
    masked: Callable[[str], str]
    sleep: Callable[[float], None]

    def call(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        """Send one request, once, and return the JSON of its answer.

        Raises:
            EmbedderUnavailable: it was not answered, or may be answered later.
            EmbedderRejected: it is refused for good.
        """
        response = self.send(method, path, **content)
        try:
            return parse(response.content)
        except ValueError as error:
            raise self.malformed(error) from error

    def send(self, method: str, path: str, *, timeout: float = _TIMEOUT_S, **content: Any) -> httpx2.Response:
        """Send one request, once, and return its answer, which is a success; raises as `call`.

        Args:
            method: of HTTP.
            path: what comes after `url`, or a whole address.
            timeout: longest wait for the answer, in seconds.
            content: what is sent, as the client wants it.
        """
        address = path if "://" in path else self.url + path
        with self._speaking():
            response = self.client().request(method, address, timeout=timeout, **content)
        if not response.is_success:
            raise self.refused(response.status_code, response).error
        return response

    def again(self, send: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Send what costs nothing to be sent twice, until it is answered."""
        pause_s = _FIRST_PAUSE_S
        for _ in range(_ATTEMPTS - 1):
            try:
                return send()
            except EmbedderUnavailable as error:
                BEFORE_RETRY.get()(f"{error.message}; tried again in {pause_s:.0f} s")
                self.sleep(pause_s)
                BEFORE_RETRY.get()("")
                pause_s *= 2
        return send()

    def lines(self, path: str) -> Iterator[str]:
        """Read a file as it comes, without its empty lines; raises as `call`."""
        import httpx2

        request = self.client().build_request("GET", self.url + path, timeout=FILE_TIMEOUT_S)
        with self._speaking():
            response = self.client().send(request, stream=True)
        try:
            if not response.is_success:
                response.read()
                raise self.refused(response.status_code, response).error
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
                    yield line
        finally:
            response.close()

    def malformed(self, error: Exception) -> UndriftError:
        """Return the error of an answer that is not what it should be."""
        detail = self.masked(f"{type(error).__name__}: {error}")
        return EmbedderUnavailable(f"{self.host} gave an answer about a batch that cannot be read", detail)

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        import httpx2

        try:
            yield
        except httpx2.RequestError as error:
            raise self._silent(error) from None

    def _silent(self, error: Exception) -> UndriftError:
        detail = self.masked(f"{type(error).__name__}: {error}")
        return EmbedderUnavailable(f"{self.host} did not answer for a batch of model {self.model}", detail)


#: Makes the batch API of a model; None where the model's address has none.
BatchApi = Callable[[Wire, BatchModel], BatchService | None]
