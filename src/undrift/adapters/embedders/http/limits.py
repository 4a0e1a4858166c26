"""What an answer says of an account's limits: every provider's headers, and the details of Google's errors."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from undrift.domain.pace import SeenLimits

#: Header names by what they say; the first that is there and can be read counts.
_REQUESTS_PER_MIN = ("x-ratelimit-limit-requests", "x-ratelimit-limit-req-minute", "x-ratelimit-limit")
_TOKENS_PER_MIN = ("x-ratelimit-limit-tokens", "x-ratelimit-limit-tokens-minute")
_REMAINING_REQUESTS = (
    "x-ratelimit-remaining-requests",
    "x-ratelimit-remaining-req-minute",
    "x-ratelimit-remaining",
)
_REMAINING_TOKENS = ("x-ratelimit-remaining-tokens", "x-ratelimit-remaining-tokens-minute")
_RESET_REQUESTS = ("x-ratelimit-reset-requests", "x-ratelimit-reset-req-minute")
_RESET_TOKENS = ("x-ratelimit-reset-tokens", "x-ratelimit-reset-tokens-minute")
#: Parts of a duration as Go writes it, which is how OpenAI does: `6m0s`, `1h2m`, `120ms`.
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|h|m|s|d)")
_SECONDS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def seen_limits(headers: Mapping[str, str], content: bytes = b"") -> SeenLimits:
    """Read what an answer says of limits, whichever provider it is from.

    Args:
        headers: the answer's headers, by name in any case.
        content: its body; only errors have something to say there.
    """
    by_name = {name.lower(): value for name, value in headers.items()}
    return SeenLimits(
        requests_per_min=_first_count(by_name, _REQUESTS_PER_MIN),
        tokens_per_min=_first_count(by_name, _TOKENS_PER_MIN),
        remaining_requests=_first_count(by_name, _REMAINING_REQUESTS),
        remaining_tokens=_first_count(by_name, _REMAINING_TOKENS),
        reset_requests_s=_first_duration(by_name, _RESET_REQUESTS),
        reset_tokens_s=_first_duration(by_name, _RESET_TOKENS),
        retry_after_s=retry_after(by_name, content),
    )


def retry_after(headers: Mapping[str, str], content: bytes = b"") -> float | None:
    """Return how long the answer asks to wait, in seconds; None when it does not say.

    In the order of the providers' own clients: `retry-after-ms`, `retry-after` in seconds or as a date, and Google's
    `retryDelay`, which stands in the body.

    Args:
        headers: the answer's headers, by lower-case name.
        content: its body.
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    if "retry-after" in headers:
        asked = headers["retry-after"].strip()
        seconds = _number(asked)
        return _until(asked) if seconds is None else seconds
    return _retry_delay(content)


def duration(text: str) -> float | None:
    """Return a duration such as `6m0s`, `120ms`, `1.5s` or a bare number of seconds, in seconds."""
    plain = _number(text)
    if plain is not None:
        return plain
    parts = _PART.findall(text.strip())
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def _first_count(headers: Mapping[str, str], names: tuple[str, ...]) -> int | None:
    # Gateways list several windows in one header: `3000, 3000;w=60`.
    found = (_number(headers[name].split(",")[0].split(";")[0]) for name in names if name in headers)
    number = next((one for one in found if one is not None), None)
    return None if number is None else int(number)


def _first_duration(headers: Mapping[str, str], names: tuple[str, ...]) -> float | None:
    found = (duration(headers[name]) for name in names if name in headers)
    return next((one for one in found if one is not None), None)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return max(0.0, number) if math.isfinite(number) else None


def _until(moment: str) -> float | None:
    try:
        when = parsedate_to_datetime(moment)
    except ValueError:
        return None
    return max(0.0, when.replace(tzinfo=when.tzinfo or UTC).timestamp() - time.time())


def _retry_delay(content: bytes) -> float | None:
    """Read `google.rpc.RetryInfo` from the details of an error; nobody else puts a delay into the body."""
    if b"retryDelay" not in content:
        return None
    try:
        body = json.loads(content)
    except ValueError:
        return None
    for error in body if isinstance(body, list) else [body]:
        found = error.get("error") if isinstance(error, dict) else None
        details: Any = found.get("details") if isinstance(found, dict) else None
        for detail in details if isinstance(details, list) else ():
            if isinstance(detail, dict) and isinstance(detail.get("retryDelay"), str):
                return duration(detail["retryDelay"])
    return None
