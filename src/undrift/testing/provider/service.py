"""Models behind names, as a provider serves them: keys, limits, retirements, silent changes, and a log."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

import numpy as np

from undrift.domain.record import Vectors
from undrift.errors import TextTooLong, UndriftError
from undrift.ports.embedder import Embedder
from undrift.testing.provider.batches import BatchEndpoints
from undrift.testing.provider.clouds import BedrockSpeech, GeminiSpeech, VertexSpeech
from undrift.testing.provider.faults import Fault, Refuse, Spoil, Wait
from undrift.testing.provider.limits import AccountLimits
from undrift.testing.provider.server import Arrived, Server
from undrift.testing.provider.speech import (
    Asked,
    CohereSpeech,
    Made,
    OllamaSpeech,
    OpenAiSpeech,
    Speech,
    Trouble,
    path_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request for vectors, as the server saw it.

    Attributes:
        model: whose vectors were asked for.
        texts: of what; empty when they could not be read.
        body: what was sent.
        status: how it was answered; 0 for not at all.
        tokens: those of an answered one, as the model counts.
        path: where it was sent to.
        task: what the texts were said to be.
    """

    model: str
    texts: tuple[str, ...]
    body: Mapping[str, Any]
    status: int
    tokens: int
    path: str = ""
    task: str = ""


@dataclass(slots=True)
class _Served:
    """A model behind a name, and what becomes of it."""

    embedder: Embedder
    announced: Mapping[str, str] = field(default_factory=dict)
    answered: int = 0
    retires_after: int | None = None
    swaps_after: tuple[int, Embedder] | None = None

    @property
    def is_retired(self) -> bool:
        return self.retires_after is not None and self.answered >= self.retires_after

    def now(self) -> Embedder:
        if self.swaps_after is not None and self.answered >= self.swaps_after[0]:
            self.embedder, self.swaps_after = self.swaps_after[1], None
        return self.embedder


class EmbeddingProvider:
    """Serves embedding models over HTTP on this machine, for tests, benchmarks and trying things out.

    It speaks the dialects of OpenAI (with the flavours of others, and Azure's addresses), Cohere, Gemini, Vertex,
    Bedrock and Ollama, each at its usual path, and refuses in the words of each. It has batch APIs as OpenAI, Mistral,
    Voyage and the Gemini API have them.

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
        self._models = {name: _Served(embedder) for name, embedder in models.items()}
        self._speeches: list[Speech] = [
            CohereSpeech(),
            OllamaSpeech(),
            GeminiSpeech(),
            VertexSpeech(),
            BedrockSpeech(),
            OpenAiSpeech(),
        ]
        self._api_key = api_key
        self._most_texts = most_texts
        self._most_tokens = most_tokens
        self._most_tokens_per_request = most_tokens_per_request
        self._limits = limits or AccountLimits()
        self._faults: deque[Fault | None] = deque()
        self._requests: list[Request] = []
        self._lock = threading.Lock()
        self.batches = BatchEndpoints(self._embedded)
        self._server = Server(port, self._answer)
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """What goes into `base_url` for everything that speaks as OpenAI does."""
        return f"{self.root}/v1"

    @property
    def root(self) -> str:
        """What goes into `base_url` for every other dialect."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def requests(self) -> list[Request]:
        """Every request so far, in the order in which they were answered."""
        with self._lock:
            return list(self._requests)

    def script(self, *faults: Fault | None) -> None:
        """Let the next requests fail, one fault each; None lets one through."""
        with self._lock:
            self._faults.extend(faults)

    def retire(self, model: str, *, after: int = 0) -> None:
        """Answer for a model as each provider does for one that is gone, from now on or after so many answers."""
        with self._lock:
            self._models[model].retires_after = self._models[model].answered + after

    def swap(self, model: str, embedder: Embedder, *, after: int = 0) -> None:
        """Put another model behind a name, now or after so many answers, and say nothing."""
        with self._lock:
            served = self._models.setdefault(model, _Served(embedder))
            served.swaps_after = served.answered + after, embedder

    def announce(self, model: str, headers: Mapping[str, str]) -> None:
        """Send headers with every answer of a model, such as `Sunset` or `X-API-Warning`."""
        with self._lock:
            self._models[model].announced = dict(headers)

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

    def _answer(self, arrived: Arrived) -> tuple[int, Mapping[str, str], bytes] | None:
        """Answer one request: status, headers and content, or None to hang up."""
        path = path_of(arrived.path)
        if arrived.method == "GET" and path == "/v1/models":
            return self._list(arrived.key)
        if (words := self.batches.speech_for(arrived)) is not None:
            if self._api_key is None or arrived.key == self._api_key:
                return self.batches.answer(arrived)
            refused = words.refuse(Trouble.KEY)
            return refused.status, {}, json.dumps(words.say(refused)[1]).encode()
        try:
            body = json.loads(arrived.content)
        except ValueError:
            body = None
        for speech in self._speeches if isinstance(body, dict) and arrived.method == "POST" else ():
            asked = speech.understand(path, body)
            if asked is not None:
                return self._asked(asked, speech, arrived)
        return 404 if isinstance(body, dict) else 400, {}, b'{"error": {"message": "no such request"}}'

    def _asked(self, asked: Asked, speech: Speech, arrived: Arrived) -> tuple[int, Mapping[str, str], bytes] | None:
        """Answer a request for vectors, or for a count of tokens."""
        with self._lock:
            fault = self._faults.popleft() if self._faults and not asked.counts else None
        if isinstance(fault, Wait):
            self._server.stopping.wait(fault.seconds)
        if fault is Spoil.HANG_UP:
            self._note(asked, arrived.path, 0, 0)
            return None
        refused = fault if isinstance(fault, Refuse) else self._refused(asked, speech, arrived.key)
        if refused is None:
            served = self._served(asked, speech, fault, arrived.path)
            if not isinstance(served, Refuse):
                return served
            refused = served
        self._note(asked, arrived.path, refused.status, 0)
        # Careless servers repeat the key that they were sent.
        refused = replace(refused, message=refused.message.replace("{key}", str(arrived.key)))
        headers, body = speech.say(refused)
        return refused.status, headers, json.dumps(body).encode()

    def _served(
        self, asked: Asked, speech: Speech, fault: Fault | None, path: str
    ) -> tuple[int, Mapping[str, str], bytes] | Refuse:
        """Answer a sound request, unless it comes too soon."""
        with self._lock:
            model = self._models[asked.model]
            embedder, announced = model.now(), model.announced
        texts, cut = self._within_limit(embedder, asked)
        tokens = [embedder.count_tokens([text]).tokens for text in texts]
        if asked.counts:
            none = np.empty((0, 0), dtype=np.float32)
            return 200, {}, speech.answer(asked, Made(vectors=none, tokens=tokens), None)[1]
        if (too_soon := self._limits.begin(sum(tokens))) is not None:
            return too_soon
        try:
            vectors = _embed(embedder, texts)
        except UndriftError as error:
            if isinstance(error, TextTooLong):
                return Refuse(status=400, message=f"{error.message}: text is too long")
            return Refuse(status=500, message=error.message)
        finally:
            self._limits.end()
        with self._lock:
            model.answered += 1
        self._note(asked, path, 200, sum(tokens))
        made = Made(vectors=_cut(vectors, asked.dimensions), tokens=tokens, cut=cut)
        headers, content = speech.answer(asked, made, fault)
        if isinstance(fault, Spoil) and fault in _WHOLE:
            content = _WHOLE[fault]
        if isinstance(speech, OpenAiSpeech):
            headers = {**self._limits.headers(), **headers}
        return 200, {**headers, **announced}, content

    def _refused(self, asked: Asked, speech: Speech, key: str | None) -> Refuse | None:
        """Say no, in the words of the dialect."""
        if self._api_key is not None and key != self._api_key:
            return speech.refuse(Trouble.KEY)
        with self._lock:
            model = self._models.get(asked.model)
            is_retired = model is not None and model.is_retired
        if model is None or is_retired:
            return speech.refuse(Trouble.RETIRED if is_retired else Trouble.UNKNOWN, model=asked.model)
        if asked.texts is None:
            return speech.refuse(Trouble.INPUT)
        if asked.counts:
            return None
        if len(asked.texts) > self._most_texts:
            return speech.refuse(Trouble.MANY, count=len(asked.texts), most=self._most_texts)
        counts = [model.embedder.count_tokens([text]).tokens for text in asked.texts]
        for place, tokens in enumerate(counts):
            if tokens > self._most_tokens and not asked.cuts:
                return speech.refuse(Trouble.LONG, place=place, count=tokens, most=self._most_tokens)
        if sum(counts) > self._most_tokens_per_request:
            return speech.refuse(Trouble.MUCH, count=sum(counts), most=self._most_tokens_per_request)
        return None

    def _within_limit(self, embedder: Embedder, asked: Asked) -> tuple[list[str], int]:
        """Return texts as the model gets them, and how many had to be cut."""
        texts = list(asked.texts or ())
        if asked.counts or not asked.cuts:
            return texts, 0
        longer = [place for place, text in enumerate(texts) if embedder.count_tokens([text]).tokens > self._most_tokens]
        for place in longer:
            words = texts[place].split()
            while len(words) > 1 and embedder.count_tokens([" ".join(words)]).tokens > self._most_tokens:
                words = words[: max(1, len(words) * 3 // 4)]
            texts[place] = " ".join(words)
        return texts, len(longer)

    def _embedded(self, asked: Asked | None, speech: Speech) -> tuple[int, dict[str, Any], int]:
        """Answer one request of a batch: status, answer and tokens."""
        refused = speech.refuse(Trouble.INPUT) if asked is None else self._refused(asked, speech, self._api_key)
        if asked is None or refused is not None:
            return (400, {}, 0) if refused is None else (refused.status, dict(speech.say(refused)[1]), 0)
        with self._lock:
            embedder = self._models[asked.model].now()
        texts, cut = self._within_limit(embedder, asked)
        # Who cuts, cuts at a token, though we do at a word.
        whole = [embedder.count_tokens([text]).tokens for text in asked.texts or ()]
        tokens = [min(count, self._most_tokens) for count in whole]
        made = Made(vectors=_cut(_embed(embedder, texts), asked.dimensions), tokens=tokens, cut=cut)
        return 200, json.loads(speech.answer(asked, made, None)[1]), sum(tokens)

    def _list(self, key: str | None) -> tuple[int, Mapping[str, str], bytes]:
        """List the models that are there, as OpenAI does."""
        if self._api_key is not None and key != self._api_key:
            return 401, {}, b'{"error": {"message": "Incorrect API key", "code": "invalid_api_key"}}'
        with self._lock:
            there = [name for name, model in self._models.items() if not model.is_retired]
        data = [{"id": name, "object": "model", "owned_by": "undrift"} for name in there]
        return 200, {}, json.dumps({"object": "list", "data": data}).encode()

    def _note(self, asked: Asked, path: str, status: int, tokens: int) -> None:
        if asked.counts:
            return
        seen = Request(
            model=asked.model,
            texts=asked.texts or (),
            body=asked.body,
            status=status,
            tokens=tokens,
            path=path,
            task=asked.task,
        )
        with self._lock:
            self._requests.append(seen)


#: Answers that are the same in every dialect, because they are none.
_WHOLE = {
    Spoil.NOT_JSON: b"<html><body>Welcome to the proxy</body></html>",
    Spoil.NO_VECTORS: b'{"object": "list"}',
}


def _embed(embedder: Embedder, texts: list[str]) -> Vectors:
    size = embedder.limits.batch_size
    return np.concatenate([embedder.embed_documents(texts[at : at + size]) for at in range(0, len(texts), size)])


def _cut(vectors: Vectors, dimensions: int | None) -> Vectors:
    """Keep the first dimensions of each vector, at length 1 again."""
    if dimensions is None:
        return vectors
    kept: Vectors = vectors[:, :dimensions]
    return np.ascontiguousarray(kept / np.linalg.norm(kept, axis=1, keepdims=True), dtype=np.float32)
