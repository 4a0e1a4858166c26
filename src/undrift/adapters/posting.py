"""Posting JSON to an address, a few times: the plumbing that receivers of alerts share."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from undrift.errors import BadConfig, NotifierUnavailable

#: Times that something is posted before it is left for later, and the pause before the second, in seconds.
ATTEMPTS = 3
PAUSE_S = 1.0
#: Most characters of an answer that are told.
_MOST_SAID = 200


def host_of(url: str, what: str) -> str:
    """Return the host of an address; nothing else of it is ever told.

    Args:
        url: the address.
        what: which one of `[notices]` it is.

    Raises:
        BadConfig: it is none.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
        (host or "").encode("idna")
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not host:
        raise BadConfig(f"the {what} of [notices] is no address", hint="write it as https://HOST:PORT/PATH")
    return host


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

    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", **headers}
    try:
        # What was taken is taken, whatever follows: the body of a success is not read.
        with (
            _unlogged(str(httpx2.URL(url))),
            httpx2.stream("POST", url, content=body, headers=headers, timeout=timeout_s) as answer,
        ):
            if answer.is_success:
                return "", False
            words = _said(answer.headers.get("Content-Type", ""), next(answer.iter_raw(), b""), url)
            lasting = 400 <= answer.status_code < 500 and answer.status_code not in (408, 429)
            return f"HTTP {answer.status_code}" + (f": {words}" if words else ""), lasting
    except httpx2.HTTPError as error:
        # Who has kept us waiting once would hold up the others as long again.
        return type(error).__name__, isinstance(error, httpx2.TimeoutException)
    except (httpx2.InvalidURL, ValueError):
        return "its address is none", True


def _said(kind: str, body: bytes, url: str) -> str:
    """Return the words of an answer, without the path of the address: it may be the secret of a webhook."""
    text = body.decode("utf-8", errors="replace")
    if "html" in kind:
        text = re.sub(r"(?s)<(script|style)\b.*?</\1>|<[^>]*>", " ", text)
    parts = urlsplit(url)
    for secret in (url, f"{parts.path}?{parts.query}", parts.path, parts.query):
        if len(secret.strip("/")) > 1:
            text = text.replace(secret, "…")
    return " ".join(text.split())[:_MOST_SAID]


@contextmanager
def _unlogged(url: str) -> Iterator[None]:
    """Keep an address, which may have a secret in it, out of the log that the client writes of its requests."""
    log = logging.getLogger("httpx2")

    def is_not_ours(record: logging.LogRecord) -> bool:
        return url not in record.getMessage()

    log.addFilter(is_not_ours)
    try:
        yield
    finally:
        log.removeFilter(is_not_ours)
