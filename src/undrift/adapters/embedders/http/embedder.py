"""One model on one server: its space, its connections, and how long it is worth waiting for."""

from __future__ import annotations

import ipaddress
import os
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from undrift.adapters.embedders.http import dialect
from undrift.adapters.embedders.http.account import account_of
from undrift.adapters.embedders.http.batches import HttpBatches
from undrift.adapters.embedders.http.limits import seen_limits
from undrift.adapters.embedders.http.refusal import Refusal, refusal
from undrift.domain.record import Vector, Vectors
from undrift.domain.space import Metric, Space, Truncation
from undrift.errors import (
    BadArgument,
    EmbedderRejected,
    EmbedderUnavailable,
    MalformedVectors,
    ModelChanged,
)
from undrift.ports.embedder import BEFORE_RETRY, WATCH, EmbedderLimits, TokenCount

if TYPE_CHECKING:
    import httpx2
    from tenacity import RetryCallState

_OPENAI = "https://api.openai.com/v1"
#: Most times that one request is sent.
_ATTEMPTS = 8
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 20.0
#: Servers that ask many clients to wait for the same time would meet them all again at once.
_SPREAD_S = 0.25
#: What a server answers that has not even begun with a request. After any other 5xx it may have been billed.
_UNSERVED = frozenset({501, 503, 505, 529})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    dimensions: int
    usd_per_million_tokens: float
    can_be_cut: bool
    answers_as: str | None = None


#: What OpenAI's documentation and price list said in 2026-11.
_KNOWN = {
    "text-embedding-ada-002": _Known(
        dimensions=1536, usd_per_million_tokens=0.10, can_be_cut=False, answers_as="text-embedding-ada-002-v2"
    ),
    "text-embedding-3-small": _Known(dimensions=1536, usd_per_million_tokens=0.02, can_be_cut=True),
    "text-embedding-3-large": _Known(dimensions=3072, usd_per_million_tokens=0.13, can_be_cut=True),
}


class HttpEmbedder:
    """A model at a provider or on a server of one's own.

    It never turns to another model: an answer that names another one than was asked for is refused. A request that may
    succeed later (429, 5xx, no connection, no answer) is repeated, after growing random pauses or when the server says;
    one that cannot succeed is refused at once, with what the server said.
    """

    def __init__(
        self,
        *,
        name: str,
        base_url: str = _OPENAI,
        api_key: str | None = None,
        dimensions: int | None = None,
        native_dimensions: int | None = None,
        revision: str = "unversioned",
        channel: str | None = None,
        answers_as: str | None = None,
        headers: Mapping[str, str] | None = None,
        encoding_format: str | None = None,
        document_prefix: str = "",
        query_prefix: str = "",
        normalized: bool = True,
        metric: Metric | str = Metric.COSINE,
        max_tokens: int | None = None,
        truncation: Truncation | str = Truncation.REFUSE,
        batch_size: int = 128,
        concurrency: int = 4,
        paid: bool | None = None,
        usd_per_million_tokens: float | None = None,
        connect_timeout_s: float = 5.0,
        timeout_s: float = 60.0,
        patience_s: float = 120.0,
        query_patience_s: float = 15.0,
    ) -> None:
        """Describe the model; nothing is sent.

        Args:
            name: what the server calls the model.
            base_url: up to and including `/v1`, which is added when there is no path.
            api_key: sent as a bearer token.
            dimensions: length of the vectors; known for OpenAI's models. Sent only when it cuts a longer native vector.
            native_dimensions: length of the uncut vectors, where `dimensions` asks the server for fewer.
            revision: the version behind the name, where the provider has one.
            channel: who computes the vectors; `openai`, or the host.
            answers_as: the name that answers carry, where a server or gateway has one of its own.
            headers: sent with every request, such as another way to authenticate; kept secret like the key.
            encoding_format: `float`, or `base64` where the server speaks it, as OpenAI's does.
            document_prefix: put in front of every document.
            query_prefix: put in front of every query.
            normalized: whether the model's vectors have length 1; checked.
            metric: how vectors are compared.
            max_tokens: the longest text, for the record; the server enforces it.
            truncation: what the server does with a longer text.
            batch_size: most texts in a request.
            concurrency: most requests at the same time.
            paid: whether somebody is billed; by default whoever is not on this network is taken to send a bill.
            usd_per_million_tokens: the price; known for OpenAI's models, and 0 where nobody says.
            connect_timeout_s: longest wait for a connection, in seconds.
            timeout_s: longest wait for an answer.
            patience_s: longest time for a request with all its repetitions.
            query_patience_s: the same for a query, for which a person may wait.

        Raises:
            BadArgument: the address, the key or the dimensions cannot be used.
        """
        url = urlsplit(base_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise BadArgument(
                f"the base_url of model {name} is no http address", hint="such as http://localhost:8080/v1"
            )
        self._host = url.hostname
        self._url = base_url.rstrip("/") + ("" if url.path.strip("/") else "/v1") + "/embeddings"
        self._headers = _headers(name, api_key, headers or {})
        self._secrets = [
            secret for secret in (api_key, url.password, *self._headers.values()) if secret and len(secret) > 3
        ]
        is_openai = self._host == "api.openai.com"
        known = _KNOWN.get(name)
        native = _native_dimensions(name, dimensions, native_dimensions, known)
        self._names = {answers_as or name, *filter(None, [known.answers_as if known else None])}
        self._encoding = encoding_format or ("base64" if is_openai else "float")
        self._space = Space(
            channel=channel or ("openai" if is_openai else "localhost" if _is_loopback(self._host) else self._host),
            model=name,
            revision=revision,
            dimensions=dimensions or native,
            metric=Metric(metric),
            normalized=normalized,
            cut=dimensions if dimensions is not None and dimensions < native else None,
            document_prefix=document_prefix,
            query_prefix=query_prefix,
            max_tokens=max_tokens,
            truncation=Truncation(truncation),
        )
        listed_price = known.usd_per_million_tokens if known and is_openai else 0.0
        self._limits = EmbedderLimits(
            batch_size=batch_size,
            concurrency=concurrency,
            usd_per_million_tokens=listed_price if usd_per_million_tokens is None else usd_per_million_tokens,
            paid=not _is_local(self._host) if paid is None else paid,
            reports_usage=True,
            account=account_of(self._host, self._headers),
        )
        self._connect_timeout_s, self._timeout_s = connect_timeout_s, timeout_s
        self._patience_s, self._query_patience_s = patience_s, query_patience_s
        self._sleep: Callable[[float], None] = time.sleep
        self._lock = threading.Lock()
        self._opened: tuple[int, httpx2.Client] | None = None
        self._revision_seen = ""
        self._billed_tokens = 0

    def __repr__(self) -> str:
        """Name the model and its host, never a secret."""
        return f"HttpEmbedder(name={self._space.model!r}, host={self._host!r})"

    @property
    def space(self) -> Space:
        """The space every vector belongs to."""
        return self._space

    @property
    def limits(self) -> EmbedderLimits:
        """What a request may hold and cost; the price 0 of a paid model is an unknown price."""
        return self._limits

    @property
    def billed_tokens(self) -> int:
        """Tokens that the server said it counted, in this process."""
        with self._lock:
            return self._billed_tokens

    @property
    def batches(self) -> HttpBatches:
        """The batch API of this dialect; whether the server has one shows when it is used."""
        return HttpBatches(
            base_url=self._url.removesuffix("/embeddings"),
            host=self._host,
            space=self._space,
            encoding=self._encoding,
            is_openai=self._host == "api.openai.com",
            client=self._client,
            refused=self._refusal,
            masked=self._masked,
            check_model=self._refuse_another_model,
        )

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Send one request; also raises `ModelChanged` when another model answers."""
        return self._embed(texts, self._patience_s)

    def embed_query(self, text: str) -> Vector:
        """Send one request; raises as `embed_documents`."""
        vector: Vector = self._embed([text], self._query_patience_s)[0]
        return vector

    def count_tokens(self, texts: Sequence[str]) -> TokenCount:
        """Estimate 4 ASCII characters a token, and a token for every other character.

        English prose comes out about right, code and numbers low by up to a third, other scripts high.
        """
        return TokenCount(tokens=sum(map(dialect.estimated_tokens, texts)), exact=False)

    def close(self) -> None:
        """Close the connections; a later request opens them again."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None and opened[0] == os.getpid():
            opened[1].close()

    def _embed(self, texts: Sequence[str], patience_s: float) -> Vectors:
        body = dialect.request_body(self._space.model, texts, cut=self._space.cut, encoding=self._encoding)
        answer = self._answer(body, patience_s)
        if billed := dialect.billed_tokens(answer):
            WATCH.get().billed(billed)
        self._refuse_another_model(answer.get("model"))
        with self._lock:
            self._billed_tokens += billed
        try:
            return dialect.vectors(answer, len(texts))
        except ValueError as error:
            raise self._malformed(error) from error

    def _answer(self, body: dict[str, Any], patience_s: float) -> dict[str, Any]:
        """Send a request until it is answered, refused for good, or not worth waiting for any more."""
        from tenacity import Retrying, retry_if_result, stop_after_attempt, stop_before_delay

        # Not retried on exceptions: whether to try again, and when, is what the refusal says.
        retrying = Retrying(
            stop=stop_after_attempt(_ATTEMPTS) | stop_before_delay(patience_s),
            wait=_pause,
            retry=retry_if_result(lambda outcome: isinstance(outcome, Refusal) and outcome.may_change),
            retry_error_callback=_last_outcome,
            sleep=self._sleep,
            before=_ask_before_it_is_sent_again,
            before_sleep=_tell_before_it_waits,
        )
        outcome = retrying(partial(self._send, body, min(self._timeout_s, patience_s)))
        if isinstance(outcome, Refusal):
            raise outcome.error
        return outcome

    def _send(self, body: dict[str, Any], timeout_s: float) -> dict[str, Any] | Refusal:
        import httpx2

        client, model = self._client(), self._space.model
        timeout = httpx2.Timeout(timeout_s, connect=min(self._connect_timeout_s, timeout_s))
        try:
            response = client.post(self._url, json=body, timeout=timeout)
        except (httpx2.LocalProtocolError, httpx2.UnsupportedProtocol) as error:
            raise EmbedderRejected(f"a request for model {model} cannot be sent", self._masked(str(error))) from None
        except httpx2.RequestError as error:
            detail = self._masked(f"{type(error).__name__}: {error}")
            if "CERTIFICATE" in detail:
                raise EmbedderRejected(f"{self._host} has no certificate that this machine trusts", detail) from None
            if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout):
                WATCH.get().unbilled()
            failed = EmbedderUnavailable(f"{self._host} did not answer for model {model}", detail)
            return Refusal(error=failed, may_change=True)
        if not response.is_success:
            return self._refusal(response.status_code, response)
        WATCH.get().sees(seen_limits(response.headers), refused=False)
        try:
            answer = dialect.parse(response.content)
        except ValueError as error:
            raise self._malformed(error) from error
        if "error" in answer and "data" not in answer:
            # Gateways pass a provider's failure on with status 200.
            code = answer["error"].get("code") if isinstance(answer["error"], dict) else None
            return self._refusal(code if isinstance(code, int) else 400, response)
        return answer

    def _refusal(self, status: int, response: httpx2.Response) -> Refusal:
        if status < 500 or status in _UNSERVED:
            WATCH.get().unbilled()
        # Masked before anything is cut off, so that no half of a key is left.
        content = self._masked(response.text).encode()
        headers = {name.lower(): self._masked(value) for name, value in response.headers.items()}
        found = refusal(status, headers, content, model=self._space.model, host=self._host)
        WATCH.get().sees(seen_limits(headers, content), refused=status == 429 and found.may_change)
        return found

    def _client(self) -> httpx2.Client:
        """Return the connections of this process; a child must not speak on its parent's."""
        import httpx2  # At the first request: it takes as long as numpy.

        with self._lock:
            if self._opened is None or self._opened[0] != os.getpid():
                self._opened = os.getpid(), httpx2.Client(headers=self._headers)
            return self._opened[1]

    def _refuse_another_model(self, answered: object) -> None:
        if not isinstance(answered, str) or not answered:
            return
        suffixes = [dialect.dated_name(name, answered) for name in sorted(self._names)]
        suffix = next((found for found in suffixes if found is not None), None)
        if suffix is None:
            raise ModelChanged(
                f"{self._host} answered for model {self._space.model} with model {answered}",
                "its vectors belong to another space, so they are not used",
                f'if both are the same model, set answers_as = "{answered}" for it',
            )
        with self._lock:
            before = self._revision_seen
            self._revision_seen = suffix or before
        if before and suffix and suffix != before:
            raise ModelChanged(
                f"{self._host} changed the revision of model {self._space.model} while it was used",
                f"it answered as …{before} before, and as …{suffix} now",
            )

    def _malformed(self, error: ValueError) -> MalformedVectors:
        return MalformedVectors(
            f"model {self._space.model} at {self._host} gave an answer that cannot be used", self._masked(str(error))
        )

    def _masked(self, text: str) -> str:
        """Servers repeat what they were sent; a key in it must not reach a log."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _headers(model: str, api_key: str | None, headers: Mapping[str, str]) -> dict[str, str]:
    for secret in (api_key or "", *headers.values()):
        if not (secret.isascii() and secret.isprintable()):
            raise BadArgument(
                f"the key of model {model} has a character that no key has",
                "a line break from a file, or a character that was pasted along",
                "write the key again, without anything around it",
            )
    return {"Authorization": f"Bearer {api_key}", **headers} if api_key else dict(headers)


def _native_dimensions(name: str, dimensions: int | None, native: int | None, known: _Known | None) -> int:
    native = native or (known.dimensions if known else dimensions)
    if native is None:
        raise BadArgument(
            f"the dimensions of model {name} are not known",
            "a space has its name before the first request, so the server is not asked",
            "set dimensions for the model, as its documentation says",
        )
    can_be_cut = known is None or known.can_be_cut
    if dimensions is not None and (dimensions < 1 or dimensions > native or (dimensions < native and not can_be_cut)):
        raise BadArgument(f"model {name} has vectors of {native} dimensions and cannot give {dimensions}")
    return native


def _pause(state: RetryCallState) -> float:
    """Wait as long as the server asked for; otherwise a random part of a time that doubles."""
    outcome = state.outcome.result() if state.outcome else None
    if isinstance(outcome, Refusal) and outcome.wait_s is not None:
        return outcome.wait_s + random.uniform(0, _SPREAD_S)
    longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (state.attempt_number - 1))
    return random.uniform(longest / 2, longest)


def _tell_before_it_waits(state: RetryCallState) -> None:
    outcome = state.outcome.result() if state.outcome is not None else None
    pause_s = state.next_action.sleep if state.next_action else 0.0
    if isinstance(outcome, Refusal):
        BEFORE_RETRY.get()(f"{outcome.error.message}; tried again in {pause_s:.0f} s")


def _ask_before_it_is_sent_again(state: RetryCallState) -> None:
    if state.attempt_number > 1:
        BEFORE_RETRY.get()("")


def _last_outcome(state: RetryCallState) -> Any:
    return state.outcome.result() if state.outcome else None


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or host.endswith(".localhost") or (address is not None and address.is_loopback)


def _is_local(host: str) -> bool:
    """Whether a host is on this machine or its private network, where nobody sends a bill."""
    address = _address(host)
    if address is not None:
        return address.is_private
    return "." not in host or host.endswith((".localhost", ".local", ".internal", ".lan"))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
