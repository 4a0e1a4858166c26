"""Hosted and self-hosted models behind the `/v1/embeddings` dialect of OpenAI, which most servers speak."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import os
import random
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from undrift.domain.record import Vector, Vectors
from undrift.domain.space import Metric, Space, Truncation
from undrift.errors import (
    BadArgument,
    EmbedderRejected,
    EmbedderUnavailable,
    MalformedVectors,
    ModelChanged,
    TextTooLong,
    UndriftError,
)
from undrift.ports.embedder import EmbedderLimits, TokenCount

if TYPE_CHECKING:
    import httpx2
    from tenacity import RetryCallState


@dataclass(frozen=True, slots=True, kw_only=True)
class _KnownModel:
    dimensions: int
    usd_per_million_tokens: float
    can_be_cut: bool


_OPENAI = "https://api.openai.com/v1"
#: What OpenAI's documentation and price list said in 2026-11.
_KNOWN = {
    "text-embedding-ada-002": _KnownModel(dimensions=1536, usd_per_million_tokens=0.10, can_be_cut=False),
    "text-embedding-3-small": _KnownModel(dimensions=1536, usd_per_million_tokens=0.02, can_be_cut=True),
    "text-embedding-3-large": _KnownModel(dimensions=3072, usd_per_million_tokens=0.13, can_be_cut=True),
}
#: A provider may answer under a dated or numbered name of the model that it was asked for.
_REVISION_SUFFIX = re.compile(r"[-@:](v?\d[\d.-]*|latest)")
_TRY_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_TOO_LONG = re.compile(
    r"maximum context length|maximum input length|context length exceeded|exceeds? the (context|maximum)|too long"
    r"|must have less than \d+ tokens|larger than the max context|input length exceeds",
    re.IGNORECASE,
)
#: Refusals of a request as a whole, which is never one text's fault.
_TOO_MUCH = re.compile(r"per request|batch size|too many (inputs|tokens overall)", re.IGNORECASE)
_NO_MODEL = re.compile(
    r"model[ _]not[ _]found|invalid[ _]model|unknown model|is not supported\. supported models|does not exist"
    r"|deploymentnotfound|end of its life",
    re.IGNORECASE,
)
_GONE = re.compile(r"deprecat|retired|decommission|shut ?down|end of its life|no longer (available|supported)", re.IGNORECASE)
_NO_MONEY = re.compile(r"insufficient_quota|billing|credit|exceeded your current quota", re.IGNORECASE)


class HttpEmbedder:
    """A model at a provider or on a server of one's own.

    It never turns to another model: an answer that names another one than was asked for is refused. A request that may
    succeed later (429, 5xx, no connection, no answer) is repeated with growing, random pauses, or as long as the server
    asks for; a request that cannot succeed is refused at once, with what the server said.
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
            native_dimensions: length of the model's uncut vectors, where `dimensions` asks the server for fewer.
            revision: the version behind the name, where the provider has one.
            channel: who computes the vectors; `openai`, or the host.
            answers_as: the name that answers carry, where a server or gateway has one of its own.
            headers: sent with every request, such as another way to authenticate.
            encoding_format: `float`, or `base64` where the server speaks it, as OpenAI's does.
            document_prefix: put in front of every document.
            query_prefix: put in front of every query.
            normalized: whether the model's vectors have length 1; checked.
            metric: how vectors are compared.
            max_tokens: the longest text, for the record; the server enforces it.
            truncation: what the server does with a longer text.
            batch_size: most texts in a request.
            concurrency: most requests at the same time.
            paid: whether somebody is billed; a host that is not on this network is taken to send a bill.
            usd_per_million_tokens: the price; known for OpenAI's models, 0 where it is not.
            connect_timeout_s: longest wait for a connection, in seconds.
            timeout_s: longest wait for an answer.
            patience_s: longest time for a request with all its repetitions.
            query_patience_s: the same for a query, behind which a person may wait.

        Raises:
            BadArgument: the address, the key or the dimensions cannot be used.
        """
        self._key = _checked_key(api_key, name)
        self._headers = dict(headers or {})
        url = urlsplit(base_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise BadArgument(f"base_url of model {name} is not an http address: {self._masked(base_url)!r}")
        self._url = base_url.rstrip("/") + ("" if url.path.strip("/") else "/v1") + "/embeddings"
        self._host = url.hostname
        is_openai = self._host == "api.openai.com"
        known = _KNOWN.get(name)
        native = native_dimensions or (known.dimensions if known else dimensions)
        if native is None:
            raise BadArgument(
                f"the dimensions of model {name} are not known",
                "undrift asks no server for them, so that a space has its name before the first request",
                "set dimensions for the model, as its documentation says",
            )
        wanted = dimensions or native
        if wanted > native or (wanted < native and known is not None and not known.can_be_cut):
            raise BadArgument(f"model {name} has vectors of {native} dimensions; it cannot give {wanted}")
        self._answers_as = answers_as or name
        self._encoding = encoding_format or ("base64" if is_openai else "float")
        self._space = Space(
            channel=channel or ("openai" if is_openai else "localhost" if _is_loopback(self._host) else self._host),
            model=name,
            revision=revision,
            dimensions=wanted,
            metric=Metric(metric),
            normalized=normalized,
            cut=wanted if wanted < native else None,
            document_prefix=document_prefix,
            query_prefix=query_prefix,
            max_tokens=max_tokens,
            truncation=Truncation(truncation),
        )
        is_paid = not _is_local(self._host) if paid is None else paid
        price = known.usd_per_million_tokens if known and is_openai else 0.0
        self._limits = EmbedderLimits(
            batch_size=batch_size,
            concurrency=concurrency,
            usd_per_million_tokens=price if usd_per_million_tokens is None else usd_per_million_tokens,
            paid=is_paid,
        )
        self._connect_timeout_s, self._timeout_s = connect_timeout_s, timeout_s
        self._patience_s, self._query_patience_s = patience_s, query_patience_s
        self._sleep: Callable[[float], None] = time.sleep
        self._lock = threading.Lock()
        self._opened: tuple[int, httpx2.Client] | None = None
        self._revision_seen: str | None = None
        self._billed_tokens = 0

    def __repr__(self) -> str:
        """Name the model and its host, never the key."""
        return f"HttpEmbedder(name={self._space.model!r}, host={self._host!r})"

    @property
    def space(self) -> Space:
        """The space every vector belongs to."""
        return self._space

    @property
    def limits(self) -> EmbedderLimits:
        """What a request may hold and cost; a price of 0 for a paid model means that it is not known."""
        return self._limits

    @property
    def billed_tokens(self) -> int:
        """Tokens that the server said it billed to this process."""
        with self._lock:
            return self._billed_tokens

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Send one request; also raises `ModelChanged` when another model answers."""
        return self._embed(texts, self._patience_s)

    def embed_query(self, text: str) -> Vector:
        """Send one request; raises as `embed_documents`."""
        vector: Vector = self._embed([text], self._query_patience_s)[0]
        return vector

    def count_tokens(self, texts: Sequence[str]) -> TokenCount:
        """Estimate: 4 ASCII characters a token, every other character one of its own, at least 1 for a text.

        English prose comes out right within a tenth or so; code, and scripts of few bytes a letter, come out high, so
        that a budget errs on the safe side.
        """
        return TokenCount(tokens=sum(map(_estimated_tokens, texts)), exact=False)

    def close(self) -> None:
        """Close the connections; a later request opens them again."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None and opened[0] == os.getpid():
            opened[1].close()

    def _embed(self, texts: Sequence[str], patience_s: float) -> Vectors:
        body: dict[str, Any] = {"model": self._space.model, "input": list(texts), "encoding_format": self._encoding}
        if self._space.cut is not None:
            body["dimensions"] = self._space.cut
        outcome = self._post(body, patience_s)
        if isinstance(outcome, _Again):
            raise outcome.error
        answer = self._parsed(outcome)
        self._refuse_another_model(answer.get("model"))
        usage = answer.get("usage")
        if isinstance(usage, dict) and isinstance(tokens := usage.get("total_tokens", usage.get("prompt_tokens")), int):
            with self._lock:
                self._billed_tokens += tokens
        return self._vectors(answer, len(texts))
