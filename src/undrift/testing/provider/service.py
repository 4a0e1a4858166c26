"""Models behind names, as a provider serves them: keys, limits, retirements, silent changes, and a log."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np

from undrift.domain.record import Vectors
from undrift.errors import TextTooLong, UndriftError
from undrift.ports.embedder import Embedder
from undrift.testing.provider.batches import BatchEndpoints
from undrift.testing.provider.faults import Fault, Refuse, Spoil, Wait, content
from undrift.testing.provider.limits import AccountLimits
from undrift.testing.provider.server import Server


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, as the server saw it; `tokens` are those of an answered one, as the model counts."""

    model: str
    texts: tuple[str, ...]
    body: Mapping[str, Any]
    status: int
    tokens: int


class EmbeddingProvider:
    """Serves embedding models over HTTP on this machine, for tests, benchmarks and trying things out.

    Example:
        >>> from undrift.adapters.embedders.hashing import HashingEmbedder
        >>> with EmbeddingProvider({"toy": HashingEmbedder()}, api_key="secret") as provider:
        ...     provider.url.startswith("http://127.0.0.1:")
        True
    """

    def __init__(
        self,
        models: Mapping[str, Embedder],
        *,
        api_key: str | None = None,
        port: int = 0,
        most_texts: int = 2048,
        most_tokens: int = 8192,
        most_tokens_per_request: int = 300_000,
        limits: AccountLimits | None = None,
    ) -> None:
        """Bind a port of 127.0.0.1; nothing is answered before `start`.

        Args:
            models: what is served, by name.
            api_key: the only key that is let in; None lets everybody in.
            port: 0 takes a free one.
            most_texts: texts in a request.
            most_tokens: tokens of a text.
            most_tokens_per_request: tokens of all texts of a request.
            limits: how fast everybody may go together; None for any speed.
        """
        self._models = dict(models)
        self._retired: set[str] = set()
        self._api_key = api_key
        self._most_texts = most_texts
        self._most_tokens = most_tokens
        self._most_tokens_per_request = most_tokens_per_request
        self._limits = limits or AccountLimits()
        self._faults: deque[Fault | None] = deque()
        self._requests: list[Request] = []
        self._lock = threading.Lock()
        self.batches = BatchEndpoints(self._embedded)
        self._server = Server(port, self._answer, self.batches.answer)
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """What goes into `base_url`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def requests(self) -> list[Request]:
        """Every request so far, in the order in which they were answered."""
        with self._lock:
            return list(self._requests)

    def script(self, *faults: Fault | None) -> None:
        """Let the next requests fail, one fault each; None lets one through."""
        with self._lock:
            self._faults.extend(faults)

    def retire(self, model: str) -> None:
        """Answer for a model as OpenAI does for one that is gone."""
        with self._lock:
            self._retired.add(model)

    def swap(self, model: str, embedder: Embedder) -> None:
        """Put another model behind a name, and say nothing."""
        with self._lock:
            self._models[model] = embedder

    def start(self) -> Self:
        """Serve from a thread."""
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def serve_forever(self) -> None:
        """Serve from this thread, until it is interrupted."""
        self._server.serve_forever()

    def stop(self) -> None:
        """Stop at once, as a crash would: what is under way gets no answer."""
        self._server.stopping.set()
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.hang_up()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def _answer(self, body: Mapping[str, Any], key: str | None) -> tuple[int, Mapping[str, str], bytes] | None:
        """Answer one request: status, headers and content, or None to hang up."""
        with self._lock:
            fault = self._faults.popleft() if self._faults else None
        if isinstance(fault, Wait):
            self._server.stopping.wait(fault.seconds)
        if fault is Spoil.HANG_UP:
            self._note(body, 0, 0)
            return None
        refused = fault if isinstance(fault, Refuse) else self._refused(body, key)
        if refused is None:
            served = self._served(body, fault)
            if not isinstance(served, Refuse):
                return served
            refused = served
        self._note(body, refused.status, 0)
        error_body = {
            "message": refused.message.replace("{key}", str(key)),
            "type": "invalid_request_error",
            "code": refused.code,
        }
        return refused.status, refused.headers, json.dumps({"error": error_body}).encode()

    def _served(self, body: Mapping[str, Any], fault: Fault | None) -> tuple[int, Mapping[str, str], bytes] | Refuse:
        """Answer a sound request, unless it comes too soon."""
        embedder, texts = self._models[body["model"]], list(body["input"])
        tokens = embedder.count_tokens(texts).tokens
        if (too_soon := self._limits.begin(tokens)) is not None:
            return too_soon
        try:
            vectors = _embed(embedder, texts)
        except UndriftError as error:
            if isinstance(error, TextTooLong):
                return Refuse(status=400, message=f"{error.message}: text is too long")
            return Refuse(status=500, message=error.message)
        finally:
            self._limits.end()
        self._note(body, 200, tokens)
        return 200, self._limits.headers(), content(body, _cut(vectors, body.get("dimensions")), tokens, fault)

    def _embedded(self, body: Mapping[str, Any]) -> tuple[int, dict[str, Any], int]:
        """Answer one request of a batch: status, answer and tokens."""
        refused = self._refused(body, self._api_key)
        if refused is not None:
            return refused.status, {"error": {"code": refused.code, "message": refused.message}}, 0
        embedder, texts = self._models[body["model"]], list(body["input"])
        tokens = embedder.count_tokens(texts).tokens
        vectors = _cut(_embed(embedder, texts), body.get("dimensions"))
        return 200, json.loads(content(body, vectors, tokens, None)), tokens

    def _refused(self, body: Mapping[str, Any], key: str | None) -> Refuse | None:
        """Say no as OpenAI does."""
        model, texts = body.get("model"), body.get("input")
        if self._api_key is not None and key != self._api_key:
            return Refuse(status=401, code="invalid_api_key", message="Incorrect API key provided: {key}.")
        with self._lock:
            known, retired = model in self._models, model in self._retired
        if retired:
            words = f"The model `{model}` has been deprecated, learn more in the documentation."
            return Refuse(status=404, code="model_not_found", message=words)
        if not known:
            words = f"The model `{model}` does not exist or you do not have access to it."
            return Refuse(status=404, code="model_not_found", message=words)
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
            return Refuse(status=400, message="'$.input' is invalid.")
        if len(texts) > self._most_texts:
            words = f"batch size {len(texts)} > maximum allowed batch size {self._most_texts}"
            return Refuse(status=422, message=words)
        counts = [self._models[str(model)].count_tokens([text]).tokens for text in texts]
        for place, tokens in enumerate(counts):
            if tokens > self._most_tokens:
                words = f"Invalid 'input[{place}]': maximum input length is {self._most_tokens} tokens."
                return Refuse(status=400, message=words)
        if sum(counts) > self._most_tokens_per_request:
            words = f"Requested {sum(counts)} tokens, max {self._most_tokens_per_request} tokens per request"
            return Refuse(status=400, code="max_tokens_per_request", message=words)
        return None

    def _note(self, body: Mapping[str, Any], status: int, tokens: int) -> None:
        texts = body.get("input")
        seen = Request(
            model=str(body.get("model")),
            texts=tuple(texts) if isinstance(texts, list) else (),
            body=body,
            status=status,
            tokens=tokens,
        )
        with self._lock:
            self._requests.append(seen)


def _embed(embedder: Embedder, texts: list[str]) -> Vectors:
    size = embedder.limits.batch_size
    return np.concatenate([embedder.embed_documents(texts[at : at + size]) for at in range(0, len(texts), size)])


def _cut(vectors: Vectors, dimensions: int | None) -> Vectors:
    """Keep the first dimensions of each vector, at length 1 again."""
    if dimensions is None:
        return vectors
    kept: Vectors = vectors[:, :dimensions]
    return np.ascontiguousarray(kept / np.linalg.norm(kept, axis=1, keepdims=True), dtype=np.float32)
