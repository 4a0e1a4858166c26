"""What providers say when they do not answer, from bodies that were seen in the world, and what each means."""

from __future__ import annotations

import json
from typing import Any

import pytest

from undrift.adapters.embedders.http.refusal import refusal
from undrift.errors import (
    EmbedderRejected,
    EmbedderUnavailable,
    ModelRetired,
    ModelUnavailable,
    TextTooLong,
    UndriftError,
)

RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}
AWS = "x-amzn-errortype"

SEEN: dict[str, tuple[int, dict[str, str], Any, type[UndriftError]]] = {
    "openai, retired": (
        404,
        {},
        {
            "error": {
                "message": "The model `davinci` has been deprecated, learn more here: https://platform.example/docs",
                "type": "invalid_request_error",
                "param": None,
                "code": "model_not_found",
            }
        },
        ModelRetired,
    ),
    "openai, unknown": (
        404,
        {},
        {
            "error": {
                "message": "The model `x` does not exist or you do not have access to it.",
                "type": "invalid_request_error",
                "code": "model_not_found",
            }
        },
        ModelUnavailable,
    ),
    "openai, no money": (
        429,
        {},
        {"error": {"message": "You exceeded your current quota, please check your plan", "code": "insufficient_quota"}},
        ModelUnavailable,
    ),
    "openai, pace": (
        429,
        {"retry-after-ms": "120"},
        {"error": {"message": "Rate limit reached for text-embedding-3-small", "code": "rate_limit_exceeded"}},
        EmbedderUnavailable,
    ),
    "openai, text": (
        400,
        {},
        {"error": {"message": "Invalid 'input[0]': maximum input length is 8192 tokens.", "code": None}},
        TextTooLong,
    ),
    "openai, request": (
        400,
        {},
        {
            "error": {
                "message": "Requested 306153 tokens, max 300000 tokens per request",
                "type": "max_tokens_per_request",
                "code": "max_tokens_per_request",
            }
        },
        EmbedderRejected,
    ),
    "azure, retired or mistyped": (
        404,
        {},
        {"error": {"code": "404", "message": "Resource not found"}},
        ModelUnavailable,
    ),
    "azure, deployment": (
        404,
        {},
        {"error": {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist."}},
        ModelUnavailable,
    ),
    "azure, deprecated": (
        400,
        {},
        {
            "error": {
                "code": "ServiceModelDeprecated",
                "message": "The model 'Format:OpenAI,Name:x,Version:0613' has been deprecated since 04/30/2025.",
            }
        },
        ModelRetired,
    ),
    "gemini, gone or never there": (
        404,
        {},
        {
            "error": {
                "code": 404,
                "message": "models/text-embedding-004 is not found for API version v1beta, or is not supported for "
                "embedContent. Call ListModels to see the list of available models.",
                "status": "NOT_FOUND",
            }
        },
        ModelUnavailable,
    ),
    "gemini, key": (
        400,
        {},
        {
            "error": {
                "code": 400,
                "message": "API key not valid. Please pass a valid API key.",
                "status": "INVALID_ARGUMENT",
            }
        },
        ModelUnavailable,
    ),
    "gemini, pace, in the words of a bill": (
        429,
        {},
        {
            "error": {
                "code": 429,
                "message": "You exceeded your current quota, please check your plan and billing details.",
                "status": "RESOURCE_EXHAUSTED",
                "details": [RETRY_INFO],
            }
        },
        EmbedderUnavailable,
    ),
    "gemini, batch": (
        400,
        {},
        {
            "error": {
                "code": 400,
                "message": "* BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch",
                "status": "INVALID_ARGUMENT",
            }
        },
        EmbedderRejected,
    ),
    "cohere, unknown": (
        404,
        {},
        {
            "message": "model 'xyz' not found, make sure the correct model ID was used and that you have access "
            "to the model."
        },
        ModelUnavailable,
    ),
    "cohere, batch": (
        400,
        {},
        {"message": "invalid request: total number of texts must be at most 96 - received 104"},
        EmbedderRejected,
    ),
    "bedrock, retired": (
        404,
        {AWS: "ResourceNotFoundException:http://internal.amazon.com/coral/"},
        {
            "message": "This model version has reached the end of its life. Please refer to the AWS documentation "
            "for more details."
        },
        ModelRetired,
    ),
    "bedrock, legacy": (
        403,
        {AWS: "AccessDeniedException"},
        {
            "message": "Access denied. This Model is marked by provider as Legacy and you have not been actively "
            "using the model in the last 30 days."
        },
        ModelRetired,
    ),
    "bedrock, unknown": (
        400,
        {AWS: "ValidationException"},
        {"message": "The provided model identifier is invalid."},
        ModelUnavailable,
    ),
    "bedrock, no access": (
        403,
        {AWS: "AccessDeniedException"},
        {"message": "You don't have access to the model with the specified model ID."},
        ModelUnavailable,
    ),
    "bedrock, credentials": (
        403,
        {AWS: "UnrecognizedClientException"},
        {"message": "The security token included in the request is invalid."},
        ModelUnavailable,
    ),
    "bedrock, pace": (
        429,
        {AWS: "ThrottlingException"},
        {"message": "Too many tokens, please wait."},
        EmbedderUnavailable,
    ),
    "bedrock, text": (
        400,
        {AWS: "ValidationException"},
        {"message": "400 Bad Request: Too many input tokens. Max input tokens: 8192, request input token count: 9000"},
        TextTooLong,
    ),
    "voyage, unknown": (
        400,
        {},
        {"detail": "Model voyage-9 is not supported. Supported models are ['voyage-4', 'voyage-4-lite']."},
        ModelUnavailable,
    ),
    "voyage, pace without a card": (
        429,
        {},
        {"detail": "You have not yet added your payment method in the billing page and will have reduced rate limits."},
        EmbedderUnavailable,
    ),
    "voyage, text": (
        400,
        {},
        {
            "detail": "The example at index 0 in your batch has too many tokens and does not fit into the "
            "context window."
        },
        TextTooLong,
    ),
    "voyage, request": (
        400,
        {},
        {"detail": "The max allowed tokens per submitted batch is 120000. Your batch has 150000 tokens."},
        EmbedderRejected,
    ),
    "mistral, unknown": (
        400,
        {},
        {"object": "error", "message": "Invalid model: x", "type": "invalid_model", "code": "1500"},
        ModelUnavailable,
    ),
    "mistral, request": (
        400,
        {},
        {"object": "error", "message": "Too many tokens overall, split into more batches.", "code": 3210},
        EmbedderRejected,
    ),
    "openrouter, no money": (402, {}, {"error": {"code": 402, "message": "Insufficient credits"}}, ModelUnavailable),
    "lm studio, batch": (500, {}, {"error": "llama_decode returned -1"}, EmbedderRejected),
    "ollama, unknown": (404, {}, {"error": 'model "x" not found, try pulling it first'}, ModelUnavailable),
    "ollama, text": (400, {}, {"error": "the input length exceeds the context length"}, TextTooLong),
    "tei, batch": (
        422,
        {},
        {"error": "batch size 64 > maximum allowed batch size 32", "error_type": "Validation"},
        EmbedderRejected,
    ),
    "vllm, unknown": (
        404,
        {},
        {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError", "code": 404},
        ModelUnavailable,
    ),
    "anybody, gone": (410, {}, {}, ModelRetired),
    "anybody, down": (503, {}, "<html>upstream</html>", EmbedderUnavailable),
}


@pytest.mark.parametrize("case", SEEN)
def test_what_a_provider_says_is_understood(case: str) -> None:
    status, headers, body, kind = SEEN[case]
    content = (body if isinstance(body, str) else json.dumps(body)).encode()

    found = refusal(status, headers, content, model="x", host="api.example")

    assert type(found.error) is kind, found.error
    assert found.may_change == (kind is EmbedderUnavailable)
    assert f"HTTP {status}" in found.error.detail
    if issubclass(kind, ModelUnavailable):
        assert found.error.hint


def test_a_delay_in_the_body_is_waited_for() -> None:
    status, headers, body, _ = SEEN["gemini, pace, in the words of a bill"]

    assert refusal(status, headers, json.dumps(body).encode(), model="x", host="h").wait_s == 34.0
