"""The dialects of Google and of AWS, from the provider's side."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from undrift.testing.provider.faults import Fault, Refuse, rows_of
from undrift.testing.provider.speech import Asked, Made, Trouble

_STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}


class GeminiSpeech:
    """`batchEmbedContents` and `countTokens` of the Gemini API, which cuts long texts without a word."""

    _PATH = re.compile(r"/v1beta/models/([^/:]+):(batchEmbedContents|countTokens)")

    def understand(self, path: str, body: Mapping[str, Any]) -> Asked | None:
        """Read one text a request."""
        found = self._PATH.fullmatch(unquote(path))
        if found is None:
            return None
        model, verb = found.groups()
        if verb == "countTokens":
            return Asked(model=model, texts=_parts(body.get("contents")), counts=True, body=body)
        requests = body.get("requests")
        requests = requests if isinstance(requests, list) else []
        first: Mapping[str, Any] = requests[0] if requests else {}
        return Asked(
            model=model,
            texts=_parts([request.get("content") for request in requests]),
            dimensions=first.get("outputDimensionality"),
            task=str(first.get("taskType") or ""),
            cuts=True,
            body=body,
        )

    def answer(self, asked: Asked, made: Made, fault: Fault | None) -> tuple[dict[str, str], bytes]:
        """Write vectors, or a count."""
        if asked.counts:
            return {}, json.dumps({"totalTokens": sum(made.tokens)}).encode()
        return {}, json.dumps({"embeddings": [{"values": row} for row in rows_of(made.vectors, fault)]}).encode()

    def refuse(self, trouble: Trouble, **facts: Any) -> Refuse:
        """Say no as Google does, who has the same words for what is gone and what never was."""
        match trouble:
            case Trouble.KEY:
                return Refuse(status=400, message="API key not valid. Please pass a valid API key.")
            case Trouble.RETIRED | Trouble.UNKNOWN:
                return Refuse(
                    status=404,
                    message=f"models/{facts['model']} is not found for API version v1beta, or is not supported for "
                    "embedContent. Call ListModels to see the list of available models.",
                )
            case Trouble.MANY:
                words = f"BatchEmbedContentsRequest.requests: at most {facts['most']} requests can be in one batch"
                return Refuse(status=400, message=words)
            case Trouble.INPUT | Trouble.LONG | Trouble.MUCH:
                return Refuse(status=400, message="Request payload size exceeds the limit: 36000 bytes.")

    def say(self, refused: Refuse) -> tuple[Mapping[str, str], dict[str, Any]]:
        """Write Google's error, with the delay in its details and nothing in the headers."""
        return {}, google_error(refused)


class VertexSpeech:
    """`predict` of Vertex AI."""

    _PATH = re.compile(r"/v1/projects/[^/]+/locations/[^/]+/publishers/google/models/([^/:]+):predict")

    def understand(self, path: str, body: Mapping[str, Any]) -> Asked | None:
        """Read instances and parameters; texts are cut unless it is said otherwise."""
        found = self._PATH.fullmatch(unquote(path))
        if found is None:
            return None
        instances = body.get("instances")
        instances = instances if isinstance(instances, list) else []
        parameters = body.get("parameters") or {}
        texts = tuple(str(instance.get("content") or "") for instance in instances)
        return Asked(
            model=found[1],
            texts=texts if texts and all(texts) else None,
            dimensions=parameters.get("outputDimensionality"),
            task=str(instances[0].get("task_type") or "") if instances else "",
            cuts=parameters.get("autoTruncate", True) is not False,
            body=body,
        )

    def answer(self, _asked: Asked, made: Made, fault: Fault | None) -> tuple[dict[str, str], bytes]:
        """Write predictions with their statistics."""
        cut = [place < made.cut for place in range(len(made.tokens))]
        predictions = [
            {"embeddings": {"values": row, "statistics": {"truncated": was_cut, "token_count": float(tokens)}}}
            for row, tokens, was_cut in zip(rows_of(made.vectors, fault), made.tokens, cut, strict=False)
        ]
        return {}, json.dumps({"predictions": predictions}).encode()

    def refuse(self, trouble: Trouble, **facts: Any) -> Refuse:
        """Say no as Vertex does."""
        match trouble:
            case Trouble.KEY:
                return Refuse(status=401, message="Request had invalid authentication credentials.")
            case Trouble.RETIRED | Trouble.UNKNOWN:
                words = f"Publisher Model `publishers/google/models/{facts['model']}` was not found."
                return Refuse(status=404, message=words)
            case Trouble.LONG:
                words = f"The input token count is {facts['count']} but the model supports up to {facts['most']}."
                return Refuse(status=400, message=words)
            case Trouble.MUCH:
                words = f"Unable to submit request: {facts['count']} tokens per request exceed {facts['most']}."
                return Refuse(status=400, message=words)
            case Trouble.INPUT | Trouble.MANY:
                return Refuse(status=400, message=f"{facts.get('count', 0)} instances in one batch are not allowed.")

    def say(self, refused: Refuse) -> tuple[Mapping[str, str], dict[str, Any]]:
        """Write Google's error."""
        return {}, google_error(refused)


class BedrockSpeech:
    """`InvokeModel` for Titan, Cohere and Nova."""

    _PATH = re.compile(r"/model/([^/]+)/invoke")
    _KINDS: Mapping[int, str] = {
        400: "ValidationException",
        403: "UnrecognizedClientException",
        404: "ResourceNotFoundException",
        429: "ThrottlingException",
    }

    def understand(self, path: str, body: Mapping[str, Any]) -> Asked | None:
        """Read the form of the model's family."""
        found = self._PATH.fullmatch(path)
        if found is None:
            return None
        model = unquote(found[1])
        nova = body.get("singleEmbeddingParams")
        if isinstance(nova, dict):
            text = nova.get("text") or {}
            return Asked(
                model=model,
                texts=(str(text.get("value")),) if text.get("value") else None,
                dimensions=nova.get("embeddingDimension"),
                task=str(nova.get("embeddingPurpose") or ""),
                cuts=text.get("truncationMode") != "NONE",
                body=body,
            )
        texts = body.get("texts") or ([body["inputText"]] if body.get("inputText") else None)
        return Asked(
            model=model,
            texts=tuple(texts) if texts else None,
            dimensions=body.get("output_dimension", body.get("dimensions")),
            task=str(body.get("input_type") or ""),
            cuts="texts" in body and body.get("truncate", "NONE") != "NONE",
            body=body,
        )

    def answer(self, asked: Asked, made: Made, fault: Fault | None) -> tuple[dict[str, str], bytes]:
        """Write in the form of the model's family."""
        rows = rows_of(made.vectors, fault)
        counted = {"X-Amzn-Bedrock-Input-Token-Count": str(sum(made.tokens))}
        body: dict[str, Any]
        if "texts" in asked.body:
            body = {"embeddings": {"float": rows}, "id": "0", "response_type": "embeddings_by_type"}
        elif "inputText" in asked.body:
            row = rows[0] if rows else None
            body = {"embedding": row, "embeddingsByType": {"float": row}, "inputTextTokenCount": sum(made.tokens)}
        else:
            body = {"embeddings": [{"embeddingType": "TEXT", "embedding": row} for row in rows]}
        return counted, json.dumps(body).encode()

    def refuse(self, trouble: Trouble, **facts: Any) -> Refuse:
        """Say no as Bedrock does."""
        match trouble:
            case Trouble.KEY:
                return Refuse(status=403, message="The security token included in the request is invalid.")
            case Trouble.RETIRED:
                return Refuse(
                    status=404,
                    message="This model version has reached the end of its life. Please refer to the AWS documentation "
                    "for more details.",
                )
            case Trouble.UNKNOWN:
                return Refuse(status=400, message="The provided model identifier is invalid.")
            case Trouble.LONG | Trouble.MUCH:
                words = f"400 Bad Request: Too many input tokens. Max input tokens: {facts['most']}, request input "
                return Refuse(status=400, message=f"{words}token count: {facts['count']}")
            case Trouble.INPUT | Trouble.MANY:
                return Refuse(status=400, message="Malformed input request, please reformat your input and try again.")

    def say(self, refused: Refuse) -> tuple[Mapping[str, str], dict[str, Any]]:
        """Write a message; what it is stands in a header."""
        kind = self._KINDS.get(refused.status, "InternalServerException")
        return {"X-Amzn-Errortype": f"{kind}:http://internal.amazon.com/coral/"}, {"message": refused.message}


def google_error(refused: Refuse) -> dict[str, Any]:
    """Return an error as all of Google's services write it."""
    error: dict[str, Any] = {"code": refused.status, "message": refused.message}
    error["status"] = "RESOURCE_EXHAUSTED" if refused.status == 429 else _STATUS.get(refused.status, "INTERNAL")
    waits = {name.lower(): value for name, value in refused.headers.items()}
    if "retry-after-ms" in waits:
        delay = f"{float(waits['retry-after-ms']) / 1000:g}s"
        error["details"] = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}]
    return {"error": error}


def _parts(contents: object) -> tuple[str, ...] | None:
    """Return the text of each content; several parts of one would be one vector."""
    found = []
    for one in contents if isinstance(contents, list) else []:
        parts = one.get("parts") if isinstance(one, dict) else None
        if not isinstance(parts, list) or len(parts) != 1 or not parts[0].get("text"):
            return None
        found.append(str(parts[0]["text"]))
    return tuple(found) or None
