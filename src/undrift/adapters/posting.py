"""Posting JSON to an address, a few times: the plumbing that receivers of alerts share."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from undrift.errors import NotifierUnavailable

#: Times that something is posted before it is left for later, and the pause before the second, in seconds.
ATTEMPTS = 3
PAUSE_S = 1.0
#: Most characters of an answer that are told.
_MOST_SAID = 200


def post(
    url: str,
    body: bytes,
    headers: Callable[[], Mapping[str, str]],
    *,
    name: str,
    sleep: Callable[[float], None],
    timeout_s: float,
) -> None:
    """Post until it is taken; any answer of success will do.

    Args:
        url: where to.
        body: JSON.
        headers: gives the headers beside the type, anew for each attempt.
        name: what the receiver is called, for errors.
        sleep: waits between two attempts.
        timeout_s: longest wait for an answer, in seconds.

    Raises:
        NotifierUnavailable: it was not taken.
    """
    said = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            sleep(PAUSE_S * 2 ** (attempt - 1))
        said, lasting = _post(url, body, headers(), timeout_s)
        if not said:
            return
        if lasting:
            break
    raise NotifierUnavailable(f"the {name} did not take an alert", said, "undrift alert list")


def _post(url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> tuple[str, bool]:
    """Return what went wrong, empty when nothing did, and whether it would go wrong again at once."""
    import httpx2

    try:
        answer = httpx2.post(
            url, content=body, headers={"Content-Type": "application/json", **headers}, timeout=timeout_s
        )
    except httpx2.HTTPError as error:
        return type(error).__name__, False
    if answer.is_success:
        return "", False
    words = " ".join(answer.text.split())[:_MOST_SAID]
    lasting = 400 <= answer.status_code < 500 and answer.status_code not in (408, 429)
    return f"HTTP {answer.status_code}" + (f": {words}" if words else ""), lasting
