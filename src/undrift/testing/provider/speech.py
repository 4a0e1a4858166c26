"""What the provider understands and answers, in the dialect of whoever asks; real providers word their refusals so."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from undrift.domain.record import Vectors
from undrift.testing.provider.faults import Fault, Refuse, content, rows_of


class Trouble(Enum):
    """Why a request is refused."""

    #: The key is wrong, or there is none.
    KEY = "key"
    #: The model is gone.
    RETIRED = "retired"
    #: There is no such model.
    UNKNOWN = "unknown"
    #: It is not what a request is.
    INPUT = "input"
    #: It has too many texts.
    MANY = "many"
    #: One of its texts is too long.
    LONG = "long"
    #: Its texts are too long together.
    MUCH = "much"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request, whatever it was written in.

    Attributes:
        model: whose vectors are asked for.
        texts: of what; None when the request has no list of texts.
        dimensions: how long they are to be; None for as long as they are.
        task: what the texts are said to be; empty when nothing is said.
        cuts: whether longer texts are to be cut; None when nothing is said.
        counts: whether only tokens are to be counted.
        body: the request itself.
    """

    model: str
    texts: tuple[str, ...] | None
    dimensions: int | None = None
    task: str = ""
    cuts: bool | None = None
    counts: bool = False
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What an answer has to say: float32 vectors of shape (n, d), the tokens of each text, and how many were cut."""

    vectors: Vectors
    tokens: Sequence[int]
    cut: int = 0


class Speech(Protocol):
    """One dialect, from the provider's side."""

    def understand(self, path: str, body: Mapping[str, Any]) -> Asked | None:
        """Return what is asked for, or None when the path is another dialect's."""
        ...

    def answer(self, asked: Asked, made: Made, fault: Fault | None) -> tuple[dict[str, str], bytes]:
        """Return headers and content of an answer, spoiled as the fault says."""
        ...

    def refuse(self, trouble: Trouble, **facts: Any) -> Refuse:
        """Return a refusal in the words of the provider."""
        ...

    def say(self, refused: Refuse) -> tuple[Mapping[str, str], dict[str, Any]]:
        """Return headers and body of a refusal."""
        ...


class OpenAiSpeech:
    """`/v1/embeddings`, and Azure's and other addresses of it."""

    _PATH = re.compile(r"(?:/openai/deployments/(?P<deployment>[^/]+)|.*?)/embeddings")

    def understand(self, path: str, body: Mapping[str, Any]) -> Asked | None:
        """Read what OpenAI's, Voyage's, Mistral's, Jina's and NVIDIA's flavours have in common, and what they add."""
        found = self._PATH.fullmatch(path)
        if found is None:
            return None
        cuts = body.get("truncation", body.get("truncate"))
        return Asked(
            model=unquote(found["deployment"] or "") or str(body.get("model")),
            texts=_texts(body.get("input")),
            dimensions=body.get("dimensions", body.get("output_dimension")),
            task=str(body.get("input_type") or body.get("task") or ""),
            cuts=None if cuts is None else cuts not in (False, "NONE"),
            body=body,
        )

    def answer(self, asked: Asked, made: Made, fault: Fault | None) -> tuple[dict[str, str], bytes]:
        """Write vectors with their indexes."""
        return {}, content({**asked.body, "model": asked.model}, made.vectors, sum(made.tokens), fault)

    def refuse(self, trouble: Trouble, **facts: Any) -> Refuse:
        """Say no as OpenAI does, and to too many texts as TEI does."""
        model, most = facts.get("model"), facts.get("most")
        match trouble:
            case Trouble.KEY:
                return Refuse(status=401, code="invalid_api_key", message="Incorrect API key provided: {key}.")
            case Trouble.RETIRED:
                words = f"The model `{model}` has been deprecated, learn more in the documentation."
                return Refuse(status=404, code="model_not_found", message=words)
            case Trouble.UNKNOWN:
                words = f"The model `{model}` does not exist or you do not have access to it."
                return Refuse(status=404, code="model_not_found", message=words)
            case Trouble.INPUT:
                return Refuse(status=400, message="'$.input' is invalid.")
            case Trouble.MANY:
                words = f"batch size {facts['count']} > maximum allowed batch size {most}"
                return Refuse(status=422, message=words)
            case Trouble.LONG:
                words = f"Invalid 'input[{facts['place']}]': maximum input length is {most} tokens."
                return Refuse(status=400, message=words)
            case Trouble.MUCH:
                words = f"Requested {facts['count']} tokens, max {most} tokens per request"
                return Refuse(status=400, code="max_tokens_per_request", message=words)

    def say(self, refused: Refuse) -> tuple[Mapping[str, str], dict[str, Any]]:
        """Write OpenAI's error object."""
        error = {"message": refused.message, "type": "invalid_request_error", "code": refused.code}
        return refused.headers, {"error": error}


class CohereSpeech:
    """`/v2/embed`."""

    def understand(self, path: str, body: Mapping[str, Any]) -> Asked | None:
        """Read it; the side of the texts has to be said."""
        if path != "/v2/embed":
            return None
        task = str(body.get("input_type") or "")
        return Asked(
            model=str(body.get("model")),
            texts=_texts(body.get("texts")) if task else None,
            dimensions=body.get("output_dimension"),
            task=task,
            cuts=body.get("truncate", "END") != "NONE",
            body=body,
        )

    def answer(self, asked: Asked, made: Made, fault: Fault | None) -> tuple[dict[str, str], bytes]:
        """Write vectors by their number format."""
        units = {"input_tokens": sum(made.tokens)}
        body = {
            "id": "0",
            "embeddings": {"float": rows_of(made.vectors, fault)},
            "texts": list(asked.texts or ()),
            "meta": {"api_version": {"version": "2"}, "billed_units": units},
            "response_type": "embeddings_by_type",
        }
        return {}, json.dumps(body).encode()

    def refuse(self, trouble: Trouble, **facts: Any) -> Refuse:
        """Say no as Cohere does, who has the same words for what is gone and what never was."""
        most, count = facts.get("most"), facts.get("count")
        match trouble:
            case Trouble.KEY:
                return Refuse(status=401, message="invalid api token")
            case Trouble.RETIRED | Trouble.UNKNOWN:
                return Refuse(
                    status=404,
                    message=f"model '{facts['model']}' not found, make sure the correct model ID was used and that you "
                    "have access to the model.",
                )
            case Trouble.INPUT:
                return Refuse(status=400, message="invalid request: valid input_type and texts must be provided")
            case Trouble.MANY:
                words = f"invalid request: total number of texts must be at most {most} - received {count}"
                return Refuse(status=400, message=words)
            case Trouble.LONG:
                words = f"too many tokens: total number of tokens in the text cannot exceed {most} - received {count}"
                return Refuse(status=400, message=words)
            case Trouble.MUCH:
                return Refuse(status=400, message=f"invalid request: at most {most} tokens per request")

    def say(self, refused: Refuse) -> tuple[Mapping[str, str], dict[str, Any]]:
        """Write a message; Cohere's answers have nothing about limits in their headers."""
        return {}, {"id": "0", "message": refused.message}


class OllamaSpeech:
    """`/api/embed`."""

    def understand(self, path: str, body: Mapping[str, Any]) -> Asked | None:
        """Read it; texts are cut unless it is said otherwise."""
        if path != "/api/embed":
            return None
        return Asked(
            model=str(body.get("model")),
            texts=_texts(body.get("input")),
            dimensions=body.get("dimensions"),
            cuts=body.get("truncate", True) is not False,
            body=body,
        )

    def answer(self, asked: Asked, made: Made, fault: Fault | None) -> tuple[dict[str, str], bytes]:
        """Write vectors as a plain list."""
        body = {
            "model": asked.model,
            "embeddings": rows_of(made.vectors, fault),
            "prompt_eval_count": sum(made.tokens),
        }
        return {}, json.dumps(body).encode()

    def refuse(self, trouble: Trouble, **facts: Any) -> Refuse:
        """Say no as Ollama does."""
        match trouble:
            case Trouble.KEY:
                return Refuse(status=401, message="unauthorized")
            case Trouble.RETIRED | Trouble.UNKNOWN:
                return Refuse(status=404, message=f'model "{facts["model"]}" not found, try pulling it first')
            case Trouble.LONG:
                return Refuse(status=400, message="the input length exceeds the context length")
            case Trouble.INPUT | Trouble.MANY | Trouble.MUCH:
                return Refuse(status=400, message="invalid input type")

    def say(self, refused: Refuse) -> tuple[Mapping[str, str], dict[str, Any]]:
        """Write a sentence."""
        return refused.headers, {"error": refused.message}


def _texts(found: object) -> tuple[str, ...] | None:
    if not isinstance(found, list) or not found or not all(isinstance(text, str) and text for text in found):
        return None
    return tuple(found)


def path_of(address: str) -> str:
    """Return the path of a request without what is asked behind it."""
    return urlsplit(address).path
