from __future__ import annotations

import datetime
import json
from email.utils import format_datetime
from typing import Any

import pytest

from undrift.adapters.embedders.http.limits import duration, seen_limits
from undrift.domain.pace import SeenLimits

OPENAI = {
    "x-ratelimit-limit-requests": "3000",
    "x-ratelimit-limit-tokens": "1000000",
    "x-ratelimit-remaining-requests": "2999",
    "x-ratelimit-remaining-tokens": "999123",
    "x-ratelimit-reset-requests": "20ms",
    "x-ratelimit-reset-tokens": "6m0s",
}
MISTRAL = {
    "x-ratelimit-limit-req-minute": "360",
    "x-ratelimit-remaining-req-minute": "359",
    "x-ratelimit-limit-tokens-minute": "20000000",
    "x-ratelimit-remaining-tokens-minute": "19999000",
    "x-ratelimit-tokens-query-cost": "1000",
}
GEMINI = {
    "error": {
        "code": 429,
        "message": "You exceeded your current quota. Please retry in 34.07s.",
        "status": "RESOURCE_EXHAUSTED",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                "violations": [{"quotaId": "EmbedContentRequestsPerMinutePerProjectPerModel"}],
            },
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.07s"},
        ],
    }
}


def test_headers_of_openai_and_azure_are_read() -> None:
    assert seen_limits(OPENAI, b"") == SeenLimits(
        requests_per_min=3000,
        tokens_per_min=1_000_000,
        remaining_requests=2999,
        remaining_tokens=999_123,
        reset_requests_s=0.02,
        reset_tokens_s=360.0,
    )


def test_headers_of_mistral_are_read() -> None:
    assert seen_limits(MISTRAL, b"") == SeenLimits(
        requests_per_min=360, tokens_per_min=20_000_000, remaining_requests=359, remaining_tokens=19_999_000
    )


@pytest.mark.parametrize("wrapped", [GEMINI, [GEMINI]], ids=["object", "list"])
def test_the_delay_of_google_stands_in_the_body(wrapped: Any) -> None:
    assert seen_limits({}, json.dumps(wrapped).encode()) == SeenLimits(retry_after_s=34.07)


def test_the_case_of_a_header_does_not_matter() -> None:
    assert seen_limits({"Retry-After-Ms": "250", "X-RateLimit-Limit-Requests": "5"}, b"") == SeenLimits(
        retry_after_s=0.25, requests_per_min=5
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("6m0s", 360.0), ("1h2m3s", 3723.0), ("120ms", 0.12), ("1.5s", 1.5), ("7", 7.0), ("0s", 0.0), ("1d", 86_400.0)],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "1 hour", "s", "-3m", "12s later", "nan", "inf"])
def test_what_is_no_duration_is_none(text: str) -> None:
    assert duration(text) is None


@pytest.mark.parametrize("headers", [{}, {"x-ratelimit-limit-requests": "unlimited", "retry-after": "soon"}])
@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b'{"error": "retryDelay"}', b'{"retryDelay": "3s"}'])
def test_an_answer_that_says_nothing_readable_is_silent(headers: dict[str, str], content: bytes) -> None:
    seen = seen_limits(headers, content)

    assert seen.is_silent
    assert seen == SeenLimits()


def test_one_word_breaks_the_silence() -> None:
    assert not seen_limits({"retry-after": "0"}, b"").is_silent


def test_a_date_in_the_past_asks_for_no_wait() -> None:
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)

    assert seen_limits({"retry-after": format_datetime(past)}, b"").retry_after_s == 0


def test_milliseconds_count_before_seconds_and_headers_before_the_body() -> None:
    body = json.dumps(GEMINI).encode()

    assert seen_limits({"retry-after-ms": "1500", "retry-after": "60"}, body).retry_after_s == 1.5
    assert seen_limits({"retry-after": "60"}, body).retry_after_s == 60
