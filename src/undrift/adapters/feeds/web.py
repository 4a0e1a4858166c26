"""Reads a feed at an address, once, and says plainly when it cannot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from undrift.errors import FeedUnavailable

#: A list of models comes soon or not at all. In seconds.
_TIMEOUT_S = 20.0
#: Longest part of an answer's own words that is shown.
_SHOWN = 200


def read(url: str, headers: Mapping[str, str] | None = None) -> str:
    """Return what is at an address.

    Raises:
        FeedUnavailable: nothing answers there, or not with what was asked for; no key is in the message.
    """
    import httpx2

    where = url.partition("?")[0]
    try:
        answer = httpx2.get(url, headers=dict(headers or {}), timeout=_TIMEOUT_S)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise FeedUnavailable(
            f"{where} cannot be reached",
            type(error).__name__,
            "without it everything goes on, with the facts that are here already",
        ) from None
    if not answer.is_success:
        said = " ".join(answer.text.split())[:_SHOWN]
        for secret in (headers or {}).values():
            said = said.replace(secret.removeprefix("Bearer "), "***")
        raise FeedUnavailable(f"{where} answers {answer.status_code}", said)
    return answer.text


def read_json(url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the JSON object at an address; raises as `read`."""
    try:
        found = json.loads(read(url, headers))
    except ValueError as error:
        raise FeedUnavailable(f"{url.partition('?')[0]} answers with what is no JSON", str(error)) from error
    if not isinstance(found, dict):
        raise FeedUnavailable(f"{url.partition('?')[0]} answers with a JSON {type(found).__name__}, not an object")
    return found
