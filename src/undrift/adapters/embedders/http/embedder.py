"""One model on one server: its space, its connections, and how long it is worth waiting for."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from undrift import telemetry
from undrift.adapters.embedders.http import description, dialect, pauses, profiles
from undrift.adapters.embedders.http.access import key_headers, signer
from undrift.adapters.embedders.http.account import account_of
from undrift.adapters.embedders.http.batches import HasBatches
from undrift.adapters.embedders.http.dialect import Call, CountsTokens, Reply, Side
from undrift.adapters.embedders.http.identity import Identity
from undrift.adapters.embedders.http.known import known
from undrift.adapters.embedders.http.limits import seen_limits
from undrift.adapters.embedders.http.notices import Noticeboard
from undrift.adapters.embedders.http.refusal import Refusal, is_unbilled, refusal
from undrift.domain.notice import ModelNotice
from undrift.domain.record import Vector, Vectors
from undrift.domain.space import Metric, Space, Truncation
from undrift.errors import (
    EmbedderRejected,
    EmbedderUnavailable,
    MalformedVectors,
    ModelUnavailable,
    TextTooLong,
    UndriftError,
)
from undrift.ports.embedder import WATCH, EmbedderLimits, TokenCount

if TYPE_CHECKING:
    import httpx2

#: Providers whose models of one name are the same wherever they answer.
_WITH_KNOWN_MODELS = frozenset(name for name, profile in profiles.PROFILES.items() if profile.key_variable)
#: What a signature puts into headers that a server must not have repeated in a log.
_SECRET_HEADERS = frozenset({"authorization", "x-amz-security-token"})
#: More texts than any server takes.
_MOST_TEXTS = 1 << 16
#: Most times that one request is sent.
_ATTEMPTS = 8


class HttpEmbedder(HasBatches):
    """A model at a provider or on a server of one's own.

    It never turns to another model: an answer that names another one than was asked for is refused. A request that may
    succeed later (429, 5xx, no connection, no answer) is repeated, after growing random pauses or when the server says;
    one that cannot succeed is refused at once, with what the server said.
    """

    def __init__(
        self,
        *,
        name: str,
        provider: str = "openai",
        base_url: str | None = None,
        api_key: str | None = None,
        dimensions: int | None = None,
        native_dimensions: int | None = None,
        revision: str = "unversioned",
        channel: str | None = None,
        answers_as: str | None = None,
        headers: Mapping[str, str] | None = None,
        encoding_format: str | None = None,
        document_task: str | None = None,
        query_task: str | None = None,
        document_prefix: str | None = None,
        query_prefix: str | None = None,
        normalized: bool | None = None,
        metric: Metric | str = Metric.COSINE,
        max_tokens: int | None = None,
        truncation: Truncation | str = Truncation.REFUSE,
        deployment: str | None = None,
        api_version: str | None = None,
        region: str | None = None,
        project: str | None = None,
        batch_size: int | None = None,
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
            name: what the provider calls the model.
            provider: who is asked, and so in which dialect.
            base_url: where it is, up to and including `/v1` or what the dialect has in its place, which is added when
                there is no path; known for providers that are in one place.
            api_key: shown to the provider in the way it wants.
            dimensions: length of the vectors; known for well-known models. Sent where it cuts a longer native vector.
            native_dimensions: length of the uncut vectors, where `dimensions` asks the server for fewer.
            revision: the version behind the name, where the provider has one.
            channel: who computes the vectors; the provider, or the host of a server of one's own.
            answers_as: the name that answers carry, where a server or gateway has one of its own.
            headers: sent with every request, such as another way to authenticate; kept secret like the key.
            encoding_format: `float`, or `base64` where the server speaks it, as OpenAI's does.
            document_task: what the provider is told that documents are (`input_type`, `task_type`, …); its usual word
                for them when not given, and empty for none.
            query_task: the same for queries.
            document_prefix: put in front of every document; known for models that were trained to see one.
            query_prefix: put in front of every query.
            normalized: whether the model's vectors have length 1; checked. True where it is not known to be otherwise.
            metric: how vectors are compared.
            max_tokens: the longest text, for the record; the server enforces it.
            truncation: whether a longer text is to `refuse`, to `cut` by the server, or to `split` into parts.
            deployment: the name of the deployment, where it is not the model's.
            api_version: for addresses of Azure with one; the present form has none.
            region: where the model runs.
            project: the project that is billed.
            batch_size: most texts in a request; what the provider takes when not given.
            concurrency: most requests at the same time.
            paid: whether somebody is billed; by default whoever is not on this network is taken to send a bill.
            usd_per_million_tokens: the price; known for OpenAI's models, and 0 where nobody says.
            connect_timeout_s: longest wait for a connection, in seconds.
            timeout_s: longest wait for an answer.
            patience_s: longest time for a request with all its repetitions.
            query_patience_s: the same for a query, for which a person may wait.

        Raises:
            BadArgument: the address, the key, the dimensions or an option cannot be used.
        """
        profile = profiles.profile(provider, name)
        own = {"deployment": deployment, "api_version": api_version, "region": region, "project": project}
        own |= {"encoding_format": encoding_format, "document_task": document_task, "query_task": query_task}
        place = description.own_options(provider, profile, **own)
        url = description.address(name, base_url, profile, place)
        self._host, self._base_url = str(url.hostname), url.geturl()
        self._key = api_key
        self._read_key: Callable[[], str | None] = lambda: api_key
        self._headers_with = partial(key_headers, name, profile.access, headers=headers or {})
        self._headers = self._headers_with(api_key)
        self._signer = signer(profile.access, api_key=api_key, region=place.region, model=name)
        # Whoever says where to ask may ask a server of his own.
        is_keyless = base_url is None and profile.wants_key and not self._headers
        self._missing_key = profile.key_variable if is_keyless else ""
        self._secrets = [
            secret for secret in (api_key, url.password, *self._headers.values()) if secret and len(secret) > 3
        ]
        self._signed: list[str] = []
        is_openai = self._host == "api.openai.com"
        if provider == "openai" and not encoding_format and is_openai:
            place = replace(place, encoding="base64")
        model = known(profile.channel or "openai", name) if provider in _WITH_KNOWN_MODELS else None
        length, native = description.dimensions(name, dimensions, native_dimensions, model, profile)
        told = description.tasks(name, document_task, query_task, model, profile)
        names = {answers_as or name, *(model.answers_as if model else ())}
        self._identity = Identity(model=name, host=self._host, names=names)
        self._space = Space(
            channel=channel
            or profile.channel
            or ("openai" if is_openai else "localhost" if description.is_loopback(self._host) else self._host),
            model=name,
            revision=revision,
            dimensions=length,
            metric=Metric(metric),
            normalized=description.normalized(name, asked=normalized, length=length, known=model),
            cut=length if length < native else None,
            document_prefix=(model.document_prefix if model else "") if document_prefix is None else document_prefix,
            query_prefix=(model.query_prefix if model else "") if query_prefix is None else query_prefix,
            document_task=told[0],
            query_task=told[1],
            max_tokens=max_tokens,
            truncation=Truncation(truncation),
        )
        self._dialect, self._batch_api = profile.speaks(self._space, place), profile.batches
        self._longest = max_tokens or (model.max_tokens if model else None)
        listed_price = model.usd_per_million_tokens if model and is_openai else None
        self._limits = EmbedderLimits(
            batch_size=min(batch_size or profile.batch_size, profile.most_texts or _MOST_TEXTS),
            concurrency=concurrency,
            usd_per_million_tokens=(listed_price or 0.0) if usd_per_million_tokens is None else usd_per_million_tokens,
            paid=not description.is_local(self._host) if paid is None else paid,
            reports_usage=profile.reports_usage,
            account=account_of(self._host, self._headers),
        )
        self._connect_timeout_s, self._timeout_s = connect_timeout_s, timeout_s
        self._patience_s, self._query_patience_s = patience_s, query_patience_s
        self._sleep: Callable[[float], None] = time.sleep
        self._lock = threading.Lock()
        self._opened: tuple[int, httpx2.Client] | None = None
        self._billed_tokens = 0
        self._noticeboard = Noticeboard(channel=self._space.channel, model=name)

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
    def notices(self) -> list[ModelNotice]:
        """What the provider said beside its answers in this process, each once."""
        return self._noticeboard.notices

    def read_key_again(self, read: Callable[[], str | None]) -> None:
        """Say how the key is found out that has taken the place of one that is refused."""
        self._read_key = read

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Send one request; also raises `ModelChanged` when another model answers."""
        return self._embed(texts, Side.DOCUMENT, self._patience_s)

    def embed_query(self, text: str) -> Vector:
        """Send one request; raises as `embed_documents`."""
        vector: Vector = self._embed([text], Side.QUERY, self._query_patience_s)[0]
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

    def _embed(self, texts: Sequence[str], side: Side, patience_s: float) -> Vectors:
        if self._missing_key:
            raise ModelUnavailable(
                f"model {self._space.model} at {self._host} needs a key, and there is none",
                "nothing was sent",
                f"export {self._missing_key}=…, or name where it is: api_key_env or api_key_file in undrift.toml",
            )
        self._refuse_longer(texts, patience_s)
        reply = self._answer(self._dialect.request(texts, side), patience_s)
        if billed := self._dialect.tokens(reply.body, reply.headers):
            WATCH.get().billed(billed)
        with self._lock:
            self._billed_tokens += billed
        try:
            answer = self._dialect.answer(reply.body, len(texts))
        except ValueError as error:
            raise self._malformed(error) from error
        self._identity.confirm(answer.model)
        if answer.cut and self._space.truncation is not Truncation.CUT:
            raise TextTooLong(f"{self._host} cut a text for model {self._space.model}, which was to be refused")
        telemetry.count(telemetry.Metric.TEXTS_CUT, answer.cut)
        WATCH.get().cut(answer.cut)
        return answer.vectors

    def _refuse_longer(self, texts: Sequence[str], patience_s: float) -> None:
        """Have a long text counted where the server would cut it without a word; a token is at least a byte."""
        limit, counts = self._longest, self._dialect
        if limit is None or self._space.truncation is Truncation.CUT or not isinstance(counts, CountsTokens):
            return
        for text in texts:
            if len(text.encode()) <= limit:
                continue
            try:
                tokens = counts.counted(self._answer(counts.count_request(text), patience_s).body)
            except ValueError as error:
                raise self._malformed(error) from error
            if tokens > limit:
                raise TextTooLong(
                    f"a text of {tokens} tokens is longer than the {limit} that model {self._space.model} takes",
                    f"{self._host} would cut it without a word",
                    'split the text, or declare truncation = "split" or "cut" for the model',
                )

    def _answer(self, call: Call, patience_s: float) -> Reply:
        """Send a request until it is answered, refused for good, or not worth waiting for any more."""
        from tenacity import Retrying, retry_if_result, stop_after_attempt, stop_before_delay

        enough = stop_after_attempt(_ATTEMPTS) | stop_before_delay(patience_s)
        # Not retried on exceptions: whether to try again, and when, is what the refusal says.
        retrying = Retrying(
            stop=lambda state: enough(state) or pauses.has_failed_often(state),
            wait=pauses.pause,
            retry=retry_if_result(lambda outcome: isinstance(outcome, Refusal) and outcome.may_change),
            retry_error_callback=pauses.last_outcome,
            sleep=self._sleep,
            before=pauses.ask_before_it_is_sent_again,
            before_sleep=pauses.tell_before_it_waits,
        )
        outcome = retrying(partial(self._send, call, min(self._timeout_s, patience_s)))
        if isinstance(outcome, Refusal):
            raise outcome.error
        return outcome

    def _send(self, call: Call, timeout_s: float) -> Reply | Refusal:
        import httpx2

        client, model, url = self._client(), self._space.model, self._base_url + call.path
        content = json.dumps(call.body, ensure_ascii=False, separators=(",", ":")).encode()
        signed = self._signer(url, content) if self._signer else {}
        self._signed = [value for name, value in signed.items() if name.lower() in _SECRET_HEADERS]
        headers = {"Content-Type": "application/json", **signed}
        timeout = httpx2.Timeout(timeout_s, connect=min(self._connect_timeout_s, timeout_s))
        try:
            response = client.post(url, content=content, headers=headers, timeout=timeout)
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
        reply = Reply(body=answer, headers={name.lower(): value for name, value in response.headers.items()})
        self._noticeboard.answered(reply)
        return reply

    def _refusal(self, status: int, response: httpx2.Response) -> Refusal:
        if is_unbilled(status):
            WATCH.get().unbilled()
        # Masked before anything is cut off, so that no half of a key is left.
        content = self._masked(response.text).encode()
        headers = {name.lower(): self._masked(value) for name, value in response.headers.items()}
        found = refusal(status, headers, content, model=self._space.model, host=self._host)
        WATCH.get().sees(seen_limits(headers, content), refused=status == 429 and found.may_change)
        self._noticeboard.refused(headers, found.error)
        if status in (400, 401, 403) and isinstance(found.error, ModelUnavailable) and self._has_another_key(response):
            changed = EmbedderUnavailable(f"the key of model {self._space.model} was replaced", found.error.detail)
            return Refusal(error=changed, may_change=True, wait_s=0.0)
        return found

    def _has_another_key(self, response: httpx2.Response) -> bool:
        """Take up a key that was put in the place of the one that is refused; whether it is another than was sent."""
        with suppress(UndriftError), self._lock:
            key = self._read_key()
            if key and key != self._key:
                self._headers, self._key = self._headers_with(key), key
                self._secrets.append(key)
                if self._opened is not None:
                    self._opened[1].headers.update(self._headers)
        # Another thread may have taken it up while this request was under way.
        sent = response.request.headers
        return any(sent.get(name) != value for name, value in self._headers.items())

    def _client(self) -> httpx2.Client:
        """Return the connections of this process; a child must not speak on its parent's."""
        import httpx2  # At the first request: it takes as long as numpy.

        with self._lock:
            if self._opened is None or self._opened[0] != os.getpid():
                self._opened = os.getpid(), httpx2.Client(headers=self._headers)
            return self._opened[1]

    def _malformed(self, error: ValueError) -> MalformedVectors:
        return MalformedVectors(
            f"model {self._space.model} at {self._host} gave an answer that cannot be used", self._masked(str(error))
        )

    def _masked(self, text: str) -> str:
        """Servers repeat what they were sent; a key in it must not reach a log."""
        for secret in (*self._secrets, *self._signed):
            text = text.replace(secret, "***")
        return text
